"""What the API's endpoints share: the dispatcher behind them, the configuration, who may log in."""

import ipaddress
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.requests import Request

from protocol.bodies import Body
from protocol.types.hs_site import TRANSPORT_HTTP, TRANSPORT_HTTPS
from registry.streams import Batch
from resolver.config import Config
from resolver.dispatch import Peer
from resolver.node_receipts import ReceiptFindings
from resolver.proxies import ADDRESS_KEY, parse_address
from resolver.query import Result
from resolver.rest_operations import Listing

_log = logging.getLogger(__name__)

# None, {"basic": [handle, index, password]} or {"session": id}
Authorization = dict[str, Any] | None


class Operations(Protocol):
    """The part of the dispatcher that the API uses."""

    async def perform(
        self, opcode: int, body: Body, flags: int, authorization: Authorization, peer: Peer
    ) -> Result:
        """Carry out one operation."""
        ...

    async def list_handles(
        self,
        prefix_handle: bytes,
        page: int,
        page_size: int,
        authorization: Authorization,
        peer: Peer,
        after: bytes = b"",
    ) -> Listing:
        """Return one page of the handles under a prefix: a number, or what follows `after`."""
        ...

    async def verify(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Say whether an answer was made with a secret key. Raises: LinkDown."""
        ...

    async def rest_session(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Make, answer, show or end a session. Raises: LinkDown."""
        ...

    async def registrations(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Begin, feed, end or show a stream of registrations. Raises: LinkDown."""
        ...

    async def act(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Carry out an act (`resolver.acts`). Raises: LinkDown."""
        ...

    def find_verdicts(self, name: bytes, first: int, last: int) -> Batch | None:
        """Return what became of rows of a stream. Raises: StoreError."""
        ...

    async def check_receipt(self, token: str, after: int) -> ReceiptFindings:
        """Find out whether the node signed a receipt. Raises: DecodeError, StoreError."""
        ...

    async def status(self) -> dict[str, Any]:
        """Return {"ready": bool, "read_only": why or "", ...}."""
        ...


@dataclass
class Context:
    """What endpoints find as `request.app.state.context`."""

    operations: Operations
    config: Config
    now_s: Callable[[], float] = time.time
    intakes: int = 0  # streams of registrations that are being read
    receipts: int = 0  # that are being looked at
    has_warned: bool = field(default=False)

    def takes_credentials(self, request: Request) -> bool:
        """Say whether an Authorization header of this request is read: only inside TLS.

        Like Handle.Net, a node does not punish a header sent in clear, it ignores it, so reading
        goes on; the operator is warned once.
        """
        if request.url.scheme == "https":
            return True
        if self.config.tls.allow_plain_credentials_on_loopback and is_loopback(request):
            return True
        if "authorization" in request.headers and not self.has_warned:
            self.has_warned = True
            _log.warning(
                "credentials sent over plain HTTP are ignored: clients have to use https "
                "(this is said once)"
            )
        return False


def context_of(request: Request) -> Context:
    """Return the context of the application that serves `request`."""
    context = request.app.state.context
    assert isinstance(context, Context)
    return context


def peer_of(request: Request) -> Peer:
    """Return who asks."""
    address, port = request.client or ("", 0)
    secure = request.url.scheme == "https"
    return Peer(address, port, TRANSPORT_HTTPS if secure else TRANSPORT_HTTP)


def is_loopback(request: Request) -> bool:
    """Say whether the connection is from this machine, if need be from a proxy on it."""
    proxy = request.scope.get(ADDRESS_KEY)
    address = client_address(request) if proxy is None else parse_address(proxy)
    return address is not None and address.is_loopback


def client_address(
    request: Request,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the client's address, an IPv4 one as such even on an IPv6 socket."""
    return parse_address(request.client.host if request.client else "")
