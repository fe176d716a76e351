"""Streams of replication: every record, in pieces of any size, signed and not, and damaged."""

from typing import TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import DecodeError, SecurityError
from protocol.replication import (
    FORMAT_ALL_SOURCES,
    FORMAT_ONE_SOURCE,
    RECORD_OCTETS_MAX,
    WITH_VALUES,
    Action,
    DumpDate,
    DumpEnd,
    DumpHandle,
    DumpHead,
    DumpPrefix,
    DumpRecord,
    DumpServer,
    DumpState,
    HandleChange,
    LogEnd,
    LogHead,
    LogRecord,
    LogSource,
    LogSourceDate,
    LogStatus,
)
from protocol.replication_stream import (
    STREAM_SIGNED,
    STREAM_TLS,
    STREAM_TYPE_OCTETS,
    STREAM_TYPES,
    STREAM_UNSIGNED,
    ReplicationDecoder,
    dump_decoder,
    log_decoder,
    read_stream_type,
    signed_part,
    stream_start,
)
from protocol.value import HandleValue
from protocol.wire import write_i32, write_i64, write_str, write_u8
from tests.protocol.strategies import HANDLES, I32, I64, OCTETS, VALUES, tuples_of

KEY = rsa.generate_private_key(65537, 2048)


@st.composite
def changes(draw: st.DrawFn) -> HandleChange:
    action = draw(st.sampled_from(Action))
    values = draw(tuples_of(VALUES)) if action in WITH_VALUES else ()
    return HandleChange(draw(I64), draw(HANDLES), action, draw(I64), values)


@st.composite
def logs(draw: st.DrawFn) -> tuple[LogHead, list[LogRecord]]:
    format_ = draw(st.sampled_from([FORMAT_ONE_SOURCE, FORMAT_ALL_SOURCES]))
    if draw(st.integers(0, 9)) == 0:
        end = LogEnd(None if format_ == FORMAT_ALL_SOURCES else draw(I64))
        return LogHead(format_, LogStatus.NEED_REDUMP), [end]
    several = format_ == FORMAT_ALL_SOURCES
    kinds: list[st.SearchStrategy[LogRecord]] = [changes()]
    if several:
        kinds += [st.builds(LogSource, OCTETS), st.builds(LogSourceDate, I64)]
    records = draw(st.lists(st.one_of(kinds), max_size=4))
    end = LogEnd(None if several else draw(I64))
    return LogHead(format_, LogStatus.SENDING), [*records, end]


DUMP_RECORDS: st.SearchStrategy[DumpRecord] = st.one_of(
    st.builds(DumpServer, I64, I64),
    st.builds(DumpHandle, HANDLES, tuples_of(VALUES)),
    st.builds(DumpPrefix, HANDLES),
    st.builds(DumpDate, st.booleans(), HANDLES, I64, I32),
    st.builds(DumpState, OCTETS),
)


Head = TypeVar("Head")
Record = TypeVar("Record")


def taken(decoder: ReplicationDecoder[Head, Record], octets: bytes, piece: int) -> list[Record]:
    pieces = [octets[at : at + piece] for at in range(0, len(octets), piece)]
    return [record for each in pieces for record in decoder.take(each)]


@given(logs(), st.integers(1, 64))
def test_a_log_comes_out_as_it_went_in(log: tuple[LogHead, list[LogRecord]], piece: int) -> None:
    head, records = log
    octets = b"".join(part.encode() for part in (head, *records))
    decoder = log_decoder()
    assert taken(decoder, octets, piece) == records
    assert decoder.head == head
    assert decoder.is_ended


@given(st.lists(DUMP_RECORDS, max_size=5), st.integers(1, 64))
def test_a_dump_comes_out_as_it_went_in(records: list[DumpRecord], piece: int) -> None:
    whole = [*records, DumpEnd()]
    octets = b"".join(part.encode() for part in (DumpHead(), *whole))
    decoder = dump_decoder()
    assert taken(decoder, octets, piece) == whole
    assert decoder.is_ended


def signed(records: list[DumpRecord]) -> bytes:
    blocks = [signed_part(part.encode(), KEY) for part in (DumpHead(), *records)]
    return stream_start(STREAM_SIGNED)[STREAM_TYPE_OCTETS:] + b"".join(blocks)


RECORDS: list[DumpRecord] = [
    DumpServer(5, 7),
    DumpHandle(b"88/A", (HandleValue(1, b"URL", b"x"),)),
    DumpEnd(),
]


@pytest.mark.parametrize("piece", [1, 1_000_000])
def test_signed_blocks_hold(piece: int) -> None:
    decoder = dump_decoder(KEY.public_key())
    assert taken(decoder, signed(RECORDS), piece) == RECORDS


def signature_of(octets: bytes) -> bytes:
    return write_str(KEY.sign(octets, PKCS1v15(), SHA1()))


def test_a_dump_is_signed_where_existing_servers_and_mirrors_sign_it() -> None:
    """Octet for octet: head and records are blocks, the octet that ends the dump is in none."""
    head, server = b"\0\0\0\2", b"\0" + bytes(7) + b"\5" + bytes(7) + b"\7"
    handle = b"\1" + write_str(b"88/A") + write_i32(1)
    handle += write_str(HandleValue(1, b"URL", b"x").encode())
    blocks = [part + signature_of(part) for part in (head, server, handle)]
    expected = write_str(b"SHA1") + b"".join(blocks) + b"\xff"
    assert signed(RECORDS) == expected
    assert dump_decoder(KEY.public_key()).take(expected) == RECORDS


def test_a_log_that_does_not_reach_back_has_a_signed_end() -> None:
    head, end = b"\0\0\0\1\0\0\0\1", b"\0" + bytes(7) + b"\x2a"
    assert LogHead(FORMAT_ONE_SOURCE, LogStatus.NEED_REDUMP).encode() == head
    octets = write_str(b"SHA1") + head + signature_of(head) + end + signature_of(end)
    decoder = log_decoder(KEY.public_key())
    assert decoder.take(octets) == [LogEnd(42)]
    assert decoder.is_ended
    unsigned_end = log_decoder(KEY.public_key())
    assert unsigned_end.take(write_str(b"SHA1") + head + signature_of(head) + end) == []


def test_a_dump_of_an_old_server_ends_with_where_its_log_goes_on() -> None:
    handle = DumpHandle(b"88/A", (HandleValue(1, b"URL", b"x"),))
    decoder = dump_decoder()
    octets = write_i32(1) + handle.encode() + DumpServer(5, 7).encode()
    assert decoder.take(octets) == [handle, DumpServer(5, 7)]
    assert decoder.is_ended


def test_one_changed_octet_breaks_a_signature_or_the_form() -> None:
    octets = signed(RECORDS)
    for at in range(0, len(octets) - 1, 7):  # the last one ends the dump, unsigned
        changed = octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :]
        decoder = dump_decoder(KEY.public_key())
        try:
            decoder.take(changed)
        except (DecodeError, SecurityError):
            continue
        assert not decoder.is_ended, at


def test_a_block_signed_by_another_key_is_refused() -> None:
    other = rsa.generate_private_key(65537, 1024)
    with pytest.raises(SecurityError, match="does not hold"):
        dump_decoder(other.public_key()).take(signed(RECORDS))


@pytest.mark.parametrize("kind", sorted(STREAM_TYPES))
def test_stream_types_are_read(kind: int) -> None:
    assert read_stream_type(stream_start(kind)[:STREAM_TYPE_OCTETS]) == kind
    if kind != STREAM_SIGNED:
        assert len(stream_start(kind)) == STREAM_TYPE_OCTETS
    assert stream_start(STREAM_TLS) == b"TLS\0"
    assert stream_start(STREAM_UNSIGNED) == b"\xff" * 4


def test_an_unknown_stream_type_is_refused() -> None:
    with pytest.raises(DecodeError, match="stream type is 1"):
        read_stream_type(write_i32(1))


LOG = LogHead(FORMAT_ONE_SOURCE, LogStatus.SENDING).encode()
CHANGE = write_u8(1) + write_i64(1) + write_str(b"88/A")


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (write_i32(3), "log format is 3"),
        (write_i32(1) + write_i32(3), "log status is 3"),
        (LOG + write_u8(2), "record type 2 does not occur in a log of format 1"),
        (LOG + write_u8(3), "record type 3"),
        (LOG + CHANGE + write_u8(7), "action 7 is unknown"),
        (LOG + CHANGE + write_u8(3) + write_i64(0) + write_i32(-1), "count of values is -1"),
        (LOG + CHANGE + write_u8(3) + write_i64(0) + write_i32(1_048_577), "count of values"),
        (LOG + CHANGE + write_u8(3) + write_i64(0) + write_i32(1_000_000), "more than"),
        (LOG + write_u8(1) + write_i64(1) + write_i32(-5), "handle needs -5 octets"),
        (LOG + write_u8(1) + write_i64(1) + write_i32(RECORD_OCTETS_MAX), "more than"),
        (LOG + LogEnd(1).encode() + b"x", "1 octets follow the end"),
    ],
)
def test_a_damaged_log_is_refused(octets: bytes, words: str) -> None:
    with pytest.raises(DecodeError, match=words):
        log_decoder().take(octets)


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (write_i32(3), "dump format is 3"),
        (DumpHead().encode() + write_u8(6), "record type 6 does not occur in a dump"),
        (
            DumpHead().encode()
            + write_u8(1)
            + write_str(b"88/A")
            + write_i32(1)
            + write_str(HandleValue(1, b"URL", b"x").encode() + b"y"),
            "value has 1 octets too many",
        ),
    ],
)
def test_a_damaged_dump_is_refused(octets: bytes, words: str) -> None:
    with pytest.raises(DecodeError, match=words):
        dump_decoder().take(octets)


@given(st.binary(max_size=200))
def test_whatever_comes_is_records_or_a_decode_error(octets: bytes) -> None:
    for decoder in (log_decoder(), dump_decoder()):
        try:
            decoder.take(octets)
        except DecodeError:
            continue
