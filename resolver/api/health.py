"""What machines ask a node about itself: /healthz, /readyz, /metrics.

/healthz   200 as long as this process answers at all: restart it when it does not
/readyz    200 or 503, JSON: whether it does what it is there for: send it traffic when it does
/metrics   for prometheus, from the networks in [metrics] allow only
"""

import ipaddress

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from resolver.api.context import client_address, context_of
from resolver.metrics import render_metrics

_NO_STORE = {"cache-control": "no-store"}


async def get_healthz(request: Request) -> Response:
    """GET /healthz."""
    return Response(b"ok\n", 200, _NO_STORE, "text/plain")


async def get_readyz(request: Request) -> Response:
    """GET /readyz."""
    status = await context_of(request).operations.status()
    status.pop("prefixes", None)  # for the front page; a probe asks every few seconds
    code = 200 if status["ready"] else 503
    return Response(msgspec.json.encode(status) + b"\n", code, _NO_STORE, "application/json")


async def get_metrics(request: Request) -> Response:
    """GET /metrics."""
    if not _is_allowed(request):
        words = b"this address is not among the networks that [metrics] allow names\n"
        return Response(words, 403, _NO_STORE, "text/plain")
    page, content_type = render_metrics()
    return Response(page, 200, {**_NO_STORE, "content-type": content_type})


def _is_allowed(request: Request) -> bool:
    address = client_address(request)
    if address is None:
        return False
    networks = map(ipaddress.ip_network, context_of(request).config.metrics.allow)
    return any(address.version == each.version and address in each for each in networks)
