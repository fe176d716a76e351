# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=True
"""A batch of datagrams in C: received, taken apart, answered and sent with few system calls.

    receive    recvmmsg ─> read each datagram: a plain look-up gives a key, anything else is left
    (Python)   one read transaction: rows of the keys, which prefixes are homed
    assemble   check each row, write head + handle + copy of its public list, cut at 512 octets;
               of an identifier in a range the list is the range's, with its own octets filled in;
               of one made from a template it is put together of row, lot and template
    send       sendmmsg, answers to one address together

`resolver.fastpath` says what a plain look-up is and what rows may look like; `batch_python` is the
same thing without a compiler, and the tests hold both to the readable path and to each other.

Every length that comes off the wire or out of a row is compared with what is there before it is
used, as signed 64-bit numbers, so that nothing announced can wrap around. Buffers are made once.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, EIO, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

include "_kernel.pxi"
include "_plain.pxi"
include "_counts.pxi"
include "_ranges.pxi"
include "_outgoing.pxi"
include "_pages.pxi"
include "_msgpack.pxi"
include "_templates.pxi"
include "_lots.pxi"


@cython.final
cdef class Batch:
    """One socket's buffers, and the batch that is in them."""

    cdef int _fileno
    cdef bint _case_sensitive, _cached
    cdef uint32_t _flags
    cdef uint16_t _site_serial
    cdef int _count
    cdef uint8_t *_arrived
    cdef mmsghdr *_receiving
    cdef iovec *_receiving_at
    cdef Question _questions[BATCH_DATAGRAMS]
    cdef Outgoing _answers
    cdef Counts _counts
    cdef MappedPages _pages, _range_pages
    cdef KnownLots _lots
    cdef Walk _walks[BATCH_DATAGRAMS]
    cdef uint8_t _seek_keys[BATCH_DATAGRAMS * SEEK_OCTETS_MAX]
    cdef uint8_t _guesses[BATCH_DATAGRAMS * SEEK_OCTETS_MAX]
    cdef Guess _guessed[BATCH_DATAGRAMS]  # the range of each key, if it was seen
    cdef uint8_t _filled[LIST_OCTETS_MAX]
    cdef uint8_t _long[ENVELOPE_OCTETS + PIECES_MAX * PIECE_OCTETS]
    cdef list _loaded
    cdef readonly list keys
    cdef readonly list prefixes
    cdef readonly int answered
    cdef int _answered_before
    cdef int _named[BATCH_DATAGRAMS]  # where each prefix of this batch is counted, -1: not yet known
    cdef Source _sender  # of all that was loaded
    cdef readonly int missing
    cdef readonly int refused
    cdef readonly int touched  # rows that were touched before they are looked up

    def __cinit__(self, int fileno, *, bint case_sensitive, bint cached, bint authoritative,
                  int site_serial):
        self._fileno = fileno
        self._case_sensitive = case_sensitive
        self._cached = cached
        self._flags = FLAG_RECURSIVE | (FLAG_AUTHORITATIVE if authoritative else 0)
        self._site_serial = <uint16_t>site_serial
        self.keys, self.prefixes = [], []
        self._answers = Outgoing(fileno)
        self._arrived = <uint8_t *>calloc(BATCH_DATAGRAMS, ARRIVED_STRIDE)
        self._receiving = <mmsghdr *>calloc(BATCH_DATAGRAMS, sizeof(mmsghdr))
        self._receiving_at = <iovec *>calloc(BATCH_DATAGRAMS, sizeof(iovec))
        if not (self._arrived and self._receiving and self._receiving_at):
            raise MemoryError
        self._point()

    def __dealloc__(self):
        free(self._arrived)
        free(self._receiving)
        free(self._receiving_at)

    cdef void _point(self) noexcept:
        cdef int number
        for number in range(BATCH_DATAGRAMS):
            self._receiving_at[number].iov_base = self._arrived + number * ARRIVED_STRIDE
            self._receiving_at[number].iov_len = 65_536
            self._receiving[number].msg_hdr.msg_iov = self._receiving_at + number
            self._receiving[number].msg_hdr.msg_iovlen = 1
            self._receiving[number].msg_hdr.msg_name = self._answers.addresses + number

    def touch_pages_of(self, MappedPages rows, MappedPages ranges=None):
        """Have the pages of a store's file touched before its keys are handed out."""
        self._pages = rows
        self._range_pages = ranges

    def know_lots(self, KnownLots lots):
        """Put rows made from templates together here; without it Python expands them."""
        self._lots = lots

    def expand_rows(self, get, list keys, list rows):
        """Have rows made from templates expanded that `assemble` cannot put together itself."""
        if self._lots is None:
            expand_in_python(get, keys, rows)
        else:
            self._lots.expand_rows(get, keys, rows)

    def begin_counting(self, uint64_t seed):
        """Count look-ups from now on; `take_counts` returns them."""
        self._counts = None if self._cached else Counts(seed)

    @property
    def counts_are_full(self):
        """Whether what was counted has to be taken before the next batch."""
        return self._counts is not None and self._counts.is_full()

    def take_counts(self):
        """Return {name: (answered, {source: queries})}, and begin anew."""
        return {} if self._counts is None else self._counts.take()

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
            self._answers.address_octets[number] = self._receiving[number].msg_hdr.msg_namelen
        self._read()
        return self._count

    def load(self, list datagrams, bytes source=b""):
        """Take these (octets, address) instead of what has arrived, all from one source."""
        cdef int number
        cdef bytes octets
        if len(datagrams) > BATCH_DATAGRAMS:
            raise ValueError(f"{len(datagrams)} datagrams, {BATCH_DATAGRAMS} are a batch")
        self._loaded = list(datagrams)
        self._sender = source_of(
            <const uint8_t *>PyBytes_AS_STRING(source), PyBytes_GET_SIZE(source)
        )
        self._count = len(datagrams)
        for number in range(self._count):
            octets = <bytes?>datagrams[number][0]
            self._questions[number].octets = <const uint8_t *>PyBytes_AS_STRING(octets)
            self._questions[number].size = PyBytes_GET_SIZE(octets)
        self._read()
        return self._count

    cdef int _read(self) except -1:
        """Read all datagrams; afterwards `keys` and `prefixes` are to be looked up."""
        cdef int number, asked = 0
        cdef Question *question
        cdef bytes key
        self.keys, self.prefixes = [], []
        self.answered = self.missing = self.refused = self._answers.used = 0
        self._answered_before = 0
        for number in range(self._count):
            question = &self._questions[number]
            question.key = question.prefix = -1
            if not read_question(question, self._cached):
                continue
            key = self._key(question)
            if not self._cached:
                question.prefix = self._prefix(question, key)
            question.key = asked
            self.keys.append(key)
            self._walks[asked].key = <const uint8_t *>PyBytes_AS_STRING(key)
            self._walks[asked].key_octets = PyBytes_GET_SIZE(key)
            self._guessed[asked].octets = 0
            asked += 1
        self.touched = 0
        if self._pages is not None and asked > 1:
            with nogil:  # it may have to wait for the disk
                self.touched = self._pages.touch(self._walks, asked)
                if self.touched < asked and self._range_pages is not None:
                    self.touched += self._touch_ranges(asked)
        return 0

    cdef int _touch_ranges(self, int asked) noexcept nogil:
        """Have the ranges touched that may hold keys without a row."""
        cdef int number, sought = 0
        cdef int64_t octets
        cdef uint8_t *target
        if not self._range_pages.has_rows():
            return 0
        for number in range(asked):
            if self._walks[number].found:
                continue
            target = self._seek_keys + sought * SEEK_OCTETS_MAX
            octets = write_seek_key(
                target, self._walks[number].key, self._walks[number].key_octets
            )
            if octets:
                self._walks[sought].key, self._walks[sought].key_octets = target, octets
                self._guessed[number].key = self._guesses + sought * SEEK_OCTETS_MAX
                self._walks[sought].guess = &self._guessed[number]
                sought += 1
        return self._range_pages.touch(self._walks, sought, True)

    def find_nearest(self, txn, ranges, list keys, list rows):
        """Put the nearest range where a row is missing, as `registry.range_records` does.

        The keys are this batch's own: of most the range was seen when its page was touched. If
        it is there in this transaction and holds the key, no other does, and it need not be
        sought.
        """
        cdef int number
        cdef bytes key, record
        cdef uint8_t target[SEEK_OCTETS_MAX]
        cdef int64_t octets
        get, cursor = txn.get, None
        for number in range(min(<int>len(keys), <int>len(rows))):
            if rows[number] is not None:
                continue
            key = <bytes?>keys[number]
            octets = write_seek_key(
                target, <const uint8_t *>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)
            )
            if not octets:
                continue
            guess = self._guess(number, target, octets)
            if guess is not None:
                record = get(guess, None, ranges)
                if record is not None and is_held_in(key, <bytes>guess, record) != NOT_HELD:
                    rows[number] = (guess, record)
                    continue
            if cursor is None:
                cursor = txn.cursor(ranges)
            if cursor.set_range(PyBytes_FromStringAndSize(<const char *>target, octets)):
                rows[number] = cursor.item()
        return rows

    cdef bytes _guess(self, int number, const uint8_t *sought, int64_t octets):
        """Return the key of the range that was seen for a key, if it may be the right one.

        It was read without a transaction: it may be of another time, or nonsense.
        """
        cdef Guess *guess = &self._guessed[number]
        if number >= len(self.keys) or guess.octets != octets:
            return None
        if memcmp(guess.key, sought, octets) < 0:
            return None
        return PyBytes_FromStringAndSize(<const char *>guess.key, octets)

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
        number = <int>len(self.prefixes)
        self.prefixes.append(b"0.NA/" + PyBytes_FromStringAndSize(folded, octets))
        self._named[number] = -1
        return number

    def assemble(self, list rows, list homed, int64_t now_s):
        """Write the answers; return the datagrams that are left to the readable path."""
        cdef int number
        cdef Question *question
        cdef list declined = []
        for number in range(self._count):
            question = &self._questions[number]
            if question.silent or question.lying != NULL and self._refuse(number, question, now_s):
                continue
            if question.key >= 0 and (self._cached or homed[question.prefix]):
                if self._answer(number, rows[question.key], now_s):
                    if self._counts is not None:
                        self._count_one(number, question)
                    continue
            datagram = PyBytes_FromStringAndSize(<const char *>question.octets, question.size)
            declined.append((datagram, self._address(number)))
        return declined

    cdef int _count_one(self, int number, Question *question) except -1:
        """Count a look-up that was just answered."""
        cdef bint answered = self.answered > self._answered_before
        cdef int name
        cdef Source source
        self._answered_before = self.answered
        if question.prefix_octets == PREFIX_START_OCTETS - 1:
            name = self._name_of_key(question)
        else:
            name = self._named[question.prefix]
            if name < 0:
                name = self._named[question.prefix] = self._name_of_prefix(question.prefix)
        if self._loaded is None:
            source = sender_of(self._answers.addresses + number)
        else:
            source = self._sender
        self._counts.add(name, source, answered)
        return 0

    cdef int _name_of_prefix(self, int number) except -1:
        """Return where what is under a prefix of this batch is counted."""
        cdef bytes prefix = <bytes?>self.prefixes[number]
        return self._counts.find(
            PyBytes_AS_STRING(prefix) + PREFIX_START_OCTETS,
            min(PyBytes_GET_SIZE(prefix) - PREFIX_START_OCTETS, <int64_t>NAME_OCTETS_MAX),
        )

    cdef int _name_of_key(self, Question *question) except -1:
        """Return where a handle that begins with 0.NA is counted, mostly one of a prefix."""
        cdef const char *key = PyBytes_AS_STRING(self.keys[question.key])
        cdef int64_t octets = counted_octets(key, question.handle_octets, question.prefix_octets)
        return self._counts.find(key, octets) if octets else self._counts.find(b"0.NA/0.NA", 9)

    cdef bint _answer(self, int number, object row, int64_t now_s) except -1:
        """Write the answer to one question; False when its row is not plain, or it is too long."""
        cdef Question *question = &self._questions[number]
        cdef Found found
        cdef Held held = NOT_HELD
        cdef bytes octets
        if isinstance(row, tuple):
            held = self._find_in_range(question, &found, <tuple>row)
            if held == NOT_PLAIN:
                return False
        elif row is not None:
            octets = <bytes?>row
            found.words = <const uint8_t *>PyBytes_AS_STRING(octets)
            if not self._find(question, &found, PyBytes_GET_SIZE(octets), now_s):
                return False
            held = HELD
        if held == NOT_HELD:
            if self._cached or not is_shown_as_it_is(question):
                return False
            found.code, found.words = CODE_NOT_FOUND, NULL
            found.octets = question.handle_octets + NOT_REGISTERED_OCTETS
        if not self._write(number, question, &found, now_s):
            return False
        if found.code == CODE_SUCCESS:
            self.answered += 1
        else:
            self.missing += 1
        return True

    cdef Held _find_in_range(self, Question *question, Found *found, tuple nearest) except *:
        """Find what the nearest range answers with; `found.words` is what was filled in."""
        cdef bytes key = <bytes?>self.keys[question.key]
        cdef bytes range_key = <bytes?>nearest[0]
        cdef bytes record = <bytes?>nearest[1]
        cdef const uint8_t *folded = <const uint8_t *>PyBytes_AS_STRING(key)
        cdef int64_t octets = PyBytes_GET_SIZE(key), tail
        cdef Held held = is_held_in(key, range_key, record)
        if held == HELD:
            tail = tail_octets_of(folded, octets)
            found.code, found.words = CODE_SUCCESS, self._filled
            found.octets = fill_in(
                <const uint8_t *>PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record),
                folded + octets - tail, tail, self._filled,
            )
            if found.octets < 0:
                return NOT_PLAIN
        return held

    cdef bint _refuse(self, int number, Question *question, int64_t now_s) noexcept:
        """Say that a length does not fit, as `protocol.wire` does; False when there is no room."""
        cdef char words[LIE_WORDS_OCTETS]
        cdef Found found
        found.code, found.words = CODE_PROTOCOL_ERROR, <const uint8_t *>words
        found.octets = snprintf(
            words, sizeof(words), b"%s needs %lld octets, %lld remain",
            question.lying, <long long>question.announced, <long long>question.remaining,
        )
        if not self._write(number, question, &found, now_s):
            return False
        self.refused += 1
        return True

    cdef bint _find(
        self, Question *question, Found *found, int64_t size, int64_t now_s
    ) noexcept:
        """Find what a row answers with; `found.words` is the row, and then stands within it."""
        cdef int64_t start = 0
        cdef bint public_only = (read_u32(question.octets + 28) & FLAG_PUBLIC_ONLY) != 0
        found.code = CODE_SUCCESS
        if self._lots is not None and size and found.words[0] == TEMPLATE_ROW:
            found.octets = self._fill_in_lot(question, found.words, size)
            found.words = self._filled
        elif self._cached:
            found.octets = find_cached(found.words, size, now_s, &start, &found.code)
        else:
            found.octets = find_public(found.words, size, public_only, &start)
        found.words += start
        return found.octets >= 0

    cdef int64_t _fill_in_lot(
        self, Question *question, const uint8_t *row, int64_t size
    ) noexcept:
        cdef bytes key = <bytes>self.keys[question.key]
        return self._lots.fill(
            row, size, <const uint8_t *>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), self._filled
        )

    cdef bint _write(
        self, int number, Question *question, Found *found, int64_t now_s
    ) noexcept:
        """Write an answer and cut it up; False when it is too long."""
        cdef int64_t body = 4 + found.octets, payload, pieces = 1
        cdef uint8_t *target
        if found.code == CODE_SUCCESS:
            body += question.handle_octets
        payload = HEADER_OCTETS + body + 4
        if payload + ENVELOPE_OCTETS > DATAGRAM_OCTETS:
            pieces = (payload + PIECE_OCTETS - 1) // PIECE_OCTETS
        if pieces > PIECES_MAX or self._answers.used + pieces > SLOTS:
            return False
        target = self._answers.next_slot() if pieces == 1 else self._long
        self._write_head(target, question, found, payload, now_s)
        target += HANDLE_AT
        if found.code == CODE_SUCCESS or found.words == NULL:
            memcpy(target, question.octets + HANDLE_AT, question.handle_octets)
            target += question.handle_octets
        if found.words == NULL:
            memcpy(target, NOT_REGISTERED, NOT_REGISTERED_OCTETS)
            target += NOT_REGISTERED_OCTETS
        else:
            memcpy(target, found.words, found.octets)
            target += found.octets
        memset(target, 0, 4)  # an empty credential
        if pieces == 1:
            self._answers.keep(number, ENVELOPE_OCTETS + payload)
        else:
            self._cut(number, payload, pieces)
        return True

    cdef void _write_head(
        self, uint8_t *target, Question *question, Found *found, int64_t payload, int64_t now_s
    ) noexcept:
        """Write envelope, header and the first length of the body, as `resolver.replies` does."""
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
        write_u32(target + 24, found.code)
        write_u32(target + 28, self._flags | (read_u32(asked + 28) & COPIED))
        target[32] = <uint8_t>(self._site_serial >> 8)
        target[33] = <uint8_t>self._site_serial
        target[34] = asked[34]  # recursion count
        target[35] = 0
        write_u32(target + 36, <uint32_t>(now_s + EXPIRY_S))
        write_u32(target + 40, <uint32_t>(payload - HEADER_OCTETS - 4))
        write_u32(target + 44, <uint32_t>(
            question.handle_octets if found.code == CODE_SUCCESS else found.octets
        ))

    cdef void _cut(self, int number, int64_t payload, int64_t pieces) noexcept:
        """Make datagrams of an answer that is longer than one."""
        cdef int64_t piece, start, octets
        cdef uint8_t *slot
        for piece in range(pieces):
            start = piece * PIECE_OCTETS
            octets = min(<int64_t>PIECE_OCTETS, payload - start)
            slot = self._answers.next_slot()
            memcpy(slot, self._long, ENVELOPE_OCTETS)
            write_u32(slot + 12, <uint32_t>piece)
            memcpy(slot + ENVELOPE_OCTETS, self._long + ENVELOPE_OCTETS + start, octets)
            self._answers.keep(number, ENVELOPE_OCTETS + octets)

    def send(self):
        """Send the answers; return those that the kernel has no room for."""
        if self._loaded is not None:
            raise ValueError("what was loaded came over no socket")
        cdef int at, sent = self._answers.send()
        cdef list unsent = [
            self._datagram(self._answers.order[at] & 0x3FF)
            for at in range(sent, self._answers.used)
        ]
        self._answers.used = 0
        return unsent

    def take(self):
        """Return the answers as (datagram, address) instead of sending them."""
        cdef int slot
        cdef list taken = [self._datagram(slot) for slot in range(self._answers.used)]
        self._answers.used = 0
        return taken

    cdef tuple _datagram(self, int slot):
        octets = PyBytes_FromStringAndSize(
            <const char *>self._answers.slots + slot * DATAGRAM_OCTETS, self._answers.sizes[slot]
        )
        return octets, self._address(self._answers.owners[slot])

    cdef object _address(self, int number):
        """Return a sender as the socket module does."""
        cdef char text[64]
        cdef sockaddr_in *four = <sockaddr_in *>(self._answers.addresses + number)
        cdef sockaddr_in6 *six = <sockaddr_in6 *>(self._answers.addresses + number)
        if self._loaded is not None:
            return self._loaded[number][1]
        if self._answers.addresses[number].ss_family == AF_INET6:
            inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof(text))
            name = (<bytes>text).decode("ascii")
            return (name, ntohs(six.sin6_port), ntohl(six.sin6_flowinfo), six.sin6_scope_id)
        inet_ntop(AF_INET, &four.sin_addr, text, sizeof(text))
        return ((<bytes>text).decode("ascii"), ntohs(four.sin_port))
