"""Answers as messages: the fields that every response has, whatever it answers.

    envelope   version        min(what the request suggests, ours); the cryptography follows it
               suggested      the best version spoken here
               session id     the session's, a challenge's, or 0
               request id     the request's
    header     opcode         the request's (a challenge's answer: the original request's)
               flags          RECURSIVE, AUTHORITATIVE on a primary, some of the request's
               serial         of this node's site
               expiration     twelve hours from now
    body       the request's digest when it was asked for, then what answers

Codes that a peer's version does not know are replaced by what it does know.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from protocol.bodies import Body, ChallengeAnswer, ErrorAnswer, UnknownBody
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.credential import sign_message
from protocol.digests import OLD_FORM, RequestDigest, digest_request
from protocol.envelope import ENVELOPE_OCTETS, Envelope, decode_envelope
from protocol.errors import DecodeError
from protocol.header import EXPIRY_DEFAULT_S, HEADER_OCTETS, Header, decode_header
from protocol.key_files import PrivateKey
from protocol.message import Message
from protocol.versions import BEST, V2_1, V2_5, Version, answer_version

_OPCODES = frozenset(OpCode)
COPIED_FLAGS = (
    MessageFlag.CERTIFY
    | MessageFlag.CACHE_CERTIFY
    | MessageFlag.ENCRYPT
    | MessageFlag.PUBLIC_ONLY
    | MessageFlag.DO_NOT_REFER
    | MessageFlag.REQUEST_DIGEST
)

# Below 2.5 these codes are not known; the older one says the nearest thing.
_CODES_BELOW_2_5: dict[int, int] = {
    ResponseCode.SERVER_BACKUP: ResponseCode.PREFIX_REFERRAL,
    ResponseCode.INVALID_VALUE: ResponseCode.VALUE_ALREADY_EXISTS,
}


def code_for(version: Version, code: int) -> int:
    """Return the response code to write for a peer that is answered in `version`."""
    if version.at_least(V2_5):
        return code
    return _CODES_BELOW_2_5.get(code, code)


def readable_request(octets: bytes) -> Message:
    """Return what can be read of a request that is malformed or encrypted, to refuse it by.

    Nothing can be read of an encrypted one: it counts as certified, as clients ask in sessions, so
    that they believe the refusal and begin a new session.
    """
    envelope = decode_envelope(octets)
    if envelope.is_encrypted:
        return Message(envelope, Header(OpCode.RESERVED, 0, MessageFlag.CERTIFY, 0), b"")
    try:
        header, body_octets = decode_header(octets[ENVELOPE_OCTETS:])
    except DecodeError:
        return Message(envelope, Header(OpCode.RESERVED, 0, 0, 0), b"")
    start = ENVELOPE_OCTETS + HEADER_OCTETS
    return Message(envelope, header, octets[start : start + body_octets])


@dataclass(frozen=True, slots=True)
class Replies:
    """Makes the responses of one node.

    Args:
        site_serial: of the node's site record.
        is_primary: whether its answers are authoritative.
        now_s: the time since 1970.
    """

    site_serial: int
    is_primary: bool
    now_s: Callable[[], float]

    def reply(
        self,
        request: Message,
        code: int,
        body: Body,
        *,
        opcode: int | None = None,
        flags: int = 0,
        session_id: int = 0,
    ) -> Message:
        """Return the response to `request`.

        Args:
            request: what is answered; its digest is over exactly what was received.
            code: response code, as of the best version.
            body: what stands after the request digest.
            opcode: of the original request, when `request` answers a challenge.
            flags: set beside those every response has.
            session_id: of the session or challenge; 0 for none.
        """
        asked = request.envelope
        version = answer_version(asked.best_version)
        flags |= MessageFlag.RECURSIVE | (request.header.flags & COPIED_FLAGS)
        if self.is_primary:
            flags |= MessageFlag.AUTHORITATIVE
        if not version.at_least(V2_1):
            flags &= ~MessageFlag.REQUEST_DIGEST  # not known yet
        octets = body.encode()
        if flags & MessageFlag.REQUEST_DIGEST:
            octets = digest_request(request.covered, version).encode() + octets
        header = Header(
            opcode=request.header.opcode if opcode is None else opcode,
            response_code=code_for(version, code),
            flags=flags,
            expiration=int(self.now_s()) + EXPIRY_DEFAULT_S,
            site_serial=self.site_serial,
            recursion_count=request.header.recursion_count,
        )
        envelope = Envelope(version, BEST, 0, session_id, asked.request_id, 0, 0)
        return Message(envelope, header, octets)

    def challenge(
        self,
        request: Message,
        nonce: bytes,
        digest: RequestDigest,
        session_id: int,
    ) -> Message:
        """Return a challenge: always with the request's digest, asked for or not."""
        body: Body = ChallengeAnswer(nonce)
        if digest.algorithm == OLD_FORM:  # 2.0 has the digest behind the nonce
            body = UnknownBody(body.encode() + digest.encode())
        return self.reply(
            request,
            ResponseCode.AUTHENTICATION_NEEDED,
            body,
            flags=MessageFlag.REQUEST_DIGEST,
            session_id=session_id,
        )

    def refuse(
        self, request: Message, code: int, words: str | bytes, *, session_id: int = 0
    ) -> Message:
        """Return a refusal with a message for people."""
        message = words.encode() if isinstance(words, str) else words
        # Handle.Net does not repeat an opcode that means nothing.
        opcode = None if request.header.opcode in _OPCODES else OpCode.RESERVED
        return self.reply(request, code, ErrorAnswer(message), opcode=opcode, session_id=session_id)

    def encoded(self, request: Message, answer: Message) -> bytes:
        """Return the answer's octets, or those of an error when no peer would take so many."""
        try:
            return answer.encode()
        except DecodeError as error:
            return self.refuse(
                request, ResponseCode.ERROR, f"the answer is too long: {error}"
            ).encode()


async def sign_if_asked(
    request: Message, reply: Message, find_key: Callable[[int], PrivateKey], threads: Executor
) -> Message:
    """Return a reply, signed in a thread when it has the CERTIFY flag.

    Args:
        request: what it answers; it tells the serial of our site that the client knows.
        reply: unsigned.
        find_key: returns the server's key for who knows its site of a serial.
        threads: where signatures are made.
    """
    if not reply.header.has(MessageFlag.CERTIFY):
        return reply
    key = find_key(request.header.site_serial)
    return await asyncio.get_running_loop().run_in_executor(threads, sign_message, reply, key)
