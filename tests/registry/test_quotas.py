"""Quotas a prefix and day: exact at the limit, new at midnight in Shanghai, in bulk too."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.value import encode_values
from registry.authorization import Counted, Permitted
from registry.bulk import register_rows
from registry.creation_rights import CreationRights
from registry.offices import IDENTIFIERS, OFFICES
from registry.operations import Change
from registry.outcomes import Refusal
from registry.plain_creations import PlainCreation, PlainCreations
from registry.quotas import LIMIT_MAX, SHANGHAI, day_of, resets_s, used_today
from registry.store import Store
from registry.stream_rows import Row, RowKind
from registry.streams import Stream, Verdict, batches, find_stream, put_stream
from tests.registry.builders import (
    ADMIN,
    NOW_S,
    POLICY,
    PREFIX,
    admin_value,
    create,
    delete,
    open_store,
    perform,
    put,
    url,
)
from tests.registry.office import do, refused

MIDNIGHT_S = int(datetime(2026, 11, 22, tzinfo=SHANGHAI).timestamp())
OTHER = b"0.NA/88.119"
ASKED = {"prefix": "88.118"}


def set_quota(store: Store, identifiers: int | None = None, requests: int | None = None) -> None:
    quota = {"identifiersPerDay": identifiers, "requestsPerDay": requests}
    do(store, "quotas.set", ASKED | quota)


def plain(name: str) -> Row:
    octets, handle = encode_values([url()]), b"88.118/" + name.encode()
    return Row(RowKind.PLAIN, handle, octets, hashlib.sha256(handle).digest())


def send(store: Store, rows: Sequence[Row], now_s: int = NOW_S, key: bytes = b"lot") -> list[str]:
    """Register rows of a stream; return each one's verdict, with its words if it was refused."""
    stream = Stream(ADMIN, key, now_s * 1000)
    with store.write() as view:
        known = find_stream(view, stream.name)
        if known is None:
            put_stream(view, known := stream)
        first = known.rows + 1
        register_rows(view, known, first, rows, foreign={}, policy=POLICY, now_ms=now_s * 1000)
    with store.read() as view:
        return [
            Verdict(run.verdict).name.lower() + (f": {run.words.decode()}" if run.words else "")
            for batch in batches(view, stream.name, first)
            for run in batch.runs
            for _ in range(run.rows)
        ]


def used(store: Store, now_s: int = NOW_S) -> int:
    with store.read() as view:
        return used_today(view, IDENTIFIERS, PREFIX, now_s)


def test_rows_beyond_the_quota_are_refused_exactly_at_it(store: Store) -> None:
    set_quota(store, 5)
    verdicts = send(store, [plain(f"P{number}") for number in range(8)])
    assert verdicts[:5] == ["created"] * 5
    assert (
        verdicts[5:]
        == [
            "refused: 88.118 has used 5 of 5 identifiers today; its quota begins anew at "
            f"{datetime.fromtimestamp(resets_s(NOW_S), SHANGHAI).isoformat()}"
        ]
        * 3
    )
    assert used(store) == 5


def lot(name: str, last: int, **others: str) -> Row:
    """A row that registers a range from 1 on."""
    values = [{"index": 1, "type": "URL", "data": "u/{serial}"}]
    form = {"stem": f"88.118/{name}.", "first": "01", "last": f"{last:02d}", "values": values}
    octets = msgpack.packb(form | others)
    return Row(RowKind.RANGE, b"", octets, hashlib.sha256(octets).digest())


@pytest.mark.parametrize("others", [{}, {"check": "none"}])
def test_ranges_are_counted_by_their_identifiers(store: Store, others: dict[str, str]) -> None:
    """The second way, of documents that are not plain, says and counts the same as the first."""
    set_quota(store, 50)
    rows = [lot("A", 20, **others), lot("B", 20, **others), lot("C", 20, **others), plain("P1"),
            lot("D", 9, **others), lot("B", 20, **others), lot("E", 1, **others)]  # fmt: skip
    verdicts = send(store, rows)
    assert [each.partition(":")[0] for each in verdicts] == [
        "created", "created", "refused", "created", "created", "unchanged", "refused"
    ]  # fmt: skip
    assert verdicts[2].startswith("refused: 88.118 has used 40 of 50 identifiers today")
    assert verdicts[6].startswith("refused: 88.118 has used 50 of 50 identifiers today")
    assert used(store) == 50


def test_the_quota_holds_over_batches_and_ways_of_registering(store: Store) -> None:
    set_quota(store, 4)
    assert send(store, [plain("a"), plain("b")]) == ["created"] * 2
    (outcome,) = perform(store, create(b"88.118/c", url()), policy=POLICY, now_s=NOW_S)
    assert isinstance(outcome, Change)
    with store.write(journaled=False) as view:
        creations = PlainCreations(view, POLICY, NOW_S)
        octets = encode_values([url()])
        assert creations.create(PlainCreation(b"88.118/d", [octets]), ADMIN) is not None
        assert creations.create(PlainCreation(b"88.118/e", [octets]), ADMIN) is None
    (outcome,) = perform(store, create(b"88.118/e", url()), policy=POLICY, now_s=NOW_S)
    assert isinstance(outcome, Refusal)
    assert outcome.message.startswith(b"88.118 has used 4 of 4 identifiers today")
    assert send(store, [plain("f")])[0].startswith("refused: 88.118 has used 4 of 4")


def test_what_is_there_already_uses_up_nothing(store: Store) -> None:
    assert send(store, [plain("a"), plain("b")]) == ["created"] * 2
    set_quota(store, 1)
    verdicts = send(store, [plain("a"), plain("b"), plain("c"), plain("d")], key=b"again")
    assert verdicts[:3] == ["unchanged", "unchanged", "created"]
    assert verdicts[3].startswith("refused: 88.118 has used 1 of 1")
    perform(store, create(b"88.118/a", url(7), overwrite=True), policy=POLICY, now_s=NOW_S)
    assert used(store) == 1


def test_what_is_deleted_is_not_given_back(store: Store) -> None:
    set_quota(store, 1)
    assert send(store, [plain("a")]) == ["created"]
    perform(store, delete(b"88.118/a"), policy=POLICY, now_s=NOW_S)
    assert send(store, [plain("a")])[0].startswith("refused")


def test_the_day_begins_at_midnight_in_shanghai(store: Store) -> None:
    assert day_of(MIDNIGHT_S) == day_of(MIDNIGHT_S - 1) + 1
    assert resets_s(MIDNIGHT_S - 1) == MIDNIGHT_S
    assert resets_s(MIDNIGHT_S) == MIDNIGHT_S + 86_400
    set_quota(store, 2)
    rows = [plain(f"P{number}") for number in range(6)]
    assert [each[:7] for each in send(store, rows[:3], MIDNIGHT_S - 1)] == [
        "created", "created", "refused"
    ]  # fmt: skip
    assert [each[:7] for each in send(store, rows[3:], MIDNIGHT_S)] == [
        "created", "created", "refused"
    ]  # fmt: skip


def test_a_quota_of_one_prefix_is_not_anothers(store: Store) -> None:
    put(store, {OTHER: [admin_value()]}, [OTHER])
    set_quota(store, 0)
    octets = encode_values([url()])
    rows = [
        Row(RowKind.PLAIN, handle, octets, hashlib.sha256(handle).digest())
        for handle in (b"88.119/a", b"88.118/a", b"88.119/b")
    ]
    assert [each[:7] for each in send(store, rows)] == ["created", "refused", "created"]


def test_without_a_quota_nothing_is_counted_or_asked_for_a_row(store: Store) -> None:
    asked = []
    with store.write(journaled=False) as view:
        rights = CreationRights(view, ADMIN, {}, POLICY, NOW_S)
        right = rights.find(b"88.118/a", b"88.118/A")
        asked.append(type(right))
    assert asked == [Permitted]
    send(store, [plain("a"), plain("b")])
    with store.read() as view:
        assert list(view.table(OFFICES).items()) == []
    set_quota(store, 9)
    with store.write(journaled=False) as view:
        rights = CreationRights(view, ADMIN, {}, POLICY, NOW_S)
        assert type(rights.find(b"88.118/a", b"88.118/A")) is Counted


def test_a_range_counts_with_all_its_identifiers(store: Store) -> None:
    set_quota(store, 1_000)
    values = [{"index": 1, "type": "URL", "data": "https://example.org/{serial}"}]
    document: dict[str, Any] = {"stem": "88.118/R.", "values": values, "first": "0001"}
    code, words = refused(store, "ranges.register", document | {"last": "1001"}, ADMIN)
    assert (code, words.startswith("88.118 has used 0 of 1000")) == (401, True)
    do(store, "ranges.register", document | {"last": "0999"}, ADMIN)
    shown = do(store, "quotas.show", ASKED)
    assert shown["identifiers"] == {"perDay": 1_000, "used": 999, "left": 1}
    assert refused(store, "ranges.register", document | {"first": "2000", "last": "2001"}, ADMIN)


def test_quotas_are_shown_before_they_bite(store: Store) -> None:
    assert do(store, "quotas.show", ASKED)["identifiers"] == {
        "perDay": None, "used": 0, "left": None
    }  # fmt: skip
    set_quota(store, 10, 20)
    send(store, [plain("a"), plain("b")], NOW_S + 60)
    assert do(store, "quotas.show", ASKED, ADMIN) == {
        "prefix": "88.118",
        "identifiers": {"perDay": 10, "used": 2, "left": 8},
        "requests": {"perDay": 20, "used": 0, "left": 20},
        "resets": datetime.fromtimestamp(resets_s(NOW_S), SHANGHAI).isoformat(),
    }


def test_a_quota_can_be_lowered_and_taken_away(store: Store) -> None:
    set_quota(store, 5)
    send(store, [plain("a"), plain("b"), plain("c")])
    set_quota(store, 2)
    assert send(store, [plain("d")])[0].startswith("refused: 88.118 has used 3 of 2")
    set_quota(store)
    assert send(store, [plain("e")]) == ["created"]
    with store.read() as view:
        assert list(view.table(OFFICES).items()) == []


@pytest.mark.parametrize("limit", [-1, 1.5, "5", True, LIMIT_MAX + 1, 2**64])
def test_a_limit_is_a_number_of_bounded_size(store: Store, limit: Any) -> None:
    code, words = refused(store, "quotas.set", ASKED | {"identifiersPerDay": limit})
    assert (code, words.startswith("identifiersPerDay: ")) == (202, True)


def test_only_prefixes_that_are_here_have_quotas(store: Store) -> None:
    asked = {"prefix": "88.119", "identifiersPerDay": 5}
    assert refused(store, "quotas.set", asked)[0] == 301


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 6),
    st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6), max_size=4),
)
def test_never_more_than_the_quota_is_created_and_never_less(
    tmp_path_factory: pytest.TempPathFactory, limit: int, lots: list[list[str]]
) -> None:
    with open_store(tmp_path_factory.mktemp("quotas") / "store") as store:
        put(store, {PREFIX: [admin_value()]}, [b"0.NA/0.NA", PREFIX])
        set_quota(store, limit)
        created: list[str] = []
        for lot in lots:
            verdicts = send(store, [plain(name) for name in lot])
            for name, verdict in zip(lot, verdicts, strict=True):
                if name in created:
                    assert verdict == "unchanged"
                elif len(created) < limit:
                    assert verdict == "created"
                    created.append(name)
                else:
                    assert verdict.startswith("refused")
        assert used(store) == len(created)
