"""The three transports over loopback sockets, with plain asyncio and with uvloop."""

import asyncio
import datetime
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509.oid import NameOID

from protocol.bodies import HandleListAnswer, HandleRequest, ResolutionRequest, ValuesRequest
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.envelope import Envelope
from protocol.errors import SecurityError
from protocol.framing import split_datagrams
from protocol.message import Message
from protocol.types.hs_site import TRANSPORT_HTTP, TRANSPORT_HTTPS, TRANSPORT_TCP, TRANSPORT_UDP
from protocol.value import HandleValue
from protocol.versions import BEST
from resolver.asking import Request
from resolver.exchanges import (
    PACKET_OCTETS,
    UDP_PACKETS_MAX,
    AnswerTooLargeError,
    ExchangeLimits,
    PacketCollector,
)
from resolver.racing import NoAnswerError
from resolver.upstream import Upstream
from resolver.upstream_settings import UpstreamSettings
from tests.resolver.loopback import LoopbackNode, serving
from tests.resolver.network import FakeNode, make_reply, make_site, server_key, spoil, with_records

HANDLE = b"88.118.5/PUMP 1/\xe6\xb3\xb5"
SMALL = (HandleValue(1, b"URL", b"https://example.org/"),)
LARGE = (HandleValue(1, b"DATA", bytes(range(256)) * 20),)  # 11 packets
HUGE = (HandleValue(1, b"DATA", bytes(20_000)),)  # 41 packets: too many
FAST = UpstreamSettings(
    ExchangeLimits(connect_s=2, silence_s=2, udp_waits_s=(0.05, 0.05, 1.0)), head_start_s=10
)
QUESTION = Request(HANDLE, OpCode.RESOLUTION, ResolutionRequest(HANDLE))

Result = TypeVar("Result")
Use = Callable[[LoopbackNode, Upstream], Awaitable[Result]]

each_loop = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
Run = Callable[..., None]


def node_with(values: tuple[HandleValue, ...]) -> LoopbackNode:
    return LoopbackNode(with_records({HANDLE: values}))


async def ask(loopback: LoopbackNode, *transports: int) -> ValuesRequest:
    answer = await Upstream(FAST).exchange(QUESTION, [loopback.site(*transports)])
    assert isinstance(answer.body, ValuesRequest)
    return answer.body


@each_loop
@pytest.mark.parametrize("transport", [TRANSPORT_UDP, TRANSPORT_TCP, TRANSPORT_HTTP])
@pytest.mark.parametrize("values", [SMALL, LARGE], ids=["small", "large"])
def test_each_transport(run: Run, transport: int, values: tuple[HandleValue, ...]) -> None:
    async def main() -> None:
        async with serving(node_with(values)) as loopback:
            body = await ask(loopback, transport)
            assert body == ValuesRequest(HANDLE, values)

    run(main())


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@each_loop
@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("transport", [TRANSPORT_UDP, TRANSPORT_TCP, TRANSPORT_HTTP])
def test_each_transport_over_ipv6(run: Run, transport: int) -> None:
    async def main() -> None:
        loopback = node_with(LARGE)
        loopback.address = "::1"
        async with serving(loopback):
            assert (await ask(loopback, transport)).values == LARGE

    run(main())


@each_loop
def test_lost_datagram_is_sent_again(run: Run) -> None:
    async def main() -> None:
        loopback = node_with(SMALL)
        loopback.datagrams_ignored = 2
        async with serving(loopback):
            assert (await ask(loopback, TRANSPORT_UDP)).values == SMALL
        assert len(loopback.node.asked) == 1

    run(main())


def test_lost_packet_of_a_large_answer_is_made_good_by_the_next_sending() -> None:
    lost: list[bytes] = []

    def lose_third_once(datagrams: list[bytes]) -> list[bytes]:
        if lost:
            return datagrams
        lost.append(datagrams.pop(2))
        return datagrams

    async def main() -> None:
        loopback = node_with(LARGE)
        loopback.spoil_datagrams = lose_third_once
        async with serving(loopback):
            assert (await ask(loopback, TRANSPORT_UDP)).values == LARGE

    asyncio.run(main())
    assert len(lost) == 1


def test_foreign_request_ids_and_garbage_are_ignored() -> None:
    def precede_with_noise(datagrams: list[bytes]) -> list[bytes]:
        foreign = datagrams[0][:8] + bytes(4) + datagrams[0][12:]
        return [b"garbage", b"", foreign, *datagrams]

    async def main() -> None:
        loopback = node_with(SMALL)
        loopback.spoil_datagrams = precede_with_noise
        async with serving(loopback):
            assert (await ask(loopback, TRANSPORT_UDP)).values == SMALL

    asyncio.run(main())


def test_answer_too_large_for_udp_comes_over_tcp() -> None:
    async def main() -> None:
        async with serving(node_with(HUGE)) as loopback:
            answer = await Upstream(FAST).exchange(
                QUESTION, [loopback.site(TRANSPORT_UDP, TRANSPORT_TCP)]
            )
            assert answer.candidate.endpoint.transport == TRANSPORT_TCP

    asyncio.run(main())


def test_silent_udp_port_leads_to_tcp() -> None:
    async def main() -> None:
        loopback = node_with(SMALL)
        loopback.datagrams_ignored = 1_000
        quick = UpstreamSettings(ExchangeLimits(udp_waits_s=(0.01, 0.01)), head_start_s=10)
        async with serving(loopback):
            site = loopback.site(TRANSPORT_UDP, TRANSPORT_TCP)
            answer = await Upstream(quick).exchange(QUESTION, [site])
            assert answer.candidate.endpoint.transport == TRANSPORT_TCP

    asyncio.run(main())


@each_loop
def test_closed_ports_are_noticed_at_once(run: Run) -> None:
    async def main() -> None:
        async with serving(node_with(SMALL)) as loopback:
            site = loopback.site(TRANSPORT_UDP, TRANSPORT_TCP, TRANSPORT_HTTP)
        with pytest.raises(NoAnswerError) as caught:
            await Upstream(FAST).exchange(QUESTION, [site])
        assert len(caught.value.problems) == 3

    run(main())


@pytest.mark.parametrize("transport", [TRANSPORT_TCP, TRANSPORT_HTTP])
def test_connection_closed_early_is_no_answer(transport: int) -> None:
    async def main() -> None:
        loopback = node_with(SMALL)
        loopback.closes_at_once = True
        async with serving(loopback):
            with pytest.raises(NoAnswerError, match="closed after 0 of 20 octets"):
                await ask(loopback, transport)

    asyncio.run(main())


def test_foreign_request_id_over_tcp_is_the_servers_breach() -> None:
    def answer(request: Message) -> list[Message]:
        reply = make_reply(request, ResponseCode.SUCCESS, ValuesRequest(HANDLE, SMALL))
        return [spoil(reply, request_id=request.envelope.request_id ^ 1)]

    async def main() -> None:
        async with serving(LoopbackNode(FakeNode(answerer=answer))) as loopback:
            with pytest.raises(SecurityError, match="answered request"):
                await ask(loopback, TRANSPORT_TCP)

    asyncio.run(main())


@pytest.mark.parametrize("transport", [TRANSPORT_TCP, TRANSPORT_HTTP])
def test_list_of_many_messages(transport: int) -> None:
    pages = [tuple(b"A/%d" % (50 * page + row) for row in range(50)) for page in range(40)]

    def answer(request: Message) -> list[Message]:
        return [
            make_reply(
                request,
                ResponseCode.SUCCESS,
                HandleListAnswer(page),
                flags=0 if page is pages[-1] else MessageFlag.CONTINUOUS,
            )
            for page in pages
        ]

    async def main() -> None:
        async with serving(LoopbackNode(FakeNode(answerer=answer))) as loopback:
            upstream = Upstream(FAST)
            request = Request(b"0.NA/A", OpCode.LIST_HANDLES, HandleRequest(b"0.NA/A"))
            candidate = upstream.candidates(request, [loopback.site(transport)])[0]
            bodies = [each.body async for each in upstream.stream(request, candidate)]
            assert bodies == [HandleListAnswer(page) for page in pages]

    asyncio.run(main())


def test_tunnel_request_is_http_1_0_with_the_handle_percent_encoded() -> None:
    async def main() -> None:
        async with serving(node_with(SMALL)) as loopback:
            await ask(loopback, TRANSPORT_HTTP)
            lines = loopback.heads[0].decode("ascii").split("\r\n")
            assert lines[0] == "POST /88.118.5/PUMP%201/%E6%B3%B5 HTTP/1.0"
            assert "Accept: application/x-hdl-message" in lines
            assert "Content-Type: application/x-hdl-message" in lines

    asyncio.run(main())


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 1_000 + b"\r\n",
    ],
    ids=["no tunnel", "long line", "many lines"],
)
def test_web_server_that_is_no_tunnel_is_no_answer(head: bytes) -> None:
    async def main() -> None:
        loopback = node_with(SMALL)
        loopback.http_head = head
        async with serving(loopback):
            with pytest.raises(NoAnswerError, match=r"HTTP|tunnel"):
                await ask(loopback, TRANSPORT_HTTP)

    asyncio.run(main())


def tls_context(key: RSAPrivateKey, folder: Path) -> ssl.SSLContext:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(day)
        .not_valid_after(day + datetime.timedelta(days=3_650))
        .sign(key, hashes.SHA256())
    )
    pem = folder / "node.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@each_loop
@pytest.mark.parametrize("own_key", [True, False], ids=["own key", "another key"])
def test_certificate_must_hold_the_sites_key(run: Run, own_key: bool, tmp_path: Path) -> None:
    shown = server_key(0 if own_key else 1)
    assert isinstance(shown, RSAPrivateKey)

    async def main() -> None:
        loopback = node_with(SMALL)
        loopback.node.key = server_key(0)
        async with serving(loopback, tls_context(shown, tmp_path)):
            if own_key:
                assert (await ask(loopback, TRANSPORT_HTTPS)).values == SMALL
            else:
                with pytest.raises(SecurityError, match="HS_SITE key"):
                    await ask(loopback, TRANSPORT_HTTPS)

    run(main())


def packets(octets: int) -> list[bytes]:
    envelope = Envelope(BEST, BEST, 0, 0, 77, 0, octets)
    return split_datagrams(envelope.encode() + bytes(octets))


def test_packets_are_put_together_in_any_order_and_with_repetitions() -> None:
    collector = PacketCollector(77)
    first, second, third = packets(2 * PACKET_OCTETS + 1)
    assert [collector.receive(each) for each in (third, first, third, first)] == [None] * 4
    whole = collector.receive(second)
    assert whole is not None
    assert whole[20:] == bytes(2 * PACKET_OCTETS + 1)


def test_packets_that_do_not_fit_are_ignored() -> None:
    collector = PacketCollector(77)
    first, second = packets(PACKET_OCTETS + 10)
    beyond = second[:12] + (9).to_bytes(4, "big") + second[16:]
    for odd in (first[:-1], second + b"x", beyond):
        assert collector.receive(odd) is None
    assert collector.receive(first) is None
    assert collector.receive(second) is not None


def test_packets_of_two_answers_do_not_mix() -> None:
    collector = PacketCollector(77)
    long, short = packets(3 * PACKET_OCTETS), packets(PACKET_OCTETS + 5)
    assert collector.receive(long[0]) is None
    assert collector.receive(short[1]) is None
    whole = collector.receive(short[0])
    assert whole is not None
    assert len(whole) == 20 + PACKET_OCTETS + 5


def test_answers_of_too_many_packets_are_refused_at_the_first() -> None:
    with pytest.raises(AnswerTooLargeError):
        PacketCollector(77).receive(packets(UDP_PACKETS_MAX * PACKET_OCTETS + 1)[0])


def test_unknown_transport_is_nobody_to_ask() -> None:
    site = make_site("127.0.0.1", interfaces=())
    with pytest.raises(NoAnswerError, match="none of 1 sites"):
        asyncio.run(Upstream(FAST).exchange(QUESTION, [site]))
