"""The recursive role: cache, walks, coalescing, stale answers, limits. Time is a variable."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from protocol.bodies import ErrorAnswer
from protocol.codes import MessageFlag, ResponseCode
from protocol.value import HandleValue, read_values
from protocol.wire import Reader
from registry.store import CacheStore
from resolver.cache import Cache, CacheSettings
from resolver.config import config_from_table
from resolver.keeper import Keeper, recursive_settings
from resolver.recursive import RECURSIONS_MAX, Outcome, RecursiveResolver, RecursiveSettings
from resolver.upstream import Upstream
from resolver.upstream_settings import UpstreamSettings, upstream_settings
from tests.resolver.network import Tiers, make_reply, make_tiers

HANDLE = b"88.118.5/PUMP-1"
PREFIX = b"0.NA/88.118.5"
SETTINGS = RecursiveSettings(
    walks_max=4,
    walk_timeout_s=2.0,
    cache=CacheSettings(ttl_max_s=3_600, negative_ttl_s=60, stale_max_s=1_000, stale_hold_s=5),
)
Result = TypeVar("Result")


class World:
    """A recursive node in front of three tiers, at a time the test sets."""

    def __init__(self, tiers: Tiers, store: CacheStore, settings: RecursiveSettings) -> None:
        self.tiers = tiers
        self.now_s = 1_800_000_000.0
        self.cache = Cache(store)
        upstream = Upstream(
            UpstreamSettings(head_start_s=1.0, timeout_s=1.0), mover=tiers.network.move
        )
        self.resolver = RecursiveResolver(
            upstream, [tiers.root], self.cache, settings, now_s=lambda: self.now_s
        )
        self.keeper = Keeper(self.resolver, self.cache, is_ready=True)

    def asked(self) -> list[list[bytes]]:
        return [node.handles_asked() for node in self.tiers.all]

    def forget_asked(self) -> None:
        for node in self.tiers.all:
            node.asked.clear()

    def kill_all(self) -> None:
        for node in self.tiers.all:
            node.is_dead = True


Use = Callable[[World], Awaitable[Result]]
Player = Callable[..., object]


@pytest.fixture
def play(tmp_path: Path) -> Player:
    def run(use: Use[Result], settings: RecursiveSettings = SETTINGS) -> Result:
        async def main() -> Result:
            store = CacheStore(tmp_path / "cache", octets_max=4 << 20)
            world = World(make_tiers(), store, settings)
            try:
                return await use(world)
            finally:
                world.resolver.flush()
                store.close()

        return asyncio.run(main())

    return run


def values_of(outcome: Outcome) -> list[bytes]:
    return [value.data for value in outcome.entry.decode_values()]


def test_miss_walks_three_tiers_and_hit_asks_nobody(play: Player) -> None:
    async def use(world: World) -> None:
        first = await world.resolver.resolve(HANDLE)
        assert values_of(first) == [b"https://example.org/pump", b"pump"]
        assert world.asked() == [[PREFIX], [PREFIX], [HANDLE]]
        assert [hop.endpoint.address for hop in first.hops] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
        world.forget_asked()
        again = await world.resolver.resolve(HANDLE)
        assert again.entry == first.entry
        assert again.hops == ()
        assert world.asked() == [[], [], []]

    play(use)


def test_prefix_found_on_the_way_serves_its_other_handles(play: Player) -> None:
    async def use(world: World) -> None:
        await world.resolver.resolve(HANDLE)
        world.forget_asked()
        other = await world.resolver.resolve(b"88.118.5/PUMP-2")
        assert other.entry.response_code == ResponseCode.HANDLE_NOT_FOUND
        assert world.asked() == [[], [], [b"88.118.5/PUMP-2"]]
        world.forget_asked()
        prefix = await world.resolver.resolve(PREFIX)
        assert prefix.entry.response_code == ResponseCode.SUCCESS
        assert world.asked() == [[], [], []]

    play(use)


def test_answer_is_fetched_again_when_its_ttl_is_over(play: Player) -> None:
    async def use(world: World) -> None:
        await world.resolver.resolve(HANDLE)
        world.forget_asked()
        world.now_s += 299
        assert (await world.resolver.resolve(HANDLE)).hops == ()
        world.now_s += 1
        await world.resolver.resolve(HANDLE)
        assert world.asked() == [[], [], [HANDLE]]

    play(use)


def test_not_found_is_kept_for_the_negative_ttl(play: Player) -> None:
    async def use(world: World) -> None:
        missing = b"88.118.5/NONE"
        await world.resolver.resolve(missing)
        world.forget_asked()
        world.now_s += 59
        kept = await world.resolver.resolve(missing)
        assert kept.entry.response_code == ResponseCode.HANDLE_NOT_FOUND
        assert world.asked() == [[], [], []]
        world.now_s += 1
        await world.resolver.resolve(missing)
        assert world.asked() == [[], [], [missing]]

    play(use)


def test_unknown_prefix_is_kept_for_all_its_handles(play: Player) -> None:
    async def use(world: World) -> None:
        first = await world.resolver.resolve(b"99.1/a")
        assert first.entry.response_code == ResponseCode.HANDLE_NOT_FOUND
        assert b"99.1 is not registered" in first.entry.words
        world.forget_asked()
        second = await world.resolver.resolve(b"99.1/b")
        assert second.entry.response_code == ResponseCode.HANDLE_NOT_FOUND
        assert world.asked() == [[], [], []]

    play(use)


def test_equal_questions_are_walked_once(play: Player) -> None:
    async def use(world: World) -> None:
        questions = [world.resolver.resolve(HANDLE) for _ in range(50)]
        outcomes = await asyncio.gather(*questions)
        assert len({outcome.entry for outcome in outcomes}) == 1
        assert world.asked() == [[PREFIX], [PREFIX], [HANDLE]]

    play(use)


def test_different_handles_of_a_cold_prefix_look_it_up_once(play: Player) -> None:
    async def use(world: World) -> None:
        handles = [b"88.118.5/%d" % number for number in range(4)]
        await asyncio.gather(*map(world.resolver.resolve, handles))
        assert world.asked()[:2] == [[PREFIX], [PREFIX]]
        assert sorted(world.asked()[2]) == handles

    play(use)


def test_client_that_goes_away_does_not_end_the_walk_of_others(play: Player) -> None:
    async def use(world: World) -> None:
        gate = world.tiers.enterprise.gate = asyncio.Event()
        gone = asyncio.create_task(world.resolver.resolve(HANDLE))
        stays = asyncio.create_task(world.resolver.resolve(HANDLE))
        while not world.tiers.enterprise.asked:  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0)
        gone.cancel()
        gate.set()
        assert values_of(await stays) == [b"https://example.org/pump", b"pump"]

    play(use)


def test_walks_under_way_are_bounded(play: Player) -> None:
    async def use(world: World) -> None:
        gate = world.tiers.top.gate = asyncio.Event()
        walks = [
            asyncio.create_task(world.resolver.resolve(b"88.118.5/%d" % number))
            for number in range(4)
        ]
        await asyncio.sleep(0)
        refused = await world.resolver.resolve(b"88.118.5/5")
        assert refused.entry.response_code == ResponseCode.SERVER_TOO_BUSY
        joined = asyncio.create_task(world.resolver.resolve(b"88.118.5/0"))
        gate.set()
        codes = {(await walk).entry.response_code for walk in (*walks, joined)}
        assert codes == {ResponseCode.HANDLE_NOT_FOUND}
        assert world.resolver.walks_under_way == 0

    play(use)


def test_stale_answer_while_upstreams_are_down(play: Player) -> None:
    async def use(world: World) -> None:
        await world.resolver.resolve(HANDLE)
        world.now_s += 400
        world.kill_all()
        world.forget_asked()
        stale = await world.resolver.resolve(HANDLE)
        assert values_of(stale) == [b"https://example.org/pump", b"pump"]
        assert stale.entry.is_stale
        assert stale.entry.age_s(stale.now_s) == 400
        assert any(hop.problem for hop in stale.hops)
        world.forget_asked()
        held = await world.resolver.resolve(HANDLE)
        assert held.entry.is_stale
        assert world.asked() == [[], [], []]
        world.now_s += 5
        await world.resolver.resolve(HANDLE)
        assert world.asked() != [[], [], []]

    play(use)


def test_stale_answer_ends_when_an_upstream_is_back(play: Player) -> None:
    async def use(world: World) -> None:
        await world.resolver.resolve(HANDLE)
        world.now_s += 400
        world.kill_all()
        assert (await world.resolver.resolve(HANDLE)).entry.is_stale
        for node in world.tiers.all:
            node.is_dead = False
        world.now_s += 5
        assert not (await world.resolver.resolve(HANDLE)).entry.is_stale

    play(use)


def test_too_old_is_no_answer(play: Player) -> None:
    async def use(world: World) -> None:
        await world.resolver.resolve(HANDLE)
        world.now_s += 300 + 1_000
        world.kill_all()
        outcome = await world.resolver.resolve(HANDLE)
        assert outcome.entry.response_code == ResponseCode.ERROR
        assert b"no answer" in outcome.entry.words

    play(use)


def test_error_of_the_enterprise_is_bridged_by_a_stale_answer(play: Player) -> None:
    async def use(world: World) -> None:
        await world.resolver.resolve(HANDLE)
        world.now_s += 400
        world.tiers.enterprise.answerer = lambda request: [
            make_reply(request, ResponseCode.ERROR, ErrorAnswer(b"broken"))
        ]
        assert (await world.resolver.resolve(HANDLE)).entry.is_stale

    play(use)


def test_stale_prefix_leads_on_while_the_root_is_down(play: Player) -> None:
    async def use(world: World) -> None:
        world.tiers.secondary.records[b"0.NA/88.118.5"] = (
            HandleValue(1, b"HS_SITE", world_site(world), ttl=100),
        )
        await world.resolver.resolve(HANDLE)
        world.now_s += 200
        world.tiers.top.is_dead = world.tiers.secondary.is_dead = True
        fresh = await world.resolver.resolve(b"88.118.5/PUMP-2")
        assert fresh.entry.response_code == ResponseCode.HANDLE_NOT_FOUND
        assert not fresh.entry.is_stale

    play(use)


def world_site(world: World) -> bytes:
    return world.tiers.secondary.records[b"0.NA/88.118.5"][0].data


def test_authoritative_question_bypasses_the_cache(play: Player) -> None:
    async def use(world: World) -> None:
        await world.resolver.resolve(HANDLE)
        world.forget_asked()
        await world.resolver.resolve(HANDLE, authoritative=True)
        assert world.asked() == [[PREFIX], [PREFIX], [HANDLE]]
        flags = world.tiers.enterprise.asked[0].header.flags
        assert flags & MessageFlag.AUTHORITATIVE

    play(use)


def test_value_without_ttl_is_not_kept(play: Player) -> None:
    async def use(world: World) -> None:
        volatile = b"88.118.5/VOLATILE"
        world.tiers.enterprise.records[volatile] = (HandleValue(1, b"URL", b"now", ttl=0),)
        assert values_of(await world.resolver.resolve(volatile)) == [b"now"]
        assert values_of(await world.resolver.resolve(volatile)) == [b"now"]
        assert world.asked()[2] == [volatile, volatile]

    play(use)


def test_recursion_count_grows_and_ends(play: Player) -> None:
    async def use(world: World) -> None:
        await world.resolver.resolve(HANDLE, recursion_count=3)
        assert {message.header.recursion_count for message in world.tiers.top.asked} == {4}
        refused = await world.resolver.resolve(b"88.118.5/X", recursion_count=RECURSIONS_MAX)
        assert refused.entry.response_code == ResponseCode.RECURSION_COUNT_TOO_HIGH

    play(use)


def test_questions_do_not_ask_for_recursion(play: Player) -> None:
    async def use(world: World) -> None:
        await world.resolver.resolve(HANDLE)
        for node in world.tiers.all:
            for message in node.asked:
                assert not message.header.has(MessageFlag.RECURSIVE)
                assert message.header.has(MessageFlag.PUBLIC_ONLY)

    play(use)


def test_walk_has_an_end_in_time(play: Player) -> None:
    async def use(world: World) -> None:
        world.tiers.top.gate = asyncio.Event()
        outcome = await world.resolver.resolve(HANDLE)
        assert outcome.entry.response_code == ResponseCode.ERROR
        assert b"within" in outcome.entry.words

    quick = RecursiveSettings(walk_timeout_s=0.05, cache=SETTINGS.cache)
    play(use, quick)


def test_prefix_that_names_no_site_is_kept_as_301(play: Player) -> None:
    async def use(world: World) -> None:
        world.tiers.top.records[b"0.NA/88.7"] = (HandleValue(1, b"DESC", b"nothing here"),)
        outcome = await world.resolver.resolve(b"88.7/a")
        assert outcome.entry.response_code == ResponseCode.SERVER_NOT_RESPONSIBLE
        assert world.cache.find(b"88.7/a") is not None

    play(use)


def test_links_reply_is_filtered_here(play: Player) -> None:
    async def use(world: World) -> None:
        payload = {
            "handle": HANDLE,
            "indexes": [],
            "types": [b"url"],
            "flags": MessageFlag.PUBLIC_ONLY,
            "recursion_count": 0,
        }
        reply = await world.keeper.resolve(payload)
        assert reply["code"] == ResponseCode.SUCCESS
        assert [value.index for value in read_values(Reader(reply["values"]))] == [1]
        assert (reply["age_s"], reply["stale"]) == (0, False)
        assert reply["hops"][0][:3] == ["udp://10.0.0.1:2641", PREFIX, 303]
        missing = await world.keeper.resolve({**payload, "types": [b"EMAIL"]})
        assert missing["code"] == ResponseCode.VALUES_NOT_FOUND
        assert len(world.asked()[2]) == 1

    play(use)


def test_link_reply_is_authoritative_when_asked_so(play: Player) -> None:
    async def use(world: World) -> None:
        payload = {
            "handle": HANDLE,
            "indexes": [],
            "types": [],
            "flags": MessageFlag.AUTHORITATIVE,
            "recursion_count": 0,
        }
        await world.keeper.resolve(payload)
        await world.keeper.resolve(payload)
        assert len(world.asked()[2]) == 2

    play(use)


def test_status_counts(play: Player) -> None:
    async def use(world: World) -> None:
        await world.resolver.resolve(HANDLE)
        world.resolver.flush()
        status = await world.keeper.status({})
        assert status == {"ready": True, "read_only": "", "walks": 0, "entries": 2}

    play(use)


def test_rows_are_written_by_themselves(play: Player) -> None:
    async def use(world: World) -> None:
        await world.resolver.resolve(HANDLE)
        assert world.cache.has_pending
        while world.cache.has_pending:  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0)
        assert world.cache.count() == 2

    play(use)


def test_configuration_reaches_the_settings(tmp_path: Path) -> None:
    table = {
        "role": "recursive",
        "upstream": {"udp_timeouts_ms": [100, 200], "stream_timeout_ms": 1_000},
        "recursion": {"walks_max": 7, "stale_max_s": 9, "negative_ttl_s": 8},
    }
    config = config_from_table(table, tmp_path)
    settings = recursive_settings(config)
    assert (settings.walks_max, settings.cache.stale_max_s) == (7, 9)
    assert settings.cache.negative_ttl_s == 8
    upstream = upstream_settings(config.upstream)
    assert upstream.limits.udp_waits_s == (0.1, 0.2)
    assert upstream.timeout_s == pytest.approx(1.3)
