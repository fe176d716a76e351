"""Sessions over REST: log in once, then send only the session's id. HTTPS only.

    POST   /api/sessions         201 {"sessionId", "nonce"}; with a password or a certificate, whose
                                 session it is then: {.., "authenticated": true, "id"}
    GET    /api/sessions/this    200 {"sessionId", "nonce", "authenticated", ["id"]};
                                 without a session {"authenticated", ["id"]}
    PUT    /api/sessions/this    the fields of the Authorization header as a JSON object, a form, in
                                 the query or the header itself; POST too. Without an answer it
                                 shows the session; a wrong answer is 401, with {.., "error"}
    DELETE /api/sessions/this    204

"this" is the session that `Authorization: Handle sessionId=".."`, the member sessionId of the body,
or the cookie that a new session sets, names; one that is not there is 403, as in Handle.Net. The
state lives in the registrar (`resolver.rest_sessions`).
"""

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from protocol.codes import ResponseCode
from protocol.handle import to_text
from resolver.api.answers import CORS_HEADERS, json_response
from resolver.api.authorization import (
    AuthorizationError,
    answer_challenge,
    claimed_by_request,
    fields_of_header,
)
from resolver.api.challenges import NOT_VERIFIED, challenge_response
from resolver.api.context import Authorization, context_of, peer_of
from resolver.api.cookies import clear_cookie, cookie_session, is_of_own_page, set_cookie
from resolver.api.errors import RequestError
from resolver.api.parameters import all_parameters

_THIS = "/api/sessions/this"
_ANSWERING = ("id", "type", "alg", "signature")
_NO_SUCH = "there is no such session: it ended or never was"


async def post_sessions(request: Request) -> Response:
    """POST /api/sessions: a new session, nobody's yet unless somebody says who he is."""
    _require_tls(request)
    if (await _fields(request)).get("sessionId"):
        raise RequestError("a new session has no id yet: leave sessionId out")
    try:
        authorization = claimed_by_request(request)
    except AuthorizationError:
        return await challenge_response(request)
    session = await _ask(request, "new", authorization=authorization)
    if session["code"] == ResponseCode.SERVER_TOO_BUSY:
        raise RequestError("too many sessions are held: try again later", session["code"])
    if session["code"] != ResponseCode.SUCCESS:
        return await challenge_response(request)
    # A form on somebody else's page must not put an empty session in the place of a cookie's.
    cookie = set_cookie(session["session_id"]) if is_of_own_page(request) else {}
    headers = {"location": _THIS, **cookie}
    return json_response(request, _shown(session, whole=session["authenticated"]), 201, headers)


async def get_session(request: Request) -> Response:
    """GET /api/sessions/this."""
    _require_tls(request)
    return await _show(request, await _fields(request))


async def put_session(request: Request) -> Response:
    """PUT or POST /api/sessions/this: answer the challenge."""
    _require_tls(request)
    fields = await _fields(request)
    if not any(name in fields for name in _ANSWERING):
        return await _show(request, fields)
    fields.setdefault("sessionId", cookie_session(request))
    try:
        session = await answer_challenge(request, fields)
    except AuthorizationError as error:
        if error.session is None and await _find(request, fields) is None:
            raise RequestError(_NO_SUCH, ResponseCode.AUTHENTICATION_FAILED) from None
        return await _refused(request, fields, error)
    return json_response(request, _shown(session, whole=True))


async def delete_session(request: Request) -> Response:
    """DELETE /api/sessions/this."""
    _require_tls(request)
    session_id = _session_id(request, await _fields(request))
    ended = await _ask(request, "delete", session_id=session_id)
    if ended["code"] != ResponseCode.SUCCESS:
        raise RequestError(_NO_SUCH, ResponseCode.AUTHENTICATION_FAILED)
    return Response(b"", 204, {**CORS_HEADERS, **clear_cookie()})


async def _show(request: Request, fields: Mapping[str, str]) -> Response:
    """Return the session that a request names, or who asks where it names none."""
    if _session_id(request, fields):
        session = await _find(request, fields)
        if session is None:
            raise RequestError(_NO_SUCH, ResponseCode.AUTHENTICATION_FAILED)
        return json_response(request, _shown(session, whole=True))
    try:
        authorization = claimed_by_request(request)
    except AuthorizationError:
        return await challenge_response(request)
    if authorization is None:
        return json_response(request, {"authenticated": False})
    found = await _ask(request, "who", authorization=authorization)
    if found["code"] != ResponseCode.SUCCESS:
        return await challenge_response(request)
    return json_response(request, _identity(found))


async def _refused(
    request: Request, fields: Mapping[str, str], error: AuthorizationError
) -> Response:
    """Return 401 with the session for another attempt: its nonce is a new one by now."""
    session = error.session or await _find(request, fields)
    challenge = await challenge_response(request, session=session)
    if session is None or "nonce" not in session:
        return challenge
    answer = json_response(request, _shown(session) | {"error": NOT_VERIFIED}, 401)
    for value in challenge.headers.getlist("www-authenticate"):
        answer.headers.append("www-authenticate", value)
    return answer


def _require_tls(request: Request) -> None:
    if not context_of(request).takes_credentials(request):
        raise RequestError("sessions are there over https only", status=403)


async def _fields(request: Request) -> dict[str, str]:
    """Return the fields of a log-in: those of the header, else of the body or the query.

    Raises: RequestError.
    """
    parameters = await all_parameters(request)
    fields = {name: parameters.text(name) for name in parameters.names()}
    if ":" not in fields.get("id", ":"):  # written as in the header, colon as %3A
        fields["id"] = unquote(fields["id"])
    return fields | fields_of_header(request)


async def _find(request: Request, fields: Mapping[str, str]) -> dict[str, Any] | None:
    """Return a session as the registrar shows it; None when it knows no such session."""
    session = await _ask(request, "get", session_id=_session_id(request, fields))
    return session if session["code"] == ResponseCode.SUCCESS else None


def _session_id(request: Request, fields: Mapping[str, str]) -> str:
    return fields.get("sessionId", "") or cookie_session(request)


async def _ask(
    request: Request, action: str, *, authorization: Authorization = None, **payload: str
) -> dict[str, Any]:
    peer = peer_of(request)
    asked: dict[str, Any] = {**payload, "address": peer.address}
    if authorization is not None:
        asked |= {"authorization": authorization, "transport": peer.transport}
    return await context_of(request).operations.rest_session(action, asked)


def _shown(session: Mapping[str, Any], *, whole: bool = False) -> dict[str, Any]:
    document = {
        "sessionId": session["session_id"],
        "nonce": base64.b64encode(session["nonce"]).decode(),
    }
    return {**document, **_identity(session)} if whole else document


def _identity(session: Mapping[str, Any]) -> dict[str, Any]:
    if not session["authenticated"]:
        return {"authenticated": False}
    name = f"{session['index']}:{to_text(session['handle'])}"
    return {"authenticated": True, "id": name}
