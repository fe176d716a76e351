"""Rows that can be copied into an answer as they are: checked to their last octet, then cut out.

The readable path decodes a row and encodes what it found; this gives the same octets or None, which
leaves a row that is damaged, or not plain, to the readable path. So it is with the record of a
range, once the octets of an identifier are filled in. `_batch` does it in C.
"""

import struct

from protocol.codes import Permission, ResponseCode
from registry.range_records import PATCH, RANGE_FORMAT
from registry.schema import FLAG_PRIVATE, RECORD_FORMAT
from resolver.cache import FLAG_STALE, ROW_FORMAT

_CACHE_HEAD = struct.Struct(">BBHII")
_I32 = struct.Struct(">i")
_U32 = struct.Struct(">I")
_U16 = struct.Struct(">H")
_RECORD_PUBLIC = RECORD_FORMAT << 4
_RECORD_PRIVATE = RECORD_FORMAT << 4 | FLAG_PRIVATE
_RANGE_PLAIN = RANGE_FORMAT << 4  # nothing for the readable path to look at
_RANGE_HEAD_OCTETS = 2
_NO_DETAILS = bytes(2)
_PUBLIC_READ = int(Permission.PUBLIC_READ)
_SUCCESS = int(ResponseCode.SUCCESS)
_NOT_FOUND = int(ResponseCode.HANDLE_NOT_FOUND)
_VALUE_HEAD_OCTETS = 14


class NotPlainError(Exception):
    """A row whose lengths do not fit, or that not everybody may read."""


def find_public(row: bytes, *, public_only: bool) -> bytes | None:
    """Return the public list of a record, None when the record is not plain.

    Args:
        row: as in `registry.schema`.
        public_only: whether private values may be left out.
    """
    try:
        return _find_public(row, public_only)
    except (NotPlainError, struct.error):
        return None


def find_in_range(tail: bytes, record: bytes) -> bytes | None:
    """Return the value list of an identifier in a range, None when the record is not plain.

    Args:
        tail: of the identifier, which the range holds.
        record: as in `registry.range_records`.
    """
    try:
        return _find_in_range(tail, record)
    except (NotPlainError, struct.error):
        return None


def find_cached(row: bytes, now_s: int) -> tuple[int, bytes] | None:
    """Return what a row of the cache (`resolver.cache`) answers with, None when it is not fresh.

    Returns:
        SUCCESS and the list, or HANDLE_NOT_FOUND and the words.
    """
    try:
        return _find_cached(row, now_s)
    except (NotPlainError, struct.error):
        return None


def _find_public(row: bytes, public_only: bool) -> bytes:
    """Return a record's public list. Raises: NotPlainError, struct.error: not to be trusted."""
    if not row:
        raise NotPlainError
    if row[0] == _RECORD_PUBLIC:
        return _whole_list(row, 1)
    if row[0] != _RECORD_PRIVATE or not public_only:
        raise NotPlainError
    end = 5 + int(_U32.unpack_from(row, 1)[0])
    if end > len(row):
        raise NotPlainError
    public = row[5:end]
    _whole_list(public, 0)
    _check_private(row, end, _I32.unpack_from(public)[0])
    return public


def _find_in_range(tail: bytes, record: bytes) -> bytes:
    """Do the same with the record of a range, the octets of a tail filled in."""
    at = _RANGE_HEAD_OCTETS + len(tail)
    if record[0] != _RANGE_PLAIN or record[at : at + 2] != _NO_DETAILS:
        raise NotPlainError
    list_at = at + 4 + PATCH.size * int(_U16.unpack_from(record, at + 2)[0])
    octets = bytearray(record[list_at:])
    for offset, start, length in PATCH.iter_unpack(record[at + 4 : list_at]):
        if start + length > len(tail) or offset + length > len(octets):
            raise NotPlainError
        octets[offset : offset + length] = tail[start : start + length]
    return _whole_list(bytes(octets), 0)


def _find_cached(row: bytes, now_s: int) -> tuple[int, bytes]:
    """Do the same with a row of the cache, which has to be fresh too."""
    form, flags, code, _, expires_s = _CACHE_HEAD.unpack_from(row)
    if form != ROW_FORMAT or flags & FLAG_STALE or expires_s <= now_s:
        raise NotPlainError
    if code == _NOT_FOUND:
        return code, row[_CACHE_HEAD.size :]
    if code != _SUCCESS or row[_CACHE_HEAD.size : _CACHE_HEAD.size + 1] != bytes([_RECORD_PUBLIC]):
        raise NotPlainError
    return code, _whole_list(row, _CACHE_HEAD.size + 1)


def _whole_list(row: bytes, at: int) -> bytes:
    """Return the list of public values from `at` to the end of the row, once it is checked."""
    (count,) = _I32.unpack_from(row, at)
    if not 1 <= count <= len(row):
        raise NotPlainError
    end = at + 4
    for _ in range(count):
        end = _skip_value(row, end, _PUBLIC_READ)
    if end != len(row):
        raise NotPlainError
    return row[at:]


def _check_private(row: bytes, at: int, held: int) -> None:
    (count,) = _U16.unpack_from(row, at)
    at += 2
    for number in range(count):
        if _U16.unpack_from(row, at)[0] > held + number:
            raise NotPlainError
        at = _skip_value(row, at + 2, 0)
    if at != len(row):
        raise NotPlainError


def _skip_value(row: bytes, at: int, public: int) -> int:
    """Return where a value ends; it has to be public, or not, as expected."""
    if at + _VALUE_HEAD_OCTETS > len(row) or row[at + 13] & _PUBLIC_READ != public:
        raise NotPlainError
    at = _skip_str(row, _skip_str(row, at + _VALUE_HEAD_OCTETS))
    (references,) = _I32.unpack_from(row, at)
    if references < 0:
        raise NotPlainError
    at += 4
    for _ in range(references):
        at = _skip_str(row, at) + 4
    return at


def _skip_str(row: bytes, at: int) -> int:
    (count,) = _I32.unpack_from(row, at)
    if not 0 <= count <= len(row) - at - 4:
        raise NotPlainError
    return at + 4 + int(count)
