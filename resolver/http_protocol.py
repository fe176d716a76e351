"""One HTTP connection: uvicorn's httptools protocol, with the limits it lacks and the tunnel.

uvicorn parses, queues pipelined requests and runs the ASGI application. This subclass adds

    head     at most so many headers and octets (431) in so much time (408)
    body     at most so many octets (413), in so much time; a stream of registrations may have
             any number, and that much time for each piece
    answer   read by the client in so much time, else the connection is cut
    tunnel   a POST of application/x-hdl-message is answered here, before ASGI (`tunnel`)
    hot      so is a GET of a handle that needs nothing else (`hot_route`), when no answer before
             it is under way; a head that was read already and comes again is not parsed again
    lane     so is a PUT of a new handle in a session (`creation_lane`)

Deadlines are plain numbers that `HttpServer.sweep` compares once a second. Who the client is, no
header changes, unless a trusted proxy has set it (`proxies`).
"""

import asyncio
import http
from typing import TYPE_CHECKING, Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from protocol.types.hs_site import TRANSPORT_HTTP, TRANSPORT_HTTPS
from resolver.creation_lane import CreationLane
from resolver.dispatch import Peer
from resolver.hot_creations import START as CREATION_START
from resolver.limits import NEVER
from resolver.metrics import REFUSED
from resolver.proxies import ADDRESS_KEY
from resolver.tunnel import TUNNEL_BODY_OCTETS_MAX, TunnelExchange, is_tunnel_request

if TYPE_CHECKING:
    from resolver.http_server import HttpServer

# How long a refused client may go on sending before it is cut: closing at once would reset the
# connection, and many clients then lose the refusal they were about to read.
LINGER_S = 2

# Hot answers to what one read brought; what comes behind them waits in uvicorn's queue.
HOT_ANSWERS_MAX = 32
KNOWN_HEAD_OCTETS_MAX = 1_024  # browsers send some 600
_HOT_START = b"GET /api/handles/"
_HOT_PATH = _HOT_START[len(b"GET ") :]
# With one of these a request is more than its target.
_TELLING_HEADERS = frozenset(
    {b"authorization", b"cookie", b"content-length", b"transfer-encoding", b"expect", b"upgrade"}
)

_STREAM_PATH = b"/api/registrations"
_IN_HEAD, _IN_BODY, _BETWEEN = range(3)


class HttpProtocol(HttpToolsProtocol):
    """One client's connection."""

    def __init__(
        self, server: "HttpServer", address: str, state: dict[str, Any] | None = None
    ) -> None:
        super().__init__(server.uvicorn_config, server.state, state or {}, server.loop)
        self.server_ = server  # `server` is uvicorn's: the local address
        self._address = address
        self._is_proxied = server.proxies.trusts(address)
        self._sender = address  # of the request being parsed
        self._phase = _IN_HEAD
        self._head_octets = 0
        self._body_octets = 0
        self._body_octets_max = 0
        self._is_stream = False  # of registrations: a body without end
        self._is_refused = False
        self._input_ended = False
        self._is_idle = False  # after a hot answer; uvicorn has a timer of its own for others
        self._at_start = True  # the parser stands before a request's first octet
        self._is_plain = True  # no header so far that says more than the target
        self._requests = 0  # begun in the octets being parsed
        self._hot_answers = 0  # written for the octets being parsed
        self._hot_answer: bytes | None = None
        self._known_head: bytes | None = None  # from behind the target, as parsed before
        self._known_keep_alive = True
        self._known_sender = address
        self._transport_kind = TRANSPORT_HTTP
        self._lane: CreationLane | None = None
        self.is_connected = False
        self.tunnel_task: asyncio.Task[None] | None = None
        self.deadline_s = NEVER
        self.write_deadline_s = NEVER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        self.is_connected = True
        # uvloop's transports are not subclasses of asyncio's.
        super().connection_made(cast("asyncio.Transport", transport))
        self._transport_kind = TRANSPORT_HTTPS if self.scheme == "https" else TRANSPORT_HTTP
        if self.scheme == "https" and self.server_.creations is not None:
            self._lane = CreationLane(self, self.server_.creations)
        self.transport.set_write_buffer_limits(high=self.server_.limits.write_buffer_octets)
        self._wait(self.server_.limits.http_head_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        super().connection_lost(exc)
        self.pipeline.clear()
        if self.tunnel_task is not None:
            self.tunnel_task.cancel()
        self.server_.forget(self._address)

    def data_received(self, data: bytes) -> None:
        """Parse; whatever is wrong with it ends in one answer and a closed connection."""
        if self._is_refused:
            return  # read on so that the client can read our answer, and forget it
        if self._lane is not None:
            data = self._lane.take(data)
            if not data:
                return
        if self._known_head is not None and self._answer_known(data, self._known_head):
            return
        self.parse(data)

    def parse(self, data: bytes) -> None:
        """Have the parser read octets that no shorter way answers."""
        self._unset_keepalive_if_required()
        phase, at_start = self._phase, self._at_start
        self._requests = self._hot_answers = 0
        self._is_idle = False
        try:
            self.parser.feed_data(data)
            if self._phase == _IN_HEAD == phase:
                self._head_octets += len(data)
                self._check_head()
        except httptools.HttpParserUpgrade:
            # Nothing else is spoken here: the request is answered as if it had not asked.
            self.cycle.keep_alive = False
        except httptools.HttpParserError:
            self._refuse_input(400, "this is not HTTP as RFC 9112 defines it")
        except _RefusedError:
            pass
        if at_start:
            self._learn_head(data)
        if self._phase == _BETWEEN and self.deadline_s == NEVER and not self._is_answering:
            # Line ends between requests are allowed and begin no request: time runs all the same.
            self._wait(self.server_.limits.http_head_timeout_s)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer what has been asked in full, then close."""
        self._input_ended = True
        if self._phase != _BETWEEN:
            return False  # the rest of the request will never come
        # Under TLS a half-closed connection does not exist; a request cut off gets no answer.
        is_asked = self._phase == _BETWEEN and self._is_answering
        return is_asked and self.scheme != "https"

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._at_start = False
        self._is_plain = True
        self._requests += 1
        self._phase = _IN_HEAD
        self._head_octets = self._body_octets = 0
        self._wait(self.server_.limits.http_head_timeout_s)

    def on_url(self, url: bytes) -> None:
        """Take in a piece of the request's target."""
        super().on_url(url)
        self._head_octets += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in one header."""
        super().on_header(name, value)
        if self.headers[-1][0] in _TELLING_HEADERS:
            self._is_plain = False
        self._head_octets += len(name) + len(value)
        self._check_head()

    def on_headers_complete(self) -> None:
        """Begin to answer, or refuse for the head's sake."""
        self._check_head()
        if self._is_proxied:
            self._take_in_sender()
        self._hot_answer = self._find_hot_answer()
        if self._hot_answer is not None:
            return
        is_tunnel = is_tunnel_request(self.parser.get_method(), self.headers)
        limits = self.server_.limits
        self._body_octets_max = TUNNEL_BODY_OCTETS_MAX if is_tunnel else limits.http_body_octets_max
        self._is_stream = (
            not is_tunnel
            and self.parser.get_method() == b"POST"
            and self.url.partition(b"?")[0] == _STREAM_PATH
        )
        if not self._is_stream:
            self._check_body(self._announced_octets())
        if len(self.pipeline) >= limits.pipelined_max:
            self._stop(503, f"more than {limits.pipelined_max} requests wait on this connection")
        self._phase = _IN_BODY
        self._wait(limits.http_body_timeout_s)
        if is_tunnel:
            self._begin_tunnel()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take in a piece of the body."""
        self._body_octets += len(body)
        if self._is_stream:
            self._wait(self.server_.limits.http_body_timeout_s)
        else:
            self._check_body(self._body_octets)
        if isinstance(self.cycle, TunnelExchange):
            self.cycle.body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request; the tunnel can now be answered."""
        self._phase = _BETWEEN
        self._at_start = True
        if self._hot_answer is not None:
            self.write_hot(self._hot_answer, self._known_keep_alive)
            self._hot_answer = None
            return
        self.deadline_s = NEVER
        super().on_message_complete()
        if isinstance(self.cycle, TunnelExchange):
            self.cycle.answer_if_whole()

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for one."""
        super().on_response_complete()
        if self._input_ended and not self.pipeline:
            self.transport.close()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self.write_deadline_s = self.loop.time() + self.server_.limits.write_timeout_s

    def resume_writing(self) -> None:
        """Go on writing."""
        super().resume_writing()
        self.write_deadline_s = NEVER

    def refuse(self, status: int, words: str) -> None:
        """Answer with an error in plain text and close, once the client has had time to read it."""
        self._is_refused = True
        self._wait(LINGER_S)
        REFUSED.labels(f"http_{status}").inc()
        self.transport.write(_plain_answer(status, words))
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def time_out(self) -> None:
        """End a connection whose deadline has passed."""
        if self._lane is not None and self._lane.is_waiting:
            self.parse(self._lane.release())
        if self._is_stream and self._phase == _IN_BODY and self.flow.read_paused:
            self._wait(self.server_.limits.http_body_timeout_s)  # it is us who take their time
            return
        if self._phase != _BETWEEN and self._head_octets and not self._is_refused:
            self._refuse_input(408, "the request took too long to arrive")
        elif self._is_idle and not self.transport.is_closing():
            self.transport.close()
        else:
            self.transport.abort()

    def time_out_writing(self) -> None:
        """End a connection whose client does not read, unless it still sends a stream."""
        if self._is_stream and self._phase == _IN_BODY:
            self.write_deadline_s = self.loop.time() + self.server_.limits.write_timeout_s
        else:
            self.transport.abort()

    def shutdown(self) -> None:
        """Close once what has been asked for is answered."""
        if self._lane is not None and self._lane.is_waiting:
            self.parse(self._lane.release())
        if self._lane is not None and self._lane.is_creating:
            self._lane.is_ending = True
        else:
            super().shutdown()

    def wait_for_body(self) -> None:
        """Wait for the rest of a body, as if its head had been parsed."""
        self.wait_for_nothing()
        self._wait(self.server_.limits.http_body_timeout_s)

    def wait_for_nothing(self) -> None:
        """Let the client take its time: it is us who have something to do."""
        self._unset_keepalive_if_required()
        self._is_idle = False
        self.deadline_s = NEVER

    @property
    def may_begin_creation(self) -> bool:
        """Whether the parser is between two requests, and an answer could be written now."""
        return self._at_start and self._may_answer_hot

    @property
    def peer(self) -> Peer:
        """Who sends the request being parsed; the port is not known behind a proxy."""
        _, port = self.client or ("", 0)
        return Peer(self._sender, 0 if self._is_proxied else port, self._transport_kind)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _may_answer_hot(self) -> bool:
        """Whether an answer written now stands behind all answers before it, and can be read."""
        return not (
            self._is_answering
            or self.pipeline
            or self.flow.write_paused
            or self._is_refused
            or self.transport.is_closing()
        )

    def _take_in_sender(self) -> None:
        """Find out for whom the proxy asks."""
        self._sender = self.server_.proxies.find_client(self._address, self.headers)
        self.scope["client"] = (self._sender, 0)
        # What is in the scope beside ASGI's own is ours.
        cast("dict[str, Any]", self.scope)[ADDRESS_KEY] = self._address

    def _answer_known(self, data: bytes, known_head: bytes) -> bool:
        """Answer one whole request that differs in nothing but its target from one before."""
        if not (data.startswith(_HOT_START) and data.endswith(known_head) and self._at_start):
            return False
        hot_route = self.server_.hot_route
        if hot_route is None or not self._may_answer_hot:
            return False
        if len(data) > self.server_.limits.http_head_octets_max:
            return False
        target = data[len(_HOT_START) : -len(known_head)]
        keep_alive = self._known_keep_alive
        answer = hot_route.answer(
            target, self._transport_kind, keep_alive=keep_alive, sender=self._known_sender
        )
        if answer is None:
            return False
        self._unset_keepalive_if_required()
        self.write_hot(answer, keep_alive)
        return True

    def _find_hot_answer(self) -> bytes | None:
        """Return the answer to the request whose head has just been parsed, if it is a hot one."""
        hot_route = self.server_.hot_route
        if hot_route is None:
            return None
        version = self.parser.get_http_version()
        is_hot = (
            self._is_plain
            and self.url.startswith(_HOT_PATH)
            and self.parser.get_method() == b"GET"
            and version in ("1.1", "1.0")
            and self._hot_answers < HOT_ANSWERS_MAX
            and self._may_answer_hot
        )
        if not is_hot:
            hot_route.flush()  # whatever asks next sees what was counted
            if self.server_.creations is not None:
                self.server_.creations.flush()
            return None
        self._known_head = None
        self._known_sender = self._sender
        self._known_keep_alive = version == "1.1" and self.parser.should_keep_alive()
        target = self.url[len(_HOT_PATH) :]
        return hot_route.answer(
            target,
            self._transport_kind,
            keep_alive=self._known_keep_alive,
            sender=self._sender,
        )

    def write_hot(self, answer: bytes, keep_alive: bool) -> None:
        """Write an answer that was made here."""
        self._hot_answers += 1
        self.transport.write(answer)
        if keep_alive:
            self._is_idle = True
            self._wait(self.server_.limits.idle_timeout_s)
        else:
            self.transport.close()

    def _learn_head(self, data: bytes) -> None:
        """Keep the head of the one request that `data` were, to know it when it comes again."""
        if not self._hot_answers:
            is_creation = data.startswith(CREATION_START) and self._phase != _IN_HEAD
            if self._lane is not None and is_creation and self._requests == 1:
                self._lane.learn(data)
            return
        end = data.find(b" ", len(_HOT_START))
        head = data[end:]
        is_one = self._requests == 1 and self._at_start and data[len(b"GET ") : end] == self.url
        if is_one and len(head) <= KNOWN_HEAD_OCTETS_MAX and head.endswith(b"\r\n\r\n"):
            self._known_head = head

    def _begin_tunnel(self) -> None:
        keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        exchange = TunnelExchange(self, keep_alive=keep_alive)
        before, self.cycle = self.cycle, cast("Any", exchange)
        if self.expect_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if before is None or before.response_complete:
            exchange.begin()
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, TunnelExchange):
            self.loop.call_soon(cycle.begin)  # not at once: a pipeline would nest its answers
        else:
            super()._start_asgi_task(cycle, app)

    def _announced_octets(self) -> int:
        lengths = [value for name, value in self.headers if name == b"content-length"]
        return int(lengths[0]) if lengths and lengths[0].isdigit() else 0

    def _check_head(self) -> None:
        limits = self.server_.limits
        if self._head_octets > limits.http_head_octets_max:
            self._stop(431, f"the head is longer than {limits.http_head_octets_max} octets")
        if self.headers is not None and len(self.headers) > limits.http_headers_max:
            self._stop(431, f"there are more than {limits.http_headers_max} headers")

    def _check_body(self, octets: int) -> None:
        if octets > self._body_octets_max:
            self._stop(413, f"the body is longer than {self._body_octets_max} octets")

    def _stop(self, status: int, words: str) -> None:
        """Refuse and end the parser, which wraps and returns what its callbacks raise."""
        self._refuse_input(status, words)
        raise _RefusedError

    def _refuse_input(self, status: int, words: str) -> None:
        """Refuse what the client sends, unless an answer to something earlier stands in the way."""
        if self._is_refused or self.transport.is_closing():
            return
        if self._is_answering:
            is_of_this_request = self._phase == _IN_BODY and not self.pipeline
            if not is_of_this_request or self.cycle.response_started:
                self._is_refused = True
                self.transport.close()
                return
            self.cycle.disconnected = True  # whoever waits for the body need not answer any more
            self.cycle.message_event.set()
        self.refuse(status, words)

    def _wait(self, seconds: float) -> None:
        self.deadline_s = self.loop.time() + seconds


class _RefusedError(Exception):
    """Stops the parser after a refusal was written."""


def _plain_answer(status: int, words: str) -> bytes:
    phrase = http.HTTPStatus(status).phrase
    body = words.encode() + b"\n"
    return (
        f"HTTP/1.1 {status} {phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    ).encode() + body
