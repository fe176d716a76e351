"""Carrying out operations in the registrar: decide, fetch what is missing, prove, commit.

The registry's steps have no I/O; this is the loop around them:

    decide(identity) ─┬─ Refusal              answered
                      ├─ NeedAuthentication   challenged, then again with the claimed identity
                      ├─ Need(handles)        fetched from their nodes, then again
                      └─ Change               proof of the identity, then group commit

With a claimed identity the decision comes before the proof: a stranger with a wrong password is
told that he has no permission, an administrator that the password is wrong. Only index 0, "any of
my keys", must be proven first, since what it may do depends on the key that matches. Proofs take
milliseconds of CPU, so they are checked in threads, and only so many may wait.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from protocol.bodies import ValuesRequest
from protocol.challenge import AUTHENTICATION_PUBLIC_KEY, AUTHENTICATION_SECRET_KEY
from protocol.codes import OpCode, ResponseCode
from protocol.digests import RequestDigest
from protocol.value import Reference
from registry.admin import decide
from registry.answers import Answer, Question, resolve
from registry.authentication import (
    Keys,
    RemoteSecret,
    find_key_holder,
    find_keys,
    verify_answer,
    verify_password,
)
from registry.authorization import Policy
from registry.operations import Change, Operation, Outcome
from registry.outcomes import Foreign, Need, Refusal, Unavailable, foreign_key, refuse
from registry.plain_creations import PlainCreation
from registry.schema import Record
from registry.store import Store
from registry.views import View
from resolver.foreign_keys import ForeignKeys, SecretProof
from resolver.group_commit import GroupCommit
from resolver.quotas import Quotas
from resolver.recalled import Recalled

# Each round fetches one level of groups; the registry follows ten at most.
NEED_ROUNDS_MAX = 12

Ended = TypeVar("Ended")


class Afar(Protocol):
    """Other nodes, as an operation needs them."""

    async def fetch(self, handles: frozenset[bytes]) -> Mapping[bytes, Record | Unavailable | None]:
        """Fetch the records of these handles, certified."""
        ...

    def recall(self, handles: Collection[bytes]) -> Foreign | None:
        """Return what is remembered of these handles; None when one has to be fetched."""
        ...

    async def refresh(
        self, handles: frozenset[bytes], *, at_once: bool = False
    ) -> Mapping[bytes, Record | None]:
        """Fetch again what was remembered of these handles; return what is known anew."""
        ...

    async def verify_secret(
        self, user: Reference, nonce: bytes, digest: RequestDigest, answer: bytes
    ) -> bool | Unavailable:
        """Have the node of a secret key say whether an answer was made with it."""
        ...

    def proven(self, user: Reference, foreign: Foreign, now_s: float) -> None:
        """Keep what a successful log-in relied on, for when the other node is down."""
        ...


@dataclass(frozen=True, slots=True)
class Proof:
    """The answer to a challenge: who claims to be, and what shows it."""

    authentication_type: bytes
    user: Reference
    answer: bytes
    nonce: bytes
    digest: RequestDigest


@dataclass(slots=True)
class Known:
    """What one request has fetched so far."""

    foreign: dict[bytes, Record | Unavailable | None] = field(default_factory=dict)


class Operations:
    """Decides and carries out operations.

    Args:
        store: opened for writing, read here.
        commit: writes it.
        policy: the node's own administrators.
        afar: asks other nodes.
        threads: where proofs are checked.
        rounds_max: PBKDF2 rounds a client may make us compute.
        verifications_max: proofs that may wait or be checked at once.
        now_s: the time since 1970.
        quotas: of requests; None: there are none.
        foreign_keys: watches those that somebody was proven with; None: nobody does.
    """

    def __init__(
        self,
        store: Store,
        commit: GroupCommit,
        policy: Policy,
        afar: Afar,
        threads: Executor,
        *,
        rounds_max: int,
        verifications_max: int,
        now_s: Callable[[], float],
        quotas: Quotas | None = None,
        foreign_keys: ForeignKeys | None = None,
    ) -> None:
        self._foreign_keys = foreign_keys
        self._store = store
        self._quotas = quotas
        self._commit = commit
        self._policy = policy
        self._afar = afar
        self._threads = threads
        self._rounds_max = rounds_max
        self._verifications_max = verifications_max
        self._verifications = 0
        self._now_s = now_s
        self._recalled = Recalled(afar)

    async def resolve(
        self, question: Question, identity: Reference | None, known: Known
    ) -> Answer | Refusal:
        """Answer a question asked by an identity; a 402 answer means that it must be proven."""
        return await self._until_known(
            lambda view: resolve(view, question, identity, known.foreign, self._policy), known
        )

    async def decide(
        self, operation: Operation, identity: Reference | None, known: Known
    ) -> Outcome:
        """Say how an operation would end, without doing it."""
        outcome = await self._decide_once(operation, identity, known)
        if not isinstance(outcome, Refusal):
            return outcome
        if outcome.response_code == ResponseCode.INVALID_ADMIN and await self.refresh(known):
            return await self._decide_once(operation, identity, known)
        return outcome

    async def carry_out(
        self, operation: Operation, identity: Reference | None, known: Known
    ) -> Outcome:
        """Do it; returns once it is durable, or how it ended otherwise.

        Another batch may have changed what the decision rests on: then more may be needed.
        """
        handle = subject_of(operation)
        refusal = self._quotas.begin(handle) if self._quotas is not None else None
        if refusal is not None:
            return refusal
        outcome = await self._carry_out(operation, identity, known)
        if self._quotas is not None:
            self._quotas.end(handle, outcome)
        return outcome

    async def _carry_out(
        self, operation: Operation, identity: Reference | None, known: Known
    ) -> Outcome:
        octets = len(operation.body.encode())
        for _ in range(NEED_ROUNDS_MAX):
            outcome = await self._commit.submit(operation, identity, known.foreign, octets)
            if not isinstance(outcome, Need):
                self._note_right(operation, identity, outcome, known)
                return outcome
            known.foreign.update(await self._afar.fetch(outcome.handles))
        return _too_many_rounds()

    def create(self, creation: PlainCreation, identity: Reference) -> "asyncio.Future[bool]":
        """Create a handle by the short way, or not: see `GroupCommit.create`.

        Where there are quotas it is not taken: the long way counts, and says what is left.
        """
        if self._quotas is not None and self._quotas.is_limited(creation.handle):
            not_made: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            not_made.set_result(False)
            return not_made
        foreign = self._recalled.find(identity, creation.handle)
        return self._commit.create(creation, identity, foreign)

    def _note_right(
        self, operation: Operation, identity: Reference | None, outcome: Outcome, known: Known
    ) -> None:
        """Note what a creation needed, for the next ones by the short way."""
        if operation.opcode != OpCode.CREATE_HANDLE or identity is None:
            return
        if isinstance(outcome, Change) and not outcome.overwrote:
            assert isinstance(operation.body, ValuesRequest)
            self._recalled.note(identity, operation.body.handle, known.foreign)

    async def fetch(self, handles: frozenset[bytes], known: Known) -> None:
        """Fetch the records of handles on other nodes."""
        known.foreign.update(await self._afar.fetch(handles))

    async def refresh(self, known: Known, *, at_once: bool = False) -> bool:
        """Before a refusal stands: say whether other nodes have changed what it rests on.

        Args:
            known: what it rests on.
            at_once: what was fetched a moment ago is not believed either.
        """
        if not known.foreign:
            return False
        news = await self._afar.refresh(frozenset(known.foreign), at_once=at_once)
        changed = any(record != known.foreign[key] for key, record in news.items())
        known.foreign.update(news)
        return changed

    async def prove(self, proof: Proof, known: Known) -> Reference | Refusal:
        """Check a proof; return the identity proven."""
        if self._verifications >= self._verifications_max:
            return refuse(ResponseCode.SERVER_TOO_BUSY, "too many log-ins at once, try again")
        self._verifications += 1
        try:
            return await self._prove(proof, known)
        finally:
            self._verifications -= 1

    async def prove_password(self, user: Reference, password: bytes) -> Reference | Refusal:
        """Check the password of HTTP Basic, an HS_SECKEY of the user."""
        keys = await self._find_keys(user, AUTHENTICATION_SECRET_KEY, Known())
        if isinstance(keys, Refusal):
            return keys
        if isinstance(keys, RemoteSecret):
            return refuse(
                ResponseCode.AUTHENTICATION_FAILED,
                "the secret key is on another node, which verifies challenges but no passwords",
            )
        # A comparison of octets: a thread would cost more than it.
        return verify_password(keys, password) or _wrong()

    async def prove_certified_key(self, user: Reference, key: bytes) -> Reference | Refusal:
        """Check that a key whose owner TLS has seen is one of the user's HS_PUBKEY values."""
        known = Known()
        for _ in range(2):
            keys = await self._find_keys(user, AUTHENTICATION_PUBLIC_KEY, known)
            if isinstance(keys, Refusal):
                return keys
            assert not isinstance(keys, RemoteSecret), "a public key is never a secret"
            identity = find_key_holder(keys, key)
            if identity is not None:
                return self._rely(identity, known)
            if not await self.refresh(known):
                break
        return _wrong()

    async def find_public_key(self, user: Reference) -> bytes | Refusal:
        """Return the HS_PUBKEY data a session names as its key, wherever that lives."""
        keys = await self._find_keys(user, AUTHENTICATION_PUBLIC_KEY, Known())
        if isinstance(keys, Refusal):
            return keys
        assert not isinstance(keys, RemoteSecret), "a public key is never a secret"
        return keys.values[0].data

    async def in_thread(self, function: Callable[..., Ended], *arguments: object) -> Ended:
        """Run what takes milliseconds off the loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, function, *arguments)

    async def _find_keys(
        self, user: Reference, kind: bytes, known: Known
    ) -> Keys | RemoteSecret | Refusal:
        return await self._until_known(
            lambda view: find_keys(view, known.foreign, user, kind), known
        )

    async def _decide_once(
        self, operation: Operation, identity: Reference | None, known: Known
    ) -> Outcome:
        return await self._until_known(
            lambda view: decide(
                view, operation, identity, known.foreign, self._policy, int(self._now_s())
            ),
            known,
        )

    async def _prove(self, proof: Proof, known: Known) -> Reference | Refusal:
        identity = await self._prove_once(proof, known)
        if isinstance(identity, Refusal) and await self.refresh(known):
            return await self._prove_once(proof, known)
        return identity

    async def _prove_once(self, proof: Proof, known: Known) -> Reference | Refusal:
        kind = proof.authentication_type
        keys = await self._find_keys(proof.user, kind, known)
        if isinstance(keys, Refusal):
            return keys
        if isinstance(keys, RemoteSecret):
            return await self._prove_afar(proof)
        identity = await self.in_thread(
            verify_answer,
            keys,
            kind,
            proof.answer,
            proof.nonce,
            proof.digest,
            self._rounds_max,
        )
        if identity is None or not await self._is_still(identity, keys, kind, known):
            return _wrong()
        return self._rely(identity, known)

    def _rely(self, identity: Reference, known: Known) -> Reference | Refusal:
        """Note what somebody is proven with, when it is another node's."""
        record = known.foreign.get(foreign_key(identity.handle))
        keys = self._foreign_keys
        if (
            keys is not None
            and isinstance(record, Record)
            and not keys.rely_on_public(identity, record)
        ):
            return _too_many_keys()
        self._afar.proven(identity, known.foreign, self._now_s())
        return identity

    async def _is_still(self, identity: Reference, keys: Keys, kind: bytes, known: Known) -> bool:
        """Say whether a key is there that was while an answer was verified.

        Whoever is proven is noted without waiting for anything more, so a change from now on finds
        him among those who are logged out for it.
        """
        again = await self._find_keys(identity, kind, known)
        return isinstance(again, Keys) and any(
            value.index == identity.index and value.data == again.values[0].data
            for value in keys.values
        )

    async def _prove_afar(self, proof: Proof) -> Reference | Refusal:
        verdict = await self._afar.verify_secret(
            proof.user, proof.nonce, proof.digest, proof.answer
        )
        if isinstance(verdict, Unavailable):
            return refuse(
                ResponseCode.AUTHENTICATION_ERROR,
                f"the node that holds the secret key could not verify: {verdict.reason}",
            )
        if not verdict:
            return _wrong()
        shown = SecretProof(proof.nonce, proof.digest, proof.answer)
        if self._foreign_keys is not None and not self._foreign_keys.rely_on_secret(
            proof.user, shown
        ):
            return _too_many_keys()
        return proof.user

    async def _until_known(
        self, step: Callable[[View], Ended | Need], known: Known
    ) -> Ended | Refusal:
        """Repeat a step with what it asks for fetched, a bounded number of times."""
        for _ in range(NEED_ROUNDS_MAX):
            with self._store.read() as view:
                ended = step(view)
            if not isinstance(ended, Need):
                return ended
            known.foreign.update(await self._afar.fetch(ended.handles))
        return _too_many_rounds()


def subject_of(operation: Operation) -> bytes:
    """Return the handle an operation is about."""
    handle: bytes = getattr(operation.body, "handle", b"")
    return handle


def _wrong() -> Refusal:
    return refuse(ResponseCode.AUTHENTICATION_FAILED, "the proof of identity does not hold")


def _too_many_keys() -> Refusal:
    return refuse(
        ResponseCode.SERVER_TOO_BUSY, "too many are logged in with keys of other nodes, try again"
    )


def _too_many_rounds() -> Refusal:
    words = f"groups on other nodes are nested deeper than {NEED_ROUNDS_MAX} fetches"
    return refuse(ResponseCode.INVALID_ADMIN, words)
