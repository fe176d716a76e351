# Rows made from templates, without Python: what the fast path needs of `registry.template_rows` and
# `template_expansion`, in C. Included by `_batch.pyx`.
#
# A row names its lot and says in what it differs from it; the lot names a version of a template.
# None of them ever changes once it is stored, so lots are kept here as they come out of the store
# (or as `registry.template_layouts` prepares them), checked once, and each version's layout. The
# list of an identifier then is written head by head, with its tail between the pieces of texts.
#
#     lots    a ring of octets: what is new is written over what is oldest; four places for each
#             number say where in the ring its lot was written
#
# Whatever is not known here, or differs in a way that is not plain, Python expands
# (`registry.template_expansion`). All lengths are signed 64-bit numbers, compared with what is
# there before use.

from registry.template_expansion import expand_rows as expand_in_python
from registry.template_layouts import make_layout, make_text_lot
from registry.template_rows import lot_key
from registry.templates import number_key
from registry.errors import RecordError

from posix.mman cimport madvise
from posix.stdlib cimport posix_memalign

cdef enum:
    TEMPLATE_ROW = 0x30  # format 3
    TEXT_TAIL_OCTETS_MIN = 3
    TEXT_TAIL_OCTETS_MAX = 64
    LOT_FORMAT = 1
    LOT_OCTETS_MAX = 16_384  # a larger one is expanded in Python
    LOTS_OCTETS_MAX = 24 * 1_048_576  # of all that are kept; 100,000 of short texts take 16 MB
    LOT_PLACES = 4  # for numbers that meet
    LOT_BUCKETS = 32_768
    LOT_ALIGNED = 16
    LOT_LINES = 3  # of the processor's cache, fetched together: most have no more
    LARGE_PAGE_OCTETS = 2 * 1_048_576
    MADV_HUGEPAGE = 14  # of Linux
    LAYOUTS_MAX = 1_024  # versions of templates; one more, and all are prepared anew
    LAYOUTS_OCTETS_MAX = 4 * 1_048_576
    LAYOUT_ENTRY_OCTETS = 3
    KIND_WHOLE = 0  # of `registry.template_layouts.EntryKind`
    KIND_TEXT = 1
    KIND_OTHER = 2
    TIMESTAMP_AT = 4  # in a value
    MSGPACK_NIL = 0xC0
    FIELD_TIME = 0
    FIELD_OTHERS = 1
    FIELD_FIRST = 2  # of the attributes
    NO_FIELD = -1
    BAD_FIELD = -2
    UNKNOWN = -1
    ABSENT = -2


cdef struct Cursor:
    const uint8_t *octets
    int64_t at
    int64_t end


cdef struct KeptLot:
    uint64_t number
    uint32_t octets  # of its fields, which follow
    int32_t layout  # -1: Python expands what is of this lot


cdef struct Layout:
    const uint8_t *octets
    int64_t size


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


@cython.final
cdef class KnownLots:
    """Lots and layouts of one store, for all batches of a process."""

    cdef uint8_t *_ring
    cdef uint64_t *_places
    cdef uint64_t _end  # octets ever written; 0 is no place
    cdef Layout _layouts[LAYOUTS_MAX]
    cdef int _layout_count
    cdef int64_t _layout_octets
    cdef dict _layout_numbers  # of versions: where their layouts are
    cdef list _layout_owners
    cdef uint8_t _tried[LIST_OCTETS_MAX]

    def __cinit__(self):
        if posix_memalign(<void **>&self._ring, LARGE_PAGE_OCTETS, LOTS_OCTETS_MAX):
            raise MemoryError
        # Pages that nothing was written to take nothing. Large ones save a walk through the
        # processor's page tables for nearly every look-up; where there are none, nothing is lost.
        madvise(self._ring, LOTS_OCTETS_MAX, MADV_HUGEPAGE)
        self._places = <uint64_t *>calloc(LOT_BUCKETS * LOT_PLACES, sizeof(uint64_t))
        if not (self._ring and self._places):
            raise MemoryError
        self._end = LOT_ALIGNED
        self._forget_layouts()

    def __dealloc__(self):
        free(self._ring)
        free(self._places)

    cdef void _forget_layouts(self):
        self._layout_numbers, self._layout_owners = {}, []
        self._layout_count, self._layout_octets = 0, 0

    cdef inline uint64_t *_bucket(self, uint64_t number) noexcept nogil:
        return self._places + (number & (LOT_BUCKETS - 1)) * LOT_PLACES

    cdef inline KeptLot *_find(self, uint64_t number) noexcept nogil:
        """Return a lot that nothing was written over yet, NULL when there is none."""
        cdef uint64_t *places = self._bucket(number)
        cdef KeptLot *lot
        cdef int place
        for place in range(LOT_PLACES):
            if places[place] and self._end - places[place] <= LOTS_OCTETS_MAX:
                lot = <KeptLot *>(self._ring + places[place] % LOTS_OCTETS_MAX)
                if lot.number == number:
                    return lot
        return NULL

    cdef void _keep(self, uint64_t number, int32_t layout, const uint8_t *fields, int64_t octets):
        """Write a lot over what is oldest; its number's oldest place leads to it."""
        cdef uint64_t *places = self._bucket(number)
        cdef int64_t need = sizeof(KeptLot) + octets
        cdef int64_t left = LOTS_OCTETS_MAX - <int64_t>(self._end % LOTS_OCTETS_MAX)
        cdef KeptLot *lot
        cdef int place, oldest = 0
        need += -need & (LOT_ALIGNED - 1)
        if need > left:
            self._end += left
        for place in range(1, LOT_PLACES):
            if places[place] < places[oldest]:
                oldest = place
        places[oldest] = self._end
        lot = <KeptLot *>(self._ring + self._end % LOTS_OCTETS_MAX)
        lot.number, lot.layout, lot.octets = number, layout, <uint32_t>octets
        if octets:
            memcpy(<uint8_t *>lot + sizeof(KeptLot), fields, octets)
        self._end += need

    def expand_rows(self, get, list keys, list rows):
        """Have Python expand those rows from templates that `fill` cannot.

        As `registry.template_expansion.expand_rows`; the lots of the others are known afterwards.
        """
        cdef int64_t numbers[BATCH_DATAGRAMS]
        cdef int64_t differences[BATCH_DATAGRAMS]
        cdef int at
        cdef list left = []
        if len(rows) > BATCH_DATAGRAMS:
            raise ValueError(f"{len(rows)} rows, {BATCH_DATAGRAMS} are a batch")
        self._touch(rows, numbers, differences)
        for at in range(<int>len(rows)):
            if numbers[at] >= 0 and not self._is_known(get, numbers[at]):
                numbers[at] = UNKNOWN
        for at in range(<int>len(rows)):
            if numbers[at] == UNKNOWN or numbers[at] >= 0 and (
                self._find(<uint64_t>numbers[at]) == NULL  # written over by those after it
                or differences[at] and not self._can_fill(keys[at], rows[at])
            ):
                left.append(at)
        if left:
            left_rows = [rows[at] for at in left]
            expand_in_python(get, [keys[at] for at in left], left_rows)
            for at, row in zip(left, left_rows):
                rows[at] = row

    cdef int _touch(self, list rows, int64_t *numbers, int64_t *differences) except -1:
        """Read which lots rows are of, and have the processor fetch these together."""
        cdef int at, place, line
        cdef Cursor source
        cdef bytes row
        cdef uint64_t *places
        for at in range(<int>len(rows)):
            numbers[at] = ABSENT
            differences[at] = 0
            if not isinstance(rows[at], bytes):
                continue
            row = <bytes>rows[at]
            source.octets, source.at = <const uint8_t *>PyBytes_AS_STRING(row), 1
            source.end = PyBytes_GET_SIZE(row)
            if source.end and source.octets[0] == TEMPLATE_ROW:
                numbers[at] = read_lot_number(&source, &differences[at])
                if numbers[at] >= 0:
                    prefetch(self._bucket(<uint64_t>numbers[at]))
        for at in range(<int>len(rows)):
            if numbers[at] >= 0:
                places = self._bucket(<uint64_t>numbers[at])
                for place in range(LOT_PLACES):
                    if places[place]:
                        for line in range(LOT_LINES):
                            prefetch(
                                self._ring + places[place] % LOTS_OCTETS_MAX + line * LINE_OCTETS
                            )
        return 0

    cdef bint _can_fill(self, bytes key, bytes row):
        return self.fill(
            <const uint8_t *>PyBytes_AS_STRING(row), PyBytes_GET_SIZE(row),
            <const uint8_t *>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), self._tried,
        ) >= 0

    cdef bint _is_known(self, get, int64_t number) except -1:
        """Say whether rows of a lot can be filled in; it is taken out of the store if need be."""
        cdef KeptLot *lot = self._find(<uint64_t>number)
        if lot == NULL:
            try:
                return self._take_in(get, number)
            except RecordError:
                return False  # Python meets it again, and leaves the row as it is
        return lot.layout >= 0

    cdef bint _take_in(self, get, int64_t number) except -1:
        """Keep a lot of the store; False when its rows are Python's to expand. Raises: RecordError.
        """
        cdef int64_t version
        cdef int32_t layout
        octets = get(lot_key(number))
        if octets is None or len(octets) > LOT_OCTETS_MAX:
            return False
        version = version_of(octets)
        template = None if version < 0 else get(number_key(version))
        if template is None:
            return False
        layout = self._layout(version, template)
        if self._keep_if_plain(number, layout, octets, True):
            return True
        octets = make_text_lot(template, octets)
        if octets is not None and len(octets) <= LOT_OCTETS_MAX:
            if self._keep_if_plain(number, layout, octets, False):
                return True
        self._keep(number, -1, NULL, 0)
        return False

    cdef bint _keep_if_plain(self, int64_t number, int32_t layout, bytes octets, bint is_own):
        """Keep a lot if all of it can be written by its layout; say whether."""
        cdef Cursor fields
        cdef int64_t count = 0, start
        read_template_number(
            <const uint8_t *>PyBytes_AS_STRING(octets), PyBytes_GET_SIZE(octets), &fields, &count
        )
        start = fields.at
        if not are_plain(&fields, count, &self._layouts[layout], is_own):
            return False
        self._keep(number, layout, fields.octets + start, fields.end - start)
        return True

    cdef int32_t _layout(self, int64_t number, bytes template) except -1:
        """Return where the layout of a version is, which is made if need be. Raises: RecordError.
        """
        cdef bytes octets
        known = self._layout_numbers.get(number)
        if known is not None:
            return known
        octets = make_layout(template)
        if (
            self._layout_count == LAYOUTS_MAX
            or self._layout_octets + PyBytes_GET_SIZE(octets) > LAYOUTS_OCTETS_MAX
        ):
            self._forget_layouts()
            memset(self._places, 0, LOT_BUCKETS * LOT_PLACES * sizeof(uint64_t))
        self._layout_owners.append(octets)
        self._layout_octets += PyBytes_GET_SIZE(octets)
        self._layouts[self._layout_count].octets = <const uint8_t *>PyBytes_AS_STRING(octets)
        self._layouts[self._layout_count].size = PyBytes_GET_SIZE(octets)
        self._layout_numbers[number] = self._layout_count
        self._layout_count += 1
        return self._layout_count - 1

    cdef int64_t fill(
        self, const uint8_t *row, int64_t size, const uint8_t *key, int64_t key_octets,
        uint8_t *target,
    ) noexcept:
        """Write the value list that a row stands for; return its octets.

        -1: its lot is not known, it is not plain, or damaged, or more than there is room for.

        Args:
            row, size: it begins with TEMPLATE_ROW.
            key, key_octets: the row's.
            target: room for LIST_OCTETS_MAX.
        """
        cdef Filling filling
        cdef Cursor lot
        cdef KeptLot *kept
        cdef int64_t number, others
        filling.row.octets, filling.row.at, filling.row.end = row, 1, size
        number = read_lot_number(&filling.row, &filling.differences)
        kept = NULL if number < 0 else self._find(<uint64_t>number)
        if kept == NULL or kept.layout < 0:
            return -1
        lot.octets, lot.at, lot.end = <const uint8_t *>kept + sizeof(KeptLot), 0, kept.octets
        filling.target, filling.at, filling.values = target, 4, 0
        filling.tail_octets = text_tail_octets(key, key_octets)
        filling.tail = key + key_octets - filling.tail_octets
        filling.time_s = read_number(&lot)
        next_field(&filling)
        if filling.field == FIELD_TIME:
            filling.time_s = read_number(&filling.row)
            next_field(&filling)
        if not 0 <= filling.time_s <= 0x7FFFFFFF or filling.field == FIELD_OTHERS:
            return -1
        others = read_array(&lot)
        for number in range(others):
            if not fill_other(&filling, &lot):
                return -1
        if not fill_layout(&filling, &lot, &self._layouts[kept.layout]):
            return -1
        # What it differs in besides is in no field, or not in order.
        if filling.field != NO_FIELD or filling.row.at != size:
            return -1
        write_u32(target, <uint32_t>filling.values)
        if skip_public(target, 0, filling.at, &others) != filling.at:
            return -1
        return filling.at
