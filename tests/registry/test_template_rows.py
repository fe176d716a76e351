"""Identifiers made from templates: verdicts, what is answered, what is kept, and the journal."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from protocol.codes import ResponseCode
from protocol.handle import to_text
from protocol.value import HandleValue
from registry.acts import Done
from registry.errors import JournalError, RecordError
from registry.export import export_pages
from registry.journal import JournalOperation, Kind, decode_frame
from registry.log import LocalLog
from registry.operations import Change
from registry.outcomes import Refusal
from registry.replay import replay
from registry.schema import decode_record
from registry.store import Store
from registry.streams import Verdict
from registry.template_lots import creation_values
from registry.template_rows import ROW_HEAD, is_template_row, tail_of
from registry.verify import verify
from tests.registry.builders import (
    ADMIN,
    STRANGER,
    add,
    admin_value,
    create,
    delete,
    hidden,
    modify,
    open_store,
    perform,
    remove,
    rows_of,
    url,
    values_of,
)
from tests.registry.template_builders import (
    ALL,
    DOCUMENT,
    LATER_S,
    act,
    made_row,
    register,
    seed,
    send,
)

SOME = {"serial": "1", "made": "2026-11-21"}
HANDLE = b"88.118/L.000042"
LOT = 1_000
PER_IDENTIFIER_OCTETS_MAX = 100  # P6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    seed(tmp_path / "node")
    return tmp_path / "node"


@pytest.fixture
def node(folder: Path) -> Iterator[Store]:
    with open_store(folder) as store:
        assert isinstance(register(store), Done)
        yield store


def lot(count: int, start: int = 1, **changes: Any) -> list[Any]:
    rows = []
    for number in range(start, start + count):
        serial = f"{number:06}"
        page = f"https://example.org/p/{serial}?q={serial}"
        attributes = {**ALL, "serial": f"SN-{serial}", "page": page, **changes}
        rows.append(made_row(b"88.118/870101.M1.%b" % serial.encode(), attributes))
    return rows


def texts(store: Store, handle: bytes) -> dict[int, tuple[str, str]]:
    values = values_of(store, handle)
    assert values is not None
    assert {value.timestamp for value in values} == {LATER_S}
    return {value.index: (value.type.decode(), to_text(value.data)) for value in values}


def created(store: Store, rows: list[Any]) -> None:
    assert {run.verdict for run in send(store, rows)} == {Verdict.CREATED}


def test_attributes_are_answered_as_ordinary_values(node: Store) -> None:
    created(node, [made_row(HANDLE, ALL, url(1))])
    assert texts(node, HANDLE) == {
        1: ("URL", "https://example.com/"),
        1000: ("TEMPLATE", "88.118:auto-part"),
        1001: ("TEMPLATE_VERSION", "1"),
        2000: ("serial", "000042"),
        2001: ("made", "2026-11-21"),
        2002: ("grade", "B"),
        2003: ("weight", "12.5"),
        2004: ("recycled", "true"),
        2005: ("page", "https://example.org/000042"),
        2006: ("maker", "88.118/MAKER"),
        2007: ("plants", '["沈阳","Brno"]'),
    }
    assert is_template_row(rows_of(node)[HANDLE])


def test_an_attribute_that_is_not_given_keeps_its_index_free(node: Store) -> None:
    created(node, [made_row(HANDLE, {**SOME, "plants": [], "weight": None})])
    assert list(texts(node, HANDLE)) == [1000, 1001, 2000, 2001, 2007]


def test_all_errors_of_a_row_are_said_at_once(node: Store) -> None:
    attributes = {
        "grade": "D", "weight": "heavy", "recycled": 1, "page": "no", "maker": "no",
        "plants": ["a", 2], "colour": "red", "Serial": "1",
    }  # fmt: skip
    others = [url(1000), url(2005), url(-1), url(7), url(7)]
    (run,) = send(node, [made_row(HANDLE, attributes, *others)])
    assert (run.verdict, run.code) == (Verdict.REFUSED, ResponseCode.INVALID_VALUE)
    said = run.words.decode()
    for words in (
        "attribute 'serial' is missing",
        "attribute 'made' is missing",
        "attribute 'grade' must be one of A, B, C",
        "attribute 'weight' must be a number",
        "attribute 'recycled' must be true or false",
        "attribute 'page' must be a URL",
        "attribute 'maker' must be an identifier",
        "attribute 'plants' item 1",
        "attribute 'colour' is not one of 88.118:auto-part version 1",
        "attribute 'Serial' is not one of",
        "value at index 1000",
        "value at index 2005",
        "value at index -1",
        "an index is given twice",
    ):
        assert words in said, words
    assert values_of(node, HANDLE) is None


def test_what_is_said_of_a_row_is_bounded(node: Store) -> None:
    attributes = {f"{'unknown' * 10}{number}": "x" for number in range(256)}
    (run,) = send(node, [made_row(HANDLE, attributes)])
    said = run.words.decode()
    assert len(run.words) <= 1_024
    assert said.startswith("attribute 'serial' is missing; ")
    assert said.endswith(" more faults")


@pytest.mark.parametrize(
    ("template", "version", "words"),
    [
        ("none", 0, "no template 'none' for this identifier's prefix"),
        ("auto-part", 2, "no version 2 of a template 'auto-part'"),
        ("auto-part", 10**9, "no version 1000000000"),
        ("77.1:auto-part", 0, "'77.1' is not the prefix of the identifier or one above it"),
        ("88.118.5:auto-part", 0, "'88.118.5' is not the prefix"),
        ("88.118:", 0, "no template '88.118:'"),
        ("a\0\0\0\0\0", 0, "no template"),
        ("x" * 600, 0, "no template"),
    ],
)
def test_a_template_that_cannot_be_used(
    node: Store, template: str, version: int, words: str
) -> None:
    (run,) = send(node, [made_row(HANDLE, SOME, template=template, version=version)])
    assert (run.verdict, run.code) == (Verdict.REFUSED, ResponseCode.INVALID_VALUE)
    assert words in run.words.decode()


def test_the_nearest_prefix_and_the_last_version_count(node: Store) -> None:
    attributes = [{"name": "serial", "type": "string"}]
    register(node, version=2, attributes=attributes)
    handle = b"88.118.5/1"
    created(node, [made_row(handle, {"serial": "a"})])
    assert texts(node, handle)[1000] == ("TEMPLATE", "88.118:auto-part")
    assert texts(node, handle)[1001] == ("TEMPLATE_VERSION", "2")
    register(node, prefix="88.118.5", attributes=attributes)
    rows = [
        made_row(b"88.118.5/2", {"serial": "a"}),
        made_row(b"88.118.5/3", SOME, template="88.118:auto-part", version=1),
    ]
    created(node, rows)
    assert texts(node, b"88.118.5/2")[1000] == ("TEMPLATE", "88.118.5:auto-part")
    assert texts(node, b"88.118.5/3")[1001] == ("TEMPLATE_VERSION", "1")


def test_a_lot_takes_few_octets(node: Store, folder: Path) -> None:
    before = (folder / "data.mdb").stat().st_size
    for start in range(1, 4 * LOT, LOT):
        created(node, lot(LOT, start))
    octets = (folder / "data.mdb").stat().st_size - before
    assert octets / (4 * LOT) <= PER_IDENTIFIER_OCTETS_MAX
    rows = [row for key, row in rows_of(node).items() if key.startswith(b"88.118/870101")]
    assert len(rows) == 4 * LOT
    assert max(map(len, rows)) <= 12
    assert texts(node, b"88.118/870101.M1.000777")[2005] == (
        "page",
        "https://example.org/p/000777?q=000777",
    )


def test_a_row_of_another_make_begins_a_lot_once_more_follow(node: Store) -> None:
    created(node, lot(100) + lot(100, 101, weight=7, grade="A", maker="88.118/OTHER"))
    rows = rows_of(node)
    assert len(rows[b"88.118/870101.M1.000102"]) > 20
    assert len(rows[b"88.118/870101.M1.000200"]) <= 7
    assert texts(node, b"88.118/870101.M1.000102")[2003] == ("weight", "7")
    assert texts(node, b"88.118/870101.M1.000200")[2003] == ("weight", "7")


def test_the_journal_says_no_more_than_the_row(node: Store) -> None:
    created(node, lot(500))
    with node.read() as view:
        *_, (_, frame) = view.frames()
    assert len(frame) / 500 < 12
    operations = decode_frame(frame).operations
    assert {operation.kind for operation in operations} == {Kind.CREATE_FROM_TEMPLATE}
    assert operations[0].actor == ADMIN
    with node.read() as view:
        for operation in operations[::100]:
            record = view.find_record(operation.handle)
            assert record is not None
            assert creation_values(view, operation) == record.values


def test_a_replay_gives_the_same_store(folder: Path) -> None:
    with open_store(folder) as store:
        register(store)
        created(store, [*lot(50), *lot(50, 51, grade="C"), made_row(HANDLE, SOME, hidden(5))])
        asked = {"handle": "88.118/one", "template": "auto-part", "attributes": SOME}
        assert isinstance(act(store, "templates.create_handle", asked), Done)
        perform(store, remove(HANDLE, 2001), delete(b"88.118/870101.M1.000001"))
    assert verify(folder).problems == []
    with open_store(folder) as store, store.write() as view:
        sealed = LocalLog(view).seal_snapshot(LATER_S * 1000)
        LocalLog(view).trim(0, sealed.seq)
    assert verify(folder).problems == []
    with open_store(folder) as store:
        created(store, lot(50, 101))  # goes on behind the snapshot
        assert len(rows_of(store)[b"88.118/870101.M1.000150"]) <= 7
    assert verify(folder).problems == []


def test_a_change_of_a_value_makes_an_ordinary_record(node: Store) -> None:
    handles = [b"88.118/870101.M1.%06d" % number for number in range(1, 5)]
    created(node, lot(4))
    before = {handle: values_of(node, handle) for handle in handles}
    outcomes = perform(
        node,
        add(handles[0], url(1)),
        modify(handles[1], HandleValue(2002, b"grade", b"C")),
        remove(handles[2], 2003),
        now_s=LATER_S,
    )
    assert all(isinstance(outcome, Change) for outcome in outcomes), outcomes
    rows = rows_of(node)
    assert [is_template_row(rows[handle]) for handle in handles] == [False, False, False, True]
    first, second, third = (before[handle] for handle in handles[:3])
    assert first is not None
    assert second is not None
    assert third is not None
    added = values_of(node, handles[0])
    assert added is not None
    assert (added[1:], added[0].index) == (first, 1)
    assert texts(node, handles[1])[2002] == ("grade", "C")
    assert values_of(node, handles[2]) == tuple(each for each in third if each.index != 2003)
    assert values_of(node, handles[3]) == before[handles[3]]


def test_the_same_row_again_is_unchanged_and_another_one_refused(node: Store) -> None:
    first = made_row(HANDLE, ALL, url(1))
    created(node, [first])
    other = made_row(HANDLE, {**ALL, "grade": "C"}, url(1))
    same, refused = send(node, [first, other], now_s=LATER_S + 5)
    assert (same.verdict, refused.verdict) == (Verdict.UNCHANGED, Verdict.REFUSED)
    assert refused.code == ResponseCode.HANDLE_ALREADY_EXISTS


def test_a_row_that_replaces_makes_an_ordinary_record(node: Store) -> None:
    created(node, [made_row(HANDLE, ALL, url(1))])
    rows = [
        made_row(HANDLE, SOME, replaces=True),
        made_row(b"88.118/new", SOME, replaces=True),
    ]
    assert [run.verdict for run in send(node, rows)] == [Verdict.REPLACED, Verdict.CREATED]
    values = values_of(node, HANDLE)
    assert values is not None
    assert [value.index for value in values] == [1000, 1001, 2000, 2001]


def test_who_may_not_create_handles_makes_none(node: Store) -> None:
    (run,) = send(node, [made_row(HANDLE, SOME)], identity=STRANGER)
    assert (run.verdict, run.code) == (Verdict.REFUSED, ResponseCode.INVALID_ADMIN)
    (run,) = send(node, [made_row(b"77/1", SOME, template="88.118:auto-part")])
    assert run.verdict == Verdict.REFUSED
    assert values_of(node, HANDLE) is None


def test_private_values_beside_a_template_stay_private(node: Store) -> None:
    created(node, [made_row(HANDLE, SOME, hidden(5), url(6))])
    row = rows_of(node)[HANDLE]
    assert is_template_row(row)
    (expanded,), _ = node.find_rows([HANDLE], [])
    assert isinstance(expanded, bytes)
    assert decode_record(expanded).values == values_of(node, HANDLE)
    values = values_of(node, HANDLE)
    assert values is not None
    assert [each.index for each in values if not each.is_public] == [5]


@pytest.mark.parametrize(
    ("handle", "others"), [(b"88.118/" + b"L" * 600, ()), (HANDLE, (admin_value(),))]
)
def test_what_cannot_be_a_compact_row_is_an_ordinary_record(
    node: Store, handle: bytes, others: tuple[HandleValue, ...]
) -> None:
    created(node, [made_row(handle, SOME, *others)])
    assert texts(node, handle)[2000] == ("serial", "1")
    assert not any(is_template_row(row) for row in rows_of(node).values())


def test_values_that_no_answer_could_hold_are_refused(node: Store) -> None:
    document = {**DOCUMENT, "code": "big"}
    document["attributes"] = [{"name": f"a{number}", "type": "string"} for number in range(5)]
    assert isinstance(act(node, "templates.register", document), Done)
    attributes = {f"a{number}": "泵" * 30_000 for number in range(5)}
    (run,) = send(node, [made_row(HANDLE, attributes, template="big")])
    assert run.verdict == Verdict.REFUSED
    assert b"at most" in run.words
    created(node, [made_row(HANDLE, {"a1": "x" * 65_535, "a2": "y" * 65_535}, template="big")])
    assert texts(node, HANDLE)[2002] == ("a2", "y" * 65_535)
    (row,), _ = node.find_rows([HANDLE], [])
    assert isinstance(row, bytes)
    assert decode_record(row).values == values_of(node, HANDLE)


@pytest.mark.parametrize(
    "octets", [b"", b"\x90", b"\xc1", msgpack.packb(["auto-part", 0, [], bytes(4)]), b"\x93\1\2"]
)
def test_octets_that_ask_for_nothing_are_refused(node: Store, octets: bytes) -> None:
    row = made_row(HANDLE, SOME)._replace(octets=octets)
    (run,) = send(node, [row])
    assert (run.verdict, run.code) == (Verdict.REFUSED, ResponseCode.INVALID_VALUE)


def test_texts_of_cells_are_read_by_their_attributes(node: Store) -> None:
    cells = {
        "serial": "7", "made": "2026-11-21", "weight": "1.50", "recycled": "false",
        "plants": '["a"]',
    }  # fmt: skip
    created(node, [made_row(HANDLE, cells, is_text=True)])
    found = texts(node, HANDLE)
    assert [found[index][1] for index in (2003, 2004, 2007)] == ["1.5", "false", '["a"]']
    (run,) = send(node, [made_row(b"88.118/2", {**cells, "weight": "1,5"}, is_text=True)])
    assert run.words == b"attribute 'weight' must be a number, not '1,5'"


def test_one_identifier_is_made_by_an_act(node: Store) -> None:
    asked: dict[str, Any] = {
        "handle": "88.118/One", "template": "auto-part", "attributes": SOME,
        "values": [{"index": 1, "type": "URL", "data": "https://example.org/"}],
    }  # fmt: skip
    outcome = act(node, "templates.create_handle", asked)
    assert isinstance(outcome, Done)
    assert outcome.result == {
        "handle": "88.118/One", "template": "88.118:auto-part", "version": 1, "replaced": False,
    }  # fmt: skip
    assert list(texts(node, b"88.118/ONE")) == [1, 1000, 1001, 2000, 2001]
    assert is_template_row(rows_of(node)[b"88.118/ONE"])
    again = act(node, "templates.create_handle", asked)
    assert isinstance(again, Refusal)
    assert again.response_code == ResponseCode.HANDLE_ALREADY_EXISTS
    replaced = act(node, "templates.create_handle", {**asked, "overwrite": True, "values": []})
    assert isinstance(replaced, Done)
    assert replaced.result["replaced"]
    assert list(texts(node, b"88.118/ONE")) == [1000, 1001, 2000, 2001]


@pytest.mark.parametrize(
    ("changes", "identity", "code"),
    [
        ({"handle": 7}, ADMIN, ResponseCode.INVALID_VALUE),
        ({"handle": "/x"}, ADMIN, ResponseCode.INVALID_VALUE),
        ({"template": None}, ADMIN, ResponseCode.INVALID_VALUE),
        ({"version": "2"}, ADMIN, ResponseCode.INVALID_VALUE),
        ({"attributes": []}, ADMIN, ResponseCode.INVALID_VALUE),
        ({"values": 7}, ADMIN, ResponseCode.INVALID_VALUE),
        ({"overwrite": "yes"}, ADMIN, ResponseCode.INVALID_VALUE),
        ({"attributes": {}}, ADMIN, ResponseCode.INVALID_VALUE),
        ({}, None, ResponseCode.AUTHENTICATION_NEEDED),
        ({}, STRANGER, ResponseCode.INVALID_ADMIN),
        ({"handle": "77/x", "template": "77:auto-part"}, ADMIN, ResponseCode.INVALID_VALUE),
    ],
)
def test_an_act_of_another_form_is_refused(
    node: Store, changes: dict[str, Any], identity: Any, code: int
) -> None:
    asked = {"handle": "88.118/1", "template": "auto-part", "attributes": SOME, **changes}
    outcome = act(node, "templates.create_handle", asked, identity=identity)
    assert isinstance(outcome, Refusal)
    assert outcome.response_code == code


def test_single_identifiers_share_the_lot_made_last(node: Store) -> None:
    for number in range(20):
        serial = f"{number:06}"
        asked = {
            "handle": f"88.118/S.{serial}", "template": "auto-part",
            "attributes": {**ALL, "serial": serial, "page": f"https://example.org/{serial}"},
        }  # fmt: skip
        outcome = act(node, "templates.create_handle", asked, now_s=LATER_S + number)
        assert isinstance(outcome, Done)
    rows = rows_of(node)
    assert max(len(rows[b"88.118/S.%06d" % number]) for number in range(20)) <= 10
    values = values_of(node, b"88.118/S.000013")
    assert values is not None
    assert {value.timestamp for value in values} == {LATER_S + 13}


def test_both_ways_of_looking_up_give_the_same(node: Store) -> None:
    created(node, [*lot(20), made_row(HANDLE, SOME, hidden(5)), made_row(b"88.118/x", ALL)])
    keys = list(rows_of(node))
    expanded, _ = node.find_rows(keys, [])
    with node.read() as view:
        assert expanded == [view.find_row(key) for key in keys]
        records = dict(view.records())
        paged = {handle: record for _, handle, record in view.page_records(b"", 1_000)}
    assert records == paged
    for key, row in zip(keys, expanded, strict=True):
        assert isinstance(row, bytes)
        assert decode_record(row) == records[key]
    exported = dict(export_pages(node, 7))
    assert exported == {key: record.values for key, record in records.items()}


DAMAGED_ROWS = [
    "", "90", "c0", "c1", "9163", "920102", "93016301", "9301fb01", "9301a16101", "93010101",
    "930100a161", "930103a161", "93010463",
]  # fmt: skip


@pytest.mark.parametrize("octets", [bytes.fromhex(each) for each in DAMAGED_ROWS])
def test_a_damaged_row_is_told_and_declined(node: Store, octets: bytes) -> None:
    created(node, [made_row(HANDLE, ALL)])
    damaged = ROW_HEAD + octets
    with node.write(journaled=False) as view:
        view.put_row(HANDLE, damaged)
    with node.read() as view, pytest.raises(RecordError):
        view.find_record(HANDLE)
    assert node.find_rows([HANDLE], [])[0] == [damaged]


def test_a_row_whose_lot_or_template_is_gone_is_told(node: Store) -> None:
    created(node, [made_row(HANDLE, ALL)])
    for key in (b"\0\0\0\1", b"\x81" + bytes(7) + b"\1"):
        with node.write(journaled=False) as view:
            entry = view.table("templates").get(key)
            assert entry is not None
            view.writable("templates").delete(key)
        with node.read() as view, pytest.raises(RecordError, match=r"is not there|there is no lot"):
            view.find_record(HANDLE)
        with node.write(journaled=False) as view:
            view.writable("templates").put(key, entry)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (Kind.TEMPLATE, each)
        for each in (b"", b"\xc1", b"\x91\x91\1", b"\x91\x92\1\2", b"\x93\1\2\3")
    ]
    + [(Kind.CREATE_FROM_TEMPLATE, each) for each in (b"", b"\xc1", b"\x90", b"\x93\1\2\3")],
)
def test_a_damaged_payload_is_a_damaged_frame(node: Store, kind: Kind, payload: bytes) -> None:
    operation = JournalOperation(kind, HANDLE, (), ADMIN, LATER_S, payload)
    with node.write(journaled=False) as view, pytest.raises(JournalError):
        replay(view, [operation])


@pytest.mark.parametrize(
    ("key", "tail"),
    [
        (b"88.118/A.000042", b"000042"),
        (b"88.118/SN000042", b"000042"),
        (b"88.118/A.SN42", b"SN42"),
        (b"88.118/A-7F3A", b"7F3A"),
        (b"88.118/42", b""),
        (b"88.118/AB", b""),
        (b"88.118/" + b"7" * 65, b""),
        ("88.118/A.泵泵".encode(), "泵泵".encode()),
        (b"88.118/A.", b""),
    ],
)
def test_tails(key: bytes, tail: bytes) -> None:
    assert tail_of(key) == tail


def test_create_of_the_protocol_finds_it_taken(node: Store) -> None:
    created(node, [made_row(HANDLE, ALL)])
    (outcome,) = perform(node, create(HANDLE, url()))
    assert isinstance(outcome, Refusal)
    assert outcome.response_code == ResponseCode.HANDLE_ALREADY_EXISTS
