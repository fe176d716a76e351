"""Operations of the REST interface in the registrar: bodies and an authorization, no messages.

    authorization None              a challenge (402) where an identity is needed
    {"basic": [handle, index, pw]}  as an answer to a challenge: permission first, then password
    {"session": id}                 whoever proved to be somebody in that REST session

Replies are {code, body, created, left}, `left` being [limit, remaining, seconds] of a quota; lists
are streamed as {code, handles} or {code, message}.
`create` is the short way of what most sessions ask for.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
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
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.errors import ProtocolError
from protocol.value import Reference
from protocol.versions import BEST
from registry.answers import Answer
from registry.errors import RecordError
from registry.operations import Change, Listing, Operation, Outcome, Referral
from registry.outcomes import NeedAuthentication, Refusal, refuse
from registry.plain_creations import PlainCreation
from resolver.limits import PAGE_HANDLES_MAX
from resolver.listing import Pages
from resolver.operations import Known, Operations
from resolver.query import Result, damaged_record, question_of, result_of
from resolver.quotas import Quotas
from resolver.refused_log_ins import RefusedLogIns
from resolver.rest_sessions import RestSessions

STREAM_PAGE_HANDLES = 1_000  # in one item of a streamed list
_CREATING = frozenset({OpCode.CREATE_HANDLE, OpCode.ADD_VALUE})
_REGISTERING = _CREATING | {OpCode.DELETE_HANDLE, OpCode.REMOVE_VALUE, OpCode.MODIFY_VALUE}


@dataclass(frozen=True, slots=True)
class Claim:
    """Who asks: proven by a session, or claimed with a password, or nobody."""

    identity: Reference | None
    password: bytes | None = None


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
        self._pages = pages
        self._refused_log_ins = refused_log_ins

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
        claim = self._claim(payload["authorization"])
        if claim.identity is None or claim.password is None:
            return claim.identity
        proven = await self._operations.prove_password(claim.identity, claim.password)
        if isinstance(proven, Refusal):
            self._note_refused(payload, proven.response_code, proven.message)
        return proven

    async def list_page(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return one page of a list: {prefix, page, page_size, authorization}."""
        body = HandleRequest(payload["prefix"])
        operation = Operation(OpCode.LIST_HANDLES, body)
        outcome = await self._decide_as(self._claim(payload["authorization"]), operation)
        if not isinstance(outcome, Listing):
            code, words = _words(outcome)
            self._note_refused(payload, code, words)
            return {"code": code, "handles": [], "total": 0, "message": words}
        size = min(max(payload["page_size"], 1), PAGE_HANDLES_MAX)
        handles, total = await self._operations.in_thread(
            self._pages.page, outcome, max(payload["page"], 0), size
        )
        code = int(ResponseCode.SUCCESS)
        return {"code": code, "handles": list(handles), "total": total, "message": b""}

    async def list_all(self, payload: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        """Stream a list: {opcode, body, authorization}."""
        body = decode_request_body(payload["opcode"], payload["body"], BEST)
        operation = Operation(payload["opcode"], body)
        outcome = await self._decide_as(self._claim(payload["authorization"]), operation)
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
        claim = self._claim(payload["authorization"])
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
        """Log the refusal of who came with a password; a session's identity has been proven."""
        authorization = payload["authorization"]
        if authorization is None or "basic" not in authorization:
            return
        handle, index, _ = authorization["basic"]
        self._refused_log_ins.note(
            Reference(handle, index), payload["address"], payload["transport"], code, words
        )

    def _claim(self, authorization: dict[str, Any] | None) -> Claim:
        if authorization is None:
            return Claim(None)
        if "basic" in authorization:
            handle, index, password = authorization["basic"]
            return Claim(Reference(handle, index), password)
        return Claim(self._sessions.identity(authorization["session"]))

    async def _resolve(self, body: ResolutionRequest, flags: int, claim: Claim) -> Result:
        known = Known()
        question = question_of(body, flags)
        identity = claim.identity
        # Index 0 is any key of the user: what it may do is known once it is known which.
        if claim.password is not None and identity is not None and not identity.index:
            proven = await self._operations.prove_password(identity, claim.password)
            if isinstance(proven, Refusal):
                return _refused(proven)
            claim, identity = Claim(proven), proven
        answer = await self._operations.resolve(question, identity, known)
        if isinstance(answer, Refusal):
            return _refused(answer)
        if answer.response_code == ResponseCode.AUTHENTICATION_NEEDED:
            return _CHALLENGE
        if claim.password is not None and _is_granted(answer):
            assert identity is not None
            proven = await self._operations.prove_password(identity, claim.password)
            if isinstance(proven, Refusal):
                return _refused(proven)
        return result_of(answer, body.handle)

    async def _decide_as(self, claim: Claim, operation: Operation) -> Outcome:
        """Decide about a list; with a password, check it once permission is clear."""
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
        """Return who asks, proven; permission is looked at before a password is."""
        identity = claim.identity
        if identity is None or claim.password is None:
            return identity
        if identity.index:
            outcome = await self._operations.decide(operation, identity, known)
            if isinstance(outcome, Refusal):
                return outcome
            if isinstance(outcome, Referral):
                return refuse(
                    ResponseCode.SERVER_NOT_RESPONSIBLE, "another node administers this prefix"
                )
        return await self._operations.prove_password(identity, claim.password)


_CHALLENGE = Result(ResponseCode.AUTHENTICATION_NEEDED, ChallengeAnswer(b""))


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
