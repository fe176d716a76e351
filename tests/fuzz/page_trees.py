"""LMDB files to damage: trees of some shapes, and where their numbers stand.

Made by the stores of `registry.store`, and read here a second time, in Python, for the places that
`resolver/_pages.pxi` reads: what it relies on is what is worth changing.
"""

import struct
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from protocol.bodies import ResolutionRequest
from protocol.codes import MessageFlag
from protocol.envelope import Envelope
from protocol.header import Header
from protocol.message import Message
from protocol.versions import BEST
from registry.store import CacheStore, Store
from resolver.batch_python import Datagram

PAGE_OCTETS = 4_096
HEAD_OCTETS = 16
BRANCH = 1
LEAF = 2
ELSEWHERE = 1
DATABASE = 2
ROOT_AT = 40
MAIN_ROOT_AT = 128  # and the last page and the transaction after it
MAP_OCTETS = 1 << 26
COMMITS = 3  # so that both meta pages are in use, and pages were freed


class Tree(NamedTuple):
    """A file, its keys as requests, and its numbers.

    Args:
        octets: of the file, whole pages.
        database: the name of the database within it, empty for the unnamed one.
        root: the page where the unnamed database begins.
        keys: of its rows.
        present: requests for these.
        absent: requests for other keys.
        pages: numbers of its branches and leaves.
        shorts: where numbers of two octets stand in these.
        numbers: where page numbers stand in these, and of how many octets.
    """

    octets: bytes
    database: bytes
    root: int
    keys: list[bytes]
    present: list[Datagram]
    absent: list[Datagram]
    pages: list[int]
    shorts: list[int]
    numbers: list[tuple[int, int]]


def shapes() -> list[dict[bytes, bytes]]:
    """Return the rows of each file."""
    names = [b"88.118/%04d" % (number * 7) for number in range(900)]
    return [
        {},
        dict.fromkeys(names[:5], b"row"),  # one leaf
        dict.fromkeys(names[:400], bytes(150)),  # a branch above
        {name + b"L" * 480: bytes(30) for name in names[:200]},  # two levels of branches
        {name: bytes(number * 700) for number, name in enumerate(names[:40])},  # overflow pages
        {name: bytes(number % 300) for number, name in enumerate(names)},
    ]


def request(handle: bytes) -> Datagram:
    """Return a datagram that asks for a handle."""
    body = ResolutionRequest(handle).encode()
    header = Header(1, 0, MessageFlag.PUBLIC_ONLY, 0)
    message = Message(Envelope(BEST, BEST, 0, 0, 7, 0, 0), header, body)
    return message.encode(), ("192.0.2.1", 1)


def make_trees() -> list[Tree]:
    """Return every shape as a cache (the unnamed database) and as a store (one of several)."""
    found = []
    for rows in shapes():
        for database in (CacheStore.rows_database, Store.rows_database):
            with tempfile.TemporaryDirectory() as folder:
                fill = fill_store if database else fill_cache
                found.append(read_tree(fill(Path(folder), rows), database, rows))
    return found


def portions(rows: Mapping[bytes, bytes]) -> Iterator[list[tuple[bytes, bytes]]]:
    """Cut rows up, for a commit each; none are no commit."""
    items = list(rows.items())
    for number in range(COMMITS if items else 0):
        yield items[number::COMMITS]


def fill_cache(folder: Path, rows: Mapping[bytes, bytes]) -> bytes:
    cache = CacheStore(folder, octets_max=MAP_OCTETS)
    for portion in portions(rows):
        cache.put_many(portion)
    cache.close()
    return cache.data_file.read_bytes()


def fill_store(folder: Path, rows: Mapping[bytes, bytes]) -> bytes:
    with Store.open(folder, sync=False, map_octets=MAP_OCTETS, case_sensitive=True) as store:
        for portion in portions(rows):
            with store.write(journaled=False) as view:
                for key, row in portion:
                    view.put_row(key, row)
    return store.data_file.read_bytes()


def read_tree(octets: bytes, database: bytes, rows: Mapping[bytes, bytes]) -> Tree:
    """Find where the numbers of a file stand."""
    assert len(octets) % PAGE_OCTETS == 0
    others = [b"1/A", b"88.118/", b"99/Z", b"88.118/" + b"Z" * 504, *(key + b"X" for key in rows)]
    present, absent = [request(key) for key in rows], [request(key) for key in others]
    metas = (struct.unpack_from("<QQQ", octets, start + MAIN_ROOT_AT) for start in (0, PAGE_OCTETS))
    root, _, _ = max(metas, key=lambda meta: meta[2])  # the newest transaction's
    tree = Tree(octets, database, root, list(rows), present, absent, [], [], [])
    for start in range(2 * PAGE_OCTETS, len(octets), PAGE_OCTETS):
        flags, end = struct.unpack_from("<HH", octets, start + 10)
        if flags in (BRANCH, LEAF) and HEAD_OCTETS < end <= PAGE_OCTETS:
            tree.pages.append(start // PAGE_OCTETS)
            tree.shorts.extend(start + at for at in (10, 12, 14))
            read_nodes(tree, start, flags, end)
    return tree


def read_nodes(tree: Tree, start: int, flags: int, end: int) -> None:
    for slot in range(start + HEAD_OCTETS, start + end, 2):
        at = start + struct.unpack_from("<H", tree.octets, slot)[0]
        node_flags, key_octets = struct.unpack_from("<HH", tree.octets, at + 4)
        tree.shorts.extend((slot, at, at + 2, at + 4, at + 6))
        data = at + 8 + key_octets
        if flags == BRANCH:
            tree.numbers.append((at, 6))
        elif node_flags == ELSEWHERE:
            tree.numbers.append((data, 8))
        elif node_flags == DATABASE:
            tree.numbers.append((data + ROOT_AT, 8))
