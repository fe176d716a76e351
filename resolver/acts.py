"""Acts in the registrar: who asks is proven, what is missing fetched, what changes made durable.

    act  {authorization, address, transport, name, parameters}

Replies are {code, message, result}; `result` is there with code 1 only.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from protocol.codes import ResponseCode
from protocol.value import Reference
from registry.acts import (
    ONE_HANDLE_ACTS,
    READING_ACTS,
    SLOW_ACTS,
    Act,
    ActOutcome,
    Done,
    TakesLong,
    decide_act,
)
from registry.authorization import Policy
from registry.errors import JournalError, StoreError
from registry.journal import FRAME_OPERATIONS_MAX
from registry.log import LocalLog
from registry.office_replay import put_own
from registry.outcomes import Need, Refusal, refuse
from registry.replay import replay
from registry.store import Store
from registry.views import WriteView
from resolver.group_commit import GroupCommit, NotWritingError
from resolver.limits import Places
from resolver.operations import NEED_ROUNDS_MAX, Known, Operations
from resolver.quotas import Quotas

SLOW_ACTS_AT_ONCE = 1  # they share the interpreter with the loop: one takes half of it at most

_log = logging.getLogger(__name__)

Prove = Callable[[dict[str, Any]], Awaitable[Reference | Refusal | None]]


class Acts:
    """Carries out acts; use from the registrar's loop.

    Args:
        store: read here.
        commit: writes.
        operations: fetches what is on other nodes.
        policy: the node's own administrators.
        prove: as in `resolver.registrations`.
        slow_places: for acts that read much, under way and waiting.
        now_s: the time since 1970.
        after: what is called when an act of this name has changed something, with the handle that
            the last change is about.
        quotas: of requests; None: there are none.
    """

    def __init__(
        self,
        store: Store,
        commit: GroupCommit,
        operations: Operations,
        policy: Policy,
        prove: Prove,
        *,
        slow_places: Places,
        now_s: Callable[[], float],
        after: Mapping[str, Callable[[bytes], None]] | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        self._store = store
        self._commit = commit
        self._operations = operations
        self._policy = policy
        self._prove = prove
        self._now_s = now_s
        self._after = after or {}
        self._quotas = quotas
        self._slow = asyncio.Semaphore(SLOW_ACTS_AT_ONCE)
        self._slow_places = slow_places

    async def perform(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Carry out one act; answered once it is durable."""
        proven = await self._prove(payload)
        if isinstance(proven, Refusal):
            return _refused(proven)
        act = Act(payload["name"], payload["parameters"], payload["address"])
        try:
            outcome = await self._carry_out(act, proven)
        except NotWritingError as error:
            return _refused(error.refusal)
        except (StoreError, JournalError) as error:
            return _refused(refuse(ResponseCode.ERROR, str(error)))
        if isinstance(outcome, Refusal):
            return _refused(outcome)
        if outcome.operations and act.name in self._after:
            self._after[act.name](outcome.operations[-1].handle)
        for note in outcome.notes:
            _log.info("%s", note)
        return {"code": int(ResponseCode.SUCCESS), "message": b"", "result": outcome.result}

    async def _carry_out(self, act: Act, identity: Reference | None) -> Done | Refusal:
        known, is_doubted = Known(), True
        for _ in range(NEED_ROUNDS_MAX):
            outcome: ActOutcome = TakesLong()
            if act.name not in SLOW_ACTS:
                outcome = self._look(act, identity, known, is_quick=True)
            if isinstance(outcome, TakesLong):
                outcome = await self._look_aside(act, identity, known)
            if isinstance(outcome, Done) and act.name not in READING_ACTS:
                outcome = await self._change(act, identity, known)
            assert not isinstance(outcome, TakesLong), "it was given all the time it takes"
            if isinstance(outcome, Need):
                await self._operations.fetch(outcome.handles, known)
                continue
            if not (is_doubted and _lacks_rights(outcome)):
                return outcome
            is_doubted = False
            if not await self._operations.refresh(known):
                return outcome
        words = f"groups on other nodes are nested deeper than {NEED_ROUNDS_MAX} fetches"
        return refuse(ResponseCode.INVALID_ADMIN, words)

    async def _change(self, act: Act, identity: Reference | None, known: Known) -> ActOutcome:
        """Do what would be done, as far as the quota of requests lets it."""
        handle = _one_handle(act) if self._quotas is not None else b""
        if self._quotas is None or not handle:
            return await self._commit.transact(lambda view: self._do(view, act, identity, known))
        refusal = self._quotas.begin(handle)
        if refusal is not None:
            return refusal
        try:
            outcome = await self._commit.transact(lambda view: self._do(view, act, identity, known))
        except NotWritingError as error:
            self._quotas.end(handle, error.refusal)
            raise
        if isinstance(outcome, Refusal):
            self._quotas.end(handle, outcome)
        return outcome

    def _look(
        self, act: Act, identity: Reference | None, known: Known, *, is_quick: bool = False
    ) -> ActOutcome:
        """Decide without the writer's lock: most that is refused is refused here."""
        with self._store.read() as view:
            return decide_act(
                view,
                act,
                identity,
                known.foreign,
                self._policy,
                self._now_ms(),
                is_quick=is_quick,
            )

    async def _look_aside(self, act: Act, identity: Reference | None, known: Known) -> ActOutcome:
        """Decide in a thread, so that nobody else waits for what may take long."""
        places = self._slow_places
        if not places.admit(act.address):
            whose = "of your address" if places.has_its_share(act.address) else "of all"
            words = f"as many requests {whose} as may are reading much already, try again"
            return refuse(ResponseCode.SERVER_TOO_BUSY, words)
        try:
            await self._slow.acquire()
        except BaseException:
            places.release(act.address)
            raise
        work = asyncio.ensure_future(asyncio.to_thread(self._look, act, identity, known))
        work.add_done_callback(lambda _: self._end_slow(act.address))
        # A thread cannot be ended: whoever goes away keeps his place until it is done.
        return await asyncio.shield(work)

    def _end_slow(self, address: str) -> None:
        self._slow.release()
        self._slow_places.release(address)

    def _do(
        self, view: WriteView, act: Act, identity: Reference | None, known: Known
    ) -> ActOutcome:
        now_ms = self._now_ms()
        outcome = decide_act(view, act, identity, known.foreign, self._policy, now_ms)
        if isinstance(outcome, Done) and outcome.operations:
            assert len(outcome.operations) <= FRAME_OPERATIONS_MAX, "an act is one frame"
            replay(view, outcome.operations)
            put_own(view, outcome.own)
            LocalLog(view).append_operations(outcome.operations, now_ms)
        return outcome

    def _now_ms(self) -> int:
        return int(self._now_s() * 1000)


def _lacks_rights(outcome: Done | Refusal) -> bool:
    """Say whether an act was refused for want of rights, which may have been given elsewhere."""
    if isinstance(outcome, Done):
        return False
    return outcome.response_code == ResponseCode.INVALID_ADMIN


def _one_handle(act: Act) -> bytes:
    """Return the handle that an act is about, if it is one that quotas count."""
    handle = act.parameters.get("handle", b"") if act.name in ONE_HANDLE_ACTS else b""
    return handle.encode("utf-8", "surrogateescape") if isinstance(handle, str) else bytes(handle)


def _refused(refusal: Refusal) -> dict[str, Any]:
    return {"code": int(refusal.response_code), "message": refusal.message}
