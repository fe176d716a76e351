# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=True
"""A batch of datagrams in C: received, taken apart, answered and sent with few system calls.

    receive    recvmmsg ─> read each datagram: a plain look-up gives a key, anything else is left
    (Python)   one read transaction: rows of the keys, which prefixes are homed
    assemble   check each row, write head + handle + copy of its public list, cut at 512 octets
    send       sendmmsg

`resolver.fastpath` says what a plain look-up is and what rows may look like; `batch_python` is the
same thing without a compiler, and the tests hold both to the readable path and to each other.

Every length that comes off the wire or out of a row is compared with what is there before it is
used, as signed 64-bit numbers, so that nothing announced can wrap around. Buffers are made once.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    int AF_INET6
    struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct sockaddr_storage:
        unsigned short ss_family
    int recvmmsg(int fileno, mmsghdr *messages, unsigned int count, int flags, void *timeout)
    int sendmmsg(int fileno, mmsghdr *messages, unsigned int count, int flags)
    int MSG_DONTWAIT

cdef extern from "<netinet/in.h>" nogil:
    int INET6_ADDRSTRLEN
    struct in_addr:
        uint32_t s_addr
    struct in6_addr:
        uint8_t s6_addr[16]
    struct sockaddr_in:
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id
    uint16_t ntohs(uint16_t number)
    uint32_t ntohl(uint32_t number)

cdef extern from "<arpa/inet.h>" nogil:
    const char *inet_ntop(int family, const void *address, char *text, socklen_t octets)
    int AF_INET

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
    VERSION_MAJOR = 2
    VERSION_MINOR = 10
    EXPIRY_S = 43_200

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


cdef bint read_question(Question *question, bint cached) noexcept nogil:
    """Take a datagram apart; False: the readable path has to."""
    cdef int64_t at
    cdef const uint8_t *handle = question.octets + HANDLE_AT
    if not is_plain_head(question.octets, question.size, cached):
        return False
    question.handle_octets = plain_handle_octets(question.octets, question.size)
    if not 0 < question.handle_octets <= KEY_OCTETS_MAX:
        return False
    for at in range(question.handle_octets):
        if handle[at] == 47:  # the slash
            question.prefix_octets = at
            return 0 < at <= KEY_OCTETS_MAX - PREFIX_START_OCTETS
    return False


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
    const uint8_t *row, int64_t size, int64_t now_s, int64_t *start
) noexcept nogil:
    """Do the same with a row of the cache; -1 also when it is not fresh."""
    cdef int64_t count = 0
    if size <= CACHE_HEAD_OCTETS or row[0] != CACHE_FORMAT or row[1] & CACHE_STALE:
        return -1
    if read_u16(row + 2) != CODE_SUCCESS or read_u32(row + 8) <= now_s:
        return -1
    start[0] = CACHE_HEAD_OCTETS + 1
    if row[CACHE_HEAD_OCTETS] != RECORD_PUBLIC:
        return -1
    return size - start[0] if skip_public(row, start[0], size, &count) == size else -1


cdef class Batch:
    """One socket's buffers, and the batch that is in them."""

    cdef int _fileno
    cdef bint _case_sensitive, _cached
    cdef uint32_t _flags
    cdef uint16_t _site_serial
    cdef int _count, _used
    cdef uint8_t *_arrived
    cdef uint8_t *_slots
    cdef sockaddr_storage *_addresses
    cdef mmsghdr *_receiving
    cdef mmsghdr *_sending
    cdef iovec *_receiving_at
    cdef iovec *_sending_at
    cdef Question _questions[BATCH_DATAGRAMS]
    cdef int _owners[SLOTS]
    cdef uint8_t _long[ENVELOPE_OCTETS + PIECES_MAX * PIECE_OCTETS]
    cdef list _loaded
    cdef readonly list keys
    cdef readonly list prefixes
    cdef readonly int answered

    def __cinit__(self, int fileno, *, bint case_sensitive, bint cached, bint authoritative,
                  int site_serial):
        self._fileno = fileno
        self._case_sensitive = case_sensitive
        self._cached = cached
        self._flags = FLAG_RECURSIVE | (FLAG_AUTHORITATIVE if authoritative else 0)
        self._site_serial = <uint16_t>site_serial
        self.keys, self.prefixes = [], []
        self._arrived = <uint8_t *>calloc(BATCH_DATAGRAMS, ARRIVED_STRIDE)
        self._slots = <uint8_t *>calloc(SLOTS, DATAGRAM_OCTETS)
        self._addresses = <sockaddr_storage *>calloc(BATCH_DATAGRAMS, sizeof(sockaddr_storage))
        self._receiving = <mmsghdr *>calloc(BATCH_DATAGRAMS, sizeof(mmsghdr))
        self._sending = <mmsghdr *>calloc(SLOTS, sizeof(mmsghdr))
        self._receiving_at = <iovec *>calloc(BATCH_DATAGRAMS, sizeof(iovec))
        self._sending_at = <iovec *>calloc(SLOTS, sizeof(iovec))
        if not (self._arrived and self._slots and self._addresses and self._receiving
                and self._sending and self._receiving_at and self._sending_at):
            raise MemoryError
        self._point()

    def __dealloc__(self):
        free(self._arrived)
        free(self._slots)
        free(self._addresses)
        free(self._receiving)
        free(self._sending)
        free(self._receiving_at)
        free(self._sending_at)

    cdef void _point(self) noexcept:
        cdef int number
        for number in range(BATCH_DATAGRAMS):
            self._receiving_at[number].iov_base = self._arrived + number * ARRIVED_STRIDE
            self._receiving_at[number].iov_len = 65_536
            self._receiving[number].msg_hdr.msg_iov = self._receiving_at + number
            self._receiving[number].msg_hdr.msg_iovlen = 1
            self._receiving[number].msg_hdr.msg_name = self._addresses + number
        for number in range(SLOTS):
            self._sending_at[number].iov_base = self._slots + number * DATAGRAM_OCTETS
            self._sending[number].msg_hdr.msg_iov = self._sending_at + number
            self._sending[number].msg_hdr.msg_iovlen = 1

    def receive(self):
        """Take what has arrived and read it; return how many datagrams that are."""
        cdef int number, count
        for number in range(BATCH_DATAGRAMS):
            self._receiving[number].msg_hdr.msg_namelen = sizeof(sockaddr_storage)
        with nogil:
            count = recvmmsg(self._fileno, self._receiving, BATCH_DATAGRAMS, MSG_DONTWAIT, NULL)
        self._loaded = None
        self._count = max(count, 0)  # an error is that of an earlier answer, or nothing is there
        for number in range(self._count):
            self._questions[number].octets = self._arrived + number * ARRIVED_STRIDE
            self._questions[number].size = self._receiving[number].msg_len
        self._read()
        return self._count

    def load(self, list datagrams):
        """Take these (octets, address) instead of what has arrived."""
        cdef int number
        cdef bytes octets
        if len(datagrams) > BATCH_DATAGRAMS:
            raise ValueError(f"{len(datagrams)} datagrams, {BATCH_DATAGRAMS} are a batch")
        self._loaded = list(datagrams)
        self._count = len(datagrams)
        for number in range(self._count):
            octets = <bytes?>datagrams[number][0]
            self._questions[number].octets = <const uint8_t *>PyBytes_AS_STRING(octets)
            self._questions[number].size = PyBytes_GET_SIZE(octets)
        self._read()
        return self._count

    cdef int _read(self) except -1:
        """Read all datagrams; afterwards `keys` and `prefixes` are to be looked up."""
        cdef int number
        cdef Question *question
        cdef bytes key
        self.keys, self.prefixes = [], []
        self.answered = self._used = 0
        for number in range(self._count):
            question = &self._questions[number]
            question.key = question.prefix = -1
            if not read_question(question, self._cached):
                continue
            key = self._key(question)
            if not self._cached:
                question.prefix = self._prefix(question, key)
            question.key = <int>len(self.keys)
            self.keys.append(key)
        return 0

    cdef bytes _key(self, Question *question):
        cdef bytes key = PyBytes_FromStringAndSize(NULL, question.handle_octets)
        cdef uint8_t *folded = <uint8_t *>PyBytes_AS_STRING(key)
        cdef const uint8_t *handle = question.octets + HANDLE_AT
        cdef int64_t suffix_at = question.prefix_octets + 1
        cdef int64_t suffix_octets = question.handle_octets - suffix_at
        fold(folded, handle, suffix_at)
        if (self._case_sensitive or self._cached) and not (
            question.prefix_octets >= 2 and handle[0] == 48 and handle[1] == 46  # "0."
        ):
            memcpy(folded + suffix_at, handle + suffix_at, suffix_octets)
        else:
            fold(folded + suffix_at, handle + suffix_at, suffix_octets)
        return key

    cdef int _prefix(self, Question *question, bytes key) except -1:
        """Return the position of the handle's prefix among `prefixes`; a batch has few."""
        cdef const char *folded = PyBytes_AS_STRING(key)
        cdef int64_t octets = question.prefix_octets
        cdef int number
        cdef bytes known
        for number in range(<int>len(self.prefixes)):
            known = <bytes?>self.prefixes[number]
            if (
                PyBytes_GET_SIZE(known) == octets + PREFIX_START_OCTETS
                and memcmp(PyBytes_AS_STRING(known) + PREFIX_START_OCTETS, folded, octets) == 0
            ):
                return number
        self.prefixes.append(b"0.NA/" + PyBytes_FromStringAndSize(folded, octets))
        return <int>len(self.prefixes) - 1

    def assemble(self, list rows, list homed, int64_t now_s):
        """Write the answers; return the datagrams that are left to the readable path."""
        cdef int number
        cdef Question *question
        cdef bytes row
        cdef list declined = []
        for number in range(self._count):
            question = &self._questions[number]
            row = None
            if question.key >= 0 and (self._cached or homed[question.prefix]):
                row = rows[question.key]  # bytes or None, checked
            if row is not None and self._answer(number, row, now_s):
                self.answered += 1
            else:
                datagram = PyBytes_FromStringAndSize(<const char *>question.octets, question.size)
                declined.append((datagram, self._address(number)))
        return declined

    cdef bint _answer(self, int number, bytes row, int64_t now_s) noexcept:
        """Write the answer to one question; False when its row is not plain, or it is too long."""
        cdef Question *question = &self._questions[number]
        cdef const uint8_t *octets = <const uint8_t *>PyBytes_AS_STRING(row)
        cdef int64_t size = PyBytes_GET_SIZE(row)
        cdef int64_t start = 0, listed, payload, pieces
        cdef bint public_only = (read_u32(question.octets + 28) & FLAG_PUBLIC_ONLY) != 0
        cdef uint8_t *target
        if self._cached:
            listed = find_cached(octets, size, now_s, &start)
        else:
            listed = find_public(octets, size, public_only, &start)
        if listed < 0:
            return False
        payload = HEADER_OCTETS + 4 + question.handle_octets + listed + 4
        pieces = 1
        if payload + ENVELOPE_OCTETS > DATAGRAM_OCTETS:
            pieces = (payload + PIECE_OCTETS - 1) // PIECE_OCTETS
        if pieces > PIECES_MAX or self._used + pieces > SLOTS:
            return False
        target = self._slots + self._used * DATAGRAM_OCTETS if pieces == 1 else self._long
        self._write_head(target, question, payload, now_s)
        memcpy(target + HANDLE_AT, question.octets + HANDLE_AT, question.handle_octets)
        target += HANDLE_AT + question.handle_octets
        memcpy(target, octets + start, listed)
        memset(target + listed, 0, 4)  # an empty credential
        self._cut(number, payload, pieces)
        return True

    cdef void _write_head(
        self, uint8_t *target, Question *question, int64_t payload, int64_t now_s
    ) noexcept:
        """Write envelope, header and the handle's length, as `resolver.replies` does."""
        cdef const uint8_t *asked = question.octets
        cdef uint8_t minor = asked[3] if asked[2] else asked[1]
        target[0] = VERSION_MAJOR
        target[1] = minor if minor < VERSION_MINOR else VERSION_MINOR
        target[2] = VERSION_MAJOR
        target[3] = VERSION_MINOR
        write_u32(target + 4, 0)
        memcpy(target + 8, asked + 8, 4)  # request id
        write_u32(target + 12, 0)
        write_u32(target + 16, <uint32_t>payload)
        write_u32(target + 20, OPCODE_RESOLUTION)
        write_u32(target + 24, CODE_SUCCESS)
        write_u32(target + 28, self._flags | (read_u32(asked + 28) & COPIED))
        target[32] = <uint8_t>(self._site_serial >> 8)
        target[33] = <uint8_t>self._site_serial
        target[34] = asked[34]  # recursion count
        target[35] = 0
        write_u32(target + 36, <uint32_t>(now_s + EXPIRY_S))
        write_u32(target + 40, <uint32_t>(payload - HEADER_OCTETS - 4))
        write_u32(target + 44, <uint32_t>question.handle_octets)

    cdef void _cut(self, int number, int64_t payload, int64_t pieces) noexcept:
        """Make the answer's datagrams ready to be sent."""
        cdef int64_t piece, start, octets
        cdef uint8_t *slot
        for piece in range(pieces):
            start = piece * PIECE_OCTETS
            octets = payload
            if pieces > 1:
                octets = min(<int64_t>PIECE_OCTETS, payload - start)
                slot = self._slots + self._used * DATAGRAM_OCTETS
                memcpy(slot, self._long, ENVELOPE_OCTETS)
                write_u32(slot + 12, <uint32_t>piece)
                memcpy(slot + ENVELOPE_OCTETS, self._long + ENVELOPE_OCTETS + start, octets)
            self._sending_at[self._used].iov_len = ENVELOPE_OCTETS + octets
            self._sending[self._used].msg_hdr.msg_name = self._addresses + number
            self._sending[self._used].msg_hdr.msg_namelen = (
                self._receiving[number].msg_hdr.msg_namelen
            )
            self._owners[self._used] = number
            self._used += 1

    def send(self):
        """Send the answers; return those that the kernel has no room for."""
        cdef int sent = 0, count
        if self._loaded is not None:
            raise ValueError("what was loaded came over no socket")
        with nogil:
            while sent < self._used:
                count = sendmmsg(
                    self._fileno, self._sending + sent, self._used - sent, MSG_DONTWAIT
                )
                if count > 0:
                    sent += count
                elif errno == EAGAIN:
                    break
                elif errno != EINTR:
                    sent += 1  # no route to this client, or a firewall: it asks again
        return self._unsent(sent)

    def take(self):
        """Return the answers as (datagram, address) instead of sending them."""
        return self._unsent(0)

    cdef list _unsent(self, int start):
        cdef int slot
        cdef list datagrams = []
        for slot in range(start, self._used):
            octets = PyBytes_FromStringAndSize(
                <const char *>self._slots + slot * DATAGRAM_OCTETS,
                self._sending_at[slot].iov_len,
            )
            datagrams.append((octets, self._address(self._owners[slot])))
        self._used = 0
        return datagrams

    cdef object _address(self, int number):
        """Return a sender as the socket module does."""
        cdef char text[64]
        cdef sockaddr_in *four = <sockaddr_in *>(self._addresses + number)
        cdef sockaddr_in6 *six = <sockaddr_in6 *>(self._addresses + number)
        if self._loaded is not None:
            return self._loaded[number][1]
        if self._addresses[number].ss_family == AF_INET6:
            inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof(text))
            name = (<bytes>text).decode("ascii")
            return (name, ntohs(six.sin6_port), ntohl(six.sin6_flowinfo), six.sin6_scope_id)
        inet_ntop(AF_INET, &four.sin_addr, text, sizeof(text))
        return ((<bytes>text).decode("ascii"), ntohs(four.sin_port))
