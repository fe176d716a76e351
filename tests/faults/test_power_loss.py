"""The machine loses power at the moment of an acknowledgement: every row promised is there.

The disk is rebuilt from the trace for each acknowledgement twice: once without any write that was
not certainly kept, and once with a random half of those, sector by sector.
"""

import random
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults.conftest import TracedRun
from tests.faults.power_loss import Row, disk_history, find_loss, find_missing
from tests.faults.system_calls import (
    SystemCall,
    read_trace,
    require_strace,
    synchronous_descriptors,
    traced,
)
from tests.faults.test_durability_trace import find_acknowledgement
from tests.faults.wire_client import expected_data
from tests.nodes import ROOT

SEED = 20261121
ROWS = 10


class Promise(NamedTuple):
    """The moment an acknowledgement left, and its row."""

    moment: int
    row: Row


def promises(run: TracedRun) -> list[Promise]:
    made = []
    for each in run.acknowledged:
        sent = find_acknowledgement(run.calls, each)
        assert sent is not None, f"{each.name} was acknowledged, but not in the trace"
        row = (b"88/" + each.name.encode(), expected_data(each.name))
        made.append(Promise(sent.entered, row))
    return sorted(made, key=lambda promise: promise.moment)


def rows_until(made: list[Promise], moment: int) -> list[Row]:
    return [promise.row for promise in made if promise.moment <= moment]


def test_trace_accounts_for_every_octet_of_the_file(traced_run: TracedRun) -> None:
    # What makes the images below believable: replaying the trace gives the very file.
    assert traced_run.disk.final == traced_run.file_afterwards


def test_power_cut_with_all_unsynced_writes_lost(traced_run: TracedRun, tmp_path: Path) -> None:
    made = promises(traced_run)
    for number, promise in enumerate(made):
        image = traced_run.disk.image(promise.moment)
        rows = rows_until(made, promise.moment)
        assert find_loss(image, tmp_path / str(number), rows) == [], f"cut {number}"


def test_power_cut_with_unsynced_writes_half_there(traced_run: TracedRun, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    made = promises(traced_run)
    for number, promise in enumerate(made):
        image = traced_run.disk.image(promise.moment, chance)
        rows = rows_until(made, promise.moment)
        assert find_loss(image, tmp_path / str(number), rows) == [], f"cut {number}, seed {SEED}"


def test_power_cut_in_the_middle_of_a_transaction(traced_run: TracedRun, tmp_path: Path) -> None:
    # Not only at acknowledgements: right after each write and each fdatasync of the store.
    chance = random.Random(SEED + 1)
    made = promises(traced_run)
    moments = [write.left + 1 for write in traced_run.disk.writes]
    moments += [sync.left + 1 for sync in traced_run.disk.syncs]
    for number, moment in enumerate(sorted(moments)[::3]):
        image = traced_run.disk.image(moment, chance)
        problems = find_loss(image, tmp_path / str(number), rows_until(made, moment))
        assert problems == [], f"cut after position {moment}, seed {SEED + 1}"


def test_without_fdatasync_the_check_finds_loss(traced_run: TracedRun, tmp_path: Path) -> None:
    careless = traced_run.disk.without_syncs()
    made = promises(traced_run)
    problems = find_loss(
        careless.image(made[-1].moment), tmp_path / "image", rows_until(made, made[-1].moment)
    )
    assert len(problems) >= len(made)


# A program as careless as a store with sync=False lets it be; each row is promised on stdout.
CARELESS_WRITER = """
import sys
from pathlib import Path
from registry.store import Store
from tests.faults.wire_client import product_values
with Store.open(Path(sys.argv[1]), sync=sys.argv[2] == "sync") as store:
    print("open", flush=True)
    sys.stdin.readline()
    for number in range(int(sys.argv[3])):
        with store.write(journaled=False) as view:
            view.put_record(b"88/row-%d" % number, product_values(f"row-{number}"))
        print(f"row-{number};", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("mode", ["sync", "nosync"])
def test_store_keeps_its_promises_only_with_sync(mode: str, tmp_path: Path) -> None:
    require_strace()
    data_file = tmp_path / "store" / "data.mdb"
    words = [sys.executable, "-c", CARELESS_WRITER, str(data_file.parent), mode, str(ROWS)]
    writer = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert writer.stdin is not None
    assert writer.stdout is not None
    try:
        assert writer.stdout.readline() == b"open\n"
        base = data_file.read_bytes()
        with traced([writer.pid], tmp_path / "strace.txt"):
            writer.stdin.write(b"\n")
            writer.stdin.flush()
            for _ in range(ROWS):
                writer.stdout.readline()
        synchronous = synchronous_descriptors(writer.pid, data_file)
    finally:
        writer.communicate(b"\n", timeout=30)
    calls = read_trace(tmp_path / "strace.txt")
    disk = disk_history(calls, data_file, base, synchronous)
    made = [promise_on_stdout(calls, f"row-{number}") for number in range(ROWS)]
    image = disk.image(made[-1].moment)
    lost = find_missing(image, tmp_path / "image", [promise.row for promise in made])
    assert len(lost) == (0 if mode == "sync" else ROWS)


def promise_on_stdout(calls: list[SystemCall], name: str) -> Promise:
    octets = f"{name};".encode()
    moment = next(c.entered for c in calls if c.name == "write" and c.octets.startswith(octets))
    return Promise(moment, (b"88/" + name.encode(), expected_data(name)))
