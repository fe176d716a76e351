"""Which of several servers to ask first: the one that has answered fastest, mostly.

Each address has a moving average of its answer times. Ordering adds noise in proportion, so that a
server slightly slower is asked now and then and a server that recovered is noticed; an address not
asked yet counts as fast, so every one is tried. A failure makes an address pause, for a time that
doubles with each failure in a row; an address may be that of a server or of one of its ports.
Time and chance are arguments.
"""

import random
from collections import OrderedDict

ADDRESSES_MAX = 4_096  # the oldest unused go first; nodes of a country are hundreds
WEIGHT_OF_LATEST = 0.25  # an average over about the last eight answers
NOISE = 0.5  # up to half of an address's average is added at random
LATENCY_UNKNOWN_MS = 1.0
PAUSE_FIRST_S = 2.0
PAUSE_LAST_S = 60.0


class _Record:
    __slots__ = ("average_ms", "failures", "paused_until_s")

    def __init__(self) -> None:
        self.average_ms = 0.0
        self.failures = 0
        self.paused_until_s = 0.0


class Latencies:
    """Answer times by address."""

    def __init__(self, chance: random.Random | None = None) -> None:
        self._chance = chance or random.Random()
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def observe(self, address: str, latency_ms: float) -> None:
        """Count an answer that took `latency_ms`."""
        record = self._touch(address)
        record.failures = 0
        record.paused_until_s = 0.0
        if record.average_ms:
            record.average_ms += WEIGHT_OF_LATEST * (latency_ms - record.average_ms)
        else:
            record.average_ms = latency_ms

    def fail(self, address: str, now_s: float) -> None:
        """Count a request that stayed unanswered."""
        record = self._touch(address)
        record.failures += 1
        pause_s = PAUSE_FIRST_S * 2 ** min(record.failures - 1, 10)
        record.paused_until_s = now_s + min(pause_s, PAUSE_LAST_S)

    def cost_ms(self, address: str) -> float:
        """Return what asking an address is expected to cost, noise included; least is best."""
        record = self._records.get(address)
        if record is None:
            return LATENCY_UNKNOWN_MS * (1 + NOISE * self._chance.random())
        base_ms = record.average_ms or LATENCY_UNKNOWN_MS
        return base_ms * (1 + NOISE * self._chance.random())

    def is_paused(self, address: str, now_s: float) -> bool:
        """Say whether an address failed a moment ago."""
        record = self._records.get(address)
        return record is not None and now_s < record.paused_until_s

    def _touch(self, address: str) -> _Record:
        record = self._records.get(address)
        if record is None:
            record = self._records[address] = _Record()
            if len(self._records) > ADDRESSES_MAX:
                self._records.popitem(last=False)
        else:
            self._records.move_to_end(address)
        return record
