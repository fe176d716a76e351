"""The registrar process: the only writer of the store, and all that has to be known in one place.

    link kinds   message       octets in, whole answer messages out   (`resolver.messages`)
                 request       one operation of the REST interface    (`resolver.rest_requests`)
                 creation      the shortest way to create a handle
                 list          all of a list, for REST
                 list_page     one page of it, and its length
                 verification  was an answer made with a secret key of ours
                 rest_session  log-ins of the REST interface          (`resolver.rest_sessions`)
                 registrations_*   streams of registrations         (`resolver.registrations`)
                 act               what the Handle protocol has no words for   (`resolver.acts`)
                 count         queries that a worker answered   (`resolver.query_statistics`)
                 status        whether the node is read-only, and why

Challenges, sessions and the group commit live here, so that a client may come back over any
connection to any worker. Nothing acknowledged is lost when this process dies: it was durable
before; challenges and sessions are begun anew by the clients.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import uvloop

from protocol.bodies import ResolutionRequest
from protocol.codes import ResponseCode
from protocol.handle import to_text
from protocol.types.hs_site import HsSite
from protocol.value import select_values
from registry.answers import Answer
from registry.authorization import Policy
from registry.errors import StoreError
from registry.follow_states import find_states, forget_state
from registry.roles import Role, Roles, identity_from_text
from registry.store import Store
from registry.stream_keeping import StreamCounts
from registry.views import ForeignRecord
from resolver.acts import Acts
from resolver.asked import Conversations
from resolver.bounded_table import BoundedTable, Bounds
from resolver.challenges import Challenges
from resolver.config import Config, LimitsConfig
from resolver.foreign import ForeignRecords, ForeignSettings
from resolver.foreign_keys import ForeignKeys, KeyBounds
from resolver.group_commit import GroupCommit, NotWritingError
from resolver.limits import Places
from resolver.link_server import LinkServer
from resolver.listing import Pages
from resolver.log_outs import LogOuts
from resolver.messages import Messages
from resolver.metrics import CHALLENGES, SESSIONS, STORE_HANDLES, STORE_OCTETS, TRUST_EXPIRY
from resolver.mirrors import Mirrors
from resolver.node import MIRROR_WORDS, Node, load_node
from resolver.node_files import NodeFilesError, read_bootstrap
from resolver.operations import Operations
from resolver.query_statistics import WRITE_S, QueryStatistics
from resolver.quotas import Quotas
from resolver.recursion import Ask, Reply, Walk, sites_in
from resolver.refused_log_ins import RefusedLogIns, make_refused_log_ins
from resolver.registrations import Registrations
from resolver.rest_requests import RestRequests
from resolver.rest_sessions import RestSessions
from resolver.sessions import Sessions
from resolver.supervisor import EXIT_HOPELESS, Ready, stop_signal
from resolver.trust_expiry import find_soonest_expiry
from resolver.upstream import Upstream
from resolver.upstream_settings import upstream_settings
from resolver.walker import Lookups, follow

if TYPE_CHECKING:
    from resolver.followers import Followers

NICENESS = 5  # of the registrar, above that of the workers: see `give_way`
TICK_S = 1.0  # how often room, time-outs and metrics are looked at
QUOTAS_EVERY = 10  # ticks between two looks at what is nearly used up
READERS_EVERY = 10  # ticks between two searches for readers that died
TRUST_EVERY = 60  # ticks between two looks at when certificates of our own handles end
PURGE_EVERY = 60  # ticks between two looks at some streams, which need not be kept any more
FORGET_EVERY = 3_600  # ticks between two looks for counts of queries that are that old
COUNT_PAUSE_S = 0.02  # between two pages of an older store: as long as a page takes
COUNT_AGAIN_S = 60.0  # when nothing can be written
RECURSIONS_MAX = 8  # nodes a question may come through; a chain of more is a circle
PREFIXES_SHOWN_MAX = 100  # on the front page: what people read, not a list to work with


_log = logging.getLogger(__name__)


def give_way() -> None:
    """Let workers go before us where they share a core: who asks waits less than who registers."""
    with contextlib.suppress(OSError):
        os.nice(NICENESS)


def run(config: Config, ready: Ready) -> None:
    """Run the registrar until SIGTERM; called in a forked child."""
    try:
        give_way()
        uvloop.run(_main(config, ready))
    except (StoreError, NodeFilesError) as error:
        _log.error("%s", error)
        raise SystemExit(EXIT_HOPELESS) from None


async def _main(config: Config, ready: Ready) -> None:
    stopped = stop_signal()
    registrar = Registrar(config)
    await registrar.start()
    ready()
    await stopped.wait()
    await registrar.stop()


class Registrar:
    """One node's registrar, put together from its configuration."""

    def __init__(
        self,
        config: Config,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Open the store and read the node's files. Raises: StoreError, NodeFilesError."""
        self._config = config
        self._administrators = [
            identity_from_text(each).handle for each in config.roles.administrators
        ]
        self._clock_s = clock_s
        node = load_node(config)
        self._store = Store.open(
            config.store_folder,
            map_octets=config.store.map_octets,
            case_sensitive=config.case_sensitive,
        )
        self._log_outs = LogOuts(self._store)
        self._threads = ThreadPoolExecutor(config.process.crypto_threads, "crypto")
        policy = make_policy(config)
        self.commit = GroupCommit(
            self._store,
            policy,
            window_s=config.commit.window_ms / 1000,
            operations_max=config.commit.operations_max,
            queue_max=config.commit.queue_max,
            free_octets_min=config.store.free_octets_min,
            now_s=now_s,
            keys_lost=self._log_outs.end_of,
            ranges_changed=self._log_outs.end_in,
            mirror_words=MIRROR_WORDS if node.is_mirror else "",
        )
        self._followers = self._make_followers(now_s)
        self._following: asyncio.Task[None] | None = None
        self._quotas = Quotas(self._store, self.commit, now_s=now_s)
        self._upstream = Upstream(upstream_settings(config.upstream))
        self._roots = _roots(config)
        foreign = self._foreign(now_s)
        self._foreign_keys = ForeignKeys(
            foreign,
            self._log_outs.identities,
            self._log_outs.end_of,
            key_bounds(config),
            now_s=now_s,
        )
        self._key_checks: asyncio.Task[None] | None = None
        operations = Operations(
            self._store,
            self.commit,
            policy,
            foreign,
            self._threads,
            rounds_max=config.limits.pbkdf2_rounds_max,
            verifications_max=config.limits.verifications_max,
            now_s=now_s,
            quotas=self._quotas,
            foreign_keys=self._foreign_keys,
        )
        self._conversations = make_conversations(config.limits)
        self._refused_log_ins = make_refused_log_ins(config.log.repeat_after_s)
        self._rest_sessions = make_rest_sessions(
            config.limits, operations, self._refused_log_ins, clock_s
        )
        self._statistics = QueryStatistics(
            self.commit, config.limits.prefix_sources_max, now_s=now_s
        )
        self._server = self._make_server(node, operations, now_s)
        self._log_outs.cover(
            [self._conversations.sessions, self._rest_sessions], self._registrations
        )
        self._ticker: asyncio.Task[None] | None = None
        self._counter: asyncio.Task[None] | None = None

    def _make_followers(self, now_s: Callable[[], float]) -> "Followers | None":
        """Make what follows a primary; few nodes are mirrors, so it is imported late."""
        if not self._config.follow.site:
            return None
        from resolver.followers import make_followers

        return make_followers(self._config, self._store, self.commit, now_s)

    def _foreign(self, now_s: Callable[[], float]) -> ForeignRecords:
        upstream = self._config.upstream
        settings = ForeignSettings(upstream.foreign_timeout_ms / 1000, upstream.foreign_ttl_s)
        return ForeignRecords(
            self._upstream,
            self._roots,
            settings,
            find_kept=self._find_kept,
            keep=self.commit.keep,
            now_s=now_s,
        )

    def _make_server(
        self, node: Node, operations: Operations, now_s: Callable[[], float]
    ) -> LinkServer:
        limits = self._config.limits
        pages = Pages(self._store, limits.list_steps_max, limits.list_after_rows_max)
        messages = Messages(
            node,
            operations,
            self._conversations,
            pages,
            Mirrors(self._config, node),
            self._resolve_afar,
            self._threads,
            self._refused_log_ins,
            clock_s=self._clock_s,
            now_s=now_s,
            counts=self._statistics.counts,
        )
        requests = RestRequests(
            operations, self._rest_sessions, pages, self._refused_log_ins, self._quotas
        )
        registrations = self._registrations = Registrations(
            self._store,
            self.commit,
            operations,
            make_policy(self._config),
            requests.prove,
            node=node,
            threads=self._threads,
            now_s=now_s,
            quotas=self._quotas,
            bounds=StreamCounts(
                limits.open_streams_per_identity_max, limits.streams_per_identity_max
            ),
            clock_s=self._clock_s,
        )
        acts = Acts(
            self._store,
            self.commit,
            operations,
            make_policy(self._config),
            requests.prove,
            slow_places=Places(limits.slow_acts_max, limits.slow_acts_per_address_max),
            now_s=now_s,
            after={
                "quotas.set": self._load_quotas,
                "prefixes.remove": self._forget_prefix,
                "prefixes.transfer": self._log_outs.end_under,
            },
            quotas=self._quotas,
        )
        return LinkServer(
            self._config.link_path,
            {
                "request": requests.perform,
                "list_page": requests.list_page,
                "verification": requests.verify,
                "rest_session": requests.rest_session,
                "status": self._status,
                "registrations_begin": registrations.begin,
                "registrations_rows": registrations.rows,
                "registrations_damaged": registrations.damaged,
                "registrations_end": registrations.end,
                "registrations_show": registrations.show,
                "act": acts.perform,
                "count": self._statistics.count,
            },
            {"message": messages.answer, "list": requests.list_all},
            {"creation": requests.create},
        )

    def _load_quotas(self, _: bytes) -> None:
        self._quotas.load()

    def _forget_prefix(self, prefix_handle: bytes) -> None:
        self._quotas.load()
        self._log_outs.end_under(prefix_handle)

    async def _forget_primary(self) -> None:
        """Begin to be a node of its own, if it followed another one before."""
        with self._store.read() as view:
            if not find_states(view):
                return
        try:
            await self.commit.transact(forget_state, own=True)
        except NotWritingError as error:
            _log.error("whom this node followed could not be forgotten: %s", error)
            return
        _log.warning("this node follows nobody any more: what it registers is its own")

    async def start(self) -> None:
        """Begin to serve the link."""
        self.commit.start()
        if self._followers is None:
            await self._forget_primary()
        self.tick(0)
        await self._server.start()
        self._ticker = asyncio.create_task(self._tick_on())
        self._counter = asyncio.create_task(self._count_store())
        if self._followers is not None:
            self._following = asyncio.create_task(self._followers.run())

    async def stop(self) -> None:
        """Commit what is queued, then close everything."""
        for task in (self._ticker, self._counter, self._following, self._key_checks):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        await self._server.stop()
        await self._keep_quotas()
        await self._statistics.write()
        await asyncio.get_running_loop().run_in_executor(None, self.commit.stop)
        self.close()

    def close(self) -> None:
        """Close the store, once nothing is served."""
        self._threads.shutdown(cancel_futures=True)
        self._store.close()

    async def _tick_on(self) -> None:
        count = 0
        while True:
            await asyncio.sleep(TICK_S)
            count += 1
            try:
                await self._do_what_is_due(count)
            except Exception:  # a mistake of ours; room on the disk is looked for all the same
                _log.exception("what time brings could not be done")

    async def _do_what_is_due(self, count: int) -> None:
        self.tick(count)
        if self._key_checks is None or self._key_checks.done():
            # Nodes that do not answer are waited for beside everything else.
            self._key_checks = asyncio.create_task(self._check_keys())
        await self._keep_quotas()
        if count % QUOTAS_EVERY == 0:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._quotas.watch)
        if count % TRUST_EVERY == 1:
            await asyncio.get_running_loop().run_in_executor(self._threads, self.watch_trust)
        if count % WRITE_S == 0:
            await self._statistics.write()
        if count % PURGE_EVERY == 0:
            await self._purge(self._registrations.purge(self._config.streams.kept_s))
        if count % FORGET_EVERY == 0:
            await self._purge(self._statistics.purge())

    def watch_trust(self) -> None:
        """Look when certificates end: of up to a thousand records, which takes no loop's time."""
        with self._store.read() as view:
            TRUST_EXPIRY.set(find_soonest_expiry(view, self._administrators))

    def tick(self, count: int) -> None:
        """Do what time brings: look for room, forget what nobody came back for, count."""
        self.commit.check_room()
        now = self._clock_s()
        self._conversations.challenges.purge(now)
        self._conversations.sessions.purge(now)
        self._rest_sessions.purge()
        CHALLENGES.set(len(self._conversations.challenges))
        SESSIONS.labels("handle").set(len(self._conversations.sessions))
        SESSIONS.labels("rest").set(len(self._rest_sessions))
        STORE_OCTETS.set(self._store.used_octets())
        with self._store.read() as view:
            STORE_HANDLES.set(view.count_records())
        if count % READERS_EVERY == 0:
            # A worker that was killed leaves its slot, which would keep old pages for ever.
            self._store.clear_dead_readers()

    async def _check_keys(self) -> None:
        try:
            await self._foreign_keys.check()
        except Exception:  # a mistake of ours; they are looked at again all the same
            _log.exception("keys on other nodes could not be looked at again")

    async def _keep_quotas(self) -> None:
        try:
            await self._quotas.keep()
        except (NotWritingError, StoreError) as error:
            _log.warning("requests counted against quotas could not be kept: %s", error)

    async def _purge(self, purging: Awaitable[None]) -> None:
        try:
            await purging
        except (NotWritingError, StoreError) as error:
            _log.warning("old streams and counts of queries could not be forgotten: %s", error)

    async def _count_store(self) -> None:
        """Count what an older version has stored, between everything else."""
        is_more = True
        while is_more:
            try:
                is_more = await self._statistics.count_store()
                await asyncio.sleep(COUNT_PAUSE_S)
            except NotWritingError:
                await asyncio.sleep(COUNT_AGAIN_S)
            except StoreError as error:
                _log.error("the store could not be counted: %s; run biaoshi verify", error)
                return

    async def _status(self, payload: dict[str, Any]) -> dict[str, Any]:
        with self._store.read() as view:
            prefixes = view.list_homed(None, PREFIXES_SHOWN_MAX).handles
        return {
            "read_only": self.commit.registers_nothing,
            "queue": self.commit.queue_depth,
            "prefixes": [to_text(each) for each in prefixes],
        }

    def _find_kept(self, handle: bytes) -> ForeignRecord | None:
        with self._store.read() as view:
            return view.find_foreign(handle)

    async def _resolve_afar(
        self, question: ResolutionRequest, referral: Answer, recursion_count: int
    ) -> Answer:
        """Follow a referral for a client below 2.10, which could not."""
        if recursion_count >= RECURSIONS_MAX:
            circle = f"the question came through {recursion_count} nodes already"
            return Answer(ResponseCode.RECURSION_COUNT_TOO_HIGH, (), circle.encode())
        walk = Walk(question.handle, self._roots, start=sites_in(referral.values))
        lookups = Lookups(self._upstream, recursion_count=recursion_count + 1)
        types = question.types

        async def ask(step: Ask) -> Reply:
            if step.is_lookup:
                return await lookups.services(step)
            return await lookups.values(step, () if question.indexes else types)

        done = await follow(walk, ask)
        values = done.reply.values if done.reply is not None else ()
        if question.indexes and done.response_code == ResponseCode.SUCCESS:
            values = select_values(values, question.indexes, types)
        words = done.words or (done.reply.problem if done.reply is not None else "")
        return Answer(ResponseCode(done.response_code), values, words.encode())


def make_policy(config: Config) -> Policy:
    """Return who may do what, as the configuration has it."""
    names = {role: getattr(config.roles, role.value) for role in Role}
    mapping = {
        role: tuple(identity_from_text(text) for text in texts) for role, texts in names.items()
    }
    roles = config.roles
    return Policy(Roles(mapping), roles.allow_prefix_administrators, roles.allow_list_handles)


def key_bounds(config: Config) -> KeyBounds:
    """Return how keys on other nodes are watched, as the configuration has it."""
    limits = config.limits
    return KeyBounds(
        limits.foreign_keys_max,
        limits.foreign_key_checks_max,
        limits.foreign_key_check_s,
        config.upstream.foreign_ttl_s,
    )


def make_conversations(limits: LimitsConfig) -> Conversations:
    """Return empty tables of challenges and sessions."""
    challenges = Bounds(
        limits.challenges_max,
        limits.challenges_per_address_max,
        limits.challenge_octets_max,
        limits.challenge_octets_per_address_max,
    )
    return Conversations(
        Challenges(BoundedTable(challenges), limits.challenge_timeout_s),
        Sessions(BoundedTable(_session_bounds(limits)), limits.session_timeout_s),
    )


def make_rest_sessions(
    limits: LimitsConfig,
    operations: Operations,
    refused_log_ins: RefusedLogIns,
    clock_s: Callable[[], float],
) -> RestSessions:
    """Return an empty table of REST sessions."""
    return RestSessions(
        BoundedTable(_session_bounds(limits)),
        operations.prove,
        refused_log_ins,
        challenge_timeout_s=limits.challenge_timeout_s,
        session_timeout_s=limits.session_timeout_s,
        now_s=clock_s,
    )


def _session_bounds(limits: LimitsConfig) -> Bounds:
    # A session is small and of one size: its number bounds its octets.
    return Bounds(limits.sessions_max, limits.sessions_per_address_max, 0, 0)


def _roots(config: Config) -> tuple[HsSite, ...]:
    """Return the sites of the root; without them the node serves what it has, and nobody afar."""
    try:
        return read_bootstrap(config.bootstrap_path)
    except NodeFilesError as error:
        _log.warning("keys on other nodes cannot be fetched: %s", error)
        return ()
