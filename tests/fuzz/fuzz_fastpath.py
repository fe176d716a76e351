"""Feeds the native batch with damaged datagrams and rows, and holds it to its twin in Python.

    make fuzz          builds the extension with AddressSanitizer and runs a million inputs

    python -m tests.fuzz.fuzz_fastpath [--inputs N] [--seed S] [--extension FILE]

Datagrams and rows are separate allocations (PYTHONMALLOC=malloc), so that AddressSanitizer sees a
read beyond their end; a write beyond a buffer of the batch it sees as well.
"""

import argparse
import importlib.util
import random
import struct
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from protocol.bodies import ResolutionRequest
from protocol.codes import MessageFlag
from protocol.envelope import Envelope
from protocol.header import Header
from protocol.message import Message
from protocol.value import HandleValue, Reference, encode_values
from protocol.versions import BEST
from registry.range_records import (
    FoundRow,
    Nearest,
    Patch,
    RangeRecord,
    encode_range,
    range_key,
    split_identifier,
)
from registry.schema import encode_record
from resolver import batch_python
from resolver.batch_python import Datagram
from resolver.cache import CacheEntry
from tests.fuzz.template_store import make_entries, make_template_row

NOW_S = 1_795_000_000
BATCH = 64
LENGTHS = (0, 1, 4, 12, 24, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, -1, -2, -(2**31))
HANDLES = (
    b"88.118/A",
    b"88.118.5/x/y",
    b"0.NA/88",
    b"a/" + b"b" * 509,
    b"a/" + b"b" * 510,
    b"88.118/lot.000150",
    b"88.118/000150X",
    b"88.118/" + b"1" * 32,
    b"88/" + b"b" * 474 + b"12",
)


def load_extension(path: Path) -> ModuleType:
    """Import an extension of `resolver` from a file, in place of the installed one."""
    name = f"resolver.{path.name.partition('.')[0]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def datagrams() -> list[bytes]:
    """Return requests to start from."""
    found = []
    for handle in HANDLES:
        for flags in (MessageFlag.PUBLIC_ONLY, 0):
            envelope = Envelope(BEST, BEST, 0, 0, 7, 0, 0)
            body = ResolutionRequest(handle).encode()
            found.append(Message(envelope, Header(1, 0, flags, 0), body).encode())
    return found


def values() -> list[tuple[HandleValue, ...]]:
    """Return records to start from."""
    url = HandleValue(1, b"URL", b"https://example.com/", timestamp=NOW_S)
    linked = HandleValue(2, b"LINK", b"", references=(Reference(b"88/a", 1), Reference(b"", 2)))
    hidden = HandleValue(3, b"NOTE", b"secret", permission=0)
    long = HandleValue(4, b"BLOB", bytes(1_200))
    return [(url,), (url, linked), (hidden, url, hidden), (long, hidden, linked), (long, long)]


def rows(cached: bool) -> list[bytes]:
    """Return rows to start from."""
    if not cached:
        return [encode_record(each, b"") for each in values()]
    found = [
        CacheEntry(1, NOW_S, NOW_S + 5, encode_values(each for each in record if each.is_public))
        for record in values()
    ]
    missing = CacheEntry(100, NOW_S, NOW_S + 5, words=b"not registered")
    return [entry.encode(b"88/a") for entry in (*found, missing)]


def nearest_ranges(choose: random.Random, key: bytes) -> Nearest:
    """Return a range that is found for a key, mostly one that holds it; damaged or not."""
    stem, tail = split_identifier(key) or (key, b"1")
    first, last = (bytes([choose.choice(ends)]) * len(tail) for ends in (b"0001", b"999X"))
    public = encode_values(choose.choice(_PUBLIC_VALUES))
    patches = [
        Patch(choose.randrange(len(public) - length), choose.randrange(len(tail)), length)
        for length in choose.choices(range(len(tail)), k=choose.randrange(4))
    ]
    fitting = tuple(each for each in patches if each.start + each.length <= len(tail))
    details = {"x": 1} if choose.random() < 0.1 else {}
    range_ = RangeRecord(first, public, fitting, details, checked=choose.random() < 0.1)
    found = range_key(stem, last)
    if choose.random() < 0.1:
        found = mutate(found, choose)
    return found, mutate(encode_range(range_), choose)


def find(choose: random.Random, key: bytes, cached: bool) -> FoundRow:
    """Return what a look-up of a key may find."""
    chance = choose.random()
    if chance < 0.1:
        return None
    if chance < 0.4 and not cached:
        return nearest_ranges(choose, key)
    if chance < 0.7 and not cached:
        row = make_template_row(choose)
        return row if choose.random() < 0.5 else mutate(row, choose)
    return mutate(choose.choice(_ROWS[cached]), choose)


def mutate(octets: bytes, choose: random.Random) -> bytes:
    """Change, cut, lengthen, or write an odd length somewhere; one in eight stays whole."""
    how = choose.randrange(8)
    changed = bytearray(octets)
    for _ in range(choose.randrange(1, 4)):
        at = choose.randrange(len(changed) or 1)
        if how == 0:
            break
        if how == 1:
            del changed[at:]
        elif how == 2:
            changed += choose.randbytes(choose.randrange(20))
        elif how < 5 and at + 4 <= len(changed):
            struct.pack_into(">i", changed, at, choose.choice(LENGTHS))
        elif at < len(changed):
            changed[at] = choose.randrange(256)
    return bytes(changed)


def fuzz(native: ModuleType, inputs: int, seed: int) -> int:
    """Run so many inputs; return how many were answered."""
    choose = random.Random(seed)
    answered = done = 0
    while done < inputs:
        cached = choose.random() < 0.3
        keeps_case = choose.random() < 0.5
        native_batch = native.Batch(-1, **how(cached, keeps_case))
        twin = batch_python.Batch(-1, **how(cached, keeps_case))
        if not cached:
            native_batch.know_lots(native.KnownLots())
        entries = make_entries(choose, mutate)
        for _ in range(200):
            answered += run_batch((native_batch, twin), choose, cached, entries)
            done += BATCH
    return answered


def how(cached: bool, keeps_case: bool) -> dict[str, Any]:
    """Return how a batch is made, but for its socket."""
    return {
        "case_sensitive": keeps_case,
        "cached": cached,
        "authoritative": True,
        "site_serial": 1,
    }


def run_batch(
    pair: tuple[batch_python.Batch, batch_python.Batch],
    choose: random.Random,
    cached: bool,
    entries: Mapping[bytes, bytes],
) -> int:
    """Run one batch through both; return how many of it were answered.

    Args:
        pair: the native batch and its twin.
        choose: what is asked and found.
        cached: whether they answer out of a cache.
        entries: what rows made from templates need.
    """
    asked: list[Datagram] = [
        (mutate(choose.choice(_DATAGRAMS), choose), ("192.0.2.1", port)) for port in range(BATCH)
    ]
    outcomes: list[tuple[list[bytes], list[bytes], list[Datagram], list[Datagram]]] = []
    for batch in pair:
        batch.load(asked)
        if not outcomes:
            found = [find(choose, key, cached) for key in batch.keys]
            homed = [choose.random() < 0.9 for _ in batch.prefixes]
        rows = list(found)
        if not cached:
            batch.expand_rows(entries.get, batch.keys, rows)
        declined = batch.assemble(rows, homed, NOW_S)
        outcomes.append((batch.keys, batch.prefixes, declined, batch.take()))
    if outcomes[0] != outcomes[1]:
        raise AssertionError(f"native {outcomes[0]}\ntwin   {outcomes[1]}\nasked {asked}")
    return pair[0].answered + pair[0].missing


_DATAGRAMS = datagrams()
_PUBLIC_VALUES = [tuple(each for each in record if each.is_public) for record in values()]
_ROWS: dict[bool, list[bytes]] = {cached: rows(cached) for cached in (False, True)}


def main(show: Callable[[str], object] = print) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--extension", type=Path, required=True)
    options = parser.parse_args()
    began_s = time.monotonic()
    answered = fuzz(load_extension(options.extension), options.inputs, options.seed)
    seconds = time.monotonic() - began_s
    assert answered > options.inputs // 100, f"only {answered} answered: the inputs are all noise"
    show(f"{options.inputs} inputs, {answered} answered, both alike, {seconds:.0f} s")


if __name__ == "__main__":
    main()
