import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from resolver.link import Link, LinkBusy, LinkDown, LinkFailed, LinkLost
from resolver.link_frames import CREDIT_FIRST, Frames, Payload, socket_address
from resolver.link_server import LinkServer

Scene = Callable[["Pair"], Awaitable[None]]


class Pipe(asyncio.Transport):
    """One direction's transport, in memory: what is written arrives in the next turn."""

    def __init__(self) -> None:
        super().__init__()
        self.other: Frames | None = None
        self.own: Frames | None = None
        self.sent: list[bytes] = []

    def write(self, data: Any) -> None:
        self.sent.append(bytes(data))
        asyncio.get_running_loop().call_soon(self._deliver, bytes(data))

    def _deliver(self, data: bytes) -> None:
        if self.other is not None:
            for octet in range(0, len(data), 7):  # never in the pieces it was sent in
                self.other.data_received(data[octet : octet + 7])

    def close(self) -> None:
        ends = (self.own, self.other)
        self.own = self.other = None
        for end in ends:
            if end is not None:
                asyncio.get_running_loop().call_soon(end.connection_lost, None)


class Pair:
    """A worker's link joined with a server that knows a few kinds."""

    def __init__(self, exchanges_max: int = 4) -> None:
        self.link = Link(Path("unused"), exchanges_max)
        self.server = LinkServer(
            Path("unused"),
            {"echo": self._echo, "wait": self._wait, "fail": self._fail},
            {"count": self._count, "break": self._break},
            {"short": self._short, "mistaken": self._mistaken},
        )
        self.lost = asyncio.Event()
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.counted = 0
        self.to_server, self.to_link = Pipe(), Pipe()
        self.join()

    def join(self) -> None:
        ours, theirs = self.link.make_end(self.lost.set), self.server.accept()
        self.to_server.own, self.to_server.other = ours, theirs
        self.to_link.own, self.to_link.other = theirs, ours
        ours.connection_made(self.to_server)
        theirs.connection_made(self.to_link)

    async def _echo(self, payload: Payload) -> Payload:
        return payload

    async def _wait(self, payload: Payload) -> Payload:
        self.waiting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return payload

    async def _fail(self, payload: Payload) -> Payload:
        raise RuntimeError("our mistake, with details nobody outside needs")

    def _short(self, payload: Any) -> "asyncio.Future[Any]":
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if payload == "fail":
            reply.set_exception(RuntimeError("our mistake, with details nobody outside needs"))
        elif payload != "wait":
            reply.set_result(payload)
        return reply

    def _mistaken(self, payload: Any) -> "asyncio.Future[Any]":
        raise RuntimeError("our mistake, with details nobody outside needs")

    async def _count(self, payload: Payload) -> AsyncGenerator[bytes, None]:
        try:
            for number in range(payload["to"]):
                self.counted += 1
                yield b"%d" % number
        finally:
            self.cancelled.set()

    async def _break(self, payload: Payload) -> AsyncGenerator[bytes, None]:
        yield b"first"
        raise RuntimeError("in the middle")


def play(scene: Scene, exchanges_max: int = 4) -> None:
    async def run() -> None:
        pair = Pair(exchanges_max)
        async with asyncio.timeout(10):
            await scene(pair)
        pair.to_server.close()
        await asyncio.sleep(0)

    asyncio.run(run())


def test_a_call_is_replied_to() -> None:
    async def scene(pair: Pair) -> None:
        payload = {"octets": b"\0\xff", "text": "标识", "none": None, "list": [1, b"2"]}
        assert await pair.link.call("echo", payload) == payload
        assert pair.link.under_way == 0

    play(scene)


def test_calls_cross_without_waiting_for_each_other() -> None:
    async def scene(pair: Pair) -> None:
        slow = asyncio.create_task(pair.link.call("wait", {}))
        await pair.waiting.wait()
        assert await pair.link.call("echo", {"n": 1}) == {"n": 1}
        slow.cancel()
        await pair.cancelled.wait()

    play(scene)


def test_a_call_given_up_is_cancelled_there() -> None:
    async def scene(pair: Pair) -> None:
        with pytest.raises(LinkLost, match="no reply to wait within 0 s"):
            await pair.link.call("wait", {}, timeout_s=0)
        assert pair.link.under_way == 0
        assert await pair.link.call("echo", {}) == {}

    play(scene)


def test_a_failure_there_is_told_without_details(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(pair: Pair) -> None:
        with pytest.raises(LinkFailed, match="RuntimeError in the node's registrar"):
            await pair.link.call("fail", {})

    with caplog.at_level(logging.ERROR):
        play(scene)
    assert "our mistake" in caplog.text


def test_an_unknown_kind_is_a_failure() -> None:
    async def scene(pair: Pair) -> None:
        with pytest.raises(LinkFailed, match="nothing here answers nonsense"):
            await pair.link.call("nonsense", {})
        with pytest.raises(LinkFailed, match="nothing here streams nonsense"):
            await anext(pair.link.stream("nonsense", {}))

    play(scene)


def test_a_stream_yields_every_item_in_order() -> None:
    async def scene(pair: Pair) -> None:
        items = [item async for item in pair.link.stream("count", {"to": 100})]
        assert items == [b"%d" % number for number in range(100)]
        assert pair.link.under_way == 0

    play(scene)


def test_a_slow_reader_holds_the_stream_back() -> None:
    async def scene(pair: Pair) -> None:
        stream = pair.link.stream("count", {"to": 1_000})
        assert await anext(stream) == b"0"
        for _ in range(200):
            await asyncio.sleep(0)
        assert pair.counted <= CREDIT_FIRST + 1
        assert len([item async for item in stream]) == 999

    play(scene)


def test_closing_a_stream_early_ends_it_there() -> None:
    async def scene(pair: Pair) -> None:
        stream = pair.link.stream("count", {"to": 1_000})
        await anext(stream)
        await stream.aclose()
        await pair.cancelled.wait()
        assert pair.link.under_way == 0

    play(scene)


def test_a_stream_that_breaks_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(pair: Pair) -> None:
        stream = pair.link.stream("break", {})
        assert await anext(stream) == b"first"
        with pytest.raises(LinkFailed):
            await anext(stream)

    play(scene)


def test_exchanges_are_bounded() -> None:
    async def scene(pair: Pair) -> None:
        waiting = [asyncio.create_task(pair.link.call("wait", {})) for _ in range(2)]
        await pair.waiting.wait()
        with pytest.raises(LinkBusy, match="2 requests are under way"):
            await pair.link.call("echo", {})
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await pair.link.call("echo", {}) == {}

    play(scene, exchanges_max=2)


def test_what_is_under_way_is_lost_with_the_link() -> None:
    async def scene(pair: Pair) -> None:
        waiting = asyncio.create_task(pair.link.call("wait", {}))
        await pair.waiting.wait()
        pair.to_server.close()
        with pytest.raises(LinkLost, match="its outcome is not known"):
            await waiting
        await pair.cancelled.wait()
        assert not pair.link.is_up
        with pytest.raises(LinkDown) as caught:
            await pair.link.call("echo", {})
        assert not isinstance(caught.value, LinkLost)
        pair.join()
        assert await pair.link.call("echo", {}) == {}

    play(scene)


def test_octets_that_are_no_frame_end_the_link(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(pair: Pair) -> None:
        assert pair.to_server.other is not None
        pair.to_server.other.data_received(b"\xc1\xc1\xc1")
        await pair.lost.wait()
        assert not pair.link.is_up

    play(scene)
    assert "link frame cannot be read" in caplog.text


def test_writing_waits_for_the_socket() -> None:
    async def scene(pair: Pair) -> None:
        server_end = pair.to_link.own
        assert server_end is not None
        server_end.pause_writing()
        stream = pair.link.stream("count", {"to": 3})
        first = asyncio.ensure_future(anext(stream))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not first.done()
        server_end.resume_writing()
        assert await first == b"0"
        await stream.aclose()

    play(scene)


def test_a_deep_folder_gets_a_short_address(tmp_path: Path) -> None:
    short = Path("/run/link.sock")
    with socket_address(short) as address:
        assert address == "/run/link.sock"
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    with socket_address(deep / "link.sock") as address:
        assert len(address) < 108
        assert os.path.realpath(os.path.dirname(address)) == os.path.realpath(deep)


def test_a_short_call_is_replied_to_without_a_task() -> None:
    async def scene(pair: Pair) -> None:
        assert await pair.link.begin("short", [b"a", 1]) == [b"a", 1]
        assert await pair.link.call("short", {"n": 1}) == {"n": 1}
        assert pair.link.under_way == 0

    play(scene)


def test_a_short_call_that_fails_there_is_told_without_details(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene(pair: Pair) -> None:
        for kind, payload in (("short", "fail"), ("mistaken", None)):
            with pytest.raises(LinkFailed, match="RuntimeError in the node's registrar"):
                await pair.link.begin(kind, payload)
        assert await pair.link.begin("short", 1) == 1

    with caplog.at_level(logging.ERROR):
        play(scene)
    assert "our mistake" in caplog.text


def test_a_short_call_ends_with_the_link() -> None:
    async def scene(pair: Pair) -> None:
        reply = pair.link.begin("short", "wait")
        pair.to_server.close()
        with pytest.raises(LinkLost, match="the link was lost before short was answered"):
            await reply
        with pytest.raises(LinkDown, match="is not running"):
            pair.link.begin("short", 1)

    play(scene)
