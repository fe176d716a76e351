"""Challenges that were sent and wait for their answer.

A request that needs authentication is kept here under a fresh number, which the client repeats as
the session id of its answer, perhaps over another connection and another worker. Whoever sends
requests can fill this table, so it is bounded per address and in all, and what is not answered in
time is dropped. Each challenge can be answered once.

Numbers are random, so that nobody can answer, or use up, the challenge of another; they share
their space with session ids, and `new_number` is told which are taken.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from protocol.digests import RequestDigest
from protocol.message import Message
from resolver.bounded_table import BoundedTable

NONCE_OCTETS = 16
PURGE_S = 1.0  # at least between two looks at all of them for room
_NUMBER_BITS = 31


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenge sent: to which request, with which nonce and digest."""

    request: Message
    nonce: bytes
    digest: RequestDigest


def new_number(is_taken: Callable[[int], bool]) -> int:
    """Return a random positive number that is not taken, for a challenge or a session."""
    while True:
        number = secrets.randbits(_NUMBER_BITS)
        if number and not is_taken(number):
            return number


def new_nonce() -> bytes:
    """Return a nonce of the length existing clients expect."""
    return secrets.token_bytes(NONCE_OCTETS)


class Challenges:
    """The pending challenges of a node.

    Args:
        table: holds them within its bounds.
        timeout_s: how long an answer is waited for.
    """

    def __init__(self, table: BoundedTable[Challenge], timeout_s: float) -> None:
        self._table = table
        self._timeout_s = timeout_s
        self._purged_s = 0.0

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, number: int) -> bool:
        return number in self._table

    def add(self, number: int, challenge: Challenge, address: str, now_s: float) -> bool:
        """Keep a challenge under a number; one of the same session makes room.

        Returns False when the address, or everybody together, has too many.
        """
        self._table.drop(number)
        octets = len(challenge.request.body) + len(challenge.request.credential)
        deadline_s = now_s + self._timeout_s
        if self._table.add(number, challenge, address, deadline_s, octets):
            return True
        if now_s - self._purged_s < PURGE_S or not self.purge(now_s):
            return False
        return self._table.add(number, challenge, address, deadline_s, octets)

    def find(self, number: int, now_s: float) -> Challenge | None:
        """Return the challenge under a number; None when there is none (any more)."""
        return self._table.find(number, now_s)

    def take(self, number: int, now_s: float) -> Challenge | None:
        """Return the challenge under a number and forget it; None when there is none (any more)."""
        return self._table.take(number, now_s)

    def purge(self, now_s: float) -> int:
        """Forget what was not answered in time; return how many."""
        self._purged_s = now_s
        return self._table.purge(now_s)
