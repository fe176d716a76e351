"""Sessions over REST: log in once, then send only the session's id. HTTPS only.

    POST   /api/sessions         201 {"sessionId", "nonce"}
    GET    /api/sessions/this    200 {"sessionId", "nonce", "authenticated", ["id"]}
    PUT    /api/sessions/this    the fields of the Authorization header as a JSON object; POST too
    DELETE /api/sessions/this    204

"this" is the session that `Authorization: Handle sessionId=".."`, the member sessionId of the body,
or the cookie that a new session sets, names. The state lives in the registrar
(`resolver.rest_sessions`).
"""

import base64
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from protocol.codes import ResponseCode
from protocol.handle import to_text
from resolver.api.answers import CORS_HEADERS, json_response
from resolver.api.authorization import (
    AuthorizationError,
    answer_challenge,
    challenge_response,
    parse_parameters,
)
from resolver.api.context import context_of, peer_of
from resolver.api.cookies import clear_cookie, cookie_session, is_of_own_page, set_cookie
from resolver.api.errors import RequestError
from resolver.api.parameters import json_body


async def post_sessions(request: Request) -> Response:
    """POST /api/sessions: a new session, nobody's yet."""
    _require_tls(request)
    session = await context_of(request).operations.rest_session(
        "new", {"address": peer_of(request).address}
    )
    if session["code"] != ResponseCode.SUCCESS:
        raise RequestError("too many sessions are held: try again later", session["code"])
    # A form on somebody else's page must not put an empty session in the place of a cookie's.
    cookie = set_cookie(session["session_id"]) if is_of_own_page(request) else {}
    return json_response(request, _shown(session), 201, cookie)


async def get_session(request: Request) -> Response:
    """GET /api/sessions/this."""
    _require_tls(request)
    session = await _session_action(request, "get")
    if session is None:
        return await challenge_response(request)
    return json_response(request, _shown(session, whole=True))


async def put_session(request: Request) -> Response:
    """PUT or POST /api/sessions/this: answer the challenge."""
    _require_tls(request)
    document = await json_body(request)
    if not isinstance(document, dict):
        raise RequestError("the body is not a JSON object with the fields of the header")
    fields = {name: str(value) for name, value in document.items()}
    fields.setdefault("sessionId", _session_id(request))
    try:
        session = await answer_challenge(request, fields)
    except AuthorizationError as error:
        return await challenge_response(request, session=error.session)
    return json_response(request, _shown(session, whole=True))


async def delete_session(request: Request) -> Response:
    """DELETE /api/sessions/this."""
    _require_tls(request)
    if await _session_action(request, "delete") is None:
        return await challenge_response(request)
    return Response(b"", 204, {**CORS_HEADERS, **clear_cookie()})


def _require_tls(request: Request) -> None:
    if not context_of(request).takes_credentials(request):
        raise RequestError("sessions are there over https only", status=403)


async def _session_action(request: Request, action: str) -> dict[str, Any] | None:
    """Return what the registrar answers; None when it knows no such session."""
    session = await context_of(request).operations.rest_session(
        action, {"session_id": _session_id(request), "address": peer_of(request).address}
    )
    return session if session["code"] == ResponseCode.SUCCESS else None


def _session_id(request: Request) -> str:
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "handle":
        return cookie_session(request)
    try:
        return parse_parameters(rest).get("sessionId", "")
    except AuthorizationError:
        return ""


def _shown(session: Mapping[str, Any], *, whole: bool = False) -> dict[str, Any]:
    document = {
        "sessionId": session["session_id"],
        "nonce": base64.b64encode(session["nonce"]).decode(),
    }
    if whole:
        document["authenticated"] = session["authenticated"]
    if whole and session["authenticated"]:
        document["id"] = f"{session['index']}:{to_text(session['handle'])}"
    return document
