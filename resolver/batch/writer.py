"""Batch files, written from records: one CREATE for each handle.

What the form cannot say is counted, not passed over: `losses` tells it. Data that are no line of
text go to files named for their SHA-256, so that equal ones (a key that a thousand handles have)
are kept once.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from protocol.errors import InvalidValueError
from protocol.handle import to_text
from protocol.value import TTL_ABSOLUTE, HandleValue
from resolver.batch.value_lines import is_plain, write_value_line

NAMED_MAX = 5  # handles named of those that cannot be written
_FILE_MODE = 0o600  # secrets may be among the data


class BatchWriter:
    """Writes the sections of a batch file.

    Args:
        file: of text, its lines ended by line feeds.
        folder: for data that are no line of text; made when the first ones come. The batch names
            it as if it were run from the folder that this one is in.
        now_s: what is left of an absolute time to live is counted from here.
    """

    def __init__(self, file: TextIO, folder: Path, now_s: int) -> None:
        self.handles = 0
        self.files = 0
        self.left_out: list[str] = []
        self._left_out_count = 0
        self._file = file
        self._folder = folder
        self._now_s = now_s
        self._references = 0
        self._absolute = 0

    def write_homes(self, server: str, prefixes: Iterable[bytes]) -> None:
        """Write a HOME of prefix handles at a server, `address:port:protocol`."""
        lines = [to_text(prefix) for prefix in prefixes]
        if lines:
            self._file.write("\n".join([f"HOME {server}", *lines, "", ""]))

    def write(self, handle: bytes, values: Iterable[HandleValue]) -> None:
        """Write a CREATE, or count the handle as one that cannot be written."""
        values = tuple(values)
        if not is_plain(handle):
            self._leave_out(f"{to_text(handle)[:80]!r}: its name cannot stand on a line")
            return
        try:
            lines = [write_value_line(each, self._keep_file, self._now_s) for each in values]
        except InvalidValueError as error:
            self._leave_out(f"{to_text(handle)[:80]}: {error}")
            return
        self._file.write("\n".join([f"CREATE {to_text(handle)}", *lines, "", ""]))
        self.handles += 1
        self._references += sum(1 for value in values if value.references)
        self._absolute += sum(1 for value in values if value.ttl_type == TTL_ABSOLUTE)

    def losses(self) -> list[str]:
        """Return what is not in the file, in words; timestamps are never in it."""
        found = ["timestamps"] if self.handles else []
        if self._references:
            found.append(f"the references of {self._references:,} values")
        if self._absolute:
            words = f"the expiry of {self._absolute:,} values: a ttl of what is left stands there"
            found.append(words)
        if self._left_out_count:
            found.append(f"{self._left_out_count:,} handles: {'; '.join(self.left_out)}")
        return found

    def _leave_out(self, words: str) -> None:
        self._left_out_count += 1
        if len(self.left_out) < NAMED_MAX:
            self.left_out.append(words)

    def _keep_file(self, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()[:32] + ".bin"
        folder = self._folder / name[:2]
        path = folder / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        except FileExistsError:
            if path.read_bytes() == data:
                return self._name_of(name)
            descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        self.files += 1
        return self._name_of(name)

    def _name_of(self, name: str) -> str:
        return f"{self._folder.name}/{name[:2]}/{name}"
