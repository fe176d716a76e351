"""Messages to datagrams and back, and whole messages out of a TCP stream. Time is an argument.

UDP: 512 octets a datagram, 20 of them the envelope. A longer message is cut into pieces of 492
octets, each behind the same envelope but for its sequence number; all pieces but the last are
exactly 492 long, so piece n stands at n * 492. The envelope's length is that of the whole message
in every piece, and that is how one knows how many there are; the truncated bit is not relied on.

TCP: envelope and message, one after another, no other framing.

Strangers make us remember incomplete messages, so everything here is bounded: how many and how many
octets, from one peer and in all, and for how long. When a bound is met the oldest incomplete
message goes: that is cheap, and a complete message never waits for an incomplete one.
"""

import struct
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from protocol.codes import EnvelopeFlag
from protocol.envelope import ENVELOPE_OCTETS, Envelope, decode_envelope
from protocol.errors import DecodeError
from protocol.wire import MESSAGE_OCTETS_MAX

DATAGRAM_OCTETS_MAX = 512
PIECE_OCTETS = DATAGRAM_OCTETS_MAX - ENVELOPE_OCTETS
_SEQUENCE_AND_LENGTH = struct.Struct(">ii")  # as they stand in an envelope
_SEQUENCE_AT = 12


def split_datagrams(octets: bytes, *, mark_truncated: bool = False) -> list[bytes]:
    """Cut envelope and message into datagrams of at most 512 octets.

    Args:
        octets: a whole message with its envelope.
        mark_truncated: set the truncated bit on the pieces of a message that needs several, as
            clients do in requests; in a response the bit stays as it is.

    Raises:
        DecodeError: `octets` do not begin with an envelope.
    """
    if len(octets) <= DATAGRAM_OCTETS_MAX:
        return [octets]
    envelope = decode_envelope(octets)
    head = bytearray(octets[:ENVELOPE_OCTETS])
    if mark_truncated:
        head[2] |= EnvelopeFlag.TRUNCATED
    datagrams = []
    for sequence in range(-(-envelope.length // PIECE_OCTETS)):
        head[12:16] = sequence.to_bytes(4, "big")
        start = ENVELOPE_OCTETS + sequence * PIECE_OCTETS
        datagrams.append(bytes(head) + octets[start : start + PIECE_OCTETS])
    return datagrams


@dataclass(frozen=True, slots=True)
class ReassemblyLimits:
    """What strangers may make a Reassembler hold.

    A client sends one message at a time and repeats it within 1.5 s, so 16 from one address leave
    room for an office behind one address; twice the longest message is what one may buffer.
    In all: 4,096 incomplete messages and 16 MiB. 5 s is how long Handle.Net waits.
    """

    messages_per_peer_max: int = 16
    octets_per_peer_max: int = 2 * MESSAGE_OCTETS_MAX
    messages_max: int = 4_096
    octets_max: int = 16 * 1_024 * 1_024
    expiry_s: float = 5.0


@dataclass(slots=True)
class _Incomplete:
    """A message of which some pieces have arrived."""

    envelope: Envelope
    deadline_s: float
    pieces: dict[int, bytes] = field(default_factory=dict)
    octets: int = 0


@dataclass(slots=True)
class _Peer:
    """What one peer makes us hold; its messages in order of arrival."""

    keys: OrderedDict[tuple[int, int], None] = field(default_factory=OrderedDict)
    octets: int = 0


class Reassembler:
    """Puts messages together from datagrams, whatever the order of their pieces.

    Give the peer's address without its port as `peer`, so that the bounds are per address.
    """

    def __init__(self, limits: ReassemblyLimits | None = None) -> None:
        """Start empty."""
        self.limits = limits or ReassemblyLimits()
        self.octets = 0  # held in all
        self._incomplete: OrderedDict[tuple[Hashable, int, int], _Incomplete] = OrderedDict()
        self._peers: dict[Hashable, _Peer] = {}

    def __len__(self) -> int:
        """Return the number of incomplete messages held."""
        return len(self._incomplete)

    def receive(self, datagram: bytes, peer: Hashable, now_s: float) -> bytes | None:
        """Take one datagram.

        Returns:
            Envelope (sequence number 0) and whole message once it is complete, otherwise None.

        Raises:
            DecodeError: no envelope, or a piece that is not where or as long as it must be.
        """
        envelope = decode_envelope(datagram)
        piece_octets = len(datagram) - ENVELOPE_OCTETS
        if envelope.sequence == 0 and piece_octets == envelope.length:
            return datagram
        _check_piece(envelope, piece_octets)
        self._expire(now_s)
        key = (peer, envelope.session_id, envelope.request_id)
        incomplete = self._find(key, envelope, datagram, now_s)
        if envelope.sequence not in incomplete.pieces:
            incomplete.pieces[envelope.sequence] = datagram[ENVELOPE_OCTETS:]
            self._count(key, incomplete, piece_octets)
        if incomplete.octets == envelope.length:
            self._drop(key)
            pieces = [octets for _, octets in sorted(incomplete.pieces.items())]
            return envelope.with_packet(0, envelope.length).encode() + b"".join(pieces)
        self._enforce(peer)
        return None

    def _find(
        self,
        key: tuple[Hashable, int, int],
        envelope: Envelope,
        datagram: bytes,
        now_s: float,
    ) -> _Incomplete:
        """Return the message this piece belongs to, a new one if it contradicts what is held.

        A client that repeats a request in a session signs it anew: pieces of the two do not mix.
        """
        incomplete = self._incomplete.get(key)
        if incomplete is not None:
            held = incomplete.pieces.get(envelope.sequence)
            same_head = incomplete.envelope == envelope.with_packet(0, envelope.length)
            if same_head and held in (None, datagram[ENVELOPE_OCTETS:]):
                return incomplete
            self._drop(key)
        head = envelope.with_packet(0, envelope.length)
        incomplete = _Incomplete(head, now_s + self.limits.expiry_s)
        self._incomplete[key] = incomplete
        self._peers.setdefault(key[0], _Peer()).keys[key[1:]] = None
        return incomplete

    def _count(
        self, key: tuple[Hashable, int, int], incomplete: _Incomplete, piece_octets: int
    ) -> None:
        incomplete.octets += piece_octets
        self._peers[key[0]].octets += piece_octets
        self.octets += piece_octets

    def _drop(self, key: tuple[Hashable, int, int]) -> None:
        incomplete = self._incomplete.pop(key)
        peer = self._peers[key[0]]
        del peer.keys[key[1:]]
        peer.octets -= incomplete.octets
        self.octets -= incomplete.octets
        if not peer.keys:
            del self._peers[key[0]]

    def _expire(self, now_s: float) -> None:
        """Drop what is too old. The oldest stand first, so this looks at one that stays."""
        while self._incomplete:
            key, incomplete = next(iter(self._incomplete.items()))
            if incomplete.deadline_s > now_s:
                return
            self._drop(key)

    def _enforce(self, peer: Hashable) -> None:
        """Drop the oldest messages until every bound holds."""
        limits = self.limits
        while (held := self._peers.get(peer)) is not None and (
            len(held.keys) > limits.messages_per_peer_max
            or held.octets > limits.octets_per_peer_max
        ):
            self._drop((peer, *next(iter(held.keys))))
        while len(self._incomplete) > limits.messages_max or self.octets > limits.octets_max:
            self._drop(next(iter(self._incomplete)))


def _check_piece(envelope: Envelope, piece_octets: int) -> None:
    """Raise DecodeError unless the piece stands within its message and has the length it must."""
    start = envelope.sequence * PIECE_OCTETS
    if start >= envelope.length:
        raise DecodeError(
            f"piece {envelope.sequence} begins at octet {start} of a message of {envelope.length}"
        )
    expected = min(PIECE_OCTETS, envelope.length - start)
    if piece_octets != expected:
        raise DecodeError(
            f"piece {envelope.sequence} has {piece_octets} octets, expected are {expected}"
        )


class StreamDecoder:
    """Finds whole messages in a stream: `feed` what arrived, then iterate until nothing is left.

    Holds at most `octets_max` octets: by default one message of the largest size and as much again
    for what follows it.
    """

    def __init__(self, octets_max: int = 2 * (ENVELOPE_OCTETS + MESSAGE_OCTETS_MAX)) -> None:
        """Start empty."""
        self._buffer = bytearray()
        self._octets_max = octets_max

    @property
    def buffered_octets(self) -> int:
        """The number of octets that belong to no whole message yet, or are not taken out yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add octets that arrived.

        Raises:
            DecodeError: more than `octets_max` would be held.
        """
        octets = len(self._buffer) + len(data)
        if octets > self._octets_max:
            raise DecodeError(f"{octets} octets wait in the stream, allowed are {self._octets_max}")
        self._buffer += data

    def take(self, messages_max: int) -> list[bytes]:
        """Take out up to so many whole messages with their envelopes.

        Raises:
            DecodeError: the next envelope is none; nothing after it can be found any more. What
                stands before it has to be taken first.
        """
        buffer, octets = self._buffer, len(self._buffer)
        ends: list[int] = []
        end = 0
        while len(ends) < messages_max and octets - end >= ENVELOPE_OCTETS:
            sequence, length = _SEQUENCE_AND_LENGTH.unpack_from(buffer, end + _SEQUENCE_AT)
            if sequence < 0 or not 0 <= length <= MESSAGE_OCTETS_MAX:
                if not ends:
                    decode_envelope(bytes(buffer[:ENVELOPE_OCTETS]))  # says what is wrong
                break
            end += ENVELOPE_OCTETS + length
            if end > octets:
                break
            ends.append(end)
        if not ends:
            return []
        taken = bytes(buffer[: ends[-1]])
        del buffer[: ends[-1]]  # cheap: a bytearray moves its start, not its octets
        return [taken[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def __iter__(self) -> Iterator[bytes]:
        """Return itself: iterate as often as octets arrive."""
        return self

    def __next__(self) -> bytes:
        """Take out the next whole message with its envelope.

        Raises:
            StopIteration: none is whole yet.
            DecodeError: an envelope that is none; nothing after it can be found any more.
        """
        messages = self.take(1)
        if not messages:
            raise StopIteration
        return messages[0]
