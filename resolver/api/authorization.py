"""Who asks: the Authorization header of a REST request, and the challenge when it is missing.

    Basic <base64 of user:password>      user = percent-encoded "index:handle", colon as %3A

    Handle sessionId="..", id="300:0.NA/x", type="HS_PUBKEY", cnonce="b64", alg="SHA256",
           signature="b64" [, salt="b64", iterations="..", length=".."]      answers a challenge
    Handle version="0", sessionId=".."                                       goes on afterwards

    Handle clientCert="true"             who the certificate of the TLS connection says, on the port
                                         that asks for one (`resolver.client_certificates`)

Without any of it an operation is challenged (`resolver.api.challenges`).

A browser that asked its user for a password sends it by itself from then on, to pages elsewhere
too. So a password is nobody's in what a page elsewhere can have a browser send unasked and to an
effect: a POST of a form's kinds, or a script by JSONP (`_may_be_foreign`).

Without a header it is the certificate's, or a session's by cookie (`cookies`).
Headers are read inside TLS only (`Context.takes_credentials`). Sessions live in the registrar: a
client may come back over any connection, to any worker.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from starlette.requests import Request

from protocol.codes import ResponseCode
from protocol.handle import to_text
from protocol.json_fields import decode_loose_base64
from protocol.value import Reference
from resolver.api.context import Authorization, context_of, peer_of
from resolver.api.cookies import cookie_session, is_of_own_page
from resolver.api.errors import RequestError
from resolver.api.parameters import FORM_TYPE, content_type
from resolver.client_certificates import CERTIFIED_CLIENT
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
_NUMBER_MAX = 2**31 - 1
_VERSION = "0"  # of the Handle scheme
# Bodies that a browser sends to another origin without asking it first (Fetch, "simple" requests).
_SENT_UNASKED = ("", FORM_TYPE, "multipart/form-data", "text/plain")
_NAMES = {
    name.lower(): name
    for name in (
        *("version", "clientCert", "sessionId", "id", "cnonce", "type", "alg", "signature"),
        *("salt", "iterations", "length"),
    )
}
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
        claimed = claimed_by_request(request)
        return claimed or (await _find_cookie(request) if is_of_own_page(request) else None)
    claimed = claimed_by_request(request)
    if claimed is not None or header.strip()[:5].lower() == "basic":
        return claimed
    return await _find_session(request, fields_of_header(request))


def claimed_by_request(request: Request) -> Authorization:
    """Return what a request's password or certificate says, None when it has neither.

    Raises: AuthorizationError, for a header that is malformed or of a scheme that is not known.
    """
    header = request.headers.get("authorization")
    if header is None:
        return find_certificate(request) if is_of_own_page(request) else None
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() == "basic":
        return None if _may_be_foreign(request) else {"basic": parse_basic(rest)}
    if scheme.lower() != "handle":
        raise AuthorizationError
    if parse_parameters(rest).get("clientCert", "").lower() == "true":
        found = find_certificate(request) if is_of_own_page(request) else None
        if found is None:
            raise AuthorizationError
        return found
    return None


def fields_of_header(request: Request) -> dict[str, str]:
    """Return the fields of an Authorization header of the Handle scheme, of others none."""
    scheme, _, rest = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != "handle":
        return {}
    try:
        fields = parse_parameters(rest)
    except AuthorizationError:
        return {}
    return fields | (
        {"id": unquote(fields["id"], errors="surrogateescape")} if "id" in fields else {}
    )


def _may_be_foreign(request: Request) -> bool:
    """Say whether a page elsewhere may have had a browser send this, with a password it keeps."""
    is_simple = request.method == "POST" and content_type(request) in _SENT_UNASKED
    is_script = "callback" in request.query_params
    return (is_simple or is_script) and not is_of_own_page(request)


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
    if fields.get("version", _VERSION) != _VERSION:
        raise AuthorizationError
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
    name = fields.get("id", "").encode("utf-8", "surrogateescape")
    user, peer = parse_identity(name), peer_of(request)
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
    identity = parse_identity(unquote_to_bytes(user))
    return [identity.handle, identity.index, password]


def parse_identity(octets: bytes) -> Reference:
    """Return the identity in "index:handle"; index 0 stands for any key.

    Raises: AuthorizationError.
    """
    index, colon, handle = octets.partition(b":")
    if not colon:
        index, handle = b"0", octets
    if not handle:
        raise AuthorizationError
    return Reference(handle, _number(index.decode("latin-1")))


def parse_parameters(text: str) -> dict[str, str]:
    """Return the name="value" pairs of an Authorization header, names in either case.

    Raises: AuthorizationError.
    """
    fields: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _PARAMETER.match(text, position)
        if match is None:
            raise AuthorizationError
        name, quoted, bare = match.groups()
        fields[_NAMES.get(name.lower(), name)] = (
            bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        )
        position = match.end()
    return fields


def is_failed(result: Result, authorization: Authorization) -> bool:
    """Say whether the credentials were what an operation failed for."""
    if authorization is None:
        return False
    needs_more = result.response_code == ResponseCode.AUTHENTICATION_NEEDED
    return needs_more or result.response_code in FAILED


def _octets(text: str) -> bytes:
    try:
        return decode_loose_base64(text)
    except ValueError:
        raise AuthorizationError from None


def _number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= len(str(_NUMBER_MAX)):
        number = int(text)
        if number <= _NUMBER_MAX:
            return number
    raise AuthorizationError
