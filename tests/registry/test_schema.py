import hashlib
import struct

import pytest

from protocol.value import HandleValue, Reference, encode_values
from registry.errors import RecordError
from registry.schema import (
    KEY_OCTETS_MAX,
    Record,
    decode_record,
    encode_record,
    has_private,
    public_list,
    storage_key,
)
from tests.registry.builders import hidden, url

LONG = b"88.118/" + b"X" * 600


def test_a_key_is_the_folded_handle() -> None:
    assert storage_key(b"ab.c/x", case_sensitive=False) == b"AB.C/X"
    assert storage_key(b"ab.c/x", case_sensitive=True) == b"AB.C/x"
    assert storage_key(b"0.na/x", case_sensitive=True) == b"0.NA/X"
    assert storage_key(b"x", case_sensitive=True) == b"0.NA/X"


def test_a_key_of_511_octets_is_kept_whole() -> None:
    handle = b"A/" + b"X" * (KEY_OCTETS_MAX - 2)
    assert storage_key(handle, case_sensitive=False) == handle


def test_a_longer_key_is_shortened_with_a_hash() -> None:
    key = storage_key(LONG, case_sensitive=False)
    assert len(key) == KEY_OCTETS_MAX
    assert key == LONG[:478] + b"\xff" + hashlib.sha256(LONG).digest()


def test_long_keys_differ_in_their_last_octet() -> None:
    first = storage_key(LONG + b"1", case_sensitive=False)
    assert first != storage_key(LONG + b"2", case_sensitive=False)


def test_a_public_record_is_one_octet_and_the_wire_list() -> None:
    values = [url(1), url(2)]
    assert encode_record(values, b"88.118/A") == b"\x10" + encode_values(values)


def test_private_values_follow_the_public_list() -> None:
    values = (hidden(5), url(1), hidden(3), url(2), hidden(4))
    octets = encode_record(values, b"88.118/A")
    public = encode_values([url(1), url(2)])
    assert octets[0] == 0x11
    assert octets[1:5] == struct.pack(">I", len(public))
    assert octets[5 : 5 + len(public)] == public
    assert octets[5 + len(public) :][:4] == b"\0\3\0\0"
    assert decode_record(octets) == Record(values)


@pytest.mark.parametrize(
    "values",
    [
        (),
        (url(),),
        (hidden(1),),
        (hidden(2), hidden(1)),
        (url(9), hidden(1), url(2)),
        (HandleValue(1, b"", b"", references=(Reference(b"a/b", 3),)),),
    ],
)
@pytest.mark.parametrize("handle", [b"88.118/A", LONG])
def test_records_decode_to_what_was_encoded(values: tuple[HandleValue, ...], handle: bytes) -> None:
    octets = encode_record(values, handle)
    assert decode_record(octets) == Record(values, handle if handle == LONG else b"")
    assert public_list(octets) == encode_values(value for value in values if value.is_public)
    assert has_private(octets) == any(not value.is_public for value in values)


@pytest.mark.parametrize("handle", [b"88.118/A", LONG])
def test_every_truncation_is_an_error(handle: bytes) -> None:
    octets = encode_record((url(1), hidden(2)), handle)
    for length in range(len(octets)):
        with pytest.raises(RecordError):
            decode_record(octets[:length])
    with pytest.raises(RecordError):
        decode_record(octets + b"\0")


@pytest.mark.parametrize("head", [0x00, 0x14, 0x18, 0x20, 0xFF])
def test_an_unknown_format_is_refused(head: int) -> None:
    octets = bytes([head]) + encode_record([url()], b"88.118/A")[1:]
    for read in (decode_record, public_list, has_private):
        with pytest.raises(RecordError, match=f"0x{head:02x}"):
            read(octets)


def test_a_position_beyond_the_values_is_an_error() -> None:
    octets = bytearray(encode_record([hidden(1)], b"88.118/A"))
    octets[5 + 4 + 3] = 7  # after the public count: count of private values, then a position
    with pytest.raises(RecordError, match="position 7"):
        decode_record(bytes(octets))


def test_a_public_list_that_ends_elsewhere_is_an_error() -> None:
    octets = bytearray(encode_record([url(1), hidden(2)], b"88.118/A"))
    octets[4] += 1
    with pytest.raises(RecordError, match="announced"):
        decode_record(bytes(octets))


def test_find_value_and_of_type() -> None:
    record = Record((url(1), hidden(2), HandleValue(3, b"url", b"")))
    assert record.find_value(2) == hidden(2)
    assert record.find_value(9) is None
    assert record.of_type(b"URL") == (url(1),)
