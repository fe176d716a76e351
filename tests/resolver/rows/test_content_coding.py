import gzip
import os
import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from resolver.rows.content_coding import (
    PIECE_OCTETS_MAX,
    ROW_OCTETS,
    ROW_OCTETS_FREE,
    CodingError,
    Expansion,
    make_decoder,
)
from resolver.rows.errors import RowsError
from tests.resolver.rows.streams import cut

TEXT = b'{"handle": "88/a", "values": []}\n' * 5_000
CODINGS = ["", "identity", "gzip", "X-GZip", "zstd"]


def encode(coding: str, data: bytes) -> bytes:
    if "gzip" in coding.lower():
        return gzip.compress(data)
    return zstandard.compress(data) if coding == "zstd" else data


def decode(coding: str, *pieces: bytes) -> bytes:
    decoder = make_decoder(coding)
    made = b"".join(part for piece in pieces for part in decoder.decode(piece))
    decoder.end()
    return made


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("step", [1, 100, 65_536])
def test_what_was_encoded_comes_out(coding: str, step: int) -> None:
    one, two = encode(coding, TEXT), encode(coding, b"more")
    assert decode(coding, *cut(one, step)) == TEXT
    assert decode(coding, *cut(one + two, step)) == TEXT + b"more"
    assert decode(coding) == decode(coding, b"") == b""


def test_zeros_behind_a_gzip_member_are_padding() -> None:
    assert decode("gzip", gzip.compress(b"a") + bytes(600), bytes(5)) == b"a"


def test_a_skippable_frame_of_zstd_holds_nothing() -> None:
    skipped = b"\x50\x2a\x4d\x18\x04\0\0\0skip"
    assert decode("zstd", skipped + zstandard.compress(b"a") + skipped) == b"a"


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_damage_is_said(coding: str) -> None:
    octets = encode(coding, TEXT)
    with pytest.raises(RowsError, match=f"this is not {coding}"):
        decode(coding, TEXT)
    with pytest.raises(RowsError, match=f"this is not {coding}"):
        decode(coding, octets + b"\1garbage!")
    for cut_off in (octets[:1], octets[:-1]):
        with pytest.raises(RowsError, match=f"the {coding} ends too early"):
            decode(coding, cut_off)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_members_count_when_they_are_whole_and_have_come_out(coding: str) -> None:
    one = encode(coding, TEXT)
    decoder = make_decoder(coding)
    seen = [decoder.members for _ in decoder.decode(one + one + one[:-1])]
    assert sorted(set(seen)) == [0, 1, 2]
    assert decoder.members == 2
    with pytest.raises(CodingError) as caught:
        decoder.end()
    assert caught.value.is_cut_off


def test_octets_of_a_large_member_come_out_before_its_checksum_fails() -> None:
    packed = gzip.compress(os.urandom(200_000))
    decoder = make_decoder("gzip")
    pieces = decoder.decode(packed[:-8] + bytes(8))
    assert len(next(pieces)) > 1_000
    with pytest.raises(CodingError, match="incorrect data check") as caught:
        list(pieces)
    assert (caught.value.is_cut_off, decoder.members) == (False, 0)


def test_a_body_stands_for_so_much_and_no_more() -> None:
    expansion = Expansion(ratio_max=10, free_octets=1_000)
    expansion.receive(10)
    expansion.make(1_100, rows=0)
    with pytest.raises(RowsError, match="more than 10 times its octets"):
        expansion.make(1, rows=0)
    expansion.receive(1)
    expansion.make(9, rows=0)
    expansion = Expansion(ratio_max=10, free_octets=1_000)
    for rows in range(1, 1 + 1_000 // ROW_OCTETS):
        expansion.make(ROW_OCTETS_FREE, rows=rows)
    with pytest.raises(RowsError):
        expansion.make(0, rows=rows + 1)


def test_a_lot_of_rows_that_differ_in_their_serials_is_no_bomb() -> None:
    text = "x" * 2_000
    lines = [b'{"handle":"88/lot.%06d","text":"%b"}\n' % (n, text.encode()) for n in range(20_000)]
    packed = zstandard.ZstdCompressor(level=3).compress(b"".join(lines))
    expansion = Expansion(ratio_max=250, free_octets=0)
    expansion.receive(len(packed))
    octets = sum(map(len, lines))
    assert octets > 500 * len(packed)
    expansion.make(octets, rows=len(lines))


@pytest.mark.parametrize("coding", ["br", "gzip, zstd", "deflate"])
def test_codings_not_known(coding: str) -> None:
    with pytest.raises(RowsError, match="not known here") as caught:
        make_decoder(coding)
    assert "gzip or zstd" in caught.value.hint


def test_a_window_too_wide_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=24)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    octets = compressor.compress(TEXT) + compressor.flush()
    with pytest.raises(RowsError, match=r"this is not zstd: .*memory"):
        decode("zstd", octets)


def zstd_bomb(blocks: int) -> bytes:
    """A frame of blocks of one octet repeated 131,072 times, 4 octets each."""
    block = (131_072 << 3 | 1 << 1).to_bytes(3, "little") + b"x"
    last = (1 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"x"
    return b"\x28\xb5\x2f\xfd\x00\x58" + block * blocks + last


@pytest.mark.parametrize(
    ("coding", "octets", "size"),
    [
        ("gzip", gzip.compress(bytes(100_000_000)), 100_000_000),
        ("zstd", zstd_bomb(2_000), 2_000 * 131_072 + 1),
        ("zstd", zstandard.compress(bytes(100_000_000)), 100_000_000),
    ],
)
def test_a_bomb_comes_out_in_small_pieces(coding: str, octets: bytes, size: int) -> None:
    decoder = make_decoder(coding)
    made = 0
    tracemalloc.start()
    try:
        for piece in decoder.decode(octets):
            assert len(piece) <= PIECE_OCTETS_MAX
            made += len(piece)
        decoder.end()
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert made == size


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@given(octets=st.binary(), keep=st.integers(0, 60), step=st.integers(1, 40))
def test_any_octets_are_decoded_or_refused(
    coding: str, octets: bytes, keep: int, step: int
) -> None:
    data = encode(coding, TEXT)[:keep] + octets
    outcomes = []
    for pieces in ([data], cut(data, step)):
        try:
            outcomes.append(decode(coding, *pieces))
        except RowsError as error:
            outcomes.append(error.what.split(":")[0].encode())
    assert outcomes[0] == outcomes[1]
