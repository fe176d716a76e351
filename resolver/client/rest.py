"""A node's REST interface: connections kept open, the node known by its key, logged in.

    https   the certificate holds the key that the node's site names, or is one of a file's, or was
            issued by an authority that this machine trusts
    http    on this machine only, for nodes that allow credentials there

The log-in is a session: the node's nonce and one of ours are signed, or MACed with a secret, and
the session's id stands in every request after that. Proxies of the environment are not used.
"""

import asyncio
import base64
import ipaddress
import secrets
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
import msgspec

from protocol.challenge import AUTHENTICATION_PUBLIC_KEY, NONCE_OCTETS
from protocol.codes import ResponseCode
from protocol.digests import RequestDigest
from protocol.types.hs_site import TRANSPORT_HTTP, TRANSPORT_HTTPS, HsSite
from protocol.versions import BEST
from protocol.wire import Reader
from resolver.client.errors import (
    AuthenticationRefusedError,
    HandleError,
    ServiceUnavailableError,
    error_for,
    unreachable,
    untrusted,
)
from resolver.client.identities import Identity, reference_to_text
from resolver.client.trust import CONNECT_S, blind_context, file_context, pinned_context

HTTPS_PORT = 443
WRITE_S = 60.0  # for a slice of a body
READ_S = 120.0  # a node has this long to make a request's rows durable
SLICE_OCTETS = 262_144
_UNAUTHORIZED = 401
_CLIENT_NONCE = 0  # the digest id given to our nonce: it is not the digest of anything

Query = Mapping[str, str | Sequence[str]]


class _Told(msgspec.Struct, rename="camel"):
    """What every answer may have."""

    response_code: int = 0
    message: str = ""


class _Session(msgspec.Struct, rename="camel"):
    session_id: str
    nonce: str
    authenticated: bool = False


class RestConnection:
    """Requests to one node as one identity. Use from one event loop, and close it.

    Args:
        url: `https://address:port`; http only on loopback.
        identity: logs in.
        site_key: HS_PUBKEY data that the node's certificate has to hold.
        certificates: PEM file of certificates, the node's own or its authority's.
        insecure: take any certificate.
        transport: moves requests in place of sockets, for tests.

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
    ) -> None:
        self._url = httpx.URL(url)
        if self._url.scheme not in ("http", "https") or not self._url.host:
            raise ValueError(f"{url!r} is not the address of a node: write https://address:port")
        if self._url.scheme == "http" and not _is_loopback(self._url.host):
            raise ValueError(f"{url}: credentials are sent over https only, but for loopback")
        self._identity = identity
        self._site_key = site_key
        self._certificates = certificates
        self._insecure = insecure
        self._transport = transport
        self._http: httpx.AsyncClient | None = None
        self._session_id = ""

    @property
    def url(self) -> str:
        """The node's address."""
        return str(self._url)

    @property
    def identity(self) -> str:
        """Who is logged in: `300:0.NA/88.118.5`."""
        return reference_to_text(self._identity.reference)

    async def close(self) -> None:
        """Close all connections; the next request opens them anew and looks at the certificate."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> httpx.Response:
        """Send a request and return its answer, whatever it says.

        Raises:
            UnreachableError: nobody answered, or not the node that was meant.
            AuthenticationRefusedError: the log-in was refused.
            ServiceUnavailableError: the node cannot log anybody in now.
        """
        async with self.stream(method, path, query=query, headers=headers, body=body) as answer:
            await _read(answer, self.url)
            return answer

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> AsyncGenerator[httpx.Response, None]:
        """Send a request and yield its answer as it comes. Raises: as `request`."""
        for is_last in (False, True):
            http = await self._open()
            session_id = self._session_id or await self._log_in(http)
            request = http.build_request(
                method,
                path,
                params=dict(query or {}),
                headers={
                    "Authorization": f'Handle version="0", sessionId="{session_id}"',
                    **(headers or {}),
                    **({} if body is None else {"Content-Length": str(len(body))}),
                },
                content=None if body is None else _slices(body),
            )
            answer = await self._send(http, request)
            try:
                if answer.status_code != _UNAUTHORIZED or is_last:
                    yield answer
                    return
            finally:
                await answer.aclose()
            self._session_id = ""  # it has ended: log in again, once

    async def _send(self, http: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
        try:
            return await http.send(request, stream=True)
        except httpx.TransportError as error:
            await self.close()
            raise connection_lost(self.url, error) from None

    async def _open(self) -> httpx.AsyncClient:
        if self._http is None:
            self._http = httpx.AsyncClient(
                base_url=self._url,
                verify=await self._make_context(self._url),
                timeout=httpx.Timeout(READ_S, connect=CONNECT_S, write=WRITE_S),
                trust_env=False,
                transport=self._transport,
            )
        return self._http

    async def _make_context(self, url: httpx.URL) -> ssl.SSLContext:
        if self._insecure or url.scheme == "http" or self._transport is not None:
            return blind_context()
        if self._certificates is not None:
            return file_context(self._certificates)
        if self._site_key:
            return await pinned_context(url.host, url.port or HTTPS_PORT, self._site_key)
        return ssl.create_default_context()

    async def _log_in(self, http: httpx.AsyncClient) -> str:
        begun = await self._call(http, "POST", "/api/sessions", None)
        session = msgspec.json.decode(begun.content, type=_Session)
        proof = await asyncio.to_thread(self._prove, base64.b64decode(session.nonce))
        document = {"sessionId": session.session_id, **proof}
        answer = await self._call(http, "PUT", "/api/sessions/this", msgspec.json.encode(document))
        if not msgspec.json.decode(answer.content, type=_Session).authenticated:
            raise self._refused()
        self._session_id = session.session_id
        return session.session_id

    async def _call(
        self, http: httpx.AsyncClient, method: str, path: str, body: bytes | None
    ) -> httpx.Response:
        headers = {} if body is None else {"Content-Type": "application/json"}
        request = http.build_request(method, path, headers=headers, content=body)
        answer = await self._send(http, request)
        try:
            await _read(answer, self.url)
        finally:
            await answer.aclose()
        if answer.status_code == _UNAUTHORIZED:
            raise self._refused()
        if not answer.is_success:
            raise refusal_of(answer)
        return answer

    def _refused(self) -> AuthenticationRefusedError:
        return AuthenticationRefusedError(
            f"{self.url} did not believe {self.identity}",
            response_code=ResponseCode.AUTHENTICATION_FAILED,
            hint="the key or secret has to be the one registered at this identity's index",
        )

    def _prove(self, nonce: bytes) -> dict[str, str]:
        """Return the fields that answer a challenge; may take milliseconds of CPU."""
        mine = secrets.token_bytes(NONCE_OCTETS)
        proof = Reader(self._identity.answer(nonce, RequestDigest(_CLIENT_NONCE, mine), BEST))
        kind = self._identity.authentication_type
        fields = {
            "id": quote(self.identity.encode("utf-8", "surrogateescape"), safe=""),
            "type": kind.decode(),
            "cnonce": _base64(mine),
        }
        if kind == AUTHENTICATION_PUBLIC_KEY:
            fields["alg"] = proof.read_str("hash name").decode()
        else:
            proof.read_u8("algorithm")  # PBKDF2, what BEST has
            fields["alg"] = "PBKDF2HMACSHA1"
            fields["salt"] = _base64(proof.read_str("salt"))
            fields["iterations"] = str(proof.read_i32("rounds"))
            fields["length"] = str(proof.read_i32("key bits"))
        return fields | {"signature": _base64(proof.read_str("signature"))}


def rest_url(site: HsSite) -> tuple[str, bytes]:
    """Return the address of a site's REST interface, and the server's key.

    Raises:
        HandleError: the site has none.
    """
    for server in site.servers:
        for interface in server.interfaces:
            if interface.protocol in (TRANSPORT_HTTP, TRANSPORT_HTTPS):
                host = f"[{server.ip}]" if server.ip.version == 6 else str(server.ip)
                return f"https://{host}:{interface.port}", server.public_key
    raise HandleError(
        "the node names no HTTP interface, and this needs one",
        hint="register row by row over the Handle protocol: HandleClient, import --by-row",
    )


def refusal_of(answer: httpx.Response) -> HandleError:
    """Return the error for an answer that is none of success."""
    try:
        told = msgspec.json.decode(answer.content, type=_Told)
    except msgspec.DecodeError:
        told = _Told()
    words = told.message or f"{answer.request.url.path} answered {answer.status_code}"
    if answer.status_code in (502, 503, 504):
        return ServiceUnavailableError(
            words, response_code=told.response_code or None, hint="try again in a few seconds"
        )
    if answer.status_code == _UNAUTHORIZED:
        words = "the node has ended a session that had only begun"
        return ServiceUnavailableError(words, hint="try again: was the node started anew?")
    if told.response_code:
        return error_for(told.response_code, words)
    hint = "is this the HTTP port of a node that registers?"
    return HandleError(words, hint=hint)


async def _read(answer: httpx.Response, url: str) -> None:
    try:
        await answer.aread()
    except httpx.TransportError as error:
        raise connection_lost(url, error) from None


def connection_lost(url: str, error: Exception) -> HandleError:
    """Return the error for a connection that could not be made, or broke."""
    words = str(error) or type(error).__name__
    if isinstance(error.__context__, ssl.SSLCertVerificationError) or "CERTIFICATE" in words:
        return untrusted(f"{url}: {words}")
    return unreachable(f"{url}: {words}")


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


async def _slices(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), SLICE_OCTETS):
        yield body[start : start + SLICE_OCTETS]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
