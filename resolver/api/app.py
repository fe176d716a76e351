"""The ASGI application: which path is answered where, and how mistakes end.

    /api/..       the table of endpoints: `resolver.api.routes`
    /healthz  /readyz  /metrics  /  /{handle}

A client never sees a traceback: what it did wrong is told as JSON below /api and as a page
elsewhere; what we did wrong is told as such, and logged.
"""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route

from protocol.codes import ResponseCode
from resolver.api import health, pages
from resolver.api.answers import CORS_HEADERS, error_response
from resolver.api.context import Context, Operations
from resolver.api.errors import RequestError
from resolver.api.routes import ENDPOINTS, make_routes
from resolver.config import Config
from resolver.dispatch import link_code
from resolver.link import LinkDown

# Nobody reads it: the client is gone. The number is nginx's for the same.
_CLIENT_GONE = 499
_METHOD_NOT_ALLOWED = 405
_KNOWN = ", ".join(dict.fromkeys("/".join(each.path.split("/")[:3]) for each in ENDPOINTS))


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
    return [
        *make_routes(),
        Route("/api/{rest:path}", _no_such_path),
        Route("/healthz", health.get_healthz),
        Route("/readyz", health.get_readyz),
        Route("/metrics", health.get_metrics),
        Route("/favicon.ico", _nothing),
        Route("/robots.txt", _nothing),
        Route("/", pages.get_front_page, methods=["GET", "POST"]),
        Route("/{handle:path}", pages.get_handle_page, methods=["GET", "POST"]),
    ]


async def _no_such_path(request: Request) -> Response:
    if _methods_of(request):
        raise HTTPException(_METHOD_NOT_ALLOWED)
    raise RequestError(f"no such path: known are {_KNOWN}, see /api/docs", status=404)


async def _nothing(request: Request) -> Response:
    """Answer what browsers and robots ask of every host: no handle has these names."""
    return Response(b"", 404)


def _methods_of(request: Request) -> list[str]:
    """Return the methods that the path of a request has, perhaps none."""
    routes = [each for each in request.app.routes if each.endpoint is not _no_such_path]
    if request.url.path.startswith("/api"):
        routes = routes[:-1]  # a handle's page is at every path
    found = [each for each in routes if each.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for each in found for method in each.methods or ()})


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
    allowed = {}
    if error.status_code == _METHOD_NOT_ALLOWED:
        allowed = {"allow": ", ".join([*_methods_of(request), "OPTIONS"])}
        if request.method == "OPTIONS":
            return Response(b"", 204, {**CORS_HEADERS, **allowed})
    words = f"{request.method[:20]} is not possible here"
    response = _respond(request, RequestError(words, status=error.status_code))
    response.headers.update({**(error.headers or {}), **allowed})
    return response


async def _on_link_down(request: Request, error: Exception) -> Response:
    assert isinstance(error, LinkDown)
    return _respond(request, RequestError(str(error), link_code(error)))


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return Response(b"", _CLIENT_GONE)


async def _on_our_mistake(request: Request, error: Exception) -> Response:
    # uvicorn logs it with its traceback after this.
    return _respond(request, RequestError("server error, see its log", ResponseCode.ERROR))
