"""Keys on other nodes: looked at again when their time has come, and what ends then."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable

import pytest

from protocol.digests import SHA256, RequestDigest
from protocol.value import HandleValue, Reference
from registry.outcomes import Unavailable
from registry.schema import Record
from resolver.foreign_keys import ForeignKeys, KeyBounds, SecretProof

USER = Reference(b"77/USER", 300)
KEEPER = Reference(b"77/KEEPER", 301)
KEY = HandleValue(300, b"HS_PUBKEY", b"key", ttl=120)
OTHER = HandleValue(300, b"HS_PUBKEY", b"another", ttl=120)
PROOF = SecretProof(b"nonce", RequestDigest(SHA256, bytes(32)), b"answer")
DOWN = Unavailable("nobody answers")


class World:
    """Other nodes, who is logged in, and a clock."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.records: dict[bytes, Record | Unavailable | None] = {USER.handle: Record((KEY,))}
        self.verdict: bool | Unavailable = True
        self.logged_in: list[Reference] = [USER, KEEPER]
        self.lost: list[Reference] = []
        self.asked: list[bytes] = []
        self.under_way = self.most_under_way = 0
        self.keys = self.make()

    def make(self, keys_max: int = 8) -> ForeignKeys:
        bounds = KeyBounds(keys_max=keys_max, checks_max=2, check_s=60, ttl_s=300)
        return ForeignKeys(self, self.in_use, self.log_out, bounds, now_s=lambda: self.now_s)

    def in_use(self) -> Iterable[Reference]:
        return self.logged_in

    def log_out(self, keys: Collection[Reference]) -> None:
        self.lost += keys
        self.logged_in = [each for each in self.logged_in if each not in keys]

    async def look_again(self, handle: bytes) -> Record | Unavailable | None:
        self.asked.append(handle)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        return self.records[handle]

    async def verify_secret(
        self, user: Reference, nonce: bytes, digest: RequestDigest, answer: bytes
    ) -> bool | Unavailable:
        assert (nonce, digest, answer) == (PROOF.nonce, PROOF.digest, PROOF.answer)
        self.asked.append(user.handle)
        return self.verdict

    async def check_after(self, seconds: float) -> list[bytes]:
        """Let time pass and look; return what was asked for."""
        self.now_s += seconds
        self.asked.clear()
        await self.keys.check()
        return self.asked[:]


def play(scene: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        await scene(World())

    asyncio.run(run())


def test_a_key_is_looked_at_again_whenever_its_ttl_has_passed() -> None:
    async def scene(world: World) -> None:
        assert world.keys.rely_on_public(USER, Record((KEY,)))
        assert await world.check_after(119) == []
        assert await world.check_after(1) == [USER.handle]
        assert await world.check_after(119) == []
        assert await world.check_after(1) == [USER.handle]
        assert world.lost == []

    play(scene)


@pytest.mark.parametrize(
    ("ttl_s", "due_s"), [(1, 60), (3_600, 300)], ids=["not too often", "not too late"]
)
def test_the_time_between_two_looks_has_bounds(ttl_s: int, due_s: int) -> None:
    async def scene(world: World) -> None:
        world.keys.rely_on_public(USER, Record((HandleValue(300, b"HS_PUBKEY", b"k", ttl=ttl_s),)))
        assert await world.check_after(due_s - 1) == []
        assert await world.check_after(1) == [USER.handle]

    play(scene)


@pytest.mark.parametrize(
    "now",
    [None, Record(()), Record((OTHER,)), Record((HandleValue(301, b"HS_PUBKEY", b"key"),))],
    ids=["no handle", "no values", "another key", "under another index"],
)
def test_who_has_lost_his_key_is_logged_out(now: Record | None) -> None:
    async def scene(world: World) -> None:
        world.keys.rely_on_public(USER, Record((KEY,)))
        world.records[USER.handle] = now
        await world.check_after(120)
        assert world.lost == [USER]
        assert len(world.keys) == 0
        assert await world.check_after(1_000) == []

    play(scene)


def test_a_key_with_other_times_and_permissions_is_the_same() -> None:
    async def scene(world: World) -> None:
        world.keys.rely_on_public(USER, Record((KEY,)))
        again = HandleValue(300, b"HS_PUBKEY", b"key", 0b1111, ttl=60, timestamp=77)
        world.records[USER.handle] = Record((again,))
        await world.check_after(120)
        assert world.lost == []
        assert await world.check_after(60) == [USER.handle], "as the new ttl says"

    play(scene)


def test_a_node_that_does_not_answer_ends_nothing_and_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene(world: World) -> None:
        world.keys.rely_on_public(USER, Record((KEY,)))
        world.keys.rely_on_secret(KEEPER, PROOF)
        world.records[USER.handle] = world.verdict = DOWN
        for _ in range(3):
            await world.check_after(300)
        assert world.lost == []
        told = [each.getMessage() for each in caplog.records]
        assert len(told) == 2
        (mine,) = (words for words in told if "the key 300:77/USER cannot be looked at" in words)
        assert "nobody answers" in mine
        world.records[USER.handle], world.verdict = Record((KEY,)), True
        await world.check_after(300)
        world.records[USER.handle] = DOWN
        await world.check_after(300)
        assert len(caplog.records) == 3, "it was there in between"
        world.records[USER.handle] = None
        await world.check_after(300)
        assert world.lost == [USER]

    play(scene)


def test_a_secret_key_is_shown_the_same_answer_again() -> None:
    async def scene(world: World) -> None:
        assert world.keys.rely_on_secret(KEEPER, PROOF)
        later = SecretProof(b"later", PROOF.digest, b"later")
        assert world.keys.rely_on_secret(KEEPER, later), "the first is kept"
        assert await world.check_after(300) == [KEEPER.handle]
        assert world.lost == []
        world.verdict = False
        assert await world.check_after(300) == [KEEPER.handle]
        assert world.lost == [KEEPER]

    play(scene)


def test_who_logs_in_with_a_new_key_ends_what_was_begun_with_the_old_one() -> None:
    async def scene(world: World) -> None:
        world.keys.rely_on_public(USER, Record((KEY,)))
        world.keys.rely_on_public(USER, Record((KEY,)))
        assert world.lost == []
        world.keys.rely_on_public(USER, Record((OTHER,)))
        assert world.lost == [USER]
        world.logged_in.append(USER)
        world.records[USER.handle] = Record((OTHER,))
        assert await world.check_after(120) == [USER.handle]
        assert world.lost == [USER]

    play(scene)


def test_what_nobody_rests_on_is_forgotten() -> None:
    async def scene(world: World) -> None:
        world.keys.rely_on_public(USER, Record((KEY,)))
        world.logged_in.remove(USER)
        assert await world.check_after(120) == []
        assert len(world.keys) == 0

    play(scene)


def test_how_many_are_watched_and_asked_for_at_once_has_bounds() -> None:
    async def scene(world: World) -> None:
        world.keys = world.make(keys_max=5)
        users = [Reference(b"77/USER.%d" % number, 300) for number in range(5)]
        world.logged_in = users[:4]
        for user in users:
            world.records[user.handle] = Record((KEY,))
            assert world.keys.rely_on_public(user, Record((KEY,)))
        assert world.keys.rely_on_public(USER, Record((KEY,))), "nobody rests on the last one"
        world.logged_in.append(USER)
        assert not world.keys.rely_on_public(users[4], Record((KEY,)))
        assert not world.keys.rely_on_secret(KEEPER, PROOF)
        assert world.keys.rely_on_public(USER, Record((KEY,))), "it is watched already"
        await world.check_after(120)
        assert (len(world.asked), world.most_under_way) == (5, 2)

    play(scene)


def test_who_logs_in_anew_while_his_old_key_is_looked_at_stays() -> None:
    async def scene(world: World) -> None:
        world.keys.rely_on_public(USER, Record((KEY,)))
        world.records[USER.handle] = None
        world.now_s += 120
        looking = asyncio.create_task(world.keys.check())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        world.keys.rely_on_public(USER, Record((OTHER,)))
        assert world.lost == [USER], "the session of before"
        await looking
        assert world.lost == [USER]
        assert len(world.keys) == 1

    play(scene)
