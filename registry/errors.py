"""What `registry` raises.

    StoreError           the store cannot be opened, read or written
     ├─ StoreFullError   no room on the disk or in the map; the store is as it was before the write
     ├─ RecordError      a stored row that does not decode
     ├─ RangeError       a range that cannot be registered as it is described
     │   └─ LongWalkError    more rows lie in it than are looked at in one go
     └─ JournalError     a frame that does not decode, or does not follow the one before it

An answer such as "not found" or "not permitted" is never an exception: it is a response code in
what is returned.
"""

from protocol.codes import ResponseCode


class StoreError(Exception):
    """The store cannot be opened, read or written; the message says what to do."""


class StoreFullError(StoreError):
    """There is no room for a write; nothing of it was kept."""


class RecordError(StoreError):
    """A stored row is damaged or was written by a newer version."""


class RangeError(StoreError):
    """A range cannot be registered as it is described; `response_code` is what to answer."""

    def __init__(
        self, words: str, response_code: ResponseCode = ResponseCode.INVALID_VALUE
    ) -> None:
        super().__init__(words)
        self.response_code = response_code


class LongWalkError(RangeError):
    """More rows lie in a range, or between its identifiers, than are looked at in one go."""


class JournalError(StoreError):
    """A journal frame is damaged, missing, or does not continue the chain."""
