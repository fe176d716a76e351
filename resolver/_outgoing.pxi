# Answers on their way out: fixed slots, sent with few system calls. Included by `_batch.pyx`.
#
# Answers to one address leave together: those of one length, and one that is shorter behind them,
# are one message that the kernel cuts up again (UDP_SEGMENT). That is most of a secondary node's or
# a benchmark's traffic; what is on the wire is the same, only the order within a batch is not.


cdef enum:
    SEGMENTS_MAX = 64  # of one message, as the kernel has it
    SENDERS_MAX = 8  # of a batch whose answers are put together; those of others leave singly
    CONTROL_OCTETS = 32  # room for one UDP_SEGMENT


@cython.final
cdef class Outgoing:
    """The answers of one batch."""

    cdef int fileno
    cdef bint segments
    cdef int used
    cdef uint8_t *slots
    cdef sockaddr_storage *addresses
    cdef mmsghdr *messages
    cdef iovec *pieces
    cdef uint8_t *controls
    cdef socklen_t address_octets[BATCH_DATAGRAMS]
    cdef int sizes[SLOTS]
    cdef int owners[SLOTS]
    cdef uint32_t order[SLOTS]
    cdef int starts[SLOTS]

    def __cinit__(self, int fileno):
        cdef int none = 0
        self.fileno = fileno
        self.slots = <uint8_t *>calloc(SLOTS, DATAGRAM_OCTETS)
        self.addresses = <sockaddr_storage *>calloc(BATCH_DATAGRAMS, sizeof(sockaddr_storage))
        self.messages = <mmsghdr *>calloc(SLOTS, sizeof(mmsghdr))
        self.pieces = <iovec *>calloc(SLOTS, sizeof(iovec))
        self.controls = <uint8_t *>calloc(SLOTS, CONTROL_OCTETS)
        if not (self.slots and self.addresses and self.messages and self.pieces and self.controls):
            raise MemoryError
        # Older kernels, and sockets that are not of UDP, refuse even "no segments".
        self.segments = setsockopt(fileno, IPPROTO_UDP, UDP_SEGMENT, &none, sizeof(none)) == 0

    def __dealloc__(self):
        free(self.slots)
        free(self.addresses)
        free(self.messages)
        free(self.pieces)
        free(self.controls)

    cdef uint8_t *next_slot(self) noexcept:
        return self.slots + self.used * DATAGRAM_OCTETS

    cdef void keep(self, int owner, int64_t octets) noexcept:
        """Count what was written into the next slot as an answer to one of the senders."""
        self.sizes[self.used] = <int>octets
        self.owners[self.used] = owner
        self.used += 1

    cdef int send(self) noexcept:
        """Send all; return how many of `order` are done, the rest is for when there is room."""
        cdef int sent = 0, count, total
        self._sort()
        total = self._pack()
        with nogil:
            while sent < total:
                count = sendmmsg(self.fileno, self.messages + sent, total - sent, MSG_DONTWAIT)
                if count > 0:
                    sent += count
                elif errno == EAGAIN:
                    return self.starts[sent]
                elif errno != EINTR:
                    self._refused(sent)
                    sent += 1
        return self.used

    cdef void _refused(self, int number) noexcept nogil:
        """Send the parts of a message singly that the kernel did not take in one."""
        cdef msghdr *message = &self.messages[number].msg_hdr
        cdef size_t part
        cdef iovec *parts = message.msg_iov
        cdef size_t count = message.msg_iovlen
        if count == 1:
            return  # no route to this client, or a firewall: it asks again
        if errno == EIO:
            self.segments = False  # this way out cannot do it
        message.msg_iovlen = 1
        message.msg_control = NULL
        message.msg_controllen = 0
        for part in range(count):
            message.msg_iov = parts + part
            sendmmsg(self.fileno, self.messages + number, 1, MSG_DONTWAIT)

    cdef void _sort(self) noexcept:
        """Order the answers by sender, the longest first, else as they were made."""
        cdef int known[SENDERS_MAX]
        cdef int senders = 0, slot, at, sender = SENDERS_MAX, owner = -1
        cdef uint32_t key
        for slot in range(self.used):
            if not self.segments:
                self.order[slot] = _SINGLE | <uint32_t>slot
                continue
            if self.owners[slot] != owner:
                owner = self.owners[slot]
                sender = 0
                while sender < senders and not self._same(known[sender], owner):
                    sender += 1
                if sender == senders and senders < SENDERS_MAX:
                    known[senders] = owner
                    senders += 1
            key = (
                <uint32_t>sender << 20
                | <uint32_t>(DATAGRAM_OCTETS - self.sizes[slot]) << 10
                | <uint32_t>slot
            )
            at = slot
            while at and self.order[at - 1] > key:
                self.order[at] = self.order[at - 1]
                at -= 1
            self.order[at] = key

    cdef bint _same(self, int one, int other) noexcept:
        return self.address_octets[one] == self.address_octets[other] and not memcmp(
            self.addresses + one, self.addresses + other, self.address_octets[one]
        )

    cdef int _pack(self) noexcept:
        """Make messages of the ordered answers; return how many."""
        cdef int at = 0, total = 0, first, slot, owner, size
        cdef uint32_t sender
        cdef msghdr *message
        while at < self.used:
            first, sender = at, self.order[at] >> 20
            slot = self.order[at] & 0x3FF
            owner, size = self.owners[slot], self.sizes[slot]
            while True:
                slot = self.order[at] & 0x3FF
                self.pieces[at].iov_base = self.slots + slot * DATAGRAM_OCTETS
                self.pieces[at].iov_len = self.sizes[slot]
                at += 1
                if (
                    at == self.used
                    or self.sizes[slot] < size  # the last of a message may be shorter
                    or sender == SENDERS_MAX
                    or self.order[at] >> 20 != sender
                    or at - first == SEGMENTS_MAX
                ):
                    break
            message = &self.messages[total].msg_hdr
            message.msg_name = self.addresses + owner
            message.msg_namelen = self.address_octets[owner]
            message.msg_iov = self.pieces + first
            message.msg_iovlen = at - first
            self._announce(message, total, size)
            self.starts[total] = first
            total += 1
        return total

    cdef void _announce(self, msghdr *message, int number, int octets) noexcept:
        """Say how a message is to be cut up, when it has several parts."""
        cdef cmsghdr *control
        if message.msg_iovlen == 1:
            message.msg_control = NULL
            message.msg_controllen = 0
            return
        message.msg_control = self.controls + number * CONTROL_OCTETS
        message.msg_controllen = CMSG_SPACE(sizeof(uint16_t))
        control = CMSG_FIRSTHDR(message)
        control.cmsg_len = CMSG_LEN(sizeof(uint16_t))
        control.cmsg_level = IPPROTO_UDP
        control.cmsg_type = UDP_SEGMENT
        (<uint16_t *>CMSG_DATA(control))[0] = <uint16_t>octets


cdef uint32_t _SINGLE = <uint32_t>SENDERS_MAX << 20
