"""The past of handles as the acts tell it, and what finding it may cost."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol.value import encode_values
from registry import histories, history_frames, life_history, range_history_index
from registry.check_digits import check_of
from registry.errors import JournalError
from registry.frame_times import last_at
from registry.histories import History
from registry.history_index import jumps
from registry.log import LocalLog
from registry.offline import LoadPolicy, LoadRow, load_records, seed_store
from registry.plain_creations import PlainCreation, PlainCreations
from registry.store import Store
from registry.stream_rows import RowKind
from registry.verify import verify
from tests.registry.builders import (
    ADMIN,
    HANDLE,
    NOW_S,
    POLICY,
    PREFIX,
    STRANGER,
    admin_value,
    create,
    delete,
    hidden,
    modify,
    open_store,
    perform,
    url,
)
from tests.registry.lives import act, done, refused

BY = "300:0.NA/88.118"
T0 = "2026-11-18T11:06:40.000Z"
SECRET = hidden(2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    seed_store(tmp_path, {PREFIX: [admin_value()]}, [b"0.NA/0.NA", PREFIX], now_s=NOW_S)
    with open_store(tmp_path) as opened:
        yield opened
    assert verify(tmp_path).is_whole


def plainly(store: Store, handle: bytes, now_s: int, now_ms: int | None = None) -> None:
    """Create a handle in the shortest way, which keeps no entry in the history."""
    with store.write() as view:
        pieces = encode_values([url()]).split(NOW_S.to_bytes(4, "big"))
        item = PlainCreations(view, POLICY, now_s).create(PlainCreation(handle, pieces), ADMIN)
        assert item is not None
        LocalLog(view).append_packed([item], now_s * 1_000 if now_ms is None else now_ms)


def lived(store: Store) -> None:
    """Frame 2 creates, 3 modifies, 4 freezes, 5 thaws, 6 deletes, 7 creates anew, 8 revokes."""
    perform(store, create(HANDLE, url(), SECRET), now_s=NOW_S)
    perform(store, modify(HANDLE, url(data=b"new")), now_s=NOW_S + 1)
    for number, name in enumerate(("life.freeze", "life.thaw"), 2):
        done(act(store, name, handle=HANDLE, reason="review", now_ms=(NOW_S + number) * 1_000))
    perform(store, delete(HANDLE), now_s=NOW_S + 4)
    plainly(store, HANDLE, NOW_S + 5)
    done(act(store, "life.revoke", handle=HANDLE, reason="forged", now_ms=(NOW_S + 6) * 1_000))


def told(store: Store, identity: Any = None, **more: Any) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = done(
        act(store, "life.history", identity, handle=HANDLE, **more)
    )["events"]
    return events


def test_a_whole_life_is_told(store: Store) -> None:
    lived(store)
    events = told(store)
    assert [(each["sequence"], each["operation"]) for each in events] == [
        (2, "create"),
        (3, "modify"),
        (4, "freeze"),
        (5, "thaw"),
        (6, "delete"),
        (7, "create"),
        (8, "revoke"),
    ]
    assert {each["by"] for each in events} == {BY}
    assert events[0]["time"] == T0
    assert [each.get("reason") for each in events] == [
        None,
        None,
        *["review"] * 2,
        None,
        None,
        "forged",
    ]
    assert [each.get("hidden") for each in events] == [1, 1, None, None, None, 0, None]
    assert [[value["data"]["value"] for value in each.get("values", [])] for each in events] == [
        ["https://example.com/"],
        ["new"],
        [],
        [],
        [],
        ["https://example.com/"],
        [],
    ]


def test_pages_of_a_history_join(store: Store) -> None:
    lived(store)
    whole, after, found = told(store), 0, []
    for _ in range(20):
        page = done(act(store, "life.history", None, handle=HANDLE, after=after, limit=2))
        assert len(page["events"]) <= 2
        found += page["events"]
        after = page["next"]
        if not after:
            break
    assert found == whole
    assert done(act(store, "life.history", None, handle=HANDLE))["complete"] is True


def test_an_answer_reads_so_many_octets_of_frames(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived(store)
    whole, after, found = told(store), 0, []
    monkeypatch.setattr(life_history, "READ_OCTETS_MAX", 1)
    for _ in whole:
        page = done(act(store, "life.history", None, handle=HANDLE, after=after))
        assert len(page["events"]) == 1
        found += page["events"]
        after = page["next"]
    assert found == whole


@pytest.mark.parametrize(
    ("seq", "state", "data", "made_by"),
    [
        (0, "unregistered", [], None),
        (1, "unregistered", [], None),
        (2, "active", ["https://example.com/"], 2),
        (3, "active", ["new"], 3),
        (4, "frozen", ["new"], 4),
        (5, "active", ["new"], 5),
        (6, "deleted", [], 6),
        (7, "active", ["https://example.com/"], 7),
        (8, "revoked", [], 8),
    ],
)
def test_every_state_is_told(
    store: Store, seq: int, state: str, data: list[str], made_by: int | None
) -> None:
    lived(store)
    found = done(act(store, "life.as_of", None, handle=HANDLE, sequence=seq))
    assert (found["state"], found["asOf"]) == (state, seq)
    assert [value["data"]["value"] for value in found["values"]] == data
    assert found.get("sequence") == made_by
    if made_by:
        assert found["by"] == BY
        by_time = done(act(store, "life.as_of", None, handle=HANDLE, time=found["time"]))
        assert by_time == found
    assert found.get("reason") == {4: "review", 5: "review", 8: "forged"}.get(seq)


def test_times_have_zones_and_fractions(store: Store) -> None:
    lived(store)
    for text, seq in (
        ("2026-11-18T11:06:40Z", 2),
        ("2026-11-18T11:06:40.999Z", 2),
        ("2026-11-18T19:06:41+08:00", 3),
        ("1970-01-01T00:00:00Z", 0),
        ("2100-01-01T00:00:00Z", 8),
    ):
        assert done(act(store, "life.as_of", None, handle=HANDLE, time=text))["asOf"] == seq


# Who may read what


def test_hidden_values_are_told_to_who_may_read_them(store: Store) -> None:
    unreadable = hidden(3, permission=0b0100)
    perform(store, create(HANDLE, url(), SECRET, unreadable), now_s=NOW_S)
    for identity, seen, left in ((None, 1, 2), (STRANGER, 1, 2), (ADMIN, 2, 1)):
        for found in (
            done(act(store, "life.as_of", identity, handle=HANDLE, sequence=2)),
            told(store, identity)[0],
        ):
            assert (len(found["values"]), found["hidden"]) == (seen, left)
    perform(store, delete(HANDLE), now_s=NOW_S + 1)
    assert told(store, ADMIN)[0]["hidden"] == 1  # the prefix's administrators are those of a ghost
    assert told(store, STRANGER)[0]["hidden"] == 2


def test_what_is_hidden_today_is_not_told_of_yesterday_either(store: Store) -> None:
    perform(store, create(HANDLE, url(), url(2, data=b"draft")), now_s=NOW_S)
    for identity in (None, STRANGER, ADMIN):
        assert told(store, identity)[0]["hidden"] == 0
    perform(store, modify(HANDLE, SECRET), now_s=NOW_S + 1)
    for identity, left in ((None, 1), (STRANGER, 1), (ADMIN, 0)):
        assert told(store, identity)[0]["hidden"] == left
        assert done(act(store, "life.as_of", identity, handle=HANDLE, sequence=2))["hidden"] == left


# What is wrong


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("life.history", {"after": -1}, "after has to be a number"),
        ("life.history", {"after": True}, "after has to be a number"),
        ("life.history", {"after": "1"}, "after has to be a number"),
        ("life.history", {"limit": 0}, "limit has to be a number from 1 to 100"),
        ("life.history", {"limit": 101}, "limit has to be a number from 1 to 100"),
        ("life.as_of", {}, "either a time or a sequence"),
        ("life.as_of", {"time": T0, "sequence": 1}, "either a time or a sequence"),
        ("life.as_of", {"sequence": 99}, "the journal ends at frame 1"),
        ("life.as_of", {"sequence": 2**63}, "sequence has to be a number"),
        ("life.as_of", {"time": "yesterday"}, "not 'yesterday'"),
        ("life.as_of", {"time": 7}, "the time has to be one like"),
        ("life.as_of", {"time": "2026-11-18T11:06:40"}, "lacks its zone"),
    ],
)
def test_bad_input(store: Store, name: str, parameters: dict[str, Any], words: str) -> None:
    code, said = refused(act(store, name, None, handle=HANDLE, **parameters))
    assert (code, words in said) == (202, True), said


@pytest.mark.parametrize("name", ["life.history", "life.as_of"])
def test_handles_of_others(store: Store, name: str) -> None:
    assert refused(act(store, name, None, handle="77/x", sequence=1))[0] == 301
    assert refused(act(store, name, None, handle="", sequence=1))[0] == 102


# Many frames, odd clocks


def test_a_creation_is_found_by_its_time_in_a_few_frames(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_frames, "SEARCHED_FRAMES_MAX", 12)
    now_s = NOW_S
    for number in range(400):
        now_s += -700 if number in (100, 250) else 5 if number % 3 == 0 else 0
        plainly(store, b"88.118/P%d" % number, now_s, now_s * 1_000 + number % 3)
    with store.read() as view:
        assert jumps(view.table("histories"), 500) == [252, 102]
        for number in range(0, 400, 7):
            history = History(view, b"88.118/P%d" % number)
            (change,) = history.changes(0)
            assert (change.seq, history.is_whole) == (number + 2, True)
            before = History(view, b"88.118/P%d" % number).at(number + 1)
            assert before is not None
            assert before.state == "unregistered"


def test_the_sequence_decides_when_the_clock_went_back(store: Store) -> None:
    for number, second in enumerate((10, 20, 30, 15, 16, 40)):
        plainly(store, b"88.118/P%d" % number, NOW_S + second)
    with store.read() as view:
        found = {at: last_at(view, (NOW_S + at) * 1_000) for at in (9, 10, 14, 15, 19, 25, 39, 40)}
    assert found == {9: 1, 10: 2, 14: 2, 15: 5, 19: 6, 25: 6, 39: 6, 40: 7}


def test_what_cannot_be_found_within_the_bounds_is_said_to_be_unknown(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        plainly(store, b"88.118/P%d" % number, NOW_S)
    monkeypatch.setattr(history_frames, "SEARCHED_FRAMES_MAX", 5)
    whole = done(act(store, "life.history", None, handle="88.118/P29"))
    assert (whole["events"], whole["complete"]) == ([], False)
    code, words = refused(act(store, "life.as_of", None, handle="88.118/P29", sequence=31))
    assert (code, "within what one request may search" in words) == (2, True)
    found = done(act(store, "life.as_of", None, handle="88.118/P2", sequence=31))
    assert found["sequence"] == 4


@pytest.mark.parametrize("age_s", [0, 60, 61, 10_000_000, -1])
def test_loaded_records_with_times_of_their_own_have_a_past(store: Store, age_s: int) -> None:
    value = url()
    value = type(value)(1, b"URL", b"old", timestamp=NOW_S + 9 - age_s)
    for number in range(20):
        plainly(store, b"88.118/P%d" % number, NOW_S + 9)
    rows = [LoadRow(1, HANDLE, encode_values([value])), LoadRow(2, b"88.118/other", [value])]
    list(load_records(store, rows, policy=LoadPolicy.REFUSE, now_s=lambda: NOW_S + 9))
    for handle in ("88.118/A", "88.118/other"):
        found = done(act(store, "life.history", None, handle=handle))
        assert [each["operation"] for each in found["events"]] == ["create"]
        assert (found["events"][0]["by"], found["complete"]) == ("the owner of the node", True)
        state = done(act(store, "life.as_of", None, handle=handle, sequence=21))
        assert state["state"] == "unregistered"


def test_a_trimmed_journal_says_from_when_it_knows(tmp_path: Path, store: Store) -> None:
    perform(store, create(HANDLE, url()), create(b"88.118/B", url()), now_s=NOW_S)
    with store.write() as view:
        head = LocalLog(view).seal_snapshot((NOW_S + 1) * 1_000)
        LocalLog(view).trim(0, head.seq)
    perform(store, modify(HANDLE, url(data=b"new")), now_s=NOW_S + 5)
    found = done(act(store, "life.history", None, handle=HANDLE))
    assert [each["operation"] for each in found["events"]] == ["modify"]
    assert (found["complete"], found["knownAfter"]) == (False, 2)
    words = "begins after frame 2 of its journal"
    for seq in (1, 2):
        assert words in refused(act(store, "life.as_of", None, handle=HANDLE, sequence=seq))[1]
    assert done(act(store, "life.as_of", None, handle=HANDLE, sequence=3))["state"] == "active"
    unchanged = done(act(store, "life.as_of", None, handle="88.118/B", sequence=3))
    assert (unchanged["state"], len(unchanged["values"])) == ("active", 1)
    assert "sequence" not in unchanged


def test_a_store_of_the_time_before_histories(store: Store) -> None:
    perform(store, create(HANDLE, url()), now_s=NOW_S)
    perform(store, modify(HANDLE, url(data=b"new")), now_s=NOW_S + 5)
    with store.write(journaled=False) as view:
        table = view.writable("histories")
        for key, _ in list(table.items()):
            table.delete(key)
        view.put_meta(b"histories", (3).to_bytes(8, "big"))
    done(act(store, "life.freeze", handle=HANDLE, now_ms=(NOW_S + 9) * 1_000))
    found = done(act(store, "life.history", None, handle=HANDLE))
    assert [each["operation"] for each in found["events"]] == ["freeze"]
    assert (found["complete"], found["knownAfter"]) == (False, 3)
    assert (
        "begins after frame 3"
        in refused(act(store, "life.as_of", None, handle=HANDLE, sequence=2))[1]
    )


def test_many_changes_of_one_frame_are_cut_from_the_front(store: Store) -> None:
    perform(store, create(HANDLE, url()), now_s=NOW_S)
    big = [modify(HANDLE, url(data=b"%d" % number * 30_000)) for number in range(40)]
    perform(store, *big, now_s=NOW_S + 1)
    events = told(store)
    shown = [each for each in events if each["sequence"] == 3]
    assert shown[-1]["values"][0]["data"]["value"].startswith("3939")
    assert shown[0]["omitted"] + len(shown) == 40
    assert all("omitted" not in each for each in shown[1:])


def test_damaged_frames_end_the_request_and_are_named(store: Store) -> None:
    perform(store, create(HANDLE, url()), now_s=NOW_S)
    with store.read() as view:
        frame = view.find_frame(2)
    assert frame is not None
    with store.write(journaled=False) as view:
        view.writable("journal").put((2).to_bytes(8, "big"), frame[:60])
    with pytest.raises(JournalError, match="frame 2 does not decode"):
        act(store, "life.history", None, handle=HANDLE)
    with store.write(journaled=False) as view:
        view.writable("journal").put((2).to_bytes(8, "big"), frame)


# Ranges

RANGE: dict[str, Any] = {
    "stem": "88.118/LOT.",
    "first": "001",
    "last": "900",
    "values": [{"index": 1, "type": "URL", "data": "https://example.org/{serial}"}],
}


def in_ranges(store: Store) -> None:
    """Frame 2 registers 001..900, 3 splits, 4 overrides 007, 5 cuts off from 401, 6 revokes."""
    seconds = iter(range(1, 9))

    def perform_act(name: str, **parameters: Any) -> None:
        done(act(store, name, now_ms=(NOW_S + next(seconds)) * 1_000, **parameters))

    perform_act("ranges.register", **RANGE)
    perform_act("ranges.split", identifier="88.118/LOT.501")
    perform(store, modify(b"88.118/LOT.007", url(data=b"own")), now_s=NOW_S + next(seconds))
    about = {"identifier": "88.118/LOT.001"}
    perform_act("ranges.shrink", first="001", last="400", **about)
    perform_act("ranges.revoke", reason="recalled", existing="keep", **about)


def of(store: Store, name: str, **more: Any) -> list[tuple[Any, ...]]:
    found = done(act(store, "life.history", None, handle="88.118/LOT." + name, **more))
    assert found["complete"] is True
    return [
        (each["sequence"], each["operation"], each.get("range", "")[11:], each.get("kept", False))
        for each in found["events"]
    ]


def test_what_was_done_to_its_range_was_done_to_an_identifier(store: Store) -> None:
    in_ranges(store)
    before = [(2, "create", "001..900", False), (3, "split", "001..500", False)]
    cut, revoked = (5, "cut", "001..400", False), (6, "revoke", "001..400", False)
    shrunk = (5, "shrink", "001..400", False)
    assert of(store, "008") == [*before, shrunk, revoked]
    assert of(store, "450") == [*before, cut]
    assert of(store, "501") == [before[0], (3, "split", "501..900", False)]
    own = [
        (4, "modify", "", False),
        (5, "shrink", "001..400", True),
        (6, "revoke", "001..400", True),
    ]
    assert of(store, "007") == [*before, *own]
    assert of(store, "901") == of(store, "0007") == []
    assert of(store, "008", after=2, limit=2) == [before[1], shrunk]


def test_events_of_a_range_say_who_when_why_and_the_values(store: Store) -> None:
    in_ranges(store)
    found = done(act(store, "life.history", None, handle="88.118/LOT.008"))["events"]
    assert {each["by"] for each in found} == {BY}
    assert [each["time"][17:] for each in found] == ["41.000Z", "42.000Z", "44.000Z", "45.000Z"]
    assert [each.get("reason") for each in found] == [None, None, None, "recalled"]
    shown = [[value["data"]["value"] for value in each.get("values", [])] for each in found]
    assert shown[0] == ["https://example.org/008", "88.118/LOT.001..900"]
    assert shown[2] == ["https://example.org/008", "88.118/LOT.001..400"]
    assert shown[3] == []


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("008", [("unregistered", 0), ("active", 2), ("active", 3), ("active", 3), ("active", 5),
                 ("revoked", 6)]),
        ("007", [("unregistered", 0), ("active", 2), ("active", 3), ("active", 4), ("active", 4),
                 ("active", 4)]),
        ("450", [("unregistered", 0), ("active", 2), ("active", 3), ("active", 3), ("deleted", 5),
                 ("deleted", 5)]),
        ("901", [("unregistered", 0)] * 6),
    ],
)  # fmt: skip
def test_the_state_as_of_a_frame_is_that_of_the_range_until_there_is_a_row(
    store: Store, name: str, states: list[tuple[str, int]]
) -> None:
    in_ranges(store)
    for seq, expected in enumerate(states, 1):
        found = done(act(store, "life.as_of", None, handle="88.118/LOT." + name, sequence=seq))
        assert (found["state"], found.get("sequence", 0)) == expected, seq
        assert found.get("reason") == ("recalled" if found["state"] == "revoked" else None)
        assert ("range" in found) == (bool(expected[1]) and (name, expected[1]) != ("007", 4))


def test_the_values_that_a_freeze_found_are_those_of_the_range(store: Store) -> None:
    done(act(store, "ranges.register", **RANGE))
    done(act(store, "life.freeze", handle="88.118/LOT.007", reason="sample"))
    done(act(store, "ranges.split", identifier="88.118/LOT.005"))
    for seq in (3, 4):
        found = done(act(store, "life.as_of", None, handle="88.118/LOT.007", sequence=seq))
        assert (found["state"], found["reason"]) == ("frozen", "sample")
        assert found["values"][1]["data"]["value"] == "88.118/LOT.001..900"


def test_the_history_of_a_range_itself(store: Store) -> None:
    in_ranges(store)
    found = done(act(store, "ranges.history", None, identifier="88.118/LOT.007"))
    told = [(each["operation"], each["range"], each["identifiers"]) for each in found["events"]]
    assert told == [
        ("register", "88.118/LOT.001..900", 900),
        ("split", "88.118/LOT.001..500", 500),
        ("shrink", "88.118/LOT.001..400", 400),
        ("revoke", "88.118/LOT.001..400", 400),
    ]
    assert found["events"][1]["ranges"] == ["88.118/LOT.001..500", "88.118/LOT.501..900"]
    assert (found["events"][3]["reason"], found["events"][3]["by"]) == ("recalled", BY)
    page = done(act(store, "ranges.history", None, identifier="88.118/LOT.007", after=2, limit=1))
    assert (page["events"], page["next"]) == (found["events"][1:2], 3)
    other = done(act(store, "ranges.history", None, identifier="88.118/OTHER.1"))
    assert (other["events"], other["complete"]) == ([], True)
    assert refused(act(store, "ranges.history", None, identifier=""))[0] == 102
    assert refused(act(store, "ranges.history", None, identifier="77/1"))[0] == 301


def test_registering_ranges_costs_no_entries_and_changing_one_costs_one(store: Store) -> None:
    def entries() -> int:
        with store.read() as view:
            return view.table("histories").count()

    before = entries()
    for number in range(30):
        done(act(store, "ranges.register", **RANGE | {"stem": f"88.118/LOT{number}."}))
    assert entries() == before
    done(act(store, "ranges.split", identifier="88.118/LOT7.500"))
    assert entries() == before + 1


def test_changes_of_other_ranges_are_not_looked_through(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of those beside an identifier, nor of the one that it was cut off from."""
    monkeypatch.setattr(range_history_index, "RUNS_MAX", 2)
    done(act(store, "ranges.register", **RANGE))
    for number in range(1, 60):  # lots are split off one after the other
        done(act(store, "ranges.split", identifier=f"88.118/LOT.{number * 15 + 1:03d}"))
    for number in range(60):
        expected = list(range(2, min(number, 58) + 4))
        for serial in (number * 15 + 1, number * 15 + 15):
            told = [sequence for sequence, *_ in of(store, f"{serial:03d}")]
            assert told == expected, serial
            (name,) = {
                done(
                    act(store, "life.as_of", None, handle=f"88.118/LOT.{serial:03d}", sequence=seq)
                )["range"]
                for seq in (expected[-1], 61)
            }
            assert name.startswith(f"88.118/LOT.{number * 15 + 1:03d}..")


def test_too_many_ranges_over_the_same_numbers_are_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(act(store, "ranges.register", **RANGE))
    done(act(store, "ranges.shrink", identifier="88.118/LOT.001", first="001", last="050"))
    for number in range(100, 160, 10):  # each is elsewhere, and gives way to the next
        other = {"first": f"{number}", "last": f"{number + 600}"}
        identifier = f"88.118/LOT.{number}"
        done(act(store, "ranges.register", **RANGE | other))
        last = f"{number + 5}"
        done(act(store, "ranges.shrink", identifier=identifier, first=f"{number}", last=last))
    assert [each[:2] for each in of(store, "900")] == [(2, "create"), (3, "cut")]
    monkeypatch.setattr(range_history_index, "RUNS_MAX", 5)
    words = "more than 5 ranges were registered beside the identifier"
    assert words in refused(act(store, "life.history", None, handle="88.118/LOT.900"))[1]
    late = act(store, "life.as_of", None, handle="88.118/LOT.900", sequence=15)
    assert words in refused(late)[1]
    early = act(store, "life.history", None, handle="88.118/LOT.900", limit=1)
    assert [each["operation"] for each in done(early)["events"]] == ["create"]


def test_too_many_changes_after_a_deletion_are_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(act(store, "ranges.register", **RANGE))
    perform(store, delete(b"88.118/LOT.001"), now_s=NOW_S)
    for number in (800, 700, 600):
        done(act(store, "ranges.split", identifier=f"88.118/LOT.{number}"))
    monkeypatch.setattr(histories, "CHANGES_MAX", 3)
    asked: dict[str, Any] = {"handle": "88.118/LOT.001", "sequence": 6}
    assert done(act(store, "life.as_of", None, **asked))["state"] == "deleted"
    monkeypatch.setattr(histories, "CHANGES_MAX", 2)
    words = "the range around the identifier changed more than 2 times after it was deleted"
    assert words in refused(act(store, "life.as_of", None, **asked))[1]
    assert done(act(store, "life.as_of", None, **asked | {"sequence": 4}))["state"] == "deleted"


def test_a_loaded_range_is_found_though_it_says_another_time(store: Store) -> None:
    for number in range(20):
        plainly(store, b"88.118/P%d" % number, NOW_S + 9)
    stated = RANGE | {"registered": "2020-01-01T00:00:00Z"}
    row = LoadRow(1, b"88.118/LOT.", (), RowKind.RANGE, stated)
    list(load_records(store, [row], policy=LoadPolicy.REFUSE, now_s=lambda: NOW_S + 9))
    found = done(act(store, "life.history", None, handle="88.118/LOT.007"))
    assert [each["operation"] for each in found["events"]] == ["create"]
    assert (found["events"][0]["by"], found["complete"]) == ("the owner of the node", True)
    before = done(act(store, "life.as_of", None, handle="88.118/LOT.007", sequence=21))
    assert before["state"] == "unregistered"


def test_ranges_from_before_the_first_frame_known(tmp_path: Path, store: Store) -> None:
    done(act(store, "ranges.register", **RANGE))
    done(act(store, "ranges.register", **RANGE | {"stem": "88.118/B."}))
    with store.write() as view:
        head = LocalLog(view).seal_snapshot((NOW_S + 61) * 1_000)
        LocalLog(view).trim(0, head.seq)
    done(act(store, "ranges.split", identifier="88.118/LOT.500", now_ms=(NOW_S + 90) * 1_000))
    found = done(act(store, "life.history", None, handle="88.118/LOT.007"))
    assert [each["operation"] for each in found["events"]] == ["split"]
    assert (found["complete"], found["knownAfter"]) == (False, 3)
    unchanged = done(act(store, "life.as_of", None, handle="88.118/B.007", sequence=4))
    assert (unchanged["state"], unchanged["range"]) == ("active", "88.118/B.001..900")
    assert "sequence" not in unchanged
    words = "begins after frame 3 of its journal"
    for handle in ("88.118/LOT.007", "88.118/B.007"):
        assert words in refused(act(store, "life.as_of", None, handle=handle, sequence=2))[1]


def test_a_store_of_the_time_before_ranges_had_a_history(store: Store) -> None:
    done(act(store, "ranges.register", **RANGE))
    perform(store, create(HANDLE, url()), now_s=NOW_S + 61)
    with store.write(journaled=False) as view:
        view.put_meta(b"range_histories", (3).to_bytes(8, "big"))
    found = done(act(store, "life.history", None, handle="88.118/LOT.007"))
    assert (found["events"], found["complete"], found["knownAfter"]) == ([], False, 3)
    whole = done(act(store, "life.history", None, handle=HANDLE))
    assert (len(whole["events"]), whole["complete"]) == (1, True)


def test_a_check_character_decides_who_is_in_a_range(store: Store) -> None:
    done(act(store, "ranges.register", **RANGE | {"check": "gs1"}))
    done(act(store, "ranges.shrink", identifier="88.118/LOT.0017", first="001", last="400"))
    right, wrong = (check_of("gs1", b"88.118/LOT.500").decode(), "x")
    assert [each[1] for each in of(store, "500" + right)] == ["create", "cut"]
    for check in {*"0123456789", wrong} - {right}:
        assert of(store, "500" + check) == []


def test_marks_in_a_range_are_counted_once(store: Store) -> None:
    done(act(store, "ranges.register", **RANGE))
    with store.read() as view:
        before = view.counts(b"88.118")
    for verb, name in (("freeze", "007"), ("revoke", "008")):
        done(act(store, f"life.{verb}", handle="88.118/LOT." + name, reason="why"))
    with store.read() as view:
        after = view.counts(b"88.118")
        assert view.find_row(b"88.118/lot.008") is None
    assert before.identifiers - after.identifiers == 1
    assert (after.overrides, after.revoked) == (2, 1)
    plain = before._replace(rows=before.rows + 1, overrides=1)
    done(act(store, "life.thaw", handle="88.118/LOT.007"))
    with store.read() as view:
        assert view.counts(b"88.118")._replace(revoked=0) == plain._replace(overrides=2)


def test_marks_in_a_range_survive_a_snapshot(store: Store) -> None:
    done(act(store, "ranges.register", **RANGE))
    for verb, name in (("freeze", "007"), ("revoke", "008")):
        done(act(store, f"life.{verb}", handle="88.118/LOT." + name, reason="why"))
    perform(store, delete(b"88.118/LOT.009"), now_s=NOW_S + 70)
    with store.write() as view:
        head = LocalLog(view).seal_snapshot((NOW_S + 80) * 1_000)
        LocalLog(view).trim(0, head.seq)
    done(act(store, "life.thaw", handle="88.118/LOT.007", now_ms=(NOW_S + 90) * 1_000))
