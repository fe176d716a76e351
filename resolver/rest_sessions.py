"""Sessions of the REST interface: `Authorization: Handle`, by header or cookie.

    new      -> {session_id, nonce}                      nobody yet; the nonce is to be signed
             with an authorization, once that is proven, its user's from the beginning
             (`resolver.rest_requests`)
    answer   fields of the header -> {session_id, authenticated, handle, index, code, message}
    get      -> {session_id, nonce, authenticated, handle, index}
    delete   -> {}

The client signs nonce ++ cnonce, a nonce of its own standing where messages have the request's
digest; the rest is as for a challenge. A nonce is answered once: a wrong answer makes a new one.
A session id is a secret of 128 random bits, since whoever knows it *is* the session's identity.
Every action is answered {"code": 1, ...}, or {"code": 500} when there is no such session.
"""

import base64
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from protocol.challenge import answer_from_parts
from protocol.codes import ResponseCode
from protocol.digests import RequestDigest
from protocol.errors import SecurityError
from protocol.value import Reference
from registry.outcomes import Refusal
from resolver.bounded_table import BoundedTable
from resolver.challenges import new_nonce
from resolver.operations import Known, Proof
from resolver.refused_log_ins import RefusedLogIns

SESSION_ID_OCTETS = 16
# A session that nobody is authenticated in holds a place only as long as a challenge would.
CLIENT_NONCE = 0  # the digest id given to a client's nonce: it is not the digest of anything

Prove = Callable[[Proof, Known], Awaitable[Reference | Refusal]]


@dataclass(slots=True)
class RestSession:
    """One session: its nonce, and who it is once the nonce was answered."""

    session_id: str
    nonce: bytes
    identity: Reference | None = None


class RestSessions:
    """The REST sessions of a node.

    Args:
        table: holds them within its bounds.
        prove: checks a proof and returns who is proven.
        refused_log_ins: hears of identities that were claimed and not believed.
        challenge_timeout_s: how long an answer is waited for.
        session_timeout_s: how long an authenticated session lives after its last use.
        now_s: a clock that never goes back.
    """

    def __init__(
        self,
        table: BoundedTable[RestSession],
        prove: Prove,
        refused_log_ins: RefusedLogIns,
        *,
        challenge_timeout_s: float,
        session_timeout_s: float,
        now_s: Callable[[], float],
    ) -> None:
        self._table = table
        self._prove = prove
        self._refused_log_ins = refused_log_ins
        self._challenge_timeout_s = challenge_timeout_s
        self._session_timeout_s = session_timeout_s
        self._now_s = now_s

    def __len__(self) -> int:
        return len(self._table)

    def purge(self) -> int:
        """Forget what was not used in time; return how many."""
        return self._table.purge(self._now_s())

    def identities(self) -> Iterator[Reference]:
        """Iterate over who has logged in."""
        return (each.identity for each in self._table.entries() if each.identity is not None)

    def drop_of(self, is_meant: Callable[[Reference], bool]) -> int:
        """End the sessions of whoever logged in with a key that is meant; return how many."""
        return self._table.drop_all(
            lambda session: session.identity is not None and is_meant(session.identity)
        )

    def identity(self, session_id: str) -> Reference | None:
        """Return who an authenticated session is, and note that it was used."""
        session = self._find(session_id)
        return None if session is None else session.identity

    async def handle(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Carry out one action that a worker asks for over the link."""
        action = payload["action"]
        if action == "new":
            return self.open(payload["address"])
        session = self._find(payload.get("session_id", ""))
        if session is None:
            return {"code": int(ResponseCode.SESSION_TIMEOUT)}
        if action == "answer":
            return await self._answer(session, payload)
        if action == "delete":
            self._table.drop(_number(session.session_id))
            return {"code": int(ResponseCode.SUCCESS)}
        return {"code": int(ResponseCode.SUCCESS), **_shown(session)}

    def open(self, address: str, identity: Reference | None = None) -> dict[str, Any]:
        """Return a new session, that of who has proven to be `identity` if it is given."""
        session_id = base64.b64encode(secrets.token_bytes(SESSION_ID_OCTETS)).decode()
        session = RestSession(session_id, new_nonce(), identity)
        is_nobodys = identity is None
        timeout_s = self._challenge_timeout_s if is_nobodys else self._session_timeout_s
        deadline = self._now_s() + timeout_s
        number = _number(session_id)
        if not self._table.add(number, session, address, deadline):
            # Those that somebody has logged in to stay: a browser's or a program's would not begin
            # anew by itself.
            self._table.make_room(_is_nobodys, address)
            if not self._table.add(number, session, address, deadline):
                return {"code": int(ResponseCode.SERVER_TOO_BUSY)}
        return {"code": int(ResponseCode.SUCCESS), **_shown(session)}

    def _find(self, session_id: str) -> RestSession | None:
        number = _number(session_id)
        session = self._table.find(number, self._now_s())
        if session is not None and session.identity is not None:
            self._table.touch(number, self._now_s() + self._session_timeout_s)
        return session

    async def _answer(self, session: RestSession, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Check an answer; the nonce is spent before, so that two at once cannot share it."""
        nonce, session.nonce = session.nonce, new_nonce()
        user = Reference(fields["handle"], fields["index"])
        kind = fields["type"]
        try:
            answer = answer_from_parts(
                kind,
                fields["algorithm"],
                fields["signature"],
                salt=fields.get("salt", b""),
                rounds=fields.get("rounds", 0),
                key_bits=fields.get("key_bits", 0),
            )
            digest = RequestDigest(CLIENT_NONCE, fields["client_nonce"])
            proven = await self._prove(Proof(kind, user, answer, nonce, digest), Known())
        except SecurityError as error:
            proven = Refusal(error.response_code, str(error).encode())
        if isinstance(proven, Refusal) and proven.response_code == ResponseCode.SERVER_TOO_BUSY:
            session.nonce = nonce  # nothing was proven or refused: the same answer may come again
            return {"code": int(proven.response_code), "message": proven.message}
        if isinstance(proven, Refusal):
            session.identity = None
            self._refused_log_ins.note(
                user,
                fields["address"],
                fields["transport"],
                proven.response_code,
                proven.message,
            )
            return {
                "code": int(proven.response_code),
                "message": proven.message,
                **_shown(session),
            }
        session.identity = proven
        if _number(session.session_id) not in self._table:
            return {"code": int(ResponseCode.SESSION_TIMEOUT)}
        self._table.touch(_number(session.session_id), self._now_s() + self._session_timeout_s)
        return {"code": int(ResponseCode.SUCCESS), **_shown(session)}


def _is_nobodys(session: RestSession) -> bool:
    return session.identity is None


def _number(session_id: str) -> int:
    """Return the key of the table: comparing integers' hashes tells nobody how near a guess was."""
    return int.from_bytes(session_id.encode("utf-8", "surrogatepass"), "big")


def _shown(session: RestSession) -> dict[str, Any]:
    identity = session.identity
    return {
        "session_id": session.session_id,
        "nonce": session.nonce,
        "authenticated": identity is not None,
        "handle": b"" if identity is None else identity.handle,
        "index": 0 if identity is None else identity.index,
    }
