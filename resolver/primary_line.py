"""Asking a primary for its log or for a dump, over TCP: the request, the proof of who we are, TLS.

    request ──> 402 ──> proof, over a new connection ──> answer, i32 type ─┬─ TLS, then the records
                                                                           └─ signed blocks

A stream is believed only when its certificate has the key that the primary's site names, or its
blocks are signed with it; one that is neither is refused. Handle.Net and this project's nodes
answer alike.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from protocol.bodies import Body, ErrorAnswer
from protocol.codes import ResponseCode
from protocol.errors import ProtocolError
from protocol.replication_stream import (
    STREAM_SIGNED,
    STREAM_TLS,
    STREAM_TYPE_OCTETS,
    ReplicationDecoder,
    read_stream_type,
)
from protocol.types.hs_pubkey import PublicKey, decode_public_key, encode_public_key
from protocol.types.hs_site import TRANSPORT_TCP, HsSite
from protocol.versions import V2_8, Version
from resolver import dsa_tls
from resolver.asking import Answer, Candidate, Request, build_message, check_answer, interfaces_of
from resolver.asking import version_for as version_for_site
from resolver.client.challenges import answer_challenge, is_challenge
from resolver.client.identities import Identity
from resolver.exchanges import ExchangeError, ExchangeLimits, connect, read_messages
from resolver.http_tunnel import tls_context

READ_OCTETS = 65_536

Head = TypeVar("Head")
Record = TypeVar("Record")


class PrimaryError(Exception):
    """A primary that cannot be followed at the moment; the text says why."""


class _Line(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class _TlsReader(asyncio.StreamReaderProtocol):
    """Feeds a reader out of TLS, where nothing stays open behind the end."""

    def eof_received(self) -> bool:
        """Take note of the end."""
        super().eof_received()
        return False


class PrimaryLine:
    """How one server of a primary's site is asked.

    Args:
        site: the primary's.
        number: of the server in it, counted from 0.
        identity: who we are there.
        now_s: the time since 1970, for the expiry that requests carry.
        silence_s: seconds without an octet after which a stream is given up.

    Raises:
        PrimaryError: the server takes no administration over TCP, or has no key.
    """

    def __init__(
        self,
        site: HsSite,
        number: int,
        identity: Identity,
        now_s: Callable[[], float],
        silence_s: float,
    ) -> None:
        self._site = site
        self._identity = identity
        self._now_s = now_s
        self._limits = ExchangeLimits(silence_s=silence_s)
        self._candidate = _candidate_of(site, number)
        try:
            self._key: PublicKey = decode_public_key(self._candidate.server.public_key)
        except ProtocolError as error:
            words = f"the key of server {number} in the primary's site: {error}"
            raise PrimaryError(words) from None

    @property
    def version(self) -> Version:
        """The version that requests are written in."""
        return version_for_site(self._site)

    @property
    def name(self) -> str:
        """Where the primary is."""
        return str(self._candidate.endpoint)

    async def stream(
        self,
        opcode: int,
        body: Body,
        make_decoder: Callable[[PublicKey | None], ReplicationDecoder[Head, Record]],
    ) -> AsyncGenerator[tuple[ReplicationDecoder[Head, Record], list[Record]], None]:
        """Yield the decoder and the records that arrived, until the stream has ended.

        Raises:
            PrimaryError: it refused, broke off, or is not who it should be.
        """
        try:
            async with self._ask(opcode, body) as asked:
                line, key = await self._secure(asked)
                decoder = make_decoder(key)
                while not decoder.is_ended:
                    yield decoder, decoder.take(await self._read(line))
        except (ExchangeError, ProtocolError, OSError) as error:
            raise PrimaryError(str(error) or type(error).__name__) from None

    @contextlib.asynccontextmanager
    async def _ask(self, opcode: int, body: Body) -> AsyncGenerator[_Line, None]:
        """Ask, prove who we are, and hand over the connection behind a good answer."""
        request = Request(b"", opcode, body)
        async with self._exchange(request) as (answer, _):
            if is_challenge(answer):
                request = await answer_challenge(answer, request, self._identity)
            elif answer.response_code == ResponseCode.SUCCESS:
                raise PrimaryError("it did not ask who we are")
            else:
                raise _refused(answer)
        async with self._exchange(request) as (answer, line):
            if answer.response_code != ResponseCode.SUCCESS:
                raise _refused(answer)
            yield line

    @contextlib.asynccontextmanager
    async def _exchange(self, request: Request) -> AsyncGenerator[tuple[Answer, _Line], None]:
        endpoint = self._candidate.endpoint
        sent = build_message(request, self._site, certify=False, now_s=self._now_s())
        octets = sent.encode()
        reader, writer = await connect(endpoint, self._limits, None)
        line = _Line(reader, writer)
        try:
            writer.write(octets)
            messages = read_messages(reader, octets, endpoint, self._limits)
            async with contextlib.aclosing(messages):
                received = await anext(messages)
            yield (
                check_answer(request, sent, received, self._candidate, certify=False, elapsed_ms=0),
                line,
            )
        finally:
            writer.close()

    async def _secure(self, line: _Line) -> tuple[_Line, PublicKey | None]:
        """Read the stream's type, shake hands where it is TLS.

        Returns where to read on, and the key that blocks are signed with, None: it is TLS.
        """
        octets = b""
        while len(octets) < STREAM_TYPE_OCTETS:
            octets += await self._read(line, STREAM_TYPE_OCTETS - len(octets))
        kind = read_stream_type(octets)
        is_rsa = isinstance(self._key, RSAPublicKey)
        if kind == STREAM_SIGNED:
            if self.version.at_least(V2_8):
                # Blocks are signed one by one: somebody in between could leave some out.
                raise PrimaryError("it sends its records in clear, though it speaks 2.8 or later")
            return line, self._key
        if kind != STREAM_TLS:
            raise PrimaryError("it sends records neither signed nor in TLS")
        # What came before the handshake is nobody's: it stays in the reader that is left behind.
        reader = asyncio.StreamReader()
        async with asyncio.timeout(self._limits.silence_s):
            transport = await asyncio.get_running_loop().start_tls(
                line.writer.transport,
                _TlsReader(reader),
                tls_context() if is_rsa else dsa_tls.client_context(),
            )
        assert transport is not None, "the connection was there"
        reader.set_transport(transport)
        self._check_certificate(transport.get_extra_info("ssl_object"))
        return line._replace(reader=reader), None

    def _check_certificate(self, connection: ssl.SSLObject) -> None:
        """Check that the certificate has the key of the primary's site. Raises: PrimaryError."""
        try:
            certificate = x509.load_der_x509_certificate(connection.getpeercert(True) or b"")
            shown = certificate.public_key()
        except (ValueError, UnsupportedAlgorithm) as error:
            raise PrimaryError(f"its certificate cannot be read: {error}") from None
        if not isinstance(shown, RSAPublicKey | DSAPublicKey) or (
            encode_public_key(shown) != encode_public_key(self._key)
        ):
            endpoint = self._candidate.endpoint
            raise PrimaryError(f"the certificate of {endpoint} is not made with its HS_SITE key")

    async def _read(self, line: _Line, octets_max: int = READ_OCTETS) -> bytes:
        try:
            async with asyncio.timeout(self._limits.silence_s):
                octets = await line.reader.read(octets_max)
        except TimeoutError:
            raise PrimaryError(f"silent for {self._limits.silence_s:g} s") from None
        if not octets:
            raise PrimaryError("it closed the connection before the end of the stream")
        return octets


def _candidate_of(site: HsSite, number: int) -> Candidate:
    server = site.servers[number]
    found = list(interfaces_of(site, server, TRANSPORT_TCP, admin=True))
    if not found:
        words = f"server {number} of the primary's site takes no administration over TCP"
        raise PrimaryError(words)
    if not server.public_key:
        raise PrimaryError(f"server {number} of the primary's site has no key to know it by")
    return found[0]


def _refused(answer: Answer) -> PrimaryError:
    words = answer.body.message or b"" if isinstance(answer.body, ErrorAnswer) else b""
    text = words.decode("utf-8", "replace")
    return PrimaryError(f"it answered with code {answer.response_code}: {text}")
