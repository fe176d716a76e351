"""A mirror's work, in the registrar: dump a server of the primary once, then ask what changed.

    fresh, or the log does not reach back ──> dump ──> sweep ──┐
                                                               ▼
                                        ask for the log, keep it, wait `follow.poll_s`, again

Records are kept by `registry.following`, some hundred in a transaction that also says how far we
have come. A dump that breaks off goes on behind the last record as long as this process lives;
after a restart it begins anew, and what is there already costs a look-up. A primary that cannot be
reached is asked again, sooner at first; lookups are answered all the while.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from functools import partial

from protocol.bodies import DumpRequest, RetrieveLogRequest
from protocol.codes import OpCode
from protocol.replication import (
    Action,
    DumpHandle,
    DumpPrefix,
    DumpRecord,
    DumpServer,
    HandleChange,
    LogStatus,
    ResumePoint,
)
from protocol.replication_stream import dump_decoder, log_decoder
from protocol.types.hs_site import HASH_BY_HANDLE
from protocol.versions import V2_9
from registry.errors import StoreError
from registry.follow_states import FollowState, begin_state
from registry.following import (
    Named,
    Taken,
    end_dump,
    note_named,
    sweep,
    take_dump,
    take_log,
)
from registry.mirror_plans import Share
from registry.store import Store
from registry.views import WriteView
from resolver.group_commit import GroupCommit, NotWritingError
from resolver.primary_line import PrimaryError, PrimaryLine

RECORDS_MAX = 512  # in one transaction
RESUME_AFTER_S = 1.0
RETRY_FIRST_S = 1.0  # after a failure, then twice as long each time, up to the poll
FAULTS_SHOWN_MAX = 10

_log = logging.getLogger(__name__)


class Follower:
    """Follows one server of a primary's site.

    Args:
        line: asks it.
        source: its name, `registry.following`.
        share: the handles that are its own.
        store: read.
        commit: writes it.
        poll_s: seconds between two questions.
        now_s: the time since 1970.
    """

    def __init__(
        self,
        line: PrimaryLine,
        source: str,
        share: Share,
        store: Store,
        commit: GroupCommit,
        *,
        poll_s: float,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._line = line
        self._share = share
        self._commit = commit
        self._poll_s = poll_s
        self._now_s = now_s
        self._problem = ""  # why the primary could not be followed the last time
        self.state = begin_state(store, source)
        # Until it has caught up once more it is as far as it was: an alert looks at how long ago.
        self.caught_up_s = self.state.date_ms / 1000 or now_s()

    async def run(self, caught_up: Callable[[], None]) -> None:
        """Follow until cancelled; say whenever nothing is left to ask for."""
        retry_s = RETRY_FIRST_S
        while True:
            if await self._try_to_catch_up():
                caught_up()
                retry_s = RETRY_FIRST_S
                await asyncio.sleep(self._poll_s)
            else:
                await asyncio.sleep(min(retry_s, self._poll_s))
                retry_s = min(2 * retry_s, self._poll_s)

    async def _try_to_catch_up(self) -> bool:
        try:
            await self.catch_up()
        except (PrimaryError, NotWritingError, StoreError) as error:
            self._note_problem(str(error))
            return False
        except Exception:  # a mistake of ours, of which lookups shall not suffer
            _log.exception("following the primary %s failed", self._line.name)
            return False
        self.caught_up_s = self._now_s()
        self._note_problem("")
        return True

    def _note_problem(self, words: str) -> None:
        """Tell of a problem once, until it is another one or gone."""
        if words and words != self._problem:
            _log.warning("the primary %s cannot be followed: %s", self._line.name, words)
        elif self._problem and not words:
            _log.warning("the primary %s is followed again", self._line.name)
        self._problem = words

    async def catch_up(self) -> None:
        """Come to where the primary is now.

        Raises:
            PrimaryError: it cannot be followed at the moment.
            NotWritingError, StoreError: we cannot write.
        """
        if not self.state.is_dumped or not await self._take_log():
            await self._dump()
            if not await self._take_log():
                raise PrimaryError("its log does not reach back to the dump just made")

    async def _take_log(self) -> bool:
        """Take what changed; False: a dump is needed."""
        state = self.state
        mode = 0 if self._line.version.at_least(V2_9) else None
        body = RetrieveLogRequest(
            mode, state.transaction_id, state.date_ms, b"", HASH_BY_HANDLE, 1, 0
        )
        told = Taken()
        stream = self._line.stream(OpCode.RETRIEVE_TXN_LOG, body, log_decoder)
        async with contextlib.aclosing(stream):
            async for decoder, records in stream:
                if decoder.head is not None and decoder.head.status == LogStatus.NEED_REDUMP:
                    _log.warning("the log of %s does not reach back to us", self._line.name)
                    return False
                for start in range(0, len(records), RECORDS_MAX):
                    part = records[start : start + RECORDS_MAX]
                    if any(_deletes_all(record) for record in part):
                        return False
                    taking = partial(
                        take_log,
                        records=part,
                        state=self.state,
                        now_ms=self._now_ms(),
                        share=self._share,
                    )
                    self.state, taken = await self._commit.transact(taking, own=True)
                    _add(told, taken)
        self._tell_taken(told, "changes")
        return True

    async def _dump(self) -> None:
        """Copy everything, delete what is not there."""
        _log.info("copying all of %s", self._line.name)
        dump = _Dump(FollowState(self.state.source))
        self.state = dump.state
        while not dump.is_ended:
            named = dump.records
            try:
                await self._take_dump(dump)
            except PrimaryError as error:
                if dump.records == named:
                    raise
                _log.warning("the dump of %s broke off, going on: %s", self._line.name, error)
                await asyncio.sleep(RESUME_AFTER_S)
        if not dump.has_server:
            raise PrimaryError("its dump does not say where its log goes on")
        await self._sweep(dump)
        self._tell_taken(dump.taken, "handles and prefixes")

    async def _take_dump(self, dump: "_Dump") -> None:
        body = DumpRequest(HASH_BY_HANDLE, 1, 0, dump.last, dump.last_type)
        stream = self._line.stream(OpCode.DUMP_HANDLES, body, dump_decoder)
        async with contextlib.aclosing(stream):
            async for decoder, records in stream:
                for start in range(0, len(records), RECORDS_MAX):
                    await self._keep_dumped(dump, records[start : start + RECORDS_MAX])
                dump.is_ended = decoder.is_ended

    async def _keep_dumped(self, dump: "_Dump", records: list[DumpRecord]) -> None:
        dump.note(records)

        def work(view: WriteView) -> Taken:
            note_named(view, records, dump.handles, dump.prefixes)
            state = FollowState(dump.state.source)
            return take_dump(view, records, state, self._now_ms(), self._share)

        _add(dump.taken, await self._commit.transact(work, own=True))
        dump.advance(records)

    async def _sweep(self, dump: "_Dump") -> None:
        await asyncio.to_thread(dump.handles.sort)
        after: bytes | None = b""
        while after is not None:
            sweeping = partial(
                sweep, after=after, named=dump.handles, now_ms=self._now_ms(), share=self._share
            )
            after, deleted = await self._commit.transact(sweeping, own=True)
            dump.taken.changed += deleted
        self.state = await self._commit.transact(
            lambda view: end_dump(view, dump.prefixes, dump.state, self._now_ms(), self._share),
            own=True,
        )

    def _tell_taken(self, taken: Taken, what: str) -> None:
        if taken.changed:
            _log.info("%d %s taken from %s", taken.changed, what, self._line.name)
        if taken.faults:
            shown = "; ".join(taken.faults[:FAULTS_SHOWN_MAX])
            _log.error(
                "%d %s of %s cannot be kept here: %s",
                len(taken.faults), what, self._line.name, shown,
            )  # fmt: skip

    def _now_ms(self) -> int:
        return int(self._now_s() * 1_000)


class _Dump:
    """How far a dump has come, over the connections that it takes."""

    def __init__(self, state: FollowState) -> None:
        self.state = state
        self.handles = Named()
        self.prefixes: set[bytes] = set()
        self.taken = Taken()
        self.records = 0
        self.last: bytes | None = None
        self.last_type = 0
        self.has_server = False
        self.is_ended = False

    def note(self, records: list[DumpRecord]) -> None:
        """Note where the log goes on, which only the first connection can tell."""
        for record in records:
            if isinstance(record, DumpServer) and not self.has_server:
                self.has_server = True
                self.state = FollowState(self.state.source, record.transaction_id, record.date_ms)

    def advance(self, records: list[DumpRecord]) -> None:
        """Note what is kept now."""
        for record in records:
            if isinstance(record, DumpHandle | DumpPrefix):
                self.records += 1
                self.last = record.handle
                is_handle = isinstance(record, DumpHandle)
                self.last_type = ResumePoint.HANDLE if is_handle else ResumePoint.PREFIX


def _deletes_all(record: object) -> bool:
    return isinstance(record, HandleChange) and record.action == Action.DELETE_ALL


def _add(sum_: Taken, taken: Taken) -> None:
    sum_.changed += taken.changed
    sum_.faults += taken.faults
