"""Plain look-ups of a TCP connection, many at a time: the fast path of UDP without its sockets.

    messages ─> batch ─> keys ─> one read transaction ─> assemble ─> pieces ─> whole answers

What is answered, and that it is what the dispatcher would answer, is the batch's to know
(`resolver.fastpath`). It cuts answers to datagrams; a stream has none, so the few that are longer
than one are put together again here.
"""

from protocol.envelope import ENVELOPE_OCTETS
from protocol.types.hs_site import TRANSPORT_TCP
from registry.store import CacheStore, Store
from resolver.fastpath import Choice, Lookups, open_lookups
from resolver.query_counts import QueryCounts
from resolver.replies import Replies

_NO_SOCKET = -1


class BatchAnswers:
    """Answers many messages at once with `lookups`; for all TCP connections of a worker."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups
        self.flush = lookups.flush

    def answer_many(self, messages: list[bytes], sender: str = "") -> list[bytes | None]:
        """Return an answer for each message, None where the dispatcher has to be asked.

        Args:
            messages: not more than a batch holds, 64.
            sender: the address they all came from.
        """
        batch = self._lookups.batch
        answers: list[bytes | None] = [None] * len(messages)
        counts = self._lookups.counts
        source = b"" if counts is None else counts.octets_of(sender)
        # Where a datagram has its sender, a message has its position.
        batch.load([(octets, ("", position)) for position, octets in enumerate(messages)], source)
        if not batch.keys:
            return answers
        self._lookups.answer()
        for datagram, address in batch.take():
            before = answers[address[1]]
            piece = datagram if before is None else before + datagram[ENVELOPE_OCTETS:]
            answers[address[1]] = piece
        return answers


def open_quick_answers(
    store: Store | CacheStore,
    replies: Replies,
    choice: Choice | None = None,
    counts: QueryCounts | None = None,
) -> BatchAnswers | None:
    """Return what answers TCP quickly, None for nothing. Raises: FastPathError."""
    lookups = open_lookups(_NO_SOCKET, store, replies, TRANSPORT_TCP, choice, counts)
    return None if lookups is None else BatchAnswers(lookups)
