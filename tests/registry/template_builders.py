"""Templates, requests and stores that tests of templates are made of."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from protocol.value import HandleValue, Reference, encode_values
from registry.acts import Act, ActOutcome, Done, decide_act
from registry.bulk import register_rows
from registry.log import LocalLog
from registry.offline import seed_store
from registry.replay import replay
from registry.store import Store
from registry.stream_rows import Row, RowKind
from registry.streams import Run, Stream, batches, find_stream, put_stream
from registry.template_requests import Request, pack_request
from tests.registry.builders import ADMIN, NOW_S, POLICY, PREFIX, admin_value

LATER_S = NOW_S + 60
DOCUMENT: dict[str, Any] = {
    "prefix": "88.118",
    "code": "auto-part",
    "version": 1,
    "title": "Parts of cars 汽车零件",
    "industry": "C3670",
    "attributes": [
        {"name": "serial", "type": "string", "alias": "序列号", "required": True, "length": 20},
        {"name": "made", "type": "date", "required": True},
        {"name": "grade", "type": "enumeration", "values": ["A", "B", "C"]},
        {"name": "weight", "type": "number"},
        {"name": "recycled", "type": "boolean"},
        {"name": "page", "type": "url"},
        {"name": "maker", "type": "identifier"},
        {"name": "plants", "type": "list", "itemType": "string", "length": 3},
    ],
}
ALL: dict[str, Any] = {
    "serial": "000042",
    "made": "2026-11-21",
    "grade": "B",
    "weight": 12.5,
    "recycled": True,
    "page": "https://example.org/000042",
    "maker": "88.118/MAKER",
    "plants": ["沈阳", "Brno"],
}


def seed(folder: Path) -> None:
    """Make a store in which ADMIN may do everything under 88.118 and 88.118.5, journal and all."""
    prefixes = [PREFIX, b"0.NA/88.118.5"]
    records = {each: [admin_value()] for each in prefixes}
    seed_store(folder, records, [b"0.NA/0.NA", *prefixes], now_s=NOW_S)


def act(
    store: Store,
    name: str,
    parameters: Mapping[str, Any],
    identity: Reference | None = ADMIN,
    now_s: int = LATER_S,
) -> ActOutcome:
    """Decide about an act and make what it changes, as the registrar does."""
    with store.write() as view:
        outcome = decide_act(view, Act(name, parameters), identity, {}, POLICY, now_s * 1000)
        if isinstance(outcome, Done) and outcome.operations:
            replay(view, outcome.operations)
            LocalLog(view).append_operations(outcome.operations, now_s * 1000)
    return outcome


def register(store: Store, **changes: Any) -> ActOutcome:
    """Register DOCUMENT with some members changed."""
    return act(store, "templates.register", {**DOCUMENT, **changes})


def made_row(
    handle: bytes,
    attributes: Mapping[str, Any],
    *others: HandleValue,
    template: str = "auto-part",
    version: int = 0,
    **more: Any,
) -> Row:
    """Return the row of a stream that is made from a template."""
    octets = pack_request(Request(template, version, attributes, encode_values(others), **more))
    return Row(RowKind.TEMPLATE, handle, octets, hashlib.sha256(handle + octets).digest())


def send(
    store: Store,
    rows: Sequence[Row],
    key: bytes = b"lot",
    identity: Reference = ADMIN,
    now_s: int = LATER_S,
) -> list[Run]:
    """Register rows, continuing the stream of the key; return the verdict of each."""
    stream = Stream(identity, key, NOW_S * 1000)
    with store.write() as view:
        current = find_stream(view, stream.name) or stream
        put_stream(view, current)
        first = current.rows + 1
        register_rows(view, current, first, rows, foreign={}, policy=POLICY, now_ms=now_s * 1000)
    with store.read() as view:
        return [
            run._replace(rows=1)
            for batch in batches(view, stream.name, first)
            for run in batch.runs
            for _ in range(run.rows)
        ]
