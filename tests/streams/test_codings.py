"""Compressed bodies that are damaged, cut off, or stand for far more than they are."""

import gzip
import os
from collections.abc import Callable

import pytest
import zstandard

from tests.nodes import Node
from tests.streams.client import Streams, Upload, digest_of, row, row_by_row, rows, values_of
from tests.streams.memory import growth_below

ROWS = 2_000
MEBIBYTE = 1_048_576
GIBIBYTE = 1_024 * MEBIBYTE
GROWTH_MAX = 24 * MEBIBYTE  # zstd's window is 2 of them at the level used here
BLANK_LINES = 16 * MEBIBYTE
SHORT_LINES = MEBIBYTE // 4


def pack_gzip(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


def pack_zstd(body: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(body)


Pack = Callable[[bytes], bytes]
PACKERS: dict[str, Pack] = {"gzip": pack_gzip, "zstd": pack_zstd}


@pytest.fixture(params=sorted(PACKERS))
def coding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def truncated(pack: Pack, lines: list[bytes]) -> bytes:
    packed = pack(b"".join(lines))
    return packed[: len(packed) * 6 // 10]


def followed_by_noise(pack: Pack, lines: list[bytes]) -> bytes:
    """A body of two members, the second of which begins with octets of another kind."""
    half = len(lines) // 2
    return pack(b"".join(lines[:half])) + b"noise" + pack(b"".join(lines[half:]))[5:]


@pytest.mark.parametrize("verdicts", ["after", "stream"])
@pytest.mark.parametrize("harm", [truncated, followed_by_noise])
def test_what_came_before_the_harm_is_registered_and_the_rest_can_follow(
    streams: Streams,
    node: Node,
    key: str,
    coding: str,
    harm: Callable[[Pack, list[bytes]], bytes],
    verdicts: str,
) -> None:
    stem = f"{coding}-{harm.__name__}-{verdicts}-"
    lines = list(rows(1, ROWS, stem))
    packed = harm(PACKERS[coding], lines)
    query = {"verdicts": verdicts}
    answer = streams.post(key, packed, query=query, Content_Encoding=coding)
    assert answer.status == (400 if verdicts == "after" else 200)
    assert answer.last["responseCode"] == 4
    assert coding in answer.last["message"]
    going_on = answer.last["next"]
    assert ROWS // 4 < going_on <= ROWS * 7 // 10
    state = streams.state(key)
    assert (state["next"], state["created"], state["ended"]) == (going_on, going_on - 1, None)
    if verdicts == "stream":
        assert row_by_row(answer.verdicts) == ["created"] * (going_on - 1)
    assert values_of(node, f"{stem}{going_on - 1}") is not None
    assert values_of(node, f"{stem}{going_on}") is None
    rest = PACKERS[coding](b"".join(lines[going_on - 1 :]))
    answer = streams.post(key, rest, query={"from": going_on}, Content_Encoding=coding)
    assert (answer.status, answer.last["created"]) == (200, ROWS)
    assert answer.last["digest"] == digest_of(lines).hex()


def test_rows_that_came_as_others_can_be_told_from_those_sent(
    streams: Streams, node: Node, key: str, coding: str
) -> None:
    """Both codings read on through damage, and the checksum stands at the end: too late.

    The answer says which rows it was, and there is no receipt before they have come again.
    """
    lines = list(rows(1, ROWS, f"{coding}-damaged-"))
    packed = PACKERS[coding](b"".join(lines))
    at = len(packed) * 6 // 10
    packed = packed[:at] + b"\xff" * 200 + packed[at + 200 :]
    answer = streams.post(key, packed, Content_Encoding=coding)
    assert (answer.status, answer.last["responseCode"]) == (400, 4)
    assert coding in answer.last["message"]
    received = answer.last["next"] - 1
    assert len(row_by_row(streams.verdicts(key))) == received
    assert answer.last["damaged"] == {"row": 1, "through": received}
    assert f"rows 1 to {received} came out of it and may be others" in answer.last["message"]
    refused = streams.post(key, b"", query={"from": received + 1})
    assert (refused.status, refused.last["next"]) == (409, 1)
    assert f"rows 1 to {received} came out of a damaged body" in refused.last["message"]
    assert streams.state(key)["receipt"] is None
    again = streams.post(key, b"".join(lines))
    changed = again.last.get("changedCount", 0)
    if received > ROWS:
        assert again.status == 409
    else:
        assert (again.last["digest"] == digest_of(lines).hex()) == (not changed)
        assert again.last["receipt"]
    numbers = range(1, ROWS + 1, 10)
    found = [values_of(node, f"{coding}-damaged-{number}") for number in numbers]
    assert found.count(None) <= changed


def test_only_the_member_that_was_damaged_has_to_come_again(
    streams: Streams, key: str, stem: str, coding: str
) -> None:
    # One that is smaller is compared with its checksum before anything comes out.
    lines = list(rows(1, 3 * ROWS, stem))
    pack = PACKERS[coding]
    members = [pack(b"".join(lines[at : at + ROWS])) for at in (0, ROWS, 2 * ROWS)]
    # The last octets of both are their checksum, behind which gzip has a length.
    at = len(members[1]) - (8 if coding == "gzip" else 4)
    members[1] = members[1][:at] + bytes([members[1][at] ^ 1]) + members[1][at + 1 :]
    answer = streams.post(key, b"".join(members), Content_Encoding=coding)
    last = answer.last["next"] - 1
    assert (answer.status, answer.last["damaged"]) == (400, {"row": ROWS + 1, "through": last})
    rest = streams.post(key, b"".join(lines[last:]), query={"from": last + 1})
    assert (rest.status, rest.last["next"]) == (409, ROWS + 1)
    half = streams.post(key, b"".join(lines[ROWS : ROWS + 50]), query={"from": ROWS + 1})
    assert (half.status, half.last["next"]) == (409, ROWS + 51)
    whole = streams.post(key, b"".join(lines[ROWS + 50 :]), query={"from": ROWS + 51})
    assert (whole.status, whole.last["digest"]) == (200, digest_of(lines).hex())
    assert whole.last["receipt"]


def test_a_body_that_is_not_what_its_coding_says(streams: Streams, key: str, coding: str) -> None:
    answer = streams.post(key, b"".join(rows(1, 3)), Content_Encoding=coding)
    assert (answer.status, answer.last["next"]) == (400, 1)
    assert f"this is not {coding}" in answer.last["message"]


def test_members_one_after_another_are_one_body(
    streams: Streams, key: str, stem: str, coding: str
) -> None:
    lines = list(rows(1, 300, stem))
    packed = b"".join(PACKERS[coding](b"".join(lines[at : at + 7])) for at in range(0, 300, 7))
    answer = streams.post(key, packed, Content_Encoding=coding)
    assert (answer.last["created"], answer.last["digest"]) == (300, digest_of(lines).hex())


def bomb(coding: str, first: bytes, piece: bytes, octets: int) -> bytes:
    """Some rows, then `piece` again and again up to so many octets."""
    if coding == "gzip":
        return pack_gzip(first) + pack_gzip(piece) * (octets // len(piece))
    packer = zstandard.ZstdCompressor(level=1).compressobj()
    parts = [packer.compress(first)]
    parts += [packer.compress(piece) for _ in range(octets // len(piece))]
    return b"".join([*parts, packer.flush()])


@pytest.mark.parametrize("piece", [b"a", b"\n"], ids=["long", "blank"])
def test_a_gibibyte_of_nothing_is_not_read_to_its_end(
    streams: Streams, node: Node, key: str, stem: str, coding: str, piece: bytes
) -> None:
    packed = bomb(coding, b"".join(rows(1, 3, stem)), piece * (MEBIBYTE // len(piece)), GIBIBYTE)
    packed = packed[: MEBIBYTE // 32]
    with growth_below(node, GROWTH_MAX):
        answer = streams.post(key, packed, Content_Encoding=coding)
    assert (answer.status, answer.last["responseCode"]) == (400, 4)
    assert "stands for more than 250 times its octets" in answer.last["message"]
    assert row_by_row(streams.verdicts(key))[:3] == ["created"] * 3
    assert values_of(node, f"{stem}3") is not None


def test_a_row_of_ten_mebibytes_is_refused_alone(streams: Streams, key: str, stem: str) -> None:
    packed = pack_zstd(b"".join([row(f"{stem}1"), b"a" * 10 * MEBIBYTE + b"\n"]))
    answer = streams.post(key, packed, Content_Encoding="zstd")
    assert row_by_row(answer.verdicts) == ["created", "refused"]
    assert answer.verdict(2)["message"] == "row of more than 1,048,576 octets"


@pytest.mark.parametrize("line", [b"\n", b"[]\n"], ids=["blank", "short"])
def test_many_lines_of_nothing(
    streams: Streams, node: Node, key: str, coding: str, line: bytes
) -> None:
    octets = BLANK_LINES if line == b"\n" else SHORT_LINES
    piece = line * (octets // 16 // len(line))
    packed = bomb(coding, line, piece, octets)
    with growth_below(node, GROWTH_MAX):
        answer = streams.post(key, packed, Content_Encoding=coding)
    assert answer.status == 200
    expected = 0 if line == b"\n" else 1 + len(piece) // len(line) * (octets // len(piece))
    assert (answer.last["rows"], answer.last["refused"]) == (expected, expected)


def test_look_ups_have_their_turn_while_a_bomb_goes_off(
    streams: Streams, node: Node, key: str, stem: str
) -> None:
    """One worker has both to do; a look-up waits for a slice of the body, not for all of it."""
    streams.post(f"{key}-1", row(f"{stem}1"))
    piece = os.urandom(4_400).hex().encode()
    packed = bomb("zstd", b"", piece + b"a" * (MEBIBYTE - len(piece)), GIBIBYTE // 4)
    with Upload(streams, key, Content_Encoding="zstd") as upload:
        upload.send(packed)
        upload.end()
        looked = 0
        while not upload.can_read():
            assert values_of(node, f"{stem}1") is not None
            looked += 1
        assert upload.told().last["refused"] == 1
    assert looked > 10
