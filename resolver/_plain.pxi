# Taking datagrams and rows apart, without Python: `plain_rows` and `batch_python` in C. Included by
# `_batch.pyx`. All lengths are signed 64-bit numbers, compared with what is there before use.

cdef enum:
    BATCH_DATAGRAMS = 64
    # Room for the longest datagram and some more, so that the beginnings of the buffers, all that
    # is usually touched of them, do not fall on the same lines of the processor's cache.
    ARRIVED_STRIDE = 65_536 + 9 * 64
    ENVELOPE_OCTETS = 20
    HEADER_OCTETS = 24
    HANDLE_AT = 48  # envelope, header, length of the handle
    REQUEST_OCTETS_MIN = 57  # a handle of one octet and two empty filters
    DATAGRAM_OCTETS = 512
    PIECE_OCTETS = 492
    PIECES_MAX = 64  # of one answer; longer ones are the readable path's
    SLOTS = 512  # datagrams sent for one batch
    KEY_OCTETS_MAX = 511
    PREFIX_START_OCTETS = 5  # "0.NA/"
    VALUE_HEAD_OCTETS = 14
    RECORD_PUBLIC = 0x10  # format 1, public values only
    RECORD_PRIVATE = 0x11
    CACHE_FORMAT = 1
    CACHE_STALE = 0x1
    CACHE_HEAD_OCTETS = 12
    PUBLIC_READ = 0x2
    OPCODE_RESOLUTION = 1
    CODE_SUCCESS = 1
    CODE_PROTOCOL_ERROR = 4
    CODE_NOT_FOUND = 100
    VERSION_MAJOR = 2
    VERSION_MINOR = 10
    EXPIRY_S = 43_200
    MESSAGE_OCTETS_MAX = 262_144
    NOT_REGISTERED_OCTETS = 18
    LIE_WORDS_OCTETS = 64  # room for what is said of a length that does not fit

cdef enum:
    FLAG_CERTIFY = 0x40000000
    FLAG_ENCRYPT = 0x20000000
    FLAG_RECURSIVE = 0x10000000
    FLAG_CACHE_CERTIFY = 0x08000000
    FLAG_PUBLIC_ONLY = 0x01000000
    FLAG_REQUEST_DIGEST = 0x00800000
    FLAG_DO_NOT_REFER = 0x00100000

cdef uint32_t FLAG_AUTHORITATIVE = 0x80000000
cdef uint32_t COPIED = FLAG_ENCRYPT | FLAG_CACHE_CERTIFY | FLAG_PUBLIC_ONLY | FLAG_DO_NOT_REFER

# What a batch takes, for those who load one themselves.
DATAGRAMS_MAX = BATCH_DATAGRAMS


cdef struct Question:
    const uint8_t *octets
    int64_t size
    int64_t handle_octets
    int64_t prefix_octets
    int key  # its position among the keys asked for, -1: declined
    int prefix  # its position among the prefixes asked for
    bint silent  # no message at all: nothing is answered
    const char *lying  # what announces more octets than there are, NULL: nothing does
    int64_t announced
    int64_t remaining


cdef struct Found:
    uint32_t code
    const uint8_t *words  # of a success its value list; NULL: that the handle is not registered
    int64_t octets


cdef const char *NOT_REGISTERED = b" is not registered"


cdef inline uint32_t read_u32(const uint8_t *at) noexcept nogil:
    return (<uint32_t>at[0] << 24) | (<uint32_t>at[1] << 16) | (<uint32_t>at[2] << 8) | at[3]


cdef inline int64_t read_i32(const uint8_t *at) noexcept nogil:
    return <int32_t>read_u32(at)


cdef inline int64_t read_u16(const uint8_t *at) noexcept nogil:
    return (<int64_t>at[0] << 8) | at[1]


cdef inline void write_u32(uint8_t *at, uint32_t number) noexcept nogil:
    at[0] = <uint8_t>(number >> 24)
    at[1] = <uint8_t>(number >> 16)
    at[2] = <uint8_t>(number >> 8)
    at[3] = <uint8_t>number


cdef inline void fold(uint8_t *target, const uint8_t *octets, int64_t count) noexcept nogil:
    cdef int64_t at
    cdef uint8_t octet
    for at in range(count):
        octet = octets[at]
        target[at] = octet - 32 if 97 <= octet <= 122 else octet


cdef bint is_plain_head(const uint8_t *octets, int64_t size, bint cached) noexcept nogil:
    """Say whether envelope and header are those of a plain look-up in one datagram."""
    cdef uint32_t refused = FLAG_CERTIFY | FLAG_REQUEST_DIGEST
    if size < REQUEST_OCTETS_MIN or octets[0] != VERSION_MAJOR:
        return False
    if octets[2] != 0 and octets[2] != VERSION_MAJOR:
        return False
    if read_u32(octets + 4) or read_u32(octets + 12):
        return False
    if read_i32(octets + 16) != size - ENVELOPE_OCTETS:
        return False
    if cached:
        refused |= FLAG_AUTHORITATIVE  # passes every cache by
    return (
        read_u32(octets + 20) == OPCODE_RESOLUTION
        and read_u32(octets + 24) == 0
        and not read_u32(octets + 28) & refused
    )


cdef int64_t plain_handle_octets(const uint8_t *octets, int64_t size) noexcept nogil:
    """Return the length of the handle when nothing else is asked and all lengths fit, else 0."""
    cdef int64_t body = read_i32(octets + 40)
    cdef int64_t handle = read_i32(octets + 44)
    cdef int64_t rest = size - ENVELOPE_OCTETS - HEADER_OCTETS - body
    if body < 0 or rest < 0 or handle < 1 or body != handle + 12:
        return 0
    if read_u32(octets + HANDLE_AT + handle) or read_u32(octets + HANDLE_AT + handle + 4):
        return 0
    if rest and (rest < 4 or read_i32(octets + size - rest) != rest - 4):
        return 0
    return handle


cdef void find_lie(Question *question) noexcept nogil:
    """Note which length of a plain head's request does not fit: the first that a reader meets."""
    cdef const uint8_t *octets = question.octets
    cdef int64_t after_head = question.size - ENVELOPE_OCTETS - HEADER_OCTETS
    cdef int64_t body = read_i32(octets + 40), rest = after_head - body
    if body < 0:
        question.silent = True  # its header cannot be read
    elif rest < 0:
        question.lying, question.announced, question.remaining = b"body", body, after_head
    elif body >= 4 and (
        rest == 0 or rest >= 4 and read_i32(octets + question.size - rest) == rest - 4
    ):
        question.announced, question.remaining = read_i32(octets + 44), body - 4
        if question.announced < 0 or question.announced > question.remaining:
            question.lying = b"handle"


cdef bint read_question(Question *question, bint cached) noexcept nogil:
    """Take a datagram apart; False: it is silent, lying, or the readable path's."""
    cdef int64_t at
    cdef const uint8_t *handle = question.octets + HANDLE_AT
    question.lying = NULL
    question.silent = False
    if not is_plain_head(question.octets, question.size, cached):
        question.silent = is_no_message(question.octets, question.size)
        return False
    question.handle_octets = plain_handle_octets(question.octets, question.size)
    if question.handle_octets == 0:
        find_lie(question)
        return False
    if question.handle_octets > KEY_OCTETS_MAX:
        return False
    for at in range(question.handle_octets):
        if handle[at] == 47:  # the slash
            question.prefix_octets = at
            return 0 < at <= KEY_OCTETS_MAX - PREFIX_START_OCTETS
    return False


cdef bint is_no_message(const uint8_t *octets, int64_t size) noexcept nogil:
    """Say whether a datagram is neither a message nor a piece of one (`protocol.framing`)."""
    cdef int64_t length, sequence, start
    if size < ENVELOPE_OCTETS:
        return True
    sequence, length = read_i32(octets + 12), read_i32(octets + 16)
    if not 0 <= length <= MESSAGE_OCTETS_MAX or sequence < 0:
        return True
    start = sequence * PIECE_OCTETS
    if sequence == 0 and size - ENVELOPE_OCTETS == length:
        return False
    return start >= length or size - ENVELOPE_OCTETS != min(<int64_t>PIECE_OCTETS, length - start)


cdef bint is_shown_as_it_is(const Question *question) noexcept nogil:
    """Say whether words may name the handle as it came, and no ancestor may answer instead."""
    cdef const uint8_t *handle = question.octets + HANDLE_AT
    cdef int64_t at
    cdef uint8_t prefix[4]
    if question.prefix_octets == 4:
        fold(prefix, handle, 4)
        if memcmp(prefix, b"0.NA", 4) == 0:
            return False
    for at in range(question.handle_octets):
        if handle[at] >= 0x80:
            return False
    return True


cdef int64_t skip_str(const uint8_t *row, int64_t at, int64_t end) noexcept nogil:
    """Return where the counted string at `at` ends, -1 when it does not end before `end`."""
    cdef int64_t count
    if at < 0 or end - at < 4:
        return -1
    count = read_i32(row + at)
    return at + 4 + count if 0 <= count <= end - at - 4 else -1


cdef int64_t skip_value(
    const uint8_t *row, int64_t at, int64_t end, uint8_t public
) noexcept nogil:
    """Return where a value ends, -1 when it is damaged or not public (not private) as expected."""
    cdef int64_t references, number
    if at < 0 or end - at < VALUE_HEAD_OCTETS or row[at + 13] & PUBLIC_READ != public:
        return -1
    at = skip_str(row, skip_str(row, at + VALUE_HEAD_OCTETS, end), end)
    if at < 0 or end - at < 4:
        return -1
    references = read_i32(row + at)
    at += 4
    if references < 0:
        return -1
    for number in range(references):
        at = skip_str(row, at, end) + 4
        if at < 4 or at > end:
            return -1
    return at


cdef int64_t skip_public(
    const uint8_t *row, int64_t at, int64_t end, int64_t *count
) noexcept nogil:
    """Return where a list of public values ends, -1 when it is damaged or empty."""
    cdef int64_t number
    if end - at < 4:
        return -1
    count[0] = read_i32(row + at)
    at += 4
    if count[0] < 1:
        return -1
    for number in range(count[0]):
        at = skip_value(row, at, end, PUBLIC_READ)
        if at < 0:
            return -1
    return at


cdef int64_t skip_private(
    const uint8_t *row, int64_t at, int64_t end, int64_t held
) noexcept nogil:
    """Return where the private part of a row ends, -1 when it is damaged."""
    cdef int64_t number, count
    if end - at < 2:
        return -1
    count = read_u16(row + at)
    at += 2
    for number in range(count):
        if end - at < 2 or read_u16(row + at) > held + number:
            return -1
        at = skip_value(row, at + 2, end, 0)
        if at < 0:
            return -1
    return at


cdef int64_t find_public(
    const uint8_t *row, int64_t size, bint public_only, int64_t *start
) noexcept nogil:
    """Return the length of a record's public list, and where it starts; -1: not to be trusted."""
    cdef int64_t end, count = 0
    if size < 1:
        return -1
    if row[0] == RECORD_PUBLIC:
        start[0] = 1
        return size - 1 if skip_public(row, 1, size, &count) == size else -1
    if row[0] != RECORD_PRIVATE or not public_only or size < 5:
        return -1
    end = 5 + <int64_t>read_u32(row + 1)
    if end > size or skip_public(row, 5, end, &count) != end:
        return -1
    if skip_private(row, end, size, count) != size:
        return -1
    start[0] = 5
    return end - 5


cdef int64_t find_cached(
    const uint8_t *row, int64_t size, int64_t now_s, int64_t *start, uint32_t *code
) noexcept nogil:
    """Do the same with a row of the cache; -1 also when it is not fresh.

    Of "not found", the code then, it is the length of the words.
    """
    cdef int64_t count = 0
    if size < CACHE_HEAD_OCTETS or row[0] != CACHE_FORMAT or row[1] & CACHE_STALE:
        return -1
    if read_u32(row + 8) <= now_s:
        return -1
    code[0] = <uint32_t>read_u16(row + 2)
    start[0] = CACHE_HEAD_OCTETS
    if code[0] == CODE_NOT_FOUND:
        return size - start[0]
    if code[0] != CODE_SUCCESS or size == start[0] or row[CACHE_HEAD_OCTETS] != RECORD_PUBLIC:
        return -1
    start[0] += 1
    return size - start[0] if skip_public(row, start[0], size, &count) == size else -1
