# Counting look-ups for statistics, without Python: by what is counted under (`registry.counters`)
# and by who asks for it, added up from batch to batch until they are taken. Included by `_batch.pyx`.
#
# Both are hash tables with open addressing. A batch looks up each of its names once. A look-up is
# noted as a pair of name and source, one behind the other, and some hundred of them are put into
# the table at once: its memory is cold where a batch has just gone through a store, and so one waits
# for many places together. How many were received under a name is the sum of its pairs. Sources are
# 16 octets, IPv4 addresses as they are mapped into IPv6, all zeros when nobody knows. The seed is
# random: nobody can choose addresses that meet in one place.

cdef enum:
    COUNTED_NAMES = 1_024
    NAME_PLACES = 4_096
    COUNTED_PAIRS = 4_096
    PAIR_PLACES = 8_192
    PAIRS_WAITING = 1_024
    NAME_OCTETS_MAX = 400  # of `registry.counters`
    KEY_HEAD_OCTETS = 478  # of `registry.schema`


cdef struct Source:
    uint64_t high
    uint64_t low


cdef struct Pair:
    Source source
    uint32_t queries  # 0: no pair; they are taken every second
    int32_t name  # its position among the names


cdef inline uint64_t mix(uint64_t number) noexcept nogil:
    number ^= number >> 32
    number *= <uint64_t>0x9E3779B97F4A7C15
    return number ^ (number >> 29)


cdef inline Source source_of(const uint8_t *octets, int64_t count) noexcept nogil:
    """Return the source of an address of 4 or 16 octets; of any other it is not known."""
    cdef Source source
    cdef uint8_t *target = <uint8_t *>&source
    memset(target, 0, sizeof(Source))
    if count == 4:
        target[10] = target[11] = 0xFF
        memcpy(target + 12, octets, 4)
    elif count == 16:
        memcpy(target, octets, 16)
    return source


cdef inline Source sender_of(const sockaddr_storage *address) noexcept nogil:
    """Return the source of a datagram."""
    if address.ss_family == AF_INET6:
        return source_of(<const uint8_t *>&(<const sockaddr_in6 *>address).sin6_addr, 16)
    return source_of(<const uint8_t *>&(<const sockaddr_in *>address).sin_addr, 4)


@cython.final
cdef class Counts:
    """Look-ups by name and by source, since they were last taken."""

    cdef uint64_t seed
    cdef list names
    cdef int known  # how many names there are
    cdef int paired
    cdef int32_t places[NAME_PLACES]  # positions among the names, plus 1
    cdef int64_t answered[COUNTED_NAMES]
    cdef Pair *pairs
    cdef int waiting  # how many are noted and not in the table
    cdef Pair noted[PAIRS_WAITING]

    def __cinit__(self, uint64_t seed):
        self.seed = seed
        self.pairs = <Pair *>calloc(PAIR_PLACES, sizeof(Pair))
        if not self.pairs:
            raise MemoryError
        self._clear()

    def __dealloc__(self):
        free(self.pairs)

    cdef void _clear(self):
        self.names = []
        self.known = self.paired = self.waiting = 0
        memset(self.places, 0, sizeof(self.places))
        memset(self.pairs, 0, PAIR_PLACES * sizeof(Pair))

    cdef bint is_full(self) noexcept:
        """Say whether one batch more might not fit."""
        return (
            self.known > COUNTED_NAMES - BATCH_DATAGRAMS
            or self.paired + self.waiting > COUNTED_PAIRS - BATCH_DATAGRAMS
        )

    cdef inline bint _is(self, int at, const char *name, int64_t octets):
        cdef bytes known = <bytes>self.names[at]
        return PyBytes_GET_SIZE(known) == octets and not memcmp(
            PyBytes_AS_STRING(known), name, octets
        )

    cdef int find(self, const char *name, int64_t octets) except -1:
        """Return the position of a name, which is added when it is new."""
        cdef uint64_t hashed = self.seed
        cdef int64_t number
        cdef int place
        for number in range(octets):
            hashed = (hashed ^ <uint8_t>name[number]) * <uint64_t>0x100000001B3
        place = <int>(mix(hashed) & (NAME_PLACES - 1))
        while self.places[place]:
            if self._is(self.places[place] - 1, name, octets):
                return self.places[place] - 1
            place = (place + 1) & (NAME_PLACES - 1)
        self.names.append(PyBytes_FromStringAndSize(name, octets))
        self.answered[self.known] = 0
        self.known += 1
        self.places[place] = <int32_t>self.known
        return self.known - 1

    cdef void add(self, int name, Source source, bint answered) noexcept:
        """Count a look-up under the name at a position, by who asked."""
        cdef Pair *pair = self.noted + (self.waiting - 1)  # mostly the next one too
        self.answered[name] += answered
        if self.waiting:
            if pair.name == name and is_same(pair.source, source):
                pair.queries += 1
                return
            if self.waiting == PAIRS_WAITING:
                self._settle()
        pair = self.noted + self.waiting
        pair.source, pair.queries, pair.name = source, 1, <int32_t>name
        self.waiting += 1

    cdef void _settle(self) noexcept:
        """Put what was noted into the table."""
        cdef int at
        cdef uint64_t place
        cdef Pair *pair
        cdef Pair *noted
        for at in range(self.waiting):
            noted = self.noted + at
            place = mix(
                mix(noted.source.high ^ self.seed) ^ noted.source.low ^ (<uint64_t>noted.name << 17)
            )
            while True:
                pair = self.pairs + (place & (PAIR_PLACES - 1))
                if pair.queries == 0:
                    pair[0] = noted[0]
                    self.paired += 1
                    break
                if pair.name == noted.name and is_same(pair.source, noted.source):
                    pair.queries += noted.queries
                    break
                place += 1
        self.waiting = 0

    cdef dict take(self):
        """Return {name: (answered, {source: queries})}, and begin anew."""
        cdef int at
        cdef Pair *pair
        cdef list sources = [{} for at in range(self.known)]
        self._settle()
        for at in range(PAIR_PLACES if self.paired else 0):
            pair = self.pairs + at
            if pair.queries:
                (<dict>sources[pair.name])[octets_of(&pair.source)] = pair.queries
        taken = {self.names[at]: (self.answered[at], sources[at]) for at in range(self.known)}
        if self.known:
            self._clear()
        return taken


cdef inline bint is_same(Source one, Source other) noexcept nogil:
    return one.low == other.low and one.high == other.high


cdef bytes octets_of(Source *source):
    """Return the 4 octets of an IPv4 address, the 16 of another, none when it is not known."""
    cdef const uint8_t *octets = <const uint8_t *>source
    if source.high == 0:
        if source.low == 0:
            return b""
        if octets[8] == 0 and octets[9] == 0 and octets[10] == 0xFF and octets[11] == 0xFF:
            return PyBytes_FromStringAndSize(<const char *>octets + 12, 4)
    return PyBytes_FromStringAndSize(<const char *>octets, 16)


cdef int64_t counted_octets(const char *key, int64_t octets, int64_t prefix_octets) noexcept:
    """Return how much of a key it is counted under, 0: the root (`registry.counters`)."""
    cdef int64_t at
    if prefix_octets != 4 or memcmp(key, b"0.NA", 4) != 0:
        return min(prefix_octets, <int64_t>NAME_OCTETS_MAX)
    if octets == 9 and memcmp(key, b"0.NA/0.NA", 9) == 0:
        return 0
    at = min(octets, <int64_t>KEY_HEAD_OCTETS) - 1
    while at >= PREFIX_START_OCTETS:
        if key[at] == 46:  # the last dot
            return min(at, <int64_t>NAME_OCTETS_MAX)
        at -= 1
    return 0
