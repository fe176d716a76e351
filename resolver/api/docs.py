"""The REST interface described: for programs, and as a page on which it can be tried.

    GET /api/openapi.json     the OpenAPI 3.1 document
    GET /api/docs             Swagger UI, from files that come with us
    GET /api/docs/{file}      those files

The page loads nothing from anywhere else and may not: its Content-Security-Policy says so. What
is large is kept compressed, as browsers take it.
"""

import gzip
from functools import cache
from importlib.resources import files

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from resolver.api.answers import json_response
from resolver.api.errors import RequestError

_FOLDER = "swagger_ui"
_FILES = {
    "swagger-ui.css": "text/css;charset=UTF-8",
    "swagger-ui-bundle.js": "text/javascript;charset=UTF-8",
    "page.js": "text/javascript;charset=UTF-8",
}
# Swagger UI sets style attributes and has its icons as data.
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self' "
    "'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_CACHED = {**_HEADERS, "cache-control": "max-age=3600"}
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Biaoshi REST interface</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" href="data:,">
</head>
<body>
<div id="page"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/page.js"></script>
</body>
</html>
"""


async def get_openapi(request: Request) -> Response:
    """GET /api/openapi.json."""
    return json_response(request, _document())


async def get_docs(request: Request) -> Response:
    """GET /api/docs."""
    return Response(_PAGE, 200, _HEADERS, "text/html;charset=UTF-8")


async def get_file(request: Request) -> Response:
    """GET /api/docs/{file}."""
    name = request.path_params["file"]
    if name not in _FILES:
        raise RequestError(f"no such file: known are {', '.join(_FILES)}", status=404)
    octets, is_compressed = _read(name)
    if not is_compressed:
        return Response(octets, 200, _CACHED, _FILES[name])
    if "gzip" not in request.headers.get("accept-encoding", "").lower():
        return Response(_read_plain(name), 200, _CACHED, _FILES[name])
    headers = {**_CACHED, "content-encoding": "gzip", "vary": "accept-encoding"}
    return Response(octets, 200, headers, _FILES[name])


@cache
def _document() -> msgspec.Raw:
    """Return the document, encoded once."""
    from resolver.api.openapi import make_document
    from resolver.api.routes import ENDPOINTS  # which has us in it

    return msgspec.Raw(msgspec.json.encode(make_document(ENDPOINTS)))


@cache
def _read(name: str) -> tuple[bytes, bool]:
    folder = files("resolver.api").joinpath(_FOLDER)
    compressed = folder.joinpath(f"{name}.gz")
    if compressed.is_file():
        return compressed.read_bytes(), True
    return folder.joinpath(name).read_bytes(), False


@cache
def _read_plain(name: str) -> bytes:
    """Return a compressed file's octets as they were."""
    return gzip.decompress(_read(name)[0])
