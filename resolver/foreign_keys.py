"""Keys on other nodes that somebody is logged in with: a session ends with its key.

    logged in ──> noted ──> its ttl has passed ──> fetched again    there as before   noted anew
                                                                    changed, gone     logged out
                                                                    no answer         told once

Of a public key its value is kept and compared. A secret key is never seen here: the node that has
it is shown the answer to the challenge of that log-in once more, and says whether it still holds.
When somebody logs in again with the same secret key the first answer is kept, since the later
session does not vouch for the earlier one.

A node that cannot be reached ends nobody's session: that lives until its own deadline. What nobody
rests on any more is forgotten when it would have been looked at.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from protocol.digests import RequestDigest
from protocol.value import HandleValue, Reference
from registry.outcomes import Unavailable, foreign_key, identity_text
from registry.schema import Record
from resolver.recursion import ttl_of

_log = logging.getLogger(__name__)

_Name = tuple[bytes, int]


class Fetching(Protocol):
    """Other nodes, as this needs them."""

    async def look_again(self, handle: bytes) -> Record | Unavailable | None:
        """Fetch a record, certified, unless it was fetched a moment ago; None: there is none."""
        ...

    async def verify_secret(
        self, user: Reference, nonce: bytes, digest: RequestDigest, answer: bytes
    ) -> bool | Unavailable:
        """Have the node of a secret key say whether an answer was made with it."""
        ...


@dataclass(frozen=True, slots=True)
class SecretProof:
    """The answer to a challenge that a secret key was proven with."""

    nonce: bytes
    digest: RequestDigest
    answer: bytes


@dataclass(frozen=True, slots=True)
class KeyBounds:
    """How many keys are watched, and how often.

    `check_s` is the shortest time between two looks at a key, `ttl_s` the longest.
    """

    keys_max: int
    checks_max: int
    check_s: float
    ttl_s: int


@dataclass(slots=True)
class _Watched:
    identity: Reference
    proof: HandleValue | SecretProof
    due_s: float
    is_unreachable: bool = False


class ForeignKeys:
    """Watches keys on other nodes. Use from one event loop.

    Args:
        fetching: asks other nodes.
        in_use: who is logged in at the moment.
        lost: logs out whoever is logged in with these keys.
        bounds: how many keys, and how often.
        now_s: the time since 1970.
    """

    def __init__(
        self,
        fetching: Fetching,
        in_use: Callable[[], Iterable[Reference]],
        lost: Callable[[Collection[Reference]], None],
        bounds: KeyBounds,
        *,
        now_s: Callable[[], float],
    ) -> None:
        self._fetching = fetching
        self._in_use = in_use
        self._lost = lost
        self._bounds = bounds
        self._now_s = now_s
        self._watched: dict[_Name, _Watched] = {}
        self._pruned_s = 0.0

    def __len__(self) -> int:
        return len(self._watched)

    def rely_on_public(self, identity: Reference, record: Record) -> bool:
        """Watch a public key that somebody is proven with; False: too many are watched.

        Whoever is logged in with what was under the same index before is logged out.
        """
        value = next(each for each in record.values if each.index == identity.index)
        before = self._watched.get(_name(identity))
        if before is not None:
            if _is_same(before.proof, value):
                return True
            del self._watched[_name(identity)]
            self._lost([identity])
        return self._watch(identity, value, ttl_of([value], int(self._now_s()), self._bounds.ttl_s))

    def rely_on_secret(self, identity: Reference, proof: SecretProof) -> bool:
        """Watch a secret key that somebody is proven with; False: too many are watched."""
        before = self._watched.get(_name(identity))
        if before is not None and isinstance(before.proof, SecretProof):
            return True
        return self._watch(identity, proof, self._bounds.ttl_s)

    async def check(self) -> None:
        """Look again at the keys whose time has come, and log out whoever has lost his."""
        now_s = self._now_s()
        due = [each for each in self._watched.values() if each.due_s <= now_s]
        if not due:
            return
        self._forget_unused(due)
        due = [each for each in due if self._watched.get(_name(each.identity)) is each]
        for start in range(0, len(due), self._bounds.checks_max):
            some = due[start : start + self._bounds.checks_max]
            await asyncio.gather(*map(self._check_one, some))

    def _watch(self, identity: Reference, proof: HandleValue | SecretProof, ttl_s: float) -> bool:
        name = _name(identity)
        if name not in self._watched and len(self._watched) >= self._bounds.keys_max:
            if self._now_s() - self._pruned_s >= 1:
                self._pruned_s = self._now_s()
                self._forget_unused(list(self._watched.values()))
            if len(self._watched) >= self._bounds.keys_max:
                return False
        self._watched[name] = _Watched(identity, proof, self._due_s(ttl_s))
        return True

    def _due_s(self, ttl_s: float) -> float:
        return self._now_s() + max(ttl_s, self._bounds.check_s)

    def _forget_unused(self, some: Iterable[_Watched]) -> None:
        used = {_name(each) for each in self._in_use()}
        for each in some:
            if _name(each.identity) not in used:
                del self._watched[_name(each.identity)]

    async def _check_one(self, watched: _Watched) -> None:
        name, identity = _name(watched.identity), watched.identity
        ttl_s = self._bounds.ttl_s
        found: bool | Unavailable
        if isinstance(watched.proof, SecretProof):
            proof = watched.proof
            found = await self._fetching.verify_secret(
                identity, proof.nonce, proof.digest, proof.answer
            )
        else:
            known = await self._fetching.look_again(identity.handle)
            found = known if isinstance(known, Unavailable) else _has(known, watched.proof)
            if isinstance(known, Record):
                now_values = [each for each in known.values if each.index == identity.index]
                ttl_s = ttl_of(now_values, int(self._now_s()), ttl_s)
        if self._watched.get(name) is not watched:
            return  # somebody logged in anew meanwhile, with another key
        if isinstance(found, Unavailable):
            self._tell_unreachable(watched, found)
        elif not found:
            del self._watched[name]
            self._lost([identity])
            return
        else:
            watched.is_unreachable = False
        watched.due_s = self._due_s(ttl_s)

    def _tell_unreachable(self, watched: _Watched, why: Unavailable) -> None:
        if not watched.is_unreachable:
            _log.warning(
                "the key %s cannot be looked at again, who is logged in with it stays so until his "
                "session ends: %s",
                identity_text(watched.identity), why.reason,
            )  # fmt: skip
        watched.is_unreachable = True


def _name(identity: Reference) -> _Name:
    return foreign_key(identity.handle), identity.index


def _has(record: Record | None, key: HandleValue) -> bool:
    return record is not None and any(_is_same(each, key) for each in record.values)


def _is_same(one: HandleValue | SecretProof, key: HandleValue) -> bool:
    """Say whether a value is a key; with other permissions or times it is the same one."""
    if isinstance(one, SecretProof):
        return False
    return (one.index, one.type, one.data) == (key.index, key.type, key.data)
