"""Envelopes, headers, resolution, transports: each fact as the stock clients rely on it.

Every test speaks through the foreign client, which checks request ids, versions, request digests
and signatures of each answer by itself; see `ForeignClient._check`.
"""

import socket
import time

import pytest
from cryptography.exceptions import InvalidSignature

from tests.interop import foreign_wire as wire
from tests.interop.conftest import TRANSPORTS, VERSIONS, Stand, url
from tests.interop.foreign_client import LATEST, QUERY_FLAGS, resolution_body
from tests.interop.foreign_crypto import check_certified, read_credential
from tests.interop.foreign_wire import Envelope, pack_str

HALF_A_DAY = 43_200


# Versions and transports


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("version", VERSIONS)
def test_resolution_certified_at_every_version(
    top: Stand, record: bytes, transport: str, version: tuple[int, int]
) -> None:
    client = top.client.speaking(transport=transport, version=version, suggested=version)
    answer = client.resolve(record, flags=wire.CERT | wire.RRDG)
    assert (answer.opcode, answer.code, answer.handle) == (1, 1, record)
    assert [value.index for value in answer.values] == [3, 1, 2, 4, 6, 100]
    assert read_credential(answer.credential).kind == b"HS_SIGNED"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_certified_answer_does_not_fit_another_key(
    top: Stand, enterprise: Stand, record: bytes, transport: str
) -> None:
    client = top.client.speaking(transport=transport, server_key=None)
    answer = client.resolve(record, flags=wire.CERT)
    assert enterprise.client.server_key is not None
    with pytest.raises(InvalidSignature):
        check_certified(answer, enterprise.client.server_key)


def test_every_node_certifies_with_the_key_of_its_site(each: Stand) -> None:
    handle = each.make(url())
    assert each.client.resolve(handle, flags=wire.CERT | wire.RRDG).values[0].data == url().data


@pytest.mark.parametrize(
    ("version", "suggested", "expected"),
    [
        ((2, 3), (2, 10), (2, 10)),
        ((2, 3), (2, 11), (2, 10)),
        ((2, 10), (2, 4), (2, 4)),
        ((2, 5), (0, 0), (2, 5)),
    ],
)
def test_the_answer_has_the_version_suggested(
    top: Stand,
    record: bytes,
    version: tuple[int, int],
    suggested: tuple[int, int],
    expected: tuple[int, int],
) -> None:
    octets = one_exchange(top, record, version=version, suggested=suggested)
    envelope = Envelope.read(octets)
    assert (envelope.version, envelope.suggested) == (expected, LATEST)
    assert octets[20 + 24] == (3 if expected >= (2, 7) else 2)


def one_exchange(
    top: Stand, handle: bytes, *, version: tuple[int, int], suggested: tuple[int, int]
) -> bytes:
    message = wire.pack_message(1, resolution_body(handle), QUERY_FLAGS | wire.RRDG) + bytes(4)
    envelope = Envelope(version, 0, suggested, 0, 4711, 0, len(message))
    with socket.create_connection(top.node.address, 5) as sock:
        sock.sendall(envelope.pack() + message)
        return sock.recv(65536)


def test_a_request_may_lack_its_credential_length(top: Stand, record: bytes) -> None:
    message = wire.pack_message(1, resolution_body(record), QUERY_FLAGS)
    envelope = Envelope((2, 10), 0, (2, 10), 0, 4711, 0, len(message))
    with socket.create_connection(top.node.address, 5) as sock:
        sock.sendall(envelope.pack() + message)
        octets = sock.recv(65536)
    assert wire.Answer(Envelope.read(octets), octets[20:]).code == 1


# The header of an answer


def test_header_of_an_answer(top: Stand, record: bytes) -> None:
    site = top.client.site()
    flags = wire.CACR | wire.PUBL | wire.RRDG | wire.DNRF
    before = int(time.time())
    answer = top.client.ask(1, resolution_body(record), flags, recursion=3)
    assert answer.flags == flags | wire.AUTH | wire.RECU
    assert (answer.serial, answer.recursion) == (site.serial, 3)
    assert before <= answer.expiration - HALF_A_DAY <= int(time.time()) + 1
    assert answer.envelope.session == 0
    assert answer.envelope.sequence == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_request_digest_only_when_asked(top: Stand, record: bytes, transport: str) -> None:
    client = top.client.speaking(transport=transport)
    assert client.resolve(record).digest is None
    assert client.resolve(record, flags=wire.RRDG).digest is not None
    assert client.resolve(b"88/MISSING", flags=wire.RRDG).digest is not None


# Resolution


def indexes(top: Stand, handle: bytes, *filters: object) -> list[int]:
    answer = top.client.resolve(handle, *filters)  # type: ignore[arg-type]
    assert answer.code == 1, answer.code
    return [value.index for value in answer.values]


def test_values_come_back_as_they_were_stored(top: Stand, record: bytes) -> None:
    found = {value.index: value for value in top.client.resolve(record).values}
    now = int(time.time())
    assert all(now - 600 < value.timestamp <= now for value in found.values())
    assert (found[4].ttl_type, found[4].ttl) == (1, 2_000_000_000)
    assert found[2].ttl == 60
    assert found[4].data == "标识".encode()
    assert found[6].data == bytes(range(256))
    assert found[6].references == ((b"88/OTHER", 7), (b"0.NA/88", 300))


def test_types_select_without_regard_to_case(top: Stand, record: bytes) -> None:
    assert indexes(top, record, (b"url",)) == [3, 1]
    assert indexes(top, record, (b"DESC", b"Url.Mirror")) == [2, 4]


def test_a_type_with_a_dot_at_its_end_selects_what_begins_so(top: Stand, record: bytes) -> None:
    assert indexes(top, record, (b"URL.",)) == [3, 1, 2]
    assert indexes(top, record, (b"x.",)) == [6]
    assert top.client.resolve(record, (b"UR.",)).code == 200


def test_indexes_and_types_are_alternatives(top: Stand, record: bytes) -> None:
    assert indexes(top, record, (b"URL.MIRROR",), (4, 1)) == [1, 2, 4]
    assert indexes(top, record, (), (6, 99)) == [6]


def test_nothing_matches(top: Stand, record: bytes) -> None:
    for filters in (((b"NONE",), ()), ((), (77,)), ((b"EMAIL",), ()), ((), (5,))):
        answer = top.client.resolve(record, *filters)
        assert (answer.code, answer.opcode) == (200, 1)
        assert isinstance(answer.text, str)


def test_not_found(each: Stand) -> None:
    answer = each.client.resolve(each.fresh("MISSING"))
    assert (answer.opcode, answer.code) == (1, 100)
    assert isinstance(answer.text, str)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_errors_are_certified_too(top: Stand, record: bytes, transport: str) -> None:
    client = top.client.speaking(transport=transport)
    flags = wire.CERT | wire.RRDG
    assert client.resolve(top.fresh("MISSING"), flags=flags).code == 100
    assert client.resolve(record, (b"NONE",), flags=flags).code == 200
    assert client.resolve(b"0.NA/88.118.5", flags=flags).code == 303


@pytest.mark.parametrize("handle", [b"99.1/ELSEWHERE", b"88.1190/X"])
def test_not_responsible(enterprise: Stand, handle: bytes) -> None:
    assert enterprise.client.resolve(handle).code == 301


def test_the_prefix_handle_answers_for_its_own_sites(top: Stand) -> None:
    answer = top.client.resolve(b"0.NA/88", (b"HS_SITE", b"HS_SITE.6", b"HS_SERV", b"HS_NAMESPACE"))
    sites = [wire.read_site(value.data) for value in answer.values if value.type == b"HS_SITE"]
    assert [site.servers[0].port(1) for site in sites] == [top.node.handle_port]
    assert sites[0] == top.client.site()


def test_a_handle_without_a_slash_is_a_prefix(top: Stand) -> None:
    answer = top.client.resolve(b"88", (b"HS_SITE",))
    assert answer.code == 1
    assert answer.handle == b"88"


def test_site_info(each: Stand) -> None:
    # As hdl-getsiteinfo asks: over TCP, version 2.3 with 2.10 suggested, uncertified.
    client = each.client.speaking(version=(2, 3))
    answer = client.ask(wire.GET_SITE_INFO, pack_str(b"/"), QUERY_FLAGS)
    site = wire.read_site(answer.payload.rest)
    server = site.servers[0]
    assert site.flags & 0x80, "a primary site"
    assert site.version == LATEST
    assert server.address == each.client.address
    handle_port, http_port = each.node.handle_port, each.node.http_port
    assert (server.port(0), server.port(1), server.port(2)) == (handle_port, handle_port, http_port)
    assert server.port(1, kind=1) == handle_port
    assert server.port(0, kind=1) is None, "the stock site's UDP is for queries only"
    for transport in TRANSPORTS:
        assert each.client.speaking(transport=transport).site() == site


# Case


def test_case_of_handles(top: Stand) -> None:
    handle = top.make(url(), hint="Kasten")
    for spelling in (handle.lower(), handle.upper()):
        answer = top.client.resolve(spelling)
        assert (answer.code, answer.handle) == (1, spelling)
    assert top.client.create(handle.upper(), [url()], top.admin).code == 101
    assert top.client.resolve(b"0.na/88").handle == b"0.na/88"


def test_only_ascii_letters_fold(top: Stand) -> None:
    handle = top.fresh() + "Ä".encode()
    assert top.client.create(handle, [url(), top.admin_value()], top.admin).code == 1
    assert top.client.resolve(handle[:-2].lower() + "Ä".encode()).code == 1
    assert top.client.resolve(handle[:-2] + "ä".encode()).code == 100
