"""Operations of the REST interface in the registrar: bodies and an authorization, no messages.

An authorization claims somebody (`resolver.rest_claims`): with None, a challenge (402) where an
identity is needed; a password or certificate is as an answer to a challenge, permission first, then
the proof.

Replies are {code, body, created, left}, `left` being [limit, remaining, seconds] of a quota; lists
are streamed as {code, handles} or {code, message}.
`create` is the short way of what most sessions ask for.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Any

import msgpack

from protocol.bodies import (
    Body,
    ChallengeAnswer,
    ErrorAnswer,
    HandleRequest,
    ReferralAnswer,
    ResolutionRequest,
    decode_request_body,
)
from protocol.challenge import AUTHENTICATION_SECRET_KEY, answer_from_parts
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.digests import RequestDigest
from protocol.errors import ProtocolError, SecurityError
from protocol.value import Reference
from protocol.versions import BEST
from registry.answers import Answer
from registry.errors import RecordError
from registry.operations import Change, Listing, Operation, Outcome, Referral
from registry.outcomes import NeedAuthentication, Refusal, refuse
from registry.plain_creations import PlainCreation
from resolver.limits import PAGE_HANDLES_MAX
from resolver.listing import FoundPage, ListTooDeepError, Pages
from resolver.operations import Known, Operations, Proof
from resolver.query import Result, damaged_record, question_of, result_of
from resolver.quotas import Quotas
from resolver.refused_log_ins import RefusedLogIns
from resolver.rest_claims import Claim, Claims, claimed_user
from resolver.rest_sessions import CLIENT_NONCE, RestSessions

STREAM_PAGE_HANDLES = 1_000  # in one item of a streamed list
_CREATING = frozenset({OpCode.CREATE_HANDLE, OpCode.ADD_VALUE})
_REGISTERING = _CREATING | {OpCode.DELETE_HANDLE, OpCode.REMOVE_VALUE, OpCode.MODIFY_VALUE}


class RestRequests:
    """Carries out what the REST interface asks for."""

    def __init__(
        self,
        operations: Operations,
        sessions: RestSessions,
        pages: Pages,
        refused_log_ins: RefusedLogIns,
        quotas: Quotas | None = None,
    ) -> None:
        self._operations = operations
        self._quotas = quotas
        self._sessions = sessions
        self._claims = Claims(operations, sessions)
        self._pages = pages
        self._refused_log_ins = refused_log_ins
        self._listing = asyncio.Lock()  # one page at a time: proofs have the other threads

    async def perform(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Carry out one operation: {opcode, body, flags, authorization, address, transport}."""
        try:
            result = await self._perform(payload)
        except ProtocolError as error:
            result = Result(error.response_code, ErrorAnswer(str(error).encode()))
        except RecordError as error:
            result = damaged_record(error)
        if isinstance(result.body, ErrorAnswer):
            self._note_refused(payload, result.response_code, result.body.message or b"")
        return {
            "code": int(result.response_code),
            "body": result.body.encode(),
            "created": result.created,
            "left": self._find_left(payload),
        }

    def _find_left(self, payload: dict[str, Any]) -> list[int] | None:
        """Return what is left of the quota that a registration counts against."""
        if self._quotas is None or payload["opcode"] not in _REGISTERING:
            return None
        try:
            body = decode_request_body(payload["opcode"], payload["body"], BEST)
        except ProtocolError:
            return None
        handle = getattr(body, "handle", b"")
        left = self._quotas.find_left(handle) if self._quotas.is_limited(handle) else None
        return None if left is None else list(left)

    def create(self, payload: list[Any]) -> "asyncio.Future[bool]":
        """Create a handle: [session id, handle, pieces of its values] (`PlainCreation`).

        Returns:
            A future: True once it is durable; False when `perform` has to be asked instead.
        """
        session_id, handle, pieces = payload
        identity = self._sessions.identity(session_id)
        if identity is not None:
            return self._operations.create(PlainCreation(handle, pieces), identity)
        nobody: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        nobody.set_result(False)
        return nobody

    async def prove(self, payload: dict[str, Any]) -> Reference | Refusal | None:
        """Prove who asks: {authorization, address, transport}; None: nobody says who he is."""
        proven = await self._claims.prove(self._claims.read(payload["authorization"]))
        if isinstance(proven, Refusal):
            self._note_refused(payload, proven.response_code, proven.message)
        return proven

    async def rest_session(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Carry out an action on sessions; who comes with a password or certificate is proven.

        "new" with {authorization, address, transport} is a session of that user; "who" tells only
        who he is: {code, authenticated, handle, index}.
        """
        if payload.get("authorization") is None:
            return await self._sessions.handle(payload)
        proven = await self.prove(payload)
        if not isinstance(proven, Reference):
            failed = ResponseCode.AUTHENTICATION_FAILED if proven is None else proven.response_code
            return {"code": int(failed)}
        if payload["action"] == "new":
            return self._sessions.open(payload["address"], proven)
        return {
            "code": int(ResponseCode.SUCCESS),
            "authenticated": True,
            "handle": proven.handle,
            "index": proven.index,
        }

    async def verify(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Say whether a client knows a secret key of this node's; the fields are a header's.

        {handle, index, nonce, client_nonce, algorithm, signature, salt, rounds, key_bits}; answers
        {code, message, holds}.
        """
        user = Reference(payload["handle"], payload["index"])
        if not self._pages.is_responsible(user.handle):
            words = b"this node does not hold that secret key"
            return _verified(ResponseCode.SERVER_NOT_RESPONSIBLE, words)
        try:
            answer = answer_from_parts(
                AUTHENTICATION_SECRET_KEY,
                payload["algorithm"],
                payload["signature"],
                salt=payload["salt"],
                rounds=payload["rounds"],
                key_bits=payload["key_bits"],
            )
        except SecurityError as error:
            return _verified(ResponseCode.PROTOCOL_ERROR, str(error).encode())
        digest = RequestDigest(CLIENT_NONCE, payload["client_nonce"])
        proof = Proof(AUTHENTICATION_SECRET_KEY, user, answer, payload["nonce"], digest)
        proven = await self._operations.prove(proof, Known())
        if isinstance(proven, Reference):
            return _verified(ResponseCode.SUCCESS, b"", holds=True)
        if proven.response_code == ResponseCode.AUTHENTICATION_FAILED:
            return _verified(ResponseCode.SUCCESS)
        return _verified(proven.response_code, proven.message)

    async def list_page(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return one page of a list: {prefix, page, page_size, after, authorization}.

        A handle in `after` says where the page begins, in place of its number. What to go on after
        is answered in `next`, empty at the end of the list.
        """
        body = HandleRequest(payload["prefix"])
        operation = Operation(OpCode.LIST_HANDLES, body)
        outcome = await self._decide_as(self._claims.read(payload["authorization"]), operation)
        if not isinstance(outcome, Listing):
            code, words = _words(outcome)
            self._note_refused(payload, code, words)
            return {"code": code, "handles": [], "total": 0, "message": words}
        try:
            found = await self._find_page(outcome, payload)
        except ListTooDeepError as error:
            code, words = int(ResponseCode.PROTOCOL_ERROR), str(error).encode()
            return {"code": code, "handles": [], "total": 0, "message": words}
        return {
            "code": int(ResponseCode.SUCCESS),
            "handles": list(found.handles),
            "total": found.total,
            "next": found.next,
            "message": b"",
        }

    async def _find_page(self, listing: Listing, payload: dict[str, Any]) -> FoundPage:
        """Return the page that is asked for. Raises: ListTooDeepError."""
        size = min(max(payload["page_size"], 1), PAGE_HANDLES_MAX)
        after, pages = payload["after"], self._pages
        turn: Callable[[], FoundPage | None] = partial(pages.page_after, listing, after, size)
        if not after:
            turn = partial(next, pages.page(listing, max(payload["page"], 0), size))
        found = None
        while found is None:
            async with self._listing:  # whoever waits has his turn between two of this page
                found = await self._operations.in_thread(turn)
        return found

    async def list_all(self, payload: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        """Stream a list: {opcode, body, authorization}."""
        body = decode_request_body(payload["opcode"], payload["body"], BEST)
        operation = Operation(payload["opcode"], body)
        outcome = await self._decide_as(self._claims.read(payload["authorization"]), operation)
        if not isinstance(outcome, Listing):
            code, words = _words(outcome)
            self._note_refused(payload, code, words)
            yield msgpack.packb({"code": code, "message": words})
            return
        for page in self._pages.pages(outcome, STREAM_PAGE_HANDLES):
            code = int(ResponseCode.SUCCESS)
            if page.handles or page.is_last:
                yield msgpack.packb({"code": code, "handles": list(page.handles)})
            await asyncio.sleep(0)

    async def _perform(self, payload: dict[str, Any]) -> Result:
        opcode, flags = payload["opcode"], payload["flags"]
        claim = self._claims.read(payload["authorization"])
        body = decode_request_body(opcode, payload["body"], BEST)
        if isinstance(body, ResolutionRequest):
            return await self._resolve(body, flags, claim)
        operation = Operation(
            opcode,
            body,
            overwrite=bool(flags & MessageFlag.OVERWRITE),
            mint=bool(flags & MessageFlag.MINT_SUFFIX),
        )
        return _result(opcode, await self._carry_out_as(claim, operation))

    def _note_refused(self, payload: dict[str, Any], code: int, words: bytes) -> None:
        """Log the refusal of who has to prove himself; a session's identity has been proven."""
        user = claimed_user(payload["authorization"])
        if user is not None:
            self._refused_log_ins.note(user, payload["address"], payload["transport"], code, words)

    async def _resolve(self, body: ResolutionRequest, flags: int, claim: Claim) -> Result:
        known = Known()
        question = question_of(body, flags)
        identity = claim.identity
        # Index 0 is any key of the user: what it may do is known once it is known which.
        if claim.is_unproven and identity is not None and not identity.index:
            proven = await self._claims.prove(claim)
            if isinstance(proven, Refusal):
                return _refused(proven)
            claim, identity = Claim(proven), proven
        answer = await self._operations.resolve(question, identity, known)
        if isinstance(answer, Refusal):
            return _refused(answer)
        if answer.response_code == ResponseCode.AUTHENTICATION_NEEDED:
            return _CHALLENGE
        if claim.is_unproven and _is_granted(answer):
            proven = await self._claims.prove(claim)
            if isinstance(proven, Refusal):
                return _refused(proven)
        return result_of(answer, body.handle)

    async def _decide_as(self, claim: Claim, operation: Operation) -> Outcome:
        """Decide about a list; who has to prove himself does so once permission is clear."""
        identity = await self._admit(claim, operation, Known())
        if isinstance(identity, Refusal):
            return identity
        return await self._operations.decide(operation, identity, Known())

    async def _carry_out_as(self, claim: Claim, operation: Operation) -> Outcome:
        known = Known()
        identity = await self._admit(claim, operation, known)
        if isinstance(identity, Refusal):
            return identity
        if identity is None:
            outcome = await self._operations.decide(operation, None, known)
            if not isinstance(outcome, Change):
                return outcome
        return await self._operations.carry_out(operation, identity, known)

    async def _admit(
        self, claim: Claim, operation: Operation, known: Known
    ) -> Reference | Refusal | None:
        """Return who asks, proven; permission is looked at before the proof is."""
        identity = claim.identity
        if claim.is_unproven and identity is not None and identity.index:
            outcome = await self._operations.decide(operation, identity, known)
            if isinstance(outcome, Refusal):
                return outcome
            if isinstance(outcome, Referral):
                return refuse(
                    ResponseCode.SERVER_NOT_RESPONSIBLE, "another node administers this prefix"
                )
        return await self._claims.prove(claim)


_CHALLENGE = Result(ResponseCode.AUTHENTICATION_NEEDED, ChallengeAnswer(b""))


def _verified(code: int, words: bytes = b"", *, holds: bool = False) -> dict[str, Any]:
    return {"code": int(code), "message": words, "holds": holds}


def _is_granted(answer: Answer) -> bool:
    return answer.response_code == ResponseCode.SUCCESS


def _refused(refusal: Refusal) -> Result:
    return Result(refusal.response_code, ErrorAnswer(refusal.message))


def _result(opcode: int, outcome: Outcome) -> Result:
    if isinstance(outcome, Change):
        created = opcode in _CREATING and not outcome.overwrote
        return Result(ResponseCode.SUCCESS, outcome.body, created)
    if isinstance(outcome, NeedAuthentication):
        return _CHALLENGE
    if isinstance(outcome, Referral):
        return Result(ResponseCode.PREFIX_REFERRAL, ReferralAnswer(b"", outcome.values))
    assert isinstance(outcome, Refusal), f"{outcome} answers no REST request"
    return _refused(outcome)


def _words(outcome: Outcome) -> tuple[int, bytes]:
    """Return code and words of what is no list."""
    body: Body = _result(OpCode.LIST_HANDLES, outcome).body
    code = _result(OpCode.LIST_HANDLES, outcome).response_code
    words = body.message if isinstance(body, ErrorAnswer) else None
    return int(code), words or b""
