"""Content codings of a stream of rows: what gzip and zstd make of octets as they arrive.

A few octets may stand for gigabytes, so what comes out is made only as it is taken, in pieces of
at most PIECE_OCTETS_MAX. A decoder holds one piece and the coding's window (32 KiB of gzip, at most
ZSTD_WINDOW_OCTETS_MAX of zstd).
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

_GZIP_BITS = 16 + zlib.MAX_WBITS


class Decoder(Protocol):
    """Octets without their content coding."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` stand for, piece by piece; take them all before the next call.

        Raises:
            RowsError: damaged.
        """
        ...

    def end(self) -> None:
        """Make sure that nothing is missing. Raises: RowsError."""
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

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what the data stand for. Raises: RowsError."""
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
            if self._member.eof:
                data, self._member = self._member.unused_data, None
            if piece:
                yield piece
            if self._member is not None and not data and len(piece) < PIECE_OCTETS_MAX:
                return

    def end(self) -> None:
        """Make sure that the last member is whole. Raises: RowsError."""
        if self._member is not None:
            raise _cut_off("gzip")


class ZstdDecoder:
    """zstd: frames one after another."""

    def __init__(self) -> None:
        self._context = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_OCTETS_MAX)
        self._frame: zstandard.ZstdDecompressionObj | None = None

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what the data stand for. Raises: RowsError."""
        for start in range(0, len(data), ZSTD_INPUT_OCTETS):
            rest = data[start : start + ZSTD_INPUT_OCTETS]
            while rest:
                if self._frame is None:
                    self._frame = self._context.decompressobj()
                try:
                    piece = self._frame.decompress(rest)
                except zstandard.ZstdError as error:
                    raise _damaged("zstd", error) from None
                rest = b""
                if self._frame.eof:
                    rest, self._frame = self._frame.unused_data, None
                if piece:
                    yield from IdentityDecoder().decode(piece)

    def end(self) -> None:
        """Make sure that the last frame is whole. Raises: RowsError."""
        if self._frame is not None:
            raise _cut_off("zstd")


def _damaged(coding: str, error: Exception) -> RowsError:
    return RowsError(f"this is not {coding}: {error}", "send it again, or without its coding")


def _cut_off(coding: str) -> RowsError:
    return RowsError(f"the {coding} ends too early", "send it again, or what is missing")


_DECODERS: dict[str, type[IdentityDecoder] | type[GzipDecoder] | type[ZstdDecoder]] = {
    "": IdentityDecoder,
    "identity": IdentityDecoder,
    "gzip": GzipDecoder,
    "x-gzip": GzipDecoder,
    "zstd": ZstdDecoder,
}
