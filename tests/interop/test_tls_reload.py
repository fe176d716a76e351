"""A certificate renewed on disk is served without a restart; the metrics know its end."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.x509 import Certificate, load_der_x509_certificate

from tests.interop.authority import Authority
from tests.nodes import ADDRESS, Node, make_node, running, wait_until

EXPIRY = "biaoshi_certificate_expiry_timestamp_seconds"


@pytest.fixture(scope="module")
def authority(module_folder: Path) -> Authority:
    made = Authority(module_folder)
    made.issue(days=10)
    return made


@pytest.fixture(scope="module")
def node(module_folder: Path, authority: Authority) -> Iterator[Node]:
    tls = {"certificate": str(authority.certificate), "key": str(authority.key)}
    with running(make_node(module_folder / "node", tables={"tls": tls})) as started:
        yield started


def served(node: Node, authority: Authority) -> Certificate:
    """What a client that checks certificates is shown on a new connection."""
    context = ssl.create_default_context(cafile=str(authority.path))
    with (
        socket.create_connection(node.http_address, 5) as sock,
        context.wrap_socket(sock, server_hostname=ADDRESS) as wrapped,
    ):
        octets = wrapped.getpeercert(binary_form=True)
    assert octets is not None
    return load_der_x509_certificate(octets)


def test_a_renewed_certificate_is_served(node: Node, authority: Authority) -> None:
    pid = node.pid
    workers = node.worker_pids()
    first = served(node, authority)
    assert node.metric(EXPIRY) == first.not_valid_after_utc.timestamp()
    renewed = authority.issue(days=300)
    wait_until(lambda: served(node, authority) == renewed, "the renewed certificate", 15)
    end = renewed.not_valid_after_utc.timestamp()
    wait_until(lambda: node.metric(EXPIRY) == end, "its end in the metrics", 15)
    assert (node.pid, node.worker_pids()) == (pid, workers), "nothing was restarted"


def test_files_that_do_not_fit_leave_the_old_certificate(node: Node, authority: Authority) -> None:
    before = served(node, authority)
    good = authority.certificate.read_bytes()
    authority.certificate.write_bytes(b"no certificate")
    wait_until(lambda: "certificate" in node.log, "a line in the log", 15)
    assert served(node, authority) == before
    authority.certificate.write_bytes(good)
    assert served(node, authority) == before
