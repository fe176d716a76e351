"""Counting answers of one kind at a cost of nanoseconds.

A counter that several processes share costs microseconds each time. A tally adds up in plain
numbers what is answered alike, and passes it on some times a second: nothing is lost or estimated,
it is only seen a moment later.
"""

from bisect import bisect_left

from resolver.metrics import LATENCY_BUCKETS_S, REQUEST_SECONDS, TRANSPORT_NAMES, answer_counter


class Tally:
    """Answers with one opcode and response code over one transport (TRANSPORT_*)."""

    def __init__(self, opcode: int, response_code: int, transport: int) -> None:
        self._counter = answer_counter(opcode, response_code, transport)
        self._seconds = REQUEST_SECONDS.labels(TRANSPORT_NAMES[transport])
        self._buckets = [0] * (len(LATENCY_BUCKETS_S) + 1)
        self._sum_s = 0.0

    def add(self, seconds: float, answers: int = 1) -> None:
        """Count answers, each of which took so long."""
        self._buckets[bisect_left(LATENCY_BUCKETS_S, seconds)] += answers
        self._sum_s += seconds * answers

    def flush(self) -> int:
        """Pass on what was counted since the last time; return how many answers that were."""
        answers = sum(self._buckets)
        if not answers:
            return 0
        self._counter.inc(answers)
        # prometheus-client has no way to observe more than one duration at a time; `observe` does
        # exactly this for one.
        self._seconds._sum.inc(self._sum_s)
        for position, count in enumerate(self._buckets):
            if count:
                self._seconds._buckets[position].inc(count)
                self._buckets[position] = 0
        self._sum_s = 0.0
        return answers
