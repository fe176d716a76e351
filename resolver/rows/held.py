"""What a reader keeps of a row that has not ended: its octets, or of one too long its digest."""

import hashlib

from resolver.rows.packed import ROW_OCTETS_MAX

_BOM = b"\xef\xbb\xbf"


class HeldRow:
    """The beginning of a row, at most ROW_OCTETS_MAX octets of it.

    Args:
        left: octets that do not belong to a row at its start.
        right: octets that do not belong to its digest at its end.
    """

    def __init__(self, left: bytes = b"", right: bytes = b"") -> None:
        self.octets = bytearray()
        self._left, self._right = left, right
        self._all = self._trimmed = hashlib.sha256()
        self.is_long = False

    def __bool__(self) -> bool:
        """Say whether anything is held."""
        return self.is_long or bool(self.octets)

    def add(self, piece: bytes) -> None:
        """Hold some more; from the octet on that is one too many, none are kept."""
        if self.is_long:
            self._hash(piece)
            return
        if not self.octets:
            piece = piece.lstrip(self._left) if self._left else piece
        self.octets += piece
        if len(self.octets) > ROW_OCTETS_MAX:
            self.is_long = True
            self._all = self._trimmed = hashlib.sha256()
            self._hash(bytes(self.octets))
            self.octets = bytearray()

    def _hash(self, piece: bytes) -> None:
        kept = len(piece.rstrip(self._right)) if self._right else len(piece)
        if kept:
            self._all.update(piece[:kept])
            self._trimmed = self._all.copy()
        self._all.update(piece[kept:])

    def take(self) -> bytes:
        """Return the row, not a long one, and hold nothing."""
        octets = bytes(self.octets)
        self.octets = bytearray()
        return octets

    def take_digest(self) -> bytes:
        """Return the SHA-256 of a long row, and hold nothing."""
        self.is_long = False
        return self._trimmed.digest()


class Opening:
    """The first octets of a stream of text, which may be a byte order mark."""

    def __init__(self) -> None:
        self._octets: bytes | None = b""

    def skip(self, data: bytes) -> bytes:
        """Return `data` without the mark; what may become one is kept until more comes."""
        if self._octets is None:
            return data
        self._octets += data
        if len(self._octets) < len(_BOM) and _BOM.startswith(self._octets):
            return b""
        return self.end().removeprefix(_BOM)

    def end(self) -> bytes:
        """Return what was kept."""
        octets, self._octets = self._octets or b"", None
        return octets
