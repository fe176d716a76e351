import asyncio
from collections.abc import Callable, Iterable, Iterator

import pytest

from protocol.codes import ResponseCode
from protocol.value import HandleValue
from resolver.cli import importing
from resolver.cli.importing import (
    LOST_MAX,
    TRIES_MAX,
    Existing,
    RowVerdict,
    Tally,
    Verdict,
    refused_line,
    register_rows,
)
from resolver.client import HandleClient, HandleError, Resolution
from resolver.rows.row import BadRow, Row


class FakeClient(HandleClient):
    """A node that holds what it is given and fails as it is told."""

    def __init__(self, fail: Callable[[bytes, int], HandleError | None] | None = None) -> None:
        self.held: dict[bytes, tuple[HandleValue, ...]] = {}
        self.asked: dict[bytes, int] = {}
        self.overwrites: list[bool] = []
        self.fail = fail or (lambda _handle, _attempt: None)
        self.lose_answers = False

    async def create(
        self,
        handle: str | bytes,
        values: Iterable[HandleValue],
        *,
        overwrite: bool = False,
        mint: bool = False,
    ) -> bytes:
        assert isinstance(handle, bytes)
        self.asked[handle] = self.asked.get(handle, 0) + 1
        self.overwrites.append(overwrite)
        error = self.fail(handle, self.asked[handle])
        if error is not None and not self.lose_answers:
            raise error
        if handle in self.held and not overwrite:
            raise HandleError("exists", response_code=ResponseCode.HANDLE_ALREADY_EXISTS)
        self.held[handle] = tuple(values)
        if error is not None:
            raise error
        return handle

    async def resolve(
        self,
        handle: str | bytes,
        types: Iterable[str | bytes] = (),
        indexes: Iterable[int] = (),
        *,
        private: bool = False,
        authoritative: bool = False,
        transport: int | None = None,
    ) -> Resolution:
        assert isinstance(handle, bytes)
        return Resolution(handle, self.held[handle], True, False, 0.0, ())


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "RETRY_WAIT_S", 0.0)


def row(number: int, data: bytes = b"x") -> Row:
    return Row(number, b"1/%d" % number, (HandleValue(1, b"URL", data),))


def run(
    client: FakeClient, rows: Iterable[Row | BadRow], existing: Existing = Existing.REFUSE
) -> tuple[Tally, list[RowVerdict]]:
    verdicts: list[RowVerdict] = []
    tally = asyncio.run(
        register_rows(client, iter(rows), verdicts.append, existing=existing, in_flight=4)
    )
    return tally, sorted(verdicts, key=lambda verdict: verdict.row.number)


def lost(_handle: bytes, _attempt: int) -> HandleError:
    return HandleError("nobody answered")


def test_every_row_gets_a_verdict() -> None:
    client = FakeClient()
    rows: list[Row | BadRow] = [row(1), BadRow(2, b"", "odd"), row(3)]
    tally, verdicts = run(client, rows)
    assert [each.verdict for each in verdicts] == [
        Verdict.REGISTERED,
        Verdict.REFUSED,
        Verdict.REGISTERED,
    ]
    assert (tally.total, tally.failed) == (3, 1)
    assert set(client.held) == {b"1/1", b"1/3"}
    assert client.overwrites == [False, False]


@pytest.mark.parametrize(
    ("existing", "verdict", "data"),
    [
        (Existing.REFUSE, Verdict.REFUSED, b"old"),
        (Existing.SKIP, Verdict.EXISTED, b"old"),
        (Existing.REPLACE, Verdict.REGISTERED, b"new"),
    ],
)
def test_existing_handles(existing: Existing, verdict: Verdict, data: bytes) -> None:
    client = FakeClient()
    run(client, [row(1, b"old")])
    _, (seen,) = run(client, [row(1, b"new")], existing)
    assert seen.verdict is verdict
    assert client.held[b"1/1"][0].data == data


def test_a_lost_answer_is_asked_for_again() -> None:
    client = FakeClient(lambda handle, attempt: lost(handle, attempt) if attempt == 1 else None)
    _, (seen,) = run(client, [row(1)])
    assert seen.verdict is Verdict.REGISTERED
    assert client.asked[b"1/1"] == 2


def test_a_row_whose_answer_alone_was_lost_is_registered() -> None:
    client = FakeClient(lambda handle, attempt: lost(handle, attempt) if attempt == 1 else None)
    client.lose_answers = True
    _, (seen,) = run(client, [row(1)])
    assert seen.verdict is Verdict.REGISTERED


def test_somebody_elses_row_is_not_taken_for_ours() -> None:
    client = FakeClient(lambda handle, attempt: lost(handle, attempt) if attempt == 1 else None)
    client.held[b"1/1"] = (HandleValue(1, b"URL", b"theirs"),)
    _, (seen,) = run(client, [row(1)])
    assert seen.verdict is Verdict.REFUSED
    assert seen.code == ResponseCode.HANDLE_ALREADY_EXISTS


def test_without_any_answer_the_fate_is_unknown() -> None:
    client = FakeClient(lost)
    _, (seen,) = run(client, [row(1)])
    assert (seen.verdict, seen.code) == (Verdict.UNKNOWN, 0)
    assert client.asked[b"1/1"] == TRIES_MAX


def test_a_node_that_stays_busy_refuses() -> None:
    busy = HandleError("busy", response_code=ResponseCode.SERVER_TOO_BUSY)
    _, (seen,) = run(FakeClient(lambda _handle, _attempt: busy), [row(1)])
    assert (seen.verdict, seen.code) == (Verdict.REFUSED, ResponseCode.SERVER_TOO_BUSY)


def test_a_refusal_is_not_repeated() -> None:
    refusal = HandleError("no", response_code=ResponseCode.INVALID_ADMIN)
    client = FakeClient(lambda _handle, _attempt: refusal)
    _, (seen,) = run(client, [row(1)])
    assert (seen.verdict, seen.reason) == (Verdict.REFUSED, "no")
    assert client.asked[b"1/1"] == 1


def test_a_node_that_is_gone_ends_the_import() -> None:
    read = 0

    def endless() -> Iterator[Row]:
        nonlocal read
        while True:
            read += 1
            yield row(read)

    tally, _ = run(FakeClient(lost), endless())
    assert LOST_MAX <= tally.total < LOST_MAX + 8
    assert read < LOST_MAX + 8


def test_the_line_of_a_refused_row_says_why() -> None:
    line = refused_line(RowVerdict(row(7), Verdict.REFUSED, 101, "exists"))
    assert line["row"] == 7
    assert line["handle"] == "1/7"
    assert (line["code"], line["reason"]) == (101, "exists")
    assert line["values"] == [
        {
            "index": 1,
            "type": "URL",
            "data": {"format": "string", "value": "x"},
            "ttl": 86400,
        }
    ]


class SlowFirstClient(FakeClient):
    """Keeps the first registration of all under way while others overtake it."""

    async def create(
        self,
        handle: str | bytes,
        values: Iterable[HandleValue],
        *,
        overwrite: bool = False,
        mint: bool = False,
    ) -> bytes:
        if not self.asked:
            self.asked[b""] = 1
            for _ in range(10):
                await asyncio.sleep(0)
        return await super().create(handle, values, overwrite=overwrite, mint=mint)


def test_of_rows_with_one_handle_the_first_is_registered() -> None:
    values = (HandleValue(1, b"URL", b"first"),), (HandleValue(1, b"URL", b"second"),)
    rows = [Row(1, b"1/a", values[0]), Row(2, b"1/a", values[1])]
    client = SlowFirstClient()
    _, verdicts = run(client, rows)
    assert [each.verdict for each in verdicts] == [Verdict.REGISTERED, Verdict.REFUSED]
    assert client.held[b"1/a"] == values[0]
