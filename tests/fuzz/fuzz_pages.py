"""Feeds the walk over an LMDB file's pages (`resolver/_pages.pxi`) with damaged files.

    make fuzz          builds the extension with AddressSanitizer and walks 100,000 files

    python -m tests.fuzz.fuzz_pages [--inputs N] [--seed S] [--extension FILE]

Every file is an allocation of its own (PYTHONMALLOC=malloc) of exactly the octets that may be
read, the lesser of the mapping and of the file, so that AddressSanitizer sees a read before its
beginning or beyond its end. What happens by chance of time, a page that changes between two reads
of one step, is not tried here: `_pages.pxi` reads what it compares one time.
"""

import argparse
import ctypes
import faulthandler
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from tests.fuzz.fuzz_fastpath import load_extension
from tests.fuzz.page_trees import LEAF, PAGE_OCTETS, Tree, make_trees

BATCH = 64
PORTION = 1_000
PORTION_S_MAX = 180  # a hundred times what it takes: beyond, a walk does not end
OCTETS_MIN = 17  # a shorter buffer ctypes keeps within an object of its own
LENGTHS = (0, 1, 2, 7, 8, 15, 16, 17, 18, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF)
PAGE_LENGTHS = (0, 1, 511, 512, 513, 4_095, 4_097, 8_192, 16_384, 65_535, 65_536, 65_537, 2**31)
NUMBERS = (0, 1, 2, 2**31, 2**32 - 1, 2**47, 2**48 - 1, 2**51, 2**52 - 1, 2**63, 2**64 - 1)
META_MAGIC_AT = 16
META_PAGE_OCTETS_AT = 40
META_MAIN_ROOT_AT = 128
META_TXN_AT = 144


class Walked(NamedTuple):
    """How many keys were walked for, and of these found."""

    keys: int
    touched: int


def odd_length(choose: random.Random) -> int:
    """Return a length or an offset: a bound, one near the end of a page, or anything."""
    how = choose.randrange(4)
    if how == 0:
        return choose.choice(LENGTHS)
    if how == 1:
        return choose.choice((PAGE_OCTETS, 512, 65_535)) - choose.randrange(-16, 80) & 0xFFFF
    return choose.randrange(PAGE_OCTETS if how == 2 else 65_536)


def odd_number(tree: Tree, choose: random.Random) -> int:
    """Return a page's number: one of the file (so that there are loops), or one beyond."""
    pages = len(tree.octets) // PAGE_OCTETS
    if choose.random() < 0.3:
        return choose.choice(NUMBERS)
    return choose.randrange(pages) if choose.random() < 0.6 else pages + choose.randrange(-2, 3)


def write(changed: bytearray, at: int, number: int, octets: int) -> None:
    """Write as much of a number as the file has room for."""
    if 0 <= at <= len(changed) - octets:
        number &= (1 << 8 * octets) - 1
        changed[at : at + octets] = number.to_bytes(octets, "little")


def scatter(changed: bytearray, tree: Tree, choose: random.Random) -> None:
    for _ in range(choose.choice((1, 20, 400))):
        changed[choose.randrange(len(changed))] = choose.randrange(256)


def write_shorts(changed: bytearray, tree: Tree, choose: random.Random) -> None:
    if tree.shorts:
        for at in choose.choices(tree.shorts, k=choose.choice((1, 10, 200))):
            write(changed, at, odd_length(choose), 2)


def write_numbers(changed: bytearray, tree: Tree, choose: random.Random) -> None:
    if tree.numbers:
        for at, octets in choose.choices(tree.numbers, k=choose.choice((1, 4, 50))):
            write(changed, at, odd_number(tree, choose), octets)


def write_meta(changed: bytearray, tree: Tree, choose: random.Random) -> None:
    start = choose.choice((0, PAGE_OCTETS))
    how = choose.randrange(8)
    if how < 3:
        write(changed, start + META_MAIN_ROOT_AT, odd_number(tree, choose), 8)
    elif how < 6:
        write_page_octets(changed, choose)
    elif how < 7:
        write(changed, start + META_TXN_AT, choose.choice(NUMBERS), 8)
    else:
        write(changed, META_MAGIC_AT + choose.randrange(8), choose.randrange(256), 1)


def write_page_octets(changed: bytearray, choose: random.Random) -> None:
    """Have the file made of pages of another size, and its tree begin on one of the last."""
    lengths = (*PAGE_LENGTHS, len(changed), len(changed) // 2, len(changed) // 3)
    octets = max(0, choose.choice(lengths) + choose.randrange(-1, 2))
    write(changed, META_PAGE_OCTETS_AT, octets, 4)
    if octets and choose.random() < 0.5:
        last = len(changed) // octets - choose.randrange(4)
        for at in (octets + META_MAIN_ROOT_AT, META_MAIN_ROOT_AT):
            write(changed, at, last, 8)


def write_page(changed: bytearray, tree: Tree, choose: random.Random) -> None:
    """Use a page again: for what stands on another, for zeros, or for noise."""
    pages = len(changed) // PAGE_OCTETS
    target, source = (choose.randrange(min(2, pages - 1), pages) * PAGE_OCTETS for _ in range(2))
    changed[target : target + PAGE_OCTETS] = choose.choice(
        (changed[source : source + PAGE_OCTETS], bytes(PAGE_OCTETS), choose.randbytes(PAGE_OCTETS))
    )


def move_last(changed: bytearray, tree: Tree, choose: random.Random) -> None:
    """Have a page stand at the end of the file, where a step beyond it is seen, and damage it."""
    if not tree.pages:
        return
    page = choose.choice((tree.root, choose.choice(tree.pages)))
    last = len(tree.octets) // PAGE_OCTETS - 1
    end = last * PAGE_OCTETS
    changed[end : end + PAGE_OCTETS] = tree.octets[page * PAGE_OCTETS : (page + 1) * PAGE_OCTETS]
    roots = [(start + META_MAIN_ROOT_AT, 8) for start in (0, PAGE_OCTETS)]
    for at, octets in (*roots, *tree.numbers):
        if tree.octets[at : at + octets] == page.to_bytes(octets, "little"):
            write(changed, at, last, octets)
    shorts = [at for at in tree.shorts if at // PAGE_OCTETS == page]
    for at in choose.choices(shorts, k=choose.choice((0, 1, 2, 20))):
        write(changed, at - page * PAGE_OCTETS + end, odd_length(choose), 2)


def end_with_key(changed: bytearray, tree: Tree, choose: random.Random) -> None:
    """Have every slot of the last page lead to one node, whose key or data reach its end."""
    if not tree.pages or len(changed) < len(tree.octets):
        return
    move_last(changed, tree, choose)
    start = len(tree.octets) - PAGE_OCTETS
    key = choose.choice([tree.database, *tree.keys])
    at = PAGE_OCTETS - 8 - len(key) - choose.randrange(56)
    slots = (at - 16) // 2
    changed[start + 16 : start + 16 + 2 * slots] = at.to_bytes(2, "little") * slots
    if choose.random() < 0.8:
        write(changed, start + 10, LEAF, 2)
    write(changed, start + at + 4, choose.randrange(2), 2)
    write(changed, start + at + 6, len(key) + choose.choice((0, 0, choose.randrange(64))), 2)
    changed[start + at + 8 : start + at + 8 + len(key)] = key


def cut(changed: bytearray, tree: Tree, choose: random.Random) -> None:
    at = choose.randrange(len(tree.octets) // PAGE_OCTETS + 1) * PAGE_OCTETS
    del changed[max(OCTETS_MIN, at + choose.choice((-1, 0, 0, 0, 1, 30, 100))) :]


DAMAGES = (scatter, write_shorts, write_numbers, write_meta, write_page, move_last, end_with_key)


def mutate(tree: Tree, choose: random.Random) -> bytes:
    """Damage a file in some ways; one in eight stays whole."""
    if choose.random() < 1 / 8:
        return tree.octets
    changed = bytearray(tree.octets)
    for damage in choose.choices(DAMAGES, k=choose.choice((1, 1, 2, 4))):
        damage(changed, tree, choose)
    if choose.random() < 0.2:
        cut(changed, tree, choose)
    return bytes(changed)


class Fuzzer:
    """Walks damaged files with one batch; `walked` is what came of it."""

    def __init__(self, native: ModuleType, seed: int) -> None:
        self._pages = native.MappedPages
        self._choose = random.Random(seed)
        self._batch = native.Batch(
            -1, case_sensitive=True, cached=True, authoritative=True, site_serial=1
        )
        self._trees = make_trees()
        self._seeks_ranges = False
        self.walked = Walked(0, 0)

    def run(self, inputs: int) -> None:
        """Damage so many files and walk each."""
        for _ in range(inputs):
            self._run_one()

    def _run_one(self) -> None:
        choose = self._choose
        tree = choose.choice(self._trees)
        octets = mutate(tree, choose)
        buffer = (ctypes.c_char * len(octets)).from_buffer_copy(octets)
        fileno, size = self._open(tree, buffer)
        whole = octets is tree.octets and size >= len(octets)
        for _ in range(choose.randrange(1, 4)):  # each begins with what the one before left
            self._walk(tree, whole)
        if size < len(octets):
            os.ftruncate(fileno, len(octets))
            self._walk(tree, whole)

    def _open(self, tree: Tree, buffer: "ctypes.Array[ctypes.c_char]") -> tuple[int, int]:
        """Give the batch a mapping of a file that is as long, longer, shorter, or still grows.

        Returns: the file's descriptor, which the batch closes, and its length.
        """
        octets, choose = len(buffer), self._choose
        more = octets + choose.choice((1, PAGE_OCTETS, 1 << 40))
        less = choose.randrange(octets + PAGE_OCTETS) // PAGE_OCTETS * PAGE_OCTETS
        lengths = ((octets, octets), (octets, more), (more, octets), (octets, less))
        mapped, size = choose.choice(lengths)
        fileno = os.memfd_create("pages")
        os.ftruncate(fileno, size)
        place = (ctypes.addressof(buffer), mapped)
        rows, ranges = (
            self._pages(*place, each, tree.database) for each in (fileno, os.dup(fileno))
        )
        self._seeks_ranges = choose.random() < 0.5
        # Of the same tree: absent keys are sought in it again, for what comes behind them.
        self._batch.touch_pages_of(rows, ranges if self._seeks_ranges else None)
        return fileno, size

    def _walk(self, tree: Tree, whole: bool) -> None:
        """Walk for some keys of a file that is whole or damaged, and hold the batch to its count.

        Raises:
            AssertionError: it says that it found what it cannot have found, or not all.
        """
        choose = self._choose
        count = choose.randrange(2, BATCH + 1)
        present = choose.randrange(count + 1) if tree.present else 0
        asked = choose.choices(tree.present, k=present) if present else []
        asked += choose.choices(tree.absent, k=count - present)
        choose.shuffle(asked)
        self._batch.load(asked)
        touched = self._batch.touched
        assert len(self._batch.keys) == count, "a request was not read"
        assert 0 <= touched <= count, f"{touched} of {count} keys touched"
        expected = range(present, count + 1 if self._seeks_ranges else present + 1)
        assert not whole or touched in expected, f"{touched} touched of {present} that are there"
        self.walked = Walked(self.walked.keys + count, self.walked.touched + touched)


def main(show: Callable[[str], object] = print) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--extension", type=Path, required=True)
    options = parser.parse_args()
    began_s = time.monotonic()
    fuzzer = Fuzzer(load_extension(options.extension), options.seed)
    for done in range(0, options.inputs, PORTION):
        faulthandler.dump_traceback_later(PORTION_S_MAX, exit=True)
        fuzzer.run(min(PORTION, options.inputs - done))
    faulthandler.cancel_dump_traceback_later()
    seconds = time.monotonic() - began_s
    keys, touched = fuzzer.walked
    assert touched > keys // 10, f"only {touched} of {keys} keys found: the files are all noise"
    show(f"{options.inputs} files, {keys} keys walked for, {touched} found, {seconds:.0f} s")


if __name__ == "__main__":
    main()
