"""Feeds the native reader of NDJSON with damaged rows, and holds it to its twin in Python.

    make fuzz          builds the extension with AddressSanitizer and runs 300,000 inputs

    python -m tests.fuzz.fuzz_rows [--inputs N] [--seed S] [--extension FILE]

The octets of an input are an allocation of their own, and so is the room that rows are written
into, of as many octets, so that AddressSanitizer sees a read or a write beyond either.
"""

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from tests.fuzz.fuzz_fastpath import load_extension
from tests.resolver.rows.lines import LineMaker, hold_to_python, mutate

DAMAGED_EACH = 20  # inputs out of one row that was made


def fuzz(native: ModuleType, inputs: int, seed: int) -> int:
    """Run so many inputs, each of some lines; return how many rows were not left to Python."""
    choose = random.Random(seed)
    maker = LineMaker(choose)
    taken = done = 0
    while done < inputs:
        lines = [maker.make() for _ in range(choose.choice((1, 1, 1, 2, 5)))]
        for _ in range(DAMAGED_EACH):
            ending = choose.choice((b"\n", b"\n", b"\r\n", b"\n\n", b" \n \t"))
            data = ending.join(mutate(line, choose) for line in lines)
            taken += hold_to_python(native, data + choose.choice((b"", ending)))
        done += DAMAGED_EACH
    return taken


def main(show: Callable[[str], object] = print) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--inputs", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--extension", type=Path, required=True)
    options = parser.parse_args()
    began_s = time.monotonic()
    taken = fuzz(load_extension(options.extension), options.inputs, options.seed)
    seconds = time.monotonic() - began_s
    assert taken > options.inputs // 10, f"only {taken} rows read: the inputs are all noise"
    show(f"{options.inputs} inputs, {taken} rows read, all as in Python, {seconds:.0f} s")


if __name__ == "__main__":
    main()
