# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=True
"""Plain rows out of lines of NDJSON, in C: what `rows.plain.read_plain_json` makes of most rows.

    {"handle": "88.118/a", "operation": "create", "values": [
        {"index": 1, "type": "URL", "data": {"format": "string", "value": ".."},
         "ttl": 86400, "timestamp": "2026-11-21T08:00:00Z"}]}

"data" may be the text itself. Rows are tuples, or what these are in msgpack, for those that only send them on.

It may only agree with that, octet for octet, or leave the line to it. Members stand in any order,
each once; "operation", "ttl" and "timestamp" may be missing. Left to Python is every row with a
backslash in a string, another member, indexes that do not rise, a type that begins with HS_, a
number or a time in another form, or anything wrong.

The cursor of a line is compared with its end before an octet is read, and room is compared with
what is written, as signed 64-bit numbers. A line is read front to back, without going back, and
nesting has the three levels above, so its length bounds time and memory.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy

cdef enum:
    KIND_PLAIN = 1
    HANDLE_OCTETS_MAX = 2_048
    VALUES_MAX = 2_048
    VALUE_OCTETS_MIN = 26  # on the wire, type and data empty
    PERMISSION_DEFAULT = 0x0E
    TTL_DEFAULT_S = 86_400
    NUMBER_MAX = 0x7FFFFFFF
    TIME_OCTETS = 20
    WORD_OCTETS = 8
    DIGEST_OCTETS = 32  # SHA-256
    ROW_OCTETS_MORE = 17  # in msgpack: two octets, and at most five before each of three strings
    MSGPACK_LIST_OF_4 = 0x94
    MSGPACK_BIN_8 = 0xC4
    MSGPACK_BIN_16 = 0xC5
    MSGPACK_BIN_32 = 0xC6

cdef enum:
    LF = 0x0A
    QUOTE = 0x22
    COMMA = 0x2C
    SLASH = 0x2F
    ZERO = 0x30
    COLON = 0x3A
    LIST = 0x5B
    BACKSLASH = 0x5C
    LIST_END = 0x5D
    OBJECT = 0x7B
    OBJECT_END = 0x7D

cdef enum:  # members, each a bit of what was seen of an object
    UNKNOWN = 0
    HANDLE = 0x001
    VALUES = 0x002
    OPERATION = 0x004
    INDEX = 0x008
    TYPE = 0x010
    DATA = 0x020
    TTL = 0x040
    TIMESTAMP = 0x080
    FORMAT = 0x100
    VALUE = 0x200

cdef extern from *:
    """
    static const uint64_t ONES = UINT64_C(0x0101010101010101);
    static const uint64_t HIGHS = UINT64_C(0x8080808080808080);
    static const char TIME_FORM[] = "0000-00-00T00:00:00Z";
    """
    const uint64_t ONES
    const uint64_t HIGHS
    const char *TIME_FORM


cdef struct Text:
    const uint8_t *start
    int64_t octets


cdef struct Line:
    const uint8_t *octets
    int64_t at
    int64_t end
    const uint8_t *time  # one that was found good, NULL: none yet


cdef struct Value:
    int64_t index
    int64_t ttl
    Text type
    Text data


cdef struct Wire:
    uint8_t *octets
    int64_t used
    int64_t end


cdef inline bint is_white(uint8_t octet) noexcept nogil:
    """Say whether it is white space as bytes.strip() has it."""
    return octet == 32 or 9 <= octet <= 13


cdef inline void skip_space(Line *line) noexcept nogil:
    """Pass over white space as JSON has it, but for the line feed, which no line has."""
    cdef uint8_t octet
    while line.at < line.end:
        octet = line.octets[line.at]
        if octet != 32 and octet != 9 and octet != 13:
            return
        line.at += 1


cdef inline bint take(Line *line, uint8_t octet) noexcept nogil:
    """Pass over white space and this octet; False when another one stands there."""
    skip_space(line)
    if line.at >= line.end or line.octets[line.at] != octet:
        return False
    line.at += 1
    return True


cdef inline bint is_simple(const uint8_t *at) noexcept nogil:
    """Say whether eight octets are ASCII without control characters, quotes and backslashes."""
    cdef uint64_t word, quotes, backslashes
    memcpy(&word, at, WORD_OCTETS)
    quotes = word ^ (ONES * <uint64_t>QUOTE)
    backslashes = word ^ (ONES * <uint64_t>BACKSLASH)
    return not (
        (
            (quotes - ONES) & ~quotes
            | (backslashes - ONES) & ~backslashes
            | (word - ONES * <uint64_t>32) & ~word
            | word
        )
        & HIGHS
    )


cdef int64_t character_octets(const uint8_t *at, int64_t left) noexcept nogil:
    """Return how many octets the character that begins here has, 0: it is not UTF-8, or ASCII."""
    cdef uint8_t first = at[0], low = 0x80, high = 0xBF
    cdef int64_t octets, number
    if 0xC2 <= first <= 0xDF:
        octets = 2
    elif 0xE0 <= first <= 0xEF:
        octets = 3
        if first == 0xE0:
            low = 0xA0  # below: longer than it need be
        elif first == 0xED:
            high = 0x9F  # above: half a character
    elif 0xF0 <= first <= 0xF4:
        octets = 4
        if first == 0xF0:
            low = 0x90
        elif first == 0xF4:
            high = 0x8F  # above: beyond Unicode
    else:
        return 0
    if octets > left or at[1] < low or at[1] > high:
        return 0
    for number in range(2, octets):
        if at[number] & 0xC0 != 0x80:
            return 0
    return octets


cdef bint read_text(Line *line, Text *text) noexcept nogil:
    """Take a string without escapes."""
    cdef const uint8_t *octets = line.octets
    cdef int64_t at, end = line.end, count
    cdef uint8_t octet
    if not take(line, QUOTE):
        return False
    at = line.at
    text.start = octets + at
    while at < end:
        if end - at >= WORD_OCTETS and is_simple(octets + at):
            at += WORD_OCTETS
            continue
        # One of the next eight octets ends the string, is not ASCII, or refused.
        count = min(end - at, <int64_t>WORD_OCTETS)
        while count > 0:
            octet = octets[at]
            if octet == QUOTE:
                text.octets = at - line.at
                line.at = at + 1
                return True
            if octet < 32 or octet == BACKSLASH:
                return False
            if octet >= 0x80:
                break
            at += 1
            count -= 1
        while at < end and octets[at] >= 0x80:
            count = character_octets(octets + at, end - at)
            if count == 0:
                return False
            at += count
    return False


cdef inline bint says(const Text *text, const char *words, int64_t octets) noexcept nogil:
    return text.octets == octets and memcmp(text.start, words, octets) == 0


cdef int read_name(Line *line) noexcept nogil:
    """Take the name of a member and its colon; return which one it is."""
    cdef Text name
    if not read_text(line, &name) or not take(line, COLON):
        return UNKNOWN
    if name.octets == 4:
        return TYPE if says(&name, b"type", 4) else DATA if says(&name, b"data", 4) else UNKNOWN
    if name.octets == 5:
        return INDEX if says(&name, b"index", 5) else VALUE if says(&name, b"value", 5) else UNKNOWN
    if says(&name, b"format", 6):
        return FORMAT
    if says(&name, b"ttl", 3):
        return TTL
    if says(&name, b"timestamp", 9):
        return TIMESTAMP
    if says(&name, b"handle", 6):
        return HANDLE
    if says(&name, b"values", 6):
        return VALUES
    return OPERATION if says(&name, b"operation", 9) else UNKNOWN


cdef int64_t read_number(Line *line) noexcept nogil:
    """Take digits; return their number, -1: it is beyond 31 bits or begins with a needless 0."""
    cdef int64_t number = 0, start
    cdef int digit
    skip_space(line)
    start = line.at
    while line.at < line.end:
        digit = <int>line.octets[line.at] - ZERO
        if digit < 0 or digit > 9:
            break
        number = 10 * number + digit
        if number > NUMBER_MAX:
            return -1
        line.at += 1
    if line.at == start or line.at > start + 1 and line.octets[start] == ZERO:
        return -1
    return number


cdef inline int two_digits(const uint8_t *at) noexcept nogil:
    return 10 * (at[0] - ZERO) + at[1] - ZERO


cdef bint is_time(const uint8_t *at) noexcept nogil:
    """Say whether TIME_OCTETS are a time that exists and that 32 bits hold; 29 February is left."""
    cdef int number, year, month, days
    for number in range(TIME_OCTETS):
        if TIME_FORM[number] == ZERO:
            if at[number] < ZERO or at[number] > ZERO + 9:
                return False
        elif at[number] != <uint8_t>TIME_FORM[number]:
            return False
    year, month = 100 * two_digits(at) + two_digits(at + 2), two_digits(at + 5)
    if month == 2:
        days = 28
    else:
        days = 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31
    return (
        1902 <= year <= 2037
        and 1 <= month <= 12
        and 1 <= two_digits(at + 8) <= days
        and two_digits(at + 11) <= 23
        and two_digits(at + 14) <= 59
        and two_digits(at + 17) <= 59
    )


cdef bint read_time(Line *line) noexcept nogil:
    """Take a timestamp, which is not kept."""
    cdef Text text
    if not read_text(line, &text) or text.octets != TIME_OCTETS:
        return False
    if line.time != NULL and memcmp(line.time, text.start, TIME_OCTETS) == 0:
        return True
    if not is_time(text.start):
        return False
    line.time = text.start
    return True


cdef bint read_data(Line *line, Text *data) noexcept nogil:
    """Take {"format": "string", "value": ..}, or a text, which says the same in short."""
    cdef int member, seen = 0
    cdef Text text
    skip_space(line)
    if line.at < line.end and line.octets[line.at] == QUOTE:
        return read_text(line, data)
    if not take(line, OBJECT):
        return False
    while True:
        member = read_name(line)
        if seen & member:
            return False
        seen |= member
        if member == FORMAT:
            if not read_text(line, &text) or not says(&text, b"string", 6):
                return False
        elif member != VALUE or not read_text(line, data):
            return False
        if not take(line, COMMA):
            return seen == (FORMAT | VALUE) and take(line, OBJECT_END)


cdef bint read_type(Line *line, Text *type_) noexcept nogil:
    """Take a type that is none of the Handle System's own: the data of some have to make sense."""
    if not read_text(line, type_):
        return False
    return type_.octets < 3 or memcmp(type_.start, b"HS_", 3) != 0


cdef bint read_value(Line *line, Value *value) noexcept nogil:
    cdef int member, seen = 0
    value.ttl = TTL_DEFAULT_S
    if not take(line, OBJECT):
        return False
    while True:
        member = read_name(line)
        if seen & member:
            return False
        seen |= member
        if member == INDEX:
            value.index = read_number(line)
            if value.index < 1:
                return False
        elif member == TYPE:
            if not read_type(line, &value.type):
                return False
        elif member == DATA:
            if not read_data(line, &value.data):
                return False
        elif member == TTL:
            value.ttl = read_number(line)
            if value.ttl < 0:
                return False
        elif member != TIMESTAMP or not read_time(line):
            return False
        if not take(line, COMMA):
            member = INDEX | TYPE | DATA
            return seen & member == member and take(line, OBJECT_END)


cdef inline void write_u32(uint8_t *at, uint32_t number) noexcept nogil:
    at[0] = <uint8_t>(number >> 24)
    at[1] = <uint8_t>(number >> 16)
    at[2] = <uint8_t>(number >> 8)
    at[3] = <uint8_t>number


cdef inline uint8_t *write_text(uint8_t *at, const Text *text) noexcept nogil:
    write_u32(at, <uint32_t>text.octets)
    memcpy(at + 4, text.start, text.octets)
    return at + 4 + text.octets


cdef bint write_value(Wire *wire, const Value *value, uint32_t now_s) noexcept nogil:
    """Write a value as `protocol.value` does; False when there is no room."""
    cdef int64_t octets = VALUE_OCTETS_MIN + value.type.octets + value.data.octets
    cdef uint8_t *at = wire.octets + wire.used
    if octets > wire.end - wire.used:
        return False
    write_u32(at, <uint32_t>value.index)
    write_u32(at + 4, now_s)
    at[8] = 0  # relative
    write_u32(at + 9, <uint32_t>value.ttl)
    at[13] = PERMISSION_DEFAULT
    at = write_text(write_text(at + 14, &value.type), &value.data)
    write_u32(at, 0)  # references
    wire.used += octets
    return True


cdef bint read_values(Line *line, Wire *wire, uint32_t now_s) noexcept nogil:
    """Take a list of values and write it."""
    cdef Value value
    cdef int64_t count = 0, last = 0
    if wire.end < 4 or not take(line, LIST):
        return False
    wire.used = 4
    while count < VALUES_MAX:
        if not read_value(line, &value) or value.index <= last:
            return False
        if not write_value(wire, &value, now_s):
            return False
        last = value.index
        count += 1
        if not take(line, COMMA):
            write_u32(wire.octets, <uint32_t>count)
            return take(line, LIST_END)
    return False


cdef bint read_handle(Line *line, Text *handle) noexcept nogil:
    if not read_text(line, handle):
        return False
    return 0 < handle.octets <= HANDLE_OCTETS_MAX and handle.start[0] != SLASH


cdef bint read_row(Line *line, Text *handle, Wire *wire, uint32_t now_s) noexcept nogil:
    """Take a row and write its values; False: it is left to Python."""
    cdef int member, seen = 0
    cdef Text text
    if not take(line, OBJECT):
        return False
    while True:
        member = read_name(line)
        if seen & member:
            return False
        seen |= member
        if member == HANDLE:
            if not read_handle(line, handle):
                return False
        elif member == VALUES:
            if not read_values(line, wire, now_s):
                return False
        elif member != OPERATION or not read_text(line, &text) or not says(&text, b"create", 6):
            return False
        if not take(line, COMMA):
            break
    if not take(line, OBJECT_END):
        return False
    skip_space(line)
    return line.at == line.end and seen & (HANDLE | VALUES) == (HANDLE | VALUES)


cdef struct Lines:
    const uint8_t *octets
    int64_t size
    int64_t octets_max  # of a row
    int64_t at  # where the next line begins
    int64_t start  # of the line at hand, without white space around it
    int64_t end


cdef bint next_line(Lines *lines) noexcept nogil:
    """Move to the next line that is not blank; False: there is none."""
    cdef const uint8_t *octets = lines.octets
    cdef const uint8_t *feed
    cdef int64_t start, end
    while lines.at < lines.size:
        start = lines.at
        feed = <const uint8_t *>memchr(octets + start, LF, lines.size - start)
        end = lines.size if feed == NULL else feed - octets
        lines.at = end + 1
        while start < end and is_white(octets[start]):
            start += 1
        if end - start <= lines.octets_max:  # one too long is handed over with all its octets
            while end > start and is_white(octets[end - 1]):
                end -= 1
        if start < end:
            lines.start, lines.end = start, end
            return True
    return False


cdef bint read_line(const Lines *lines, Line *line, Text *handle, Wire *wire,
                    uint32_t now_s) noexcept nogil:
    """Take the line at hand as a row; False: it is left to Python."""
    line.at, line.end = lines.start, lines.end
    wire.used, wire.end = 0, lines.end - lines.start  # shorter than JSON; else there is no room
    return wire.end <= lines.octets_max and read_row(line, handle, wire, now_s)


cdef list read_all(Lines *lines, uint8_t *room, uint32_t now_s, sha256, read_other):
    cdef list rows = []
    cdef Line line
    cdef Text handle
    cdef Wire wire
    cdef bytes whole
    line.octets, line.time, wire.octets = lines.octets, NULL, room
    while next_line(lines):
        whole = PyBytes_FromStringAndSize(
            <const char *>lines.octets + lines.start, lines.end - lines.start
        )
        if read_line(lines, &line, &handle, &wire, now_s):
            rows.append((
                KIND_PLAIN,
                PyBytes_FromStringAndSize(<const char *>handle.start, handle.octets),
                PyBytes_FromStringAndSize(<const char *>wire.octets, wire.used),
                sha256(whole).digest(),
            ))
        else:
            rows.append(read_other(whole))
    return rows


cdef struct Packed:
    uint8_t *octets
    int64_t used
    int64_t room


cdef int make_room(Packed *packed, int64_t octets) except -1:
    """See to it that so many octets can be written."""
    cdef int64_t room = packed.used + octets
    cdef uint8_t *grown
    if room > packed.room:
        room = max(room, 2 * packed.room)
        grown = <uint8_t *>realloc(packed.octets, room)
        if grown == NULL:
            raise MemoryError
        packed.octets, packed.room = grown, room
    return 0


cdef inline void pack_octets(Packed *packed, const uint8_t *octets, int64_t count) noexcept nogil:
    """Write octets as msgpack has them, in its shortest form; there is room."""
    cdef uint8_t *at = packed.octets + packed.used
    if count < 0x100:
        at[0], at[1] = MSGPACK_BIN_8, <uint8_t>count
        at += 2
    elif count < 0x10000:
        at[0], at[1], at[2] = MSGPACK_BIN_16, <uint8_t>(count >> 8), <uint8_t>count
        at += 3
    else:
        at[0] = MSGPACK_BIN_32
        write_u32(at + 1, <uint32_t>count)
        at += 5
    memcpy(at, octets, count)
    packed.used = at + count - packed.octets


cdef int pack_row(Packed *packed, const Text *handle, const Wire *wire, bytes digest) except -1:
    """Write a plain row."""
    if len(digest) != DIGEST_OCTETS:
        raise ValueError(f"the digest of a row has {len(digest)} octets, not {DIGEST_OCTETS}")
    make_room(packed, ROW_OCTETS_MORE + handle.octets + wire.used + DIGEST_OCTETS)
    packed.octets[packed.used] = MSGPACK_LIST_OF_4
    packed.octets[packed.used + 1] = KIND_PLAIN
    packed.used += 2
    pack_octets(packed, handle.start, handle.octets)
    pack_octets(packed, wire.octets, wire.used)
    pack_octets(packed, <const uint8_t *>PyBytes_AS_STRING(digest), DIGEST_OCTETS)
    return 0


cdef int64_t pack_all(Lines *lines, Packed *packed, uint8_t *room, uint32_t now_s, sha256,
                      pack_other, int64_t rows_max, int64_t packed_max) except -1:
    """Write rows until there are enough of them; return how many."""
    cdef Line line
    cdef Text handle
    cdef Wire wire
    cdef bytes whole, other
    cdef int64_t rows = 0
    line.octets, line.time, wire.octets = lines.octets, NULL, room
    while rows < rows_max and packed.used < packed_max and next_line(lines):
        whole = PyBytes_FromStringAndSize(
            <const char *>lines.octets + lines.start, lines.end - lines.start
        )
        if read_line(lines, &line, &handle, &wire, now_s):
            pack_row(packed, &handle, &wire, sha256(whole).digest())
        else:
            other = pack_other(whole)
            make_room(packed, len(other))
            memcpy(packed.octets + packed.used, PyBytes_AS_STRING(other), len(other))
            packed.used += len(other)
        rows += 1
    return rows


cdef Lines lines_of(const Py_buffer *view, int64_t start, int64_t octets_max) except *:
    cdef Lines lines
    if octets_max > NUMBER_MAX:
        raise ValueError(f"rows of {octets_max} octets, their lengths have 31 bits")
    if start < 0:
        raise ValueError(f"lines from octet {start} on")
    lines.octets, lines.size = <const uint8_t *>view.buf, view.len
    lines.octets_max, lines.at = octets_max, start
    lines.start = lines.end = start
    return lines


def read_lines(data, int32_t now_s, int64_t octets_max, sha256, read_other):
    """Return a row for each line that is not blank, in order.

    Args:
        data: octets, lines with line feeds between them.
        now_s: the timestamp of all values.
        octets_max: of a row, at most 2**31 - 1; what is longer is left to `read_other`.
        sha256: hashlib's.
        read_other: makes a row of a line that is left to it, given without white space around it,
            but of one longer than `octets_max` only without that before it.
    """
    cdef Py_buffer view
    cdef uint8_t *room = NULL
    cdef Lines lines
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        lines = lines_of(&view, 0, octets_max)
        room = <uint8_t *>malloc(max(view.len, 1))
        if room == NULL:
            raise MemoryError
        return read_all(&lines, room, <uint32_t>now_s, sha256, read_other)
    finally:
        free(room)
        PyBuffer_Release(&view)


def pack_lines(data, int64_t start, int32_t now_s, int64_t octets_max, sha256, pack_other,
               int64_t rows_max, int64_t packed_max):
    """Return (rows, octets, end): how many, their octets in msgpack, and where to go on.

    The octets are those of the rows that `read_lines` returns, one after another.

    Args:
        data: octets, lines with line feeds between them.
        start: where to begin; where there is nothing any more, no rows are returned.
        now_s: the timestamp of all values.
        octets_max: of a row, at most 2**31 - 1; what is longer is left to `pack_other`.
        sha256: hashlib's.
        pack_other: returns the octets of the row of a line that is left to it, as `read_lines` has
            it given.
        rows_max: to return.
        packed_max: octets of rows after which no further row is returned.
    """
    cdef Py_buffer view
    cdef uint8_t *room = NULL
    cdef Lines lines
    cdef Packed packed
    cdef int64_t rows
    packed.octets, packed.used, packed.room = NULL, 0, 0
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        lines = lines_of(&view, start, octets_max)
        room = <uint8_t *>malloc(max(view.len, 1))
        if room == NULL:
            raise MemoryError
        make_room(&packed, min(max(view.len - start, 0), packed_max) + 1)
        rows = pack_all(
            &lines, &packed, room, <uint32_t>now_s, sha256, pack_other, rows_max, packed_max
        )
        octets = PyBytes_FromStringAndSize(<const char *>packed.octets, packed.used)
        return rows, octets, min(lines.at, view.len)
    finally:
        free(packed.octets)
        free(room)
        PyBuffer_Release(&view)
