"""Encode and decode invert each other, and nothing but the documented errors comes out."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.bodies import Body, decode_request_body, decode_response_body
from protocol.codes import MessageFlag, OpCode
from protocol.credential import Credential, decode_credential
from protocol.digests import RequestDigest, read_digest
from protocol.envelope import Envelope, decode_envelope
from protocol.errors import DecodeError, InvalidValueError, KeyFileError
from protocol.framing import Reassembler, StreamDecoder, split_datagrams
from protocol.header import Header, decode_header
from protocol.key_files import decode_private_key
from protocol.message import Message, decode_message
from protocol.types import DECODERS, TypedValue, decode_typed
from protocol.types.hs_admin import HsAdmin, decode_hs_admin
from protocol.types.hs_site import HsSite, decode_hs_site
from protocol.types.hs_vlist import HsVlist, decode_hs_vlist
from protocol.value import HandleValue, encode_values, read_value, read_values
from protocol.versions import BEST, Version
from protocol.wire import Reader
from tests.protocol import strategies as some


@given(some.ENVELOPES)
def test_envelopes(envelope: Envelope) -> None:
    assert decode_envelope(envelope.encode()) == envelope


@given(some.HEADERS, st.integers(0, 2**31 - 1))
def test_headers(header: Header, body_octets: int) -> None:
    assert decode_header(header.encode(body_octets)) == (header, body_octets)


@given(some.MESSAGES)
def test_messages(message: Message) -> None:
    decoded = decode_message(message.encode()) if not message.envelope.is_encrypted else None
    if decoded is not None:
        assert decoded.payload == message.payload
        assert decoded.encode() == message.encode()


@given(some.CREDENTIALS)
def test_credentials(credential: Credential) -> None:
    assert decode_credential(credential.encode()) == credential


@given(some.VALUES)
def test_values(value: HandleValue) -> None:
    reader = Reader(value.encode())
    assert read_value(reader) == value
    assert not reader.remaining


@given(some.tuples_of(some.VALUES))
def test_value_lists(values: tuple[HandleValue, ...]) -> None:
    assert read_values(Reader(encode_values(values))) == values


@given(some.DIGESTS)
def test_digests(digest: RequestDigest) -> None:
    assert read_digest(Reader(digest.encode())) == digest


@given(some.REQUESTS)
def test_request_bodies(request: tuple[int, Version, Body]) -> None:
    opcode, version, body = request
    assert decode_request_body(opcode, body.encode(), version) == body


@given(some.ANSWERS, st.none() | some.DIGESTS)
def test_answer_bodies(answer: tuple[int, int, Body], digest: RequestDigest | None) -> None:
    opcode, code, body = answer
    flags = 0 if digest is None else MessageFlag.REQUEST_DIGEST
    octets = (b"" if digest is None else digest.encode()) + body.encode()
    assert decode_response_body(Header(opcode, code, flags, 0), octets) == (digest, body)


@given(some.REQUESTS, st.integers(0, 200))
def test_cut_requests_are_refused_or_a_shorter_form(
    request: tuple[int, Version, Body], octets: int
) -> None:
    opcode, version, body = request
    cut = body.encode()[:octets]
    try:
        decoded = decode_request_body(opcode, cut, version)
    except DecodeError:
        return
    assert decoded.encode() == cut


@given(some.ANSWERS, st.integers(0, 200))
def test_cut_answers_are_refused_or_a_shorter_form(
    answer: tuple[int, int, Body], octets: int
) -> None:
    opcode, code, body = answer
    cut = body.encode()[:octets]
    try:
        _, decoded = decode_response_body(Header(opcode, code, 0, 0), cut)
    except DecodeError:
        return
    assert decoded.encode() == cut


@given(some.ADMINS)
def test_admins(admin: HsAdmin) -> None:
    assert decode_hs_admin(admin.encode()) == admin


@given(some.VLISTS)
def test_vlists(vlist: HsVlist) -> None:
    assert decode_hs_vlist(vlist.encode()) == vlist


@given(some.SITES)
def test_sites(site: HsSite) -> None:
    assert decode_hs_site(site.encode()) == site


@given(st.binary(max_size=200), st.sampled_from([0, *map(int, OpCode)]))
def test_garbage_is_refused_or_encodes_to_itself(octets: bytes, opcode: int) -> None:
    attempts: list[Callable[[], Body]] = [
        lambda: decode_request_body(opcode, octets, BEST),
        lambda: decode_response_body(Header(opcode, 1, 0, 0), octets)[1],
        lambda: decode_credential(octets),
    ]
    for attempt in attempts:
        try:
            body = attempt()
        except DecodeError:
            continue
        assert body.encode() == octets


@given(st.binary(max_size=100), st.sampled_from([*sorted(DECODERS), b"URL"]))
def test_garbage_data_are_refused_or_encode_to_themselves(data: bytes, type_: bytes) -> None:
    try:
        typed: TypedValue = decode_typed(type_, data)
    except (DecodeError, InvalidValueError):
        return
    assert typed.encode() == data


@given(st.binary(max_size=100), st.none() | st.binary(max_size=8))
def test_garbage_is_no_key_file(octets: bytes, passphrase: bytes | None) -> None:
    with pytest.raises(KeyFileError):
        decode_private_key(octets, passphrase)


@given(st.binary(min_size=1, max_size=3_000), st.randoms(use_true_random=False))
def test_datagrams_in_any_order_give_the_message(body: bytes, random: object) -> None:
    envelope = Envelope(BEST, BEST, 0, 0, 7, 0, 0)
    octets = Message(envelope, Header(1, 0, 0, 0), body).encode()
    datagrams = split_datagrams(octets)
    random.shuffle(datagrams)  # type: ignore[attr-defined]
    reassembler = Reassembler()
    results = [reassembler.receive(datagram, "a", 0.0) for datagram in datagrams]
    assert results == [None] * (len(datagrams) - 1) + [octets]
    assert (len(reassembler), reassembler.octets) == (0, 0)


@given(st.lists(st.binary(max_size=60), max_size=5), st.lists(st.integers(1, 90), min_size=1))
def test_a_stream_in_any_portions_gives_the_messages(bodies: list[bytes], cuts: list[int]) -> None:
    envelope = Envelope(BEST, BEST, 0, 0, 7, 0, 0)
    sent = [Message(envelope, Header(1, 0, 0, 0), body).encode() for body in bodies]
    stream, decoder = b"".join(sent), StreamDecoder()
    received: list[bytes] = []
    position = turn = 0
    while position < len(stream):
        decoder.feed(stream[position : position + cuts[turn % len(cuts)]])
        position += cuts[turn % len(cuts)]
        turn += 1
        received.extend(decoder)
    assert received == sent
    assert not decoder.buffered_octets
