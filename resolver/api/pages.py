"""What people see in a browser: the node's front page, and any handle as a path.

`GET /88.118.5/X1` leads on to the handle's first URL value; `?noredirect`, or a handle without one,
shows its public values. Whatever comes from a record is escaped; the pages load and run nothing.
"""

import html
import re
from collections.abc import Iterable
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from protocol.bodies import ErrorAnswer, ResolutionRequest, ValuesRequest
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.handle import fold_case, to_text
from protocol.value import HandleValue
from resolver.api.answers import json_response
from resolver.api.context import context_of, peer_of
from resolver.api.errors import RequestError, http_status
from resolver.api.parameters import handle_in_path

_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_STYLE = (
    "body{font:16px/1.5 sans-serif;margin:2em auto;max-width:50em;padding:0 1em}"
    "table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.3em .6em;text-align:left}"
    "td{overflow-wrap:anywhere}"
)
# A record may name any scheme; a browser is only sent to where it would go by itself.
_REDIRECTED = re.compile(rb"(?i)(https?|ftp)://[^\x00-\x20\x7f]+\Z")
_URL_SAFE = "%/:?#[]@!$&'()*+,;=~-._"
_SHOWN_OCTETS_MAX = 2_048


async def get_front_page(request: Request) -> Response:
    """GET /: what this node is, and what can be asked of it."""
    context = context_of(request)
    status = await context.operations.status()
    about = {
        "program": "biaoshi",
        "role": context.config.role.value,
        "ready": status["ready"],
        "readOnly": status.get("read_only", ""),
        "prefixes": [_shown(each) for each in status.get("prefixes", [])],
        "links": {
            "site": "/api/site",
            "resolve": "/api/handles/{handle}",
            "health": "/healthz",
            "readiness": "/readyz",
        },
    }
    if "text/html" not in request.headers.get("accept", ""):
        return json_response(request, about)
    rows = [
        ("role", about["role"]),
        ("ready", "yes" if about["ready"] else "no"),
    ]
    if context.config.role.registers:
        rows.append(("registrations", about["readOnly"] or "open"))
        rows.append(("prefixes", ", ".join(status_prefixes(status)) or "none"))
    links = "".join(f'<li><a href="{path}">{path}</a></li>' for path in ("/api/site", "/readyz"))
    body = (
        f"{_table(('', ''), rows)}<p>To resolve: <code>/api/handles/…</code>, or a handle as the "
    )
    body += f"path of this address.</p><ul>{links}</ul>"
    return _page("biaoshi", body)


def status_prefixes(status: dict[str, object]) -> list[str]:
    """Return the prefixes a node's status names, as text."""
    prefixes = status.get("prefixes", [])
    return [_shown(each) for each in prefixes] if isinstance(prefixes, list) else []


async def get_handle_page(request: Request) -> Response:
    """GET /{handle}: to its first URL, or its values as a page."""
    handle = handle_in_path(request, b"/")
    flags = MessageFlag.PUBLIC_ONLY
    result = await context_of(request).operations.perform(
        OpCode.RESOLUTION, ResolutionRequest(handle), flags, None, peer_of(request)
    )
    if not isinstance(result.body, ValuesRequest):
        words = result.body.message if isinstance(result.body, ErrorAnswer) else None
        return _refusal_page(handle, result.response_code, words)
    target = None if "noredirect" in request.query_params else first_url(result.body.values)
    if target is not None:
        return RedirectResponse(target, 302, {"cache-control": "no-cache"})
    rows = [
        (str(value.index), to_text(value.type), _shown(value.data)) for value in result.body.values
    ]
    return _page(to_text(handle), _table(("index", "type", "data"), rows))


def first_url(values: Iterable[HandleValue]) -> str | None:
    """Return the first URL value that a browser may be sent to, quoted for a header."""
    for value in values:
        if fold_case(value.type) == b"URL" and _REDIRECTED.match(value.data):
            return quote(value.data, safe=_URL_SAFE)
    return None


def error_page(error: RequestError) -> Response:
    """Return a refusal for people."""
    return _page(
        "This request cannot be answered", f"<p>{html.escape(error.words)}</p>", error.status
    )


def _refusal_page(handle: bytes, response_code: int, words: bytes | None) -> Response:
    name = f"<code>{html.escape(to_text(handle))}</code>"
    if response_code == ResponseCode.HANDLE_NOT_FOUND:
        body = f"<p>There is no identifier {name}.</p><p>Look for typing mistakes in it.</p>"
        return _page("Not found", body, 404)
    body = f"<p>{name} could not be resolved here (response code {int(response_code)}).</p>"
    if words:
        body += f"<p>{html.escape(to_text(words))}</p>"
    return _page("Not resolved", body, http_status(response_code, reading=True))


def _page(title: str, body: str, status: int = 200) -> Response:
    shown = html.escape(title)
    document = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{shown}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{shown}</h1>{body}</body></html>\n"
    )
    octets = document.encode("utf-8", "backslashreplace")
    return Response(octets, status, _HEADERS, "text/html; charset=utf-8")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["".join(f"<th>{html.escape(each)}</th>" for each in head)] if any(head) else []
    lines += ["".join(f"<td>{html.escape(each)}</td>" for each in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _shown(data: object) -> str:
    if not isinstance(data, bytes):
        return str(data)
    try:
        text = data[:_SHOWN_OCTETS_MAX].decode()
    except UnicodeDecodeError:
        return f"{len(data)} octets"
    if not all(each.isprintable() or each in "\r\n\t" for each in text):
        return f"{len(data)} octets"
    return text if len(data) <= _SHOWN_OCTETS_MAX else f"{text}… ({len(data)} octets)"
