"""The ASGI application: which path is answered where, and how mistakes end.

    /api/handles  /api/handles/{handle}  /api/site  /api/sessions  /api/sessions/this
    /api/registrations  /api/registrations/{key}  /api/registrations/{key}/verdicts
    /api/ranges  /api/ranges/count  /api/ranges/of/{identifier}  /api/ranges/history
    /api/ranges/shrink  .../split  .../revoke
    /api/receipts/verify
    /api/applications  /api/prefixes/{prefix}  /api/quotas/{prefix}  /api/people/{subject}
    /api/templates  /api/templates/{prefix}/{code}  .../{version}  .../{version}/withdrawal
    /api/life/freeze  /api/life/thaw  /api/life/revoke  /api/life/state  .../history  .../as-of
    /healthz  /readyz  /metrics  /  /{handle}

A client never sees a traceback: what it did wrong is told as JSON below /api and as a page
elsewhere; what we did wrong is told as such, and logged.
"""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.codes import ResponseCode
from resolver.api import (
    counts,
    handles,
    health,
    life,
    office,
    pages,
    ranges,
    receipts,
    registrations,
    sessions,
    templates,
)
from resolver.api.answers import CORS_HEADERS, error_response
from resolver.api.context import Context, Operations
from resolver.api.errors import RequestError
from resolver.api.site_info import get_site
from resolver.config import Config
from resolver.dispatch import link_code
from resolver.link import LinkDown

# Nobody reads it: the client is gone. The number is nginx's for the same.
_CLIENT_GONE = 499
_METHOD_NOT_ALLOWED = 405


def make_app(operations: Operations, config: Config) -> Starlette:
    """Return the application of one worker."""
    app = Starlette(
        routes=_routes(),
        exception_handlers={
            RequestError: _on_request_error,
            HTTPException: _on_http_exception,
            LinkDown: _on_link_down,
            ClientDisconnect: _on_disconnect,
            Exception: _on_our_mistake,
        },
    )
    app.router.redirect_slashes = False
    app.state.context = Context(operations, config)
    return app


def _routes() -> list[Route]:
    handle, this = "/api/handles/{handle:path}", "/api/sessions/this"
    return [
        Route("/api/handles", handles.list_handles),
        Route("/api/handles/", handles.list_handles),
        Route(handle, handles.get_handle),
        Route(handle, handles.post_handle, methods=["POST"]),
        Route(handle, handles.put_handle, methods=["PUT"]),
        Route(handle, handles.delete_handle, methods=["DELETE"]),
        Route("/api/site", get_site),
        Route("/api/sessions", sessions.post_sessions, methods=["POST"]),
        Route(this, sessions.get_session),
        Route(this, sessions.put_session, methods=["PUT", "POST"]),
        Route(this, sessions.delete_session, methods=["DELETE"]),
        Route("/api/registrations", registrations.post_registrations, methods=["POST"]),
        Route("/api/registrations/{key}", registrations.get_stream),
        Route("/api/registrations/{key}/verdicts", registrations.get_verdicts),
        Route("/api/ranges", ranges.get_ranges),
        Route("/api/ranges", ranges.post_range, methods=["POST"]),
        Route("/api/ranges/count", ranges.get_range_counts),
        Route("/api/ranges/history", ranges.get_range_history),
        Route("/api/ranges/of/{identifier:path}", ranges.get_range_of),
        Route("/api/ranges/shrink", ranges.post_shrink, methods=["POST"]),
        Route("/api/ranges/split", ranges.post_split, methods=["POST"]),
        Route("/api/ranges/revoke", ranges.post_revoke, methods=["POST"]),
        *_life_routes(),
        Route("/api/statistics", counts.get_statistics),
        Route("/api/statistics/totals", counts.get_totals),
        Route("/api/statistics/sources", counts.get_sources),
        Route("/api/receipts/verify", receipts.post_receipt, methods=["POST"]),
        *templates.routes(),
        *_office_routes(),
        Route("/api/{rest:path}", _no_such_path),
        Route("/healthz", health.get_healthz),
        Route("/readyz", health.get_readyz),
        Route("/metrics", health.get_metrics),
        Route("/", pages.get_front_page),
        Route("/{handle:path}", pages.get_handle_page),
    ]


def _life_routes() -> list[Route]:
    return [
        Route(f"{life.PATH}/freeze", life.post_freeze, methods=["POST"]),
        Route(f"{life.PATH}/thaw", life.post_thaw, methods=["POST"]),
        Route(f"{life.PATH}/revoke", life.post_revoke, methods=["POST"]),
        Route(f"{life.PATH}/state", life.get_state),
        Route(f"{life.PATH}/history", life.get_history),
        Route(f"{life.PATH}/as-of", life.get_as_of),
    ]


def _office_routes() -> list[Route]:
    application = "/api/applications/{number}"
    return [
        Route("/api/applications", office.get_applications),
        Route("/api/applications", office.post_application, methods=["POST"]),
        Route(application, office.get_application),
        Route(application + "/{verb}", office.post_decision, methods=["POST"]),
        Route("/api/prefixes/{prefix}", office.get_prefix),
        Route("/api/prefixes/{prefix}/{verb}", office.post_prefix, methods=["POST"]),
        Route("/api/quotas/{prefix}", office.get_quota),
        Route("/api/quotas/{prefix}", office.put_quota, methods=["PUT"]),
        Route("/api/people/{subject}", office.delete_person, methods=["DELETE"]),
    ]


async def _no_such_path(request: Request) -> Response:
    raise RequestError(
        "no such path: known are /api/handles, /api/site, /api/sessions, /api/registrations, "
        "/api/ranges, /api/life, /api/templates, /api/statistics, /api/receipts/verify, "
        "/api/applications, /api/prefixes, /api/quotas",
        status=404,
    )


def _respond(request: Request, error: RequestError) -> Response:
    if request.url.path.startswith("/api"):
        return error_response(request, error)
    return pages.error_page(error)


async def _on_request_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return _respond(request, error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Answer what the router refuses: an unknown method, and what asks which ones are known."""
    assert isinstance(error, HTTPException)
    if error.status_code == _METHOD_NOT_ALLOWED and request.method == "OPTIONS":
        return Response(b"", 204, CORS_HEADERS)
    words = f"{request.method[:20]} is not possible here"
    response = _respond(request, RequestError(words, status=error.status_code))
    response.headers.update(error.headers or {})
    return response


async def _on_link_down(request: Request, error: Exception) -> Response:
    assert isinstance(error, LinkDown)
    return _respond(request, RequestError(str(error), link_code(error)))


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return Response(b"", _CLIENT_GONE)


async def _on_our_mistake(request: Request, error: Exception) -> Response:
    # uvicorn logs it with its traceback after this.
    return _respond(request, RequestError("server error, see its log", ResponseCode.ERROR))
