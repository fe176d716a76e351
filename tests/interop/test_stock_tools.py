"""What each of Handle.Net's command-line tools sends, in its order and with its flags.

The steps that all of them share (sessions, challenges, every version) are in `test_stock_client`
and `test_client_library`; here is what only one tool does.
"""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from ipaddress import ip_address

import pytest

from tests.interop import foreign_wire as wire
from tests.interop.conftest import TRANSPORTS, Guild, Stand, url
from tests.interop.foreign_client import QUERY_FLAGS, ForeignClient, resolution_body
from tests.interop.foreign_crypto import Identity
from tests.interop.foreign_transport import receive_pieces
from tests.interop.foreign_wire import Answer, Cursor, Envelope, pack_str, pack_values

BACKUP_SERVER = 1003
# Without a word about it a session is neither encrypted nor are its answers to be certified.
PLAIN_FLAGS = wire.RECU | wire.CACR | wire.PUBL
SITE_TYPES = (b"HS_SITE", b"HS_SITE.6", b"HS_SERV")
SERVICE_TYPES = (*SITE_TYPES, b"HS_NAMESPACE")
# The version of a request to a server of which nothing is known yet.
UNKNOWN = (2, 3)


def in_session(
    inside: ForeignClient, opcode: int, body: bytes, who: Identity, flags: int = 0
) -> list[Answer]:
    flags |= PLAIN_FLAGS
    answers = inside.ask_for_many(opcode, body, flags)
    if answers[0].code == 402:
        answers = inside.answer_challenge(answers[0], who, flags)
    return answers


def session_of(line: ForeignClient, who: Identity, *, encrypted: bool = False) -> ForeignClient:
    """Set up over UDP, which is tried first, and used over TCP, where administration goes."""
    return (
        line.speaking(transport="udp")
        .open_session(who, encrypted=encrypted)
        .speaking(transport="tcp")
    )


# hdl-getsiteinfo, hdl-getrootinfo


def test_getsiteinfo_gets_the_site_that_the_node_s_file_has(each: Stand) -> None:
    """Nothing may stand behind it, or the tool refuses it; what it writes is used as HS_SITE."""
    client = each.client.speaking(version=UNKNOWN)
    site = client.site()
    form = json.loads((each.node.folder / "site.json").read_bytes())
    assert (form["serialNumber"], form["protocolVersion"]) == (site.serial, "2.10")
    (server,) = site.servers
    (told,) = form["servers"]
    assert (told["serverId"], told["address"]) == (server.id, server.address)
    names = ("UDP", "TCP", "HTTP", "HTTPS")
    assert [(i["admin"], i["query"], i["protocol"], i["port"]) for i in told["interfaces"]] == [
        (bool(i.kind & 1), bool(i.kind & 2), names[i.protocol], i.port) for i in server.interfaces
    ]
    assert server.port(1, kind=1) == each.node.handle_port, "administration goes over TCP"
    assert server.port(0, kind=1) is None, "and not over UDP"
    assert server.port(0) == each.node.handle_port


def test_getsiteinfo_given_the_http_port_asks_it_over_tcp_first(top: Stand) -> None:
    """It takes any answer but the one it waits for as a reason to ask over HTTP/1.1."""
    message = wire.pack_message(wire.GET_SITE_INFO, pack_str(b"/"), QUERY_FLAGS) + bytes(4)
    envelope = Envelope(UNKNOWN, 0, (2, 10), 0, 4711, 0, len(message))
    octets = envelope.pack() + message
    with closing(socket.create_connection(top.node.http_address, timeout=15)) as sock:
        sock.sendall(octets)
        refused = sock.recv(65_536)
    assert len(refused) < 20 or Envelope.read(refused).request != envelope.request
    head = (
        f"POST /%2F HTTP/1.1\r\nHost: 127.0.0.1:{top.node.http_port}\r\n"
        "Accept: application/x-hdl-message\r\nUser-Agent: CNRI-HCL 2.0\r\n"
        f"Content-Type: application/x-hdl-message\r\nContent-Length: {len(octets)}\r\n\r\n"
    )
    with closing(socket.create_connection(top.node.http_address, timeout=15)) as sock:
        stream = sock.makefile("rb")
        sock.sendall(head.encode() + octets)
        headers = list(iter(stream.readline, b"\r\n"))
        assert not any(line.lower().startswith(b"transfer-encoding") for line in headers)
        answered = Envelope.read(stream.read(20))
        answer = Answer(answered, stream.read(answered.length))
    assert (answer.code, answered.request) == (1, 4711)
    assert wire.read_site(answer.payload.rest) == top.client.site()


def test_getrootinfo_gets_all_there_is_at_the_root(top: Stand) -> None:
    """It asks the root over TCP for 0.NA/0.NA, all types, and keeps the values as they come."""
    client = top.client.speaking(version=UNKNOWN)
    answer = client.ask(wire.RESOLUTION, resolution_body(b"0.NA/0.NA"), QUERY_FLAGS)
    sites = [wire.read_site(v.data) for v in answer.values if v.type == b"HS_SITE"]
    assert sites == [client.site()]
    assert {value.index for value in answer.values if value.type == b"HS_PUBKEY"} == {300}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_test_of_a_site_asks_every_interface(each: Stand, transport: str) -> None:
    """It names a handle of its own in the question for the site."""
    client = each.client.speaking(version=UNKNOWN, transport=transport)
    answer = client.ask(wire.GET_SITE_INFO, pack_str(b"0.SITE/status"), QUERY_FLAGS)
    assert answer.code == 1
    assert wire.read_site(answer.payload.rest) == each.client.site()


# hdl-qresolver, hdl-trace


def test_trace_finds_the_prefix_and_then_the_handle_over_udp(top: Stand, record: bytes) -> None:
    client = top.client.speaking(transport="udp")
    prefix = client.resolve(
        top.prefix_handle, SERVICE_TYPES, recursion=1, serial=client.site().serial
    )
    (site,) = (wire.read_site(value.data) for value in prefix.values)
    assert site == client.site()
    answer = client.resolve(record, serial=site.serial)
    assert (answer.code, answer.handle, answer.serial) == (1, record, site.serial)


def test_the_check_of_a_handle_at_all_sites_sees_the_same_everywhere(
    top: Stand, record: bytes
) -> None:
    sites = top.client.resolve(top.prefix_handle, SITE_TYPES).values
    assert [value.type for value in sites] == [b"HS_SITE"]
    found = [top.client.speaking(transport=each).resolve(record).values for each in TRANSPORTS]
    assert all(values == found[0] for values in found)


# hdl-server-perf-test: 20 threads, each of which puts one and the same request again and again


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_one_request_repeated_by_many_threads_is_answered_each_time(
    top: Stand, record: bytes, transport: str
) -> None:
    """The request keeps its id for good; every repetition comes from a port of its own."""
    message = wire.pack_message(1, resolution_body(record), QUERY_FLAGS) + bytes(4)
    envelope = Envelope((2, 10), 0, (2, 10), 0, 815, 0, len(message))

    def repeat(thread: int) -> int:
        good = 0
        for _ in range(20):
            answered, octets = put_once(top, transport, envelope, message)
            good += Answer(answered, octets).code == 1 and answered.request == 815
        return good

    with ThreadPoolExecutor(20) as threads:
        assert list(threads.map(repeat, range(20))) == [20] * 20


def put_once(
    stand: Stand, transport: str, envelope: Envelope, message: bytes
) -> tuple[Envelope, bytes]:
    address = stand.node.address
    if transport == "udp":
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
            sock.connect(address)
            for timeout in (0.5, 1.0, 1.5):
                sock.send(envelope.pack() + message)
                sock.settimeout(timeout)
                answer = receive_pieces(sock, envelope.request)
                if answer is not None:
                    return answer
        raise TimeoutError("no answer over UDP")
    with closing(socket.create_connection(address, timeout=10)) as sock:
        sock.sendall(envelope.pack() + message)
        stream = sock.makefile("rb")
        answered = Envelope.read(stream.read(20))
        return answered, stream.read(answered.length)


# hdl-create, hdl-delete, hdl-list


@pytest.mark.parametrize("kind", ["public key", "secret key"])
def test_create_makes_a_handle_with_nothing_but_its_administrator(guild: Guild, kind: str) -> None:
    """In a session that is not encrypted; its answers need not be certified."""
    who = guild.members[kind]
    inside = session_of(guild.client, who)
    handle = guild.fresh("CREATED")
    rule = wire.Value(
        100, b"HS_ADMIN", wire.admin_data(who.handle, who.index), timestamp=1_300_000_000
    )
    body = pack_str(handle) + pack_values([rule])
    (answer,) = in_session(inside, wire.CREATE, body, who)
    assert (answer.opcode, answer.code) == (wire.CREATE, 1)
    assert answer.payload.rest in (b"", pack_str(handle))
    (value,) = guild.client.resolve(handle).values
    assert (value.index, value.type, value.data, value.ttl) == (100, b"HS_ADMIN", rule.data, 86400)


def test_delete_answers_a_challenge_for_every_line_and_opens_no_session(guild: Guild) -> None:
    handles = [guild.make(url(), hint="LINE") for _ in range(3)]
    found = [guild.client.delete(handle, guild.admin).code for handle in (*handles, handles[0])]
    assert found == [1, 1, 1, 100]


def test_list_asks_the_first_site_of_the_prefix_without_a_session(guild: Guild) -> None:
    """It looks for `<prefix>/test`, takes the first site, and asks it over TCP."""
    handle = guild.make(url(), hint="LISTED")
    sites = guild.client.resolve(b"0.NA/97", SERVICE_TYPES).values
    first = wire.read_site(next(value.data for value in sites if value.type == b"HS_SITE"))
    assert first.flags & 0x80, "a primary"
    answers = guild.client.list(b"0.NA/97", guild.member)
    handles = [h for answer in answers for h in handles_of(answer)]
    assert handle.upper() in handles
    assert [bool(answer.flags & wire.CONT) for answer in answers] == [
        *[True] * (len(answers) - 1),
        False,
    ]
    assert guild.client.resolve(handles[-1]).code in (1, 200), "-s resolves what was listed"


def handles_of(answer: Answer) -> list[bytes]:
    cursor = answer.payload
    return [cursor.str() for _ in range(cursor.number("i"))]


def test_prefixes_are_listed_under_a_blank_handle(top: Stand) -> None:
    answers = top.client.list(b"/", top.admin, wire.LIST_HOMED)
    assert b"0.NA/88" in [h for answer in answers for h in handles_of(answer)]


# hdl-home-na; HOME in a batch


@pytest.mark.parametrize("transport", ["tcp", "udp", "http"])
@pytest.mark.parametrize("encrypted", [False, True], ids=["macs", "encrypted"])
def test_home_asks_for_the_site_and_then_each_of_its_servers_in_a_session(
    top: Stand, transport: str, encrypted: bool
) -> None:
    """The site over what the line names; then certified, over TCP, one request again and again."""
    line = top.client.speaking(version=UNKNOWN, transport=transport)
    site = line.site()
    assert site.flags & 0x80, "the tools go no further with a mirror"
    assert len(site.servers) == 1
    inside = session_of(top.client.speaking(version=site.version), top.admin, encrypted=encrypted)
    for name in (b"0.NA/HOMED.1", b"0.na/homed.2", b"HOMED.3"):
        for opcode in (wire.HOME, wire.HOME, wire.UNHOME):
            (answer,) = in_session(inside, opcode, pack_str(name), top.admin, wire.CERT)
            assert (answer.opcode, answer.code) == (opcode, 1), name


# hdl-docheckpoint


def test_a_checkpoint_is_made_for_administrators(top: Stand, guild: Guild) -> None:
    """It is certified, and comes in a session as all administration does."""
    inside = session_of(top.client, top.admin)
    (answer,) = in_session(inside, BACKUP_SERVER, pack_str(b"/"), top.admin, wire.CERT)
    assert (answer.opcode, answer.code, answer.payload.rest) == (BACKUP_SERVER, 1, b"")
    assert top.client.perform(BACKUP_SERVER, pack_str(b"/"), top.admin, wire.CERT).code == 1
    assert top.client.perform(BACKUP_SERVER, pack_str(b"/"), guild.stranger).code == 400


# hdl-java net.handle.apps.tools.LoadHandlesFromJson


def test_loading_homes_and_then_overwrites(guild: Guild) -> None:
    inside = session_of(guild.client, guild.admin)
    home = in_session(inside, wire.HOME, pack_str(b"0.NA/97"), guild.admin, wire.CERT)
    assert [answer.code for answer in home] == [1]
    body = pack_str(guild.fresh("LOADED")) + pack_values([url(), guild.admin_value()])
    for was_there in (False, True):
        (answer,) = in_session(inside, wire.CREATE, body, guild.admin, wire.OVRW)
        assert (answer.code, bool(answer.flags & wire.OVRW)) == (1, was_there)


# Files that tools are pointed at a node with


def test_a_node_s_site_file_is_what_the_tools_read_as_resolver_site(each: Stand) -> None:
    """They read `resolver_site` and `siteinfo` files as JSON, and name every field as here."""
    form = json.loads((each.node.folder / "site.json").read_bytes())
    assert form["version"] == 1
    assert form["protocolVersion"] == "2.10"
    assert isinstance(form["serialNumber"], int)
    assert form["primarySite"] is True
    assert all({"name", "value"} == set(attribute) for attribute in form["attributes"])
    (server,) = form["servers"]
    assert isinstance(server["serverId"], int)
    assert ip_address(server["address"])
    assert server["publicKey"]["format"] == "key"
    assert {"kty", "n", "e"} <= set(server["publicKey"]["value"])
    for interface in server["interfaces"]:
        assert isinstance(interface["query"], bool)
        assert isinstance(interface["admin"], bool)
        assert interface["protocol"] in ("UDP", "TCP", "HTTP", "HTTPS")
        assert isinstance(interface["port"], int)


def test_the_bootstrap_file_is_what_the_tools_read_as_bootstrap_handles(each: Stand) -> None:
    """They want 0.0/0.0 to be there, too, or take the public root; and do not refresh the file."""
    form = json.loads(each.node.bootstrap.read_bytes())
    assert form["lastUpdate"] > (time.time() + 86_400 * 365) * 1_000
    assert form["handles"]["0.0/0.0"] == {"handle": "0.0/0.0", "values": []}
    root = form["handles"]["0.NA/0.NA"]
    assert root["handle"] == "0.NA/0.NA"
    (value,) = root["values"]
    assert (value["index"], value["type"], value["data"]["format"]) == (1, "HS_SITE", "site")
    assert [value["data"]["value"]] == form["sites"]


def test_a_key_file_is_one_that_the_tools_open(each: Stand) -> None:
    """A kind of encryption first, 1 for none; then eight numbers with their lengths."""
    cursor = Cursor(each.node.admin_key.read_bytes())
    assert cursor.number("i") == 1
    assert cursor.str() == b"RSA_PRIVCRT_KEY"
    n, e, d, p, q, *others = [int.from_bytes(cursor.str(), "big") for _ in range(8)]
    assert cursor.rest == b""
    assert (p * q, e) == (n, 65_537)
    assert others == [d % (p - 1), d % (q - 1), pow(q, -1, p)]
