"""The short way of registering ranges makes what the long way makes, or leaves them to it."""

import random
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.handle import fold_handle
from protocol.value import Reference
from registry.counters import TABLE
from registry.errors import RangeError
from registry.export import export_forms
from registry.journal import OWNER, decode_frame
from registry.offline import load_records
from registry.plain_ranges import FORM_ERRORS, PlainMaker, pack_form, read_json_form
from registry.range_batches import PlainRange, read_plain_range
from registry.range_changes import REGISTER, unpack_changes
from registry.range_documents import Range, read_document, read_range
from registry.range_making import make_range
from registry.store import Store
from registry.stream_rows import RowKind
from registry.verify import verify
from registry.verify_ranges import check_range, is_surely_whole
from resolver.rows.ndjson import read_load_rows
from tests.properties.test_rows_agree import objects
from tests.registry.builders import ADMIN, NOW_S, open_store, rows_of, url
from tests.registry.range_builders import document, prepare
from tests.registry.test_range_rows import row, stream

STEMS = st.sampled_from(
    ["88.118/L", "88.118/lot.", "88.118/é.", "88.118/L1", "0.TYPE/x", "a", "0.na/88.118",
     "/x", "88.118/", "88.118/\x7f", "88.118/\u3000", "88.118/" + "x" * 470, "9/" + "1" * 30]
)  # fmt: skip
SERIALS = st.sampled_from(["0", "1", "9", "00", "07", "99", "0" * 18, "9" * 18, "1" * 19, "", "x"])
PIECES = ["{serial}", "{handle}", "{suffix}", "{prefix}", "{check}", "{number}", "{{", "}}", "{"]
TEXTS = st.lists(st.sampled_from([*PIECES, "https://e.org/", "螺", "x" * 4_000]), max_size=6).map(
    "".join
)
DATA = TEXTS | objects({"format": st.sampled_from(["string", "hex"]), "value": TEXTS}, {})
INDEXES = st.integers(-1, 6) | st.sampled_from([1_002, 2**31 - 1, 2**31])
TYPES = st.sampled_from(["URL", "DESC", "é", "HS_ADMIN", "T" * 64, "T" * 65])
VALUES = objects({"index": INDEXES, "type": TYPES, "data": DATA}, {"ttl": st.just(60)})
DOCUMENTS = objects(
    {"stem": STEMS, "first": SERIALS, "last": SERIALS, "values": st.lists(VALUES, max_size=4)},
    {"check": st.sampled_from(["none", "gs1"]), "existing": st.just("keep")},
)


def made_in_full(form: dict[str, Any], fold: Any, by: Reference) -> Range | None:
    try:
        return make_range(read_document(form), fold, by=by, now_s=NOW_S)
    except RangeError:
        return None


def made_shortly(line: bytes, fold: Any, by: Reference) -> PlainRange | None:
    try:
        return PlainMaker(fold, by, NOW_S).make(read_json_form(line))
    except FORM_ERRORS:
        return None


def hold(form: dict[str, Any], by: Reference = OWNER) -> bool:
    """Hold both ways together; say whether the short one took the range."""
    form = {"operation": "range"} | form
    line = msgspec.json.encode(form)
    is_short = False
    for case_sensitive in (False, True):

        def fold(handle: bytes, case_sensitive: bool = case_sensitive) -> bytes:
            return fold_handle(handle, case_sensitive=case_sensitive)

        short, full = made_shortly(line, fold, by), made_in_full(form, fold, by)
        if short is None:
            continue
        assert full is not None, "the long way refuses it"
        assert (short.key, short.octets, short.size) == (full.key, full.octets, full.span.size)
        assert short == read_plain_range(short.key, short.octets)
        is_short = True
    return is_short


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS, st.sampled_from([OWNER, ADMIN]))
def test_what_is_made(form: dict[str, Any], by: Reference) -> None:
    hold(form, by)


def test_what_is_plain_is_made_the_short_way() -> None:
    texts = ["x", "{serial}", "a{serial}b{serial}", "{handle}", "{prefix}/{suffix}{check}", "{{}}"]
    for text in texts:
        value = {"index": 3, "type": "URL", "data": {"format": "string", "value": text}}
        assert hold(document("88.118/é2", "007", "120", value)), text
        assert hold(document("88.118/L", "7", "9", value | {"data": text}), ADMIN), text
    many = [{"index": at, "type": "T", "data": "{serial}" * 9} for at in range(1, 40)]
    assert hold(document("88.118/L", "7", "9", *many))


def test_what_is_not_plain_is_left_to_the_long_way() -> None:
    grown = {"index": 1, "type": "T", "data": "{handle}" * 60}
    for form in (
        document("88.118/" + "x" * 400, "1", "2", grown),
        document("88.118/L", "1", "2", {"index": 1, "type": "T", "data": "{number}"}),
        document("88.118/L", "1", "2", {"index": 1, "type": "HS_ADMIN", "data": "x"}),
        document("88.118/L", "1", "2", *({"index": 1, "type": "T", "data": ""},) * 2),
        document("88.118/L", "1", "2", check="gs1"),
        document("88.118/L", "1", "2", existing="keep"),
        document("88.118/L", "2", "1"),
        document("88.118/L", "1", "2") | {"values": []},
    ):
        assert not hold(form)


# A few stems, some beginning another, and numbers near each other, so that ranges meet.
near = st.builds(
    lambda stem, width, low, size, text: document(
        f"88.118/{stem}", f"{low % 10**width:0{width}d}",
        f"{min(low % 10**width + size, 10**width - 1):0{width}d}",
        {"index": 1, "type": "URL", "data": text},
    ),
    st.sampled_from(["A", "a1", "A12", "B", "A\x7f"]), st.integers(1, 3), st.integers(0, 200),
    st.integers(0, 30), st.sampled_from(["{serial}", "x/{handle}", "{number}", "{bad}"]),
)  # fmt: skip
handles = st.builds(
    lambda serial: {"handle": f"88.118/A{serial}", "values": [
        {"index": 1, "type": "URL", "data": {"format": "string", "value": "x"}}
    ]},
    st.integers(0, 200),
)  # fmt: skip
batches = st.lists(st.lists(near | near | handles, min_size=1, max_size=12), max_size=4)


def in_full(form: dict[str, Any]) -> dict[str, Any]:
    """Return a document with a member that changes nothing, and that no plain one has."""
    return form | {"check": "none"} if "stem" in form else form


def load(store: Store, batch: list[dict[str, Any]]) -> Any:
    lines = [
        msgspec.json.encode(({"operation": "range"} if "stem" in form else {}) | form)
        for form in batch
    ]
    rows = list(read_load_rows(lines, NOW_S))
    (loaded,) = load_records(store, rows, now_s=lambda: NOW_S)  # type: ignore[arg-type]
    refused = [
        (each.row.number, each.row.handle, each.code, each.reason) for each in loaded.refused
    ]
    return loaded.stored, loaded.existed, refused


def send(store: Store, batch: list[dict[str, Any]], key: bytes) -> Any:
    value = b"\0\0\0\1" + url().encode()
    rows = [
        row(form)
        if "stem" in form
        else (RowKind.PLAIN.value, form["handle"].encode(), value, bytes(32))
        for form in batch
    ]
    registered, verdicts = stream(store, *rows, key=key)
    return registered.stream.created, verdicts


def state(store: Store) -> Any:
    with store.read() as view:
        tables = [dict(view.table(name).items()) for name in ("ranges", TABLE)]
    return rows_of(store), tables, list(export_forms(store))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batches, st.booleans())
def test_what_is_stored_counted_and_said(given: list[list[dict[str, Any]]], streams: bool) -> None:
    with tempfile.TemporaryDirectory() as place, ExitStack() as opened:
        folders = [Path(place) / name for name in ("short", "full")]
        short, full = (prepare(opened.enter_context(open_store(each))) for each in folders)
        for number, batch in enumerate(given):
            if streams:
                key = str(number).encode()
                said = send(short, batch, key), send(full, [in_full(each) for each in batch], key)
            else:
                said = load(short, batch), load(full, [in_full(each) for each in batch])
            assert said[0] == said[1]
        assert state(short) == state(full)
        opened.close()
        assert verify(folders[0]).problems == verify(folders[1]).problems == []


def test_a_batch_is_one_entry_of_the_journal(tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        prepare(store)
        load(store, [document("88.118/L", f"{n}0", f"{n}9") for n in range(1, 9)])
        with store.read() as view:
            (operation,) = decode_frame(list(view.frames())[-1][1]).operations
            counts = view.counts(b"88.118")
    verb, changes = unpack_changes(operation.payload)
    assert (verb, len(changes), counts.ranges, counts.in_ranges) == (REGISTER, 8, 8, 80)


def test_a_form_says_the_same_in_msgpack() -> None:
    form = read_json_form(msgspec.json.encode({"operation": "range"} | document()))
    assert read_document(msgspec.msgpack.decode(pack_form(form))) == read_document(document())


WHOLE = [
    made
    for form in (
        document("88.118/L2", "007", "120"),
        document("88.118/L", "7", "9", {"index": 1, "type": "T", "data": "x"}),
        document("88.118/L", "7", "9", *({"index": at, "type": "T", "data": "{serial}{handle}"}
                                        for at in (1, 2))),
    )
    for by in (OWNER, ADMIN)
    if (made := made_in_full(form, fold_handle, by)) is not None
]  # fmt: skip


def hold_check(key: bytes, octets: bytes) -> bool:
    """Hold the short check to the long one; say whether it finds the range whole."""
    if not is_surely_whole(fold_handle, key, octets):
        return False
    view = SimpleNamespace(fold=fold_handle)
    check_range(view, read_range(key, octets))  # type: ignore[arg-type]
    return True


def test_what_is_whole_is_found_whole_the_short_way() -> None:
    assert len(WHOLE) == 6
    assert all(hold_check(each.key, each.octets) for each in WHOLE)


def test_no_change_of_one_octet_is_whole_the_short_way_only() -> None:
    surely = 0
    for each in WHOLE[-2:]:
        for at in range(len(each.octets)):
            for octet in {0, 1, 2, 0x30, 0xFF, each.octets[at] ^ 1, each.octets[at] ^ 0x80}:
                changed = each.octets[:at] + bytes((octet,)) + each.octets[at + 1 :]
                surely += hold_check(each.key, changed)
        for at in range(len(each.key)):
            for octet in (0, 0x2F, 0x31, 0x61, 0xFF):
                surely += hold_check(
                    each.key[:at] + bytes((octet,)) + each.key[at + 1 :], each.octets
                )
        for at in range(len(each.octets)):
            assert not hold_check(each.key, each.octets[:at])
            hold_check(each.key, each.octets[:at] + each.octets[at + 1 :])
            hold_check(each.key, each.octets[:at] + b"\0" + each.octets[at:])
    assert surely  # other data are whole as well


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(WHOLE), st.randoms(use_true_random=False))
def test_damage_is_not_whole_the_short_way_only(whole: Range, choose: random.Random) -> None:
    octets = bytearray(whole.octets)
    for _ in range(choose.randint(1, 3)):
        octets[choose.randrange(len(octets))] = choose.choice([0, 1, 4, 0x2E, 0x39, 0xFF])
    hold_check(whole.key, bytes(octets))
