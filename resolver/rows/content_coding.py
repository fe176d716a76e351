"""Content codings of a stream of rows: what gzip and zstd make of octets as they arrive.

A few octets may stand for gigabytes, so what comes out is made only as it is taken, in pieces of
at most PIECE_OCTETS_MAX. A decoder holds one piece and the coding's window (32 KiB of gzip, at most
ZSTD_WINDOW_OCTETS_MAX of zstd). `Expansion` bounds how much a body may stand for.

What is known of the octets that come out, and when:

    gzip   every member ends in a CRC-32 and its length, compared when its last octet is read:
           CodingError then, or before where the octets are none that gzip makes
    zstd   a frame ends in 32 bits of XXH64 if whoever made it wanted so (the command does, many
           libraries do not); compared likewise. Without them damage may show nowhere
    none   nothing: TCP and TLS alone

So octets of a member come out before it is known that they are right: a stream without end is one
member. `members` counts those that have been found whole, `CodingError` ends the last one.
"""

import zlib
from collections.abc import Iterator
from typing import Protocol

import zstandard

from resolver.rows.errors import RowsError

PIECE_OCTETS_MAX = 65_536  # the shortest rows make 32,768 of it, each many times as large
GZIP_INPUT_OCTETS = 16_384  # what zlib leaves over of it is copied for every piece
# A block of 4 octets stands for up to 128 KiB, and all of what a call makes is held.
ZSTD_INPUT_OCTETS = 32
ZSTD_WINDOW_OCTETS_MAX = 8_388_608  # what RFC 8878 asks every decoder to have; that of level 19

ROW_OCTETS = 64  # what a row weighs: 3 us here, some 10 in the registrar
ROW_OCTETS_FREE = 4_096  # of a row, on average

_GZIP_BITS = 16 + zlib.MAX_WBITS


class CodingError(RowsError):
    """A body is not what its coding says; `is_cut_off` when only its end is missing."""

    def __init__(self, what: str, hint: str, *, is_cut_off: bool = False) -> None:
        super().__init__(what, hint)
        self.is_cut_off = is_cut_off


class Decoder(Protocol):
    """Octets without their content coding; `members` have come out and were whole."""

    members: int

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` stand for, piece by piece; take them all before the next call.

        Raises:
            CodingError: damaged.
        """
        ...

    def end(self) -> None:
        """Make sure that nothing is missing. Raises: CodingError."""
        ...


def make_decoder(coding: str) -> Decoder:
    """Return a decoder for a content coding, in any case; "" and identity change nothing.

    Raises:
        RowsError: a coding that is not known here.
    """
    make = _DECODERS.get(coding.strip().lower())
    if make is None:
        raise RowsError(
            f"the content coding {coding[:80]!r} is not known here",
            "send identity, gzip or zstd, one of them",
        )
    return make()


class IdentityDecoder:
    """No coding."""

    members = 0

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield the data."""
        for start in range(0, len(data), PIECE_OCTETS_MAX):
            yield data[start : start + PIECE_OCTETS_MAX]

    def end(self) -> None:
        """Nothing can be missing."""


class GzipDecoder:
    """gzip: members one after another, zeros after each passed over as gzip itself does."""

    def __init__(self) -> None:
        self._member: zlib._Decompress | None = None
        self.members = 0

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what the data stand for. Raises: CodingError."""
        for start in range(0, len(data), GZIP_INPUT_OCTETS):
            yield from self._decode(data[start : start + GZIP_INPUT_OCTETS])

    def _decode(self, data: bytes) -> Iterator[bytes]:
        while True:
            if self._member is None:
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._member = zlib.decompressobj(_GZIP_BITS)
            try:
                piece = self._member.decompress(data, PIECE_OCTETS_MAX)
            except zlib.error as error:
                raise _damaged("gzip", error) from None
            data = self._member.unconsumed_tail
            is_whole = self._member.eof
            if is_whole:
                data, self._member = self._member.unused_data, None
            if piece:
                yield piece
            self.members += is_whole
            if self._member is not None and not data and len(piece) < PIECE_OCTETS_MAX:
                return

    def end(self) -> None:
        """Make sure that the last member is whole. Raises: CodingError."""
        if self._member is not None:
            raise _cut_off("gzip")


class ZstdDecoder:
    """zstd: frames one after another."""

    def __init__(self) -> None:
        self._context = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_OCTETS_MAX)
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self.members = 0

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what the data stand for. Raises: CodingError."""
        for start in range(0, len(data), ZSTD_INPUT_OCTETS):
            rest = data[start : start + ZSTD_INPUT_OCTETS]
            while rest:
                if self._frame is None:
                    self._frame = self._context.decompressobj()
                try:
                    piece = self._frame.decompress(rest)
                except zstandard.ZstdError as error:
                    raise _damaged("zstd", error) from None
                rest, is_whole = b"", self._frame.eof
                if is_whole:
                    rest, self._frame = self._frame.unused_data, None
                if piece:
                    yield from IdentityDecoder().decode(piece)
                self.members += is_whole

    def end(self) -> None:
        """Make sure that the last frame is whole. Raises: CodingError."""
        if self._frame is not None:
            raise _cut_off("zstd")


class Expansion:
    """How much a body stands for, and how much it may: a few octets may be gigabytes of nothing.

    Rows alike but for their serials come down to little more than an octet each, however long they
    are. So a row weighs ROW_OCTETS; of its own octets only those weigh that are more than
    ROW_OCTETS_FREE, as do blank lines and rows without an end.

    Args:
        ratio_max: weight for each octet received.
        free_octets: weight that is always allowed.
    """

    def __init__(self, ratio_max: int, free_octets: int) -> None:
        self._ratio_max = ratio_max
        self._allowed = free_octets
        self._octets = 0

    def receive(self, octets: int) -> None:
        """Note how many octets were received."""
        self._allowed += octets * self._ratio_max

    def make(self, octets: int, rows: int) -> None:
        """Note how many more octets came out, and how many rows there are by now.

        Raises:
            RowsError: more than may be.
        """
        self._octets += octets
        beyond_rows = max(0, self._octets - rows * ROW_OCTETS_FREE)
        if rows * ROW_OCTETS + beyond_rows > self._allowed:
            raise RowsError(
                f"the body stands for more than {self._ratio_max} times its octets",
                "send it without its coding, or see that it has no blank lines",
            )


def _damaged(coding: str, error: Exception) -> CodingError:
    return CodingError(f"this is not {coding}: {error}", "send it again, or without its coding")


def _cut_off(coding: str) -> CodingError:
    hint = "send it again, or what is missing"
    return CodingError(f"the {coding} ends too early", hint, is_cut_off=True)


_DECODERS: dict[str, type[IdentityDecoder] | type[GzipDecoder] | type[ZstdDecoder]] = {
    "": IdentityDecoder,
    "identity": IdentityDecoder,
    "gzip": GzipDecoder,
    "x-gzip": GzipDecoder,
    "zstd": ZstdDecoder,
}
