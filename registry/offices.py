"""The prefix office's table: its keys, and which of its entries the journal repeats.

    key                        value                                       in the journal
    "a", u64 number            an application, see `registry.applications`      yes
    "p", prefix handle         its standing, see `registry.standings`           yes
    "q", prefix handle         its quotas, see `registry.quotas`                yes
    "h", subject's 16 octets   a person, encrypted, see `registry.people`       yes
    "k", subject's 16 octets   the key to that person                           never
    "s", u64 number            the address an open application came from        never
    "u", prefix handle         identifiers registered today                     never
    "r", prefix handle         requests taken today                             never
    "o", prefix handle         how often it changed hands, `registry.owners`    never

Prefix handles are folded: `0.NA/88.118.5`. What is never in the journal is this node's own: keys
of people do not travel with the journal, so that deleting one here is an end to it; addresses and
counts are good for a day. `registry.office_replay` makes the journaled changes.
"""

import struct

import msgpack

from protocol.handle import fold_handle

APPLICATION = b"a"
STANDING = b"p"
QUOTA = b"q"
PERSON = b"h"
PERSON_KEY = b"k"
SOURCE = b"s"
IDENTIFIERS = b"u"
REQUESTS = b"r"
OWNERS = b"o"
JOURNALED = frozenset({APPLICATION, STANDING, QUOTA, PERSON})

OFFICES = "offices"  # the table's name in the store
_U64 = struct.Struct(">Q")

Entries = tuple[tuple[bytes, bytes], ...]
"""Keys and what is under them afterwards; an empty value: nothing is."""


def number_key(kind: bytes, number: int) -> bytes:
    """Return the key of what belongs to an application."""
    return kind + _U64.pack(number)


def number_of(key: bytes) -> int:
    """Return the number of the application that a key belongs to."""
    return int(_U64.unpack(key[1:])[0])


def prefix_key(kind: bytes, prefix_handle: bytes) -> bytes:
    """Return the key of what belongs to a prefix (`0.NA/88.118.5`)."""
    return kind + fold_handle(prefix_handle)


def office_payload(verb: str, entries: Entries, row: bytes | None = None) -> bytes:
    """Return the payload of a journal operation.

    Args:
        verb: what was done, for people who read the journal.
        entries: journaled ones only.
        row: of the prefix handle the operation is about, afterwards; empty: none, None: as it was.
    """
    assert all(key[:1] in JOURNALED for key, _ in entries), "this entry stays out of the journal"
    packed: bytes = msgpack.packb([verb, [list(entry) for entry in entries], row])
    return packed
