"""Sending a stream: in parts, through every kind of break, no row lost or doubled."""

import asyncio
import gzip
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest
import zstandard

from protocol.value import Reference
from resolver.client import (
    AuthenticationRefusedError,
    HandleError,
    InvalidRequestError,
    SecretIdentity,
    StreamChangedError,
    StreamEndedError,
    StreamError,
    UnreachableError,
    UntrustedNodeError,
    sending,
    sources,
)
from resolver.client.registrations import (
    CsvColumns,
    Progress,
    RegistrationClient,
    StreamState,
    new_key,
)
from tests.resolver.client.fake_registry import FakeRegistry, Sent, answer

IDENTITY = SecretIdentity(Reference(b"0.NA/88", 300), b"hush")
KEY = "lot.1"
FAULTS = ["refuse", "lose", "half", "busy", "log out", "taken"]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PART_ROWS_MAX", 10)


def row(number: int, text: str = "") -> dict[str, Any]:
    data = {"format": "string", "value": text or f"no. {number}"}
    return {"handle": f"88/{number}", "values": [{"index": 1, "type": "DESC", "data": data}]}


def rows(count: int) -> list[dict[str, Any]]:
    return [row(number) for number in range(1, count + 1)]


def handles(count: int) -> list[str]:
    return [f"88/{number}" for number in range(1, count + 1)]


class Desk:
    """A client of a fake node; nobody waits for long."""

    def __init__(self, node: httpx.AsyncBaseTransport) -> None:
        self.node = node
        self.pauses: list[float] = []
        self.told: list[Progress] = []

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def client(self) -> RegistrationClient:
        url = "https://node.example:8000"
        return RegistrationClient(url, IDENTITY, transport=self.node, sleep=self._sleep)

    def register(self, source: Any, key: str = KEY, **options: Any) -> StreamState:
        async def main() -> StreamState:
            async with self.client() as client:
                return await client.register(source, key, progress=self.told.append, **options)

        return asyncio.run(main())


def test_rows_go_in_parts_and_the_last_one_ends_the_stream() -> None:
    node = FakeRegistry()
    desk = Desk(node)
    state = desk.register(iter(rows(25)))
    assert (state.rows, state.receipt, node.handles) == (25, "signed", handles(25))
    assert node.sent == [Sent(1, 10, False, ""), Sent(11, 10, False, ""), Sent(21, 5, True, "")]
    assert [told.state.rows for told in desk.told] == [10, 20, 25]
    assert (node.log_ins, desk.pauses) == (1, [])


@pytest.mark.parametrize("count", [0, 10, 20])
def test_the_end_may_be_a_request_without_rows(count: int) -> None:
    node = FakeRegistry()
    assert Desk(node).register(rows(count)).receipt == "signed"
    assert node.sent[-1] == Sent(count + 1, 0, True, "")


def test_more_may_follow_when_the_stream_is_not_ended() -> None:
    node = FakeRegistry()
    assert Desk(node).register(rows(12), end=False).receipt is None
    assert Desk(node).register(rows(15)).receipt == "signed"
    assert (node.handles, node.repeated) == (handles(15), 0)


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_break_it_goes_on_where_the_node_stands(fault: str, at: int) -> None:
    node = FakeRegistry(*[""] * at, fault)
    desk = Desk(node)
    state = desk.register(rows(25))
    assert (state.receipt, node.handles, node.repeated) == ("signed", handles(25), 0)
    if fault == "log out":
        assert (node.log_ins, desk.pauses) == (2, [])
    else:
        assert len(desk.pauses) == 1
        assert [told.trouble for told in desk.told if told.pause_s]


@pytest.mark.parametrize("seed", range(30))
def test_any_run_of_breaks(seed: int) -> None:
    chance = random.Random(seed)
    node = FakeRegistry(*[chance.choice(["", *FAULTS]) for _ in range(12)])
    desk = Desk(node)
    desk.register(rows(67), tries_max=20)
    assert (node.handles, node.ended, node.repeated) == (handles(67), True, 0)


def test_it_gives_up_after_so_many_tries_and_goes_on_another_time() -> None:
    node = FakeRegistry("", *["refuse"] * 10)
    desk = Desk(node)
    with pytest.raises(UnreachableError, match="connection refused"):
        desk.register(rows(25))
    assert len(desk.pauses) == sending.TRIES_MAX - 1
    assert desk.pauses[0] < 1 < desk.pauses[3] < max(desk.pauses) <= sending.PAUSE_MAX_S * 1.3
    assert Desk(node).register(rows(25)).receipt == "signed"
    assert (node.handles, node.repeated) == (handles(25), 0)


def test_tries_are_counted_anew_once_rows_were_taken() -> None:
    node = FakeRegistry(*["half", "busy"] * 4)
    assert Desk(node).register(rows(25), tries_max=3).rows == 25


def test_a_node_that_is_down_is_waited_for() -> None:
    node = FakeRegistry()
    node.down = True
    desk = Desk(node)

    async def start(seconds: float) -> None:
        desk.pauses.append(seconds)
        node.down = len(desk.pauses) < 4

    desk._sleep = start  # type: ignore[method-assign]
    assert desk.register(rows(3)).rows == 3
    assert len(desk.pauses) == 4


def test_the_same_rows_again_send_nothing() -> None:
    node = FakeRegistry()
    first = Desk(node).register(rows(25))
    node.sent.clear()
    assert Desk(node).register(rows(25)) == first
    assert node.sent == []


def test_other_rows_under_an_old_key_are_found_out() -> None:
    node = FakeRegistry("", "refuse")
    with pytest.raises(UnreachableError):
        Desk(node).register(rows(25), tries_max=1)
    changed = [*rows(3), row(4, "changed"), *rows(25)[4:]]
    with pytest.raises(StreamChangedError, match="the first 10 rows are not those") as caught:
        Desk(node).register(changed)
    assert "use a new key" in caught.value.hint
    with pytest.raises(StreamChangedError, match="has 10 rows already, here are only 9"):
        Desk(node).register(rows(9))
    assert node.handles == handles(10)


def test_nothing_follows_the_end() -> None:
    node = FakeRegistry()
    Desk(node).register(rows(12))
    with pytest.raises(StreamEndedError, match=r"ended with row 12"):
        Desk(node).register(rows(13))
    assert node.handles == handles(12)


def test_a_node_that_has_lost_rows_is_not_trusted_with_more() -> None:
    node = FakeRegistry("", "refuse")
    desk = Desk(node)

    async def restore(seconds: float) -> None:
        node.rows = node.rows[:5]

    desk._sleep = restore  # type: ignore[method-assign]
    with pytest.raises(StreamChangedError, match="has 5 rows of the stream, and had acknowledged"):
        desk.register(rows(25))


def test_a_node_that_does_not_believe_is_asked_once() -> None:
    node = FakeRegistry()
    node.believes = False
    desk = Desk(node)
    with pytest.raises(AuthenticationRefusedError, match=r"did not believe 300:0\.NA/88"):
        desk.register(rows(1))
    assert (node.log_ins, desk.pauses) == (1, [])


class Answering(httpx.AsyncBaseTransport):
    """Logs everybody in and answers all else with one answer."""

    def __init__(self, status: int, document: object) -> None:
        self._registry = FakeRegistry()
        self._answer = (status, document)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/api/sessions"):
            return await self._registry.handle_async_request(request)
        return answer(*self._answer)


@pytest.mark.parametrize(
    ("status", "document", "words"),
    [
        (404, {"responseCode": 4, "message": "no such path"}, "takes no streams"),
        (404, {}, "takes no streams"),
        (501, {"responseCode": 5, "message": "not here"}, "takes no streams"),
        (400, {"responseCode": 4, "message": "no key"}, "no key"),
        (403, {"responseCode": 400, "message": "not you"}, "not you"),
    ],
)
def test_what_will_not_get_better_is_not_repeated(
    status: int, document: object, words: str
) -> None:
    desk = Desk(Answering(status, document))
    with pytest.raises(HandleError, match=words):
        desk.register(rows(1))
    assert desk.pauses == []


class Impostor(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")


def test_whoever_is_not_the_node_is_asked_once() -> None:
    desk = Desk(Impostor())
    with pytest.raises(UntrustedNodeError) as caught:
        desk.register(rows(1))
    assert "PEM file" in caught.value.hint
    assert desk.pauses == []


def ndjson(source: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in source)


@pytest.mark.parametrize(
    ("name", "pack", "coding"),
    [
        ("a.ndjson", bytes, ""),
        ("a.jsonl.gz", gzip.compress, "gzip"),
        ("a.ndjson.zst", zstandard.compress, "zstd"),
    ],
)
def test_files(tmp_path: Path, name: str, pack: Any, coding: str) -> None:
    path = tmp_path / name
    path.write_bytes(pack(b"\xef\xbb\xbf" + ndjson(rows(20)) + b" \n\n" + ndjson(rows(1))))
    node = FakeRegistry("", "half")
    desk = Desk(node)
    desk.register(path)
    assert node.handles == [*handles(20), "88/1"]
    assert {sent.coding for sent in node.sent} == {coding}
    assert desk.told[-1].octets_done == desk.told[-1].octets_total == path.stat().st_size


def test_csv_has_its_header_in_every_part(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id;name\n" + "".join(f'{n};"x\ny"\n' for n in range(1, 26)))
    columns = CsvColumns("88/{id}", ["name=DESC"], delimiter=";")
    node = FakeRegistry("lose", "half", "refuse")
    Desk(node).register(str(path), columns=columns)
    assert (node.handles, node.repeated, node.ended) == (handles(25), 0, True)
    with pytest.raises(InvalidRequestError, match="what its columns are"):
        Desk(node).register(path)
    with pytest.raises(InvalidRequestError, match="the file has no column nr"):
        Desk(node).register(path, columns=CsvColumns("88/{nr}", ["name=DESC"], delimiter=";"))


def test_msgpack_from_an_open_file(tmp_path: Path) -> None:
    path = tmp_path / "a.msgpack"
    path.write_bytes(b"".join(msgpack.packb(each) for each in rows(25)))
    node = FakeRegistry("half", "half")
    with path.open("rb") as file:
        Desk(node).register(file, format_="msgpack")
    assert (node.handles, node.repeated) == (handles(25), 0)


@pytest.mark.parametrize("name", ["a.txt", "a", "a.gz"])
def test_a_name_that_says_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequestError, match="does not say how its rows are written"):
        Desk(FakeRegistry()).register(tmp_path / name)


def test_a_damaged_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson.gz").write_bytes(gzip.compress(ndjson(rows(5)))[:-9])
    with pytest.raises(InvalidRequestError, match="the gzip ends too early"):
        Desk(FakeRegistry()).register(tmp_path / "a.ndjson.gz")
    with pytest.raises(OSError, match="No such file"):
        Desk(FakeRegistry()).register(tmp_path / "none.csv", columns=CsvColumns("88/{a}", ["a=B"]))


@pytest.mark.parametrize("key", ["", " a", "a/b", "é", "a\n", "..", "x" * 129])
def test_not_a_key(key: str) -> None:
    with pytest.raises(ValueError, match="a key has 1 to 128"):
        Desk(FakeRegistry()).register(rows(1), key)


def test_keys_are_new() -> None:
    sending.check_key(new_key())
    assert new_key() != new_key()


@pytest.mark.parametrize("url", ["ftp://a", "node", "http://node.example:8000"])
def test_not_an_address(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        RegistrationClient(url, IDENTITY)


def test_a_stream_that_has_no_receipt() -> None:
    desk = Desk(FakeRegistry())

    async def main() -> None:
        async with desk.client() as client:
            assert await client.state(KEY) is None
            with pytest.raises(StreamError, match="does not exist"):
                await client.receipt(KEY)
            await client.register(rows(2), KEY, end=False)
            with pytest.raises(StreamError, match="has 2 rows and has not ended"):
                await client.receipt(KEY)
            await client.register(rows(2), KEY)
            assert await client.receipt(KEY) == "signed"

    asyncio.run(main())
