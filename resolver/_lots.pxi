# Lots and layouts of templates as a process keeps them, for `_templates.pxi`. Included by
# `_batch.pyx`.
#
# Neither ever changes once it is stored, so lots are kept as they come out of the store, or as
# `registry.template_layouts` prepares them.
#
#     lots    a ring of octets: what is new is written over what is oldest; four places for each
#             number say where in the ring a lot was written, and 16 bits of whose it is
#
# Rows of a lot that is not plain, or that differ in a way that is not, Python expands
# (`registry.template_expansion`).

from registry.errors import RecordError
from registry.template_expansion import expand_rows as expand_in_python
from registry.template_layouts import make_layout, make_text_lot
from registry.template_rows import lot_key
from registry.templates import number_key

from posix.mman cimport madvise
from posix.stdlib cimport posix_memalign

cdef enum:
    LOT_OCTETS_MAX = 16_384  # a larger one is expanded in Python
    LOTS_OCTETS_MAX = 24 * 1_048_576  # of all that are kept; 100,000 of short texts take 16 MB
    LOT_PLACES = 4  # for numbers that meet
    LOT_BUCKETS = 32_768
    LOT_ALIGNED = 16
    PLACE_BITS = 48  # of octets ever written, in a place; the others are of a number
    LOT_LINES = 3  # of the processor's cache, fetched together: most have no more
    LARGE_PAGE_OCTETS = 2 * 1_048_576
    MADV_HUGEPAGE = 14  # of Linux
    LAYOUTS_MAX = 1_024  # versions of templates; one more, and all are prepared anew
    LAYOUTS_OCTETS_MAX = 4 * 1_048_576
    UNKNOWN = -1
    ABSENT = -2


cdef struct KeptLot:
    uint64_t number
    uint32_t octets  # of its fields, which follow
    int32_t layout  # -1: Python expands what is of this lot


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

    cdef inline KeptLot *_at(self, uint64_t place, uint64_t number) noexcept nogil:
        """Return what a place leads to, if it may be a number's and nothing was written over it."""
        cdef uint64_t at = place & ((<uint64_t>1 << PLACE_BITS) - 1)
        if place == 0 or place >> PLACE_BITS != number // LOT_BUCKETS & 0xFFFF:
            return NULL
        if self._end - at > LOTS_OCTETS_MAX:
            return NULL
        return <KeptLot *>(self._ring + at % LOTS_OCTETS_MAX)

    cdef inline KeptLot *_find(self, uint64_t number) noexcept nogil:
        """Return a lot that nothing was written over yet, NULL when there is none."""
        cdef uint64_t *places = self._bucket(number)
        cdef KeptLot *lot
        cdef int place
        for place in range(LOT_PLACES):
            lot = self._at(places[place], number)
            if lot != NULL and lot.number == number:
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
            if places[place] << (64 - PLACE_BITS) < places[oldest] << (64 - PLACE_BITS):
                oldest = place
        places[oldest] = self._end | (number // LOT_BUCKETS & 0xFFFF) << PLACE_BITS
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
        cdef KeptLot *lot
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
                    lot = self._at(places[place], <uint64_t>numbers[at])
                    if lot != NULL:
                        for line in range(LOT_LINES):
                            prefetch(<uint8_t *>lot + line * LINE_OCTETS)
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
