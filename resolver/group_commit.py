"""Group commit: what is registered within a few milliseconds is one transaction and one fsync.

    submit ─> queue ─> writer thread: wait for the first, gather for `window_s` or until
                                      `operations_max`, then in one write transaction
                                        decide again, apply, append the journal's frame
                                      commit (fdatasync) ─> only now every future is resolved

One thread owns the store's write transactions. What was decided before, without the lock, is
decided again inside: two creations of one handle in one batch give one handle and one refusal.
When there is no room, nothing of the batch is acknowledged and the node turns read-only: every
registration is answered with code 7 until `check_room` finds room again.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from protocol.codes import ResponseCode
from protocol.value import HandleValue, Reference
from registry.admin import apply, decide
from registry.authorization import Policy
from registry.errors import StoreError, StoreFullError
from registry.log import LocalLog
from registry.operations import Change, Operation, Outcome
from registry.outcomes import Foreign, Refusal
from registry.store import Store
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
KEPT_WAITING_MAX = 256  # records of other nodes that wait to be kept; the oldest is forgotten

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Submitted:
    """An operation whose identity is proven, with what was fetched to decide on it."""

    operation: Operation
    identity: Reference | None
    foreign: Foreign
    octets: int
    future: "asyncio.Future[Outcome]"


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
    ) -> None:
        self._store = store
        self._policy = policy
        self._window_s = window_s
        self._operations_max = operations_max
        self._queue_max = queue_max
        self._free_octets_min = free_octets_min
        self._now_s = now_s
        self._queue: deque[Submitted] = deque()
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
        if self.read_only:
            return Refusal(ResponseCode.SERVER_BACKUP, self.read_only.encode())
        if len(self._queue) >= self._queue_max:
            words = f"{self._queue_max} registrations are waiting, try again"
            return Refusal(ResponseCode.SERVER_TOO_BUSY, words.encode())
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        with self._wake:
            self._queue.append(Submitted(operation, identity, foreign, octets, future))
            # The writer waits for the first and for a full batch; others need not wake it.
            if len(self._queue) in (1, self._operations_max):
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
            batch = self._gather()
            if batch:
                self._commit_and_tell(batch)
            elif self._to_keep:
                self._keep_waiting()
            else:
                return

    def _gather(self) -> list[Submitted]:
        """Wait for operations; return a batch, or nothing when it is time to stop."""
        with self._wake:
            self._wake.wait_for(lambda: self._queue or self._to_keep or self._stopping)
            deadline = time.monotonic() + self._window_s
            while len(self._queue) < self._operations_max and not self._stopping:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    break
                self._wake.wait(left_s)
            return self._take()

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
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(_tell, batch, outcomes)
        except RuntimeError:
            _log.warning("the loop ended before %d commits were told", len(batch))

    def commit(self, batch: list[Submitted]) -> list[Outcome | Exception]:
        """Commit one batch and return how each operation ended."""
        try:
            return list(self._transact(batch))
        except StoreFullError as error:
            words = f"no room in the store, this node registers nothing: {error}"
            self._turn_read_only(words)
            return [Refusal(ResponseCode.SERVER_BACKUP, words.encode())] * len(batch)
        except Exception as error:
            _log.exception("a transaction of %d operations failed", len(batch))
            if len(batch) == 1:
                return [error]
            # Whoever made it fail shall not take the others with him: one by one.
            return [outcome for each in batch for outcome in self.commit([each])]

    def _transact(self, batch: list[Submitted]) -> list[Outcome]:
        started = time.perf_counter()
        now_s = int(self._now_s())
        outcomes: list[Outcome] = []
        changes = []
        with self._store.write() as view:
            for each in batch:
                outcome = decide(
                    view, each.operation, each.identity, each.foreign, self._policy, now_s
                )
                if isinstance(outcome, Change):
                    changes += apply(view, outcome, each.identity, now_s)
                outcomes.append(outcome)
            if changes:
                LocalLog(view).append_operations(changes, int(self._now_s() * 1000))
        if changes:
            COMMITS.inc()
            COMMIT_OPERATIONS.observe(len(changes))
            COMMIT_SECONDS.observe(time.perf_counter() - started)
        return outcomes


def _tell(batch: list[Submitted], outcomes: list[Outcome | Exception]) -> None:
    for each, outcome in zip(batch, outcomes, strict=True):
        if each.future.done():  # its client went away; the change stands
            continue
        if isinstance(outcome, Exception):
            each.future.set_exception(outcome)
        else:
            each.future.set_result(outcome)
