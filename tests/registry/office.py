"""A prefix office on a store: acts carried out as the registrar does, what applicants send."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from protocol.json_forms import key_to_json, site_to_json
from protocol.types.hs_site import KIND_BOTH, TRANSPORT_TCP, HsSite, SiteInterface, SiteServer
from protocol.value import Reference
from protocol.versions import V2_10
from registry.acts import READING_ACTS, Act, ActOutcome, Done, decide_act
from registry.authorization import Policy
from registry.log import LocalLog
from registry.office_replay import put_own
from registry.outcomes import Foreign, Refusal, foreign_key
from registry.replay import replay
from registry.roles import Role, Roles
from registry.schema import Record
from registry.store import Store
from registry.verify import verify
from tests.registry.builders import NOW_S, ROOT, admin_value

VECTORS = Path(__file__).parents[1] / "vectors"
KEY = (VECTORS / "admpub.bin").read_bytes()
SMALL_KEY = (VECTORS / "pubkey.bin").read_bytes()  # DSA of 1,024 bits
REVIEWER = Reference(b"88.118/REVIEWER", 300)
OPERATOR = Reference(b"88.118/OPERATOR", 300)
OFFICE_POLICY = Policy(
    Roles({Role.ADMINISTRATOR: (ROOT,), Role.REVIEWER: (REVIEWER,), Role.OPERATOR: (OPERATOR,)})
)
NOW_MS = (NOW_S + 60) * 1000
# Of other nodes: the root, which names no group, and the prefix of the node itself.
FOREIGN: Foreign = {
    foreign_key(b"0.NA/0.NA"): None,
    foreign_key(b"0.NA/88.118"): Record((admin_value(),)),
}
APPLICANT_KEY = key_to_json(KEY)
OWNER = Reference(b"0.NA/88.118.5", 300)


def site() -> dict[str, Any]:
    interface = SiteInterface(KIND_BOTH, TRANSPORT_TCP, 2641)
    server = SiteServer(1, bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 9]), KEY, (interface,))
    return site_to_json(HsSite(V2_10, 1, is_primary=True, servers=(server,)))


def person(name: str = "Li Lei") -> dict[str, Any]:
    return {"name": name, "phone": "+86 10 5550 0100", "email": "lilei@example.cn"}


def particulars(**changes: Any) -> dict[str, Any]:
    document = {
        "name": "Example Machine Works",
        "kind": "limited company",
        "address": {"province": "Jiangsu", "city": "Suzhou", "district": "Huqiu"},
        "certificate": {"type": "unified social credit code", "number": "91320500EXAMPLE00X"},
        "legalPerson": person("Han Meimei"),
        "industry": "C3421",
        "contacts": [person()],
        "systems": {
            "registration": "Suzhou",
            "data": "Suzhou",
            "backup": "Nanjing",
            "resolution": "Suzhou",
        },
        "escrowProvider": "Example Escrow",
        "website": "https://example.cn/",
        "serviceAddresses": ["192.0.2.9:2641"],
    }
    return document | changes


def application(prefix: str = "88.118.5", **changes: Any) -> dict[str, Any]:
    document = {"prefix": prefix, "publicKey": APPLICANT_KEY, "particulars": particulars()}
    return document | changes


def act(
    store: Store,
    name: str,
    parameters: dict[str, Any],
    identity: Reference | None = REVIEWER,
    *,
    now_ms: int = NOW_MS,
    address: str = "192.0.2.1",
    policy: Policy = OFFICE_POLICY,
) -> ActOutcome:
    """Decide about an act and make its change, in store and journal."""
    asked = Act(name, parameters, address)
    with store.write() as view:
        outcome = decide_act(view, asked, identity, FOREIGN, policy, now_ms)
        if isinstance(outcome, Done) and outcome.operations:
            assert name not in READING_ACTS
            replay(view, outcome.operations)
            put_own(view, outcome.own)
            LocalLog(view).append_operations(outcome.operations, now_ms)
    return outcome


def do(
    store: Store,
    name: str,
    parameters: dict[str, Any],
    identity: Reference | None = REVIEWER,
    **options: Any,
) -> dict[str, Any]:
    """Carry out an act that has to succeed; return its result."""
    outcome = act(store, name, parameters, identity, **options)
    assert isinstance(outcome, Done), outcome
    return outcome.result


def refused(
    store: Store,
    name: str,
    parameters: dict[str, Any],
    identity: Reference | None = REVIEWER,
    **options: Any,
) -> tuple[int, str]:
    """Carry out an act that has to be refused; return code and words."""
    outcome = act(store, name, parameters, identity, **options)
    assert isinstance(outcome, Refusal), outcome
    return int(outcome.response_code), outcome.message.decode()


def give_out(store: Store, prefix: str = "88.118.5", mode: str = "hosted") -> int:
    """Apply for a prefix and approve that; return the application's number."""
    number: int = do(store, "applications.apply", application(prefix, site=site()), None)["number"]
    do(store, "applications.approve", {"number": number, "mode": mode})
    return number


def problems_of(store: Store) -> list[str]:
    """What `verify` says of a copy of a store that is open."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(store.folder, copy)
        return verify(copy).problems
