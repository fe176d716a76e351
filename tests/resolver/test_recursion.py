from collections.abc import Iterable

import pytest

from protocol.codes import ResponseCode
from protocol.value import HandleValue
from resolver.recursion import Ask, Done, Failure, Reply, Walk, asked_at_root, sites_in
from tests.resolver.network import make_site, site_value

ROOT = make_site("10.0.0.1")
SECONDARY = make_site("10.0.0.2")
ENTERPRISE = make_site("10.0.0.3")
FOUND = Reply(ResponseCode.SUCCESS, (HandleValue(1, b"URL", b"x"),))


def lookup_of(*values: HandleValue) -> Reply:
    return Reply(ResponseCode.SUCCESS, values, authoritative=True)


def referral_to(*values: HandleValue, code: int = ResponseCode.PREFIX_REFERRAL) -> Reply:
    return Reply(code, values)


def ask(walk: Walk) -> Ask:
    step = walk.next()
    assert isinstance(step, Ask)
    return step


def answer(walk: Walk, replies: Iterable[Reply]) -> list[Ask]:
    asked = []
    for reply in replies:
        asked.append(ask(walk))
        walk.receive(reply)
    return asked


def end(walk: Walk) -> Done:
    step = walk.next()
    assert isinstance(step, Done), step
    return step


def test_handle_of_a_prefix_is_asked_at_the_root() -> None:
    walk = Walk(b"0.NA/88.118", (ROOT,))
    assert answer(walk, [FOUND]) == [Ask(b"0.NA/88.118", (ROOT,), is_lookup=False)]
    assert end(walk).reply == FOUND
    assert end(walk).sites == (ROOT,)


@pytest.mark.parametrize(
    ("handle", "at_root"),
    [(b"0.NA/x", True), (b"0.TYPE/x", True), (b"0/x", True), (b"x", True), (b"88.1/0.NA/x", False)],
)
def test_what_is_asked_at_the_root(handle: bytes, at_root: bool) -> None:
    assert asked_at_root(handle) is at_root


def test_prefix_is_looked_up_first() -> None:
    walk = Walk(b"88.118/a", (ROOT,))
    asked = answer(walk, [lookup_of(site_value(SECONDARY)), FOUND])
    assert asked[0] == Ask(b"0.NA/88.118", (ROOT,), is_lookup=True)
    assert asked[1] == Ask(b"88.118/a", (SECONDARY,), is_lookup=False)
    assert end(walk).response_code == ResponseCode.SUCCESS


def test_asking_for_the_step_twice_changes_nothing() -> None:
    walk = Walk(b"88.118/a", (ROOT,))
    assert walk.next() is walk.next()


def test_ipv6_sites_are_sites() -> None:
    six = make_site("2001:db8::1")
    walk = Walk(b"88.118/a", (ROOT,))
    values = (site_value(SECONDARY), site_value(six, 2, b"HS_SITE.6"))
    asked = answer(walk, [lookup_of(*values), FOUND])
    assert asked[1].sites == (SECONDARY, six)


def test_sites_for_derived_prefixes_do_not_serve_the_prefix_itself() -> None:
    walk = Walk(b"88.118/a", (ROOT,))
    answer(walk, [lookup_of(site_value(SECONDARY, 1, b"HS_SITE.PREFIX"))])
    assert end(walk).failure is Failure.NO_SERVICE
    assert end(walk).response_code == ResponseCode.SERVER_NOT_RESPONSIBLE


def test_prefix_referral_is_followed_during_a_lookup() -> None:
    walk = Walk(b"88.118.5/a", (ROOT,))
    replies = [
        referral_to(site_value(SECONDARY, 1, b"HS_SITE.PREFIX")),
        lookup_of(site_value(ENTERPRISE)),
        FOUND,
    ]
    asked = answer(walk, replies)
    assert [step.sites for step in asked] == [(ROOT,), (SECONDARY,), (ENTERPRISE,)]
    assert [step.is_lookup for step in asked] == [True, True, False]


def test_service_referral_may_name_a_handle() -> None:
    walk = Walk(b"88.118/a", (ROOT,))
    replies = [
        lookup_of(site_value(SECONDARY)),
        Reply(ResponseCode.SERVICE_REFERRAL, (), b"0.SERV/moved"),
        lookup_of(site_value(ENTERPRISE)),
        FOUND,
    ]
    asked = answer(walk, replies)
    assert asked[2] == Ask(b"0.SERV/moved", (ROOT,), is_lookup=True)
    assert asked[3].sites == (ENTERPRISE,)


def test_referral_is_the_answer_when_not_followed() -> None:
    walk = Walk(b"0.NA/88.118.5", (ROOT,), refer=False)
    referral = referral_to(site_value(SECONDARY, 1, b"HS_SITE.PREFIX"))
    answer(walk, [referral])
    assert end(walk).reply == referral


def test_referral_without_sites_is_a_failure() -> None:
    walk = Walk(b"0.NA/88.118.5", (ROOT,))
    answer(walk, [referral_to()])
    assert end(walk).failure is Failure.EMPTY_REFERRAL
    assert end(walk).response_code == ResponseCode.ERROR


def test_referrals_in_a_circle_end() -> None:
    walk = Walk(b"0.NA/88.118.5", (ROOT,))
    to_secondary = referral_to(site_value(SECONDARY, 1, b"HS_SITE.PREFIX"))
    to_root = referral_to(site_value(ROOT, 1, b"HS_SITE.PREFIX"))
    answer(walk, [to_secondary, to_root])
    assert end(walk).failure is Failure.LOOP


def test_endless_referrals_end_at_the_hop_limit() -> None:
    walk = Walk(b"0.NA/88.118.5", (ROOT,), hops_max=5)
    answer(
        walk,
        [
            referral_to(site_value(make_site(f"10.1.0.{number}"), 1, b"HS_SITE.PREFIX"))
            for number in range(1, 6)
        ],
    )
    assert end(walk).failure is Failure.TOO_FAR
    assert "5 steps" in end(walk).words


def test_service_handle_is_looked_up_for_its_sites() -> None:
    walk = Walk(b"88.118/a", (ROOT,))
    replies = [
        lookup_of(HandleValue(1, b"HS_SERV", b"0.SERV/88")),
        lookup_of(site_value(SECONDARY)),
        FOUND,
    ]
    asked = answer(walk, replies)
    assert asked[1] == Ask(b"0.SERV/88", (ROOT,), is_lookup=True)
    assert asked[2].sites == (SECONDARY,)


def test_service_under_a_prefix_of_its_own() -> None:
    walk = Walk(b"88.118/a", (ROOT,))
    replies = [
        lookup_of(HandleValue(1, b"HS_SERV", b"88.9/service")),
        lookup_of(site_value(SECONDARY)),
        lookup_of(site_value(ENTERPRISE)),
        FOUND,
    ]
    asked = answer(walk, replies)
    assert [step.handle for step in asked] == [
        b"0.NA/88.118",
        b"0.NA/88.9",
        b"88.9/service",
        b"88.118/a",
    ]
    assert asked[2].sites == (SECONDARY,)
    assert asked[3].sites == (ENTERPRISE,)


def test_service_that_names_the_root_is_the_root() -> None:
    walk = Walk(b"88.118/a", (ROOT,))
    asked = answer(walk, [lookup_of(HandleValue(1, b"HS_SERV", b"0.NA/0.NA")), FOUND])
    assert asked[1].sites == (ROOT,)


def test_services_that_name_each_other_end() -> None:
    walk = Walk(b"88.118/a", (ROOT,))
    replies = [
        lookup_of(HandleValue(1, b"HS_SERV", b"0.SERV/a")),
        lookup_of(HandleValue(1, b"HS_SERV", b"0.SERV/b")),
        lookup_of(HandleValue(1, b"HS_SERV", b"0.serv/A")),
    ]
    answer(walk, replies)
    assert end(walk).failure is Failure.NO_SERVICE


def test_services_are_followed_to_a_depth() -> None:
    walk = Walk(b"88.118/a", (ROOT,), depth_max=2)
    replies = [
        lookup_of(HandleValue(1, b"HS_SERV", b"0.SERV/%d" % number)) for number in range(1, 4)
    ]
    asked = answer(walk, replies)
    assert [step.handle for step in asked] == [b"0.NA/88.118", b"0.SERV/1", b"0.SERV/2"]
    assert end(walk).failure is Failure.NO_SERVICE


def test_prefix_unknown_to_a_primary_is_not_asked_again() -> None:
    walk = Walk(b"88.119/a", (ROOT,))
    answer(walk, [Reply(ResponseCode.HANDLE_NOT_FOUND, authoritative=True)])
    assert end(walk).failure is Failure.PREFIX_UNKNOWN
    assert end(walk).response_code == ResponseCode.HANDLE_NOT_FOUND
    assert "0.NA/88.119" in end(walk).words


def test_prefix_unknown_to_a_mirror_is_asked_at_a_primary() -> None:
    walk = Walk(b"88.119/a", (ROOT,))
    replies = [Reply(ResponseCode.HANDLE_NOT_FOUND), lookup_of(site_value(SECONDARY)), FOUND]
    asked = answer(walk, replies)
    assert [step.authoritative for step in asked] == [False, True, False]
    assert end(walk).reply == FOUND


def test_a_suspended_prefix_ends_the_walk_with_the_words_of_its_parent() -> None:
    words = "88.118 is suspended since 2026-11-21T10:00:00Z: unpaid"
    walk = Walk(b"88.118/a", (ROOT,))
    answer(walk, [Reply(ResponseCode.INSUFFICIENT_PERMISSIONS, problem=words, authoritative=True)])
    assert end(walk).failure is Failure.REFUSED
    assert end(walk).response_code == ResponseCode.INSUFFICIENT_PERMISSIONS
    assert end(walk).words == words


def test_lookup_nobody_answers_ends_the_walk() -> None:
    walk = Walk(b"88.118/a", (ROOT,))
    answer(walk, [Reply(None, problem="10.0.0.1 is silent")])
    assert end(walk).failure is Failure.NO_ANSWER
    assert end(walk).words == "10.0.0.1 is silent"


def test_question_nobody_answers_ends_the_walk() -> None:
    walk = Walk(b"0.NA/x", (ROOT,))
    answer(walk, [Reply(None, problem="silent")])
    assert end(walk).reply == Reply(None, problem="silent")
    assert end(walk).response_code == ResponseCode.ERROR


def test_start_replaces_the_lookup() -> None:
    walk = Walk(b"88.118/a", (ROOT,), start=(ENTERPRISE,))
    assert answer(walk, [FOUND]) == [Ask(b"88.118/a", (ENTERPRISE,), is_lookup=False)]


def test_sites_that_do_not_decode_are_left_out() -> None:
    broken = HandleValue(1, b"HS_SITE", b"\0\1garbage")
    huge = HandleValue(2, b"HS_SITE", bytes(5_000))
    assert sites_in([broken, huge, site_value(ROOT, 3)]) == (ROOT,)


def test_receiving_after_the_end_is_our_mistake() -> None:
    walk = Walk(b"0.NA/x", (ROOT,))
    answer(walk, [FOUND])
    with pytest.raises(AssertionError):
        walk.receive(FOUND)
