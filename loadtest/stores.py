"""Stores that are kept: filled in steps, gone on with where a run was stopped, used again.

Lots made from a template are filled in one step: a run stopped before its end begins anew.

FOLDER/rows-1000000/loaded     how long it took to fill; there once all is in
                    loading    how many records are in, and how long that took; until then
                    node/      the node's data folder
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loadtest.formula import FULL, SHORT, Shape
from loadtest.load import Tools
from loadtest.servers import load_node
from loadtest.startup import MeasurementError

MARKER = "loaded"
PROGRESS = "loading"
STEP_RECORDS = 1_000_000
FILLER = Path(__file__).parents[1] / "tests" / "loadtest" / "fill_lots.py"

MakeNode = Callable[[Path, Shape], Path]
"""Makes a node in a folder that is there, for rows of a shape; returns its data folder."""


@dataclass(frozen=True, slots=True)
class Filled:
    """How far a store is filled, and how long that took; `stops`: how often it was gone on with.

    What was loaded since the last whole step when it was stopped is not in the seconds.
    """

    records: int = 0
    seconds: float = 0.0
    stops: int = 0

    def text(self) -> str:
        """Return it as a line of a file."""
        return f"{self.records} records in {self.seconds:.1f} s, stopped {self.stops} times\n"


def read_filled(path: Path) -> Filled | None:
    """Return what a file says; None: there is none. Raises: MeasurementError."""
    try:
        words = path.read_text("utf-8").split()
    except FileNotFoundError:
        return None
    try:
        return Filled(int(words[0]), float(words[3]), int(words[6]))
    except (IndexError, ValueError):
        raise MeasurementError(
            f"{path} does not say how far the store is filled: delete {path.parent}"
        ) from None


def disk_octets(folder: Path) -> int:
    """Return what a folder's files take on the disk: blocks, since LMDB leaves holes."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def store_name(shape: Shape) -> str:
    """Return the folder of a store that is kept, within that of all of them."""
    if shape.serials:
        kind = "lots" if shape.lots else "ranges"
        return f"{kind}-{shape.rows // shape.serials}-of-{shape.serials}-{shape.values}"
    return f"rows-{shape.rows}" if shape.values == SHORT else f"rows-{shape.rows}-{shape.values}"


def is_filled(folder: Path, shape: Shape) -> bool:
    """Say whether a store is there whole."""
    return (folder / store_name(shape) / MARKER).exists()


def filled_octets(folder: Path, shape: Shape) -> int:
    """Return what there is of a store on the disk."""
    return disk_octets(folder / store_name(shape))


def build(
    tools: Tools,
    folder: Path,
    shape: Shape,
    say: Callable[[str], None],
    make: MakeNode,
    step: int = STEP_RECORDS,
) -> Path:
    """Return a node with these rows or ranges, filled now unless it is there whole.

    Args:
        tools: compiled.
        folder: of all stores.
        shape: what is to be in it.
        say: told about every step.
        make: makes the node's data folder, `home/node`.
        step: records that are loaded in one go.

    Raises:
        MeasurementError: a command failed.
    """
    home = folder / store_name(shape)
    if is_filled(folder, shape):
        return home / "node"
    filled, progress = read_filled(home / PROGRESS), home / PROGRESS
    if filled is None or shape.lots:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        make(home, shape)
        say(f"building the store: {shape.words()}")
        filled = Filled()
    else:
        say(f"going on with the store behind {filled.records:,} of {shape.records:,} records")
        filled = Filled(filled.records, filled.seconds, filled.stops + 1)
    _keep(progress, filled)
    while filled.records < shape.records:
        count = shape.records if shape.lots else min(step, shape.records - filled.records)
        seconds = (
            fill_lots(home / "node", shape)
            if shape.lots
            else load_node(tools, home / "node", shape, filled.records, count)
        )
        filled = Filled(filled.records + count, filled.seconds + seconds, filled.stops)
        _keep(progress, filled)
        left_s = filled.seconds / filled.records * (shape.records - filled.records)
        say(
            f"built {filled.records:,} of {shape.records:,} in {filled.seconds:,.0f} s, "
            f"{count / seconds:,.0f}/s; {left_s / 60:.1f} minutes left"
        )
    progress.rename(home / MARKER)
    return home / "node"


def _keep(progress: Path, filled: Filled) -> None:
    """Write how far it is; a file that is there stays whole until the new one is."""
    new = progress.with_suffix(".new")
    new.write_text(filled.text(), "utf-8")
    new.replace(progress)


def fill_lots(node: Path, shape: Shape) -> float:
    """Fill a node's store with lots; return the seconds it took.

    Raises:
        MeasurementError: this is no checkout, or filling failed.
    """
    if not FILLER.exists():
        raise MeasurementError(f"lots are filled in a checkout only: there is no {FILLER}")
    assert shape.values == FULL, "the lots of this benchmark have three values a row"
    words = [sys.executable, "-m", "tests.loadtest.fill_lots", str(node.resolve())]
    words += ["--prefix", shape.prefix, "--rows", str(shape.rows), "--serials", str(shape.serials)]
    begun = time.monotonic()
    ended = subprocess.run(
        words, cwd=FILLER.parents[2], capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise MeasurementError(f"the lots were not filled in: {ended.stderr.strip()[-500:]}")
    return time.monotonic() - begun
