"""What one connection does with requests that create handles, before they are parsed.

    octets ─> lane ──┬─ not the hot route's ──────────────────────> parsed, answered by Starlette
                     ├─ a head it knows, the body still to come ──> held
                     └─ a creation ─> registrar ──┬─ made: answered here
                        octets behind it: held    └─ not made: parsed

What is held was not parsed, so that whatever the lane does not answer in the end goes the usual way
from its first octet on, and answers keep their order.
"""

import asyncio
from typing import TYPE_CHECKING

from resolver.hot_creations import START, Creation, HotCreations

if TYPE_CHECKING:
    from resolver.http_protocol import HttpProtocol


class CreationLane:
    """The lane of one connection."""

    def __init__(self, protocol: "HttpProtocol", creations: HotCreations) -> None:
        self._protocol = protocol
        self._creations = creations
        self._held = b""
        self._request = b""  # the octets of the creation under way
        self._creation: Creation | None = None
        self.is_ending = False  # the connection, after the creation under way

    @property
    def is_creating(self) -> bool:
        """Say whether the registrar is at work for this connection."""
        return self._creation is not None

    @property
    def is_waiting(self) -> bool:
        """Say whether the rest of a body is waited for."""
        return bool(self._held) and self._creation is None

    def take(self, data: bytes) -> bytes:
        """Take in what arrives; return what is to be parsed now, perhaps nothing."""
        protocol = self._protocol
        if self._creation is not None:
            self._held += data
            protocol.flow.pause_reading()
            return b""
        was_waiting = bool(self._held)
        if was_waiting:
            data, self._held = self._held + data, b""
        if not data.startswith(START) or not protocol.may_begin_creation:
            return data
        request = self._creations.find(data)
        if request is None or len(data) > request.octets:
            return data
        if request.body_at > protocol.server_.limits.http_head_octets_max:
            return data
        if request.octets - request.body_at > protocol.server_.limits.http_body_octets_max:
            return data
        if len(data) < request.octets:
            self._held = data
            if not was_waiting:
                protocol.wait_for_body()
            return b""
        creation = self._creations.begin(request, data)
        if creation is None:
            return data
        self._request, self._creation = data, creation
        protocol.wait_for_nothing()
        tasks = protocol.server_.state.tasks  # a server that stops waits for these
        tasks.add(creation.reply)  # type: ignore[arg-type]  # futures do as well
        creation.reply.add_done_callback(self._end)
        return b""

    def release(self) -> bytes:
        """Return what is held and not to be waited for any longer: it is to be parsed."""
        held, self._held = self._held, b""
        return held

    def learn(self, data: bytes) -> None:
        """Remember the head of the one whole request that `data` were."""
        target_end = data.find(b" ", len(START))
        head_end = data.find(b"\r\n\r\n", target_end) + 4
        self._creations.learn(data[target_end:head_end], self._protocol.headers)

    def _end(self, reply: "asyncio.Future[bool]") -> None:
        protocol, creation = self._protocol, self._creation
        assert creation is not None
        protocol.server_.state.tasks.discard(reply)
        keep_alive = not self.is_ending
        answer = self._creations.answer(creation, keep_alive=keep_alive)
        data, self._request, self._creation = self._request, b"", None
        if protocol.transport.is_closing():
            return
        protocol.flow.resume_reading()
        if answer is None:
            protocol.parse(data)
            if self.is_ending:
                protocol.shutdown()
        else:
            protocol.write_hot(answer, keep_alive)
        if self._held:
            protocol.data_received(self.release())
