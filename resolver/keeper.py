"""The keeper's process: answers the workers' misses and is the only writer of the cache.

    worker ── "resolve" {handle, indexes, types, flags, recursion_count} ──► RecursiveResolver
           ◄─ {code, values: octets of a value list, message: octets, age_s, stale, hops} ──

Each hop is [endpoint, handle, response code, ms, problem]. "status" tells how full the cache is.
"""

import asyncio
import logging
import signal
from collections.abc import Callable

import uvloop

from protocol.codes import MessageFlag
from protocol.types.hs_site import HsSite
from registry.store import CacheStore
from resolver.cache import Cache, CacheSettings
from resolver.config import Config
from resolver.link_frames import Payload
from resolver.link_server import LinkServer
from resolver.metrics import CACHE_ENTRIES
from resolver.node_files import NodeFilesError, read_bootstrap
from resolver.recursive import RecursiveResolver, RecursiveSettings
from resolver.upstream import Upstream
from resolver.upstream_settings import upstream_settings

_log = logging.getLogger(__name__)


class Keeper:
    """The link's end: questions in, entries out.

    Args:
        resolver: answers them.
        cache: what `status` counts.
        is_ready: whether there is a root to ask.
    """

    def __init__(self, resolver: RecursiveResolver, cache: Cache, *, is_ready: bool) -> None:
        self._resolver = resolver
        self._cache = cache
        self._is_ready = is_ready

    async def resolve(self, payload: Payload) -> Payload:
        """Answer "resolve"."""
        outcome = await self._resolver.resolve(
            payload["handle"],
            authoritative=bool(payload["flags"] & MessageFlag.AUTHORITATIVE),
            recursion_count=payload["recursion_count"],
        )
        entry = outcome.entry
        code, values, words = entry.answer(payload["indexes"], payload["types"])
        return {
            "code": code,
            "values": values,
            "message": words,
            "age_s": entry.age_s(outcome.now_s),
            "stale": entry.is_stale,
            "hops": [
                [str(hop.endpoint), hop.handle, hop.response_code, hop.elapsed_ms, hop.problem]
                for hop in outcome.hops
            ],
        }

    async def status(self, payload: Payload) -> Payload:
        """Answer "status"; a node without a root to ask is not ready."""
        entries = self._cache.count()
        CACHE_ENTRIES.set(entries)
        return {
            "ready": self._is_ready,
            "read_only": "",
            "walks": self._resolver.walks_under_way,
            "entries": entries,
        }


def recursive_settings(config: Config) -> RecursiveSettings:
    """Return the settings that a configuration's `[recursion]` asks for."""
    recursion = config.recursion
    return RecursiveSettings(
        hops_max=recursion.hops_max,
        depth_max=recursion.depth_max,
        walks_max=recursion.walks_max,
        cache=CacheSettings(
            ttl_max_s=recursion.ttl_max_s,
            negative_ttl_s=recursion.negative_ttl_s,
            stale_max_s=recursion.stale_max_s,
        ),
    )


def run(config: Config, ready: Callable[[], None]) -> None:
    """Run the keeper until SIGTERM; `ready` is called once questions are answered."""
    uvloop.run(_serve(config, ready))


async def _serve(config: Config, ready: Callable[[], None]) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    store = CacheStore(config.cache_folder, octets_max=config.recursion.cache_octets)
    if store.was_wiped:
        _log.warning("the machine went down with the cache open: starting with an empty one")
    cache = Cache(store)
    roots = _read_roots(config)
    upstream = Upstream(upstream_settings(config.upstream))
    resolver = RecursiveResolver(upstream, roots, cache, recursive_settings(config))
    keeper = Keeper(resolver, cache, is_ready=bool(roots))
    calls = {"resolve": keeper.resolve, "status": keeper.status}
    server = LinkServer(config.link_path, calls)
    await server.start()
    ready()
    try:
        await stopped.wait()
    finally:
        await server.stop()
        resolver.flush()
        store.close()


def _read_roots(config: Config) -> tuple[HsSite, ...]:
    """Return the root's sites; without them the node runs, says so and answers from its cache."""
    try:
        return read_bootstrap(config.bootstrap_path)
    except NodeFilesError as error:
        _log.error("no identifier can be looked for: %s", error)
        return ()
