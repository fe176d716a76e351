"""NDJSON files: one object a line, `{"handle": ..., "values": [...]}`.

That is what `biaoshi export` writes; values are as in the REST interface, whose answers to a GET,
one a line, are rows as well. `read_ndjson_rows` makes
values of them, `read_load_rows` mostly wire octets at once.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import msgspec

from protocol.codes import ResponseCode
from protocol.errors import ProtocolError
from protocol.handle import check_handle
from protocol.json_forms import values_from_json
from protocol.wire import HANDLE_OCTETS_MAX
from registry.exported_ranges import read_exported_form
from registry.offline import LoadRow
from registry.offline_ranges import LoadedForm
from registry.plain_ranges import FORM_ERRORS, read_json_form
from registry.stream_rows import RowKind
from resolver.rows.packed import (
    MARKINGS,
    RANGE_OPERATION,
    find_mark_fault,
    name_row,
    read_operation,
)
from resolver.rows.plain import PLAIN_ERRORS, read_plain
from resolver.rows.row import BadRow, Row, check_filled

_OPERATION = b'"operation"'
_REGISTERED = b'"registered"'
_RESPONSE_CODE = '"responseCode"'
_SUCCESS = b'"responseCode":1,'
_BOM = b"\xef\xbb\xbf"


class _Form(msgspec.Struct):
    handle: str
    values: list[dict[str, object]]


class _Reply(msgspec.Struct, rename="camel"):
    handle: str = ""
    message: str = ""
    response_code: int = ResponseCode.SUCCESS


class _Meant(msgspec.Struct):
    handle: object = ""
    operation: object = None
    state: object = None


def read_ndjson_rows(file: Iterable[str]) -> Iterator[Row | BadRow]:
    """Yield a row to register for every line that is not blank."""
    number = 0
    for line in file:
        if line.strip():
            number += 1
            fault = _find_marking(line)
            yield _make_ndjson_row(number, line) if fault is None else replace(fault, number=number)


def _find_marking(line: str) -> BadRow | None:
    """Return why a line is not to be registered when it is, or belongs to, a mark."""
    if '"operation"' not in line and '"state"' not in line:
        return None
    try:
        meant = msgspec.json.decode(line.encode("utf-8", "surrogateescape"), type=_Meant)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None  # said where the row is read
    fault = find_mark_fault(meant.operation, meant.state)
    return BadRow(0, str(meant.handle).encode("utf-8", "replace"), fault) if fault else None


def count_ndjson_rows(lines: Iterable[str]) -> int:
    """Return how many rows `read_ndjson_rows` will make of these lines."""
    return sum(1 for line in lines if line.strip())


def _make_ndjson_row(number: int, line: str) -> Row | BadRow:
    handle = b""
    if _RESPONSE_CODE in line and (told := _find_refusal(line)) is not None:
        return BadRow(number, *told)
    try:
        form = msgspec.json.decode(line.encode("utf-8", "surrogateescape"), type=_Form)
        handle = form.handle.encode()
        check_handle(handle)
        values = values_from_json(form.values)
    except (msgspec.DecodeError, UnicodeError, ProtocolError) as error:
        return BadRow(number, handle, str(error))
    except RecursionError:
        return BadRow(number, handle, "nested too deep")
    return check_filled(Row(number, handle, tuple(values)))


def _find_refusal(line: str) -> tuple[bytes, str] | None:
    """Return (handle, why) of a line in which a REST interface says that it has no record."""
    try:
        reply = msgspec.json.decode(line.encode("utf-8", "surrogateescape"), type=_Reply)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None  # said where the row is read
    if reply.response_code == ResponseCode.SUCCESS:
        return None
    words = f": {reply.message}" if reply.message else ""
    handle = reply.handle.encode("utf-8", "replace")
    return handle, f"no record, but the answer {reply.response_code}{words}"


def read_load_rows(lines: Iterable[bytes], now_s: int) -> Iterator[LoadRow | BadRow]:
    """Yield a row for every line that is not blank.

    Args:
        lines: octets of NDJSON.
        now_s: timestamp of values that state none.
    """
    number = 0
    for line in lines:
        if not line.strip():
            continue
        number += 1
        if _OPERATION in line:
            yield _read_operation(number, line)
            continue
        if _RESPONSE_CODE.encode() in line and _SUCCESS not in line:
            yield _read_any(number, line)
            continue
        try:
            handle, octets = read_plain(line, now_s)
        except PLAIN_ERRORS:
            yield _read_any(number, line)
        else:
            yield LoadRow(number, handle, octets, filled_s=now_s)


def _read_operation(number: int, line: bytes) -> LoadRow | BadRow:
    """Return the row of a line that may say what is to be done: `registry.offline`."""
    read: Callable[[bytes], LoadedForm] = read_json_form
    if _REGISTERED in line:
        read = read_exported_form
    try:
        range_form = read(line)
    except FORM_ERRORS:
        return _read_any_operation(number, line)
    return LoadRow(number, b"", b"", RowKind.RANGE, octets=len(line), form=range_form)


def _read_any_operation(number: int, line: bytes) -> LoadRow | BadRow:
    try:
        form = msgspec.json.decode(line.removeprefix(_BOM))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _read_any(number, line)
    operation = form.get("operation", "create") if isinstance(form, dict) else "create"
    if operation == RANGE_OPERATION:
        name = f"{form.get('stem', '')}{form.get('first', '')}"[:HANDLE_OCTETS_MAX]
        handle = name.encode("utf-8", "replace")
        return LoadRow(number, handle, b"", RowKind.RANGE, form, len(line))
    faults: list[str] = []
    mark = MARKINGS.get(operation) if isinstance(operation, str) else None
    kind = RowKind.CREATE if mark is not None else read_operation(operation, faults)
    if faults:
        return BadRow(number, b"", ", ".join([*faults, f"or {RANGE_OPERATION}", *MARKINGS]))
    if kind is RowKind.DELETE or mark is not None:
        handle = name_row(str(form.get("handle", "")).encode("utf-8", "replace"), faults)
        if faults:
            return BadRow(number, handle, "; ".join(faults))
        return LoadRow(number, handle, b"", kind, form, len(line), mark)
    row = _read_any(number, line)
    return row._replace(kind=kind) if isinstance(row, LoadRow) else row


def _read_any(number: int, line: bytes) -> LoadRow | BadRow:
    text = line.removeprefix(_BOM).decode("utf-8", "surrogateescape")
    if not text.strip():
        return BadRow(number, b"", "the line is blank but for a byte order mark")
    row = _make_ndjson_row(number, text)
    if isinstance(row, BadRow):
        return row
    return LoadRow(number, row.handle, row.values)
