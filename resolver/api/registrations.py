"""Streams of registrations over REST: any number of rows in one request, a verdict for each.

    POST /api/registrations                    rows; header Idempotency-Key names the stream
         ?from=1          number of the first row in this body: after a break, the row that is next
         &end=true        false: more rows follow in another request, so no receipt yet
         &verdicts=after  all once the body has been read; stream: as rows become durable;
                          refused: only those that were refused, afterwards; none
         CSV: &handle= &map= &operation= &delimiter= &template= &attribute=   (`resolver.rows`)
    GET  /api/registrations/{key}              how far the stream has come, and its receipt
    GET  /api/registrations/{key}/verdicts     ?from=1 &refused=false

An answer is NDJSON. Lines with `row` are verdicts: {"row": 1, "through": 4096, "verdict":
"created", "sequence": 17}; a refused row has a `responseCode` and a `message`. The last line says
how far the stream has come, and what is left of `quotas`.

A row that is not the one sent under its number before is refused: its verdict says so in the answer
to the request that brought it, and `changed` lists it. What became of the first one stands, and
/verdicts tells that.

Of a body in gzip or zstd, rows are registered before its checksum has come (`content_coding`). When
it fails, `damaged` says which rows came out of the damaged member, and the stream does not end, so
that it has no receipt, before they are sent again: rows that were others are listed in `changed`.

The headers RateLimit-Limit, -Remaining and -Reset tell of the quota of identifiers, the only one
that ends a stream, or else of that of requests: once the body was read of the prefixes of its last
rows, with verdicts=stream of the sender's own prefix.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from protocol.codes import ResponseCode
from protocol.handle import to_text
from registry.stream_rows import ROWS_MAX
from registry.streams import KEY_OCTETS_MAX
from resolver.api.answers import json_response, quota_headers
from resolver.api.authorization import FAILED, AuthorizationError, find_authorization
from resolver.api.challenges import challenge_response
from resolver.api.context import Context, context_of, peer_of
from resolver.api.errors import RequestError, http_status
from resolver.api.parameters import Parameters, query_parameters
from resolver.api.verdict_lines import LinesResponse, line_of, verdict_lines
from resolver.link import LinkDown
from resolver.rows.content_coding import CodingError, Decoder, Expansion, make_decoder
from resolver.rows.errors import RowsError
from resolver.rows.pieces import Piece, pack_rows
from resolver.rows.readers import Reader, feed_packed, make_reader

ROW_NUMBER_MAX = 2**53  # JSON's
BATCH_OCTETS_MAX = 1_310_720  # of rows sent on together: ROWS_MAX of 320 octets, packed
BATCH_DELAY_S = 0.02  # a row waits so long for others
CHANGED_SHOWN_MAX = 1_000  # numbers of changed rows told of one request
CHANGED_RUNS_MAX = 10_000  # of changed rows, noted of one request
BATCHES_UNDER_WAY = 2  # one is written while the next is read
INTAKES_MAX = 64  # requests that bring rows at once, of a worker: each holds some 4 MB
SLICE_OCTETS = 32_768  # read in one go, 0.3 ms: then look-ups have their turn
_ARRAY_HEAD, _ARRAY_32 = struct.Struct(">BI"), 0xDD  # before the items of a long msgpack array
_STREAM_OPTIONS = ("handle", "map", "operation", "delimiter", "template", "attribute")
_VERDICTS = ("after", "stream", "refused", "none")


class _StoppedError(Exception):
    """The stream cannot go on now; `reply` is what the registrar said."""

    def __init__(self, reply: dict[str, Any]) -> None:
        super().__init__(to_text(reply.get("message", b"")))
        self.reply = reply


async def post_registrations(request: Request) -> Response:
    """POST /api/registrations."""
    parameters = query_parameters(request)
    key = _stream_key(request.headers.get("idempotency-key") or parameters.first("key"))
    first = parameters.number("from", 1, 1, ROW_NUMBER_MAX)
    wanted = parameters.first("verdicts", _VERDICTS[0])
    if wanted not in _VERDICTS:
        raise RequestError(f"verdicts is {wanted[:40]!r}: write {', '.join(_VERDICTS)}")
    ends = parameters.flag("end", True)
    reader, decoder = _open_body(request, parameters)
    reply = await _ask(request, "begin", key)
    if isinstance(reply, Response):
        return reply
    if first > reply["next"]:
        return _stopped(request, _gap(first, reply["next"]))
    if context_of(request).intakes >= INTAKES_MAX:
        words = f"{INTAKES_MAX} streams are being sent at the moment, try again"
        raise RequestError(words, ResponseCode.SERVER_TOO_BUSY)
    intake = _Intake(context_of(request), reply, first)
    return _RegistrationsResponse(request, intake, reader, decoder, wanted, ends=ends)


async def get_stream(request: Request) -> Response:
    """GET /api/registrations/{key}."""
    reply = await _ask(request, "show", _stream_key(request.path_params["key"]))
    if isinstance(reply, Response):
        return reply
    return json_response(request, {"responseCode": 1, "next": reply["next"], **reply["stream"]})


async def get_verdicts(request: Request) -> Response:
    """GET /api/registrations/{key}/verdicts."""
    parameters = query_parameters(request)
    first = parameters.number("from", 1, 1, ROW_NUMBER_MAX)
    only_refused = parameters.flag("refused", False)
    reply = await _ask(request, "show", _stream_key(request.path_params["key"]))
    if isinstance(reply, Response):
        return reply
    last = reply["next"] - 1
    lines = verdict_lines(
        context_of(request), reply["name"], first, last, only_refused=only_refused
    )
    return LinesResponse(lines)


def _stream_key(text: str) -> bytes:
    if not text:
        raise RequestError(
            "name the stream: send a header Idempotency-Key, a name of yours that no other stream "
            "of yours has"
        )
    if len(text) > KEY_OCTETS_MAX or not (text.isascii() and text.isprintable()) or "/" in text:
        raise RequestError(
            f"the key of a stream has at most {KEY_OCTETS_MAX} printable ASCII characters, no slash"
        )
    return text.encode()


def _open_body(request: Request, parameters: Parameters) -> tuple[Reader, Decoder]:
    options = {name: parameters.all(name) for name in _STREAM_OPTIONS if name in parameters}
    media_type = request.headers.get("content-type", "")
    context = context_of(request)
    try:
        reader = make_reader(media_type, options, context.now_s)
        decoder = make_decoder(request.headers.get("content-encoding", ""))
    except RowsError as error:
        raise _unreadable(error) from None
    return reader, decoder


def _unreadable(error: RowsError) -> RequestError:
    words = f"{error.what}: {error.hint}" if error.hint else error.what
    return RequestError(words, ResponseCode.PROTOCOL_ERROR, 400)


async def _ask(request: Request, action: str, key: bytes) -> dict[str, Any] | Response:
    """Begin or show a stream; return what is known of it, or the answer that says why not."""
    try:
        authorization = await find_authorization(request)
    except AuthorizationError as error:
        return await challenge_response(request, session=error.session)
    peer = peer_of(request)
    payload = {
        "authorization": authorization,
        "key": key,
        "address": peer.address,
        "transport": peer.transport,
    }
    reply = await context_of(request).operations.registrations(action, payload)
    if reply["code"] == ResponseCode.SUCCESS:
        return reply
    if http_status(reply["code"]) == 401 or (authorization is not None and reply["code"] in FAILED):
        return await challenge_response(request)
    return _stopped(request, reply)


def _gap(first: int, next_row: int) -> dict[str, Any]:
    words = f"rows {next_row} to {first - 1} are missing: go on with from={next_row}"
    return {"code": int(ResponseCode.ERROR), "message": words.encode(), "next": next_row}


def _stopped(
    request: Request, reply: dict[str, Any], headers: Mapping[str, str] | None = None
) -> Response:
    is_out_of_step = "next" in reply and reply["code"] == ResponseCode.ERROR
    status = 409 if is_out_of_step else http_status(reply["code"])
    return json_response(request, _stopped_form(reply), status, headers)


def _stopped_form(reply: dict[str, Any]) -> dict[str, Any]:
    form: dict[str, Any] = {"responseCode": reply["code"]}
    form["message"] = to_text(reply["message"])
    if "next" in reply:
        form["next"] = reply["next"]
    form.update(reply.get("changed", {}))
    return form


class _Intake:
    """Rows on their way to the registrar, in batches, a few of them under way."""

    def __init__(self, context: Context, begun: dict[str, Any], first: int) -> None:
        self._operations = context.operations
        self._name: bytes = begun["name"]
        self._token: int = begun["token"]
        self._next = first  # the number of the first row that is not sent on
        self._pieces: list[bytes] = []  # of the batch that is gathered
        self._count = 0  # of its rows
        self._octets = 0
        self._timer: asyncio.TimerHandle | None = None
        self._places = asyncio.Semaphore(BATCHES_UNDER_WAY)
        self._under_way: set[asyncio.Task[None]] = set()
        self._stopped: Exception | None = None
        self.latest = begun
        self.last_taken = first - 1  # of the rows that came: the last one that has its verdict
        self.quotas: dict[str, list[int]] = begun.get("quotas", {})
        self.changed_runs: list[tuple[int, int]] = []  # of rows, the first and the last of each
        self.progress = asyncio.Event()  # set when `latest` has changed

    @property
    def name(self) -> bytes:
        """The name of the stream in the store."""
        return self._name

    @property
    def next_row(self) -> int:
        """The number of the row that is read next."""
        return self._next + self._count

    async def take(self, pieces: Iterable[Piece]) -> None:
        """Take rows in; waits while too many are under way. Raises: _StoppedError, LinkDown."""
        for rows, octets in pieces:
            if self._count + rows > ROWS_MAX:
                await self._send_on()
            self._pieces.append(octets)
            self._count += rows
            self._octets += len(octets)
            if self._count == ROWS_MAX or self._octets >= BATCH_OCTETS_MAX:
                await self._send_on()
        self._wait_for_more()
        self._check()

    async def finish(self) -> None:
        """Wait until all rows are durable. Raises: _StoppedError, LinkDown."""
        if self._count:
            await self._send_on()
        while self._under_way:
            await asyncio.wait(set(self._under_way))
        self._check()

    async def end(self) -> None:
        """End the stream. Raises: _StoppedError, LinkDown."""
        payload = {"name": self._name, "token": self._token, "rows": self._next - 1}
        self._note(await self._operations.registrations("end", payload))
        self._check()

    async def tell_damage(self, first: int, last: int) -> None:
        """Tell that rows came out of what proved to be damaged. Raises: _StoppedError, LinkDown."""
        payload = {"name": self._name, "token": self._token, "first": first, "last": last}
        self._note(await self._operations.registrations("damaged", payload))
        self._check()

    def abandon(self) -> None:
        """Send nothing on any more; what is under way becomes durable or not."""
        if self._timer is not None:
            self._timer.cancel()
        self._pieces = []
        self._count = self._octets = 0

    def _check(self) -> None:
        if self._stopped is not None:
            raise self._stopped

    def _wait_for_more(self) -> None:
        """Give the rows at hand a moment to become more."""
        if self._count and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(BATCH_DELAY_S, self._send_on_later)

    def _send_on_later(self) -> None:
        self._timer = None
        if self._count and not self._places.locked() and self._stopped is None:
            task = asyncio.get_running_loop().create_task(self._send_on())
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _send_on(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # Taken and numbered before anything is waited for, so batches leave in order.
        head = _ARRAY_HEAD.pack(_ARRAY_32, self._count)
        packed, first, count = b"".join((head, *self._pieces)), self._next, self._count
        self._next += count
        self._pieces = []
        self._count = self._octets = 0
        await self._places.acquire()
        task = asyncio.get_running_loop().create_task(self._register(first, count, packed))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _register(self, first: int, count: int, packed: bytes) -> None:
        payload = {"name": self._name, "token": self._token, "first": first, "rows": packed}
        try:
            if self._stopped is None:
                reply = await self._operations.registrations("rows", payload)
                if reply["code"] == ResponseCode.SUCCESS:
                    self.last_taken = first + count - 1
                self._note(reply)
        except Exception as error:  # whatever it was, rows behind these may not follow
            self._stopped = self._stopped or error
        finally:
            self._places.release()
            self.progress.set()
            self._wait_for_more()

    def _note(self, reply: dict[str, Any]) -> None:
        if reply["code"] != ResponseCode.SUCCESS:
            self._stopped = self._stopped or _StoppedError(reply)
            return
        self.latest = reply
        self.quotas = self.quotas | reply.get("quotas", {})
        self._note_changed(reply.get("changed", []))

    def _note_changed(self, runs: Iterable[Sequence[int]]) -> None:
        """Note rows that are not those of before; they come in the order of their numbers."""
        known = self.changed_runs
        for first, last in runs:
            if known and first == known[-1][1] + 1:
                known[-1] = (known[-1][0], last)
            else:
                known.append((first, last))
        if len(known) > CHANGED_RUNS_MAX:
            words = (
                f"in more than {CHANGED_RUNS_MAX:,} places these rows are not those sent under the "
                "same key before: send those, or these under another key"
            )
            reply = {"code": int(ResponseCode.ERROR), "message": words.encode()}
            self._stopped = self._stopped or _StoppedError(reply)


class _RegistrationsResponse(Response):
    """Reads the body, then answers; or answers while it reads."""

    def __init__(
        self,
        request: Request,
        intake: _Intake,
        reader: Reader,
        decoder: Decoder,
        wanted: str,
        *,
        ends: bool,
    ) -> None:
        self._request = request
        self._context = context_of(request)
        self._intake = intake
        self._reader = reader
        self._decoder = decoder
        self._wanted = wanted
        self._ends = ends
        self._first = intake.next_row
        self._member_first = self._first  # the row under way when the coding's member began
        self._members = 0  # of the coding that have come whole
        self._damaged: tuple[int, int] | None = None
        limits = self._context.config.limits
        self._expansion = Expansion(limits.stream_ratio_max, limits.stream_ratio_free_octets)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request."""
        self._context.intakes += 1
        try:
            await self._serve(scope, receive, send)
        finally:
            self._context.intakes -= 1

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._wanted == "stream":
            await self._serve_both_ways(scope, receive, send)
            return
        try:
            await self._read()
        except (_StoppedError, LinkDown, RowsError) as error:
            await self._answer_stopped(error)(scope, receive, send)
            return
        except ClientDisconnect:
            self._intake.abandon()
            return
        await LinesResponse(self._all_lines(), self._quota_headers())(scope, receive, send)

    async def _read(self) -> None:
        """Read the body to its end, or as far as it can be read."""
        intake = self._intake
        try:
            async for data in self._request.stream():
                await self._take_in(data)
            self._decoder.end()
            await intake.take(pack_rows(self._reader.end()))
        except CodingError as error:
            self._note_member()
            await intake.finish()  # what came before it counts
            if self._member_first < intake.next_row:
                self._damaged = (self._member_first, intake.next_row - 1)
                if not error.is_cut_off:
                    await intake.tell_damage(*self._damaged)
            raise
        except RowsError:
            await intake.finish()
            raise
        await intake.finish()
        if self._ends:
            await intake.end()

    async def _take_in(self, data: bytes) -> None:
        """Take in a piece of the body, by slices. Raises: RowsError, _StoppedError, LinkDown."""
        intake = self._intake
        self._expansion.receive(len(data))
        for piece in self._decoder.decode(data):
            self._note_member()
            for start in range(0, len(piece), SLICE_OCTETS):
                part = piece[start : start + SLICE_OCTETS]
                await intake.take(feed_packed(self._reader, part))
                self._expansion.make(len(part), intake.next_row - self._first)
                await asyncio.sleep(0)

    def _note_member(self) -> None:
        """Note the row under way if another member of the coding begins with it."""
        if self._decoder.members != self._members:
            self._members, self._member_first = self._decoder.members, self._intake.next_row

    def _answer_stopped(self, error: Exception) -> Response:
        self._intake.abandon()
        if isinstance(error, RowsError):
            form = self._unreadable_form(error)
            return json_response(self._request, form, 400, self._quota_headers())
        reply = {"code": int(ResponseCode.SERVER_TOO_BUSY), "message": str(error).encode()}
        if isinstance(error, _StoppedError):
            reply = error.reply
        return _stopped(self._request, self._stopped_reply(reply), self._quota_headers())

    def _quota_headers(self) -> dict[str, str]:
        quotas = self._intake.quotas
        left = quotas.get("identifiers") or quotas.get("requests")
        return {} if left is None else quota_headers(left)

    def _stopped_reply(self, reply: dict[str, Any]) -> dict[str, Any]:
        return {"next": self._intake.latest["next"], **reply, "changed": self._changed_form()}

    def _changed_form(self) -> dict[str, Any]:
        """Return which rows were sent before with other content; nothing when none were."""
        runs = self._intake.changed_runs
        if not runs:
            return {}
        numbers = chain.from_iterable(range(first, last + 1) for first, last in runs)
        count = sum(last - first + 1 for first, last in runs)
        return {"changed": list(islice(numbers, CHANGED_SHOWN_MAX)), "changedCount": count}

    def _unreadable_form(self, error: RowsError) -> dict[str, Any]:
        problem = _unreadable(error)
        form = {
            "responseCode": int(problem.response_code),
            "message": problem.words,
            "next": self._intake.latest["next"],
            **self._changed_form(),
        }
        if self._damaged is not None:
            first, last = self._damaged
            form["damaged"] = {"row": first, "through": last}
            form["message"] += f"; rows {first} to {last} came out of it and may be others"
        return form

    async def _serve_both_ways(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer while the body is read: whoever does not read yet does not hold it up."""
        reading = asyncio.create_task(self._read_and_note())
        await asyncio.sleep(0)  # it begins first: a client may wait for 100 Continue
        try:
            lines = self._lines_as_they_come(reading)
            await LinesResponse(lines, self._quota_headers())(scope, receive, send)
        finally:
            self._intake.abandon()
            reading.cancel()

    async def _read_and_note(self) -> dict[str, Any] | None:
        """Read; return what the last line is to say when it did not go well."""
        try:
            await self._read()
        except RowsError as error:
            return self._unreadable_form(error)
        except _StoppedError as error:
            return _stopped_form(self._stopped_reply(error.reply))
        except (LinkDown, ClientDisconnect) as error:
            return {"responseCode": int(ResponseCode.ERROR), "message": str(error)}
        finally:
            self._intake.progress.set()
        return None

    async def _lines_as_they_come(
        self, reading: "asyncio.Task[dict[str, Any] | None]"
    ) -> AsyncIterator[bytes]:
        intake, told = self._intake, self._first
        while True:
            is_read = reading.done()
            intake.progress.clear()
            # What was sent before this request is told once it came again, perhaps as another row.
            last = intake.latest["next"] - 1 if is_read else intake.last_taken
            async for lines in self._verdicts(told, last):
                yield lines
            told = max(told, last + 1)
            if is_read:
                break
            await intake.progress.wait()
        trouble = reading.result()
        yield self._last_line() if trouble is None else line_of(trouble)

    async def _all_lines(self) -> AsyncIterator[bytes]:
        if self._wanted != "none":
            async for lines in self._verdicts(self._first, self._intake.latest["next"] - 1):
                yield lines
        yield self._last_line()

    def _verdicts(self, first: int, last: int) -> AsyncIterator[bytes]:
        intake, only_refused = self._intake, self._wanted == "refused"
        return verdict_lines(
            self._context,
            intake.name,
            first,
            last,
            only_refused=only_refused,
            changed=intake.changed_runs,
        )

    def _last_line(self) -> bytes:
        latest = self._intake.latest
        form = {"responseCode": 1, "next": latest["next"], **latest["stream"]}
        if self._intake.quotas:
            names = ("limit", "remaining", "reset")
            quotas = self._intake.quotas.items()
            form["quotas"] = {kind: dict(zip(names, left, strict=True)) for kind, left in quotas}
        return line_of(form | self._changed_form())
