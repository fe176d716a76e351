"""What `Upstream` decides, on a network in memory."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import pytest

from protocol.bodies import (
    Body,
    Empty,
    ErrorAnswer,
    HandleListAnswer,
    HandleRequest,
    ResolutionRequest,
    ValuesRequest,
)
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.digests import RequestDigest
from protocol.envelope import Envelope
from protocol.errors import DecodeError, SecurityError
from protocol.message import Message
from protocol.types.hs_site import TRANSPORT_HTTP, TRANSPORT_TCP, TRANSPORT_UDP, HsSite
from protocol.value import HandleValue
from protocol.versions import BEST, V2_3, V2_5, Version
from resolver.asking import Answer, Hop, Request, version_for
from resolver.exchanges import ExchangeError, NotSentError
from resolver.latency import Latencies
from resolver.racing import NoAnswerError
from resolver.upstream import Upstream
from resolver.upstream_settings import UpstreamSettings
from tests.resolver.network import (
    Answerer,
    FakeNetwork,
    FakeNode,
    make_reply,
    make_site,
    server_key,
    with_records,
)

HANDLE = b"88.118.5/PUMP-1"
VALUE = HandleValue(1, b"URL", b"https://example.org/")
QUESTION = Request(HANDLE, OpCode.RESOLUTION, ResolutionRequest(HANDLE), MessageFlag.PUBLIC_ONLY)
DELETION = Request(HANDLE, OpCode.DELETE_HANDLE, HandleRequest(HANDLE))
A, B = "10.0.0.1", "10.0.0.2"
SETTINGS = UpstreamSettings(head_start_s=0.01, timeout_s=5.0)

Result = TypeVar("Result")


class Calm(random.Random):
    """Chance without noise."""

    def random(self) -> float:
        return 0.0


def node() -> FakeNode:
    return with_records({HANDLE: [VALUE]})


def answering(code: int, body: Body) -> FakeNode:
    return FakeNode(answerer=lambda request: [make_reply(request, code, body)])


def run(
    nodes: dict[str, FakeNode], use: Callable[[Upstream], Awaitable[Result]]
) -> tuple[Result, FakeNetwork]:
    network = FakeNetwork(nodes)

    async def main() -> Result:
        return await use(Upstream(SETTINGS, chance=Calm(), mover=network.move))

    return asyncio.run(main()), network


def exchange(
    nodes: dict[str, FakeNode],
    sites: list[HsSite],
    request: Request = QUESTION,
    *,
    certify: bool = False,
) -> Answer:
    answer, _ = run(nodes, lambda upstream: upstream.exchange(request, sites, certify=certify))
    return answer


def test_answer_is_decoded() -> None:
    answer = exchange({A: node()}, [make_site(A)])
    assert answer.body == ValuesRequest(HANDLE, (VALUE,))
    assert answer.response_code == ResponseCode.SUCCESS


def test_udp_comes_first() -> None:
    _, network = run({A: node()}, lambda upstream: upstream.exchange(QUESTION, [make_site(A)]))
    assert [endpoint.transport for endpoint in network.endpoints] == [TRANSPORT_UDP]


def test_request_ids_are_positive_and_never_the_same() -> None:
    fake = node()

    async def ask_often(upstream: Upstream) -> None:
        for _ in range(20):
            await upstream.exchange(QUESTION, [make_site(A)])

    run({A: fake}, ask_often)
    ids = {message.envelope.request_id for message in fake.asked}
    assert len(ids) == 20
    assert all(0 < number < 2**31 for number in ids)


@pytest.mark.parametrize(
    ("known", "written"),
    [(Version(2, 5), V2_5), (Version(2, 11), BEST), (Version(5, 1), V2_3), (Version(0, 0), V2_3)],
)
def test_version_is_what_both_sides_know(known: Version, written: Version) -> None:
    assert version_for(replace(make_site(A), protocol_version=known)) == written


def test_request_suggests_the_best_version() -> None:
    fake = node()
    exchange({A: fake}, [replace(make_site(A), protocol_version=V2_5)])
    assert fake.asked[0].envelope.version == V2_5
    assert fake.asked[0].envelope.suggested == BEST


def test_handle_goes_to_the_server_it_hashes_to() -> None:
    site = make_site("10.0.1.1", "10.0.1.2", "10.0.1.3")
    nodes = {str(server.ip): node() for server in site.servers}
    exchange(nodes, [site])
    # MD5("88.118.5/PUMP-1") ends in 0xa98bc3f5: as a signed number -1450458123, by 3: 0.
    assert [len(fake.asked) for fake in nodes.values()] == [1, 0, 0]


def test_administration_goes_to_primary_sites_over_admin_interfaces() -> None:
    nodes = {A: node(), B: answering(ResponseCode.SUCCESS, Empty())}
    mirror, primary = make_site(A, is_primary=False), make_site(B)
    answer, network = run(nodes, lambda each: each.exchange(DELETION, [mirror, primary]))
    assert answer.response_code == ResponseCode.SUCCESS
    assert network.endpoints[0][:3] == (B, 2641, TRANSPORT_TCP)


def test_authoritative_questions_go_to_primary_sites_only() -> None:
    request = replace(QUESTION, flags=MessageFlag.AUTHORITATIVE)
    with pytest.raises(NoAnswerError, match="primary"):
        exchange({A: node()}, [make_site(A, is_primary=False)], request)


def test_dead_site_is_passed_over() -> None:
    dead = FakeNode(is_dead=True)
    trace: list[Hop] = []
    sites = [make_site(A), make_site(B)]
    answer, _ = run(
        {A: dead, B: node()}, lambda upstream: upstream.exchange(QUESTION, sites, trace=trace)
    )
    assert answer.candidate.endpoint.address == B
    assert [(hop.endpoint.address, hop.response_code) for hop in trace] == [(A, 0), (B, 1)]
    assert "no answer" in trace[0].problem


def test_silent_site_costs_its_head_start_only() -> None:
    async def ask(upstream: Upstream) -> Answer:
        silent.gate = asyncio.Event()
        return await upstream.exchange(QUESTION, [make_site(A), make_site(B)])

    silent = node()
    answer, _ = run({A: silent, B: node()}, ask)
    assert answer.candidate.endpoint.address == B


def test_silent_site_is_asked_last_the_next_time() -> None:
    async def ask(upstream: Upstream) -> list[str]:
        silent.gate = asyncio.Event()
        sites = [make_site(A), make_site(B)]
        addresses = []
        for _ in range(2):
            await upstream.exchange(QUESTION, sites)
            addresses.append(upstream.candidates(QUESTION, sites)[0].endpoint.address)
        assert len(silent.asked) == 1
        return addresses

    silent = node()
    assert run({A: silent, B: node()}, ask)[0] == [B, B]


def test_server_whose_udp_is_cut_off_is_asked_over_tcp_first() -> None:
    async def ask(upstream: Upstream) -> list[int]:
        upstream.latencies.fail(f"udp://{A}:2641", time.monotonic())
        found = upstream.candidates(QUESTION, [make_site(A)])
        return [each.endpoint.transport for each in found]

    assert run({}, ask)[0] == [TRANSPORT_TCP, TRANSPORT_HTTP, TRANSPORT_UDP]


def test_answer_about_another_handle_is_not_believed() -> None:
    other = answering(ResponseCode.SUCCESS, ValuesRequest(b"88.118.5/OTHER", (VALUE,)))
    with pytest.raises(DecodeError, match=r"88\.118\.5/OTHER"):
        exchange({A: other}, [make_site(A)])
    folded = answering(ResponseCode.SUCCESS, ValuesRequest(HANDLE.lower(), (VALUE,)))
    assert exchange({A: folded}, [make_site(A)]).response_code == ResponseCode.SUCCESS


def test_nobody_answers() -> None:
    with pytest.raises(NoAnswerError) as caught:
        exchange({A: FakeNode(is_dead=True)}, [make_site(A)])
    assert len(caught.value.problems) == 3  # UDP, TCP, HTTP


def test_everything_is_over_when_time_is_up() -> None:
    async def ask(upstream: Upstream) -> None:
        silent.gate = asyncio.Event()
        await upstream.exchange(QUESTION, [make_site(A)], timeout_s=0.05)

    silent = node()
    with pytest.raises(NoAnswerError, match=r"within 0\.05 s"):
        run({A: silent}, ask)


def test_busy_site_is_passed_over_but_better_than_nothing() -> None:
    busy = answering(ResponseCode.SERVER_TOO_BUSY, ErrorAnswer(b"later"))
    sites = [make_site(A), make_site(B)]
    assert exchange({A: busy, B: node()}, sites).response_code == ResponseCode.SUCCESS
    only = exchange({A: busy, B: FakeNode(is_dead=True)}, sites)
    assert only.response_code == ResponseCode.SERVER_TOO_BUSY


def test_busy_server_is_not_asked_again_over_another_transport() -> None:
    busy = answering(ResponseCode.SERVER_TOO_BUSY, ErrorAnswer(b"later"))
    exchange({A: busy}, [make_site(A)])
    assert len(busy.asked) == 1


def test_faster_sites_are_asked_first_and_failed_ones_last() -> None:
    async def order(upstream: Upstream) -> list[str]:
        upstream.latencies.observe(A, 50.0)
        upstream.latencies.observe(B, 5.0)
        upstream.latencies.observe("10.0.0.3", 1.0)
        upstream.latencies.fail("udp://10.0.0.3:2641", time.monotonic())
        sites = [make_site(address) for address in (A, B, "10.0.0.3")]
        found = upstream.candidates(QUESTION, sites, [TRANSPORT_UDP])
        return [candidate.endpoint.address for candidate in found]

    assert run({}, order)[0] == [B, A, "10.0.0.3"]


def test_change_is_tried_elsewhere_only_when_it_was_not_sent() -> None:
    def refuse_connections(error: type[ExchangeError]) -> Answerer:
        def answer(request: Message) -> list[Message]:
            raise error("10.0.0.1: refused")

        return answer

    done = answering(ResponseCode.SUCCESS, Empty())
    sites = [make_site(A), make_site(B)]
    unsent = FakeNode(answerer=refuse_connections(NotSentError))
    assert exchange({A: unsent, B: done}, sites, DELETION).candidate.endpoint.address == B
    lost = FakeNode(answerer=refuse_connections(ExchangeError))
    with pytest.raises(NoAnswerError, match="not known"):
        exchange({A: lost, B: done}, sites, DELETION)
    assert len(lost.asked) == 1


def test_lists_have_several_messages_and_never_go_over_udp() -> None:
    def answer(request: Message) -> list[Message]:
        first, last = HandleListAnswer((b"A/1", b"A/2")), HandleListAnswer((b"A/3",))
        return [
            make_reply(request, ResponseCode.SUCCESS, first, flags=MessageFlag.CONTINUOUS),
            make_reply(request, ResponseCode.SUCCESS, last),
        ]

    async def read(upstream: Upstream) -> list[bytes]:
        request = Request(b"0.NA/A", OpCode.LIST_HANDLES, HandleRequest(b"0.NA/A"))
        candidates = upstream.candidates(request, [make_site(A)])
        assert [each.endpoint.transport for each in candidates] == [TRANSPORT_TCP, TRANSPORT_HTTP]
        handles: list[bytes] = []
        async for each in upstream.stream(request, candidates[0]):
            assert isinstance(each.body, HandleListAnswer)
            handles += each.body.handles
        return handles

    assert run({A: FakeNode(answerer=answer)}, read)[0] == [b"A/1", b"A/2", b"A/3"]


def test_certified_answer_is_verified() -> None:
    key = server_key(0)
    signed = node()
    signed.key = key
    answer = exchange({A: signed}, [make_site(A, key=key)], certify=True)
    assert answer.message.header.has(MessageFlag.CERTIFY)
    assert answer.digest is not None


def test_answer_signed_with_another_key_is_not_believed() -> None:
    signed = node()
    signed.key = server_key(1)
    with pytest.raises(SecurityError):
        exchange({A: signed}, [make_site(A, key=server_key(0))], certify=True)


def test_answer_without_signature_is_not_believed_when_certified() -> None:
    with pytest.raises(SecurityError):
        exchange({A: node()}, [make_site(A, key=server_key(0))], certify=True)


def test_site_without_a_key_certifies_nothing() -> None:
    signed = node()
    signed.key = server_key(0)
    with pytest.raises(SecurityError, match="no key"):
        exchange({A: signed}, [make_site(A)], certify=True)


def test_liar_is_passed_over_for_an_honest_site() -> None:
    honest = node()
    honest.key = server_key(0)
    liar = node()
    liar.key = server_key(1)
    sites = [make_site(A, key=server_key(0)), make_site(B, key=server_key(0))]
    answer = exchange({A: liar, B: honest}, sites, certify=True)
    assert answer.candidate.endpoint.address == B


def test_answer_with_the_digest_of_another_request_is_not_believed() -> None:
    def answer(request: Message) -> list[Message]:
        good = make_reply(request, ResponseCode.SUCCESS, ValuesRequest(HANDLE, (VALUE,)))
        digest = RequestDigest(3, bytes(32)).encode()
        flags = good.header.flags | MessageFlag.REQUEST_DIGEST
        return [replace(good, header=replace(good.header, flags=flags), body=digest + good.body)]

    with pytest.raises(SecurityError, match="another request"):
        exchange({A: FakeNode(answerer=answer)}, [make_site(A)])


@pytest.mark.parametrize("opcode", [OpCode.GET_SITE_INFO, OpCode.DELETE_HANDLE])
def test_success_of_another_operation_is_not_misread(opcode: OpCode) -> None:
    def answer(request: Message) -> list[Message]:
        return [make_reply(request, ResponseCode.SUCCESS, Empty(), opcode=opcode)]

    with pytest.raises(DecodeError, match="opcode"):
        exchange({A: FakeNode(answerer=answer)}, [make_site(A)])


def test_request_echoed_back_is_no_answer() -> None:
    with pytest.raises(DecodeError, match="request"):
        exchange({A: FakeNode(answerer=lambda request: [request])}, [make_site(A)])


def test_second_address_is_tried_too() -> None:
    site = replace(make_site(A), attributes=((b"alt_addr", b"2001:db8::1"),))
    answer = exchange({A: FakeNode(is_dead=True), "2001:db8::1": node()}, [site])
    assert str(answer.candidate.endpoint) == "udp://[2001:db8::1]:2641"


def test_attempts_at_once_are_bounded() -> None:
    fake = node()
    network = FakeNetwork({A: fake})
    gate = asyncio.Event()
    fake.gate = gate
    settings = replace(SETTINGS, in_flight_max=2, head_start_s=5.0)

    async def main() -> None:
        upstream = Upstream(settings, mover=network.move)
        first = [asyncio.create_task(upstream.exchange(QUESTION, [make_site(A)])) for _ in range(6)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(network.endpoints) == 2
        gate.set()
        await asyncio.gather(*first)
        assert len(network.endpoints) == 6

    asyncio.run(main())


def test_pause_after_failures_doubles_and_ends_with_an_answer() -> None:
    latencies = Latencies(Calm())
    latencies.fail(A, 100.0)
    assert latencies.is_paused(A, 101.9)
    assert not latencies.is_paused(A, 102.0)
    latencies.fail(A, 102.0)
    assert latencies.is_paused(A, 105.9)
    latencies.observe(A, 3.0)
    assert not latencies.is_paused(A, 102.0)


def test_average_follows_the_latest_answers() -> None:
    latencies = Latencies(Calm())
    latencies.observe(A, 100.0)
    assert latencies.cost_ms(A) == 100.0
    latencies.observe(A, 20.0)
    assert latencies.cost_ms(A) == 80.0


def test_addresses_remembered_are_bounded() -> None:
    latencies = Latencies(Calm())
    for number in range(5_000):
        latencies.observe(f"host-{number}", 9.0)
    assert latencies.cost_ms("host-0") != 9.0
    assert latencies.cost_ms("host-4999") == 9.0


def test_envelope_of_a_request_is_clear_and_of_no_session() -> None:
    fake = node()
    exchange({A: fake}, [make_site(A)])
    envelope: Envelope = fake.asked[0].envelope
    assert (envelope.session_id, envelope.is_encrypted) == (0, False)
