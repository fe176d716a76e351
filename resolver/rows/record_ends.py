"""Where the records of CSV end: a line feed inside a quoted cell ends none."""

_QUOTE = ord('"')


class RecordEnds:
    """Finds line feeds outside quotes, in pieces of any length.

    As in the csv module: a quote opens only at the start of a cell, a doubled one is a quote, and
    what follows the closing one belongs to the cell.
    """

    # Fresh: at the start of a cell or behind a quote in quotes, a quote is next to be heard.
    _FRESH, _CELL, _QUOTED = range(3)

    def __init__(self, delimiter: int) -> None:
        self._delimiter = delimiter
        self._opening = bytes([delimiter, _QUOTE])
        self._state = self._FRESH

    @property
    def is_quoted(self) -> bool:
        """Say whether what was looked at ends inside quotes."""
        return self._state == self._QUOTED

    def find(self, data: bytes, start: int) -> int:
        """Return where the next line feed outside quotes is, -1 when there is none.

        `data` from `start` on follows what was looked at before.
        """
        feed = start - 1  # the next line feed, once looked for
        while start < len(data):
            if self._state == self._QUOTED:
                start = data.find(b'"', start) + 1
                if not start:
                    return -1
                self._state = self._FRESH
                continue
            if self._state == self._FRESH and data[start] == _QUOTE:
                self._state = self._QUOTED
                start += 1
                continue
            if feed < start:
                feed = data.find(b"\n", start)
                feed = len(data) if feed < 0 else feed
            opening = data.find(self._opening, start, feed)
            if opening >= 0:
                start = opening + 2
                self._state = self._QUOTED
                continue
            if feed < len(data):
                self._state = self._FRESH
                return feed
            self._state = self._FRESH if data[-1] == self._delimiter else self._CELL
            return -1
        return -1
