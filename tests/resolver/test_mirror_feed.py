"""Feeding a mirror over a channel: TLS made and broken, a mirror that speaks, damaged rows."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, rsa

from protocol.replication import DumpEnd, DumpHandle, DumpRecord
from protocol.replication_stream import (
    STREAM_SIGNED,
    STREAM_TLS,
    STREAM_TYPE_OCTETS,
    dump_decoder,
    read_stream_type,
)
from protocol.types.hs_pubkey import encode_public_key
from registry.mirror_plans import DumpPlan, Share, pack_plan
from registry.store import Store
from resolver.config import Config, LimitsConfig, NodeRole
from resolver.connection_streams import INPUT_OCTETS_MAX, Input
from resolver.mirror_feed import Feeding, MirrorFeed
from resolver.node import Node
from tests.registry.builders import HANDLE, PREFIX, open_store, put, url
from tests.resolver.office import make_node

KEY = rsa.generate_private_key(65537, 2048)
ORDER = {"plan": pack_plan(DumpPlan(Share(2, 1, 0))), "who": "300:0.NA/M at ::1"}


@pytest.fixture
def feeding(tmp_path: Path) -> Iterator[Feeding]:
    config = Config(
        role=NodeRole.TOP,
        data_dir=str(tmp_path),
        limits=LimitsConfig(tls_handshake_timeout_s=1),
    )
    site = make_node().site
    node = Node(NodeRole.TOP, site, site.encode(), KEY, encode_public_key(KEY.public_key()))
    with open_store(tmp_path / "store") as store, ThreadPoolExecutor(1) as threads:
        put(store, {HANDLE: [url()]}, homed=[PREFIX])
        yield Feeding(config, node, store, threads)


class Client:
    """The other end of a channel: answers what is written with `react`."""

    def __init__(self, react: Callable[[bytes], bytes]) -> None:
        self._input = Input()
        self._react = react
        self.octets = b""
        self.read = self._input.read
        self.take_input = self._input.take

    async def write(self, octets: bytes) -> None:
        self.octets += octets
        answer = self._react(octets)
        if answer:
            assert self._input.feed(answer)

    def end(self) -> None:
        self._input.end()


class Tls:
    """A mirror's end of TLS, in memory; `says` goes out with the end of the handshake."""

    def __init__(self, says: bytes = b"", ciphers: str = "") -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if ciphers:
            context.set_ciphers(ciphers)
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arrived, self._leaving)
        self._says = says
        self._is_shaken = False
        self.plain = b""
        self.shown = b""
        self.is_closed = False

    def react(self, octets: bytes) -> bytes:
        if octets != b"TLS\0":
            self._arrived.write(octets)
        try:
            if not self._is_shaken:
                self._tls.do_handshake()
                self._is_shaken = True
                self.shown = self._tls.getpeercert(True) or b""
                if self._says:
                    self._tls.write(self._says)
            while more := self._tls.read(65_536):
                self.plain += more
            self.is_closed = True
        except ssl.SSLWantReadError:
            pass
        return self._leaving.read()


def feed(feeding: Feeding, form: int, client: Client) -> bool:
    async def scene() -> bool:
        return await MirrorFeed(feeding, {**ORDER, "form": form}, lambda: 1.0).send(client)

    return asyncio.run(scene())


def records(octets: bytes, key: rsa.RSAPublicKey | None = None) -> list[DumpRecord]:
    return dump_decoder(key).take(octets)


def test_a_mirror_is_fed_in_tls(feeding: Feeding) -> None:
    tls = Tls()
    assert feed(feeding, STREAM_TLS, Client(tls.react))
    assert tls.is_closed
    sent = records(tls.plain)
    assert DumpHandle(HANDLE, (url(),)) in sent
    assert sent[-1] == DumpEnd()


def test_a_mirror_of_a_node_with_a_dsa_key_sees_that_key_in_tls(feeding: Feeding) -> None:
    key = dsa.generate_private_key(1_024)
    feeding = feeding._replace(node=replace(feeding.node, private_key=key))
    # Handle.Net's mirrors offer these, among others, and have no use for TLS 1.3.
    tls = Tls(ciphers="DHE-DSS-AES256-GCM-SHA384:DHE-DSS-AES128-GCM-SHA256:@SECLEVEL=0")
    assert feed(feeding, STREAM_TLS, Client(tls.react))
    assert tls.is_closed
    assert records(tls.plain)[-1] == DumpEnd()
    shown = x509.load_der_x509_certificate(tls.shown).public_key()
    assert isinstance(shown, dsa.DSAPublicKey)
    assert shown.public_numbers() == key.public_key().public_numbers()


def test_a_mirror_is_fed_signed(feeding: Feeding) -> None:
    client = Client(lambda octets: b"")
    assert feed(feeding, STREAM_SIGNED, client)
    assert read_stream_type(client.octets[:STREAM_TYPE_OCTETS]) == STREAM_SIGNED
    sent = records(client.octets[STREAM_TYPE_OCTETS:], KEY.public_key())
    assert DumpHandle(HANDLE, (url(),)) in sent


@pytest.mark.parametrize(
    ("react", "words"),
    [
        (Tls(says=b"x").react, "the mirror spoke"),
        (lambda octets: b"\0" * 100, "broke off"),
    ],
)
def test_a_mirror_that_misbehaves_is_cut(
    feeding: Feeding,
    react: Callable[[bytes], bytes],
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert not feed(feeding, STREAM_TLS, Client(react))
    assert words in caplog.text
    assert "300:0.NA/M at ::1" in caplog.text


def test_a_client_that_ends_the_handshake_is_cut(
    feeding: Feeding, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(lambda octets: b"")
    client.end()
    assert not feed(feeding, STREAM_TLS, client)
    assert "ended the TLS handshake" in caplog.text


def test_a_damaged_row_breaks_the_stream_off_and_is_logged(
    feeding: Feeding, caplog: pytest.LogCaptureFixture
) -> None:
    store: Store = feeding.store
    with store.write(journaled=False) as view:
        view.writable("handles").put(b"88.118/B", b"\x1f damaged")
    client = Client(lambda octets: b"")
    with caplog.at_level(logging.ERROR):
        assert not feed(feeding, STREAM_SIGNED, client)
    assert "broke off: record begins with 0x1f" in caplog.text


def test_what_a_client_sends_during_a_stream_is_bounded() -> None:
    async def scene() -> None:
        waiting = Input()
        assert waiting.feed(bytes(INPUT_OCTETS_MAX))
        assert not waiting.feed(b"x")
        assert len(await waiting.read()) == INPUT_OCTETS_MAX + 1
        assert waiting.take() == b""
        waiting.end()
        ended: Awaitable[bytes] = waiting.read()
        assert await ended == b""

    asyncio.run(scene())
