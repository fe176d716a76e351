"""Streams of registrations in the registrar: who may go on with one, and its rows to the store.

    begin  {authorization, key, address, transport}  proves who asks, opens or finds the stream
    rows   {name, token, first, rows}                decided and durable when it is answered
    damaged {name, token, first, last}               these came out of a damaged body
    end    {name, token, rows}                       none follow so many: signs the receipt
    show   {authorization, key, address, transport}  how far the stream has come

Replies are {code, message} and what is known of the stream (`stream_form`), and of `quotas` what is
left: of the sender's prefix, then of the prefixes of his rows. `rows` is msgpack of
[[kind, handle, octets, digest], ...]; of those that are not what was sent under their numbers
before, `changed` has the first and the last of each run.

A stream has one sender at a time, whoever began last: a client whose connection broke need not wait
until we notice. What the one before it had under way may still be written; it comes again then, and
is known by its digest.
"""

import asyncio
import itertools
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgpack

from protocol import jws
from protocol.codes import ResponseCode
from protocol.errors import ProtocolError
from protocol.handle import prefix_handle, to_text
from protocol.value import Reference
from registry.authorization import Policy
from registry.bulk import NeedError, Registered, StreamError, register_rows
from registry.errors import StoreError
from registry.outcomes import (
    OldRecord,
    Refusal,
    Unavailable,
    foreign_key,
    identity_text,
    refuse,
)
from registry.owners import own_prefix, owners_before
from registry.receipts import Receipt, to_payload
from registry.store import Store
from registry.stream_keeping import (
    Bounds,
    StreamCounts,
    count_begun,
    count_ended,
    find_old,
    forget,
    refuse_beyond,
)
from registry.stream_rows import PackedRow
from registry.streams import Stream, find_stream, own_stream_name, put_stream
from registry.views import WriteView
from resolver.group_commit import Done, GroupCommit, NotWritingError
from resolver.metrics import BULK_ROWS
from resolver.node import Node
from resolver.operations import NEED_ROUNDS_MAX, Known, Operations
from resolver.quotas import Quotas

SENDERS_MAX = 4_096  # streams that somebody sends to; the longest silent one has to begin again
STREAMS_MAX = 1_000_000  # kept in all
KNOWN_S = 300  # what was fetched of other nodes counts for a sender
DOUBT_AFTER_S = 1  # when rows are refused by it, it is fetched again, no more often than this
IDLE_KEPT_S = 86_400  # at most, of a stream of which nothing was accepted
TURN_S = 0.05  # of one transaction with rows; 4,096 plain ones are done by then, others may not be
PURGE_PAGE_STREAMS = 1_000  # looked at in one go: some 3 ms
PURGE_PAGES = 10  # looked at in one purge, of which there is one a minute
FORGOTTEN_MAX = 1_000  # streams and batches of verdicts deleted in one transaction

Prove = Callable[[dict[str, Any]], Awaitable[Reference | Refusal | None]]


@dataclass(slots=True)
class _Sender:
    """Who sends to a stream now, and what was fetched to decide on its rows."""

    token: int
    identity: Reference
    known: Known = field(default_factory=Known)
    known_since_s: float = 0.0
    doubted_s: float = 0.0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # batches keep their order

    def forget_old(self, now_s: float) -> None:
        """Forget what was fetched of other nodes a while ago."""
        if abs(now_s - self.known_since_s) > KNOWN_S:
            self.known, self.known_since_s = Known(), now_s

    def doubts(self, now_s: float) -> bool:
        """Say whether a refusal may rest on what other nodes have changed since it was fetched."""
        return bool(self.known.foreign) and abs(now_s - self.doubted_s) >= DOUBT_AFTER_S


class _DoubtError(Exception):
    """Rows would be refused for ever by what was fetched a while ago."""


class Registrations:
    """Takes the rows of streams; use from the registrar's loop.

    Args:
        store: read here.
        commit: writes.
        operations: fetches what is on other nodes.
        policy: the node's own administrators.
        prove: proves who asks, given {authorization, address, transport}: an identity, None when
            there are no credentials, or a Refusal.
        node: signs receipts.
        threads: where they are signed.
        now_s: the time since 1970.
        quotas: told of; None: there are none.
        bounds: of the streams of one identity.
        clock_s: a clock that never goes back.
    """

    def __init__(
        self,
        store: Store,
        commit: GroupCommit,
        operations: Operations,
        policy: Policy,
        prove: Prove,
        *,
        node: Node,
        threads: Executor,
        now_s: Callable[[], float],
        quotas: Quotas | None = None,
        bounds: StreamCounts,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._commit = commit
        self._operations = operations
        self._policy = policy
        self._prove = prove
        self._node = node
        self._threads = threads
        self._now_s = now_s
        self._clock_s = clock_s
        self._quotas = quotas
        self._bounds = bounds
        self._looked_through = b""  # the stream up to which old ones were looked for
        self._drops = 0  # how often keys were lost, or changed hands
        self._senders: OrderedDict[bytes, _Sender] = OrderedDict()
        # Nobody's from before a restart.
        self._tokens = itertools.count(secrets.randbits(40))

    async def begin(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Open a stream, or find how far it has come."""
        drops = self._drops
        identity = await self._prove(payload)
        if not isinstance(identity, Reference):
            return _refused(identity)
        now_ms = self._now_ms()
        try:
            stream = await self._commit.transact(
                lambda view: _open(view, identity, payload["key"], now_ms, self._bounds)
            )
        except (NotWritingError, StoreError) as error:
            return _failed(error)
        if self._drops != drops:  # perhaps the key that he was proven with
            return _refused(_KEYS_CHANGED)
        token = next(self._tokens)
        self._senders[stream.name] = _Sender(token, identity)
        self._senders.move_to_end(stream.name)
        if len(self._senders) > SENDERS_MAX:
            self._senders.popitem(last=False)
        own = own_prefix(identity.handle)
        return _known(stream) | {"token": token, "quotas": self._find_left({own})}

    async def rows(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Register rows; answered once what became of them is durable."""
        name, sender = payload["name"], self._senders.get(payload["name"])
        if sender is None or sender.token != payload["token"]:
            return _refused(_NOT_THE_SENDER)
        self._senders.move_to_end(name)
        try:
            async with sender.turn:
                if self._senders.get(name) is not sender:  # logged out while he waited
                    return _refused(_NOT_THE_SENDER)
                sender.forget_old(self._now_s())
                first, rows = payload["first"], payload["rows"]
                registered, prefixes = await self._register(name, first, rows, sender)
        except (NotWritingError, StoreError) as error:
            return _failed(error)
        return _known(registered.stream) | {
            "changed": find_runs(registered.changed),
            "quotas": self._find_left(prefixes),
        }

    def _find_left(self, prefixes: Collection[bytes]) -> dict[str, list[int]]:
        """Return [limit, remaining, seconds] of each kind of quota that one of the prefixes has."""
        if self._quotas is None or not prefixes:
            return {}
        found = self._quotas.find_all_left(sorted(prefixes))
        return {name: list(left) for name, left in found.items()}

    async def damaged(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Note rows that came out of a body which proved damaged: they have to come again."""
        name, sender = payload["name"], self._senders.get(payload["name"])
        if sender is None or sender.token != payload["token"]:
            return _refused(_NOT_THE_SENDER)
        first, last = payload["first"], payload["last"]

        def work(view: WriteView) -> Stream:
            stream = find_stream(view, name)
            if stream is None:
                raise StoreError("the stream is not kept any more: begin it anew")
            if not stream.ended_ms:  # then all rows were there already
                stream = stream.damaged(first, last)
                put_stream(view, stream)
            return stream

        try:
            return _known(await self._commit.transact(work))
        except (NotWritingError, StoreError) as error:
            return _failed(error)

    async def end(self, payload: dict[str, Any]) -> dict[str, Any]:
        """End a stream and sign its receipt; of one that has ended, show that."""
        name, sender = payload["name"], self._senders.get(payload["name"])
        if sender is None or sender.token != payload["token"]:
            return _refused(_NOT_THE_SENDER)
        try:
            with self._store.read() as view:
                stream = find_stream(view, name)
            if stream is None:
                raise StoreError("the stream is not kept any more: begin it anew")
            if stream.rows < payload["rows"]:
                raise StoreError(f"row {stream.rows + 1} and what follows it have not arrived")
            if not stream.ended_ms:
                _check_damage(stream)
                stream = await self._end(stream)
        except (NotWritingError, StoreError, ProtocolError) as error:
            return _failed(error)
        if self._senders.get(name) is sender:
            del self._senders[name]
        return _known(stream)

    def identities(self) -> Iterator[Reference]:
        """Iterate over who has logged in and sends."""
        return (sender.identity for sender in self._senders.values())

    def drop_of(self, is_meant: Callable[[Reference], bool]) -> int:
        """Take nothing more from who sends by a key that is meant, until he logs in anew.

        Returns:
            How many streams that stopped; they can be gone on with.
        """
        self._drops += 1
        names = [name for name, sender in self._senders.items() if is_meant(sender.identity)]
        for name in names:
            del self._senders[name]
        return len(names)

    async def show(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Show how far a stream has come."""
        identity = await self._prove(payload)
        if not isinstance(identity, Reference):
            return _refused(identity)
        try:
            with self._store.read() as view:
                stream = find_stream(view, own_stream_name(view, identity, payload["key"]))
        except StoreError as error:
            return _failed(error)
        if stream is None:
            words = f"{identity_text(identity)} has begun no stream with this key"
            return _refused(refuse(ResponseCode.HANDLE_NOT_FOUND, words))
        return _known(stream)

    async def purge(self, kept_s: float) -> None:
        """Look at some of the streams, and forget those that ended longer ago.

        The next call goes on with those that follow, after the last with the first.
        """
        before_ms = int((self._now_s() - kept_s) * 1000)
        idle_before_ms = max(before_ms, int((self._now_s() - IDLE_KEPT_S) * 1000))
        bounds = Bounds(before_ms, idle_before_ms)
        loop = asyncio.get_running_loop()
        for _ in range(PURGE_PAGES):
            look = partial(self._find_old, bounds, self._looked_through)
            old, self._looked_through = await loop.run_in_executor(self._threads, look)
            while old:
                work = partial(forget, names=old, bounds=bounds, entries_max=FORGOTTEN_MAX)
                old = await self._commit.transact(work, own=True)
            if not self._looked_through:
                return

    def _find_old(self, bounds: Bounds, after: bytes) -> tuple[Sequence[bytes], bytes]:
        with self._store.read() as view:
            return find_old(view, bounds, after, PURGE_PAGE_STREAMS)

    async def _register(
        self, name: bytes, first: int, rows: bytes, sender: _Sender
    ) -> tuple[Registered, set[bytes]]:
        """Register rows, in as many transactions as they take.

        Returns:
            How that ended, and the prefixes of the rows if any prefix has a quota.
        """
        tells = self._quotas is not None and self._quotas.are_there
        unpacked: list[Sequence[PackedRow]] = []  # in the writer's thread, where nobody waits

        def work(view: WriteView, after: int) -> tuple[Stream, Registered]:
            if not unpacked:
                unpacked.append(msgpack.unpackb(rows, use_list=False))
            stream = _find_to_go_on(view, name)
            end_s = self._clock_s() + TURN_S
            registered = register_rows(
                view,
                stream,
                first + after,
                unpacked[0][after:],
                foreign=sender.known.foreign,
                policy=self._policy,
                now_ms=self._now_ms(),
                is_over=lambda: self._clock_s() >= end_s,
            )
            if registered.lacking is not None:
                self._look_again(sender, registered.lacking)
            return stream, registered

        done = 0
        changed: tuple[int, ...] = ()
        while True:
            before, registered = await self._transact(partial(work, after=done), sender)
            _count(before, registered.stream)
            changed += registered.changed
            done = registered.stream.rows - first + 1
            if done >= len(unpacked[0]):
                prefixes = {prefix_handle(row[1]) for row in unpacked[0]} if tells else set()
                return registered._replace(changed=changed), prefixes
            if self._senders.get(name) is not sender:  # logged out meanwhile
                raise StoreError(to_text(_NOT_THE_SENDER.message))

    async def _transact(self, work: Callable[[WriteView], Done], sender: _Sender) -> Done:
        """Do something for a sender in a transaction, once all is fetched that it needs."""
        for _ in range(NEED_ROUNDS_MAX):
            try:
                return await self._commit.transact(work)
            except NeedError as need:
                await self._operations.fetch(need.handles, sender.known)
            except _DoubtError:
                await self._operations.refresh(sender.known, at_once=True)
                sender.known, sender.doubted_s = Known(), self._now_s()
        raise StoreError(f"groups on other nodes are nested deeper than {NEED_ROUNDS_MAX} fetches")

    def _look_again(self, sender: _Sender, row: PackedRow) -> None:
        """Undo the transaction if this row's refusal may be none: a verdict is one for ever.

        Raises:
            _DoubtError: fetch again what other nodes have, then begin anew.
            NotWritingError: the node that knows who may register cannot be reached.
        """
        if sender.doubts(self._now_s()):
            raise _DoubtError
        prefix = prefix_handle(row[1])
        known = sender.known.foreign.get(foreign_key(prefix))
        if isinstance(known, Unavailable | OldRecord):
            words = (
                f"who may register under {to_text(row[1].partition(b'/')[0])} is not known now, "
                f"its rows wait: {known.reason}; go on with the stream later"
            )
            raise NotWritingError(refuse(ResponseCode.SERVER_TOO_BUSY, words))

    async def _end(self, stream: Stream) -> Stream:
        ended = replace(stream, ended_ms=self._now_ms())
        loop = asyncio.get_running_loop()
        token = await loop.run_in_executor(
            self._threads,
            lambda: jws.sign(
                to_payload(make_receipt(ended, self._node.name)),
                self._node.private_key,
                key_id=self._node.key_id,
            ),
        )
        ended = replace(ended, receipt=token)

        def work(view: WriteView) -> Stream:
            if find_stream(view, stream.name) != stream:
                raise StoreError("rows were added while the stream was to end: end it again")
            put_stream(view, ended)
            count_ended(view, ended)
            return ended

        return await self._commit.transact(work)

    def _now_ms(self) -> int:
        return int(self._now_s() * 1000)


def _find_to_go_on(view: WriteView, name: bytes) -> Stream:
    """Return a stream that takes rows. Raises: StoreError."""
    stream = find_stream(view, name)
    if stream is None:
        raise StoreError("the stream is not kept any more: begin it anew")
    if stream.owners_before != owners_before(view, stream.identity.handle):
        raise StoreError("the prefix has changed hands: this stream takes no more rows")
    return stream


def find_runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return the first and the last of numbers that follow each other; they rise."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def make_receipt(stream: Stream, node_name: str) -> Receipt:
    """Return what the receipt of a stream that has ended says."""
    return Receipt(
        node=node_name,
        identity=identity_text(stream.identity),
        key=stream.key.decode(),
        rows=stream.rows,
        created=stream.created,
        replaced=stream.replaced,
        deleted=stream.deleted,
        unchanged=stream.unchanged,
        refused=stream.refused,
        first_sequence=stream.first_sequence,
        last_sequence=stream.last_sequence,
        digest=stream.digest,
        begun=time_text(stream.begun_ms),
        ended=time_text(stream.ended_ms),
    )


def time_text(time_ms: int) -> str:
    """Return a time as RFC 3339 has it, in UTC with milliseconds."""
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _open(
    view: WriteView, identity: Reference, key: bytes, now_ms: int, bounds: StreamCounts
) -> Stream:
    stream = find_stream(view, own_stream_name(view, identity, key))
    if stream is not None:
        return stream
    if view.count_streams() >= STREAMS_MAX:
        words = f"{STREAMS_MAX} streams are kept already, no more can begin"
        raise NotWritingError(refuse(ResponseCode.SERVER_TOO_BUSY, words))
    before = owners_before(view, identity.handle)
    refusal = refuse_beyond(view, identity, before, bounds)
    if refusal is not None:
        raise NotWritingError(refusal)
    stream = Stream(identity, key, now_ms, owners_before=before)
    put_stream(view, stream)
    count_begun(view, stream)
    return stream


def _check_damage(stream: Stream) -> None:
    """Make sure that no row waits to be sent again. Raises: StreamError."""
    first, last = stream.damaged_first, stream.damaged_last
    if last:
        words = f"rows {first} to {last} came out of a damaged body: send them again, or all rows"
        raise StreamError(f"{words} in a new stream", first)


def _count(before: Stream, after: Stream) -> None:
    for name in ("created", "replaced", "deleted", "unchanged", "refused"):
        added = getattr(after, name) - getattr(before, name)
        if added:
            BULK_ROWS.labels(name).inc(added)


_KEYS_CHANGED = refuse(
    ResponseCode.SERVER_TOO_BUSY, "keys were changed meanwhile: begin the stream again"
)
_NOT_THE_SENDER = refuse(
    ResponseCode.ERROR, "another connection goes on with this stream: ask where it stands"
)


def _refused(refusal: Refusal | None) -> dict[str, Any]:
    if refusal is None:
        refusal = refuse(ResponseCode.AUTHENTICATION_NEEDED, "")
    return {"code": int(refusal.response_code), "message": refusal.message}


def _failed(error: Exception) -> dict[str, Any]:
    if isinstance(error, NotWritingError):
        return _refused(error.refusal)
    if isinstance(error, StreamError):
        return _refused(refuse(ResponseCode.ERROR, str(error))) | {"next": error.next_row}
    return _refused(refuse(ResponseCode.ERROR, str(error)))


def _known(stream: Stream) -> dict[str, Any]:
    """Return what a worker has to know of a stream."""
    return {
        "code": int(ResponseCode.SUCCESS),
        "message": b"",
        "name": stream.name,
        "next": stream.rows + 1,
        "stream": stream_form(stream),
    }


def stream_form(stream: Stream) -> dict[str, Any]:
    """Return a stream as the REST interface shows it."""
    return {
        "key": stream.key.decode(),
        "identity": identity_text(stream.identity),
        "rows": stream.rows,
        "created": stream.created,
        "replaced": stream.replaced,
        "deleted": stream.deleted,
        "unchanged": stream.unchanged,
        "refused": stream.refused,
        "firstSequence": stream.first_sequence,
        "lastSequence": stream.last_sequence,
        "digest": stream.digest.hex(),
        "begun": time_text(stream.begun_ms),
        "ended": time_text(stream.ended_ms) if stream.ended_ms else None,
        "receipt": stream.receipt or None,
    }
