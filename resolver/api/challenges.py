"""What is answered to who has to say who he is, or did and was not believed: 401.

401, WWW-Authenticate: Basic realm="handle"       so that browsers and HTTP libraries ask for a
                                                  password; not of scripts that say they are
                                                  one: X-Requested-With: XMLHttpRequest
     WWW-Authenticate: Handle sessionId="..", nonce="b64" [, error=".."]   is the challenge
"""

import base64
import contextlib
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from protocol.bodies import ErrorAnswer
from protocol.codes import ResponseCode
from resolver.api.answers import CORS_HEADERS, json_response, result_response
from resolver.api.context import context_of, peer_of
from resolver.link import LinkDown
from resolver.query import Result

_PASSWORD_CHALLENGE = 'Basic realm="handle"'
NOT_VERIFIED = "Identity not verified"
_PLAIN_WORDS = b"authentication needed; credentials are read over https only"


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
    if handle is None and value != "Handle":
        value += f', error="{NOT_VERIFIED}"'
    response = _needed(request, handle, words)
    if _is_asked_for_password(request):
        response.headers.append("www-authenticate", _PASSWORD_CHALLENGE)
    response.headers.append("www-authenticate", value)
    return response


def _is_asked_for_password(request: Request) -> bool:
    """Say whether a 401 invites the client to ask its user for a password."""
    if not context_of(request).takes_credentials(request):
        return False
    header = request.headers.get("authorization")
    if header is not None:
        return header.strip().lower().startswith("basic")
    return request.headers.get("x-requested-with") != "XMLHttpRequest"


def _needed(request: Request, handle: bytes | None, words: bytes) -> Response:
    """Return a 401 without its challenge."""
    if handle is None:
        return Response(b"", 401, CORS_HEADERS)
    if not handle:
        document: dict[str, Any] = {"responseCode": int(ResponseCode.AUTHENTICATION_NEEDED)}
        if words:
            document["message"] = words.decode()
        return json_response(request, document, 401)
    needed = Result(ResponseCode.AUTHENTICATION_NEEDED, ErrorAnswer(words))
    return result_response(request, handle, needed)


async def _challenge(request: Request, session: Mapping[str, Any] | None) -> str:
    if session is None:
        address = peer_of(request).address
        session = await context_of(request).operations.rest_session("new", {"address": address})
        if session["code"] != ResponseCode.SUCCESS:
            return "Handle"  # as many wait for an answer as may
    nonce = base64.b64encode(session["nonce"]).decode()
    return f'Handle sessionId="{session["session_id"]}", nonce="{nonce}"'
