"""These tests open sockets on loopback: what the kernel does with them is what they are about."""

import resource
import socket

import pytest

from resolver.sockets import (
    SocketError,
    check_free,
    open_tcp,
    open_udp,
    raise_file_limit,
    url_host,
)


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def test_workers_share_a_port() -> None:
    with open_tcp("127.0.0.1", 0) as first, open_tcp("127.0.0.1", port_of(first)) as second:
        assert port_of(first) == port_of(second)
    with open_udp("127.0.0.1", 0) as first, open_udp("127.0.0.1", port_of(first)) as second:
        assert port_of(first) == port_of(second)
        assert not second.getblocking()


def test_a_port_of_another_program_is_named_with_what_to_do() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(
            SocketError, match=rf"TCP port {port_of(other)} .* is in use by another"
        ):
            open_tcp("127.0.0.1", port_of(other))


def test_an_address_that_is_not_here_is_named() -> None:
    with pytest.raises(SocketError, match=r"192\.0\.2\.1: this machine does not have that address"):
        open_udp("192.0.2.1", 0)


def test_a_shared_port_in_use_is_found_before_the_start() -> None:
    with open_udp("127.0.0.1", 0) as udp, open_tcp("127.0.0.1", 0) as http:
        problems = check_free(["127.0.0.1"], port_of(udp), port_of(http))
        expected = [f"UDP port {port_of(udp)} of", f"TCP port {port_of(http)} of"]
    # The TCP port beside the UDP port may be anybody's.
    found = [each for each in problems if each.startswith(tuple(expected))]
    assert len(found) == 2
    assert all("is in use by another program" in each for each in found)


def test_free_ports_are_no_problem() -> None:
    def pick() -> tuple[int, int]:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            second.bind(("127.0.0.1", 0))
            return port_of(first), port_of(second)

    # Somebody else may take a port between the look and the check, not ten times over.
    assert any(check_free(["127.0.0.1"], *pick()) == [] for _ in range(10))


def test_ipv6_stands_beside_ipv4_on_one_port() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with open_tcp("0.0.0.0", 0) as old:
        try:
            new = open_tcp("::", port_of(old))
        except SocketError as error:
            if "does not have that address" in str(error):
                pytest.skip("this machine has no IPv6")
            raise
        with new:
            assert new.family == socket.AF_INET6


def test_the_file_limit_is_never_lowered() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert raise_file_limit(1) == soft
        assert raise_file_limit(soft) == soft
        wanted = soft + 1 if hard == resource.RLIM_INFINITY or hard > soft else soft
        assert raise_file_limit(wanted) == wanted
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("address", "host"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]")],
)
def test_addresses_stand_in_urls(address: str, host: str) -> None:
    assert url_host(address) == host
