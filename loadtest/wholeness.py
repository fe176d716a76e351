"""Whether a store has what it was filled with: counted by its node, verified by replaying."""

import contextlib
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from loadtest.formula import Shape, make_handle
from loadtest.registrar_client import ask, find_administrator, log_in
from loadtest.servers import BIAOSHI, CONFIG, serving
from loadtest.startup import MeasurementError
from loadtest.writable import WRITES_CONFIG

LOOK_S = 0.25  # between two looks at the memory of `biaoshi verify`

_OWN_MEMORY = re.compile(r"RssAnon:\s*(\d+) kB")


@dataclass(frozen=True, slots=True)
class Checked:
    """What `biaoshi verify` said and took; `memory_octets` of its own, mapped files apart."""

    words: str
    seconds: float
    memory_octets: int


def count_identifiers(node: Path, shape: Shape) -> str:
    """Have the node count what is registered; return it in words.

    Raises:
        MeasurementError: there are more, or fewer, than were loaded.
    """
    with serving(node, make_handle(shape, 0), None, config=WRITES_CONFIG) as served:
        port = served.ports[1]
        authorization = log_in(port, find_administrator(node, CONFIG), tls=False)
        begun = time.monotonic()
        counts = ask(port, "GET", f"/api/ranges/count?prefix={shape.prefix}", authorization)
        seconds = time.monotonic() - begun
    if (counts["ranges"], counts["identifiers"]) != (shape.ranges, shape.rows):
        raise MeasurementError(f"{shape.words()} were loaded, the node counts {counts}")
    return (
        f"{counts['identifiers']:,} identifiers in {counts['ranges']:,} ranges, exactly, in "
        f"{seconds * 1000:.1f} ms"
    )


def check_store(node: Path, folder: Path) -> Checked:
    """Verify a node's store, its journal replayed into a folder.

    Raises:
        MeasurementError: something is wrong with it.
    """
    scratch = folder / "verify"  # which a run that was killed may have left behind
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    words = [str(BIAOSHI), "verify", str(node), "--scratch", str(scratch)]
    begun, most = time.monotonic(), 0
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        while process.poll() is None:
            time.sleep(LOOK_S)
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{process.pid}/status").read_text("ascii")
                most = max(most, own_octets(status))
        said = process.communicate()[0].strip()
    shutil.rmtree(scratch)
    if process.returncode:
        raise MeasurementError(f"the store is not whole: {said}")
    return Checked(said, time.monotonic() - begun, most)


def describe_checked(checked: Checked, shape: Shape) -> str:
    """Return in words what verifying took."""
    each_us = checked.seconds / shape.ranges * 1e6
    return (
        f"{checked.words}; in {checked.seconds:,.0f} s, {each_us:.1f} µs a range, with at most "
        f"{checked.memory_octets / 1e6:.0f} MB of its own memory"
    )


def own_octets(status: str) -> int:
    """Return what a process holds that is no file's, from its /proc status; 0: it has ended."""
    found = _OWN_MEMORY.search(status)
    return int(found[1]) * 1_024 if found else 0
