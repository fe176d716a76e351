"""The writer of a stream, killed with signal 9 in the middle 200 times, without a node around it.

    python -m tests.streams.writer_kills FOLDER [--kills 200] [--seed N]

What `kills.py` does with whole nodes, some at a time, this does often: each round a process of its
own opens the store and goes on with the stream as the registrar does, a transaction after another,
and says behind each commit which row it came to. It is killed at a moment drawn by lot: while it
opens, decides, writes, syncs or waits. What it had said must be there for the next one, and in the
end every row has the one verdict that it must have.
"""

import argparse
import hashlib
import json
import os
import random
import select
import signal
import sys
import traceback
from pathlib import Path

from protocol.handle import ROOT_HANDLE
from protocol.value import encode_values
from registry.bulk import register_rows
from registry.offline import seed_store
from registry.store import Store
from registry.stream_rows import PackedRow, RowKind
from registry.streams import Stream, Verdict, batches, find_stream, put_stream
from registry.verify import verify
from tests.registry.builders import ADMIN, NOW_S, POLICY, PREFIX, admin_value, open_store, url

SEED = 20261122
ROWS_AT_ONCE = 40
MOMENT_MAX_S = 0.06  # opening takes some 5 ms, a transaction some 3 ms
STREAM = Stream(ADMIN, b"lot", NOW_S * 1000)


def row_of(number: int) -> PackedRow:
    """The row with a number: of ten, one is made twice, and one is deleted again."""
    named, kind = number, RowKind.PLAIN
    if number % 10 in (0, 5):
        named, kind = number - 1, (RowKind.DELETE if number % 10 else RowKind.CREATE)
    handle = b"88.118/K%d" % named
    octets = b"" if kind == RowKind.DELETE else encode_values((url(data=b"%d" % number),))
    return kind.value, handle, octets, hashlib.sha256(b"%d" % number).digest()


def expected_verdict(number: int) -> Verdict:
    return {0: Verdict.REFUSED, 5: Verdict.DELETED}.get(number % 10, Verdict.CREATED)


def write_on(folder: Path, pipe: int) -> None:
    """Go on with the stream until killed; say in the pipe which rows are durable."""
    store = Store.open(folder)
    with store.read() as view:
        stream = find_stream(view, STREAM.name)
        assert stream is not None
    while True:
        os.write(pipe, stream.rows.to_bytes(8, "big"))
        first = stream.rows + 1
        rows = [row_of(number) for number in range(first, first + ROWS_AT_ONCE)]
        now_ms = NOW_S * 1000 + stream.rows
        with store.write() as view:
            stream = register_rows(
                view, stream, first, rows, foreign={}, policy=POLICY, now_ms=now_ms
            ).stream


def play_round(folder: Path, chance: random.Random) -> int | None:
    """Have a process write, kill it; return the last row it said was durable, if any."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            write_on(folder, writing)
        except BaseException:
            traceback.print_exc()
        os._exit(1)  # it should have been killed
    os.close(writing)
    select.select((), (), (), chance.random() * MOMENT_MAX_S)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), f"the writer ended by itself with {status}"
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    return int.from_bytes(said[len(said) - 8 :], "big") if said else None


def rows_of(store: Store) -> int:
    with store.read() as view:
        stream = find_stream(view, STREAM.name)
    assert stream is not None
    return stream.rows


def check(folder: Path) -> int:
    """Each row has its verdict, the store what follows from it; return how many there are."""
    report = verify(folder)
    assert report.is_whole, report.problems[:5]
    with open_store(folder) as store, store.read() as view:
        count = rows_of(store)
        number = 0
        for batch in batches(view, STREAM.name, 1):
            for run in batch.runs:
                for _ in range(run.rows):
                    number += 1
                    assert run.verdict == expected_verdict(number), f"row {number}: {run}"
        assert number == count
        for number in range(1, count + 1):
            if expected_verdict(number) == Verdict.CREATED:
                record = view.find_record(b"88.118/K%d" % number)
                is_deleted = number % 10 == 4 and number < count
                found = None if record is None else record.values[0].data
                assert found == (None if is_deleted else b"%d" % number), f"row {number}: {found!r}"
    return count


def run(folder: Path, kills: int, seed: int = SEED) -> dict[str, int]:
    """Kill so many times; return how many rows there are, and how often it was in the middle."""
    chance = random.Random(seed)
    seed_store(folder, {PREFIX: [admin_value()]}, [ROOT_HANDLE, PREFIX], now_s=NOW_S)
    with open_store(folder) as store, store.write() as view:
        put_stream(view, STREAM)
    reached = amid = 0
    for _ in range(kills):
        said = play_round(folder, chance)
        with Store.open(folder, readonly=True) as store:
            there = rows_of(store)
        assert there >= max(reached, said or 0), f"{there} rows are there, {said} were said"
        assert there % ROWS_AT_ONCE == 0, f"{there} rows: a transaction is there in part"
        amid += said is not None
        reached = there
    return {"kills": kills, "amid": amid, "rows": check(folder)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill the writer of a stream, again and again.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=SEED)
    chosen = parser.parse_args()
    json.dump(run(chosen.folder, chosen.kills, chosen.seed), sys.stdout)


if __name__ == "__main__":
    main()
