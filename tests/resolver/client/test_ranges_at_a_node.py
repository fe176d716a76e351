"""Ranges through the client at a running node, some of whose answers are lost."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import httpx
import pytest

from protocol.codes import Permission
from protocol.value import HandleValue
from resolver.client import AlreadyExistsError, KeyIdentity, read_site
from resolver.client.administration import AdministrationClient, BlockingAdministrationClient
from tests.nodes import ADDRESS, Node

Result = TypeVar("Result")

VALUES = (
    HandleValue(1, b"URL", b"https://example.org/{prefix}/{suffix}?n={number}&c={check}&{{x}}"),
    HandleValue(2, b"DESC", b"\xe6\xb3\xb5 {handle} {serial}", ttl=60),
    HandleValue(3, b"EMAIL", b"{serial}@example.org", permission=Permission.ADMIN_READ),
    HandleValue(4, b"X", b"\xff{\x00"),
)


class LosingTransport(httpx.AsyncBaseTransport):
    """Sends requests, and loses the answers of the first ones to a path."""

    def __init__(self, path: str, count: int) -> None:
        self._inner = httpx.AsyncHTTPTransport(verify=False)
        self._path = path
        self.left = count

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        if self.left and request.url.path == self._path and request.method == "POST":
            self.left -= 1
            await answer.aread()
            await answer.aclose()
            raise httpx.ReadTimeout("")
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


@pytest.fixture
def identity(top_node: Node) -> KeyIdentity:
    return KeyIdentity.load(top_node.admin, top_node.admin_key)


@pytest.fixture
def client(top_node: Node, identity: KeyIdentity) -> Iterator[BlockingAdministrationClient]:
    made = AdministrationClient.at(read_site(top_node.folder / "site.json"), identity)
    with BlockingAdministrationClient(made) as blocking:
        yield blocking


async def no_pause(seconds: float) -> None:
    pass


def work_losing(
    node: Node,
    identity: KeyIdentity,
    path: str,
    do: Callable[[AdministrationClient], Awaitable[Result]],
    count: int = 1,
) -> Result:
    """Do something while answers are lost."""
    transport = LosingTransport(path, count)

    async def main() -> Result:
        url = f"https://{ADDRESS}:{node.http_port}"
        async with AdministrationClient(
            url, identity, transport=transport, sleep=no_pause
        ) as losing:
            return await do(losing)

    result = asyncio.run(main())
    assert transport.left == 0
    return result


@pytest.mark.parametrize("check", ["", "gs1", "iso7064-mod37-36", "iso7064-mod97-10"])
def test_a_registration_whose_answer_is_lost_is_made_once(
    top_node: Node, identity: KeyIdentity, client: BlockingAdministrationClient, check: str
) -> None:
    stem = f"88/LOST.{check}2026"
    before = client.count("88")
    made = work_losing(
        top_node,
        identity,
        "/api/ranges",
        lambda it: it.register_range(stem, "001", "250", VALUES, check=check),
    )
    assert (str(made), made.check, made.identifiers) == (f"{stem}001..250", check, 250)
    assert made == client.find_range(made.last_identifier)
    after = client.count("88")
    assert (after.ranges - before.ranges, after.in_ranges - before.in_ranges) == (1, 250)
    again = client.register_range(stem, "001", "250", VALUES, check=check, again=True)
    assert again == made
    for others in (VALUES[:3], (*VALUES[:3], HandleValue(4, b"X", b"\xff{\x01"))):
        with pytest.raises(AlreadyExistsError):
            client.register_range(stem, "001", "250", others, check=check, again=True)


def test_shrinking_splitting_and_revoking_whose_answers_are_lost(
    top_node: Node, identity: KeyIdentity, client: BlockingAdministrationClient
) -> None:
    client.register_range("88/CUT.", "001", "250", VALUES[:1])
    shrunk = work_losing(
        top_node,
        identity,
        "/api/ranges/shrink",
        lambda it: it.shrink_range("88/CUT.100", "100", "200"),
    )
    assert (shrunk.first, shrunk.last) == ("100", "200")
    parts = work_losing(
        top_node, identity, "/api/ranges/split", lambda it: it.split_range("88/cut.150")
    )
    assert list(client.list_ranges("88", stem="88/CUT.")) == list(parts)
    assert [(each.first, each.last) for each in parts] == [("100", "149"), ("150", "200")]
    revoked = work_losing(
        top_node,
        identity,
        "/api/ranges/revoke",
        lambda it: it.revoke_range("88/CUT.160", "not made"),
    )
    assert (revoked.first, revoked.reason, revoked.revoked_by) == (
        "150",
        "not made",
        top_node.admin,
    )
    assert client.find_range("88/CUT.160") == revoked


def test_a_listing_of_many_pages(client: BlockingAdministrationClient) -> None:
    stems = [f"88/PAGE.{number:02}X" for number in range(11)]
    for stem in stems:
        client.register_range(stem, "1", "9", VALUES[:1])
    for size in (1, 3, 11, 1_000):
        found = client.list_ranges("88", stem="88/PAGE.", page_ranges=size)
        assert [each.stem for each in found] == stems


def test_the_history_of_a_range_and_of_its_identifiers(
    client: BlockingAdministrationClient,
) -> None:
    client.register_range("88/PAST.", "001", "900", VALUES[:1])
    client.split_range("88/PAST.501")
    client.shrink_range("88/PAST.001", "001", "400")
    client.revoke_range("88/PAST.001", "recalled")
    for page_events in (1, 3, 100):
        told = list(client.range_history("88/PAST.007", page_events=page_events))
        assert [(each.operation, each.range, each.identifiers) for each in told] == [
            ("register", "88/PAST.001..900", 900),
            ("split", "88/PAST.001..500", 500),
            ("shrink", "88/PAST.001..400", 400),
            ("revoke", "88/PAST.001..400", 400),
        ]
    assert told[1].ranges == ["88/PAST.001..500", "88/PAST.501..900"]
    assert told[3].reason == "recalled"
    assert list(client.range_history("88/PAST.007", after=told[2].sequence)) == told[3:]
    assert list(client.range_history("88/ELSEWHERE.007")) == []
    events = list(client.history("88/PAST.450"))
    assert [(each.operation, each.range) for each in events] == [
        ("create", "88/PAST.001..900"),
        ("split", "88/PAST.001..500"),
        ("cut", "88/PAST.001..400"),
    ]
    past = client.as_of("88/PAST.450", events[1].sequence)
    assert (past.state, past.range) == ("active", "88/PAST.001..500")
    assert client.as_of("88/PAST.450", events[2].time).state == "deleted"
    assert client.as_of("88/PAST.007", told[3].time).reason == "recalled"
