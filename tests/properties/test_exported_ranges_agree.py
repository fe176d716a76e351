"""The short way of loading exported ranges makes what the long way makes, or leaves them to it."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.handle import fold_handle
from registry.errors import RangeError
from registry.export import export_forms
from registry.exported_ranges import ExportedMaker, read_exported_form
from registry.journal import decode_frame
from registry.log import LocalLog
from registry.offline import LoadedBatch, load_records
from registry.plain_ranges import FORM_ERRORS
from registry.range_batches import PlainRange, RangeBatch
from registry.range_documents import Range, read_document
from registry.range_making import make_range
from registry.replay import replay
from registry.stated import read_identity, read_time
from registry.store import Store
from registry.verify import verify
from resolver.rows.ndjson import read_load_rows
from tests.properties.test_plain_ranges_agree import INDEXES, SERIALS, STEMS, TEXTS, TYPES, state
from tests.properties.test_rows_agree import objects
from tests.registry.builders import NOW_S, open_store
from tests.registry.range_builders import document, prepare, register, url_form

GOOD_TIMES = ["2026-11-18T11:06:40Z", "2026-11-21T08:00:00Z", "2001-01-01T00:00:00Z"]
TIMES = st.sampled_from(
    [*GOOD_TIMES, "1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2038-01-19T03:14:08Z", "x",
     "2026-11-18 11:06:40Z", "2026-11-18T11:06:40+00:00", "2026-11-18T11:06:40.5Z", "2026-11-18"]
)  # fmt: skip
BY = st.sampled_from(
    ["", "300:0.NA/88.118", "1:é", "0300:a", "300:", "x", "2147483648:a", ":a",
     "1:\0\0\0\x05RANGE" + "x" * 9]
)  # fmt: skip
DATA = objects({"format": st.sampled_from(["string", "hex"]), "value": TEXTS}, {})
TTLS = st.sampled_from([86_400, 60, 0, -1, 2**31, GOOD_TIMES[0]])
VALUES = objects(
    {"index": INDEXES, "type": TYPES, "data": DATA, "ttl": TTLS, "timestamp": TIMES},
    {"permissions": st.just("1110")},
)
DOCUMENTS = objects(
    {
        "stem": STEMS,
        "first": SERIALS,
        "last": SERIALS,
        "check": st.sampled_from(["none", "none", "none", "gs1"]),
        "identifiers": st.integers(-1, 99),
        "state": st.sampled_from(["active", "active", "active", "revoked"]),
        "registered": TIMES,
        "by": BY,
        "values": st.lists(VALUES, max_size=3),
    },
    {"existing": st.just("keep")},
)
LATER_S = NOW_S + 1_000_000


def made_in_full(form: dict[str, Any], fold: Any) -> tuple[Range, int] | None:
    try:
        registered_s = read_time(form, "registered", LATER_S)
        made = make_range(
            read_document(form),
            fold,
            by=read_identity(form, "by"),
            now_s=LATER_S,
            registered_s=registered_s,
            keeps_times=True,
        )
    except RangeError:
        return None
    return made, registered_s


def made_shortly(line: bytes, fold: Any) -> tuple[PlainRange, int] | None:
    try:
        return ExportedMaker(fold, LATER_S).make_exported(read_exported_form(line))
    except FORM_ERRORS:
        return None


def hold(form: dict[str, Any]) -> bool:
    """Hold both ways together; say whether the short one took the range."""
    form = {"operation": "range"} | form
    short = made_shortly(msgspec.json.encode(form), fold_handle)
    if short is None:
        return False
    full = made_in_full(form, fold_handle)
    assert full is not None, "the long way refuses it"
    (plain, registered_s), (range_, expected_s) = short, full
    assert form["state"] == "active"
    assert (plain.key, plain.octets, plain.size, registered_s) == (
        range_.key, range_.octets, range_.span.size, expected_s
    )  # fmt: skip
    assert plain.stem == range_.span.stem
    assert plain.tails == (range_.record.first, range_.key[-len(range_.record.first) :])
    return True


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS)
def test_what_is_made(form: dict[str, Any]) -> None:
    hold(form)


def exported(**others: Any) -> dict[str, Any]:
    value = {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://{serial}"},
             "ttl": 86_400, "timestamp": GOOD_TIMES[0]}  # fmt: skip
    form = document("88.118/L", "01", "50", value)
    stated = {"check": "none", "identifiers": 50, "state": "active", "registered": GOOD_TIMES[1]}
    return form | stated | {"by": "300:0.NA/88.118"} | others


@pytest.mark.parametrize(
    ("others", "is_short"),
    [
        ({}, True),
        ({"by": ""}, True),
        ({"identifiers": 3}, True),
        ({"by": "1:\0\0\0\x05RANGE" + "x" * 9}, False),
        ({"state": "revoked"}, False),
        ({"check": "gs1"}, False),
        ({"existing": "refuse"}, False),
        ({"registered": "2026-11-18 11:06:40Z"}, False),
        ({"registered": "1970-01-01T00:00:00Z"}, False),
        ({"by": "x"}, False),
        ({"values": []}, False),
    ],
)
def test_what_goes_the_short_way(others: dict[str, Any], is_short: bool) -> None:
    assert hold(exported(**others)) == is_short


def test_a_member_given_twice_goes_the_long_way() -> None:
    line = msgspec.json.encode({"operation": "range"} | exported())
    assert made_shortly(line, fold_handle) is not None
    for twice in (b'"by":""', b'"state":"active"', b'"stem":"88.118/M"'):
        assert made_shortly(line[:-1] + b"," + twice + b"}", fold_handle) is None


def exported_lines(store: Store) -> list[dict[str, Any]]:
    return [form for form in export_forms(store) if form.get("operation") == "range"]


def test_an_export_is_loaded_the_short_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_store(tmp_path / "one") as store:
        prepare(store)
        for number in range(9):
            register(store, f"88.118/L{number}.", "01", "50", url_form(), url_form("x", 2))
        lines = exported_lines(store)
    stored = 0
    store_one = RangeBatch.store

    def storing(batch: RangeBatch, new: PlainRange) -> bool:
        nonlocal stored
        is_stored = store_one(batch, new)
        stored += is_stored
        return is_stored

    monkeypatch.setattr(RangeBatch, "store", storing)
    with open_store(tmp_path / "other") as other:
        prepare(other)
        load(other, lines)
        assert exported_lines(other) == lines
    assert stored == 9


# Ranges near each other, some of which meet, some registered when they are loaded.
near = st.builds(
    lambda stem, low, size, text, by, registered: exported(
        stem=f"88.118/{stem}",
        first=f"{low:02d}",
        last=f"{min(low + size, 99):02d}",
        by=by,
        registered=registered,
        values=[exported()["values"][0] | {"data": {"format": "string", "value": text}}],
    ),
    st.sampled_from(["A", "a1", "B"]), st.integers(0, 99), st.integers(0, 30),
    st.sampled_from(["{serial}", "x/{handle}", "{number}"]), st.sampled_from(["", "1:x", "bad"]),
    st.sampled_from([*GOOD_TIMES, "2026-11-30T00:53:20Z"]),
)  # fmt: skip
batches = st.lists(st.lists(near, min_size=1, max_size=9), max_size=3)


def load(store: Store, forms: list[dict[str, Any]]) -> list[LoadedBatch]:
    rows = read_load_rows([msgspec.json.encode(form) for form in forms], LATER_S)
    return list(load_records(store, rows, now_s=lambda: LATER_S))  # type: ignore[arg-type]


def everything(store: Store) -> Any:
    with store.read() as view:
        return state(store), dict(view.table("histories").items())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batches)
def test_what_is_stored_noted_and_replayed(given: list[list[dict[str, Any]]]) -> None:
    given = [[{"operation": "range"} | form for form in batch] for batch in given]
    with tempfile.TemporaryDirectory() as place, ExitStack() as opened:
        folders = [Path(place) / name for name in ("short", "full", "again")]
        short, full, again = (prepare(opened.enter_context(open_store(each))) for each in folders)
        for batch in given:
            load(short, batch)
            load(full, [form | {"existing": "refuse"} for form in batch])
        assert everything(short) == everything(full)
        with short.read() as view:
            frames = [decode_frame(octets) for _, octets in view.frames(1)]
        for frame in frames:
            with again.write() as view:
                replay(view, frame.operations)
                LocalLog(view).append_operations(frame.operations, frame.time_ms)
        assert everything(again) == everything(short)
        opened.close()
        assert verify(folders[0]).problems == []
