"""A stranger's mirror: it dumps a primary, follows its log, and keeps what it is told.

It reads what Handle.Net 9's mirror reads, in that order, and stops where that one stops.

Like the rest of the foreign client it imports nothing of this project's packages.
"""

import hashlib
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from struct import pack
from typing import BinaryIO

from tests.interop import foreign_wire as wire
from tests.interop.foreign_client import ForeignClient, answer_body
from tests.interop.foreign_crypto import Identity, check_signature
from tests.interop.foreign_transport import connect, http_head, read_answer, wrap
from tests.interop.foreign_wire import Answer, Cursor, Value, pack_message, pack_str

NEED_REDUMP, SENDING = 1, 2
CREATE, REMOVE, UPDATE, HOME, UNHOME = 1, 2, 3, 4, 5
# What a dump goes on behind.
AT_HANDLE_DATE, AT_HANDLE, AT_PREFIX = 0, 2, 3
TLS = 0x544C5300
TUNNELS = ("http", "https")


@dataclass
class Refused(Exception):  # noqa: N818 - an answer
    """The primary's answer to a mirror it does not feed."""

    answer: Answer


@dataclass
class Stream:
    """What follows an answer: read forward, its blocks' signatures checked."""

    file: BinaryIO
    sock: socket.socket
    kind: int
    key: object = None
    hash_name: bytes = b""
    block: bytes = b""

    def take(self, count: int) -> bytes:
        octets = self.file.read(count)
        assert len(octets) == count, f"the stream ends {count - len(octets)} octets early"
        self.block += octets
        return octets

    def number(self, layout: str) -> int:
        return Cursor(self.take({"B": 1, "i": 4, "q": 8}[layout])).number(layout)

    def str(self) -> bytes:
        return self.take(self.number("i"))

    def values(self) -> list[Value]:
        values = []
        for _ in range(self.number("i")):
            cursor = Cursor(self.str())
            values.append(Value.read(cursor))
            assert cursor.rest == b""
        return values

    def end_block(self) -> None:
        block, self.block = self.block, b""
        if self.kind == 0:
            signature = self.str()
            self.block = b""
            check_signature(self.key, self.hash_name, signature, block)  # type: ignore[arg-type]


@contextmanager
def streamed(
    client: ForeignClient, opcode: int, body: bytes, identity: Identity, *, secure: bool = True
) -> Iterator[tuple[Answer, Stream]]:
    """Asks, answers the challenge, and hands over what follows the answer.

    Not `secure`: a TLS handshake that is asked for is left to the caller.
    """
    challenge = client.ask(opcode, body, wire.RECU)
    if challenge.code != 402:
        raise Refused(challenge)
    flags = wire.RECU | (wire.ENCR if client.session and client.session.encrypted else 0)
    covered = pack_message(wire.ANSWER_CHALLENGE, answer_body(challenge, identity), flags)
    envelope, message = client._seal(covered, challenge.envelope.session)
    tunnelled = client.transport in TUNNELS
    octets = envelope.pack() + message
    with ExitStack() as stack:
        port = client.http_port if tunnelled else client.handle_port
        sock = stack.enter_context(closing(connect(client, port)))
        file = stack.enter_context(sock.makefile("rb"))
        sock.sendall(http_head(client, message, octets) + octets if tunnelled else octets)
        if tunnelled:
            client.http_head = b"".join(iter(file.readline, b"\r\n"))
        answer = read_answer(file, client._open)
        if answer.code != 1:
            raise Refused(answer)
        assert answer.opcode == opcode
        stream = Stream(file, sock, Cursor(file.read(4)).number("i"), client.server_key)
        if stream.kind == TLS and not secure:
            pass
        elif stream.kind == TLS:
            wrapped = stack.enter_context(closing(wrap(client, sock)))
            stream.sock = wrapped
            stream.file = stack.enter_context(wrapped.makefile("rb"))
        elif stream.kind == 0:
            stream.hash_name = stream.str()
            stream.block = b""
        else:
            assert stream.kind == -1
            assert isinstance(sock, ssl.SSLSocket), "unsigned and in clear"
        yield answer, stream


@dataclass
class Log:
    """What one retrieval told."""

    kind: int
    status: int
    changes: list[tuple[int, int, bytes]] = field(default_factory=list)
    source: bytes = b""
    end_ms: int = 0


@dataclass
class ForeignMirror:
    """A copy of a primary, and how far it has come."""

    client: ForeignClient
    identity: Identity
    share: tuple[int, int, int] = (2, 1, 0)
    handles: dict[bytes, list[Value]] = field(default_factory=dict)
    prefixes: set[bytes] = field(default_factory=set)
    last_id: int = 0
    last_ms: int = 0
    sources: dict[str, dict[str, int]] = field(default_factory=dict)
    dates: dict[bytes, int] = field(default_factory=dict)

    @property
    def _share(self) -> bytes:
        return pack(">Bii", *self.share)

    def next_id(self) -> int:
        """The primary's next transaction id."""
        body = pack_str(b"0.SITE/NEXT-TXN-ID")
        answer = self.client.perform(wire.NEXT_TXN_ID, body, self.identity)
        if answer.code != 1:
            raise Refused(answer)
        assert len(answer.payload.rest) == 8
        return answer.payload.number("q")

    def dump(self, resume: tuple[bytes, int] | None = None, most: int | None = None) -> int:
        """Copies everything, or `most` records of it; returns the type of the stream."""
        body = self._share
        if resume is not None:
            body += pack_str(resume[0]) + pack(">i", resume[1])
        else:
            self.handles.clear()
            self.prefixes.clear()
        with streamed(self.client, wire.DUMP_HANDLES, body, self.identity) as (answer, stream):
            assert answer.payload.rest == b""
            assert stream.number("i") == 2
            stream.end_block()
            taken = 0
            while self._take_dumped(stream):
                taken += 1
                if taken == most:
                    return stream.kind
            self._expect_end(stream)
            return stream.kind

    def _take_dumped(self, stream: Stream) -> bool:
        kind = stream.number("B")
        if kind == 0:
            self.last_ms, self.last_id = stream.number("q"), stream.number("q")
        elif kind == 1:
            handle = stream.str()
            self.handles[handle] = stream.values()
        elif kind == 2:
            self.prefixes.add(stream.str())
        else:
            assert kind == 255, kind
            return False  # what ends a dump is in no block
        stream.end_block()
        return True

    def follow(self, *, sources: bool = False, most: int | None = None) -> Log:
        """Takes what changed since; `sources`: by the names of the primaries."""
        if self.client.version < (2, 9):
            body = pack(">qq", self.last_id, self.last_ms)
        elif sources:
            state = {"replicationServerStates": self.sources, "ownName": "2:0.NA/88"}
            body = b"\1" + pack_str(json.dumps(state).encode())
        else:
            body = pack(">Bqq", 0, self.last_id, self.last_ms)
        body += self._share
        with streamed(self.client, wire.RETRIEVE_TXN_LOG, body, self.identity) as (answer, stream):
            assert answer.payload.rest == b"\0"
            format_, log = stream.number("i"), Log(stream.kind, stream.number("i"))
            assert format_ == (2 if sources else 1)
            stream.end_block()
            while self._take_change(stream, log, format_):
                assert log.status == SENDING, "nothing but the end follows here"
                if len(log.changes) == most:
                    return log
            self._expect_end(stream)
            return log

    def _take_change(self, stream: Stream, log: Log, format_: int) -> bool:
        kind = stream.number("B")
        if kind == 1:
            self._apply(stream, log)
        elif kind == 0:
            if format_ == 1:
                log.end_ms = stream.number("q")
                self.last_ms = log.end_ms if log.status == SENDING else self.last_ms
        elif format_ == 2 and kind == 2:
            log.source = stream.str()
            self.sources.setdefault(log.source.decode(), {"lastTxnId": 0, "lastTimestamp": 0})
        else:
            assert (format_, kind) == (2, 3), kind
            self.sources[log.source.decode()]["lastTimestamp"] = stream.number("q")
        stream.end_block()
        return kind != 0

    def _apply(self, stream: Stream, log: Log) -> None:
        number, handle, action = stream.number("q"), stream.str(), stream.number("B")
        date_ms = stream.number("q")
        assert date_ms >= self.dates.get(handle, 1), "an older change than the last one taken"
        self.dates[handle] = date_ms
        values = stream.values() if action in (CREATE, UPDATE) else []
        if action in (CREATE, UPDATE):
            self.handles[handle] = values
        elif action == REMOVE:
            self.handles.pop(handle, None)
        elif action == HOME:
            self.prefixes.add(handle)
        elif action == UNHOME:
            self.prefixes.discard(handle)
        else:
            raise AssertionError(f"action {action} is logged as an error by each mirror")
        last = self.last_id
        if log.source:
            last = self.sources[log.source.decode()]["lastTxnId"]
            self.sources[log.source.decode()]["lastTxnId"] = number
        else:
            self.last_id = number
        assert number > last, "transaction ids go back"
        log.changes.append((number, action, handle))

    def _expect_end(self, stream: Stream) -> None:
        assert stream.file.read(1) == b"", "octets after the end of the stream"

    def digest(self) -> str:
        """One name for all that is kept."""
        sums = hashlib.sha256()
        for handle in sorted(self.handles):
            sums.update(handle + BytesIO(wire.pack_values(self.handles[handle])).read())
        for prefix in sorted(self.prefixes):
            sums.update(prefix)
        return sums.hexdigest()
