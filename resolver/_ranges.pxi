# Identifiers of ranges, without Python: what the fast path needs of `registry.range_records`, in C.
# Included by `_batch.pyx`. All lengths are signed 64-bit numbers, compared with what is there
# before use.

cdef enum:
    TAIL_OCTETS_MAX = 32
    STEM_OCTETS_MAX = 477
    SEEK_OCTETS_MAX = 511
    RANGE_PLAIN = 0x10  # format 1, nothing for the readable path to look at
    RANGE_CHECKED = 0x2
    RANGE_HEAD_OCTETS = 2
    PATCH_OCTETS = 6
    LIST_OCTETS_MAX = PIECES_MAX * PIECE_OCTETS  # more does not fit into an answer of the fast path

cdef enum Held:
    HELD, NOT_HELD, NOT_PLAIN


cdef inline bint is_digit(uint8_t octet) noexcept nogil:
    return 48 <= octet <= 57


cdef int64_t tail_octets_of(const uint8_t *key, int64_t octets) noexcept nogil:
    """Return the octets of a folded handle's tail, 0: no range can hold it."""
    cdef int64_t at = octets, digits_end
    if at and not is_digit(key[at - 1]):
        at -= 1  # perhaps a check character
    digits_end = at
    while at and is_digit(key[at - 1]):
        at -= 1
    if at == digits_end or at > STEM_OCTETS_MAX or octets - at > TAIL_OCTETS_MAX:
        return 0
    return octets - at


cdef int64_t write_seek_key(
    uint8_t *target, const uint8_t *key, int64_t octets
) noexcept nogil:
    """Write where the range of a folded handle is sought, at most SEEK_OCTETS_MAX octets.

    Return their number, 0: no range can hold it.
    """
    cdef int64_t tail = tail_octets_of(key, octets), stem = octets - tail
    if tail == 0:
        return 0
    memcpy(target, key, stem)
    target[stem] = 0
    target[stem + 1] = <uint8_t>tail
    memcpy(target + stem + 2, key + stem, tail)
    return octets + 2


cdef Held is_held(
    const uint8_t *key, int64_t octets, const uint8_t *found, int64_t found_octets,
    const uint8_t *record, int64_t size,
) noexcept nogil:
    """Say whether the nearest range holds a folded handle.

    Args:
        key, octets: the handle.
        found, found_octets: the key of the range.
        record, size: of the range; when it holds the handle, its first tail is within it.
    """
    cdef int64_t tail = tail_octets_of(key, octets), stem = octets - tail, first
    if tail == 0 or found_octets != octets + 2 or memcmp(found, key, stem):
        return NOT_HELD
    if found[stem] != 0 or found[stem + 1] != tail:
        return NOT_HELD
    if size < RANGE_HEAD_OCTETS or record[1] != tail:
        return NOT_HELD
    first = min(tail, size - RANGE_HEAD_OCTETS)
    if memcmp(record + RANGE_HEAD_OCTETS, key + stem, first) > 0:
        return NOT_HELD
    if not record[0] & RANGE_CHECKED and not is_digit(key[octets - 1]):
        return NOT_HELD
    return HELD if record[0] == RANGE_PLAIN and first == tail else NOT_PLAIN


cdef inline Held is_held_in(bytes key, bytes found, bytes record) noexcept:
    """Say whether the nearest range holds a folded handle, of objects."""
    return is_held(
        <const uint8_t *>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key),
        <const uint8_t *>PyBytes_AS_STRING(found), PyBytes_GET_SIZE(found),
        <const uint8_t *>PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record),
    )


cdef int64_t fill_in(
    const uint8_t *record, int64_t size, const uint8_t *tail, int64_t tail_octets, uint8_t *target
) noexcept nogil:
    """Write the value list of an identifier that a range holds; return its octets.

    -1: the record is not plain, or damaged, or more than LIST_OCTETS_MAX.
    """
    cdef int64_t at = RANGE_HEAD_OCTETS + tail_octets, patches, octets, number
    cdef int64_t offset, start, length, count = 0
    cdef const uint8_t *patch
    if size - at < 4 or read_u16(record + at):
        return -1
    patches = read_u16(record + at + 2)
    patch = record + at + 4
    at += 4 + patches * PATCH_OCTETS
    octets = size - at
    if not 0 <= octets <= LIST_OCTETS_MAX:
        return -1
    memcpy(target, record + at, octets)
    for number in range(patches):
        offset, start, length = read_u32(patch), patch[4], patch[5]
        if start + length > tail_octets or offset + length > octets:
            return -1
        memcpy(target + offset, tail + start, length)
        patch += PATCH_OCTETS
    return octets if skip_public(target, 0, octets, &count) == octets else -1
