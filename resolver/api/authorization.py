"""Who asks: the Authorization header of a REST request, and the challenge when it is missing.

    Basic <base64 of user:password>      user = percent-encoded "index:handle", colon as %3A

    Handle sessionId="..", id="300:0.NA/x", type="HS_PUBKEY", cnonce="b64", alg="SHA256",
           signature="b64" [, salt="b64", iterations="..", length=".."]      answers a challenge
    Handle version="0", sessionId=".."                                       goes on afterwards

    Handle clientCert="true"             who the certificate of the TLS connection says, on the port
                                         that asks for one (`resolver.client_certificates`)

    401, WWW-Authenticate: Handle sessionId="..", nonce="b64"                is the challenge

Without a header it is the certificate's, or a session's by cookie (`cookies`).
Headers are read inside TLS only (`Context.takes_credentials`). Sessions live in the registrar: a
client may come back over any connection, to any worker.
"""

import base64
import binascii
import contextlib
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response

from protocol.bodies import ErrorAnswer
from protocol.codes import ResponseCode
from protocol.handle import to_text
from protocol.value import Reference
from resolver.api.answers import CORS_HEADERS, json_response, result_response
from resolver.api.context import Authorization, context_of, peer_of
from resolver.api.cookies import cookie_session, is_of_own_page
from resolver.api.errors import RequestError
from resolver.client_certificates import CERTIFIED_CLIENT
from resolver.link import LinkDown
from resolver.query import Result

# What ends in "your Authorization header is no good" rather than "you may not".
FAILED = frozenset(
    {
        ResponseCode.AUTHENTICATION_FAILED,
        ResponseCode.INVALID_CREDENTIAL,
        ResponseCode.AUTHENTICATION_TIMEOUT,
        ResponseCode.AUTHENTICATION_ERROR,
        ResponseCode.SESSION_TIMEOUT,
        ResponseCode.SESSION_FAILED,
    }
)
_PLAIN_WORDS = b"authentication needed; credentials are read over https only"
_NUMBER_MAX = 2**31 - 1
# Possessive: a header that does not fit is not tried again from every place in it.
_PARAMETER = re.compile(r'\s*+([A-Za-z]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^\s,"]*+))\s*+(?:,|$)')


class AuthorizationError(Exception):
    """An Authorization header that proves nothing; answer with a challenge.

    Args:
        session: what the registrar told of the session, for the next attempt; None: none.
    """

    def __init__(self, session: Mapping[str, Any] | None = None) -> None:
        super().__init__("the Authorization header proves nothing")
        self.session = session


async def find_authorization(request: Request) -> Authorization:
    """Return what the request's credentials stand for, None when there are none.

    Raises:
        AuthorizationError: there are some, and they are malformed or wrong.
        LinkDown: the registrar cannot be asked.
    """
    if not context_of(request).takes_credentials(request):
        return None
    header = request.headers.get("authorization")
    if header is None:
        if not is_of_own_page(request):
            return None
        return find_certificate(request) or await _find_cookie(request)
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "basic":
        return {"basic": parse_basic(rest)}
    if scheme.lower() == "handle":
        return await _find_session(request, parse_parameters(rest))
    raise AuthorizationError


def find_certificate(request: Request) -> Authorization:
    """Return what the certificate of a TLS connection stands for, None when it names nobody."""
    client = request.scope.get("state", {}).get(CERTIFIED_CLIENT)
    if client is None:
        return None
    user, key = client
    return {"certificate": [user.handle, user.index, key]}


async def _find_cookie(request: Request) -> Authorization:
    """Return the session of a cookie, None unless somebody is authenticated in it."""
    session_id = cookie_session(request)
    if not session_id:
        return None
    payload = {"session_id": session_id, "address": peer_of(request).address}
    session = await context_of(request).operations.rest_session("get", payload)
    is_somebody = session["code"] == ResponseCode.SUCCESS and session["authenticated"]
    return {"session": session_id} if is_somebody else None


async def _find_session(request: Request, fields: dict[str, str]) -> Authorization:
    if fields.get("clientCert", "").lower() == "true":
        found = find_certificate(request) if is_of_own_page(request) else None
        if found is None:
            raise AuthorizationError
        return found
    if "sessionId" not in fields:
        return None  # an invitation to challenge: the operation will, if it has to
    if "signature" in fields:
        session = await answer_challenge(request, fields)
        return {"session": session["session_id"]}
    return {"session": fields["sessionId"]}


async def answer_challenge(request: Request, fields: Mapping[str, str]) -> dict[str, Any]:
    """Have the answer in `fields` checked and return the session, now authenticated.

    Raises:
        AuthorizationError: malformed or wrong.
        RequestError: too many answers wait to be verified.
        LinkDown: the registrar cannot be asked.
    """
    user, peer = parse_identity(fields.get("id", "")), peer_of(request)
    payload = {
        "session_id": fields.get("sessionId", ""),
        "handle": user.handle,
        "index": user.index,
        "type": fields.get("type", "").encode(),
        "algorithm": fields.get("alg", ""),
        "signature": _octets(fields.get("signature", "")),
        "client_nonce": _octets(fields.get("cnonce", "")),
        "salt": _octets(fields.get("salt", "")),
        "rounds": _number(fields.get("iterations", "0")),
        "key_bits": _number(fields.get("length", "0")),
        "address": peer.address,
        "transport": peer.transport,
    }
    session = await context_of(request).operations.rest_session("answer", payload)
    if session["code"] == ResponseCode.SERVER_TOO_BUSY:
        raise RequestError(to_text(session["message"]), session["code"])
    if session["code"] != ResponseCode.SUCCESS or not session.get("authenticated"):
        raise AuthorizationError(session if "session_id" in session else None)
    return session


def parse_basic(encoded: str) -> list[Any]:
    """Return [handle, index, password] of a Basic header. Raises: AuthorizationError."""
    user, colon, password = _octets(encoded.strip()).partition(b":")
    if not colon:
        raise AuthorizationError
    identity = parse_identity(user.decode("utf-8", "surrogateescape"))
    return [identity.handle, identity.index, password]


def parse_identity(text: str) -> Reference:
    """Return the identity in a percent-encoded "index:handle"; index 0 stands for any key.

    Raises: AuthorizationError.
    """
    octets = unquote_to_bytes(text.encode("utf-8", "surrogateescape"))
    index, colon, handle = octets.partition(b":")
    if not colon:
        index, handle = b"0", octets
    if not handle:
        raise AuthorizationError
    return Reference(handle, _number(index.decode("latin-1")))


def parse_parameters(text: str) -> dict[str, str]:
    """Return the name="value" pairs of an Authorization header. Raises: AuthorizationError."""
    fields: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _PARAMETER.match(text, position)
        if match is None:
            raise AuthorizationError
        name, quoted, bare = match.groups()
        fields[name] = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        position = match.end()
    return fields


def is_failed(result: Result, authorization: Authorization) -> bool:
    """Say whether the credentials were what an operation failed for."""
    if authorization is None:
        return False
    needs_more = result.response_code == ResponseCode.AUTHENTICATION_NEEDED
    return needs_more or result.response_code in FAILED


async def challenge_response(
    request: Request, handle: bytes | None = None, session: Mapping[str, Any] | None = None
) -> Response:
    """Return 401 with a challenge.

    Args:
        request: what is answered.
        handle: of the operation that needs authentication, for the JSON body, empty when it has
            none; None after a failed Authorization header, which is answered without a body.
        session: the session to go on with; None makes a new one.
    """
    value, words = "Handle", _PLAIN_WORDS
    if context_of(request).takes_credentials(request):
        words = b""
        with contextlib.suppress(LinkDown):  # nobody remembers a nonce: refused all the same
            value = await _challenge(request, session)
    headers = {"www-authenticate": value}
    if handle is None:
        return Response(b"", 401, {**CORS_HEADERS, **headers})
    if not handle:
        document: dict[str, Any] = {"responseCode": int(ResponseCode.AUTHENTICATION_NEEDED)}
        if words:
            document["message"] = words.decode()
        return json_response(request, document, 401, headers)
    needed = Result(ResponseCode.AUTHENTICATION_NEEDED, ErrorAnswer(words))
    return result_response(request, handle, needed, headers=headers)


async def _challenge(request: Request, session: Mapping[str, Any] | None) -> str:
    if session is None:
        address = peer_of(request).address
        session = await context_of(request).operations.rest_session("new", {"address": address})
        if session["code"] != ResponseCode.SUCCESS:
            return "Handle"  # as many wait for an answer as may
    nonce = base64.b64encode(session["nonce"]).decode()
    return f'Handle sessionId="{session["session_id"]}", nonce="{nonce}"'


def _octets(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise AuthorizationError from None


def _number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= len(str(_NUMBER_MAX)):
        number = int(text)
        if number <= _NUMBER_MAX:
            return number
    raise AuthorizationError
