# Touching the pages of an LMDB file before they are asked for. Included by `_batch.pyx`.
#
# A look-up in a large store waits for memory some twenty times, one after another: most of what it
# costs. Here the keys of a batch go down the tree together, each a step at a time, and what the
# next step needs is fetched into the processor's cache meanwhile. Nothing is taken from it: the
# look-up that counts is py-lmdb's, afterwards, in its own transaction. A writer may reuse a page
# under our eyes, so whatever is read here may be nonsense: every page number is compared with the
# file's length, every offset with the page's, and a wrong one ends the walk of that key. Keys that
# have no row then go down the tree of the ranges in the same way, to the first key behind them.
#
#     page    u64 number, u16, u16 flags, u16 end of offsets (or u32 pages), u16, u16 offsets...
#     node    u16 u16 data octets (u48 page number in a branch), u16 flags, u16 key octets, key, data
#     meta    page head, u32 magic, u32 version, u64, u64, two databases, u64 last page, u64 txn
#     database  u32 page octets, u16, u16 depth, u64 u64 u64 u64 counts, u64 root
#
# (LMDB 0.9's file format, data version 1, on 64-bit machines.)

from posix.stat cimport fstat, struct_stat
from posix.unistd cimport close

cdef extern from * nogil:
    """
    /* Each is read one time: what is compared with a bound is what is used. */
    static inline uint16_t load_u16(const uint8_t *at) { return *(const volatile uint16_t *)at; }
    static inline uint32_t load_u32(const uint8_t *at) { return *(const volatile uint32_t *)at; }
    static inline uint64_t load_u64(const uint8_t *at) { return *(const volatile uint64_t *)at; }
    """
    uint16_t load_u16(const uint8_t *at)
    uint32_t load_u32(const uint8_t *at)
    uint64_t load_u64(const uint8_t *at)
    void prefetch "__builtin_prefetch" (const void *address)

cdef enum:
    PAGE_HEAD_OCTETS = 16
    PAGE_BRANCH = 1
    PAGE_LEAF = 2
    NODE_HEAD_OCTETS = 8
    NODE_ELSEWHERE = 1  # its data stand on pages of their own
    META_OCTETS = 136
    META_MAIN_AT = 72
    META_TXN_AT = 128
    DATABASE_OCTETS = 48
    DATABASE_ROOT_AT = 40
    DATA_VERSION = 1
    LINE_OCTETS = 64
    LINES_MAX = 16  # of a row: what is longer is read in one go anyway
    STEPS_MAX = 512  # of a walk, levels and probes: in a damaged file it ends too
    LEVELS_MAX = 12

cdef uint32_t META_MAGIC = 0xBEEFC0DE
cdef uint64_t NO_PAGE = <uint64_t>-1


cdef struct Guess:
    uint8_t *key
    int64_t octets  # 0: none was seen


cdef struct Walk:
    const uint8_t *key
    int64_t key_octets
    const uint8_t *page
    int low
    int high
    int levels
    bint begins  # a page: its head is not read yet
    bint found  # its key is there
    Guess *guess  # of a walk to the nearest: where to write its key


@cython.final
cdef class MappedPages:
    """An LMDB file as this process has it mapped.

    Args:
        start: the address of the mapping.
        octets: its length.
        fileno: of the same file, for its length; closed with this.
        database: the name of the database within it, empty for the unnamed one.
    """

    cdef const uint8_t *_start
    cdef int64_t _octets
    cdef int _fileno
    cdef bytes _database
    cdef const uint8_t *_name
    cdef int64_t _name_octets
    cdef int64_t _page_octets
    cdef int64_t _pages

    def __cinit__(self, size_t start, int64_t octets, int fileno, bytes database):
        self._start = <const uint8_t *>start
        self._octets = octets
        self._fileno = fileno
        self._database = database
        self._name = <const uint8_t *>PyBytes_AS_STRING(database)
        self._name_octets = PyBytes_GET_SIZE(database)
        self._page_octets = self._pages = 0

    def __dealloc__(self):
        close(self._fileno)

    cdef bint _measure(self) noexcept nogil:
        """Take the file's length; False when it is no LMDB file that is known here."""
        cdef struct_stat status
        cdef const uint8_t *meta = self._start + PAGE_HEAD_OCTETS
        if fstat(self._fileno, &status) or min(<int64_t>status.st_size, self._octets) < 8_192:
            return False
        if load_u32(meta) != META_MAGIC:
            return False
        if load_u32(meta + 4) & 0xFFFF != DATA_VERSION:
            return False
        self._page_octets = load_u32(meta + 24)
        if not 512 <= self._page_octets <= 65_536:
            return False
        self._pages = min(<int64_t>status.st_size, self._octets) // self._page_octets
        if self._pages <= 2:
            self._pages = 0  # not even both meta pages, or no tree yet: look again next time
        return self._pages > 0

    cdef inline const uint8_t *_page(self, uint64_t number) noexcept nogil:
        """Return a page's address, NULL when the file has no such page as far as is known."""
        if number < 2 or number >= <uint64_t>self._pages:
            self._pages = 0  # the file has grown, or this is nonsense: look before the next batch
            return NULL
        return self._start + <int64_t>number * self._page_octets

    cdef const uint8_t *_root(self) noexcept nogil:
        """Return the page where the tree begins, as of the newest commit; NULL: not known."""
        cdef const uint8_t *meta = self._start + PAGE_HEAD_OCTETS
        cdef const uint8_t *other = meta + self._page_octets
        cdef const uint8_t *database
        if load_u64(other + META_TXN_AT) > load_u64(meta + META_TXN_AT):
            meta = other
        database = meta + META_MAIN_AT
        if self._name_octets:
            database = self._named(self._page(load_u64(database + DATABASE_ROOT_AT)))
            if database == NULL:
                return NULL
        if load_u64(database + DATABASE_ROOT_AT) == NO_PAGE:
            return NULL  # an empty database
        return self._page(load_u64(database + DATABASE_ROOT_AT))

    cdef bint has_rows(self) noexcept nogil:
        """Say whether there is anything to touch in the database."""
        if (self._page_octets == 0 or self._pages == 0) and not self._measure():
            return False
        return self._root() != NULL

    cdef const uint8_t *_named(self, const uint8_t *page) noexcept nogil:
        """Return the named database's description, which stands on the one leaf of the main one."""
        cdef int number, count
        cdef const uint8_t *node
        cdef int64_t octets = self._name_octets, key_octets = 0
        if page == NULL or not load_u16(page + 10) & PAGE_LEAF:
            return NULL
        count = self._count(page)
        for number in range(count):
            node = self._node(page, number, &key_octets)
            if node == NULL:
                return NULL
            if key_octets == octets and not memcmp(node + 8, self._name, octets):
                node += NODE_HEAD_OCTETS + octets
                return node if node + DATABASE_OCTETS <= page + self._page_octets else NULL
        return NULL

    cdef inline int _count(self, const uint8_t *page) noexcept nogil:
        cdef int64_t end = load_u16(page + 12)
        if end < PAGE_HEAD_OCTETS or end > self._page_octets:
            return 0
        return <int>((end - PAGE_HEAD_OCTETS) // 2)

    cdef inline const uint8_t *_node(
        self, const uint8_t *page, int number, int64_t *key_octets
    ) noexcept nogil:
        """Return a node whose head and key are within its page, NULL when they are not."""
        cdef int64_t at = load_u16(page + PAGE_HEAD_OCTETS + 2 * number)
        if at < PAGE_HEAD_OCTETS or at > self._page_octets - NODE_HEAD_OCTETS:
            return NULL
        key_octets[0] = load_u16(page + at + 6)
        if at + NODE_HEAD_OCTETS + key_octets[0] > self._page_octets:
            return NULL
        return page + at

    cdef int touch(self, Walk *walks, int count, bint nearest=False) noexcept nogil:
        """Have the processor fetch what looking up these keys will read; return how many it found.

        With `nearest` a key that is not there is looked up as well: the one behind it; where each
        walk's guess points to, what was found is written, no more octets than its key has.
        """
        cdef int number, steps, active = count, found = 0
        cdef const uint8_t *root
        if self._page_octets == 0 or self._pages == 0:
            if not self._measure():
                return 0
        root = self._root()
        for number in range(count):
            walks[number].page = root
            walks[number].levels = LEVELS_MAX
            walks[number].begins = True
            walks[number].found = False
        if root == NULL:
            return 0
        for steps in range(STEPS_MAX):
            if not active:
                break
            active = 0
            for number in range(count):
                if walks[number].page != NULL:
                    found += self._step(&walks[number], nearest)
                    active += 1
        return found

    cdef inline bint _step(self, Walk *walk, bint nearest) noexcept nogil:
        """Read a page's head, or compare with one of its keys; True when it is the one asked for.
        """
        cdef const uint8_t *page = walk.page
        cdef const uint8_t *node
        cdef int flags = load_u16(page + 10), middle, order
        cdef int64_t octets = 0
        if walk.begins:
            walk.begins = False
            walk.low = 1 if flags & PAGE_BRANCH else 0
            walk.high = self._count(page) - 1
            if not flags & (PAGE_BRANCH | PAGE_LEAF) or walk.high < 0:
                walk.page = NULL
                return False
        else:
            middle = (walk.low + walk.high) >> 1
            node = self._node(page, middle, &octets)
            if node == NULL:
                walk.page = NULL
                return False
            order = memcmp(walk.key, node + NODE_HEAD_OCTETS, min(octets, walk.key_octets))
            if order == 0 and octets == walk.key_octets and flags & PAGE_LEAF:
                self._fetch_row(page, node, node + NODE_HEAD_OCTETS + octets)
                if nearest:
                    self._note(walk, node, octets)
                walk.page = NULL
                walk.found = True
                return True
            if order > 0 or order == 0 and walk.key_octets >= octets:
                walk.low = middle + 1
            else:
                walk.high = middle - 1
        if walk.low > walk.high:
            if nearest and flags & PAGE_LEAF:
                walk.found = self._fetch_behind(walk)
                walk.page = NULL
                return walk.found
            self._descend(walk, flags)
        else:
            node = page + load_u16(
                page + PAGE_HEAD_OCTETS + 2 * ((walk.low + walk.high) >> 1)
            )
            prefetch(node)
            prefetch(node + LINE_OCTETS // 2)
        return False

    cdef inline void _descend(self, Walk *walk, int flags) noexcept nogil:
        cdef const uint8_t *node
        cdef const uint8_t *page = NULL
        cdef int64_t octets = 0
        walk.levels -= 1
        if flags & PAGE_BRANCH and walk.levels:
            node = self._node(walk.page, walk.low - 1, &octets)
            if node != NULL:
                page = self._page(
                    <uint64_t>load_u32(node)
                    | <uint64_t>load_u16(node + 4) << 32
                )
        if page != NULL:
            prefetch(page)
            prefetch(page + LINE_OCTETS)
            prefetch(page + 2 * LINE_OCTETS)
        walk.page = page
        walk.begins = True

    cdef bint _fetch_behind(self, Walk *walk) noexcept nogil:
        """Fetch the row that comes behind a key on its leaf; False: it is on another page."""
        cdef int64_t octets = 0
        cdef const uint8_t *node = NULL
        if walk.low < self._count(walk.page):
            node = self._node(walk.page, walk.low, &octets)
        if node == NULL:
            return False
        self._fetch_row(walk.page, node, node + NODE_HEAD_OCTETS + octets)
        self._note(walk, node, octets)
        return True

    cdef inline void _note(self, Walk *walk, const uint8_t *node, int64_t octets) noexcept nogil:
        """Write down the key of a node on its page; only one as long as what is sought matters."""
        if octets == walk.key_octets:
            memcpy(walk.guess.key, node + NODE_HEAD_OCTETS, octets)
            walk.guess.octets = octets

    cdef void _fetch_row(
        self, const uint8_t *page, const uint8_t *node, const uint8_t *data
    ) noexcept nogil:
        cdef int64_t octets = load_u32(node), line
        if load_u16(node + 4) & NODE_ELSEWHERE:
            if data + 8 > page + self._page_octets:
                return
            data = self._page(load_u64(data))
            if data == NULL:
                return
        for line in range(min(octets // LINE_OCTETS + 1, <int64_t>LINES_MAX)):
            prefetch(data + line * LINE_OCTETS)
