"""A row of a stream as it goes on to the registrar, and the way that reads any row in full.

Every row, good or bad, carries the SHA-256 of its octets as they were sent (for CSV together with
what its columns mean, see csv_stream.py), so that a row sent again can be told from another one in
its place. `RowKind` says what the octets are.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgpack

from protocol.errors import ProtocolError
from protocol.handle import check_handle, to_text
from protocol.json_fields import describe, expect_list, get_field, get_text
from protocol.json_forms import value_from_json
from protocol.value import HandleValue, encode_values
from protocol.wire import HANDLE_OCTETS_MAX
from registry.checks import check_values
from registry.marks import State
from registry.plain_ranges import RangeForm
from registry.plain_ranges import pack_form as pack_range_form
from registry.schema import VALUES_MAX
from registry.stream_rows import PackedRow, RowKind
from registry.template_requests import Request, pack_request, read_request

ROW_OCTETS_MAX = 1_048_576  # four times what a message holds: room for escapes, hex and base64
REASON_CHARACTERS_MAX = 8_192

RANGE_OPERATION = "range"  # of rows that have no handle and no values of one
RANGE_MEMBERS = ("stem", "first", "last", "check", "existing", "values")
MARKINGS = {"freeze": State.FROZEN, "revoke": State.REVOKED}  # of files to load only
REVOKED = "revoked"  # the state of an identifier or a range in an export
OPERATIONS = {"create": RowKind.CREATE, "replace": RowKind.REPLACE, "delete": RowKind.DELETE}


def bad_row(handle: bytes, faults: Sequence[str], digest: bytes) -> PackedRow:
    """Return the row that is refused for these faults, those beyond a bound only counted."""
    said: list[str] = []
    room = REASON_CHARACTERS_MAX
    for fault in faults:
        if len(fault) > room:
            break
        said.append(fault)
        room -= len(fault)
    if len(said) < len(faults):
        said.append(f"and {len(faults) - len(said)} more faults")
    reason = "; ".join(said).encode("utf-8", "backslashreplace")
    return RowKind.BAD.value, handle, reason, digest


def long_row(digest: bytes) -> PackedRow:
    """Return the row that was too long to be held."""
    return bad_row(b"", [f"row of more than {ROW_OCTETS_MAX:,} octets"], digest)


def too_large_row(row: PackedRow) -> PackedRow:
    """Return the row that took few octets, but would take too many as values."""
    _, handle, octets, digest = row
    return bad_row(handle, [f"the values take {len(octets):,} octets"], digest)


def pack_values(
    kind: RowKind, handle: bytes, values: Sequence[HandleValue], faults: list[str], digest: bytes
) -> PackedRow:
    """Return the row with these values, or a bad one when there are faults in it or in them."""
    if kind is RowKind.DELETE:
        return bad_row(handle, faults, digest) if faults else (kind.value, handle, b"", digest)
    faults = faults + find_faults(values)
    if not faults and not values:
        faults = ["no values"]
    if faults:
        return bad_row(handle, faults, digest)
    return kind.value, handle, encode_values(values), digest


def find_faults(values: Sequence[HandleValue]) -> list[str]:
    """Return everything that keeps these values from being stored."""
    if len(values) > VALUES_MAX:
        return [_too_many(len(values))]
    refusals = [check_values((value,)) for value in values]
    faults = [to_text(refusal.message) for refusal in refusals if refusal is not None]
    seen: set[int] = set()
    for value in values:
        if value.index in seen:
            faults.append(f"value at index {value.index}: the index is given twice")
        seen.add(value.index)
    return faults


def _too_many(count: int) -> str:
    return f"{count} values given, a handle has at most {VALUES_MAX}"


def pack_form(form: Any, digest: bytes) -> PackedRow:
    """Return the row that an object says, read in full; all of what is wrong in it is said.

    Args:
        form: what a reader of JSON or msgpack made of the row.
        digest: SHA-256 of the row as sent.
    """
    if not isinstance(form, dict):
        return bad_row(b"", [f"a row must be an object, not {describe(form)}"], digest)
    fault = find_mark_fault(form.get("operation"), form.get("state"))
    if fault:
        return bad_row(_read_handle(form, []), [fault], digest)
    if form.get("operation") == RANGE_OPERATION:
        return pack_range(form, digest)
    faults: list[str] = []
    handle = _read_handle(form, faults)
    kind = _read_kind(form, faults)
    if "template" in form:
        return pack_made(kind, handle, read_request(form, faults), faults, digest)
    if kind is not RowKind.DELETE:
        return pack_values(kind, handle, _read_values(form, faults), faults, digest)
    if "values" in form:
        faults.append('a row that deletes has no "values"')
    return pack_values(kind, handle, (), faults, digest)


def pack_made(
    kind: RowKind, handle: bytes, request: Request, faults: list[str], digest: bytes
) -> PackedRow:
    """Return the row that is made from a template, or a bad one when there are faults in it."""
    if kind is RowKind.DELETE:
        faults.append("a row that deletes has no template")
    if faults:
        return bad_row(handle, faults, digest)
    octets = pack_request(request._replace(replaces=kind is RowKind.REPLACE))
    return RowKind.TEMPLATE.value, handle, octets, digest


def pack_range(form: dict[str, Any], digest: bytes) -> PackedRow:
    """Return the row that registers a range; what its document says is checked where it is stored.

    Args:
        form: what a reader of JSON or msgpack made of the row.
        digest: SHA-256 of the row as sent.
    """
    document = {name: form[name] for name in RANGE_MEMBERS if name in form}
    try:
        handle = _range_handle(document)
        octets: bytes = msgpack.packb(document)
    except ProtocolError as error:
        return bad_row(b"", [str(error)], digest)
    except (ValueError, OverflowError, TypeError) as error:
        return bad_row(b"", [f"the row cannot be read: {error}"[:200]], digest)
    return RowKind.RANGE.value, handle, octets, digest


def pack_plain_range(form: RangeForm, digest: bytes) -> PackedRow:
    """Return the row of a range that may be plain. Raises: UnicodeError."""
    return RowKind.RANGE.value, _range_name(form.stem, form.first), pack_range_form(form), digest


def _range_handle(document: dict[str, Any]) -> bytes:
    return _range_name(*(get_text(document, name, "row") for name in ("stem", "first")))


def _range_name(stem: str, first: str) -> bytes:
    """Return the name of a row of a range: the first identifier, its check characters left out."""
    name = (stem + first).encode()
    return name if len(name) <= HANDLE_OCTETS_MAX else b""


def make_object(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return an object of JSON or msgpack out of its members.

    Raises:
        ValueError: a name is given twice.
        TypeError: one is a list or an object.
    """
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[Any] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the member {describe(name)} is given twice")
            seen.add(name)
    return made


def _read_handle(form: dict[str, Any], faults: list[str]) -> bytes:
    try:
        item = form.get("handle")
        handle = item if isinstance(item, bytes) else get_text(form, "handle", "row").encode()
    except ProtocolError as error:
        faults.append(str(error))
        return b""
    return name_row(handle, faults)


def name_row(handle: bytes, faults: list[str]) -> bytes:
    """Return the handle to name a row by; add to `faults` when it is not one to register."""
    try:
        check_handle(handle)
    except ProtocolError as error:
        faults.append(str(error))
    return handle if len(handle) <= HANDLE_OCTETS_MAX else b""


def find_mark_fault(operation: Any, state: Any) -> str:
    """Return why a row that is a mark, or of what was revoked, is not registered; empty: it may.

    Exports have such rows.

    Args:
        operation: what the row says is to be done.
        state: of the identifier or the range, as the row has it.
    """
    if isinstance(operation, str) and operation in MARKINGS:
        return (
            f"{operation} is no registration: use biaoshi load for the file of an export, or "
            f"biaoshi life {operation} for one identifier"
        )
    if state != REVOKED:
        return ""
    return (
        "the row is of what was revoked where it was exported, and would be registered as active: "
        "use biaoshi load, which keeps it revoked, or leave it out"
    )


def _read_kind(form: dict[str, Any], faults: list[str]) -> RowKind:
    return read_operation(form.get("operation", "create"), faults)


def read_operation(item: Any, faults: list[str]) -> RowKind:
    """Return the kind that an operation's name asks for; add to `faults` when there is none."""
    kind = OPERATIONS.get(item) if isinstance(item, str) else None
    if kind is None:
        words = f"operation must be one of {', '.join(OPERATIONS)}, not {describe(item)}"
        faults.append(find_mark_fault(item, None) or words)
        return RowKind.CREATE
    return kind


def _read_values(form: dict[str, Any], faults: list[str]) -> list[HandleValue]:
    values = []
    try:
        items = expect_list(get_field(form, "values", "row"), "values")
    except ProtocolError as error:
        faults.append(str(error))
        return []
    if len(items) > VALUES_MAX:
        faults.append(_too_many(len(items)))
        return []
    if not items:
        faults.append("no values")
    for position, item in enumerate(items):
        try:
            values.append(value_from_json(item, where=f"values[{position}]"))
        except ProtocolError as error:
            faults.append(str(error))
    return values


def digest_of(octets: bytes) -> bytes:
    """Return the SHA-256 of a row."""
    return hashlib.sha256(octets).digest()
