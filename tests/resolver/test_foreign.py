"""Records of other nodes: certified, remembered, and replaced by a copy when a node is down."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from protocol.bodies import ErrorAnswer, VerificationAnswer, VerifyChallengeRequest
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.digests import SHA256, RequestDigest
from protocol.message import Message
from protocol.value import HandleValue, Reference
from registry.outcomes import OldRecord, Unavailable
from registry.schema import Record
from registry.views import ForeignRecord
from resolver.foreign import (
    KEPT_AGAIN_S,
    KEPT_MAX_S,
    REFRESH_AFTER_S,
    ForeignRecords,
    ForeignSettings,
)
from resolver.upstream import Upstream
from resolver.upstream_settings import UpstreamSettings
from tests.resolver.network import body_of, make_reply, make_tiers, server_key

USER = b"88.118.5/ADMIN"
KEY = HandleValue(300, b"HS_PUBKEY", b"key", ttl=600)
DIGEST = RequestDigest(SHA256, bytes(32))


class World:
    def __init__(self, *, timeout_s: float = 5.0) -> None:
        self.tiers = make_tiers(certified=True)
        self.tiers.enterprise.records[USER] = (KEY,)
        self.now_s = 1_800_000_000.0
        self.kept: dict[bytes, ForeignRecord] = {}
        self.writes = 0
        self.records = ForeignRecords(
            Upstream(UpstreamSettings(head_start_s=1.0), mover=self.tiers.network.move),
            [self.tiers.root],
            ForeignSettings(timeout_s=timeout_s, ttl_s=300, entries_max=3, fetches_max=2),
            find_kept=self.kept.get,
            keep=self.keep,
            now_s=lambda: self.now_s,
        )

    def keep(self, handle: bytes, values: Sequence[HandleValue], now_s: int) -> None:
        self.writes += 1
        self.kept[handle] = ForeignRecord(Record(tuple(values)), now_s)

    async def fetch(self, handle: bytes = USER) -> Record | Unavailable | None:
        return (await self.records.fetch([handle]))[handle]

    def forget_asked(self) -> None:
        for node in self.tiers.all:
            node.asked.clear()

    @property
    def questions(self) -> int:
        return sum(len(node.asked) for node in self.tiers.all)

    def kill_all(self) -> None:
        for node in self.tiers.all:
            node.is_dead = True


def play(use: Callable[[World], Awaitable[None]], *, timeout_s: float = 5.0) -> None:
    async def main() -> None:
        await use(World(timeout_s=timeout_s))

    asyncio.run(main())


def test_record_is_fetched_with_every_step_certified() -> None:
    async def use(world: World) -> None:
        assert await world.fetch() == Record((KEY,))
        for node in world.tiers.all:
            assert node.asked
            assert all(message.header.has(MessageFlag.CERTIFY) for message in node.asked)

    play(use)


def test_what_is_remembered_is_recalled_as_long_as_it_counts() -> None:
    async def use(world: World) -> None:
        assert world.records.recall([USER]) is None
        known = await world.fetch()
        world.forget_asked()
        recalled = world.records.recall([USER])
        assert recalled is not None
        assert recalled[USER] is known
        assert world.records.recall([USER, b"88.118.5/OTHER"]) is None
        world.now_s += 301
        assert world.records.recall([USER]) is None
        assert world.questions == 0
        world.kill_all()
        assert isinstance(await world.fetch(), Unavailable)
        assert world.records.recall([USER]) is None

    play(use)


def test_forged_step_makes_the_record_unavailable() -> None:
    async def use(world: World) -> None:
        world.tiers.secondary.key = server_key(9)
        known = await world.fetch()
        assert isinstance(known, Unavailable)
        assert "88.118.5/ADMIN could not be fetched" in known.reason

    play(use)


def test_record_is_kept_in_memory_for_its_ttl() -> None:
    async def use(world: World) -> None:
        await world.fetch()
        world.forget_asked()
        world.now_s += 299
        assert await world.fetch() == Record((KEY,))
        assert world.questions == 0
        world.now_s += 1
        await world.fetch()
        assert world.questions > 0

    play(use)


def test_handle_that_does_not_exist() -> None:
    async def use(world: World) -> None:
        assert await world.fetch(b"88.118.5/NOBODY") is None
        assert await world.fetch(b"99.9/NOBODY") is None

    play(use)


def test_several_are_fetched_at_once_and_equal_ones_once() -> None:
    async def use(world: World) -> None:
        both = await asyncio.gather(world.fetch(), world.fetch())
        assert list(both) == [Record((KEY,)), Record((KEY,))]
        assert world.tiers.enterprise.handles_asked() == [USER]

    play(use)


def test_fetches_at_once_are_bounded() -> None:
    async def use(world: World) -> None:
        handles = [b"88.118.5/%d" % number for number in range(3)]
        known = await world.records.fetch(handles)
        assert [type(each) for each in known.values()] == [type(None), type(None), Unavailable]

    play(use)


def test_copy_of_the_last_login_serves_while_the_node_is_down() -> None:
    async def use(world: World) -> None:
        world.records.proven(
            Reference(USER, 300), {USER: await world.fetch(), b"X/Y": None}, world.now_s
        )
        assert set(world.kept) == {USER}
        world.now_s += 10 * 86_400
        world.kill_all()
        copy = await world.fetch()
        assert isinstance(copy, OldRecord)  # of before: nobody is refused for ever by it
        assert copy.values == (KEY,)
        assert "no answer" in copy.reason
        world.forget_asked()
        assert await world.fetch() == copy
        assert world.questions == 0  # the failure is remembered for some seconds

    play(use)


def test_copy_that_is_too_old_does_not_serve() -> None:
    async def use(world: World) -> None:
        world.kept[USER] = ForeignRecord(Record((KEY,)), int(world.now_s) - KEPT_MAX_S - 1)
        world.kill_all()
        known = await world.fetch()
        assert isinstance(known, Unavailable)
        assert "30 days old" in known.reason

    play(use)


def test_node_that_answers_is_believed_over_a_copy() -> None:
    async def use(world: World) -> None:
        world.kept[USER] = ForeignRecord(Record((KEY,)), int(world.now_s))
        del world.tiers.enterprise.records[USER]
        assert await world.fetch() is None

    play(use)


def test_copy_is_not_written_at_every_login() -> None:
    async def use(world: World) -> None:
        user = Reference(USER, 300)
        for _ in range(3):
            world.records.proven(user, {USER: await world.fetch()}, world.now_s)
        assert world.writes == 1
        world.now_s += KEPT_AGAIN_S
        world.records.proven(user, {USER: await world.fetch()}, world.now_s)
        assert world.writes == 2

    play(use)


def test_copy_does_not_grow_younger_by_being_used() -> None:
    async def use(world: World) -> None:
        before = ForeignRecord(Record((KEY,)), int(world.now_s) - 2 * KEPT_AGAIN_S)
        world.kept[USER] = before
        world.kill_all()
        world.records.proven(Reference(USER, 300), {USER: await world.fetch()}, world.now_s)
        assert world.kept[USER] == before

    play(use)


def test_silent_node_is_given_up_in_time() -> None:
    async def use(world: World) -> None:
        world.tiers.top.gate = asyncio.Event()
        known = await world.fetch()
        assert isinstance(known, Unavailable)
        assert "within 0.05 s" in known.reason

    play(use, timeout_s=0.05)


def test_memory_is_bounded() -> None:
    async def use(world: World) -> None:
        for number in range(4):
            await world.fetch(b"88.118.5/%d" % number)
        world.forget_asked()
        await world.fetch(b"88.118.5/3")
        assert world.questions == 0
        await world.fetch(b"88.118.5/0")
        assert world.questions > 0

    play(use)


def test_without_a_root_everything_is_unavailable() -> None:
    async def main() -> None:
        records = ForeignRecords(
            Upstream(), [], find_kept=lambda handle: None, keep=lambda *_: None
        )
        known = (await records.fetch([USER]))[USER]
        assert isinstance(known, Unavailable)
        assert "bootstrap.json" in known.reason

    asyncio.run(main())


@pytest.mark.parametrize(("result", "holds"), [(1, True), (0, False), (2, False)])
def test_secret_is_verified_by_the_node_that_holds_it(result: int, holds: bool) -> None:
    asked: list[VerifyChallengeRequest] = []

    def answer(request: Message) -> list[Message] | None:
        if request.header.opcode != OpCode.VERIFY_CHALLENGE:
            return None
        body = body_of(request)
        assert isinstance(body, VerifyChallengeRequest)
        asked.append(body)
        return [make_reply(request, ResponseCode.SUCCESS, VerificationAnswer(result))]

    async def use(world: World) -> None:
        world.tiers.enterprise.answerer = answer
        user = Reference(USER, 301)
        assert await world.records.verify_secret(user, b"nonce", DIGEST, b"mac") is holds
        assert (asked[0].handle, asked[0].index, asked[0].nonce) == (USER, 301, b"nonce")
        assert asked[0].digest.digest == DIGEST.digest

    play(use)


@pytest.mark.parametrize(
    ("code", "is_known"),
    [
        (ResponseCode.HANDLE_NOT_FOUND, True),
        (ResponseCode.AUTHENTICATION_FAILED, True),
        (ResponseCode.SERVER_TOO_BUSY, False),
        (ResponseCode.OPERATION_NOT_SUPPORTED, False),
    ],
)
def test_refusal_to_verify_is_a_verdict_only_when_it_says_so(
    code: ResponseCode, is_known: bool
) -> None:
    async def use(world: World) -> None:
        world.tiers.enterprise.answerer = lambda request: (
            [make_reply(request, code, ErrorAnswer())]
            if request.header.opcode == OpCode.VERIFY_CHALLENGE
            else None
        )
        verdict = await world.records.verify_secret(Reference(USER, 1), b"n", DIGEST, b"a")
        assert (verdict is False) is is_known
        assert isinstance(verdict, Unavailable) is not is_known

    play(use)


def test_secret_nobody_can_verify_is_unavailable() -> None:
    async def use(world: World) -> None:
        world.tiers.enterprise.is_dead = True
        verdict = await world.records.verify_secret(Reference(USER, 1), b"n", DIGEST, b"a")
        assert isinstance(verdict, Unavailable)

    play(use)


def test_refused_key_is_looked_for_again_but_not_at_once() -> None:
    async def use(world: World) -> None:
        await world.fetch()
        new = HandleValue(301, b"HS_PUBKEY", b"new key", ttl=600)
        world.tiers.enterprise.records[USER] = (KEY, new)
        assert await world.records.refresh([USER]) == {}
        world.now_s += REFRESH_AFTER_S
        assert await world.records.refresh([USER]) == {USER: Record((KEY, new))}
        assert await world.fetch() == Record((KEY, new))
        world.tiers.enterprise.records[USER] = (KEY,)
        assert await world.records.refresh([USER], at_once=True) == {USER: Record((KEY,))}

    play(use)


def test_refreshing_leaves_what_was_known_when_the_node_is_down() -> None:
    async def use(world: World) -> None:
        await world.fetch()
        world.kill_all()
        world.now_s += REFRESH_AFTER_S
        assert await world.records.refresh([USER]) == {}

    play(use)


def test_who_looks_again_is_told_what_the_other_node_has_and_never_the_copy() -> None:
    async def use(world: World) -> None:
        world.kept[USER] = ForeignRecord(Record((KEY,)), int(world.now_s))
        assert await world.records.look_again(USER) == Record((KEY,))
        world.forget_asked()
        changed = HandleValue(300, b"HS_PUBKEY", b"another", ttl=600)
        world.tiers.enterprise.records[USER] = (changed,)
        world.now_s += 299
        assert await world.records.look_again(USER) == Record((KEY,))
        assert world.questions == 0
        world.now_s += 1
        assert await world.records.look_again(USER) == Record((changed,))
        world.now_s += 300
        world.kill_all()
        assert isinstance(await world.records.look_again(USER), Unavailable)
        copy = await world.fetch()
        assert isinstance(copy, OldRecord), "a log-in may rest on the copy"
        assert copy.values == (KEY,)

    play(use)
