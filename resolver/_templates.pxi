# Rows made from templates, without Python: what the fast path needs of `registry.template_rows` and
# `template_expansion`, in C. Included by `_batch.pyx`.
#
# A row names its lot and says in what it differs from it; the lot (`_lots.pxi`) names a version of a
# template, which has a layout (`registry.template_layouts`). The list of an identifier is written
# by that layout, head by head, with the identifier's tail between the pieces of texts. Lots are
# checked once, by `are_plain`; of rows all is checked while they are read.
#
# All lengths are signed 64-bit numbers, compared with what is there before use.

cdef enum:
    TEMPLATE_ROW = 0x30  # format 3
    LOT_FORMAT = 1
    TEXT_TAIL_OCTETS_MIN = 3
    TEXT_TAIL_OCTETS_MAX = 64
    LAYOUT_ENTRY_OCTETS = 3
    KIND_WHOLE = 0  # of `registry.template_layouts.EntryKind`; 1: the head of a text
    KIND_OTHER = 2
    TIMESTAMP_AT = 4  # in a value
    FIELD_TIME = 0
    FIELD_OTHERS = 1
    FIELD_FIRST = 2  # of the attributes
    NO_FIELD = -1
    BAD_FIELD = -2


cdef struct Layout:
    const uint8_t *octets
    int64_t size


cdef inline int64_t read_entry(Cursor *layout, uint8_t *kind) noexcept nogil:
    """Read a layout's entry up to its octets; return their number, -1: it is not all there."""
    cdef int64_t octets
    if layout.end - layout.at < LAYOUT_ENTRY_OCTETS:
        return -1
    kind[0] = layout.octets[layout.at]
    octets = read_u16(layout.octets + layout.at + 1)
    layout.at += LAYOUT_ENTRY_OCTETS
    return octets if octets <= layout.end - layout.at else -1


cdef int64_t read_template_number(
    const uint8_t *octets, int64_t size, Cursor *fields, int64_t *count
) noexcept nogil:
    """Return the number of a lot's version, and where and how many its fields are; -1: damaged."""
    cdef int64_t number
    fields.octets, fields.at, fields.end = octets, 0, size
    if read_array(fields) != 3 or read_number(fields) != LOT_FORMAT:
        return -1
    number = read_number(fields)
    count[0] = read_array(fields)
    return number if number >> 32 == 0 else -1


cdef bint skip_content(Cursor *source, bint is_own) noexcept nogil:
    """Go behind nothing, a text, or pieces of one; False when something else is there.

    Args:
        source: where.
        is_own: it stands as it was stored, so octets that are no text are something else.
    """
    cdef int64_t pieces = 1, octets, number
    cdef bint is_text
    if is_nil(source):
        source.at += 1
        return True
    if is_array(source):
        pieces = read_array(source)
        if pieces < 1:
            return False
    for number in range(pieces):
        is_text = source.at < source.end and not 0xC4 <= source.octets[source.at] <= 0xC6
        octets = read_piece(source)
        if octets < 0 or is_own and not is_text:
            return False
        if is_text and not is_utf8(source.octets + source.at, octets):
            return False
        source.at += octets
    return True


cdef bint skip_other(Cursor *lot) noexcept nogil:
    """Go behind one of a lot's other values: [head, content, end]; False when it is none."""
    cdef int64_t octets
    if read_array(lot) != 3:
        return False
    octets = read_binary(lot)
    if octets < VALUE_HEAD_OCTETS:
        return False
    lot.at += octets
    if is_nil(lot) or not skip_content(lot, False):
        return False
    octets = read_binary(lot)
    lot.at += octets
    return octets >= 0


cdef int64_t text_tail_octets(const uint8_t *key, int64_t octets) noexcept nogil:
    """Return how long a key's tail is, as `registry.template_rows.tail_of` finds it."""
    cdef int64_t at = octets
    while at and is_digit(key[at - 1]):
        at -= 1
    if TEXT_TAIL_OCTETS_MIN <= octets - at <= TEXT_TAIL_OCTETS_MAX:
        return octets - at
    while at and key[at - 1] != 45 and not 46 <= key[at - 1] <= 47 and (
        key[at - 1] != 58 and key[at - 1] != 95  # - . / : _
    ):
        at -= 1
    if TEXT_TAIL_OCTETS_MIN <= octets - at <= TEXT_TAIL_OCTETS_MAX:
        return octets - at
    return 0


cdef struct Filling:
    Cursor row
    int64_t differences  # that it has not said yet
    int64_t field  # that it differs in next
    int64_t time_s
    const uint8_t *tail
    int64_t tail_octets
    uint8_t *target
    int64_t at  # where the list ends so far
    int64_t values


cdef inline int64_t read_lot_number(Cursor *row, int64_t *differences) noexcept nogil:
    """Return the number of a row's lot, -1 when it does not begin like one."""
    cdef int64_t count = read_array(row)
    if count < 1 or count & 1 == 0:
        return -1
    differences[0] = (count - 1) // 2
    return read_number(row)


cdef inline void next_field(Filling *filling) noexcept nogil:
    """Read which field a row differs in next."""
    filling.field = NO_FIELD
    if filling.differences:
        filling.differences -= 1
        filling.field = read_number(&filling.row)
        if filling.field < 0:
            filling.field = BAD_FIELD


cdef inline bint write_head(
    Filling *filling, const uint8_t *octets, int64_t count
) noexcept nogil:
    """Write the beginning of a value with its timestamp; False: no room, or it is none."""
    if count < VALUE_HEAD_OCTETS or count + 4 > LIST_OCTETS_MAX - filling.at:
        return False
    memcpy(filling.target + filling.at, octets, count)
    write_u32(filling.target + filling.at + TIMESTAMP_AT, <uint32_t>filling.time_s)
    filling.at += count
    filling.values += 1
    return True


cdef bint write_data(Filling *filling, Cursor *content) noexcept nogil:
    """Write a content as counted octets; False: no room, or there is none."""
    cdef int64_t pieces = 1, octets, number, start = filling.at, at = filling.at + 4
    if is_array(content):
        pieces = read_array(content)
    for number in range(pieces):
        octets = read_piece(content)
        if octets < 0 or octets + filling.tail_octets > LIST_OCTETS_MAX - at:
            return False
        if number:
            memcpy(filling.target + at, filling.tail, filling.tail_octets)
            at += filling.tail_octets
        memcpy(filling.target + at, content.octets + content.at, octets)
        content.at += octets
        at += octets
    if at > LIST_OCTETS_MAX:
        return False
    write_u32(filling.target + start, <uint32_t>(at - start - 4))
    filling.at = at
    return True


cdef bint fill_other(Filling *filling, Cursor *lot) noexcept nogil:
    """Write one of a lot's other values: [head, content, end]; False: it cannot be."""
    cdef int64_t octets
    if read_array(lot) != 3:
        return False
    octets = read_binary(lot)
    if octets < 0 or not write_head(filling, lot.octets + lot.at, octets):
        return False
    lot.at += octets
    if is_nil(lot) or not write_data(filling, lot):
        return False
    octets = read_binary(lot)
    if octets < 0 or octets > LIST_OCTETS_MAX - filling.at:
        return False
    memcpy(filling.target + filling.at, lot.octets + lot.at, octets)
    lot.at += octets
    filling.at += octets
    return True


cdef bint fill_layout(Filling *filling, Cursor *lot, const Layout *layout) noexcept nogil:
    """Write the values of a version's layout with what row and lot have; False: it cannot be."""
    cdef Cursor entries, content
    cdef Cursor *source
    cdef const uint8_t *head
    cdef int64_t octets, attribute = FIELD_FIRST
    cdef uint8_t kind = KIND_WHOLE
    entries.octets, entries.at, entries.end = layout.octets, 0, layout.size
    while entries.at < entries.end:
        octets = read_entry(&entries, &kind)
        if octets < 0:
            return False
        head = entries.octets + entries.at
        entries.at += octets
        if kind == KIND_WHOLE:
            if not write_head(filling, head, octets):
                return False
            continue
        source = lot
        if filling.field == attribute:
            content, source = filling.row, &content
            if kind == KIND_OTHER and not is_nil(source):
                return False
            if not skip_content(lot, False) or not skip_content(&filling.row, True):
                return False
            next_field(filling)
        attribute += 1
        if is_nil(source):
            source.at += 1
            continue
        if not write_head(filling, head, octets) or not write_data(filling, source):
            return False
        if LIST_OCTETS_MAX - filling.at < 4:
            return False
        write_u32(filling.target + filling.at, 0)  # references
        filling.at += 4
    return True


cdef bint are_plain(
    Cursor *fields, int64_t count, const Layout *layout, bint is_own
) noexcept nogil:
    """Say whether the fields of a lot, all of them, can be written by its layout.

    Args:
        fields: a cursor at the first; moved.
        count: how many there are said to be.
        layout: of the lot's version.
        is_own: the lot stands as it is stored, else it is a text lot.
    """
    cdef Cursor entries
    cdef int64_t number, others, octets
    cdef uint8_t kind = KIND_WHOLE
    entries.octets, entries.at, entries.end = layout.octets, 0, layout.size
    if not 0 <= read_number(fields) <= 0x7FFFFFFF:
        return False
    others = read_array(fields)
    if others < 0 or others and is_own:
        return False
    for number in range(others):
        if not skip_other(fields):
            return False
    count -= FIELD_FIRST
    while entries.at < entries.end:
        octets = read_entry(&entries, &kind)
        if octets < VALUE_HEAD_OCTETS:
            return False
        entries.at += octets
        if kind == KIND_WHOLE:
            continue
        count -= 1
        if kind == KIND_OTHER and is_own and not is_nil(fields):
            return False
        if not skip_content(fields, is_own):
            return False
    return count == 0 and fields.at == fields.end


cdef int64_t version_of(bytes lot):
    """Return the number of a lot's version, -1 when it is damaged."""
    cdef Cursor fields
    cdef int64_t count = 0
    return read_template_number(
        <const uint8_t *>PyBytes_AS_STRING(lot), PyBytes_GET_SIZE(lot), &fields, &count
    )
