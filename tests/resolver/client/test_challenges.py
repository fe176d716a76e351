"""When a challenge is answered and when it is not."""

import asyncio
from dataclasses import replace

import pytest

from protocol.bodies import ChallengeAnswer, ChallengeAnswerRequest, Empty, HandleRequest
from protocol.codes import OpCode, ResponseCode
from protocol.digests import digest_request
from protocol.errors import SecurityError
from protocol.value import Reference
from resolver.asking import Answer, Candidate, Request, build_message
from resolver.client.challenges import answer_challenge, is_challenge
from resolver.client.identities import SecretIdentity
from resolver.exchanges import Endpoint
from tests.resolver.network import make_reply, make_site

IDENTITY = SecretIdentity(Reference(b"0.NA/A", 300), b"secret")
REQUEST = Request(b"A/1", OpCode.DELETE_HANDLE, HandleRequest(b"A/1"), flags=0x1000)
SITE = make_site("10.0.0.1")


def challenge() -> Answer:
    sent = build_message(REQUEST, SITE, certify=False, now_s=0.0)
    body = ChallengeAnswer(bytes(16))
    message = make_reply(sent, ResponseCode.AUTHENTICATION_NEEDED, body, session_id=42)
    digest = digest_request(sent.covered, message.envelope.version)
    candidate = Candidate(Endpoint("10.0.0.1", 2641, 1), SITE, SITE.servers[0])
    return Answer(sent, message, body, digest, candidate, 1.0)


def test_answer_goes_to_the_challenge_and_keeps_the_requests_flags() -> None:
    asked = challenge()
    assert is_challenge(asked)
    answer = asyncio.run(answer_challenge(asked, REQUEST, IDENTITY))
    assert (answer.opcode, answer.session_id) == (OpCode.RESPONSE_TO_CHALLENGE, 42)
    assert (answer.handle, answer.flags) == (REQUEST.handle, REQUEST.flags)
    assert answer.challenged == asked.sent.covered
    assert isinstance(answer.body, ChallengeAnswerRequest)
    assert (answer.body.user_handle, answer.body.user_index) == IDENTITY.reference


def test_second_challenge_still_proves_the_first_request() -> None:
    asked = challenge()
    first = asyncio.run(answer_challenge(asked, REQUEST, IDENTITY))
    second = asyncio.run(answer_challenge(asked, first, IDENTITY))
    assert second.challenged == asked.sent.covered


def test_challenge_without_a_digest_is_not_answered() -> None:
    with pytest.raises(SecurityError, match="which request"):
        asyncio.run(answer_challenge(replace(challenge(), digest=None), REQUEST, IDENTITY))


def test_challenge_without_a_nonce_is_not_answered() -> None:
    with pytest.raises(SecurityError, match="which request"):
        asyncio.run(answer_challenge(replace(challenge(), body=Empty()), REQUEST, IDENTITY))


def test_challenge_with_the_digest_of_another_request_is_not_answered() -> None:
    asked = challenge()
    foreign = digest_request(b"transfer everything", asked.message.envelope.version)
    with pytest.raises(SecurityError, match="another request"):
        asyncio.run(answer_challenge(replace(asked, digest=foreign), REQUEST, IDENTITY))
