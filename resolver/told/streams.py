"""What is told of streams of registrations, and of their receipts."""

from resolver.told.forms import Count, Time, Told


class StreamState(Told, frozen=True):
    """How far a stream has come.

    Attributes:
        key: the stream's.
        identity: whose it is.
        rows: that have a verdict; those below are how many of each.
        first_sequence: of the journal, 0 when nothing was written; last_sequence likewise.
        digest: of all rows, hexadecimal: what their receipt says.
        begun: RFC 3339; ended likewise, None while rows may follow.
        next: the number of the row that may follow.
        receipt: signed by the node, once the stream has ended.
    """

    key: str
    identity: str
    rows: Count
    created: Count
    replaced: Count
    deleted: Count
    unchanged: Count
    refused: Count
    first_sequence: Count
    last_sequence: Count
    digest: str
    begun: Time
    ended: Time | None = None
    receipt: str | None = None
    next: Count = 0


class ReceiptCheck(Told, frozen=True):
    """One thing that a node looked at; `holds` is None where it keeps nothing that could tell."""

    name: str
    holds: bool | None
    words: str


class ReceiptChecks(Told, frozen=True):
    """What a node says of a receipt; with a number in `next` there is more to look at behind it."""

    checks: list[ReceiptCheck]
    next: Count | None = None
    verified: bool = True
