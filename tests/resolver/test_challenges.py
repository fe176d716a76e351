from itertools import pairwise

from protocol.bodies import HandleRequest
from protocol.codes import OpCode
from protocol.digests import digest_request
from protocol.versions import BEST
from resolver.bounded_table import BoundedTable, Bounds
from resolver.challenges import Challenge, Challenges, new_nonce, new_number
from tests.resolver.office import request

ADDRESS = "192.0.2.1"


def make_challenges(octets: int = 1_000) -> Challenges:
    return Challenges(BoundedTable(Bounds(4, 2, octets, octets)), timeout_s=60.0)


def make_challenge(handle: bytes = b"88/X") -> Challenge:
    asked = request(OpCode.DELETE_HANDLE, HandleRequest(handle))
    return Challenge(asked, new_nonce(), digest_request(asked.covered, BEST))


def test_a_challenge_is_taken_once() -> None:
    challenges, challenge = make_challenges(), make_challenge()
    assert challenges.add(5, challenge, ADDRESS, 0.0)
    assert 5 in challenges
    assert challenges.take(5, 59.9) is challenge
    assert challenges.take(5, 59.9) is None


def test_an_answer_may_come_too_late() -> None:
    challenges = make_challenges()
    challenges.add(5, make_challenge(), ADDRESS, 0.0)
    assert challenges.take(5, 60.0) is None


def test_a_session_has_one_challenge_its_last() -> None:
    challenges = make_challenges()
    first, last = make_challenge(b"88/1"), make_challenge(b"88/2")
    assert challenges.add(5, first, ADDRESS, 0.0)
    assert challenges.add(5, last, ADDRESS, 0.0)
    assert len(challenges) == 1
    assert challenges.take(5, 0.0) is last


def test_the_request_counts_with_its_octets() -> None:
    challenges = make_challenges(octets=60)
    assert not challenges.add(5, make_challenge(bytes(57)), ADDRESS, 0.0)
    assert challenges.add(5, make_challenge(bytes(56)), ADDRESS, 0.0)


def test_what_nobody_answers_is_forgotten() -> None:
    challenges = make_challenges()
    challenges.add(5, make_challenge(), ADDRESS, 0.0)
    challenges.add(6, make_challenge(), ADDRESS, 30.0)
    assert challenges.purge(60.0) == 1
    assert len(challenges) == 1


def test_there_is_room_as_soon_as_the_time_for_answers_is_over() -> None:
    challenges = make_challenges()
    assert challenges.add(5, make_challenge(), ADDRESS, 0.0)
    assert challenges.add(6, make_challenge(), ADDRESS, 0.5)
    assert not challenges.add(7, make_challenge(), ADDRESS, 59.9)
    assert challenges.add(7, make_challenge(), ADDRESS, 61.0)
    assert 5 not in challenges
    assert len(challenges) == 1, "both were forgotten"


def test_numbers_are_positive_unlike_and_free() -> None:
    taken: list[int] = []

    def is_taken(number: int) -> bool:
        taken.append(number)
        return len(taken) == 1

    number = new_number(is_taken)
    assert taken == [taken[0], number]
    numbers = [new_number(lambda _: False) for _ in range(100)]
    assert all(0 < each < 2**31 for each in numbers)
    assert len({later - earlier for earlier, later in pairwise(numbers)}) > 90


def test_nonces_have_sixteen_octets_and_differ() -> None:
    assert len(new_nonce()) == 16
    assert new_nonce() != new_nonce()
