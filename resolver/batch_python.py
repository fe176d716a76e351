"""The twin of `_batch` without a compiler: the same batch, in Python around two system calls.

    receive    recvmmsg ─> read each datagram: a plain look-up gives a key, anything else is left
    (Python)   one read transaction: rows of the keys, which prefixes are homed
    assemble   check each row, write head + handle + copy of its public list, cut at 512 octets;
               of an identifier in a range the list is the range's, with its own octets filled in
    send       sendmmsg

`resolver.fastpath` says what a plain look-up is and what rows may look like.
"""

import ctypes
import errno
import socket
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.envelope import ENVELOPE_OCTETS
from protocol.framing import DATAGRAM_OCTETS_MAX, PIECE_OCTETS, split_datagrams
from protocol.handle import PREFIX_HANDLE_START, PREFIX_PREFIX, fold_case, is_prefix_handle
from protocol.header import EXPIRY_DEFAULT_S, HEADER_OCTETS
from protocol.versions import BEST
from protocol.wire import MESSAGE_OCTETS_MAX, write_str
from registry.counters import counted_name
from registry.range_records import FoundRow, find_held, find_nearest
from registry.schema import KEY_OCTETS_MAX
from registry.template_expansion import expand_rows
from resolver.batch_counts import BatchCounts, Taken
from resolver.message_tables import (
    ADDRESS_OCTETS,
    CALLS,
    MESSAGE_WORDS,
    NAME_OCTETS_AT,
    OCTETS_AT,
    MessageTable,
)
from resolver.plain_rows import find_cached, find_in_range, find_public
from resolver.replies import COPIED_FLAGS

DATAGRAMS_MAX = 64
PIECES_MAX = 64  # of one answer; longer ones are the readable path's
SLOTS = 512  # datagrams sent for one batch

Address = tuple[str, int] | tuple[str, int, int, int]
Datagram = tuple[bytes, Address]

_ARRIVED_OCTETS = 65_536
_HANDLE_AT = 48  # envelope, header, length of the handle
_REQUEST_OCTETS_MIN = 57  # a handle of one octet and two empty filters

# Envelope, header, length of the handle.
_HEAD = struct.Struct(">BBBBiiii iiIHBBii i")
_ANSWER_HEAD = struct.Struct(">BBBBiIii iiIHBBii")
_PACKET = struct.Struct(">12xii")  # sequence and length in an envelope
_I32 = struct.Struct(">i")
_FAMILY = struct.Struct("=H")  # of a sockaddr
_ADDRESS_USED_OCTETS = 28  # of a sockaddr_in6, the longer one
_MAPPED_IPV4 = bytes(10) + b"\xff\xff"
_PREFIX_OF_PREFIXES = PREFIX_HANDLE_START + PREFIX_PREFIX

_REFUSED_FLAGS = MessageFlag.CERTIFY | MessageFlag.REQUEST_DIGEST
_RESOLUTION = int(OpCode.RESOLUTION)
_SUCCESS = int(ResponseCode.SUCCESS)
_NOT_FOUND = int(ResponseCode.HANDLE_NOT_FOUND)
_PROTOCOL_ERROR = int(ResponseCode.PROTOCOL_ERROR)
_NO_FILTERS = bytes(8)
_EMPTY_CREDENTIAL = bytes(4)


class _Question(NamedTuple):
    """A plain look-up: the positions of its key and prefix, the handle as asked, the head."""

    key: int
    prefix: int
    handle: bytes
    head: tuple[Any, ...]


class _Lie(NamedTuple):
    """A look-up of which a length does not fit: what is said of it, perhaps nothing; the head."""

    words: bytes
    head: tuple[Any, ...]


class Batch:
    """One socket's buffers, and the batch that is in them; see `fastpath.Batch`."""

    find_nearest = staticmethod(find_nearest)
    expand_rows = staticmethod(expand_rows)

    def __init__(
        self,
        fileno: int,
        *,
        case_sensitive: bool,
        cached: bool,
        authoritative: bool,
        site_serial: int,
    ) -> None:
        assert CALLS is not None
        self._receive, self._send = CALLS
        self._fileno = fileno
        self._cached = cached
        self._keeps_case = case_sensitive or cached
        self._refused_flags = _REFUSED_FLAGS | (MessageFlag.AUTHORITATIVE if cached else 0)
        self._flags = MessageFlag.RECURSIVE | (MessageFlag.AUTHORITATIVE if authoritative else 0)
        self._site_serial = site_serial
        self._arrived = MessageTable(DATAGRAMS_MAX, _ARRIVED_OCTETS)
        self._sending = MessageTable(SLOTS, DATAGRAM_OCTETS_MAX)
        self._addresses = ctypes.create_string_buffer(DATAGRAMS_MAX * ADDRESS_OCTETS)
        self._senders = memoryview(self._addresses).cast("B")
        for number in range(DATAGRAMS_MAX):
            self._arrived.words[MESSAGE_WORDS * number] = self._address_at(number)
        self._datagrams: list[bytes] = []
        self._loaded: list[Datagram] | None = None
        self._source = b""  # of all that was loaded
        self._questions: list[_Question | _Lie | None] = []
        self._owners: list[int] = []
        self.keys: list[bytes] = []
        self.prefixes: list[bytes] = []
        self.answered = 0
        self.missing = 0
        self.refused = 0
        self._missed: set[int] = set()  # datagrams answered with "not found"
        self._counts: BatchCounts | None = None

    def begin_counting(self, seed: int) -> None:
        """Count look-ups from now on; `take_counts` returns them. Nothing here needs a seed."""
        del seed
        self._counts = None if self._cached else BatchCounts()

    @property
    def counts_are_full(self) -> bool:
        """Whether what was counted has to be taken before the next batch."""
        return self._counts is not None and self._counts.is_full

    def take_counts(self) -> Taken:
        """Return {name: (answered, {source: queries})}, and begin anew."""
        return {} if self._counts is None else self._counts.take()

    def receive(self) -> int:
        """Take what has arrived and read it; return how many datagrams that are."""
        table, octets = self._arrived, self._arrived.octets
        for number in range(DATAGRAMS_MAX):
            table.halves[2 * MESSAGE_WORDS * number + NAME_OCTETS_AT] = ADDRESS_OCTETS
        count = self._receive(
            self._fileno, table.headers_at, DATAGRAMS_MAX, socket.MSG_DONTWAIT, None
        )
        # An error is that of an earlier answer, or nothing is there.
        self._loaded = None
        self._datagrams = [
            bytes(table.memory[at : at + table.halves[2 * MESSAGE_WORDS * number + OCTETS_AT]])
            for number, at in enumerate(range(0, max(count, 0) * octets, octets))
        ]
        return self._read()

    def load(self, datagrams: list[Datagram], source: bytes = b"") -> int:
        """Take these (octets, address) instead of what has arrived, all from one source."""
        if len(datagrams) > DATAGRAMS_MAX:
            raise ValueError(f"{len(datagrams)} datagrams, {DATAGRAMS_MAX} are a batch")
        self._loaded = list(datagrams)
        self._source = source
        self._datagrams = [octets for octets, _ in datagrams]
        return self._read()

    def _read(self) -> int:
        """Read all datagrams; afterwards `keys` and `prefixes` are to be looked up."""
        self.keys, self.answered, self.missing, self.refused = [], 0, 0, 0
        self._missed = set()
        self._owners = []
        prefixes: dict[bytes, int] = {}
        self._questions = [self._question(datagram, prefixes) for datagram in self._datagrams]
        self.prefixes = [PREFIX_HANDLE_START + prefix for prefix in prefixes]
        return len(self._datagrams)

    def _question(self, datagram: bytes, prefixes: dict[bytes, int]) -> _Question | _Lie | None:
        """Return what a datagram asks; None: not a plain look-up."""
        if len(datagram) < _REQUEST_OCTETS_MIN:
            return None
        head = _HEAD.unpack_from(datagram)
        if not _is_plain_head(head, datagram, self._refused_flags):
            return None
        if not _is_plain_body(head, datagram):
            words = _find_lie(head, datagram)
            return None if words is None else _Lie(words, head)
        handle = datagram[_HANDLE_AT : _HANDLE_AT + head[16]]
        prefix, slash, suffix = handle.partition(b"/")
        prefix_octets_max = KEY_OCTETS_MAX - len(PREFIX_HANDLE_START)
        if not slash or not 0 < len(prefix) <= prefix_octets_max or len(handle) > KEY_OCTETS_MAX:
            return None
        prefix = fold_case(prefix)
        if not self._keeps_case or prefix.startswith(b"0."):
            suffix = fold_case(suffix)
        self.keys.append(prefix + b"/" + suffix)
        number = -1 if self._cached else prefixes.setdefault(prefix, len(prefixes))
        return _Question(len(self.keys) - 1, number, handle, head)

    def assemble(
        self, rows: Sequence[FoundRow], homed: Sequence[bool], now_s: int
    ) -> list[Datagram]:
        """Write the answers; return the datagrams that are left to the readable path."""
        declined = []
        counted = []  # datagrams that were answered, and count as look-ups
        for number, question in enumerate(self._questions):
            if question is None:
                if _is_silent(self._datagrams[number]):
                    continue
            elif isinstance(question, _Lie):
                body = write_str(question.words)
                if not question.words:
                    continue
                if self._write(number, question.head, _PROTOCOL_ERROR, body, now_s):
                    self.refused += 1
                    continue
            elif (self._cached or homed[question.prefix]) and self._answer(
                number, question, rows[question.key], now_s
            ):
                counted.append(number)
                continue
            declined.append((self._datagrams[number], self._address(number)))
        if self._counts is not None and counted:
            names = self._names_of(counted)
            got = (
                name
                for number, name in zip(counted, names, strict=True)
                if number not in self._missed
            )
            self._counts.add(zip(names, self._sources_of(counted), strict=True), got)
        return declined

    def _names_of(self, numbers: list[int]) -> list[bytes]:
        """Return what look-ups are counted under: what is of one prefix is told apart once."""
        names: dict[int, bytes] = {}
        found = []
        for number in numbers:
            question = self._questions[number]
            assert isinstance(question, _Question)
            name = names.get(question.prefix)
            if name is None:
                name = counted_name(self.keys[question.key])
                if self.prefixes[question.prefix] != _PREFIX_OF_PREFIXES:
                    names[question.prefix] = name
            found.append(name)
        return found

    def _sources_of(self, numbers: list[int]) -> list[bytes]:
        """Return who asked; what came from one socket has its address read once."""
        if self._loaded is not None:
            return [self._source] * len(numbers)
        octets = self._senders.tobytes()
        starts = [ADDRESS_OCTETS * number for number in numbers]
        senders = [octets[start : start + _ADDRESS_USED_OCTETS] for start in starts]
        sources = {sender: _source_of(sender) for sender in set(senders)}
        return [sources[sender] for sender in senders]

    def _answer(self, number: int, question: _Question, row: FoundRow, now_s: int) -> bool:
        """Write the answer to one question; False when its row is not plain, or it is too long."""
        found = self._find(question, row, now_s)
        if found is None:
            return False
        code, body = found
        if not self._write(number, question.head, code, body, now_s):
            return False
        if code == _SUCCESS:
            self.answered += 1
        else:
            self.missing += 1
            self._missed.add(number)
        return True

    def _write(
        self, number: int, asked: tuple[Any, ...], code: int, body: bytes, now_s: int
    ) -> bool:
        """Write an answer and cut it up; False when it is too long."""
        payload_octets = HEADER_OCTETS + len(body) + len(_EMPTY_CREDENTIAL)
        pieces = 1
        if payload_octets + ENVELOPE_OCTETS > DATAGRAM_OCTETS_MAX:
            pieces = -(-payload_octets // PIECE_OCTETS)
        if pieces > PIECES_MAX or len(self._owners) + pieces > SLOTS:
            return False
        head = self._head(asked, code, len(body), now_s)
        for datagram in split_datagrams(b"".join((head, body, _EMPTY_CREDENTIAL))):
            self._keep(datagram, number)
        return True

    def _find(self, question: _Question, row: FoundRow, now_s: int) -> tuple[int, bytes] | None:
        """Return response code and body, None when the readable path has to answer."""
        handle = question.handle
        listed: bytes | None
        if isinstance(row, tuple):
            held = find_held(self.keys[question.key], row)
            if held is None:
                return self._missing(handle)
            listed = find_in_range(*held)
        elif row is None:
            return self._missing(handle)
        elif self._cached:
            found = find_cached(row, now_s)
            if found is None:
                return None
            code, octets = found
            return code, write_str(handle) + octets if code == _SUCCESS else write_str(octets)
        else:
            public_only = bool(question.head[10] & MessageFlag.PUBLIC_ONLY)
            listed = find_public(row, public_only=public_only)
        return None if listed is None else (_SUCCESS, write_str(handle) + listed)

    def _missing(self, handle: bytes) -> tuple[int, bytes] | None:
        # A prefix handle may be an ancestor's to answer, and words show what is not ASCII.
        if self._cached or is_prefix_handle(handle) or not handle.isascii():
            return None
        return _NOT_FOUND, write_str(handle + b" is not registered")

    def _head(self, asked: tuple[Any, ...], code: int, body_octets: int, now_s: int) -> bytes:
        """Return envelope and header, as `resolver.replies` does."""
        minor = asked[3] if asked[2] else asked[1]
        return _ANSWER_HEAD.pack(
            BEST.major,
            min(minor, BEST.minor),
            BEST.major,
            BEST.minor,
            0,
            asked[5] & 0xFFFFFFFF,
            0,
            HEADER_OCTETS + body_octets + len(_EMPTY_CREDENTIAL),
            _RESOLUTION,
            code,
            self._flags | (asked[10] & COPIED_FLAGS),
            self._site_serial,
            asked[12],  # recursion count
            0,
            now_s + EXPIRY_DEFAULT_S,
            body_octets,
        )

    def _keep(self, datagram: bytes, number: int) -> None:
        """Make a datagram ready to be sent to where another came from."""
        table, slot = self._sending, len(self._owners)
        start = slot * DATAGRAM_OCTETS_MAX
        table.memory[start : start + len(datagram)] = datagram
        table.iovecs[2 * slot + 1] = len(datagram)
        at = MESSAGE_WORDS * slot
        table.words[at] = self._address_at(number)
        table.words[at + 1] = self._arrived.halves[2 * MESSAGE_WORDS * number + NAME_OCTETS_AT]
        self._owners.append(number)

    def send(self) -> list[Datagram]:
        """Send the answers; return those that the kernel has no room for."""
        if self._loaded is not None:
            raise ValueError("what was loaded came over no socket")
        sent, used = 0, len(self._owners)
        while sent < used:
            at = self._sending.headers_at + 8 * MESSAGE_WORDS * sent
            count = self._send(self._fileno, at, used - sent, socket.MSG_DONTWAIT)
            if count > 0:
                sent += count
            elif ctypes.get_errno() == errno.EAGAIN:
                break
            elif ctypes.get_errno() != errno.EINTR:
                sent += 1  # no route to this client, or a firewall: it asks again
        return self._unsent(sent)

    def take(self) -> list[Datagram]:
        """Return the answers as (datagram, address) instead of sending them."""
        return self._unsent(0)

    def _unsent(self, start: int) -> list[Datagram]:
        table = self._sending
        datagrams: list[Datagram] = []
        for slot in range(start, len(self._owners)):
            at = slot * DATAGRAM_OCTETS_MAX
            octets = bytes(table.memory[at : at + table.iovecs[2 * slot + 1]])
            datagrams.append((octets, self._address(self._owners[slot])))
        self._owners = []
        return datagrams

    def _address_at(self, number: int) -> int:
        return ctypes.addressof(self._addresses) + number * ADDRESS_OCTETS

    def _address(self, number: int) -> Address:
        """Return a sender as the socket module does."""
        if self._loaded is not None:
            return self._loaded[number][1]
        at = number * ADDRESS_OCTETS
        octets = bytes(self._senders[at : at + ADDRESS_OCTETS])
        (family,) = struct.unpack_from("=H", octets)
        if family == socket.AF_INET6:
            port, flow, address = struct.unpack_from(">2xHI16s", octets)
            (scope,) = struct.unpack_from("=I", octets, 24)
            return socket.inet_ntop(family, address), port, flow, scope
        port, address = struct.unpack_from(">2xH4s", octets)
        return socket.inet_ntop(socket.AF_INET, address), port


def _source_of(sender: bytes) -> bytes:
    """Return what a sender counts as (`registry.space_saving.packed_source`)."""
    (family,) = _FAMILY.unpack_from(sender)
    if family == socket.AF_INET6:
        mapped = sender.startswith(_MAPPED_IPV4, 8)
        return sender[20:24] if mapped else sender[8:24]
    return sender[4:8] if family == socket.AF_INET else b""


def _is_silent(datagram: bytes) -> bool:
    """Say whether a datagram is neither a message nor a piece of one (`protocol.framing`)."""
    if len(datagram) < ENVELOPE_OCTETS:
        return True
    sequence, length = _PACKET.unpack_from(datagram)
    if not 0 <= length <= MESSAGE_OCTETS_MAX or sequence < 0:
        return True
    octets, start = len(datagram) - ENVELOPE_OCTETS, sequence * PIECE_OCTETS
    if sequence == 0 and octets == length:
        return False
    return bool(start >= length or octets != min(PIECE_OCTETS, length - start))


def _is_plain_head(head: tuple[Any, ...], datagram: bytes, refused: int) -> bool:
    """Say whether envelope and header are those of a plain look-up in one datagram."""
    major, _, bits, _, session, _, sequence, length, opcode, code, flags = head[:11]
    return (
        major == BEST.major
        and (bits == 0 or bits == BEST.major)
        and session == 0
        and sequence == 0
        and length == len(datagram) - ENVELOPE_OCTETS
        and opcode == _RESOLUTION
        and code == 0
        and not flags & refused
    )


def _is_plain_body(head: tuple[Any, ...], datagram: bytes) -> bool:
    """Say whether nothing but a handle is asked for, and all lengths fit."""
    body_octets, handle_octets = head[15:]
    end = ENVELOPE_OCTETS + HEADER_OCTETS + body_octets
    return (
        handle_octets > 0
        and body_octets == handle_octets + 12
        and end <= len(datagram)
        and datagram[end - 8 : end] == _NO_FILTERS
        and _is_whole_credential(datagram[end:])
    )


def _is_whole_credential(octets: bytes) -> bool:
    return not octets or (len(octets) >= 4 and _I32.unpack_from(octets)[0] == len(octets) - 4)


def _find_lie(head: tuple[Any, ...], datagram: bytes) -> bytes | None:
    """Return what `protocol.wire` says of the first length that does not fit, None: all fit."""
    body_octets, handle_octets = head[15:]
    after_head = len(datagram) - ENVELOPE_OCTETS - HEADER_OCTETS
    if body_octets < 0:
        return b""  # its header cannot be read, so nobody is answered
    if body_octets > after_head:
        return b"body needs %d octets, %d remain" % (body_octets, after_head)
    after_body = datagram[len(datagram) - after_head + body_octets :]
    if body_octets < 4 or not _is_whole_credential(after_body):
        return None
    if 0 <= handle_octets <= body_octets - 4:
        return None
    return b"handle needs %d octets, %d remain" % (handle_octets, body_octets - 4)
