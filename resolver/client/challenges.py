"""Answering a node's challenge (response code 402) on behalf of an identity."""

import asyncio

from protocol.bodies import ChallengeAnswer, ChallengeAnswerRequest
from protocol.challenge import challenge_version
from protocol.codes import OpCode, ResponseCode
from protocol.errors import SecurityError
from resolver.asking import Answer, Request
from resolver.client.identities import Identity

CHALLENGES_MAX = 2  # a second one is answered once, as existing clients do; a third is a refusal


def is_challenge(answer: Answer) -> bool:
    """Say whether an answer asks for proof of identity."""
    return answer.response_code == ResponseCode.AUTHENTICATION_NEEDED


async def answer_challenge(challenge: Answer, request: Request, identity: Identity) -> Request:
    """Return the request that answers a challenge to `request`; the key works in a thread.

    Raises:
        SecurityError: the challenge is for another request than ours, so that somebody in between
            would have us sign his.
    """
    body, digest = challenge.body, challenge.digest
    if not isinstance(body, ChallengeAnswer) or digest is None:
        raise SecurityError("the challenge does not say which request it is for; not answered")
    covered = request.challenged or challenge.sent.covered
    if not digest.matches(covered):
        raise SecurityError("the challenge is for another request than was sent; not answered")
    envelope = challenge.message.envelope
    proof = await asyncio.to_thread(
        identity.answer, body.nonce, digest, challenge_version(envelope)
    )
    handle, index = identity.reference
    return Request(
        request.handle,
        OpCode.RESPONSE_TO_CHALLENGE,
        ChallengeAnswerRequest(identity.authentication_type, handle, index, proof),
        request.flags,
        session_id=envelope.session_id,
        challenged=covered,
        channel=request.channel,
    )
