"""A request as the registrar works on it, and the replies it can get.

A message may stand for another one: the answer to a challenge is worked on as the request that was
challenged, its `subject`, and replied to with the subject's opcode and its own request id.
"""

from dataclasses import dataclass, replace

from protocol.bodies import (
    Body,
    ErrorAnswer,
    ReferralAnswer,
    ResolutionRequest,
    decode_request_body,
)
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.message import Message
from protocol.types.hs_site import TRANSPORT_HTTPS
from protocol.value import Reference
from protocol.versions import V2_3, V2_8, V2_10, answer_version
from registry.answers import Answer
from registry.operations import Change, Operation, Referral
from registry.outcomes import Refusal
from resolver.challenges import Challenges
from resolver.query import result_of
from resolver.replies import Replies
from resolver.sessions import Session, Sessions

LIST_OPCODES = frozenset({OpCode.LIST_HANDLES, OpCode.LIST_HOMED_NAS})


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, where it came from, and the original request when it answers a challenge."""

    request: Message
    session: Session | None
    address: str
    transport: int
    original: Message | None = None

    @property
    def subject(self) -> Message:
        """The request whose operation is meant."""
        return self.original or self.request

    @property
    def is_query(self) -> bool:
        """Say whether the subject asks for a record."""
        return self.subject.header.opcode == OpCode.RESOLUTION

    @property
    def body(self) -> Body:
        """The decoded body of the subject. Raises: ProtocolError."""
        subject = self.subject
        return decode_request_body(subject.header.opcode, subject.body, subject.envelope.version)

    @property
    def identity(self) -> Reference | None:
        """Who asks, if a session has proven it."""
        return self.session.proven if self.session is not None else None

    @property
    def operation(self) -> Operation:
        """What the subject asks to change or list. Raises: ProtocolError."""
        header, envelope = self.subject.header, self.subject.envelope
        return Operation(
            header.opcode,
            self.body,
            overwrite=header.has(MessageFlag.OVERWRITE) and envelope.version.at_least(V2_3),
            mint=header.has(MessageFlag.MINT_SUFFIX),
            do_not_refer=header.has(MessageFlag.DO_NOT_REFER),
            knows_referral=self.knows_referral,
        )

    @property
    def knows_referral(self) -> bool:
        """Say whether the client can follow a 303: those below 2.10 cannot (wire-notes §3)."""
        return self.subject.envelope.best_version.at_least(V2_10)

    def for_original(self, original: Message) -> "Asked":
        """Return this message as the answer to the challenge of `original`."""
        return replace(self, original=original)


@dataclass(frozen=True, slots=True)
class Conversations:
    """What is kept of clients between two messages."""

    challenges: Challenges
    sessions: Sessions

    def is_taken(self, number: int) -> bool:
        """Say whether a number stands for a challenge or a session."""
        return number in self.challenges or number in self.sessions


class AskedReplies:
    """Replies to what was asked: the fields of `Replies`, the subject's opcode and session."""

    def __init__(self, replies: Replies) -> None:
        self.replies = replies

    def reply(self, asked: Asked, code: int, body: Body, flags: int = 0) -> Message:
        """Return a reply."""
        subject = asked.subject.header
        if asked.original is not None:
            flags |= subject.flags & (MessageFlag.CERTIFY | MessageFlag.ENCRYPT)
        return self.replies.reply(
            asked.request,
            code,
            body,
            opcode=subject.opcode,
            flags=flags,
            session_id=asked.session.number if asked.session else 0,
        )

    def refuse(self, asked: Asked, code: int, words: bytes) -> Message:
        """Return a refusal with words for people."""
        return self.reply(asked, code, ErrorAnswer(words))

    def refusal(self, asked: Asked, refusal: Refusal) -> Message:
        """Return what the registry refuses with."""
        return self.refuse(asked, refusal.response_code, refusal.message)

    def answer(self, asked: Asked, answer: Answer) -> Message:
        """Return the answer to a resolution; what is not public is encrypted in every session."""
        body = asked.body
        assert isinstance(body, ResolutionRequest)
        result = result_of(answer, body.handle)
        flags = MessageFlag.ENCRYPT if _is_confidential(asked, answer) else 0
        return self.reply(asked, result.response_code, result.body, flags)

    def outcome(self, asked: Asked, outcome: Change | Referral | Refusal) -> Message:
        """Return how an operation ended."""
        if isinstance(outcome, Change):
            flags = MessageFlag.OVERWRITE if outcome.overwrote else 0
            if asked.subject.header.opcode == OpCode.CREATE_HANDLE:
                flags |= asked.subject.header.flags & MessageFlag.MINT_SUFFIX
            return self.reply(asked, ResponseCode.SUCCESS, outcome.body, flags)
        if isinstance(outcome, Referral):
            body = ReferralAnswer(b"", outcome.values)
            return self.reply(asked, ResponseCode.PREFIX_REFERRAL, body)
        return self.refusal(asked, outcome)


def _is_confidential(asked: Asked, answer: Answer) -> bool:
    """Say whether a session has to hide an answer that its client did not want encrypted.

    From 2.8 on Handle.Net encrypts such answers by itself, where TLS does not do it already.
    """
    if asked.session is None or asked.transport == TRANSPORT_HTTPS:
        return False
    if not answer_version(asked.subject.envelope.best_version).at_least(V2_8):
        return False
    return not all(value.is_public for value in answer.values)
