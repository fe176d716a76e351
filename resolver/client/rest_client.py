"""What every client of a node's REST interface is made of."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from protocol.types.hs_site import HsSite
from resolver.client.identities import Identity
from resolver.client.rest import RestConnection, rest_url

Sleep = Callable[[float], Awaitable[None]]


class RestClient:
    """A client of one node as one identity.

    Use it from one event loop, in `async with` or with `close`.

    Args:
        url: the node's HTTP port, `https://address:port`; http only on loopback.
        identity: logs in.
        site_key: HS_PUBKEY data that the node's certificate has to hold; `at` takes it out of the
            node's site.
        certificates: PEM file: the node's own certificate, or its authority's. With neither, the
            authorities that this machine trusts count.
        insecure: take any certificate.
        transport: moves requests in place of sockets, for tests.
        sleep: waits between tries.

    Raises:
        ValueError: `url` is none, or http to another machine.
    """

    def __init__(
        self,
        url: str,
        identity: Identity,
        *,
        site_key: bytes = b"",
        certificates: Path | None = None,
        insecure: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._rest = RestConnection(
            url,
            identity,
            site_key=site_key,
            certificates=certificates,
            insecure=insecure,
            transport=transport,
        )
        self._sleep = sleep

    @classmethod
    def at(cls, site: HsSite, identity: Identity, *, certificates: Path | None = None) -> Self:
        """Return a client of the node whose site this is, known by its key.

        Raises:
            HandleError: the site names no HTTP interface.
        """
        url, key = rest_url(site)
        return cls(url, identity, site_key=key, certificates=certificates)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._rest.close()
