import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol.codes import ResponseCode
from protocol.value import HandleValue
from registry import acts, range_acts, range_counts, range_replacements, ranges
from registry.answers import Question, resolve
from registry.authorization import Policy
from registry.check_digits import SCHEMES, check_of
from registry.journal import JournalOperation, Kind
from registry.log import LocalLog
from registry.outcomes import Refusal
from registry.range_changes import REVOKE, pack_changes
from registry.range_documents import Range
from registry.range_rows import rows_inside
from registry.range_values import RANGE_INDEX
from registry.ranges import changes_to, find_range_of, revoked_range
from registry.replay import replay
from registry.schema import VALUES_MAX
from registry.store import Store
from registry.verify import verify
from tests.registry.builders import (
    ADMIN,
    NOW_S,
    POLICY,
    STRANGER,
    add,
    create,
    delete,
    modify,
    open_store,
    perform,
    url,
    values_of,
)
from tests.registry.range_builders import (
    LOT,
    act,
    document,
    done,
    prepare,
    refused,
    register,
    url_form,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store") as opened:
        yield prepare(opened)
        opened.close()
        report = verify(tmp_path / "store")
        assert report.is_whole, report.problems


def texts(store: Store, handle: str) -> dict[int, str]:
    """Return what everybody reads of an identifier, nothing when it is not there."""
    with store.read() as view:
        answer = resolve(view, Question(handle.encode()))
    assert not hasattr(answer, "handles")
    return {value.index: value.data.decode() for value in answer.values}


def words(store: Store, handle: str) -> str:
    with store.read() as view:
        answer = resolve(view, Question(handle.encode()))
    return answer.message.decode()  # type: ignore[union-attr]


def test_an_identifier_of_a_range_is_answered_like_one_with_a_row(store: Store) -> None:
    shown = register(store)
    assert shown["identifiers"] == 500
    assert (shown["by"], shown["state"], shown["check"]) == ("300:0.NA/88.118", "active", "none")
    assert texts(store, "88.118/lot.20260042") == {
        1: "https://example.org/0042?id=88.118/LOT.20260042",
        RANGE_INDEX: "88.118/LOT.20260001..0500",
    }
    for outside in ("20260000", "20260501", "0042", "2026042", "202600042", "20260042X"):
        assert texts(store, f"88.118/LOT.{outside}") == {}


def test_all_placeholders_and_braces(store: Store) -> None:
    text = "{serial} {number} {prefix} {suffix} {handle} {{{check}}}"
    register(store, "88.118/a.", "007", "100", url_form(text), check="iso7064-mod11-2")
    check = check_of("iso7064-mod11-2", b"042").decode()
    assert texts(store, f"88.118/A.042{check}")[1] == (
        f"042 42 88.118 a.042{check} 88.118/a.042{check} {{{check}}}"
    )


@pytest.mark.parametrize("name", SCHEMES)
def test_only_identifiers_with_the_right_check_characters_are_there(
    store: Store, name: str
) -> None:
    text = url_form("{handle}:{serial}:{check}")
    register(store, "88.118/C1", "08", "12", text, check=name)
    for serial in ("08", "09", "10", "11", "12"):
        check = check_of(name, f"88.118/C1{serial}".encode()).decode()
        handle = f"88.118/C1{serial}{check}"
        assert texts(store, handle)[1] == f"{handle}:{serial}:{check}"
        wrong = "1" * len(check) if check[0] != "1" else "2" * len(check)
        assert texts(store, f"88.118/C1{serial}{wrong}") == {}
        assert texts(store, f"88.118/C1{serial}") == {}
    outcome = perform(store, create(b"88.118/C1090", url()), create(b"88.118/C11", url()))
    assert [isinstance(each, Refusal) for each in outcome] == [
        check_of(name, b"88.118/C109") == b"0", False
    ]  # fmt: skip


def test_private_values_are_for_administrators(store: Store) -> None:
    secret = {"index": 2, "type": "NOTE", "data": "of {handle}", "permissions": "1100"}
    shown = register(store, LOT, "01", "99", url_form(), secret)
    assert [value["index"] for value in shown["values"]] == [1, 2]
    assert 2 not in texts(store, LOT + "07")
    with store.read() as view:
        question = Question(f"{LOT}07".encode(), public_only=False)
        answer = resolve(view, question, ADMIN, {}, POLICY)
    assert [value.data for value in answer.values][1] == b"of 88.118/LOT.202607"  # type: ignore[union-attr]
    for identity, indexes in ((None, [1]), (STRANGER, [1]), (ADMIN, [1, 2])):
        shown = done(store, "ranges.show", {"identifier": LOT + "07"}, identity=identity)["range"]
        assert [value["index"] for value in shown["values"]] == indexes


def test_what_is_shown_registers_the_same_again(store: Store) -> None:
    values = [
        url_form("a{{b}}{serial}{check}|{handle}|{suffix}|{prefix}|{number}|{check}"),
        {"index": 2, "type": "BLOB", "data": {"format": "base64", "value": "AP97fQ=="}},
        {"index": 3, "type": "NOTE", "data": "{handle}", "permissions": "1100", "ttl": 60},
        {"index": 4, "type": "HS_ADMIN", "data": {"format": "admin", "value": {
            "handle": "0.NA/88.118", "index": 300, "permissions": "111111111111"}}},
        url_form("no placeholder {{serial}}", 5),
    ]  # fmt: skip
    shown = register(store, "88.118/a/b1", "01", "50", *values, check="gs1")
    again = done(store, "ranges.register", {**shown, "stem": "88.118/z/y1"})["range"]
    assert again["values"] == shown["values"]


def test_inside_a_range_a_handle_is_there_already(store: Store) -> None:
    register(store)
    (refusal,) = perform(store, create(f"{LOT}0007".encode(), url()))
    assert isinstance(refusal, Refusal)
    assert refusal.response_code == ResponseCode.HANDLE_ALREADY_EXISTS


def test_an_override_a_tombstone_and_a_new_row(store: Store) -> None:
    register(store)
    seven, eight = f"{LOT}0007".encode(), f"{LOT}0008".encode()
    perform(store, modify(seven, url(1, b"other")), delete(eight))
    values = values_of(store, seven)
    assert values is not None
    assert [value.data for value in values] == [b"other", b"88.118/LOT.20260001..0500"]
    assert values_of(store, eight) is None
    with store.read() as view:
        assert view.list_handles(b"0.NA/88.118", None, 9).handles == [seven]
        assert view.count_records() == 2
    count = done(store, "ranges.count", {"prefix": "88.118"})
    assert (count["rows"], count["inRanges"], count["overrides"], count["deleted"]) == (
        1,
        500,
        1,
        1,
    )
    assert count["identifiers"] == 499
    (again,) = perform(store, delete(eight))
    assert isinstance(again, Refusal)
    assert not any(isinstance(one, Refusal) for one in perform(store, create(eight, url())))
    perform(store, delete(seven))
    assert values_of(store, seven) is None
    assert done(store, "ranges.count", {"prefix": "88.118"})["identifiers"] == 499


def test_the_range_value_is_read_only(store: Store) -> None:
    register(store)
    (outcome,) = perform(
        store, modify(f"{LOT}0007".encode(), HandleValue(RANGE_INDEX, b"RANGE", b"forged"))
    )
    assert isinstance(outcome, Refusal)
    assert outcome.response_code == ResponseCode.INSUFFICIENT_PERMISSIONS


@pytest.mark.parametrize(
    ("stem", "first", "last"),
    [
        (LOT, "0500", "0600"),
        (LOT, "0000", "0001"),
        (LOT, "0100", "0200"),
        (LOT, "0000", "9999"),
        ("88.118/LOT.20", "260500", "260500"),
        ("88.118/lot.", "20260001", "20260001"),
        ("88.118/LOT.20260", "500", "999"),
    ],
)
def test_a_range_in_the_way_is_named(store: Store, stem: str, first: str, last: str) -> None:
    register(store)
    code, said = refused(store, "ranges.register", document(stem, first, last))
    assert code == ResponseCode.HANDLE_ALREADY_EXISTS
    assert "88.118/LOT.20260001..0500" in said


@pytest.mark.parametrize(
    ("stem", "first", "last"),
    [
        (LOT, "0501", "0600"),
        (LOT, "0000", "0000"),
        (LOT, "00001", "00500"),
        ("88.118/LOT.", "026", "027"),
        ("88.118/LOT.2026.", "0001", "0500"),
    ],
)
def test_neighbours_are_not_in_the_way(store: Store, stem: str, first: str, last: str) -> None:
    register(store)
    register(store, stem, first, last)


@pytest.mark.parametrize("row", ["0001", "0250", "0500"])
def test_a_row_in_the_way_is_named_or_kept(store: Store, row: str) -> None:
    handle = LOT + row
    perform(store, create(handle.encode(), url(1, b"own")))
    code, said = refused(store, "ranges.register", document())
    assert code == ResponseCode.HANDLE_ALREADY_EXISTS
    assert f"{handle} is registered on its own" in said
    register(store, existing="keep")
    assert texts(store, handle) == {1: "own"}
    assert done(store, "ranges.count", {"prefix": "88.118"})["identifiers"] == 500


def test_rows_that_sort_between_are_not_in_the_way(store: Store) -> None:
    between = [
        "0",
        "2",
        "10",
        "1000",
        "15X",
        "1-5",
        "199:",
        "0:0",
        "19",
        "150.",
        "1~",
        ":",
        "100/x",
    ]
    for rest in between:
        perform(store, create(f"88.118/B{rest}".encode(), url()))
    register(store, "88.118/B", "100", "199")
    assert texts(store, "88.118/B150")
    code, said = refused(store, "ranges.register", document("88.118/B", "00", "19"))
    assert (code, "88.118/B10 " in said) == (101, True)


@pytest.mark.usefixtures("five_steps")
def test_many_rows_between_are_too_many(store: Store) -> None:
    perform(store, *(create(b"88.118/D%04d" % n, url()) for n in range(100)))
    _, said = refused(store, "ranges.register", document("88.118/D", "000", "999"))
    assert "more than 5 rows lie in the range or between" in said
    assert said.endswith(
        "before 88.118/D005 already: register it in parts, such as one that ends before it"
    )
    with store.read() as view:
        assert view.count_records() == 101


@pytest.fixture
def five_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have acts look at five rows."""
    for module in (acts, range_acts):
        monkeypatch.setattr(module, "STEPS_MAX", 5)


@pytest.mark.usefixtures("five_steps")
def test_a_range_with_too_many_rows_is_revoked_part_by_part(store: Store) -> None:
    register(store, "88.118/E", "00", "49")
    perform(store, *(modify(b"88.118/E%02d" % number, url(1, b"own")) for number in range(20)))
    perform(store, *(delete(b"88.118/E%02d" % number) for number in range(8, 12)))
    at, parts = "00", 0
    while True:
        asked = {"identifier": f"88.118/E{at}", "reason": "recalled", "existing": "keep"}
        outcome = act(store, "ranges.revoke", asked)
        if not isinstance(outcome, Refusal):
            break
        said = outcome.message.decode()
        assert "more than 5 rows lie in the range or between its identifiers" in said
        assert said.endswith("split it there, and revoke one part after the other")
        (reached,) = re.findall(r"so many before (88\.118/E\d\d) already", said)
        done(store, "ranges.split", {"identifier": reached})
        assert not isinstance(act(store, "ranges.revoke", asked), Refusal)
        at, parts = reached[-2:], parts + 1
    assert parts == 4
    count = done(store, "ranges.count", {"prefix": "88.118"})
    assert (count["rows"], count["deleted"], count["revokedRanges"]) == (16, 0, 5)
    assert texts(store, "88.118/E05")[1] == "own"
    assert texts(store, "88.118/E10") == {}


@pytest.mark.usefixtures("five_steps")
def test_a_range_with_too_many_rows_is_shrunk_a_little_at_a_time(store: Store) -> None:
    register(store, "88.118/E", "00", "49")
    perform(store, *(delete(b"88.118/E%02d" % number) for number in range(30, 40)))
    asked = {"identifier": "88.118/E00", "first": "00", "last": "29"}
    said = refused(store, "ranges.shrink", asked)[1]
    assert "so many before 88.118/E35 already: take away fewer identifiers at a time" in said
    for last in ("35", "31", "29"):
        done(store, "ranges.shrink", asked | {"last": last})
    count = done(store, "ranges.count", {"prefix": "88.118"})
    assert (count["identifiers"], count["deleted"]) == (30, 0)


def test_a_split_and_what_stays_look_at_no_rows(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(store, "88.118/E", "00", "49")
    perform(store, *(modify(b"88.118/E%02d" % number, url(1, b"own")) for number in range(20)))
    looked_at: list[bytes] = []

    def looking(*args: Any, **options: Any) -> Iterator[tuple[bytes, bytes]]:
        for found in rows_inside(*args, **options):
            looked_at.append(found[0])
            yield found

    for module in (range_counts, range_replacements, ranges):
        monkeypatch.setattr(module, "rows_inside", looking)
    done(store, "ranges.split", {"identifier": "88.118/E10"})
    assert looked_at == []
    done(
        store,
        "ranges.shrink",
        {"identifier": "88.118/E19", "first": "11", "last": "49", "existing": "keep"},
    )
    assert set(looked_at) == {b"88.118/E10"}
    assert done(store, "ranges.count", {"prefix": "88.118"})["overrides"] == 19


@pytest.mark.usefixtures("five_steps")
def test_what_the_journal_says_is_done_whatever_the_rows(store: Store, tmp_path: Path) -> None:
    register(store, "88.118/E", "00", "49")
    perform(store, *(delete(b"88.118/E%02d" % number) for number in range(30)))
    held = store_range(store, b"88.118/E05")
    revoked = revoked_range(held, ADMIN, NOW_S, "recalled")
    payload = pack_changes(REVOKE, changes_to(held, revoked))
    operation = JournalOperation(Kind.RANGES, held.span.stem, (), ADMIN, NOW_S, payload)
    with store.write() as view:
        replay(view, [operation])
        LocalLog(view).append_operations([operation], NOW_S * 1000)
    count = done(store, "ranges.count", {"prefix": "88.118"})
    assert (count["deleted"], count["inRevoked"]) == (0, 50)


def store_range(store: Store, handle: bytes) -> Range:
    with store.read() as view:
        found = find_range_of(view, handle)
    assert found is not None
    return found


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"values": [url_form("{seriel}")]}, 202, "{seriel} is unknown"),
    ({"values": [url_form("a } b")]}, 202, "a lone } at character 3"),
    ({"values": [url_form("{serial")]}, 202, "a lone {"),
    ({"values": []}, 202, "at least one value"),
    ({"values": "none"}, 202, "at least one value"),
    ({"values": [1]}, 202, "values[0]"),
    ({"values": [url_form(), url_form()]}, 201, "index is given twice"),
    ({"values": [url_form(index=RANGE_INDEX)]}, 202, "index 1002"),
    ({"values": [url_form("x" * 300_000)]}, 202, "at most"),
    ({"values": [url_form("{handle}" * 1_025)]}, 202, "at most 1024"),
    ({"stem": "88.118/" + "x" * 400, "values": [url_form("{handle}" * 100)]}, 202, "make"),
    ({"values": [url_form("{number}" * 9_000)]}, 202, "at most 60000"),
    ({"values": [url_form(index=n) for n in range(1, VALUES_MAX + 1)]}, 202, "at most 2047"),
    ({"values": [{"index": 1, "type": "HS_ADMIN", "data": "x"}]}, 202, "HS_ADMIN"),
    ({"first": "001"}, 102, "first has 3 digits, last has 4"),
    ({"first": "0501"}, 102, "first (0501) is beyond last (0500)"),
    ({"first": "", "last": ""}, 102, "first must be 1 to 18 digits"),
    ({"first": "1" * 19, "last": "2" * 19}, 102, "1 to 18 digits"),
    ({"first": "\u0660\u0661"}, 102, "first must be 1 to 18 digits"),
    ({"first": 1}, 102, "first must be text"),
    ({"first": None}, 102, "first is missing"),
    ({"stem": "88.118"}, 102, "prefix and a slash"),
    ({"stem": "/x"}, 102, "prefix and a slash"),
    ({"stem": "88.118/a\0b"}, 102, "control character"),
    ({"stem": "88.118/a\n"}, 102, "control character"),
    ({"stem": b"88.118/\xff"}, 102, "not UTF-8"),
    ({"stem": "0.NA/88.118."}, 102, "prefixes are registered one by one"),
    ({"stem": "88.118/" + "x" * 500}, 102, "at most 477"),
    ({"stem": "88.118/" + "1" * 29}, 102, "at most 32"),
    ({"stem": "88.118/" + "x" * 3_000}, 102, "stem: a handle has 1 to 2048"),
    ({"stem": 7}, 102, "stem must be text"),
    ({"check": "luhn"}, 202, "check must be one of none, gs1"),
    ({"check": ["gs1"]}, 202, "check must be one of"),
    ({"existing": "replace"}, 202, "existing must be one of refuse, keep"),
]


@pytest.mark.parametrize(("others", "code", "said"), BAD)
def test_bad_descriptions(store: Store, others: dict[str, Any], code: int, said: str) -> None:
    assert refused(store, "ranges.register", {**document(), **others})[0] == code
    assert said in refused(store, "ranges.register", {**document(), **others})[1]
    with store.read() as view:
        assert view.table("ranges").count() == 0


def test_who_may_register(store: Store) -> None:
    assert refused(store, "ranges.register", document(), identity=None)[0] == 402
    assert refused(store, "ranges.register", document(), identity=STRANGER)[0] == 400
    elsewhere = document("88.119/a")
    assert refused(store, "ranges.register", elsewhere)[0] == ResponseCode.SERVER_NOT_RESPONSIBLE
    closed = Policy(POLICY.roles, allow_na_admins=False)
    assert refused(store, "ranges.register", document(), policy=closed)[0] == 400


def test_who_may_change_and_count(store: Store) -> None:
    register(store)
    bounds = {"identifier": LOT + "0007", "first": "0002", "last": "0003"}
    for identity, code in ((None, 402), (STRANGER, 400)):
        for name, parameters in (
            ("ranges.shrink", bounds),
            ("ranges.split", bounds),
            ("ranges.revoke", bounds | {"reason": "why"}),
            ("ranges.count", {"prefix": "88.118"}),
            ("ranges.list", {"prefix": "88.118"}),
        ):
            assert refused(store, name, parameters, identity=identity)[0] == code
    assert done(store, "ranges.show", bounds, identity=None)["range"]["identifiers"] == 500


def test_a_range_has_administrators_of_its_own(store: Store) -> None:
    data = {"format": "admin", "value": {
        "handle": "88.118/STRANGER", "index": 300, "permissions": "111111111111"}}  # fmt: skip
    register(store, LOT, "01", "99", {"index": 100, "type": "HS_ADMIN", "data": data})
    perform(store, delete(f"{LOT}01".encode()), identity=STRANGER)
    split = {"identifier": LOT + "50"}
    assert refused(store, "ranges.split", split, identity=ADMIN)[0] == 400
    assert len(done(store, "ranges.split", split, identity=STRANGER)["ranges"]) == 2


def test_shrinking_and_splitting(store: Store) -> None:
    register(store)
    shrink = {"identifier": LOT + "0007", "first": "0005", "last": "0400"}
    perform(store, add(f"{LOT}0450".encode(), url(5)), delete(f"{LOT}0451".encode()))
    code, said = refused(store, "ranges.shrink", shrink)
    assert (code, f"{LOT}0450 is registered on its own" in said) == (101, True)
    shown = done(store, "ranges.shrink", shrink | {"existing": "keep"})["range"]
    assert (shown["first"], shown["last"], shown["identifiers"]) == ("0005", "0400", 396)
    assert texts(store, LOT + "0004") == texts(store, LOT + "0451") == {}
    assert texts(store, LOT + "0450")[1].endswith("0450")
    assert texts(store, LOT + "0400")[RANGE_INDEX] == "88.118/LOT.20260005..0400"
    one, two = done(store, "ranges.split", {"identifier": LOT + "0100"})["ranges"]
    assert (one["last"], two["first"]) == ("0099", "0100")
    assert texts(store, LOT + "0099")[RANGE_INDEX] == "88.118/LOT.20260005..0099"
    assert texts(store, LOT + "0100")[1] == "https://example.org/0100?id=88.118/LOT.20260100"
    for bad in ({"first": "0004"}, {"last": "0100"}, {"first": "6", "last": "7"}, {"first": ""}):
        asked = {"identifier": LOT + "0050", "first": "0006", "last": "0007"} | bad
        assert refused(store, "ranges.shrink", asked)[0] == 202
    assert refused(store, "ranges.split", {"identifier": LOT + "0100"})[0] == 202
    assert refused(store, "ranges.split", {"identifier": LOT + "0999"})[0] == 100
    register(store, LOT, "0451", "0500")
    assert done(store, "ranges.count", {"prefix": "88.118"})["identifiers"] == 396 + 50 + 1


def test_a_revoked_range_says_why_for_ever(store: Store) -> None:
    register(store)
    revoke = {"identifier": LOT + "0007", "reason": "wrong paint"}
    perform(store, add(f"{LOT}0450".encode(), url(5)), delete(f"{LOT}0451".encode()))
    for reason in (None, "", " ", "x" * 1_025, 7):
        assert refused(store, "ranges.revoke", revoke | {"reason": reason})[0] == 202
    assert refused(store, "ranges.revoke", revoke)[0] == 101
    shown = done(store, "ranges.revoke", revoke | {"existing": "keep"}, now_s=NOW_S + 5)["range"]
    assert (shown["state"], shown["reason"]) == ("revoked", "wrong paint")
    said = words(store, LOT + "0007")
    assert said == (
        f"{LOT}0007 was revoked with its whole range on 2026-11-18T11:06:45Z by 300:0.NA/88.118: "
        "wrong paint"
    )
    for serial in ("0007", "0451"):
        (outcome,) = perform(store, create(f"{LOT}{serial}".encode(), url()))
        assert isinstance(outcome, Refusal)
        assert outcome.response_code == ResponseCode.HANDLE_ALREADY_EXISTS
        assert b"wrong paint" in outcome.message
    assert texts(store, LOT + "0450")
    assert refused(store, "ranges.register", document())[1].startswith("the revoked range")
    for name in ("ranges.shrink", "ranges.split", "ranges.revoke"):
        assert "was revoked" in refused(store, name, revoke)[1]
    count = done(store, "ranges.count", {"prefix": "88.118"})
    assert (count["identifiers"], count["revokedRanges"], count["inRevoked"]) == (1, 1, 500)


def test_lists_come_in_pages(store: Store) -> None:
    for number in range(7):
        register(store, f"88.118/P{number}.2026", "01", "99")
    after, seen = "", []
    while True:
        page = done(store, "ranges.list", {"prefix": "88.118", "limit": 3, "after": after})
        seen += [each["stem"] for each in page["ranges"]]
        after = page["next"]
        if not after:
            break
    assert seen == [f"88.118/P{number}.2026" for number in range(7)]
    for stem, found in (
        ("88.118/p3", 1),
        ("88.118/P3.20", 1),
        ("88.118/P3.2025", 0),
        ("88.118/Q", 0),
    ):
        page = done(store, "ranges.list", {"prefix": "88.118", "stem": stem})
        assert len(page["ranges"]) == found, stem
    long = {"stem": "88.118/" + "x" * 600}
    for bad in (
        {"limit": 0},
        {"limit": 1_001},
        {"after": "x"},
        {"stem": "99/x"},
        {"prefix": ""},
        long,
    ):
        act_refused = refused(store, "ranges.list", {"prefix": "88.118", **bad})
        assert act_refused[0] in (102, 202)
    assert not done(store, "ranges.list", {"prefix": "88.118", "after": "ff" * 600})["ranges"]


def test_more_identifiers_than_a_number_holds(store: Store) -> None:
    for number in range(9):
        register(store, f"88.118/BIG{number}.", "0" * 18, "9" * 18)
    code, said = refused(store, "ranges.register", document("88.118/BIG9.", "0" * 18, "9" * 18))
    assert (code, "9,223,372,036,854,775,807" in said) == (202, True)
    count = done(store, "ranges.count", {"prefix": "88.118"})
    assert count["identifiers"] == 9 * 10**18


def test_an_unknown_act_and_identifier(store: Store) -> None:
    assert isinstance(act(store, "ranges.nonsense", {}), Refusal)
    assert refused(store, "ranges.show", {"identifier": "88.118/nothing1"})[0] == 100
    assert refused(store, "ranges.show", {})[0] == ResponseCode.INVALID_HANDLE
    assert refused(store, "ranges.show", {"identifier": "99.9/1"})[0] == 301


def test_case_is_kept_where_the_store_keeps_it(tmp_path: Path) -> None:
    with open_store(tmp_path / "other", case_sensitive=True) as store:
        prepare(store)
        register(store, "88.118/Lot.", "01", "50", url_form("{handle}"))
        assert texts(store, "88.118/Lot.07")[1] == "88.118/Lot.07"
        assert texts(store, "88.118/LOT.07") == {}
