"""Counting queries: in batches of both kinds, one by one, over midnight, with nobody to take it."""

import asyncio
import socket
from typing import Any, cast

import pytest

from protocol.bodies import ResolutionRequest
from protocol.codes import MessageFlag
from registry.counters import ELSEWHERE
from registry.days import day_of, start_of
from registry.query_counters import DayQueries
from registry.schema import encode_record
from registry.space_saving import packed_source
from resolver import query_counts
from resolver.fastpath import Choice, FastPath, Lookups, make_batch
from resolver.link import LinkDown, LinkFailed, LinkLost
from resolver.query_counts import CountSender, QueryCounts, pack_days, unpack_days
from resolver.quick_answers import BatchAnswers
from resolver.replies import Replies
from tests.registry.builders import NOW_S, PREFIX, url
from tests.resolver.office import request
from tests.resolver.two_paths import TWINS, Given

TODAY = day_of(NOW_S)
LOCAL = packed_source("192.0.2.1")
ROW = encode_record([url()], b"X")
GIVEN = Given(
    {b"88.118/A": ROW, b"88.1/A": ROW, b"0.NA/88.118": ROW, b"0.NA/88": ROW, b"0.NA/0.NA": ROW},
    frozenset({PREFIX, b"0.NA/88.1", b"0.NA/0.NA"}),
)
REPLIES = Replies(3, is_primary=True, now_s=lambda: NOW_S)


class Clock:
    def __init__(self) -> None:
        self.now_s = float(NOW_S)

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(params=TWINS)
def twin(request: pytest.FixtureRequest) -> Choice:
    return Choice(request.param)


def ask(handle: bytes) -> bytes:
    return request(1, ResolutionRequest(handle), MessageFlag.PUBLIC_ONLY).encode()


def answers(twin: Choice, counts: QueryCounts, *, clock: Clock | None = None) -> BatchAnswers:
    replies = REPLIES if clock is None else Replies(3, is_primary=True, now_s=clock)
    batch = make_batch(twin, -1, replies, case_sensitive=False, cached=False)
    return BatchAnswers(Lookups(batch, GIVEN, replies, 1, cached=False, counts=counts))


def taken(counts: QueryCounts) -> dict[bytes, tuple[int, int]]:
    return counts.take().get(TODAY, DayQueries()).names


def shown(day: DayQueries) -> dict[bytes, dict[bytes, int]]:
    """Who asked for each name, and how often at least."""
    found = {}
    for name in day.by_name:
        sources = day.by_name.find(name)
        assert sources is not None
        found[name] = {each.source: each.at_least for each in sources.largest()}
    return found


def test_a_batch_counts_what_it_answers(twin: Choice) -> None:
    counts = QueryCounts(lambda: NOW_S)
    quick = answers(twin, counts)
    handles = [b"88.118/A", b"88.118/a", b"88.1/A", b"88.118/none", b"77/A", b"0.NA/88.118"]
    handles += [b"0.na/88", b"0.NA/0.NA", b"88.1/B"]
    quick.answer_many([ask(each) for each in handles], "192.0.2.1")
    (day,) = counts.take().values()
    assert day.names == {
        b"88.118": (3, 2),
        b"88.1": (2, 1),
        b"0.NA/88": (1, 1),
        b"0.NA/0.NA": (2, 2),
    }
    assert [(each.source, each.at_least) for each in day.sources.largest()] == [(LOCAL, 8)]
    assert shown(day) == {name: {LOCAL: received} for name, (received, _) in day.names.items()}
    assert counts.take() == {}


def test_a_batch_counts_who_asked_for_what(twin: Choice) -> None:
    counts = QueryCounts(lambda: NOW_S)
    quick = answers(twin, counts)
    expected: dict[bytes, dict[bytes, int]] = {}
    senders = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "::ffff:192.0.2.3", ""]
    for turn in range(300):  # more pairs than a batch notes before it puts them together
        sender, prefix = senders[turn % 5], (b"88.118", b"88.1", b"0.NA/88")[turn % 3]
        asked = prefix + (b".1" if prefix.startswith(b"0.NA") else b"/A")
        times = turn % 4 + 1
        quick.answer_many([ask(asked)] * times, sender)
        if prefix.startswith(b"0.NA"):
            continue  # not homed: nobody's to answer here
        of = expected.setdefault(prefix, {})
        of[packed_source(sender)] = of.get(packed_source(sender), 0) + times
    (day,) = counts.take().values()
    assert shown(day) == expected
    assert day.names == {name: (sum(of.values()),) * 2 for name, of in expected.items()}


def test_more_pairs_than_a_batch_holds_are_taken_in_time(twin: Choice) -> None:
    counts = QueryCounts(lambda: NOW_S)
    quick = answers(twin, counts)
    for number in range(6_000):
        handles = [b"88.118/A", b"88.1/A"] if number % 2 else [b"88.118/A"]
        quick.answer_many([ask(each) for each in handles], f"10.0.{number >> 8}.{number & 255}")
    (day,) = counts.take().values()
    assert day.names == {b"88.118": (6_000, 6_000), b"88.1": (3_000, 3_000)}
    assert day.sources.total == 9_000
    for name, (received, _) in day.names.items():
        sources = day.by_name.find(name)
        assert sources is not None
        assert (sources.total, len(sources)) == (received, 1_000)
        assert sources.floor <= received / 1_001
        assert {(each.at_least, each.at_most) for each in sources.largest()} <= {
            (1, at_most) for at_most in range(1, sources.floor + 2)
        }


def test_what_is_no_look_up_is_not_counted(twin: Choice) -> None:
    counts = QueryCounts(lambda: NOW_S)
    quick = answers(twin, counts)
    lying = bytearray(ask(b"88.118/A"))
    lying[47] += 9  # the length of the handle
    assert quick.answer_many([b"", bytes(lying), b"\xff" * 70], "192.0.2.1")
    assert counts.take() == {}


def test_more_names_than_a_batch_holds_are_taken_in_time(twin: Choice) -> None:
    homed = {b"0.NA/9.%d" % number for number in range(3_000)}
    given = Given({}, frozenset(homed))
    counts = QueryCounts(lambda: NOW_S)
    batch = make_batch(twin, -1, REPLIES, case_sensitive=False, cached=False)
    quick = BatchAnswers(Lookups(batch, given, REPLIES, 1, cached=False, counts=counts))
    for start in range(0, 3_000, 50):
        quick.answer_many([ask(b"9.%d/x" % (start + n)) for n in range(50)], "192.0.2.1")
    assert taken(counts) == {name.removeprefix(b"0.NA/"): (1, 0) for name in homed}


def test_a_cache_is_not_counted(twin: Choice) -> None:
    batch = make_batch(twin, -1, REPLIES, case_sensitive=False, cached=True)
    batch.begin_counting(7)
    assert batch.take_counts() == {}
    assert not batch.counts_are_full


def test_midnight_parts_what_a_batch_has_counted(twin: Choice) -> None:
    clock = Clock()
    clock.now_s = start_of(TODAY + 1) - 0.5
    counts = QueryCounts(clock)
    quick, other = answers(twin, counts, clock=clock), answers(twin, counts, clock=clock)
    for each in (quick, other):
        each.answer_many([ask(b"88.118/A")], "192.0.2.1")
    clock.now_s += 1
    quick.answer_many([ask(b"88.118/A")], "192.0.2.1")
    counts.add(b"88.118/A", "192.0.2.2", answered=True)
    clock.now_s -= 3_600  # a clock that jumps back: what it says counts
    counts.add(b"88.118/A", "192.0.2.2", answered=False)
    days = counts.take()
    assert days[TODAY].names == {b"88.118": (3, 2)}
    assert days[TODAY + 1].names == {b"88.118": (2, 2)}
    assert days[TODAY].sources.total == 3


def test_single_queries() -> None:
    counts = QueryCounts(lambda: NOW_S)
    for handle in (b"88.118/A", b"88.118/B", b"0.na/88.118.5", b"88", b"88/x"):
        counts.add(handle, "192.0.2.1", answered=handle != b"88.118/B")
    counts.add(b"88.118/C", "192.0.2.1", answered=False)
    counts.add(b"88.118/C", "192.0.2.1", answered=True, received=False)  # after its challenge
    (day,) = counts.take().values()
    assert day.names == {
        b"88.118": (3, 2),
        b"0.NA/88.118": (1, 1),
        b"0.NA/0.NA": (1, 1),
        b"88": (1, 1),
    }
    assert day.sources.total == 6


def test_names_that_strangers_invent_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_counts, "NAMES_MAX", 20)
    counts = QueryCounts(lambda: NOW_S)
    for number in range(3_000):
        counts.add(b"7.%d/x" % number, f"10.0.{number >> 8}.{number & 255}", answered=False)
    names = taken(counts)
    assert len(names) == 21
    assert names[ELSEWHERE] == (2_980, 0)


def test_names_of_many_processes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_counts, "MERGED_NAMES_MAX", 3)
    counts = QueryCounts(lambda: NOW_S)
    for process in range(2):
        names = {b"0.NA/66.%d" % (number + 2 * process): (1, 0) for number in range(3)}
        counts.merge({TODAY: DayQueries(names)})
    (day,) = counts.take().values()
    assert len(day.names) == 4
    assert day.names[ELSEWHERE] == (2, 0)
    assert day.names[b"0.NA/66.2"] == (2, 0)


def test_days_of_a_mad_clock_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    counts = QueryCounts(clock)
    for day in range(20):
        clock.now_s = NOW_S + day * 86_400
        counts.add(b"88.118/A", "192.0.2.1", answered=True)
        counts.merge({})
        counts.turn(clock.now_s)
    assert len(counts.take()) == query_counts.DAYS_MAX
    assert "those of the oldest are dropped" in caplog.text


def test_counts_go_over_the_link_whole() -> None:
    counts = QueryCounts(lambda: NOW_S)
    counts.add(b"88.118/A", "::1", answered=True)
    days = counts.take()
    (payload,) = pack_days(days)
    (day,) = unpack_days(payload).values()
    assert day.names == days[TODAY].names
    assert day.sources.largest() == days[TODAY].sources.largest()
    assert shown(day) == shown(days[TODAY]) == {b"88.118": {packed_source("::1"): 1}}


def test_what_does_not_fit_into_a_frame_goes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_counts, "PART_OCTETS", 100)
    counts, other = QueryCounts(lambda: NOW_S), QueryCounts(lambda: NOW_S)
    for number in range(50):
        counts.add(b"88.%d/A" % (number % 20), f"192.0.2.{number}", answered=True)
    days = counts.take()
    parts = list(pack_days(days))
    assert len(parts) > 5
    for part in parts:
        other.merge(unpack_days(part))
    (day,) = other.take().values()
    assert day.names == days[TODAY].names
    assert shown(day) == shown(days[TODAY])
    assert day.sources.largest() == days[TODAY].sources.largest()


class FakeLink:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.sent: list[dict[str, Any]] = []

    async def call(self, kind: str, payload: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        assert kind == "count"
        if self.error is not None:
            raise self.error
        self.sent.append(payload)
        return {}


@pytest.mark.parametrize(
    ("error", "is_kept"),
    [
        (LinkDown("the registrar is not running"), True),
        (LinkLost("its outcome is not known"), False),
        (LinkFailed("an error of its own"), False),
    ],
)
def test_nothing_is_counted_twice_and_what_was_not_sent_is_kept(
    error: Exception, is_kept: bool
) -> None:
    async def main() -> None:
        counts, link = QueryCounts(lambda: NOW_S), FakeLink(error)
        sender = CountSender(counts, cast("Any", link))
        counts.add(b"88.118/A", "192.0.2.1", answered=True)
        await sender.send()
        link.error = None
        await sender.stop()
        assert len(link.sent) == is_kept

    asyncio.run(main())


def test_nothing_is_sent_when_nothing_was_asked() -> None:
    link = FakeLink()
    asyncio.run(CountSender(QueryCounts(), cast("Any", link)).send())
    assert link.sent == []


def test_what_was_found_counts_as_single_queries_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_counts, "ALIKE_MAX", 3)
    clock = Clock()
    clock.now_s = start_of(TODAY + 1) - 0.5
    one, other = QueryCounts(clock), QueryCounts(clock)
    found = {b"88.118/A": b"88.118", b"0.NA/88.118": b"0.NA/88.118", b"0.NA/0.NA": b"0.NA/0.NA"}
    for _ in range(2):
        for number, (handle, prefix) in enumerate(found.items()):
            one.add_found(prefix, f"192.0.2.{number}")
            other.add(handle, f"192.0.2.{number}", answered=True)
        clock.now_s += 1
    days = one.take()
    assert sorted(days) == [TODAY, TODAY + 1]
    assert list(pack_days(days)) == list(pack_days(other.take()))


@pytest.mark.parametrize(
    ("family", "host", "source"),
    [
        (socket.AF_INET, "127.0.0.1", packed_source("127.0.0.1")),
        (socket.AF_INET6, "::1", packed_source("::1")),
        (socket.AF_INET6, "::ffff:127.0.0.1", packed_source("127.0.0.1")),
    ],
)
def test_a_batch_of_a_socket_counts_who_asked(
    twin: Choice, family: socket.AddressFamily, host: str, source: bytes
) -> None:
    counts = QueryCounts(lambda: NOW_S)
    with socket.socket(family, socket.SOCK_DGRAM) as server:
        server.bind((host, 0))
        batch = make_batch(twin, server.fileno(), REPLIES, case_sensitive=False, cached=False)
        lookups = Lookups(batch, GIVEN, REPLIES, 1, cached=False, counts=counts)
        with (
            socket.socket(family, socket.SOCK_DGRAM) as one,
            socket.socket(family, socket.SOCK_DGRAM) as other,
        ):
            for client, handle in ((one, b"88.118/A"), (one, b"0.NA/88"), (other, b"88.1/none")):
                client.sendto(ask(handle), server.getsockname())
            one.sendto(ask(b"77/A"), server.getsockname())  # declined, so counted elsewhere
            assert FastPath(lookups).serve().answered == 3
    (day,) = counts.take().values()
    assert shown(day) == {name: {source: 1} for name in day.names}
    assert [(each.source, each.at_least) for each in day.sources.largest()] == [(source, 3)]
    assert day.names == {b"88.118": (1, 1), b"0.NA/0.NA": (1, 1), b"88.1": (1, 0)}
