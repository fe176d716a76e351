"""Acts that show statistics: who may see what, what is told, and mistakes put in words."""

from typing import Any

import pytest

from protocol.codes import ResponseCode
from protocol.value import Reference
from registry.acts import Act, Done, decide_act
from registry.authorization import Policy
from registry.counters import NAMES_MAX
from registry.days import day_of, day_to_text, start_of
from registry.outcomes import NOTHING_FOREIGN, Refusal
from registry.query_counters import FEW, DayQueries, add_queries, find_listed, purge_queries
from registry.range_records import RangeRecord, encode_range, range_key
from registry.roles import Role, Roles
from registry.space_saving import SpaceSaving, packed_source, source_to_text
from registry.statistics_acts import DAYS_MAX
from registry.store import Store
from tests.registry.builders import (
    ADMIN,
    NOW_S,
    ROOT,
    STRANGER,
    create,
    delete,
    perform,
    url,
)

OPERATOR = Reference(b"0.NA/99", 300)
POLICY = Policy(Roles({Role.ADMINISTRATOR: (ROOT,), Role.OPERATOR: (OPERATOR,)}))
TODAY = day_of(NOW_S)
TEXT = day_to_text(TODAY)


def act(
    store: Store, name: str, identity: Reference | None = ROOT, /, **parameters: Any
) -> dict[str, Any] | Refusal:
    parameters = {key.rstrip("_"): value for key, value in parameters.items()}
    with store.read() as view:
        asked = Act(f"statistics.{name}", parameters)
        outcome = decide_act(view, asked, identity, NOTHING_FOREIGN, POLICY, NOW_S * 1000)
    if isinstance(outcome, Done):
        assert not outcome.operations
        return outcome.result
    assert isinstance(outcome, Refusal)
    return outcome


def told(store: Store, name: str, identity: Reference = ROOT, /, **parameters: Any) -> Any:
    result = act(store, name, identity, **parameters)
    assert isinstance(result, dict), result
    return result


def refused(store: Store, name: str, **parameters: Any) -> str:
    result = act(store, name, ROOT, **parameters)
    assert isinstance(result, Refusal)
    assert result.response_code == ResponseCode.INVALID_VALUE
    return result.message.decode()


def count(store: Store, names: dict[bytes, tuple[int, int]], day: int = TODAY) -> None:
    queries = DayQueries(dict(names))
    queries.sources.add({packed_source("192.0.2.7"): sum(each[0] for each in names.values())})
    with store.write() as view:
        assert not add_queries(view, {day: queries}, sources_max=1_000)


@pytest.mark.parametrize("name", ["show", "sources", "totals"])
def test_all_of_the_node_is_for_administrators_and_operators(store: Store, name: str) -> None:
    for identity in (ROOT, OPERATOR):
        assert isinstance(act(store, name, identity), dict)
    for identity in (ADMIN, STRANGER):
        result = act(store, name, identity)
        assert isinstance(result, Refusal)
        assert result.response_code == ResponseCode.INVALID_ADMIN
    nobody = act(store, name, None)
    assert isinstance(nobody, Refusal)
    assert nobody.response_code == ResponseCode.AUTHENTICATION_NEEDED


@pytest.mark.parametrize("name", ["show", "sources", "totals"])
def test_a_prefix_is_also_for_who_may_list_its_handles(store: Store, name: str) -> None:
    for identity in (ROOT, OPERATOR, ADMIN):
        assert told(store, name, identity, prefix="88.118")["prefix"] == "88.118"
    assert isinstance(act(store, name, STRANGER, prefix="88.118"), Refusal)
    assert isinstance(act(store, name, None, prefix="88.118"), Refusal)
    assert isinstance(act(store, name, ADMIN, prefix="88.119"), Refusal)


def test_what_is_told_of_a_prefix(store: Store) -> None:
    yesterday_s = start_of(TODAY) - 1
    perform(store, create(b"88.118/A", url()), create(b"88.118/B", url()), now_s=yesterday_s)
    perform(store, delete(b"88.118/B"), now_s=NOW_S)
    with store.write(journaled=False) as view:
        view.writable("ranges").put(
            range_key(b"88.118/L", b"999"), encode_range(RangeRecord(b"000", bytes(4)))
        )
        view.changes.date(NOW_S)
    count(store, {b"88.118": (7, 5), b"0.NA/88.118": (3, 2), b"77": (2, 0)})
    result = told(store, "show", ADMIN, prefix="0.na/88.118", from_=day_to_text(TODAY - 1))
    before, today = result["days"]
    assert (before["day"], today["day"]) == (day_to_text(TODAY - 1), TEXT)
    assert (before["rows"]["added"], before["together"]["total"]) == (2, 2)
    assert (today["rows"]["removed"], today["ranges"]["added"]) == (1, 1_000)
    assert today["ranges"]["rangesAdded"] == 1
    assert today["together"] == {
        "added": 1_000, "changed": 0, "removed": 1, "revoked": 0, "total": 1_001,
    }  # fmt: skip
    assert today["queries"] == {"received": 7, "answered": 5}
    assert today["prefixQueries"] == {"received": 3, "answered": 2}
    now = result["identifiers"]
    assert (now["rows"], now["ranges"], now["inRanges"], now["identifiers"]) == (1, 1, 1_000, 1_001)
    assert (result["isCounted"], result["countedSince"]) == (True, "")


def test_what_is_told_of_the_node(store: Store) -> None:
    perform(store, create(b"0.NA/88.118.5"), identity=ROOT, now_s=NOW_S)
    count(store, {b"88.118": (7, 5), b"77": (2, 1), b"0.NA/88.118": (1, 1)})
    (day,) = told(store, "show")["days"]
    assert day["queries"] == {"received": 10, "answered": 7}
    assert day["queriesElsewhere"] == {"received": 2, "answered": 1}
    assert day["prefixes"]["added"] == 1
    assert day["rows"]["added"] == 0


def test_prefixes_that_nobody_registered_make_no_counters(store: Store) -> None:
    count(store, {b"0.NA/88.118": (1, 1)})
    with store.read() as view:
        before = view.table("statistics").count()
    count(store, {b"0.NA/66.%d" % number: (1, 0) for number in range(100)})
    with store.read() as view:
        assert view.table("statistics").count() == before + 1  # ELSEWHERE
    (day,) = told(store, "show")["days"]
    assert day["queriesElsewhere"] == {"received": 100, "answered": 0}
    assert day["queries"] == {"received": 101, "answered": 1}


def test_totals_come_page_by_page(store: Store) -> None:
    perform(store, create(b"88.118/A", url()), now_s=NOW_S)
    perform(store, create(b"0.NA/88.118.5"), identity=ROOT, now_s=NOW_S)
    names: list[Any] = []
    after = ""
    while True:
        page = told(store, "totals", after=after, limit=1)
        names += page["names"]
        after = page["next"]
        if not after:
            break
    below = [each["prefixesBelow"] for each in names if "prefixesBelow" in each]
    assert below == ["0.NA", "88", "88.118"]
    assert [each["prefix"] for each in names if "prefix" in each] == ["88.118"]
    assert page["identifiers"]["rows"] == 1
    assert page["prefixes"]["registered"] == 3


def test_sources(store: Store) -> None:
    queries = DayQueries({b"88.118": (1_503, 0)})
    queries.sources.add({packed_source(f"10.0.{n // 250}.{n % 250}"): 1 for n in range(1_500)})
    queries.sources.add({packed_source("::ffff:192.0.2.7"): 2, packed_source("2001:db8::1"): 1})
    with store.write() as view:
        assert not add_queries(view, {TODAY: queries}, sources_max=1_000)
    result = told(store, "sources", day=TEXT)
    assert result["total"] == 1_503
    assert len(result["sources"]) == 1_000
    assert result["sources"][0] == {"address": "192.0.2.7", "atLeast": 2, "atMost": 3}
    assert sum(each["atLeast"] for each in result["sources"]) + result["rest"] == 1_503
    assert (result["errorMax"], result["othersAtMost"]) == (1, 1)
    assert told(store, "sources", day="2020-01-01")["sources"] == []


def asked(prefixes: dict[bytes, dict[bytes, int]]) -> DayQueries:
    """What was asked: of each name by whom how often."""
    queries = DayQueries()
    for name, sources in prefixes.items():
        queries.add(name, sum(sources.values()), 0)
        queries.by_name.add(name, sources)
        queries.sources.add(sources)
    return queries


def addresses(count: int, start: int = 0, queries: int = 1) -> dict[bytes, int]:
    """So many addresses, each of which asked so often."""
    return {(start + number).to_bytes(4, "big"): queries for number in range(count)}


def keep(
    store: Store, queries: DayQueries, *, sources_max: int = 10_000, work_max: int = 50
) -> int:
    """Add queries; return how many transactions that took."""
    left, transactions = {TODAY: queries}, 0
    while left:
        with store.write() as view:
            left = add_queries(view, left, sources_max=sources_max, work_max=work_max)
        transactions += 1
    return transactions


def test_sources_of_a_prefix(store: Store) -> None:
    local = packed_source("192.0.2.7")
    for _ in range(2):  # what comes later is added to what is kept
        keep(
            store,
            asked(
                {
                    b"88.118": {local: 3, packed_source("192.0.2.8"): 1},
                    b"0.NA/88.118": {local: 2},
                    b"77": {local: 50},
                }
            ),
        )
    result = told(store, "sources", ADMIN, prefix="0.na/88.118", day=TEXT)
    assert (result["prefix"], result["day"], result["total"]) == ("88.118", TEXT, 8)
    assert result["sources"] == [
        {"address": "192.0.2.7", "atLeast": 6, "atMost": 6},
        {"address": "192.0.2.8", "atLeast": 2, "atMost": 2},
    ]
    assert (result["rest"], result["errorMax"], result["othersAtMost"]) == (0, 0, 0)
    below = result["prefixQueries"]
    assert (below["total"], below["sources"][0]["atLeast"]) == (4, 4)
    whole = told(store, "sources", day=TEXT)
    assert (whole["prefix"], whole["total"], whole["sources"][0]["atLeast"]) == ("", 112, 110)
    assert "prefixQueries" not in whole
    assert told(store, "sources", prefix="77", day=TEXT)["sources"] == []  # not homed here


def test_a_prefix_lists_its_largest_and_what_it_may_miss(store: Store) -> None:
    keep(store, asked({b"88.118": {**addresses(1_500), b"\xff\0\0\1": 400}}))
    keep(store, asked({b"88.118": {**addresses(1_500, 5_000), b"\xff\0\0\1": 400}}))
    result = told(store, "sources", prefix="88.118")
    assert (result["total"], len(result["sources"])) == (3_800, 1_000)
    first = result["sources"][0]
    assert (first["address"], first["atLeast"], first["atMost"]) == ("255.0.0.1", 800, 800)
    assert sum(each["atLeast"] for each in result["sources"]) + result["rest"] == 3_800
    assert 1 <= result["othersAtMost"] <= 3_800 / 1_001
    assert result["errorMax"] <= result["othersAtMost"]


def test_much_is_added_in_several_transactions(store: Store) -> None:
    with store.write(journaled=False) as view:
        for number in range(20):
            view.home(b"0.NA/9.%d" % number)
    queries = asked({b"9.%d" % number: addresses(10, number) for number in range(20)})
    assert keep(store, queries, work_max=50) == 4  # five names of eleven each go beyond 50
    for number in (0, 19):
        result = told(store, "sources", prefix=f"9.{number}")
        assert (result["total"], len(result["sources"])) == (10, 10)
    assert told(store, "sources")["total"] == 200
    assert told(store, "show")["days"][0]["queries"]["received"] == 200


def test_the_lists_of_all_prefixes_together_are_bounded(store: Store) -> None:
    with store.write(journaled=False) as view:
        for number in range(5):
            view.home(b"0.NA/9.%d" % number)
    for start in (0, 1_000):
        for number in range(5):
            keep(store, asked({b"9.%d" % number: addresses(100, start)}), sources_max=250)
    listed = []
    for number in range(5):
        result = told(store, "sources", prefix=f"9.{number}")
        listed.append(len(result["sources"]))
        assert result["total"] == 200
        assert sum(each["atLeast"] for each in result["sources"]) + result["rest"] == 200
        assert result["othersAtMost"] >= 1
    assert listed == [100, 100, 50, FEW, FEW]
    with store.read() as view:
        assert find_listed(view.table("statistics"), TODAY) == sum(listed)


def test_queries_of_unknown_sources_are_in_the_rest(store: Store) -> None:
    """As on the day that this was first counted on, or when a crash came in between."""
    keep(store, asked({b"88.118": {packed_source("192.0.2.7"): 5}}))
    count(store, {b"88.118": (2, 2)})
    result = told(store, "sources", prefix="88.118")
    assert (result["total"], result["rest"], result["othersAtMost"]) == (7, 2, 2)
    assert result["sources"] == [{"address": "192.0.2.7", "atLeast": 5, "atMost": 7}]


def test_sources_of_prefixes_are_forgotten_with_their_day(store: Store) -> None:
    keep(store, asked({b"88.118": {packed_source("192.0.2.7"): 5}}))
    with store.write() as view:
        assert purge_queries(view, TODAY + 401, 100) == 5  # of all and a name, and how many listed
    assert told(store, "sources", prefix="88.118", day=TEXT)["total"] == 0


def test_the_largest_numbers_are_text(store: Store) -> None:
    with store.write(journaled=False) as view:
        for letter in b"ABCDEFGHIJKLMNOPQRST":
            record = encode_range(RangeRecord(b"0" * 18, bytes(4)))
            view.writable("ranges").put(range_key(b"88.118/%c" % letter, b"9" * 18), record)
        view.changes.date(NOW_S)
    result = told(store, "show", prefix="88.118")
    assert result["identifiers"]["inRanges"] == "20000000000000000000"
    assert result["days"][0]["ranges"]["added"] == "20000000000000000000"


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("show", {"from_": "2026-02-30"}, "from is '2026-02-30': write a day as 2026-11-21"),
        ("show", {"to": 7}, "to is '7': write a day"),
        ("show", {"from_": "2026-02-02", "to": "2026-02-01"}, "from (2026-02-02) is after to"),
        ("show", {"from_": "2020-01-01", "to": "2026-01-01"}, f"ask for at most {DAYS_MAX}"),
        ("show", {"prefix": "88.118/A"}, "prefix is written as 88.118, not 88.118/A"),
        ("show", {"prefix": "8" * 500}, "prefix has 500 octets, at most 400"),
        ("show", {"prefix": 88}, "prefix must be text"),
        ("show", {"prefix": b"\xff"}, "prefix: octet 0 of the handle is not UTF-8"),
        ("sources", {"day": "1969-12-31"}, "day is '1969-12-31'"),
        ("totals", {"limit": 0}, f"limit must be a number from 1 to {NAMES_MAX}"),
        ("totals", {"limit": True}, "limit must be a number"),
    ],
)
def test_mistakes(store: Store, name: str, parameters: dict[str, Any], words: str) -> None:
    assert words in refused(store, name, **parameters)


def test_queries_are_forgotten_after_a_year_and_registrations_never(store: Store) -> None:
    perform(store, create(b"88.118/A", url()), now_s=NOW_S)
    for day in (TODAY - 1, TODAY):
        count(store, {b"88.118": (1, 1)}, day)
    with store.write() as view:
        assert purge_queries(view, TODAY + 399, 100) == 0
        assert purge_queries(view, TODAY + 400, 2) == 2
        assert purge_queries(view, TODAY + 400, 100) == 1
        assert purge_queries(view, TODAY + 400, 100) == 0
    before, today = told(store, "show", prefix="88.118", from_=day_to_text(TODAY - 1))["days"]
    assert (before["queries"]["received"], today["queries"]["received"]) == (0, 1)
    assert today["rows"]["added"] == 1


def test_queries_are_no_registrations(store: Store) -> None:
    with store.read() as view:
        head = view.head()
    count(store, {b"88.118": (1, 1)})
    with store.read() as view:
        assert view.head() == head


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:DB8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("", ""),
        ("/run/link.sock", ""),
    ],
)
def test_addresses(text: str, shown: str) -> None:
    assert source_to_text(packed_source(text)) == shown


def test_the_largest_is_never_lost(store: Store) -> None:
    summary = SpaceSaving(3)
    for round_ in range(50):
        summary.add({b"big": 10, b"%d" % round_: 1, b"x%d" % round_: 1, b"y%d" % round_: 1})
    first = summary.largest()[0]
    assert (first.source, first.at_least, first.at_most) == (b"big", 500, 500)
