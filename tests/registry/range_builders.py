"""Ranges that the registry's tests register, and acts carried out as the registrar does it."""

from typing import Any

from protocol.value import Reference
from registry.acts import Act, ActOutcome, Done, decide_act
from registry.authorization import Policy
from registry.journal import OWNER, JournalOperation, Kind
from registry.log import LocalLog
from registry.outcomes import NOTHING_FOREIGN, Refusal
from registry.replay import replay
from registry.store import Store
from tests.registry.builders import ADMIN, NOW_S, POLICY, PREFIX, admin_value

URL = "https://example.org/{serial}?id={handle}"
LOT = "88.118/LOT.2026"


def url_form(text: str = URL, index: int = 1) -> dict[str, Any]:
    return {"index": index, "type": "URL", "data": {"format": "string", "value": text}}


def document(
    stem: str = LOT, first: str = "0001", last: str = "0500", *values: Any, **others: Any
) -> dict[str, Any]:
    return {
        "stem": stem, "first": first, "last": last, "values": list(values) or [url_form()], **others
    }  # fmt: skip


def prepare(store: Store) -> Store:
    """Home a prefix that ADMIN administers, all of it in the journal."""
    operations = [
        JournalOperation(Kind.HOME, b"0.NA/0.NA", (), OWNER, NOW_S),
        JournalOperation(Kind.HOME, PREFIX, (), OWNER, NOW_S),
        JournalOperation(Kind.CREATE, PREFIX, (admin_value(),), OWNER, NOW_S),
    ]
    with store.write() as view:
        replay(view, operations)
        LocalLog(view).append_operations(operations, NOW_S * 1000)
    return store


def act(
    store: Store,
    name: str,
    parameters: dict[str, Any],
    *,
    identity: Reference | None = ADMIN,
    policy: Policy = POLICY,
    now_s: int = NOW_S,
) -> ActOutcome:
    """Decide about an act and make its changes, in one transaction."""
    with store.write() as view:
        asked = Act(name, parameters)
        outcome = decide_act(view, asked, identity, NOTHING_FOREIGN, policy, now_s * 1000)
        if isinstance(outcome, Done) and outcome.operations:
            replay(view, outcome.operations)
            LocalLog(view).append_operations(outcome.operations, now_s * 1000)
    return outcome


def done(store: Store, name: str, parameters: dict[str, Any], **others: Any) -> dict[str, Any]:
    outcome = act(store, name, parameters, **others)
    assert isinstance(outcome, Done), outcome
    return outcome.result


def refused(store: Store, name: str, parameters: dict[str, Any], **others: Any) -> tuple[int, str]:
    """Return the code and words of the refusal that there must be."""
    outcome = act(store, name, parameters, **others)
    assert isinstance(outcome, Refusal), outcome
    return int(outcome.response_code), outcome.message.decode()


def register(store: Store, *args: Any, **others: Any) -> dict[str, Any]:
    result: dict[str, Any] = done(store, "ranges.register", document(*args, **others))["range"]
    return result
