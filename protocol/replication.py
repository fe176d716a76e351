"""What follows the answers to RETRIEVE_TXN_LOG and DUMP_HANDLES: the records of their streams.

    log    i32 format  1 one source, 2 several       dump   i32 format  2, of old servers 1
           i32 status  1 dump anew, 2 sending               records:
           records, of status 1 the end alone:                0  i64 date, i64 transaction id;
             0  the end; i64 date in format 1                    in format 1 the end
             1  a change of a handle                          1  str handle, list of value
             2  str name of the source that follows           2  str homed prefix
             3  i64 date to which that source is told         3  str handle, i64 date, i32 priority
                                                              4  str prefix, i64 date, i32 priority
                                                              5  str state of other sources
                                                              255  the end

    a change   i64 transaction id, str handle, u8 action, i64 date
               [list of value, of CREATE and UPDATE]
    value      i32 octets, the octets of `protocol.value`

Dates are milliseconds since 1970. Records 2 and 3 of a log are in format 2 only. The end of a log
with status 1 carries the date that was asked with. How a stream begins, and where it is signed, is
`protocol.replication_stream`; all of it as Handle.Net 9's mirrors and servers write and read it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from protocol.errors import DecodeError
from protocol.value import VALUE_OCTETS_MIN, HandleValue, read_value
from protocol.wire import Reader, write_i32, write_i64, write_list, write_str, write_u8

FORMAT_ONE_SOURCE = 1
FORMAT_ALL_SOURCES = 2
DUMP_FORMAT = 2
DUMP_FORMAT_OLD = 1

# 262,144 octets are what a message may have, of which no more than its values are in a record;
# Handle.Net bounds records by nothing, this is many times what it stores.
RECORD_OCTETS_MAX = 4 * 1_048_576


class LogStatus(IntEnum):
    """Whether the log reaches back to where the mirror is."""

    NEED_REDUMP = 1
    SENDING = 2


class Action(IntEnum):
    """What was done to a handle."""

    PLACEHOLDER = 0
    CREATE = 1
    DELETE = 2
    UPDATE = 3
    HOME = 4
    UNHOME = 5
    DELETE_ALL = 6


class ResumePoint(IntEnum):
    """What was taken last of a dump that goes on: numbers of their own, not those of records."""

    HANDLE_DATE = 0
    PREFIX_DATE = 1
    HANDLE = 2
    PREFIX = 3


WITH_VALUES = frozenset({Action.CREATE, Action.UPDATE})

_LOG_END, _LOG_CHANGE, _LOG_SOURCE, _LOG_SOURCE_DATE = range(4)
_DUMP_SERVER, _DUMP_HANDLE, _DUMP_PREFIX, _DUMP_HANDLE_DATE, _DUMP_PREFIX_DATE, _DUMP_STATE = range(
    6
)
_DUMP_END = 255


@dataclass(frozen=True, slots=True)
class LogHead:
    """What a log begins with."""

    format: int
    status: LogStatus

    def encode(self) -> bytes:
        """Return the octets."""
        return write_i32(self.format) + write_i32(self.status)


@dataclass(frozen=True, slots=True)
class DumpHead:
    """What a dump begins with."""

    format: int = DUMP_FORMAT

    def encode(self) -> bytes:
        """Return the octets."""
        return write_i32(self.format)


@dataclass(frozen=True, slots=True)
class HandleChange:
    """One change of a handle, with all of its values where it still has some."""

    transaction_id: int
    handle: bytes
    action: Action
    date_ms: int
    values: tuple[HandleValue, ...] = ()

    def encode(self) -> bytes:
        """Return the octets."""
        octets = (
            write_u8(_LOG_CHANGE)
            + write_i64(self.transaction_id)
            + write_str(self.handle)
            + write_u8(self.action)
            + write_i64(self.date_ms)
        )
        return octets + _write_values(self.values) if self.action in WITH_VALUES else octets


@dataclass(frozen=True, slots=True)
class LogSource:
    """The name of the source whose changes follow."""

    name: bytes

    def encode(self) -> bytes:
        """Return the octets."""
        return write_u8(_LOG_SOURCE) + write_str(self.name)


@dataclass(frozen=True, slots=True)
class LogSourceDate:
    """The date to which a source's changes are told."""

    date_ms: int

    def encode(self) -> bytes:
        """Return the octets."""
        return write_u8(_LOG_SOURCE_DATE) + write_i64(self.date_ms)


@dataclass(frozen=True, slots=True)
class LogEnd:
    """The end of a log; the date to which it is told is there in format 1 only."""

    date_ms: int | None

    def encode(self) -> bytes:
        """Return the octets."""
        return write_u8(_LOG_END) + (b"" if self.date_ms is None else write_i64(self.date_ms))


@dataclass(frozen=True, slots=True)
class DumpServer:
    """Where the log goes on behind a dump."""

    date_ms: int
    transaction_id: int

    def encode(self) -> bytes:
        """Return the octets."""
        return write_u8(_DUMP_SERVER) + write_i64(self.date_ms) + write_i64(self.transaction_id)


@dataclass(frozen=True, slots=True)
class DumpHandle:
    """A handle with all of its values."""

    handle: bytes
    values: tuple[HandleValue, ...]

    def encode(self) -> bytes:
        """Return the octets."""
        return write_u8(_DUMP_HANDLE) + write_str(self.handle) + _write_values(self.values)


@dataclass(frozen=True, slots=True)
class DumpPrefix:
    """A homed prefix, `0.NA/88.118`."""

    handle: bytes

    def encode(self) -> bytes:
        """Return the octets."""
        return write_u8(_DUMP_PREFIX) + write_str(self.handle)


@dataclass(frozen=True, slots=True)
class DumpDate:
    """When, and by a primary of which priority, a handle or the homing of a prefix was changed."""

    is_prefix: bool
    handle: bytes
    date_ms: int
    priority: int

    def encode(self) -> bytes:
        """Return the octets."""
        kind = _DUMP_PREFIX_DATE if self.is_prefix else _DUMP_HANDLE_DATE
        octets = write_u8(kind) + write_str(self.handle)
        return octets + write_i64(self.date_ms) + write_i32(self.priority)


@dataclass(frozen=True, slots=True)
class DumpState:
    """How far the server has followed other sources, in its own words."""

    state: bytes

    def encode(self) -> bytes:
        """Return the octets."""
        return write_u8(_DUMP_STATE) + write_str(self.state)


@dataclass(frozen=True, slots=True)
class DumpEnd:
    """The end of a dump."""

    def encode(self) -> bytes:
        """Return the octet."""
        return write_u8(_DUMP_END)


LogRecord = HandleChange | LogSource | LogSourceDate | LogEnd
DumpRecord = DumpServer | DumpHandle | DumpPrefix | DumpDate | DumpState | DumpEnd


def _write_values(values: tuple[HandleValue, ...]) -> bytes:
    return write_list(write_str(value.encode()) for value in values)


def _read_values(reader: Reader) -> tuple[HandleValue, ...]:
    return reader.read_list(_read_value, "values", 4 + VALUE_OCTETS_MIN)


def _read_value(reader: Reader) -> HandleValue:
    inner = Reader(reader.read_str("value"))
    value = read_value(inner)
    inner.expect_end("value")
    return value


def read_log_head(reader: Reader) -> LogHead:
    """Read what a log begins with. Raises: DecodeError."""
    format_ = reader.read_i32("log format")
    if format_ not in (FORMAT_ONE_SOURCE, FORMAT_ALL_SOURCES):
        raise DecodeError(f"log format is {format_}, known are 1 and 2")
    status = reader.read_i32("log status")
    if status not in tuple(LogStatus):
        raise DecodeError(f"log status is {status}, known are 1 and 2")
    return LogHead(format_, LogStatus(status))


def read_dump_head(reader: Reader) -> DumpHead:
    """Read what a dump begins with. Raises: DecodeError."""
    format_ = reader.read_i32("dump format")
    if format_ not in (DUMP_FORMAT_OLD, DUMP_FORMAT):
        raise DecodeError(f"dump format is {format_}, known are 1 and 2")
    return DumpHead(format_)


def read_log_record(reader: Reader, format_: int) -> LogRecord:
    """Read one record of a log in a format. Raises: DecodeError."""
    kind = reader.read_u8("type of a log record")
    if kind == _LOG_CHANGE:
        return _read_change(reader)
    if kind == _LOG_END:
        return LogEnd(reader.read_i64("end date") if format_ == FORMAT_ONE_SOURCE else None)
    if format_ == FORMAT_ALL_SOURCES and kind == _LOG_SOURCE:
        return LogSource(reader.read_str("name of a source"))
    if format_ == FORMAT_ALL_SOURCES and kind == _LOG_SOURCE_DATE:
        return LogSourceDate(reader.read_i64("date of a source"))
    raise DecodeError(f"record type {kind} does not occur in a log of format {format_}")


def _read_change(reader: Reader) -> HandleChange:
    number = reader.read_i64("transaction id")
    handle = reader.read_str("handle")
    action = reader.read_u8("action")
    if action not in tuple(Action):
        raise DecodeError(f"action {action} is unknown, known are 0 to 6")
    date_ms = reader.read_i64("date")
    values = _read_values(reader) if action in WITH_VALUES else ()
    return HandleChange(number, handle, Action(action), date_ms, values)


_DUMP_READERS: dict[int, Callable[[Reader], DumpRecord]] = {
    _DUMP_SERVER: lambda r: DumpServer(r.read_i64("date"), r.read_i64("transaction id")),
    _DUMP_HANDLE: lambda r: DumpHandle(r.read_str("handle"), _read_values(r)),
    _DUMP_PREFIX: lambda r: DumpPrefix(r.read_str("prefix")),
    _DUMP_HANDLE_DATE: lambda r: _read_date(r, is_prefix=False),
    _DUMP_PREFIX_DATE: lambda r: _read_date(r, is_prefix=True),
    _DUMP_STATE: lambda r: DumpState(r.read_str("state of other sources")),
    _DUMP_END: lambda r: DumpEnd(),
}


def _read_date(reader: Reader, *, is_prefix: bool) -> DumpDate:
    handle = reader.read_str("handle")
    return DumpDate(is_prefix, handle, reader.read_i64("date"), reader.read_i32("priority"))


def read_dump_record(reader: Reader) -> DumpRecord:
    """Read one record of a dump. Raises: DecodeError."""
    kind = reader.read_u8("type of a dump record")
    read = _DUMP_READERS.get(kind)
    if read is None:
        raise DecodeError(f"record type {kind} does not occur in a dump")
    return read(reader)
