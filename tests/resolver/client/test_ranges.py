"""Ranges and administration: what is asked, what is made of answers, what is tried again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from protocol.value import HandleValue, Reference
from resolver.client import (
    AlreadyExistsError,
    HandleError,
    HandleNotFoundError,
    SecretIdentity,
    ServiceUnavailableError,
    UnreachableError,
    calls,
)
from resolver.client.administration import AdministrationClient, BlockingAdministrationClient
from resolver.client.range_forms import AskedRange, identifier_of
from resolver.client.ranges import Range, RangeCounts
from tests.resolver.client.fake_office import COUNTS, FakeOffice

IDENTITY = SecretIdentity(Reference(b"0.NA/88", 300), b"hush")
URL = HandleValue(1, b"URL", b"https://example.org/{prefix}/{serial}")
STEM = "88/标 L/7."

Result = TypeVar("Result")


def work(
    node: FakeOffice, do: Callable[[AdministrationClient], Awaitable[Result]]
) -> tuple[Result, list[float]]:
    """Do something with a client; also return how long it has waited between tries."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def main() -> Result:
        url = "https://node.example:8000"
        async with AdministrationClient(url, IDENTITY, transport=node, sleep=sleep) as client:
            return await do(client)

    return asyncio.run(main()), pauses


def register(node: FakeOffice, last: str = "250", **more: Any) -> tuple[Range, list[float]]:
    return work(node, lambda it: it.register_range(STEM, "001", last, [URL], **more))


def test_a_range_is_registered_and_told() -> None:
    node = FakeOffice()
    made, pauses = register(node)
    assert (str(made), made.identifiers, made.state, made.is_revoked) == (
        "88/标 L/7.001..250",
        250,
        "active",
        False,
    )
    assert (made.first_identifier, made.last_identifier) == (STEM + "001", STEM + "250")
    assert (made.check, made.reason, made.by) == ("", "", "300:0.NA/88")
    assert made.values[0].data == b"https://example.org/88/{serial}"
    assert (node.asked, pauses, node.log_ins) == (["POST /api/ranges"], [], 1)
    assert node.ranges[0].keys() & {"check", "existing"} == set()


def test_options_are_sent() -> None:
    node = FakeOffice()
    register(node, check="gs1", existing="keep")
    assert (node.ranges[0]["check"], node.ranges[0]["existing"]) == ("gs1", "keep")


@pytest.mark.parametrize("fault", ["refuse", "lose", "busy"])
def test_a_registration_that_was_not_answered_is_looked_for_and_made_once(fault: str) -> None:
    node = FakeOffice(fault)
    made, pauses = register(node)
    assert (str(made), len(node.ranges), len(pauses)) == (f"{STEM}001..250", 1, 1)
    again = [] if fault == "lose" else ["POST /api/ranges"]
    path = "/api/ranges/of/88%2F%E6%A0%87%20L%2F7.001"
    assert node.asked == ["POST /api/ranges", f"GET {path}", *again]


def test_every_request_may_be_lost_in_turn() -> None:
    node = FakeOffice("refuse", "lose", "busy", "lose", "lose")
    made, _ = register(node)
    assert (str(made), len(node.ranges)) == (f"{STEM}001..250", 1)


def test_a_registration_that_arrives_late_is_no_conflict() -> None:
    """The first request is made while the second is on its way: it looked as if it was lost."""
    node = FakeOffice("refuse")
    original = node.make
    first = True

    def late(document: dict[str, Any]) -> Any:
        nonlocal first
        if first:
            first = False
            original(document)
        return original(document)

    node.make = late  # type: ignore[method-assign]
    made, _ = register(node)
    assert (str(made), len(node.ranges)) == (f"{STEM}001..250", 1)


def test_another_range_in_the_way_is_named_also_after_a_break() -> None:
    node = FakeOffice()
    register(node)
    for faults in ([], ["refuse"], ["lose"]):
        node.faults = faults
        with pytest.raises(AlreadyExistsError, match=r"001\.\.250 is in the way") as caught:
            register(node, last="300")
        assert "existing='keep'" in caught.value.hint
    assert len(node.ranges) == 1


def test_the_same_range_again_is_a_conflict_but_to_who_says_so() -> None:
    node = FakeOffice()
    made, _ = register(node)
    with pytest.raises(AlreadyExistsError):
        register(node)
    assert register(node, again=True)[0] == made
    with pytest.raises(AlreadyExistsError):
        register(node, last="251", again=True)
    node.ranges[0]["state"] = "revoked"
    with pytest.raises(AlreadyExistsError):
        register(node, again=True)


def test_it_gives_up_after_so_many_tries() -> None:
    node = FakeOffice(*["refuse", ""] * 20)
    with pytest.raises(UnreachableError, match="connection refused"):
        register(node)
    assert node.asked.count("POST /api/ranges") == calls.TRIES_MAX


def test_reads_are_tried_again() -> None:
    node = FakeOffice()
    register(node)
    node.faults = ["refuse", "busy", "lose", ""]
    found, pauses = work(node, lambda it: it.find_range(STEM + "007"))
    assert str(found) == f"{STEM}001..250"
    assert 0.3 < pauses[0] < 0.7 < pauses[1] < 1.4 < pauses[2] < 2.7
    node.faults = ["busy"] * calls.TRIES_MAX
    with pytest.raises(ServiceUnavailableError, match="busy"):
        work(node, lambda it: it.count("88"))
    assert node.faults == []


def test_a_change_that_nobody_can_look_for_is_sent_once() -> None:
    node = FakeOffice("refuse")
    with pytest.raises(UnreachableError) as caught:
        work(node, lambda it: it._change(dict, "/api/ranges/split", {}))
    assert "look whether it was made" in caught.value.hint
    assert node.asked == ["POST /api/ranges/split"]


def test_what_no_range_holds() -> None:
    assert work(FakeOffice(), lambda it: it.find_range("88/none"))[0] is None
    with pytest.raises(HandleNotFoundError, match="no range holds it"):
        work(FakeOffice(), lambda it: it.split_range("88/none"))


@pytest.mark.parametrize("fault", ["", "lose", "refuse"])
def test_shrinking_and_revoking_may_be_tried_again(fault: str) -> None:
    node = FakeOffice()
    register(node)
    node.faults = [fault]
    shrunk, pauses = work(node, lambda it: it.shrink_range(STEM + "007", "005", "010"))
    assert (str(shrunk), len(pauses)) == (f"{STEM}005..010", bool(fault))
    node.faults = [fault]
    revoked, _ = work(node, lambda it: it.revoke_range(STEM + "007", "never produced"))
    assert (revoked.is_revoked, revoked.reason) == (True, "never produced")
    assert len(node.asked) == {"": 3, "lose": 5, "refuse": 7}[fault]


@pytest.mark.parametrize("fault", ["", "lose", "refuse"])
def test_splitting_may_be_tried_again(fault: str) -> None:
    node = FakeOffice()
    register(node)
    node.faults = [fault]
    parts, _ = work(node, lambda it: it.split_range((STEM + "101").encode()))
    assert [str(each) for each in parts] == [f"{STEM}001..100", f"{STEM}101..250"]


def test_counting_is_exact() -> None:
    counts, _ = work(FakeOffice(), lambda it: it.count("88"))
    assert counts == RangeCounts(3, 2, COUNTS["identifiers"], COUNTS["inRanges"], 1, 1)


def test_all_pages_of_a_listing_come_and_a_lost_one_is_fetched_again() -> None:
    node = FakeOffice()
    for number in range(7):
        document = {"stem": f"88/{number % 2}.{number}.", "first": "1", "last": "9", "values": []}
        node.make(document)

    async def collect(client: AdministrationClient, stem: str = "") -> list[str]:
        return [each.stem async for each in client.list_ranges("88", stem=stem, page_ranges=3)]

    node.faults, node.asked = ["", "refuse"], []
    assert work(node, collect)[0] == [each["stem"] for each in node.ranges]
    assert len(node.asked) == 4
    assert len(work(node, lambda it: collect(it, "88/1."))[0]) == 3


def test_an_answer_of_another_kind_is_told_as_such() -> None:
    with pytest.raises(HandleError, match="answered what this client cannot read"):
        work(FakeOffice("garbage"), lambda it: it.count("88"))


def test_programs_without_asyncio() -> None:
    node = FakeOffice()
    client = AdministrationClient("https://node.example:8000", IDENTITY, transport=node)
    with BlockingAdministrationClient(client) as blocking:
        made = blocking.register_range(STEM, "001", "250", [URL])
        assert blocking.register_range(STEM, "001", "250", [URL], again=True) == made
        assert blocking.find_range(STEM + "009") == made
        assert list(blocking.list_ranges("88")) == [made]
        assert blocking.count("88").rows == 3
        assert blocking.shrink_range(STEM + "009", "001", "100").last == "100"
        assert [part.last for part in blocking.split_range(STEM + "051")] == ["050", "100"]
        assert blocking.revoke_range(STEM + "009", "lost").is_revoked
    assert node.log_ins == 1


def test_check_characters_are_part_of_an_identifier() -> None:
    assert identifier_of("88/", "629104150021", "gs1") == "88/6291041500213"
    assert identifier_of("88/", "0794", "iso7064-mod11-10") == "88/07945"
    assert identifier_of("88/", "1", "of another version") == "88/1"


@pytest.mark.parametrize(
    ("given", "told", "check", "same"),
    [
        ("{handle}", "88/L.{serial}", "", True),
        ("id={suffix}&x", "id=L.{serial}{check}&x", "gs1", True),
        ("{prefix}/{suffix}", "{handle}", "gs1", True),
        ("{serial}", "{serial}{check}", "gs1", False),
        ("{{{number}}}", "{{{number}}}", "", True),
        ("{{serial}}", "{serial}", "", False),
        ("{serial}{check}", "{serial}", "", True),
        ("a", "b", "", False),
        ("lone {", "lone {", "", True),
    ],
)
def test_templates_are_compared_by_what_they_say(
    given: str, told: str, check: str, same: bool
) -> None:
    values = (HandleValue(1, b"URL", given.encode()), HandleValue(2, b"X", b"\xff{"))
    asked = AskedRange("88/L.", "01", "09", check, values)
    found = (
        HandleValue(2, b"X", b"\xff{", timestamp=5),
        HandleValue(1, b"URL", told.encode(), timestamp=5),
    )
    there = Range("88/L.", "01", "09", check, 9, "active", "", "", found)
    assert asked.is_it(there) is same
