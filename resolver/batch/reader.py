"""Batch files, read section by section: one section at a time is held, however long the file.

    octets ─> lines, bounded ─> sections, bounded ─> Operation | LogIn | SessionWish | Fault

A section that cannot be read is a Fault, and reading goes on behind the next blank line or at the
next line that begins a section. `offset` and `digest` say how far the file was read when a section
was given, so that a later run can find the place again and see whether it is the same file.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from protocol.errors import ProtocolError
from protocol.handle import PREFIX_HANDLE_START, check_handle
from protocol.types.hs_site import TRANSPORT_HTTP, TRANSPORT_TCP, TRANSPORT_UDP
from protocol.value import HandleValue
from resolver.batch.admin_digits import AdminDigits
from resolver.batch.sections import (
    AUTHENTICATE,
    SESSIONSETUP,
    VERBS_OF_PREFIXES,
    VERBS_WITH_VALUES,
    WORDS,
    BatchError,
    Fault,
    LogIn,
    Operation,
    Section,
    ServerPlace,
    Verb,
)
from resolver.batch.session_lines import read_session_lines
from resolver.batch.value_lines import (
    SPACE,
    Line,
    ReadFile,
    ValueRules,
    is_unfinished,
    read_identity,
    read_number,
    read_value_line,
)

# A message has at most 262,144 octets, and text takes at most about four times what it stands for.
LINE_OCTETS_MAX = 1 << 20
SECTION_OCTETS_MAX = 1 << 21
_BOM = b"\xef\xbb\xbf"
_TRANSPORTS = {"TCP": TRANSPORT_TCP, "UDP": TRANSPORT_UDP, "HTTP": TRANSPORT_HTTP}
_PORT_MAX = 65_535


class BatchReader:
    """Reads a batch file. Iterate over it once.

    Args:
        file: octets in UTF-8.
        read_file: returns the octets of a FILE of a value; raises OSError.
        admin_digits: in which order the permissions of an ADMIN are.
    """

    def __init__(
        self,
        file: BinaryIO,
        read_file: ReadFile,
        admin_digits: AdminDigits = AdminDigits.MANUAL,
    ) -> None:
        self._file = file
        self._rules = ValueRules(read_file, admin_digits)
        self._ahead: tuple[Line | Fault, bytes] | None = None
        self._number = 0
        self._hash = hashlib.sha256()
        self._lines: list[str] = []
        self._octets = 0
        self.offset = 0

    @property
    def digest(self) -> str:
        """The SHA-256 of the octets up to `offset`."""
        return self._hash.hexdigest()

    @property
    def lines_read(self) -> int:
        """How many lines were read."""
        return self._number

    @property
    def doubtful_line(self) -> int:
        """The first line with an ADMIN that the other order would read otherwise; 0: none yet."""
        return self._rules.doubtful_line

    def __iter__(self) -> Iterator[Section]:
        while True:
            self._lines, self._octets = [], 0
            try:
                line = self._next()
                if line is None:
                    return
                if line.text:
                    yield from self._section(line)
            except BatchError as error:
                self._skip()
                text = "".join(self._lines)
                word = text.split(maxsplit=1)[0] if text.strip() else ""
                yield Fault(error, text, word not in Verb.__members__)

    def _section(self, line: Line) -> Iterator[Section]:
        word, at, rest = _split_word(line)
        if word == AUTHENTICATE:
            yield self._log_in(line, at, rest)
        elif word == SESSIONSETUP:
            lines = list(iter(self._next_within, None))
            yield read_session_lines(line, lines, self._text)
        elif word in VERBS_OF_PREFIXES:
            yield from self._prefixes(line, Verb(word), at, rest)
        elif word in Verb.__members__:
            yield self._operation(line, Verb(word), at, rest)
        else:
            known = ", ".join(sorted(WORDS))
            raise line.fault(0, f"{word[:40]!r} begins no section", f"one of {known}")

    def _operation(self, line: Line, verb: Verb, at: int, rest: str) -> Operation:
        indexes: tuple[int, ...] = ()
        if verb is Verb.REMOVE:
            numbers, colon, rest = rest.partition(":")
            if not colon:
                raise line.fault(at, "REMOVE names no handle", "write REMOVE index,index:handle")
            indexes = _read_indexes(line, at, numbers)
            at += len(numbers) + 1
            rest = rest.strip(SPACE)
        handle = _read_handle(line, at, rest)
        values = self._values(line) if verb in VERBS_WITH_VALUES else ()
        return Operation(line.number, verb, handle, self._text, values, indexes)

    def _values(self, begin: Line) -> tuple[HandleValue, ...]:
        values = []
        for line in iter(self._next_within, None):
            if is_unfinished(line):
                following = self._next_within()
                text = following.text if following is not None else ""
                line = Line(line.number, f"{line.text} {text}")
            values.append(read_value_line(line, self._rules))
        if not values:
            words = "the section has no values"
            raise begin.fault(len(begin.text), words, "value lines follow without a blank line")
        return tuple(values)

    def _prefixes(self, line: Line, verb: Verb, at: int, rest: str) -> Iterator[Section]:
        server = read_server(line, at, rest)
        head = "".join(self._lines)
        is_first = True
        while (each := self._next_within()) is not None:
            is_first = False
            text = each.text.strip(SPACE)
            self._lines, self._octets = [head, text + "\n"], 0
            if not text.upper().startswith(PREFIX_HANDLE_START.decode()):
                words = f"{text[:80]!r} is not a prefix handle"
                yield Fault(each.fault(0, words, "write 0.NA/ before the prefix"), self._text)
            else:
                yield Operation(each.number, verb, text.encode(), self._text, server=server)
        if is_first:
            hint = "prefix handles follow, a line each, without a blank line"
            raise line.fault(len(line.text), f"{verb} names no prefix", hint)

    def _log_in(self, line: Line, at: int, rest: str) -> LogIn:
        kind, colon, who = rest.partition(":")
        if kind.strip(SPACE).upper() not in ("SECKEY", "PUBKEY") or not colon:
            hint = "write AUTHENTICATE PUBKEY:index:handle or SECKEY:index:handle"
            raise line.fault(at, "this does not say how to log in", hint)
        identity = read_identity(line, at + len(kind) + 1, who)
        is_secret = kind.strip(SPACE).upper() == "SECKEY"
        what = "the secret" if is_secret else "the path of the private key"
        following = self._next()
        text = following.text.strip(SPACE) if following is not None else ""
        if not text:
            raise line.fault(len(line.text), f"{what} has to stand on the next line")
        if is_secret:
            return LogIn(line.number, identity, self._text, secret=text.encode())
        path, bar, passphrase = text.partition("|")
        return LogIn(
            line.number,
            identity,
            self._text,
            key_path=path.strip(SPACE),
            passphrase=passphrase.strip(SPACE).encode() if bar else None,
        )

    @property
    def _text(self) -> str:
        """What was read of this section, complete with the blank line."""
        return "".join(self._lines) + "\n"

    def _next_within(self) -> Line | None:
        """Return the next line of a section; None at its end, which a blank line is part of."""
        ahead = self._peek()
        if ahead is None or (isinstance(ahead, Line) and _split_word(ahead)[0] in WORDS):
            return None
        line = self._next()
        return line if line is not None and line.text else None

    def _skip(self) -> None:
        """Go to the end of a section that cannot be read."""
        while True:
            try:
                if self._next_within() is None:
                    return
            except BatchError:
                continue

    def _next(self) -> Line | None:
        """Return the next line, with empty text when it is blank. Raises: BatchError."""
        item = self._peek()
        if item is None:
            return None
        assert self._ahead is not None, "what was looked at is there"
        octets, self._ahead = self._ahead[1], None
        self.offset += len(octets)
        self._hash.update(octets)
        if isinstance(item, Fault):
            raise item.error
        if item.text:
            self._keep(item)
        return item

    def _keep(self, line: Line) -> None:
        self._octets += len(line.text)
        if self._octets > SECTION_OCTETS_MAX:
            self._lines = []
            raise line.fault(0, f"the section has over {SECTION_OCTETS_MAX} characters", "split it")
        self._lines.append(line.text + "\n")

    def _peek(self) -> Line | Fault | None:
        if self._ahead is None:
            octets = self._file.readline(LINE_OCTETS_MAX)
            if not octets:
                return None
            self._number += 1
            self._ahead = self._make_line(octets), octets
        return self._ahead[0]

    def _make_line(self, octets: bytes) -> Line | Fault:
        if len(octets) == LINE_OCTETS_MAX and not octets.endswith(b"\n"):
            self._leave_line(octets)
            words = f"the line has over {LINE_OCTETS_MAX} octets"
            return Fault(BatchError(self._number, 1, words, "no message is so long"), "")
        if self._number == 1:
            octets = octets.removeprefix(_BOM)
        try:
            text = octets.decode()
        except UnicodeDecodeError as error:
            column = len(octets[: error.start].decode()) + 1
            words = f"octet 0x{octets[error.start]:02x} is not UTF-8"
            return Fault(BatchError(self._number, column, words, "write the file in UTF-8"), "")
        text = text.rstrip("\r\n")
        return Line(self._number, text if text.strip(SPACE) else "")

    def _leave_line(self, octets: bytes) -> None:
        """Read to the end of a line that is too long."""
        while octets and not octets.endswith(b"\n"):
            octets = self._file.readline(LINE_OCTETS_MAX)
            self.offset += len(octets)
            self._hash.update(octets)


def _split_word(line: Line) -> tuple[str, int, str]:
    """Return the first word in upper case, and offset and text of what follows it."""
    text = line.text.rstrip(SPACE)
    start = len(text) - len(text.lstrip(SPACE))
    word = text[start:].split(maxsplit=1)[0] if text[start:] else ""
    rest = text[start + len(word) :]
    return word.upper(), start + len(word) + len(rest) - len(rest.lstrip(SPACE)), rest.strip(SPACE)


def _read_handle(line: Line, at: int, text: str) -> bytes:
    try:
        check_handle(text.encode())
    except ProtocolError as error:
        raise line.fault(at, str(error), "write prefix/suffix behind the word") from None
    return text.encode()


def _read_indexes(line: Line, at: int, text: str) -> tuple[int, ...]:
    indexes = []
    for part in text.split(","):
        indexes.append(read_number(line, at, part.strip(SPACE), "index of REMOVE", 1))
        at += len(part) + 1
    return tuple(indexes)


def read_server(line: Line, at: int, text: str) -> ServerPlace:
    """Return the server that a HOME names, at offset `at`. Raises: BatchError."""
    address, _, protocol = text.rpartition(":")
    address, _, port = address.rpartition(":")
    if not address or protocol.upper() not in _TRANSPORTS:
        hint = "write address:port:TCP, or UDP or HTTP; [address] for IPv6"
        raise line.fault(at, f"{text[:80]!r} is not a server", hint)
    number = read_number(line, at + len(address) + 1, port, "port", 1)
    if number > _PORT_MAX:
        raise line.fault(at + len(address) + 1, f"port {number} is over {_PORT_MAX}")
    place = ServerPlace(address, number, _TRANSPORTS[protocol.upper()])
    return replace(place, address=address.removeprefix("[").removesuffix("]"))
