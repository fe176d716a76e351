"""Plain look-ups of a TCP connection, many at a time: the fast path of UDP without its sockets.

    messages ─> batch ─> keys ─> one read transaction ─> assemble ─> pieces ─> whole answers

What is answered, and that it is what the dispatcher would answer, is the batch's to know
(`resolver.fastpath`). It cuts answers to datagrams; a stream has none, so the few that are longer
than one are put together again here.
"""

import time
from collections.abc import Callable

from protocol.codes import OpCode, ResponseCode
from protocol.envelope import ENVELOPE_OCTETS
from protocol.types.hs_site import TRANSPORT_TCP
from registry.errors import StoreError
from registry.store import CacheStore, Store
from resolver.fastpath import Batch, Choice, Rows, choose, make_batch
from resolver.metrics import CACHE_LOOKUPS
from resolver.replies import Replies
from resolver.tally import Tally

_NO_SOCKET = -1


class BatchAnswers:
    """Answers many messages at once; for all TCP connections of a worker.

    Args:
        batch: that has no socket.
        rows: where handles are looked up.
        now_s: the time since 1970.
        cached: whether `rows` is a cache, whose hits are counted.
    """

    def __init__(
        self, batch: Batch, rows: Rows, now_s: Callable[[], float], *, cached: bool
    ) -> None:
        self._batch = batch
        self._rows = rows
        self._now_s = now_s
        self._tally = Tally(OpCode.RESOLUTION, ResponseCode.SUCCESS, TRANSPORT_TCP)
        self._hits = CACHE_LOOKUPS.labels("hit") if cached else None

    def answer_many(self, messages: list[bytes]) -> list[bytes | None]:
        """Return an answer for each message, None where the dispatcher has to be asked.

        Not more than a batch holds: 64.
        """
        started = time.perf_counter()
        batch = self._batch
        answers: list[bytes | None] = [None] * len(messages)
        # Where a datagram has its sender, a message has its position.
        batch.load([(octets, ("", position)) for position, octets in enumerate(messages)])
        keys = batch.keys
        if not keys:
            return answers
        try:
            rows, homed = self._rows.find_rows(keys, batch.prefixes)
        except StoreError:
            return answers  # the dispatcher meets it again, and says so
        batch.assemble(rows, homed, int(self._now_s()))
        for datagram, address in batch.take():
            before = answers[address[1]]
            piece = datagram if before is None else before + datagram[ENVELOPE_OCTETS:]
            answers[address[1]] = piece
        if batch.answered:
            self._tally.add(time.perf_counter() - started, batch.answered)
        return answers

    def flush(self) -> None:
        """Pass on what was counted."""
        answers = self._tally.flush()
        if self._hits is not None:
            self._hits.inc(answers)


def open_quick_answers(
    store: Store | CacheStore, replies: Replies, choice: Choice | None = None
) -> BatchAnswers | None:
    """Return what answers TCP quickly, None for nothing. Raises: FastPathError."""
    choice = choose() if choice is None else choice
    if choice is Choice.OFF:
        return None
    cached = isinstance(store, CacheStore)
    case_sensitive = isinstance(store, Store) and store.case_sensitive
    batch = make_batch(choice, _NO_SOCKET, replies, case_sensitive=case_sensitive, cached=cached)
    return BatchAnswers(batch, store, replies.now_s, cached=cached)
