# Counting look-ups for statistics, without Python: by what is counted under (`registry.counters`)
# and by who asks, added up from batch to batch until they are taken. Included by `_batch.pyx`.
#
# Both are hash tables with open addressing, so what a look-up costs is two short walks. Sources are
# 16 octets, IPv4 addresses as they are mapped into IPv6. The seed is random: nobody can choose
# addresses that meet in one place.

cdef enum:
    COUNTED_NAMES = 1_024
    NAME_PLACES = 4_096
    COUNTED_SOURCES = 4_096
    SOURCE_PLACES = 8_192
    NAME_OCTETS_MAX = 400  # of `registry.counters`
    KEY_HEAD_OCTETS = 478  # of `registry.schema`


cdef struct Asker:
    uint64_t high
    uint64_t low
    int64_t queries  # 0: nobody


cdef inline uint64_t mix(uint64_t number) noexcept nogil:
    number ^= number >> 32
    number *= <uint64_t>0x9E3779B97F4A7C15
    return number ^ (number >> 29)


@cython.final
cdef class Counts:
    """Look-ups by name and by source, since they were last taken."""

    cdef uint64_t seed
    cdef list names
    cdef int known  # how many names there are
    cdef int askers
    cdef int32_t places[NAME_PLACES]  # positions among the names, plus 1
    cdef int64_t received[COUNTED_NAMES]
    cdef int64_t answered[COUNTED_NAMES]
    cdef Asker *sources
    cdef Asker *latest  # who asked last: mostly the next one too

    def __cinit__(self, uint64_t seed):
        self.seed = seed
        self.sources = <Asker *>calloc(SOURCE_PLACES, sizeof(Asker))
        if not self.sources:
            raise MemoryError
        self._clear()

    def __dealloc__(self):
        free(self.sources)

    cdef void _clear(self):
        self.names = []
        self.known = self.askers = 0
        self.latest = NULL
        memset(self.places, 0, sizeof(self.places))
        memset(self.sources, 0, SOURCE_PLACES * sizeof(Asker))

    cdef bint is_full(self) noexcept:
        """Say whether one batch more might not fit."""
        return (
            self.known > COUNTED_NAMES - BATCH_DATAGRAMS
            or self.askers > COUNTED_SOURCES - BATCH_DATAGRAMS
        )

    cdef int name(
        self, const char *name, int64_t octets, int64_t received, int64_t answered
    ) except -1:
        """Count look-ups under a name."""
        cdef int at = self._find(name, octets)
        self.received[at] += received
        self.answered[at] += answered
        return 0

    cdef inline bint _is(self, int at, const char *name, int64_t octets):
        cdef bytes known = <bytes>self.names[at]
        return PyBytes_GET_SIZE(known) == octets and not memcmp(
            PyBytes_AS_STRING(known), name, octets
        )

    cdef int _find(self, const char *name, int64_t octets) except -1:
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
        self.received[self.known] = self.answered[self.known] = 0
        self.known += 1
        self.places[place] = <int32_t>self.known
        return self.known - 1

    cdef void source(self, sockaddr_storage *address) noexcept:
        """Count a look-up by who asked."""
        cdef uint64_t parts[2]
        cdef uint8_t *octets = <uint8_t *>parts
        cdef Asker *asker
        cdef uint64_t place
        if address.ss_family == AF_INET6:
            memcpy(octets, &(<sockaddr_in6 *>address).sin6_addr, 16)
        else:
            memset(octets, 0, 10)
            octets[10] = octets[11] = 0xFF
            memcpy(octets + 12, &(<sockaddr_in *>address).sin_addr, 4)
        if self.latest and self.latest.low == parts[1] and self.latest.high == parts[0]:
            self.latest.queries += 1
            return
        place = mix(mix(parts[0] ^ self.seed) ^ parts[1])
        while True:
            asker = self.sources + (place & (SOURCE_PLACES - 1))
            if asker.queries == 0:
                asker.high, asker.low = parts[0], parts[1]
                self.askers += 1
                break
            if asker.low == parts[1] and asker.high == parts[0]:
                break
            place += 1
        asker.queries += 1
        self.latest = asker

    cdef tuple take(self):
        """Return [(name, received, answered)] and {source: queries}, and begin anew."""
        cdef int at
        cdef dict sources = {}
        cdef list names = [
            (self.names[at], self.received[at], self.answered[at]) for at in range(self.known)
        ]
        for at in range(SOURCE_PLACES if self.askers else 0):
            if self.sources[at].queries:
                sources[self._address(self.sources + at)] = self.sources[at].queries
        if self.known or self.askers:
            self._clear()
        return names, sources

    cdef bytes _address(self, Asker *asker):
        """Return the 4 octets of an IPv4 address, the 16 of another."""
        cdef uint8_t octets[16]
        cdef int at
        memcpy(octets, &asker.high, 8)
        memcpy(octets + 8, &asker.low, 8)
        for at in range(12):
            if octets[at] != (0 if at < 10 else 0xFF):
                return PyBytes_FromStringAndSize(<const char *>octets, 16)
        return PyBytes_FromStringAndSize(<const char *>octets + 12, 4)


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
