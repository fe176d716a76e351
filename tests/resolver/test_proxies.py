"""Who asks behind a reverse proxy, and that nobody else is believed."""

import asyncio
import socket
from typing import Any, cast

import pytest
from starlette.requests import Request

from protocol.types.hs_site import TRANSPORT_HTTP
from resolver.api.context import is_loopback, peer_of
from resolver.config import ConfigError, LimitsConfig, config_from_table
from resolver.hot_route import OwnRows
from resolver.http_server import HttpServer
from resolver.proxies import ADDRESS_KEY, UNKNOWN, Proxies
from tests.resolver.http_connections import GET, answers, connect, echo, make_server, post, run
from tests.resolver.peers import ListingAnswerer, turns
from tests.resolver.test_hot_route import HOT, ROWS

TRUSTED = ("192.0.2.0/24", "2001:db8:ffff::/48")


def find(header: str, *lines: str, name: str = "") -> str:
    """Return who asks through 192.0.2.1, which sends these lines."""
    octets = [((name or header).encode(), line.encode("latin-1")) for line in lines]
    return Proxies(TRUSTED, header).find_client("192.0.2.1", [(b"host", b"n"), *octets])


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        ([], "192.0.2.1"),
        (["203.0.113.9"], "203.0.113.9"),
        (["198.51.100.7, 203.0.113.9"], "203.0.113.9"),
        (["198.51.100.7", "203.0.113.9, 192.0.2.2", "192.0.2.3"], "203.0.113.9"),
        (["192.0.2.7,192.0.2.8"], "192.0.2.7"),
        (["203.0.113.9:4711"], "203.0.113.9"),
        (["[2001:DB8::9]:4711"], "2001:db8::9"),
        (["2001:db8::9, 2001:db8:ffff::1"], "2001:db8::9"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9, unknown"], UNKNOWN),
        (["203.0.113.9, \xff\xfe, 192.0.2.2"], UNKNOWN),
        (["203.0.113.9" + ", 192.0.2.2" * 40], "192.0.2.2"),
        ([" , "], "192.0.2.1"),
    ],
)
def test_x_forwarded_for_is_read_from_the_right(lines: list[str], address: str) -> None:
    assert find("x-forwarded-for", *lines) == address


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        (["for=203.0.113.9"], "203.0.113.9"),
        (['For="[2001:db8::9]:4711" ; proto=https ;by=192.0.2.1'], "2001:db8::9"),
        (["for=198.51.100.7, for=203.0.113.9;by=192.0.2.2, for=192.0.2.2"], "203.0.113.9"),
        (['for=198.51.100.7;host="a,for=10.0.0.1;b", for=203.0.113.9'], "203.0.113.9"),
        (['for="203.0.113.\\9"'], "203.0.113.9"),
        (["for=203.0.113.9, for=_hidden"], UNKNOWN),
        (["for=203.0.113.9, by=192.0.2.2"], UNKNOWN),
        (['for="unclosed, for=203.0.113.9'], UNKNOWN),
        (['host="', 'for="203.0.113.9"'], UNKNOWN),
        (["for=203.0.113.9 , , "], "203.0.113.9"),
        ([""], "192.0.2.1"),
    ],
)
def test_forwarded_is_read_as_rfc_7239_has_it(lines: list[str], address: str) -> None:
    assert find("forwarded", *lines) == address


def test_the_header_that_was_not_chosen_is_not_read() -> None:
    assert find("forwarded", "203.0.113.9", name="x-forwarded-for") == "192.0.2.1"
    assert find("x-forwarded-for", "for=203.0.113.9", name="forwarded") == "192.0.2.1"


def with_header(request: bytes, address: str) -> bytes:
    return request.replace(b"Host: n", f"Host: n\r\nX-Forwarded-For: {address}".encode())


@pytest.mark.parametrize(
    ("trusted", "sender"), [(TRUSTED, b"203.0.113.9"), (("10.0.0.0/8",), b"192.0.2.1"), ((), b"")]
)
def test_an_application_and_the_tunnel_see_who_asks(
    trusted: tuple[str, ...], sender: bytes
) -> None:
    sender = sender or b"192.0.2.1"

    async def scenario() -> None:
        answerer = ListingAnswerer()
        server = make_server(answerer, Proxies(trusted))
        connection, transport = connect(server)
        connection.data_received(with_header(GET, "198.51.100.7, 203.0.113.9"))
        await turns()
        ((_, _, answer),) = answers(transport.written)
        assert answer == b"/x " + sender + b" "
        connection.data_received(with_header(post(b"no message"), "198.51.100.7, 203.0.113.9"))
        assert [each.address.encode() for each in answerer.peers] == [sender]
        await server.stop()

    run(scenario)


def test_queries_are_counted_for_who_asks_though_the_head_is_known_already() -> None:
    class Counts:
        def __init__(self) -> None:
            self.senders: list[str] = []

        def add_found(self, prefix: bytes, address: str) -> None:
            self.senders.append(address)

        def __getattr__(self, name: str) -> Any:
            return lambda *arguments, **options: None

    counts = Counts()

    async def scenario() -> None:
        server = HttpServer(
            socket.socket(),
            echo,
            ListingAnswerer(),
            LimitsConfig(),
            cast("Any", None),
            asyncio.get_running_loop(),
            rows=OwnRows(cast("Any", ROWS)),
            counts=cast("Any", counts),
            proxies=Proxies(TRUSTED),
        )
        connection, transport = connect(server)
        for address in ("203.0.113.9", "203.0.113.9", "203.0.113.9", "198.51.100.7"):
            connection.data_received(with_header(HOT, address))
        assert len(answers(transport.written)) == 4
        await server.stop()

    run(scenario)
    assert counts.senders == ["203.0.113.9"] * 3 + ["198.51.100.7"]


def test_what_a_proxy_on_this_machine_sends_is_still_from_this_machine() -> None:
    scope: dict[str, Any] = {"type": "http", "scheme": "http", "path": "/", "headers": []}
    scope["client"] = ("203.0.113.9", 0)
    assert not is_loopback(Request(scope))
    behind = Request({**scope, ADDRESS_KEY: "127.0.0.1"})
    assert is_loopback(behind)
    assert peer_of(behind) == ("203.0.113.9", 0, TRANSPORT_HTTP)


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        ({"trusted_proxies": ["10.0.0.1/8"]}, "listen.trusted_proxies has '10.0.0.1/8': it is one"),
        ({"trusted_proxies": ["proxy.lan"]}, "listen.trusted_proxies has 'proxy.lan': write an"),
        ({"trusted_proxies": ["0.0.0.0/0"]}, "'0.0.0.0/0': then anybody could say to be anybody"),
        ({"proxy_header": "x-real-ip"}, "'x-real-ip': set it to one of x-forwarded-for, forwarded"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(
    listen: dict[str, Any], words: str, tmp_path: Any
) -> None:
    with pytest.raises(ConfigError) as caught:
        config_from_table({"role": "top", "listen": listen}, tmp_path)
    (problem,) = caught.value.problems
    assert words in problem
