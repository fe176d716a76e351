"""How many identifiers there are under every prefix: exact, kept by whatever changes it.

    rows             handles with a record of their own; no tombstones
    ranges           that are not revoked
    in_ranges        identifiers in these
    overrides        rows that lie in these: an identifier that is both is one
    deleted          tombstones: identifiers in these that were deleted one by one
    revoked_ranges
    in_revoked       identifiers in these
    revoked          of the rows: identifiers that were revoked one by one

    identifiers = rows + in_ranges - overrides - deleted - revoked

Under `b"tally"`, 0x00 and the folded prefix, `meta` holds these eight as i96; under no prefix those
of the whole store. A transaction adds up what it changes and writes it once, at its end.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from registry.tables import Table, Transaction

META_START = b"tally\0"
PREFIX_OCTETS_MAX = 400  # as `registry.prefixes` has it: nothing is registered under longer ones
IDENTIFIERS_MAX = (1 << 63) - 1  # in the ranges of one prefix: what every reader of numbers takes
WHOLE_STORE = b""

_COUNT_OCTETS = 12  # the sums over many prefixes take more than 8


class Counts(NamedTuple):
    """How many of each there are under a prefix."""

    rows: int = 0
    ranges: int = 0
    in_ranges: int = 0
    overrides: int = 0
    deleted: int = 0
    revoked_ranges: int = 0
    in_revoked: int = 0
    revoked: int = 0

    @property
    def identifiers(self) -> int:
        """How many identifiers are registered."""
        return self.rows + self.in_ranges - self.overrides - self.deleted - self.revoked

    def plus(self, other: "Counts") -> "Counts":
        """Return the sums."""
        return Counts(*(one + two for one, two in zip(self, other, strict=True)))


def encode_counts(counts: Counts) -> bytes:
    """Return the octets that counts are stored as."""
    return b"".join(each.to_bytes(_COUNT_OCTETS, "big", signed=True) for each in counts)


def decode_counts(octets: bytes) -> Counts:
    """Return the counts of their octets."""
    starts = range(0, len(Counts._fields) * _COUNT_OCTETS, _COUNT_OCTETS)
    return Counts(
        *(int.from_bytes(octets[at : at + _COUNT_OCTETS], "big", signed=True) for at in starts)
    )


def prefix_of(key: bytes) -> bytes:
    """Return the folded prefix that a key of a row or a range is under."""
    return key[: key.find(b"/")]


def stored_counts(txn: Transaction, meta: Any, prefix: bytes) -> Counts:
    """Return what is stored of a prefix."""
    octets = txn.get(META_START + prefix, db=meta) if len(prefix) <= PREFIX_OCTETS_MAX else None
    return Counts() if octets is None else decode_counts(octets)


def all_counts(meta: Table) -> Iterator[tuple[bytes, Counts]]:
    """Iterate over (folded prefix, counts)."""
    for key, octets in meta.items(prefix=META_START):
        yield key[len(META_START) :], decode_counts(octets)


class Tally:
    """What one transaction changes under one prefix.

    `before` is how many identifiers were in ranges, `has_ranges` says whether there are any.
    """

    __slots__ = (
        "before",
        "deleted", "has_ranges", "in_ranges", "in_revoked", "overrides", "ranges",
        "revoked", "revoked_ranges", "rows",
    )  # fmt: skip

    def __init__(self, before: int, *, has_ranges: bool) -> None:
        self.before = before
        self.has_ranges = has_ranges
        self.rows = self.ranges = self.in_ranges = self.overrides = self.deleted = 0
        self.revoked_ranges = self.in_revoked = self.revoked = 0

    @property
    def ranged(self) -> int:
        """How many identifiers are in ranges, revoked or not, as of now."""
        return self.before + self.in_ranges + self.in_revoked

    def counts(self) -> Counts:
        """Return the differences."""
        return Counts(*(getattr(self, name) for name in Counts._fields))


class Tallies:
    """The tallies of one write transaction."""

    def __init__(self, txn: Transaction, meta: Any, ranges: Table) -> None:
        self._txn = txn
        self._meta = meta
        self._ranges = ranges
        self._known: dict[bytes, Tally] = {}

    def of(self, key: bytes) -> Tally:
        """Return the tally of the prefix that a key is under."""
        prefix = key[: key.find(b"/")]
        tally = self._known.get(prefix)
        if tally is None:
            start = prefix + b"/"
            found = self._ranges.at_or_after(start)
            has_ranges = found is not None and found[0].startswith(start)
            before = 0
            if has_ranges:
                stored = stored_counts(self._txn, self._meta, prefix)
                before = stored.in_ranges + stored.in_revoked
            tally = self._known[prefix] = Tally(before, has_ranges=has_ranges)
        return tally

    def counts(self, prefix: bytes) -> Counts:
        """Return the counts of a prefix as they are in this transaction."""
        stored = stored_counts(self._txn, self._meta, prefix)
        if prefix == WHOLE_STORE:
            for each in self._known.values():
                stored = stored.plus(each.counts())
            return stored
        tally = self._known.get(prefix)
        return stored if tally is None else stored.plus(tally.counts())

    def write(self) -> None:
        """Write what was changed."""
        total = Counts()
        for prefix, tally in self._known.items():
            differences = tally.counts()
            total = total.plus(differences)
            if len(prefix) <= PREFIX_OCTETS_MAX:
                self._add(prefix, differences)
        self._add(WHOLE_STORE, total)
        self._known.clear()

    def _add(self, prefix: bytes, differences: Counts) -> None:
        if any(differences):
            counts = stored_counts(self._txn, self._meta, prefix).plus(differences)
            self._txn.put(META_START + prefix, encode_counts(counts), db=self._meta)
