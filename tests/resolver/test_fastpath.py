import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.bodies import ErrorAnswer, ResolutionRequest, ValuesRequest
from protocol.codes import MessageFlag, ResponseCode
from protocol.envelope import Envelope
from protocol.framing import Reassembler, split_datagrams
from protocol.message import Message, decode_message
from protocol.versions import BEST
from registry.store import CacheStore, Store
from resolver import fastpath, message_tables
from resolver.cache import Cache, CacheEntry
from resolver.fastpath import (
    VARIABLE,
    Batch,
    Choice,
    FastPath,
    FastPathError,
    choose,
    make_batch,
    open_fast_path,
)
from resolver.metrics import CACHE_LOOKUPS, REQUESTS
from resolver.replies import Replies
from resolver.sockets import SocketError, open_udp
from tests.registry.builders import NOW_S, PREFIX, open_store, put, url
from tests.resolver.office import body_of, request
from tests.resolver.two_paths import TWINS

HANDLE = b"88.118/A"
REPLIES = Replies(3, is_primary=True, now_s=lambda: NOW_S)
MANY = 64


@pytest.fixture(params=TWINS)
def twin(request: pytest.FixtureRequest) -> Choice:
    return Choice(request.param)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as store:
        put(store, {HANDLE: [url()], b"88.118/LONG": [url(data=bytes(2_000))]}, homed=[PREFIX])
        yield store


def ask(handle: bytes = HANDLE, request_id: int = 7, flags: int = MessageFlag.PUBLIC_ONLY) -> bytes:
    return request(1, ResolutionRequest(handle), flags, request_id=request_id).encode()


def fast_path(store: Store | CacheStore, sock: socket.socket, twin: Choice) -> FastPath:
    fast = open_fast_path(sock.fileno(), store, REPLIES, twin)
    assert fast is not None
    return fast


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of one line: what the kernel holds for a reader is bounded, as for any socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in (ours, theirs):
        end.setblocking(False)
    with ours, theirs:
        yield ours, theirs


Pair = tuple[socket.socket, socket.socket]


def received(sock: socket.socket) -> list[bytes]:
    datagrams = []
    while True:
        try:
            datagrams.append(sock.recv(65_535))
        except BlockingIOError:
            return datagrams


def answered(sock: socket.socket) -> list[Message]:
    return [decode_message(octets) for octets in received(sock)]


def test_a_look_up_is_answered(store: Store, pair: Pair, twin: Choice) -> None:
    ours, theirs = pair
    fast = fast_path(store, ours, twin)
    theirs.send(ask(b"88.118/a"))
    assert fast.serve() == ([], [], 1)
    (answer,) = answered(theirs)
    assert body_of(answer) == ValuesRequest(b"88.118/a", (url(),))
    assert answer.header.site_serial == 3
    assert answer.header.has(MessageFlag.AUTHORITATIVE)
    assert fast.serve() == ([], [], 0)


def test_the_next_batch_sees_what_was_written(store: Store, pair: Pair, twin: Choice) -> None:
    ours, theirs = pair
    fast = fast_path(store, ours, twin)

    def answers() -> int:
        theirs.send(ask())
        return fast.serve().answered

    assert answers() == 1
    answered(theirs)
    with store.write(journaled=False) as view:
        view.unhome(PREFIX)
    assert answers() == 0
    with store.write(journaled=False) as view:
        view.home(PREFIX)
        view.put_record(HANDLE, [url(2, b"new")])
    assert answers() == 1
    assert body_of(answered(theirs)[-1]) == ValuesRequest(HANDLE, (url(2, b"new"),))
    with store.write(journaled=False) as view:
        view.delete_record(HANDLE)
    assert answers() == 1
    (answer,) = answered(theirs)
    assert answer.header.response_code == ResponseCode.HANDLE_NOT_FOUND
    assert body_of(answer) == ErrorAnswer(b"88.118/A is not registered")


def test_what_is_not_plain_is_declined_whole(store: Store, pair: Pair, twin: Choice) -> None:
    ours, theirs = pair
    whole = Envelope(BEST, BEST, 0, 0, 7, 0, 59_980).encode() + b"x" * 59_980
    piece = Envelope(BEST, BEST, 0, 0, 7, 1, 600).encode() + b"x" * 108
    odd = [ask(b"99/NONE"), piece, ask(b"88.118/\xc3\xa9"), ask(b"0.NA/88.118"), whole]
    for datagram in [*odd[:2], ask(), *odd[2:]]:
        theirs.send(datagram)
    declined, unsent, count = fast_path(store, ours, twin).serve()
    assert [datagram for datagram, _ in declined] == odd
    assert (unsent, count) == ([], 1)


def test_what_is_no_message_is_met_with_silence(store: Store, pair: Pair, twin: Choice) -> None:
    ours, theirs = pair
    cut_off = Envelope(BEST, BEST, 0, 0, 7, 1, 600).encode() + b"x" * 107
    backwards = Envelope(BEST, BEST, 0, 0, 7, -1, 600).encode() + b"x" * 492
    endless = Envelope(BEST, BEST, 0, 0, 7, 0, 262_145).encode() + b"x" * 492
    for datagram in (b"", b"\x02", bytes(1_500), cut_off, ask()[:-1], backwards, endless, ask()):
        theirs.send(datagram)
    assert fast_path(store, ours, twin).serve() == ([], [], 1)
    assert len(received(theirs)) == 1


def test_a_batch_is_bounded(store: Store, twin: Choice) -> None:
    with open_udp("127.0.0.1", 0) as server, socket.socket(type=socket.SOCK_DGRAM) as client:
        fast = fast_path(store, server, twin)
        client.settimeout(5)
        client.connect(server.getsockname())
        for number in range(1, MANY + 11):
            client.send(ask(request_id=number))
        assert fast.serve().answered == MANY
        assert fast.serve().answered == 10
        ids = [decode_message(client.recv(512)).envelope.request_id for _ in range(MANY + 10)]
        assert ids == list(range(1, MANY + 11))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_answers_of_all_lengths_reach_their_clients(
    tmp_path: Path, twin: Choice, address: str
) -> None:
    lengths = [9, 9, *range(50), 700, 9_000]
    values = {b"88.118/%d" % octets: url(data=bytes(octets)) for octets in lengths}
    with open_store(tmp_path) as store, contextlib.ExitStack() as sockets:
        put(store, {handle: [value] for handle, value in values.items()}, homed=[PREFIX])
        try:
            server = sockets.enter_context(open_udp(address, 0))
        except SocketError:
            pytest.skip("this machine has no IPv6")
        fast = fast_path(store, server, twin)
        asked = {}
        for number in range(10):  # more senders than those whose answers are put together
            client = sockets.enter_context(socket.socket(server.family, socket.SOCK_DGRAM))
            client.settimeout(5)
            client.connect(server.getsockname())
            asked[client] = [list(values)[(number * 11 + at) % len(values)] for at in range(6)]
        for at in range(6):
            for client, handles in asked.items():
                client.send(ask(handles[at], request_id=at))
        assert fast.serve().answered == 60
        for client, handles in asked.items():
            answers = some_answers(client, len(handles))
            assert {each.envelope.request_id: body_of(each) for each in answers} == {
                at: ValuesRequest(handle, (values[handle],)) for at, handle in enumerate(handles)
            }


def some_answers(client: socket.socket, count: int) -> list[Message]:
    reassembler = Reassembler()
    answers: list[Message] = []
    while len(answers) < count:
        octets = reassembler.receive(client.recv(65_535), "server", 0.0)
        if octets is not None:
            answers.append(decode_message(octets))
    return answers


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_senders_are_named_as_sockets_name_them(store: Store, twin: Choice, address: str) -> None:
    try:
        server = open_udp(address, 0)
    except Exception:
        if address == "::1":
            pytest.skip("this machine has no IPv6")
        raise
    odd, odder = ask(b"99/odd"), ask(b"99/odder")
    with server, socket.socket(server.family, socket.SOCK_DGRAM) as client:
        fast = fast_path(store, server, twin)
        client.bind((address, 0))
        client.settimeout(5)
        for datagram in (odd, ask(), odder):
            client.sendto(datagram, server.getsockname())
        declined, _, count = fast.serve(hold=False)
        assert declined == [(odd, client.getsockname()), (odder, client.getsockname())]
        assert count == 1
        client.sendto(ask(b"88.118/LONG"), server.getsockname())
        assert decode_message(client.recv(512)).envelope.request_id == 7
        unsent = fast.serve(hold=True).unsent
        assert len(unsent) == 5
        assert {address for _, address in unsent} == {client.getsockname()}


def test_what_the_kernel_cannot_take_is_handed_back(store: Store, pair: Pair, twin: Choice) -> None:
    ours, theirs = pair
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)  # room for a few
    fast = fast_path(store, ours, twin)
    for number in (1, 2, 3):
        theirs.send(ask(b"88.118/LONG", request_id=number))
    declined, unsent, count = fast.serve()
    assert (declined, count) == ([], 3)
    sent = received(theirs)
    assert 0 < len(sent) < 15
    assert len(sent) + len(unsent) == 15
    pieces = [*sent, *(datagram for datagram, _ in unsent)]
    assert pieces == [
        piece
        for number in (1, 2, 3)
        for piece in split_datagrams(whole(pieces[5 * (number - 1) : 5 * number]))
    ]
    theirs.send(ask())
    assert fast.serve().answered == 1  # nothing of the batch before is left in this one
    assert [each.envelope.request_id for each in answered(theirs)] == [7]


def whole(pieces: list[bytes]) -> bytes:
    return pieces[0] + b"".join(piece[20:] for piece in pieces[1:])


def test_held_answers_are_not_sent(store: Store, pair: Pair, twin: Choice) -> None:
    ours, theirs = pair
    fast = fast_path(store, ours, twin)
    theirs.send(ask())
    ((datagram, _),) = fast.serve(hold=True).unsent
    assert decode_message(datagram).envelope.request_id == 7
    assert not received(theirs)


def test_a_client_that_is_gone_costs_its_answer_only(
    store: Store, twin: Choice, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.setblocking(False)
        server.bind(str(tmp_path / "server"))
        fast = fast_path(store, server, twin)
        gone = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        stays = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with gone, stays:
            for name, client in (("gone", gone), ("stays", stays)):
                client.bind(str(tmp_path / name))
                client.setblocking(False)
                client.sendto(ask(), server.getsockname())
            gone.close()
            assert fast.serve() == ([], [], 2)
            assert len(answered(stays)) == 1


def test_an_error_of_the_socket_is_nothing_to_answer(store: Store, twin: Choice) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect(("127.0.0.1", 9))  # nobody listens there, and the kernel says so
        fast = fast_path(store, client, twin)
        client.send(b"x")
        assert fast.serve() == ([], [], 0)
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0  # it was taken
        assert fast.serve() == ([], [], 0)


def count_of(metric: str, **labels: str) -> float:
    counters = {"requests": REQUESTS, "lookups": CACHE_LOOKUPS}
    return sum(
        sample.value
        for family in counters[metric].collect()
        for sample in family.samples
        if sample.name.endswith("_total") and labels.items() <= sample.labels.items()
    )


def test_answers_are_counted_exactly(store: Store, pair: Pair, twin: Choice) -> None:
    ours, theirs = pair
    fast = fast_path(store, ours, twin)
    before = count_of("requests", response_code="success", transport="udp")
    missing = count_of("requests", response_code="handle_not_found", transport="udp")
    for _ in range(3):
        for datagram in (ask(), ask(b"88.118/NONE"), ask()):
            theirs.send(datagram)
        fast.serve()
    fast.flush()
    fast.flush()
    assert count_of("requests", response_code="success", transport="udp") == before + 6
    assert count_of("requests", response_code="handle_not_found", transport="udp") == missing + 3


def test_a_cache_answers_while_its_rows_are_fresh(tmp_path: Path, pair: Pair, twin: Choice) -> None:
    ours, theirs = pair
    now_s = [float(NOW_S)]
    replies = Replies(3, is_primary=False, now_s=lambda: now_s[0])
    cache = CacheStore(tmp_path / "cache", octets_max=1 << 22)
    writer = Cache(cache)
    list_octets = ValuesRequest(b"", (url(),)).encode()[4:]
    writer.put(HANDLE, CacheEntry(1, NOW_S, NOW_S + 5, list_octets))
    writer.put(b"88.118/GONE", CacheEntry(100, NOW_S, NOW_S + 5, words=b"not there"))
    writer.flush()
    fast = open_fast_path(ours.fileno(), cache, replies, twin)
    assert fast is not None
    before = count_of("lookups", outcome="hit")
    theirs.send(ask())
    theirs.send(ask(b"88.118/a"))  # another handle, for all a recursive node knows
    theirs.send(ask(flags=MessageFlag.AUTHORITATIVE))
    theirs.send(ask(b"88.118/GONE"))
    assert fast.serve().answered == 2
    now_s[0] = NOW_S + 5
    theirs.send(ask())
    theirs.send(ask(b"88.118/GONE"))
    assert fast.serve().answered == 0
    fast.flush()
    assert count_of("lookups", outcome="hit") == before + 2
    answer, missing = answered(theirs)
    assert not answer.header.has(MessageFlag.AUTHORITATIVE)
    assert missing.header.response_code == ResponseCode.HANDLE_NOT_FOUND
    assert body_of(missing) == ErrorAnswer(b"not there")
    cache.close()


def batch_of(twin: Choice) -> Batch:
    return make_batch(twin, -1, REPLIES, case_sensitive=True, cached=False)


def test_keys_are_folded_as_the_store_is_configured(twin: Choice) -> None:
    batch = batch_of(twin)
    handles = [b"a.b/xY", b"0.na/xY", b"0.type/z", b"A.b/\xc3\xa9/z"]
    batch.load([(ask(handle), ("192.0.2.1", 1)) for handle in handles])
    assert batch.keys == [b"A.B/xY", b"0.NA/XY", b"0.TYPE/Z", b"A.B/\xc3\xa9/z"]
    assert batch.prefixes == [b"0.NA/A.B", b"0.NA/0.NA", b"0.NA/0.TYPE"]


def test_more_than_a_batch_is_our_mistake(twin: Choice) -> None:
    batch = batch_of(twin)
    with pytest.raises(ValueError, match="65 datagrams, 64 are a batch"):
        batch.load([(b"", ("192.0.2.1", 1))] * 65)
    batch.load([(ask(), ("192.0.2.1", 1))])
    with pytest.raises(ValueError, match="over no socket"):
        batch.send()
    with pytest.raises(IndexError):
        batch.assemble([], [True], NOW_S)


def test_the_best_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose({}) is TWINS[-1]
    monkeypatch.setattr(fastpath, "NativeBatch", None)
    assert choose({}) is Choice.PYTHON
    monkeypatch.setattr(message_tables, "CALLS", None)
    assert choose({}) is Choice.OFF


@pytest.mark.parametrize("choice", [*TWINS, Choice.OFF])
def test_the_environment_forces_one(choice: Choice) -> None:
    assert choose({VARIABLE: choice.value}) is choice


def test_what_cannot_be_had_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FastPathError, match="set it to native, python or off"):
        choose({VARIABLE: "fastest"})
    monkeypatch.setattr(fastpath, "NativeBatch", None)
    with pytest.raises(FastPathError, match="install a C compiler"):
        choose({VARIABLE: "native"})
    monkeypatch.setattr(message_tables, "CALLS", None)
    with pytest.raises(FastPathError, match="set it to off"):
        choose({VARIABLE: "python"})


def test_off_is_no_fast_path(store: Store) -> None:
    assert open_fast_path(-1, store, REPLIES, Choice.OFF) is None
