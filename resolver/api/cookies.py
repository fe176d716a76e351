"""Sessions by cookie, for pages of this node's own origin.

    POST /api/sessions      Set-Cookie: __Host-biaoshi-session=..; Secure; HttpOnly; SameSite=Strict

A browser sends a cookie whoever has it send the request, so a cookie counts only where the request
comes from a page of this very origin or from the address bar: SameSite keeps other sites' requests
from having it, `__Host-` keeps others under the same domain from setting it, and a request whose
headers name another origin, or that asks for a script (JSONP), is nobody's. So it is for a
browser's TLS certificate. No answer allows pages of other origins to send credentials.
"""

from starlette.requests import Request

NAME = "__Host-biaoshi-session"
_ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=Strict"
_OWN_PAGES = (None, "same-origin", "none")


def cookie_session(request: Request) -> str:
    """Return the session id in a request's cookie; empty when none counts."""
    session_id = request.cookies.get(NAME, "")
    return session_id if session_id and is_of_own_page(request) else ""


def set_cookie(session_id: str) -> dict[str, str]:
    """Return the header that has a browser keep a session's id."""
    return {"set-cookie": f'{NAME}="{session_id}"; {_ATTRIBUTES}'}


def clear_cookie() -> dict[str, str]:
    """Return the header that has a browser forget it."""
    return {"set-cookie": f'{NAME}=""; {_ATTRIBUTES}; Max-Age=0'}


def is_of_own_page(request: Request) -> bool:
    """Say whether what a browser sends on its own, cookie or certificate, counts in a request."""
    headers = request.headers
    origin = headers.get("origin")
    own = f"{request.url.scheme}://{headers.get('host', '')}"
    return (
        headers.get("sec-fetch-site") in _OWN_PAGES
        and (origin is None or origin.lower() == own.lower())
        and "callback" not in request.query_params
    )
