# Reading msgpack, without Python, as far as rows made from templates need it. Included by
# `_batch.pyx`. Whatever is longer than what is there, or something else than is asked for, is -1.

cdef enum:
    MSGPACK_NIL = 0xC0


cdef struct Cursor:
    const uint8_t *octets
    int64_t at
    int64_t end


cdef inline int64_t read_wide(Cursor *source, int64_t octets) noexcept nogil:
    """Read a number of 1, 2 or 4 octets, -1 when it is not there."""
    cdef const uint8_t *at = source.octets + source.at
    if source.end - source.at < octets:
        return -1
    source.at += octets
    if octets == 1:
        return at[0]
    return read_u16(at) if octets == 2 else <int64_t>read_u32(at)


cdef inline int64_t read_head(
    Cursor *source, uint8_t fixed, uint8_t fixed_bits, uint8_t wide, int64_t least
) noexcept nogil:
    """Read the length of what comes next in msgpack, -1 when that is something else.

    Args:
        source: where.
        fixed, fixed_bits: the first octet's when it holds the length itself.
        wide: the first octet before the shortest length of its own.
        least: the octets of that.
    """
    cdef uint8_t first
    if source.at >= source.end:
        return -1
    first = source.octets[source.at]
    if fixed_bits and first & ~fixed_bits == fixed:
        source.at += 1
        return first & fixed_bits
    if not wide <= first <= wide + (2 if least == 1 else 1):
        return -1
    source.at += 1
    return read_wide(source, least << (first - wide))


cdef inline int64_t read_array(Cursor *source) noexcept nogil:
    return read_head(source, 0x90, 0x0F, 0xDC, 2)


cdef inline int64_t read_text(Cursor *source) noexcept nogil:
    """Read a text's length and go to its first octet, -1 when it is none or not all there."""
    cdef int64_t octets = read_head(source, 0xA0, 0x1F, 0xD9, 1)
    return octets if octets <= source.end - source.at else -1


cdef inline int64_t read_binary(Cursor *source) noexcept nogil:
    cdef int64_t octets = read_head(source, 0, 0, 0xC4, 1)
    return octets if octets <= source.end - source.at else -1


cdef inline int64_t read_piece(Cursor *source) noexcept nogil:
    """Read the length of a text or of octets."""
    if source.at < source.end and 0xC4 <= source.octets[source.at] <= 0xC6:
        return read_binary(source)
    return read_text(source)


cdef inline int64_t read_number(Cursor *source) noexcept nogil:
    """Read a number that is not negative, -1 when it is none."""
    cdef int64_t number
    cdef uint8_t first
    if source.at >= source.end:
        return -1
    first = source.octets[source.at]
    if first < 0x80:
        source.at += 1
        return first
    if 0xCC <= first <= 0xCE:
        source.at += 1
        return read_wide(source, <int64_t>1 << (first - 0xCC))
    if first != 0xCF or source.end - source.at < 9 or source.octets[source.at + 1] & 0x80:
        return -1
    source.at += 1
    number = read_wide(source, 4) << 32
    return number | read_wide(source, 4)


cdef inline bint is_nil(const Cursor *source) noexcept nogil:
    return source.at < source.end and source.octets[source.at] == MSGPACK_NIL


cdef inline bint is_array(const Cursor *source) noexcept nogil:
    return source.at < source.end and (
        source.octets[source.at] & 0xF0 == 0x90 or 0xDC <= source.octets[source.at] <= 0xDD
    )


cdef bint is_utf8(const uint8_t *text, int64_t octets) noexcept nogil:
    """Say whether octets decode as Python decodes them: no surrogates, nothing longer than it is.
    """
    cdef int64_t at = 0, more
    cdef uint8_t first, low, high
    while at < octets:
        first = text[at]
        at += 1
        if first < 0x80:
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= first <= 0xDF:
            more = 1
        elif 0xE0 <= first <= 0xEF:
            more = 2
            if first == 0xE0:
                low = 0xA0
            elif first == 0xED:
                high = 0x9F
        elif 0xF0 <= first <= 0xF4:
            more = 3
            if first == 0xF0:
                low = 0x90
            elif first == 0xF4:
                high = 0x8F
        else:
            return False
        if octets - at < more or not low <= text[at] <= high:
            return False
        for at in range(at + 1, at + more):
            if text[at] & 0xC0 != 0x80:
                return False
        at += 1
    return True
