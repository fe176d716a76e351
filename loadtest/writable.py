"""A node that takes streams over plain HTTP on this machine, and what its rows take on the disk."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.formula import Shape
from loadtest.registrar_client import Streamed
from loadtest.servers import CONFIG, init_node
from loadtest.startup import MeasurementError

WRITES_CONFIG = "writes.toml"
PLAIN_CREDENTIALS = "\n[tls]\nallow_plain_credentials_on_loopback = true\n"


@dataclass
class Disk:
    """What the rows of each run take on the disk."""

    octets_per_row: list[float]
    octets_per_row_of_a_lot: list[float]


def make_writable(folder: Path, shape: Shape) -> Path:
    """Make a node that reads credentials over plain HTTP on loopback; return its folder.

    It is a top node, which holds its administrator's key itself: no other has to run beside it.
    """
    folder.mkdir(exist_ok=True)
    node = init_node("top", folder / "node", "--prefix", shape.prefix.partition("/")[0])
    text = (node / CONFIG).read_text("utf-8")
    if "[tls]" in text:
        raise MeasurementError(f"{node / CONFIG} sets [tls] itself")
    (node / WRITES_CONFIG).write_text(text + PLAIN_CREDENTIALS, "utf-8")
    return node


def check_rows(streamed: Streamed, rows: int) -> None:
    """Raise MeasurementError unless so many rows were sent and created."""
    if not rows or streamed.last["created"] != rows:
        raise MeasurementError(f"{rows} rows were sent, {streamed.last['created']} created")


def describe_disk(octets_per_row: Sequence[float]) -> str:
    """Return in words what the rows of the runs took."""
    return (
        f"{statistics.median(octets_per_row):.1f} octets on the disk a row, journal included "
        f"({min(octets_per_row):.1f} to {max(octets_per_row):.1f})"
    )
