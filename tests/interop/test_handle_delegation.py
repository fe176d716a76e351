"""From the root downwards: referrals as a client follows them, and the recursive node."""

import json

import pytest

from tests.interop import foreign_wire as wire
from tests.interop.conftest import TRANSPORTS, Stand, url
from tests.interop.foreign_client import ForeignClient, resolution_body
from tests.interop.foreign_crypto import read_public_key
from tests.interop.foreign_wire import Answer, Site, Value, read_site, read_values
from tests.nodes import Topology

SERVICE_TYPES = (b"HS_SITE", b"HS_SITE.6", b"HS_SERV", b"HS_NAMESPACE")


def sites_in(values: list[Value]) -> list[Site]:
    kinds = (b"HS_SITE", b"HS_SITE.PREFIX", b"HS_NA_DELEGATE")
    return [read_site(value.data) for value in values if value.type in kinds]


def speak_to(site: Site, transport: str) -> ForeignClient:
    server = site.servers[0]
    ports = [server.port(number) for number in (1, 2)]
    assert ports[0] is not None
    assert ports[1] is not None
    key = read_public_key(server.public_key)
    return ForeignClient(server.address, ports[0], ports[1], transport, key)


def referral(answer: Answer) -> tuple[bytes, list[Value]]:
    assert answer.code in (302, 303)
    cursor = answer.payload
    handle = cursor.str()
    values = read_values(cursor) if cursor.rest else []
    assert cursor.rest == b""
    return handle, values


def walk(client: ForeignClient, handle: bytes, transport: str) -> tuple[Answer, int]:
    """Resolves as the stock client does: the prefix at the root, its referrals, then the handle."""
    prefix = b"0.NA/" + handle.partition(b"/")[0].upper()
    hops = 1
    answer = client.resolve(prefix, SERVICE_TYPES, flags=wire.CERT)
    while answer.code == 303:
        client = speak_to(sites_in(referral(answer)[1])[0], transport)
        hops += 1
        answer = client.resolve(prefix, SERVICE_TYPES, flags=wire.CERT)
    assert answer.code == 1, answer
    client = speak_to(sites_in(answer.values)[0], transport)
    return client.resolve(handle, flags=wire.CERT | wire.RRDG), hops + 1


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_from_the_root_to_the_enterprise(top: Stand, enterprise: Stand, transport: str) -> None:
    handle = enterprise.make(url())
    answer, hops = walk(top.client.speaking(transport=transport), handle, transport)
    assert answer.values[0].data == url().data
    assert hops == 3, "top, secondary, enterprise"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_from_the_root_to_the_secondary(top: Stand, secondary: Stand, transport: str) -> None:
    handle = secondary.make(url())
    answer, hops = walk(top.client.speaking(transport=transport), handle, transport)
    assert (answer.values[0].data, hops) == (url().data, 2)


def test_a_referral_has_an_empty_handle_and_public_values(top: Stand, secondary: Stand) -> None:
    answer = top.client.resolve(b"0.NA/88.118.5", SERVICE_TYPES, flags=wire.RRDG | wire.CERT)
    assert answer.code == 303
    handle, values = referral(answer)
    assert handle == b""
    assert {value.type for value in values} <= {
        b"HS_SITE.PREFIX",
        b"HS_NA_DELEGATE",
        b"HS_SERV.PREFIX",
    }
    assert sites_in(values)[0].servers[0].port(1) == secondary.node.handle_port


def test_do_not_refer(top: Stand) -> None:
    answer = top.client.resolve(b"0.NA/88.118.5", SERVICE_TYPES, flags=wire.DNRF)
    assert answer.code == 100


def test_the_parent_answers_for_what_it_delegates(secondary: Stand, enterprise: Stand) -> None:
    answer = secondary.client.resolve(b"0.NA/88.118.5")
    kinds = {value.type for value in answer.values}
    assert {b"HS_SITE", b"HS_ADMIN", b"HS_PUBKEY"} <= kinds
    assert sites_in(answer.values)[0] == enterprise.client.site()


def test_a_prefix_nobody_has(top: Stand, secondary: Stand) -> None:
    assert top.client.resolve(b"0.NA/87.99", SERVICE_TYPES).code == 100
    assert secondary.client.resolve(b"0.NA/88.118.99", SERVICE_TYPES).code == 100


def test_the_root_in_bootstrap_json_is_the_tops_site(four_nodes: Topology, top: Stand) -> None:
    site = json.loads(four_nodes.enterprise.bootstrap.read_text("utf-8"))["sites"][0]
    server = site["servers"][0]
    assert (server["address"], site["primarySite"]) == (top.client.address, True)
    ports = {line["protocol"]: line["port"] for line in server["interfaces"]}
    assert ports["TCP"] == top.node.handle_port


# The recursive node, as a client that has it for its root sees it


@pytest.fixture(scope="module")
def recursive(four_nodes: Topology) -> ForeignClient:
    node = four_nodes.recursive
    client = ForeignClient("127.0.0.1", node.handle_port, node.http_port)
    client.server_key = read_public_key(client.site().servers[0].public_key)
    return client


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_recursive_node_walks_for_us(
    recursive: ForeignClient, enterprise: Stand, transport: str
) -> None:
    handle = enterprise.make(url(), Value(2, b"DESC", b"x" * 600))
    client = recursive.speaking(transport=transport)
    for flags in (0, wire.CERT | wire.RRDG):
        answer = client.resolve(handle, flags=flags)
        assert (answer.code, answer.handle) == (1, handle)
        assert [value.index for value in answer.values] == [1, 2, 100]
    assert [value.index for value in client.resolve(handle, (b"desc",), (1,)).values] == [1, 2]
    assert client.resolve(handle, (b"NONE",)).code == 200
    assert client.resolve(enterprise.fresh("MISSING")).code == 100


def test_the_recursive_node_is_no_authority(recursive: ForeignClient, enterprise: Stand) -> None:
    handle = enterprise.make(url())
    answer = recursive.ask(1, resolution_body(handle), wire.PUBL | wire.RECU)
    assert answer.code == 1
    assert not answer.flags & wire.AUTH
    refused = recursive.create(enterprise.fresh(), [url()], enterprise.admin)
    assert refused.code in (5, 301)


def test_the_recursive_node_stops_at_too_many_hops(
    recursive: ForeignClient, enterprise: Stand
) -> None:
    handle = enterprise.make(url())
    answer = recursive.ask(1, resolution_body(handle), wire.PUBL | wire.RECU, recursion=200)
    assert answer.code == 6
