from dataclasses import replace

import pytest

from protocol.codes import EnvelopeFlag
from protocol.envelope import ENVELOPE_OCTETS, Envelope, decode_envelope
from protocol.errors import DecodeError
from protocol.framing import (
    DATAGRAM_OCTETS_MAX,
    PIECE_OCTETS,
    Reassembler,
    ReassemblyLimits,
    StreamDecoder,
    split_datagrams,
)
from protocol.versions import BEST


def whole(octets: int, request_id: int = 7, fill: bytes = b"m") -> bytes:
    """Return an envelope and a message of this many octets."""
    return Envelope(BEST, BEST, 0, 0, request_id, 0, octets).encode() + fill * octets


def first_piece(request_id: int, octets: int = 1_000) -> bytes:
    return split_datagrams(whole(octets, request_id))[0]


@pytest.mark.parametrize(
    ("octets", "pieces"), [(0, 1), (492, 1), (493, 2), (984, 2), (985, 3), (262_144, 533)]
)
def test_pieces(octets: int, pieces: int) -> None:
    datagrams = split_datagrams(whole(octets))
    assert len(datagrams) == pieces
    assert all(len(datagram) == DATAGRAM_OCTETS_MAX for datagram in datagrams[:-1])
    assert b"".join(datagram[ENVELOPE_OCTETS:] for datagram in datagrams) == b"m" * octets
    envelopes = [decode_envelope(datagram) for datagram in datagrams]
    assert [envelope.sequence for envelope in envelopes] == list(range(pieces))
    assert {envelope.length for envelope in envelopes} == {octets}
    assert not any(envelope.flags for envelope in envelopes)


def test_the_truncated_bit_is_set_where_asked_for() -> None:
    several = split_datagrams(whole(600), mark_truncated=True)
    assert {decode_envelope(one).flags for one in several} == {EnvelopeFlag.TRUNCATED}
    assert decode_envelope(split_datagrams(whole(9), mark_truncated=True)[0]).flags == 0


def test_a_single_datagram_is_the_message_itself() -> None:
    reassembler = Reassembler()
    datagram = whole(100)
    assert reassembler.receive(datagram, "a", 0.0) is datagram
    assert len(reassembler) == 0


def test_pieces_that_do_not_fit() -> None:
    reassembler = Reassembler()
    for datagram, words in (
        (whole(0) + b"x", "piece 0 begins at octet 0 of a message of 0"),
        (whole(10)[:-1], "piece 0 has 9 octets, expected are 10"),
        (whole(10) + b"x", "piece 0 has 11 octets, expected are 10"),
        (first_piece(7)[:-1], "piece 0 has 491 octets, expected are 492"),
        (first_piece(7) + b"x", "piece 0 has 493 octets, expected are 492"),
        (split_datagrams(whole(500))[1] + b"x", "piece 1 has 9 octets, expected are 8"),
        (
            Envelope(BEST, BEST, 0, 0, 7, 2, 984).encode() + b"x",
            "piece 2 begins at octet 984 of a message of 984",
        ),
        (bytes(19), "envelope needs 20 octets"),
    ):
        with pytest.raises(DecodeError, match=words):
            reassembler.receive(datagram, "a", 0.0)
    assert (len(reassembler), reassembler.octets) == (0, 0)


def test_the_same_piece_twice_counts_once() -> None:
    reassembler = Reassembler()
    first, second = split_datagrams(whole(600))
    assert reassembler.receive(first, "a", 0.0) is None
    assert reassembler.receive(first, "a", 0.0) is None
    assert reassembler.octets == PIECE_OCTETS
    assert reassembler.receive(second, "a", 0.0) == whole(600)
    assert reassembler.octets == 0


def test_pieces_of_two_transmissions_do_not_mix() -> None:
    reassembler = Reassembler()
    old, new = (split_datagrams(whole(1_200, fill=fill)) for fill in (b"o", b"n"))
    assert reassembler.receive(old[0], "a", 0.0) is None
    assert reassembler.receive(old[2], "a", 0.0) is None
    assert reassembler.receive(new[0], "a", 1.0) is None
    assert reassembler.receive(new[1], "a", 1.0) is None
    assert reassembler.receive(new[2], "a", 1.0) == whole(1_200, fill=b"n")


def test_a_piece_with_another_envelope_begins_anew() -> None:
    reassembler = Reassembler()
    assert reassembler.receive(first_piece(7, 600), "a", 0.0) is None
    longer = split_datagrams(whole(700))
    assert reassembler.receive(longer[1], "a", 0.0) is None
    assert reassembler.octets == 700 - PIECE_OCTETS
    assert reassembler.receive(longer[0], "a", 0.0) == whole(700)


def test_peers_and_requests_and_sessions_are_kept_apart() -> None:
    reassembler = Reassembler()
    first, second = split_datagrams(whole(600))
    other_request = split_datagrams(whole(600, 8))[1]
    envelope = replace(decode_envelope(second), session_id=9)
    other_session = envelope.encode() + second[ENVELOPE_OCTETS:]
    assert reassembler.receive(first, "a", 0.0) is None
    assert reassembler.receive(second, "b", 0.0) is None
    assert reassembler.receive(other_request, "a", 0.0) is None
    assert reassembler.receive(other_session, "a", 0.0) is None
    assert len(reassembler) == 4
    assert reassembler.receive(second, "a", 0.0) == whole(600)


def test_incomplete_messages_expire() -> None:
    reassembler = Reassembler()
    first, second = split_datagrams(whole(600))
    assert reassembler.receive(first, "a", 0.0) is None
    assert reassembler.receive(first_piece(8), "b", 4.9) is None
    assert len(reassembler) == 2
    assert reassembler.receive(second, "a", 5.0) is None
    assert len(reassembler) == 2
    assert reassembler.receive(first_piece(9), "c", 100.0) is None
    assert (len(reassembler), reassembler.octets) == (1, PIECE_OCTETS)


def test_one_peer_is_bounded_and_others_are_not_harmed() -> None:
    reassembler = Reassembler(ReassemblyLimits(messages_per_peer_max=3))
    other = split_datagrams(whole(600, 1))
    assert reassembler.receive(other[0], "b", 0.0) is None
    for request_id in range(1, 301):
        assert reassembler.receive(first_piece(request_id), "a", 0.0) is None
    assert len(reassembler) == 4
    assert reassembler.receive(other[1], "b", 0.0) == whole(600, 1)
    # The newest are kept: what is being sent now can complete.
    second = split_datagrams(whole(1_000, 300))
    assert reassembler.receive(second[1], "a", 0.0) is None
    assert reassembler.receive(second[2], "a", 0.0) == whole(1_000, 300)


def test_octets_of_one_peer_are_bounded() -> None:
    limits = ReassemblyLimits(octets_per_peer_max=3 * PIECE_OCTETS)
    reassembler = Reassembler(limits)
    for request_id in range(1, 10):
        assert reassembler.receive(first_piece(request_id), "a", 0.0) is None
        assert reassembler.octets <= limits.octets_per_peer_max
    assert len(reassembler) == 3


@pytest.mark.parametrize(
    "limits",
    [ReassemblyLimits(messages_max=5), ReassemblyLimits(octets_max=5 * PIECE_OCTETS + 1)],
)
def test_all_peers_together_are_bounded(limits: ReassemblyLimits) -> None:
    reassembler = Reassembler(limits)
    for peer in range(100):
        assert reassembler.receive(first_piece(7), peer, 0.0) is None
        assert len(reassembler) <= 5
    assert len(reassembler) == 5
    assert reassembler.octets == 5 * PIECE_OCTETS
    second = split_datagrams(whole(1_000))
    assert reassembler.receive(second[1], 99, 0.0) is None


def test_a_bound_below_one_message_holds_too() -> None:
    reassembler = Reassembler(ReassemblyLimits(octets_per_peer_max=PIECE_OCTETS))
    pieces = split_datagrams(whole(1_200))
    assert [reassembler.receive(piece, "a", 0.0) for piece in pieces] == [None, None, None]
    assert reassembler.octets <= PIECE_OCTETS


def test_a_complete_message_costs_the_same_beside_incomplete_ones() -> None:
    """No look at what is held: counted by the calls a whole message makes."""
    reassembler = Reassembler()
    for request_id in range(300):
        reassembler.receive(first_piece(request_id + 1), request_id, 0.0)
    held = len(reassembler)
    assert held == 300
    for request_id in range(300):
        assert reassembler.receive(whole(50, request_id), "z", 100.0) is not None
    assert len(reassembler) == held  # untouched: expiry is paid by fragments alone


def test_a_stream_octet_by_octet() -> None:
    decoder = StreamDecoder()
    received = []
    for octet in whole(3) + whole(0) + whole(30):
        decoder.feed(bytes([octet]))
        received += list(decoder)
    assert received == [whole(3), whole(0), whole(30)]
    assert decoder.buffered_octets == 0


def test_a_stream_that_ends_within_a_message() -> None:
    decoder = StreamDecoder()
    decoder.feed(whole(3) + whole(5)[:-1])
    assert next(decoder) == whole(3)
    assert next(decoder, None) is None
    assert decoder.buffered_octets == 24
    decoder.feed(b"m")
    assert list(decoder) == [whole(5)]


def test_a_stream_of_something_else() -> None:
    decoder = StreamDecoder()
    decoder.feed(whole(1) + b"\xff" * 20)
    assert next(decoder) == whole(1)
    for _ in range(2):
        with pytest.raises(DecodeError, match="message length is -1"):
            next(decoder)


def test_a_stream_that_nobody_reads_is_bounded() -> None:
    decoder = StreamDecoder(octets_max=100)
    decoder.feed(bytes(60))
    with pytest.raises(DecodeError, match="120 octets wait in the stream, allowed are 100"):
        decoder.feed(bytes(60))
    assert decoder.buffered_octets == 60


def test_what_stands_before_something_else_is_taken_first() -> None:
    decoder = StreamDecoder()
    decoder.feed(whole(1) + whole(2) + b"\xff" * 20 + whole(3))
    assert decoder.take(8) == [whole(1), whole(2)]
    with pytest.raises(DecodeError, match="message length is -1"):
        decoder.take(8)
