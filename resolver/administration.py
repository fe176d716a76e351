"""Look-ups by somebody and administration, by message: challenges sent, and their answers.

request ─> identity known (session)? ──yes─> carried out
               │ no
               ├─ nobody needs to be known   carried out
               └─ 402, the request is kept ─> answer ─> permitted? 400
                                                        proven?    403
                                                        carried out
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from protocol.bodies import (
    ChallengeAnswerRequest,
    ResolutionRequest,
    VerificationAnswer,
    VerifyChallengeRequest,
)
from protocol.challenge import AUTHENTICATION_SECRET_KEY
from protocol.codes import MessageFlag, ResponseCode
from protocol.digests import digest_request
from protocol.message import Message
from protocol.value import Reference
from protocol.versions import answer_version
from registry.admin_server import SERVER_OPCODES
from registry.answers import Answer
from registry.operations import Change, Listing, Mirroring, Operation, Outcome, Referral, Told
from registry.outcomes import Need, NeedAuthentication, Refusal
from resolver.asked import LIST_OPCODES, Asked, AskedReplies, Conversations
from resolver.challenges import Challenge, new_nonce, new_number
from resolver.listing import Pages
from resolver.mirrors import MIRROR_OPCODES, MirrorReply
from resolver.node import must_resolve_for
from resolver.operations import Known, Operations, Proof
from resolver.query import question_of
from resolver.query_counts import QueryCounts
from resolver.refused_log_ins import RefusedLogIns

# Decided and answered; the one write transaction is not waited for.
_CHANGING_NOTHING = LIST_OPCODES | MIRROR_OPCODES | SERVER_OPCODES

ResolveAfar = Callable[[ResolutionRequest, Answer, int], Awaitable[Answer]]


class ListReply(NamedTuple):
    """A list to stream in answer to `asked`, in whose original's name when it was challenged."""

    asked: Asked
    listing: Listing


Reply = Message | ListReply | MirrorReply


class Administration:
    """Answers requests that need, or may need, to know who asks.

    Args:
        operations: decides and carries out.
        conversations: the challenges that wait.
        pages: knows which handles are ours.
        replies: makes the replies.
        resolve_afar: follows a referral for clients too old to do it.
        refused_log_ins: hears of identities that were claimed and not believed.
        clock_s: a clock that never goes back.
        counts: where queries are counted for statistics; None: nowhere.
    """

    def __init__(
        self,
        operations: Operations,
        conversations: Conversations,
        pages: Pages,
        replies: AskedReplies,
        resolve_afar: ResolveAfar,
        refused_log_ins: RefusedLogIns,
        clock_s: Callable[[], float],
        counts: QueryCounts | None = None,
    ) -> None:
        self._counts = counts
        self._operations = operations
        self._conversations = conversations
        self._pages = pages
        self._replies = replies
        self._resolve_afar = resolve_afar
        self._refused_log_ins = refused_log_ins
        self._clock_s = clock_s
        self._answering: set[tuple[int, int]] = set()

    async def resolve(self, asked: Asked) -> Message:
        """Answer a RESOLUTION."""
        answer = await self._resolve_as(asked, asked.identity, Known())
        self._count(asked, answer)
        if isinstance(answer, Refusal):
            return self._replies.refusal(asked, answer)
        if answer.response_code == ResponseCode.AUTHENTICATION_NEEDED:
            return self._challenge(asked)
        return self._replies.answer(asked, answer)

    async def administer(self, asked: Asked) -> Reply:
        """Answer a request to change or list something."""
        known, operation, identity = Known(), asked.operation, asked.identity
        if identity is None or operation.opcode in _CHANGING_NOTHING:
            # Strangers are told here, without waiting for the one write transaction.
            outcome = await self._operations.decide(operation, identity, known)
            if not isinstance(outcome, Change):
                return self._reply(asked, outcome)
        return self._reply(asked, await self._operations.carry_out(operation, identity, known))

    async def take_answer(self, asked: Asked) -> Reply | None:
        """Answer a RESPONSE_TO_CHALLENGE, each once; None: stay silent."""
        number = asked.request.envelope.session_id
        turn = (number, asked.request.envelope.request_id)
        if turn in self._answering:
            return None  # a datagram repeated while its first copy is worked on
        challenge = self._conversations.challenges.take(number, self._clock_s())
        if challenge is None:
            words = b"no challenge of this number waits for an answer, it may have come too late"
            return self._replies.refuse(asked, ResponseCode.AUTHENTICATION_TIMEOUT, words)
        body = asked.body
        assert isinstance(body, ChallengeAnswerRequest)
        user = Reference(body.user_handle, body.user_index)
        kind = body.authentication_type
        proof = Proof(kind, user, body.answer, challenge.nonce, challenge.digest)
        self._answering.add(turn)
        try:
            return await self._answer_as(asked.for_original(challenge.request), proof)
        finally:
            self._answering.discard(turn)

    async def verify_for_another(self, asked: Asked) -> Message:
        """Answer a VERIFY_CHALLENGE: was an answer made with a secret key that is ours?

        Of a prefix that is delegated its own node says so, to us if the client cannot ask it; who
        wants no referral is told that what is not here is not valid here.
        """
        body = asked.body
        assert isinstance(body, VerifyChallengeRequest)
        user = Reference(body.handle, body.index)
        if not self._pages.is_responsible(user.handle):
            words = b"this node does not hold that secret key"
            return self._replies.refuse(asked, ResponseCode.SERVER_NOT_RESPONSIBLE, words)
        delegation = self._pages.find_delegation(user.handle)
        if delegation and asked.request.header.has(MessageFlag.DO_NOT_REFER):
            return self._replies.reply(asked, ResponseCode.SUCCESS, VerificationAnswer(0))
        if delegation and asked.knows_referral:
            return self._replies.outcome(asked, Referral(delegation))
        proof = Proof(AUTHENTICATION_SECRET_KEY, user, body.answer, body.nonce, body.digest)
        identity = await self._operations.prove(proof, Known())
        if isinstance(identity, Reference):
            return self._replies.reply(asked, ResponseCode.SUCCESS, VerificationAnswer(1))
        if identity.response_code == ResponseCode.AUTHENTICATION_FAILED:
            return self._replies.reply(asked, ResponseCode.SUCCESS, VerificationAnswer(0))
        return self._replies.refusal(asked, identity)

    def _reply(self, asked: Asked, outcome: Outcome) -> Reply:
        if isinstance(outcome, Listing):
            return ListReply(asked, outcome)
        if isinstance(outcome, Mirroring):
            return MirrorReply(asked, outcome)
        if isinstance(outcome, Told):
            return self._replies.reply(asked, ResponseCode.SUCCESS, outcome.body)
        if isinstance(outcome, NeedAuthentication):
            return self._challenge(asked)
        assert not isinstance(outcome, Need), "what was needed has been fetched"
        return self._replies.outcome(asked, outcome)

    def _challenge(self, asked: Asked) -> Message:
        """Keep the request and answer it with a challenge."""
        request = asked.request
        assert asked.original is None, "an identity was given and is asked for again"
        replies = self._replies.replies
        if asked.session is not None:
            number = asked.session.number
            waiting = self._conversations.challenges.find(number, self._clock_s())
            if waiting is not None and waiting.is_of(request):
                # A datagram sent again: its client may be answering the first challenge by now.
                return replies.challenge(request, waiting.nonce, waiting.digest, number)
        else:
            number = new_number(self._conversations.is_taken)
        digest = digest_request(request.covered, answer_version(request.envelope.best_version))
        challenge = Challenge(request, new_nonce(), digest)
        challenges = self._conversations.challenges
        if not challenges.add(number, challenge, asked.address, self._clock_s()):
            words = b"too many challenges wait for their answers, try again"
            return self._replies.refuse(asked, ResponseCode.SERVER_TOO_BUSY, words)
        return replies.challenge(request, challenge.nonce, digest, number)

    async def _answer_as(self, asked: Asked, proof: Proof) -> Reply:
        """Decide with the claimed identity, check the proof, then do it."""
        known = Known()
        operation = None if asked.is_query else asked.operation
        if proof.user.index:
            refused = await self._refused(asked, operation, proof.user, known)
            if refused is not None:
                words = b"this identity may not do what was asked for"
                self._note_refused(asked, proof.user, refused.header.response_code, words)
                return refused
        identity = await self._operations.prove(proof, known)
        if isinstance(identity, Refusal):
            self._note_refused(asked, proof.user, identity.response_code, identity.message)
            return self._replies.refusal(asked, identity)
        if asked.session is not None and asked.session.identity == proof.user:
            asked.session.authenticate(identity)
        if operation is None:
            answer = await self._resolve_as(asked, identity, known)
            self._count(asked, answer)
            if isinstance(answer, Refusal):
                return self._replies.refusal(asked, answer)
            return self._replies.answer(asked, answer)
        if operation.opcode in _CHANGING_NOTHING:
            return self._reply(asked, await self._operations.decide(operation, identity, known))
        return self._reply(asked, await self._operations.carry_out(operation, identity, known))

    def _note_refused(self, asked: Asked, user: Reference, code: int, words: bytes) -> None:
        self._refused_log_ins.note(user, asked.address, asked.transport, code, words)

    async def _refused(
        self, asked: Asked, operation: Operation | None, claimed: Reference, known: Known
    ) -> Message | None:
        """Return the refusal of what a claimed identity asks for; None when it is granted."""
        if operation is None:
            answer = await self._resolve_as(asked, claimed, known)
            if isinstance(answer, Refusal):
                return self._replies.refusal(asked, answer)
            if answer.response_code == ResponseCode.SUCCESS:
                return None
            return self._replies.answer(asked, answer)
        outcome = await self._operations.decide(operation, claimed, known)
        if isinstance(outcome, Change | Listing | Told | Mirroring):
            return None
        reply = self._reply(asked, outcome)
        assert isinstance(reply, Message)
        return reply

    def _count(self, asked: Asked, answer: Answer | Refusal) -> None:
        """Count a query; one that was challenged is received once and perhaps answered later."""
        if self._counts is None:
            return
        body = asked.body
        assert isinstance(body, ResolutionRequest)
        is_success = isinstance(answer, Answer) and answer.response_code == ResponseCode.SUCCESS
        self._counts.add(
            body.handle, asked.address, answered=is_success, received=asked.original is None
        )

    async def _resolve_as(
        self, asked: Asked, identity: Reference | None, known: Known
    ) -> Answer | Refusal:
        body = asked.body
        assert isinstance(body, ResolutionRequest)
        subject = asked.subject
        question = question_of(body, subject.header.flags, in_session=asked.session is not None)
        answer = await self._operations.resolve(question, identity, known)
        if isinstance(answer, Refusal):
            return answer
        if must_resolve_for(answer.response_code, subject.envelope, body):
            return await self._resolve_afar(body, answer, subject.header.recursion_count)
        return answer
