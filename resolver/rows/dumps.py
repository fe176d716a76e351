"""Dumps that Handle.Net's own tools write of a server's storage, as lines of records.

    StorageToJson      {"homedPrefixes": ["0.NA/88.118", ..],
                        "handleRecords": {"88.118/X": {"handle": "88.118/X", "values": [..]}, ..}}

    dblist -v          88.118/X            the handle, its values as an array of JSON over several
                       [                   lines, a blank line; then the next
                         {"index": 1, ..}
                       ]

Values have the forms of the REST interface. Both are read as they come, a record at a time, so a
dump may be of any length. What comes out is what a file of REST answers consists of: one object a
record, `{"handle": .., "values": [..]}`, which may span several lines. The first form is written,
too: Handle.Net's LoadHandlesFromJson and LoadHandlesIntoStorageFromJson read it.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO, TextIO

from protocol.handle import to_text
from protocol.json_forms import value_to_json
from protocol.value import HandleValue

READ_CHARACTERS = 1 << 20
# A message has at most 262,144 octets; its JSON, escaped and indented, about ten times as many.
RECORD_CHARACTERS_MAX = 1 << 23
HOMES_MAX = 100_000  # homed prefixes of one dump: they are held
_HEAD_OCTETS = 4_096
_BOM = b"\xef\xbb\xbf"
_STORAGE = re.compile(rb'\s*\{\s*"(?:homedPrefixes|handleRecords)"\s*:')
_LISTING = re.compile(rb"[^\s{\[][^\r\n]*\r?\n[ \t]*\[")
_SPACE = re.compile(r"\s*")
_decode = json.JSONDecoder().raw_decode


def write_storage(
    file: TextIO, homes: Iterable[bytes], records: Iterable[tuple[bytes, Iterable[HandleValue]]]
) -> int:
    """Write what StorageToJson would; return how many records there were."""
    file.write(f'{{"homedPrefixes":{json.dumps([to_text(each) for each in homes])},\n')
    file.write('"handleRecords":{')
    count = 0
    for handle, values in records:
        name = to_text(handle)
        form = {"handle": name, "values": [value_to_json(each) for each in values]}
        comma = "," if count else ""
        file.write(f"{comma}\n{json.dumps(name)}:{json.dumps(form, ensure_ascii=False)}")
        count += 1
    file.write("\n}}\n")
    return count


class DumpError(Exception):
    """A dump that is damaged, from here to its end."""


def dump_lines(file: BinaryIO, homes: list[str]) -> Iterable[bytes]:
    """Iterate over the records of a dump; of any other file over its lines.

    Args:
        file: at its beginning; seekable.
        homes: gets the prefix handles that the other server answers for, where the dump says so.

    Raises (while it is iterated over):
        DumpError: it is damaged, and where.
    """
    head = file.read(_HEAD_OCTETS).removeprefix(_BOM)
    file.seek(0)
    if _STORAGE.match(head):
        return _StorageDump(file, homes).records()
    if _LISTING.match(head.lstrip()):
        return _listed(file)
    return file


class _StorageDump:
    """Reads what StorageToJson writes, which is one object."""

    def __init__(self, file: BinaryIO, homes: list[str]) -> None:
        self._file = file
        self._homes = homes
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._text = ""
        self._at = 0
        self._passed = 0  # characters that are no longer held

    def records(self) -> Iterator[bytes]:
        self._expect("{")
        for member in self._members():
            if member == "homedPrefixes":
                self._read_homes()
            elif member == "handleRecords":
                self._expect("{")
                for _ in self._members():
                    yield self._value()[1]
            else:
                self._value()
        if self._peek():
            raise self._fault("something follows the end of the dump")

    def _members(self) -> Iterator[str]:
        """Iterate over the names of an object whose brace was read; read the value in between."""
        if self._peek() == "}":
            self._at += 1
            return
        while True:
            name = self._value()[0]
            if not isinstance(name, str):
                raise self._fault("the name of a member is no string")
            self._expect(":")
            yield name
            if self._expect(",}") == "}":
                return

    def _read_homes(self) -> None:
        self._expect("[")
        if self._peek() == "]":
            self._at += 1
            return
        while True:
            home = self._value()[0]
            if not isinstance(home, str) or len(self._homes) >= HOMES_MAX:
                raise self._fault(f"homedPrefixes are at most {HOMES_MAX:,} strings")
            self._homes.append(home)
            if self._expect(",]") == "]":
                return

    def _value(self) -> tuple[object, bytes]:
        """Return the next value, and its text."""
        self._peek()
        while True:
            try:
                value, end = _decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if len(self._text) - self._at <= RECORD_CHARACTERS_MAX and self._read():
                    continue  # the rest of it had not been read
                self._at = error.pos
                raise self._fault(f"this is no JSON: {error.msg}") from None
            except RecursionError:
                raise self._fault("this is nested too deep") from None
            text = self._text[self._at : end]
            self._at = end
            return value, text.encode("utf-8", "surrogateescape")

    def _expect(self, characters: str) -> str:
        """Read one character, which has to be one of these."""
        found = self._peek()
        if not found or found not in characters:
            raise self._fault(f"{' or '.join(characters)} is expected")
        self._at += 1
        return found

    def _peek(self) -> str:
        """Return the next character that is no white space; "" at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            assert match is not None, "it matches nothing at all too"
            self._at = match.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read():
                return ""

    def _read(self) -> bool:
        """Take more of the file in; say whether there was any."""
        octets = self._file.read(READ_CHARACTERS)
        more = self._decoder.decode(octets, final=not octets)
        self._passed += self._at
        self._text, self._at = self._text[self._at :] + more, 0
        return bool(octets)

    def _fault(self, words: str) -> DumpError:
        shown = self._text[self._at : self._at + 40]
        return DumpError(f"character {self._passed + self._at + 1:,}: {words}, not {shown!r}")


def _listed(file: BinaryIO) -> Iterator[bytes]:
    """Yield the records of what `dblist -v` prints."""
    lines = enumerate(file, 1)
    for number, line in lines:
        handle = line.removeprefix(_BOM).strip() if number == 1 else line.strip()
        if handle:
            values = _array_after(number, lines)
            name = json.dumps(handle.decode("utf-8", "surrogateescape"), ensure_ascii=False)
            yield b'{"handle":%b,"values":%b}' % (name.encode("utf-8", "surrogateescape"), values)


def _array_after(number: int, lines: Iterator[tuple[int, bytes]]) -> bytes:
    """Return the array behind a handle, up to the blank line that ends it."""
    taken: list[bytes] = []
    octets = 0
    for _, line in lines:
        text = line.strip()
        if not taken and not text.startswith(b"["):
            break
        if not text:
            break
        octets += len(text)
        if octets > RECORD_CHARACTERS_MAX:
            raise DumpError(
                f"line {number}: over {RECORD_CHARACTERS_MAX:,} octets of values follow"
            )
        taken.append(text)
    if not taken:
        raise DumpError(f"line {number}: no values follow the handle (dblist needs -v)")
    return b" ".join(taken)
