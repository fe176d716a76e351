"""Group commit: what is registered within a few milliseconds is one transaction and one fsync.

    submit ─> queue ─> writer thread: wait for the first, gather for `window_s` or until
                                      `operations_max`, then in one write transaction
                                        decide again, apply, append the journal's frame
                                      commit (fdatasync) ─> only now every future is resolved

    create   ─> queue ─> in a batch with the others, by the short way of `plain_creations`
    transact ─> queue ─> the same thread: a transaction of its own, between two batches

One thread owns the store's write transactions. What was decided before, without the lock, is
decided again inside: two creations of one handle in one batch give one handle and one refusal. What
takes longer than `turn_s` goes on in the next transaction.
When there is no room, nothing of the batch is acknowledged and the node turns read-only: every
registration is answered with code 7 until `check_room` finds room again.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from protocol.codes import ResponseCode
from protocol.value import HandleValue, Reference
from registry.admin import apply, decide
from registry.authorization import Policy
from registry.errors import StoreError, StoreFullError
from registry.log import LocalLog
from registry.operations import Change, Operation, Outcome
from registry.outcomes import NOTHING_FOREIGN, Foreign, Refusal
from registry.plain_creations import PlainCreation, PlainCreations
from registry.range_records import Nearest
from registry.store import Store
from registry.views import WriteView
from resolver.metrics import (
    COMMIT_OPERATIONS,
    COMMIT_QUEUE,
    COMMIT_SECONDS,
    COMMITS,
    FREE_OCTETS,
    READ_ONLY,
)

# Room is there again only above the bound by this much, or the node would turn back and forth.
RECOVERY_FACTOR = 1.1
# Octets of operations in one transaction: a frame of the journal is made in memory.
BATCH_OCTETS_MAX = 16 * 1_048_576
# Of one transaction, after which what is left of a batch waits for the next. Most take some
# milliseconds; deciding on who is in groups of thousands takes ten each.
TURN_S = 0.1
JOBS_MAX = 256  # transactions of their own that wait
KEPT_WAITING_MAX = 256  # records of other nodes that wait to be kept; the oldest is forgotten

Done = TypeVar("Done")

_log = logging.getLogger(__name__)


class Submitted(NamedTuple):
    """An operation whose identity is proven, with what was fetched to decide on it.

    A plain creation ends in whether it was made.
    """

    operation: Operation | PlainCreation
    identity: Reference | None
    foreign: Foreign
    octets: int
    future: "asyncio.Future[Any]"


class NotWritingError(Exception):
    """The node registers nothing at the moment, `refusal` says why; nothing was changed."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message.decode("utf-8", "replace"))
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Job:
    """Something to be done in a transaction of its own."""

    work: Callable[[WriteView], Any]
    future: "asyncio.Future[Any]"


@dataclass(frozen=True, slots=True)
class KeptRecord:
    """A record of another node that a log-in relied on, to be kept beside our own."""

    handle: bytes
    values: Sequence[HandleValue]
    fetched_s: int


class GroupCommit:
    """Commits operations in batches, in a thread of its own.

    Args:
        store: opened for writing; nobody else writes it.
        policy: the node's own administrators.
        window_s: how long a batch gathers after its first operation.
        operations_max: operations in one batch.
        queue_max: operations waiting; more are answered with code 3.
        free_octets_min: room on the disk below which the node is read-only.
        now_s: the time since 1970.
        keys_lost: called on the loop with keys that were changed or taken away, before whoever
            did it is answered; None: nobody wants to know.
        ranges_changed: called as that is, with (key, record) as they were of ranges that had keys.
        mirror_words: why this node registers nothing but what it follows; empty: it registers.
        turn_s: how long a transaction goes on with its batch.
    """

    def __init__(
        self,
        store: Store,
        policy: Policy,
        *,
        window_s: float = 0.002,
        operations_max: int = 256,
        queue_max: int = 8_192,
        free_octets_min: int = 0,
        now_s: Callable[[], float] = time.time,
        keys_lost: Callable[[Collection[Reference]], None] | None = None,
        ranges_changed: Callable[[Collection[Nearest]], None] | None = None,
        mirror_words: str = "",
        turn_s: float = TURN_S,
    ) -> None:
        self._turn_s = turn_s
        self._mirror_words = mirror_words
        self._store = store
        self._policy = policy
        self._window_s = window_s
        self._operations_max = operations_max
        self._queue_max = queue_max
        self._free_octets_min = free_octets_min
        self._now_s = now_s
        self._keys_lost = keys_lost
        self._ranges_changed = ranges_changed
        self._lost: set[Reference] = set()  # by what is committed and not told yet
        self._changed: set[Nearest] = set()
        self._queue: deque[Submitted] = deque()
        self._jobs: deque[Job] = deque()
        self._to_keep: deque[KeptRecord] = deque(maxlen=KEPT_WAITING_MAX)
        self._wake = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.read_only = ""

    def start(self) -> None:
        """Start the writer thread; call it on the loop that submits."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Commit what is queued and end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()

    @property
    def queue_depth(self) -> int:
        """The number of operations waiting."""
        return len(self._queue)

    @property
    def registers_nothing(self) -> str:
        """Why nobody can register anything at the moment; empty: everybody can."""
        return self._mirror_words or self.read_only

    async def submit(
        self, operation: Operation, identity: Reference | None, foreign: Foreign, octets: int = 0
    ) -> Outcome:
        """Carry out an operation; return how it ended, once that is durable.

        Args:
            operation: what to do.
            identity: who asks, proven; None for a change that needs nobody.
            foreign: what was fetched to decide on it.
            octets: size of the request, so that a batch does not outgrow the memory.
        """
        if self.registers_nothing:
            return Refusal(ResponseCode.SERVER_BACKUP, self.registers_nothing.encode())
        if len(self._queue) >= self._queue_max:
            words = f"{self._queue_max} registrations are waiting, try again"
            return Refusal(ResponseCode.SERVER_TOO_BUSY, words.encode())
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._enqueue(Submitted(operation, identity, foreign, octets, future))
        return await future

    def create(
        self, creation: PlainCreation, identity: Reference, foreign: Foreign = NOTHING_FOREIGN
    ) -> "asyncio.Future[bool]":
        """Create a handle in the shortest way there is.

        Args:
            creation: of a handle that is probably not there.
            identity: who asks, proven.
            foreign: what is known of other nodes' handles; the same mapping as long as it is.

        Returns:
            A future: True once the handle is durable; False when nothing was done, so that
            `submit` says why.
        """
        assert self._loop is not None, "started before anything is submitted"
        future: asyncio.Future[bool] = self._loop.create_future()
        if self.registers_nothing or len(self._queue) >= self._queue_max:
            future.set_result(False)
            return future
        octets = sum(map(len, creation.pieces))
        self._enqueue(Submitted(creation, identity, foreign, octets, future))
        return future

    def _enqueue(self, submitted: Submitted) -> None:
        with self._wake:
            self._queue.append(submitted)
            # The writer waits for the first and for a full batch; others need not wake it.
            if len(self._queue) in (1, self._operations_max):
                self._wake.notify()

    async def transact(self, work: Callable[[WriteView], Done], *, own: bool = False) -> Done:
        """Do something in a transaction of its own; return its result once that is durable.

        Args:
            work: called in the writer's thread; what it raises undoes the transaction.
            own: it is the node's own doing, which a mirror does too, and nobody's request.

        Raises:
            NotWritingError: a mirror, read-only, no room, or too many wait.
        """
        if self._mirror_words and not own:
            # Not code 7: whoever sends a stream would wait for a time that does not come.
            code = ResponseCode.OPERATION_NOT_SUPPORTED
            raise NotWritingError(Refusal(code, self._mirror_words.encode()))
        if self.read_only:
            raise NotWritingError(Refusal(ResponseCode.SERVER_BACKUP, self.read_only.encode()))
        if len(self._jobs) >= JOBS_MAX:
            words = f"{JOBS_MAX} transactions are waiting, try again"
            raise NotWritingError(Refusal(ResponseCode.SERVER_TOO_BUSY, words.encode()))
        future: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        with self._wake:
            self._jobs.append(Job(work, future))
            self._wake.notify()
        return await future

    def keep(self, handle: bytes, values: Sequence[HandleValue], now_s: int) -> None:
        """Keep a record of another node; it goes with the next batch, and nobody waits for it."""
        if not self.read_only:
            with self._wake:
                self._to_keep.append(KeptRecord(handle, values, now_s))
                self._wake.notify()

    def check_room(self) -> None:
        """Turn read-only before the disk is full, and back when there is room."""
        free = self._store.free_octets()
        FREE_OCTETS.set(free)
        if free < self._free_octets_min:
            self._turn_read_only(
                f"the disk has {free} octets left, {self._free_octets_min} are kept free: "
                "this node registers nothing until there is room"
            )
        elif self.read_only and free >= self._free_octets_min * RECOVERY_FACTOR:
            self.read_only = ""
            READ_ONLY.set(0)
            _log.warning("there is room again, registering", extra={"fields": {"free": free}})

    def _turn_read_only(self, words: str) -> None:
        if not self.read_only:
            _log.error("read-only: %s", words)
        self.read_only = words
        READ_ONLY.set(1)

    def _run(self) -> None:
        while True:
            batch, job = self._gather()
            if batch:
                self._commit_and_tell(batch)
            if job is not None:
                self._tell_later([job], [self._carry_out(job)])
            if not batch and job is None:
                if not self._to_keep:
                    return
                self._keep_waiting()

    def _gather(self) -> tuple[list[Submitted], Job | None]:
        """Wait for operations; return a batch and a job, or nothing when it is time to stop."""
        with self._wake:
            self._wake.wait_for(
                lambda: self._queue or self._jobs or self._to_keep or self._stopping
            )
            deadline = time.monotonic() + self._window_s
            while len(self._queue) < self._operations_max and not (self._stopping or self._jobs):
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    break
                self._wake.wait(left_s)
            return self._take(), self._jobs.popleft() if self._jobs else None

    def _keep_waiting(self) -> None:
        """Write the records to keep. They are a help for bad days: to fail here is no failure."""
        try:
            with self._store.write(journaled=False) as view:
                while self._to_keep:
                    kept = self._to_keep.popleft()
                    view.put_foreign(kept.handle, kept.values, kept.fetched_s)
        except StoreError as error:
            _log.warning("records of other nodes could not be kept: %s", error)

    def _take(self) -> list[Submitted]:
        batch: list[Submitted] = []
        octets = 0
        while self._queue and len(batch) < self._operations_max:
            octets += self._queue[0].octets
            if batch and octets > BATCH_OCTETS_MAX:
                break
            batch.append(self._queue.popleft())
        COMMIT_QUEUE.set(len(self._queue))
        return batch

    def _commit_and_tell(self, batch: list[Submitted]) -> None:
        outcomes = self.commit(batch)
        self._tell_later(batch[: len(outcomes)], outcomes)
        if len(outcomes) < len(batch):
            with self._wake:
                self._queue.extendleft(reversed(batch[len(outcomes) :]))

    def _tell_later(self, asked: Sequence[Submitted | Job], outcomes: Sequence[Any]) -> None:
        assert self._loop is not None
        lost, self._lost = self._lost, set()
        changed, self._changed = self._changed, set()
        try:
            if changed and self._ranges_changed is not None:
                self._loop.call_soon_threadsafe(self._ranges_changed, changed)
            if lost and self._keys_lost is not None:
                self._loop.call_soon_threadsafe(self._keys_lost, lost)
            self._loop.call_soon_threadsafe(_tell, asked, outcomes)
        except RuntimeError:
            _log.warning("the loop ended before %d commits were told", len(asked))

    def _carry_out(self, job: Job) -> Any:
        """Do a job; return its result, or what it raised."""
        started = time.perf_counter()
        try:
            with self._store.write() as view:
                result = job.work(view)
                lost, changed = view.lost_keys(), view.changed_ranges()
        except StoreFullError as error:
            return NotWritingError(self._no_room(error))
        except Exception as error:
            return error
        self._lost |= lost
        self._changed.update(changed.items())
        COMMITS.inc()
        COMMIT_SECONDS.observe(time.perf_counter() - started)
        return result

    def _no_room(self, error: StoreFullError) -> Refusal:
        words = f"no room in the store, this node registers nothing: {error}"
        self._turn_read_only(words)
        return Refusal(ResponseCode.SERVER_BACKUP, words.encode())

    def commit(self, batch: list[Submitted]) -> list[Outcome | bool | Exception]:
        """Commit one batch; return how each operation ended, or the first, if they take long."""
        try:
            return list(self._transact(batch))
        except StoreFullError as error:
            refusal = self._no_room(error)
            return [
                False if isinstance(each.operation, PlainCreation) else refusal for each in batch
            ]
        except Exception as error:
            _log.exception("a transaction of %d operations failed", len(batch))
            if len(batch) == 1:
                return [error]
            # Whoever made it fail shall not take the others with him: one by one.
            return [outcome for each in batch for outcome in self.commit([each])]

    def _transact(self, batch: list[Submitted]) -> list[Outcome | bool]:
        started = time.perf_counter()
        now_s = int(self._now_s())
        outcomes: list[Outcome | bool] = []
        items: list[list[Any]] = []
        with self._store.write() as view:
            creations = PlainCreations(view, self._policy, now_s)
            for operation, identity, foreign, _, _ in batch:
                if isinstance(operation, PlainCreation):
                    assert identity is not None, "a plain creation is somebody's"
                    item = creations.create(operation, identity, foreign)
                    if item is not None:
                        items.append(item)
                    outcomes.append(item is not None)
                    continue
                if outcomes and time.perf_counter() - started > self._turn_s:
                    break
                outcome = decide(view, operation, identity, foreign, self._policy, now_s)
                if isinstance(outcome, Change):
                    changes = apply(view, outcome, identity, now_s)
                    items += [change.packed() for change in changes]
                    creations.forget()
                outcomes.append(outcome)
            if items:
                LocalLog(view).append_packed(items, int(self._now_s() * 1000))
            lost, changed = view.lost_keys(), view.changed_ranges()
        self._lost |= lost
        self._changed.update(changed.items())
        if items:
            COMMITS.inc()
            COMMIT_OPERATIONS.observe(len(items))
            COMMIT_SECONDS.observe(time.perf_counter() - started)
        return outcomes


def _tell(asked: Sequence[Submitted | Job], outcomes: Sequence[Any]) -> None:
    for each, outcome in zip(asked, outcomes, strict=True):
        if each.future.done():  # its client went away; the change stands
            continue
        if isinstance(outcome, Exception):
            each.future.set_exception(outcome)
        else:
            each.future.set_result(outcome)
