"""A stream whose node is killed again and again: every row is decided on once, and nothing is lost.

    python -m tests.streams.kills --kills 200 [--seed N]

What becomes of each row is known beforehand (`expected_verdict`): most create, some are refused,
replace, change nothing or delete. A row that was done twice, or out of turn, would have another
verdict than the expected one, and a row that was lost none.
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from protocol import jws
from protocol.types.hs_pubkey import decode_public_key
from registry.receipts import from_payload
from registry.schema import folded_key
from registry.store import Store
from registry.verify import verify
from tests.nodes import Node, make_node, running, wait_until
from tests.streams.client import (
    Streams,
    Told,
    Upload,
    deletion,
    digest_of,
    find_log_in,
    row,
    row_by_row,
)
from tests.streams.conftest import TABLES

SEED = 20261121
KEY = "lot"
ROWS_AT_ONCE_MAX = 400
TOLD_BEFORE_KILL_MAX = 12  # lines of verdicts
MOMENT_SPREAD_S = 0.05  # a few transactions of a full batch
RECOVERY_TIMEOUT_S = 20.0
# A child that keeps dying is replaced ever more slowly: after three the whole node starts afresh.
SINGLE_KILLS_MAX = 3
ROWS_AFTER_THE_LAST_KILL = 100
ROWS_SENT_AGAIN_MAX = 2_000  # by a client that does not believe what it is told
KINDS = ("registrar", "worker", "group")
_BROKEN = (OSError, http.client.HTTPException, json.JSONDecodeError)

# Of each hundred rows these do something else than create; all but the last to the row before them.
_OTHERS = {20: "refused", 40: "replaced", 60: "unchanged", 80: "deleted", 99: "refused"}


def expected_verdict(number: int) -> str:
    return _OTHERS.get(number % 100, "created")


def line_of(number: int) -> bytes:
    """The row with a number."""
    before = f"P{number - 1}"
    match number % 100:
        case 20:
            return row(before, "another")
        case 40:
            return row(before, "replaced", operation="replace")
        case 60:
            return row(before)
        case 80:
            return deletion(before)
        case 99:
            return b'{"handle": "88/no values"}\n'
    return row(f"P{number}")


def expected_text(number: int) -> str | None:
    """What the handle of a row says in the end, None when it is not there."""
    if expected_verdict(number) != "created" or number % 100 == 79:
        return None
    return "replaced" if number % 100 == 39 else f"no. P{number}"


class Round(NamedTuple):
    """What a client was told until its connection broke."""

    first: int
    verdicts: list[str]


def send_rows(upload: Upload, first: int, chance: random.Random) -> None:
    """Send rows until the connection breaks."""
    with contextlib.suppress(OSError):
        while True:
            count = chance.randint(1, ROWS_AT_ONCE_MAX)
            upload.send(b"".join(line_of(number) for number in range(first, first + count)))
            first += count


def read_verdicts(upload: Upload) -> Iterator[dict[str, object]]:
    """Yield verdicts until the connection breaks, or the node says that it cannot go on."""
    with contextlib.suppress(*_BROKEN):
        while (line := upload.line()) is not None and "verdict" in line:
            yield line


def play_round(streams: Streams, kind: str, first: int, chance: random.Random) -> Round:
    """Send rows from `first` on, kill, and return what had been told."""
    query = {"from": first, "end": "false", "verdicts": "stream"}
    lines = []
    enough = chance.randint(1, TOLD_BEFORE_KILL_MAX)
    with Upload(streams, KEY, query=query) as upload:
        sender = threading.Thread(
            target=send_rows, args=(upload, first, random.Random(chance.random()))
        )
        sender.start()
        try:
            for line in read_verdicts(upload):
                lines.append(line)
                if len(lines) == enough:
                    time.sleep(chance.random() * MOMENT_SPREAD_S)  # the moment is part of the lot
                    strike(streams.node, kind)
        finally:
            upload.close()
            sender.join()
    assert len(lines) >= enough, f"{kind}: the stream broke after {len(lines)} lines, before it"
    return Round(first, row_by_row(lines, first))


def strike(node: Node, kind: str) -> None:
    if kind == "group":
        node.kill()
        return
    pid = node.writer_pid() if kind == "registrar" else node.worker_pids()[0]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def recover(streams: Streams) -> int:
    """Bring the node back and log in; return the row that the stream waits for."""
    if streams.node.process is None:
        streams.node.start()

    def asks() -> int:
        with contextlib.suppress(*_BROKEN):
            header = find_log_in(streams.node)
            if header is not None:
                streams.authorization = header
                return streams.rows_durable(KEY) + 1
        return 0

    return int(wait_until(asks, "the node says where the stream stands", RECOVERY_TIMEOUT_S))


def victims(count: int, chance: random.Random) -> Iterator[str]:
    """Yield whom to kill in each round."""
    alone = 0
    for _ in range(count):
        kind = "group" if alone == SINGLE_KILLS_MAX else chance.choice(KINDS[:2])
        if chance.random() < 0.1:
            kind = "group"
        alone = 0 if kind == "group" else alone + 1
        yield kind


def go_back(next_row: int, chance: random.Random) -> int:
    """Return where to go on: at the next row, or somewhat before it."""
    return max(1, next_row - chance.choice((0, 1, chance.randint(0, ROWS_SENT_AGAIN_MAX))))


def finish(streams: Streams, first: int) -> Told:
    """Send some more rows and end the stream."""
    last = first + ROWS_SENT_AGAIN_MAX + ROWS_AFTER_THE_LAST_KILL
    return streams.post(KEY, map(line_of, range(first, last)), query={"from": first})


def check_end(streams: Streams, answer: Told, rounds: list[Round]) -> None:
    """Each row has its verdict, the one that was told; the receipt is of the rows as sent."""
    assert answer.status == 200, answer.last
    assert "changed" not in answer.last
    count = answer.last["rows"]
    verdicts = row_by_row(streams.verdicts(KEY))
    wrong = [at for at in range(1, count + 1) if verdicts[at - 1] != expected_verdict(at)]
    assert not wrong, [(at, verdicts[at - 1]) for at in wrong[:5]]
    assert len(verdicts) == count
    for each in rounds:
        told = verdicts[each.first - 1 : each.first - 1 + len(each.verdicts)]
        assert told == each.verdicts, f"from row {each.first} on something else was told"
    counts = Counter(verdicts)
    assert {name: answer.last[name] for name in counts} == counts
    public = decode_public_key((streams.node.folder / "server-public-key.bin").read_bytes())
    receipt = from_payload(jws.verify(answer.last["receipt"], public))
    assert (receipt.rows, receipt.created) == (count, counts["created"])
    assert receipt.digest == digest_of(map(line_of, range(1, count + 1)))


def check_store(node: Node, count: int) -> None:
    """What was created is there as the last row on it left it, and nothing else is."""
    report = verify(node.store)
    assert report.is_whole, report.problems[:5]
    with Store.open(node.store, readonly=True, case_sensitive=None) as store, store.read() as view:
        for number in range(1, count + 1):
            record = view.find_record(f"88/P{number}".encode())
            text = None if record is None else record.values[1].data.decode()
            assert text == expected_text(number), f"row {number} left {text}"
        stored = sum(key.startswith(folded_key(b"88/P")) for key, _ in view.rows())
    assert stored == sum(expected_text(number) is not None for number in range(1, count + 1))


def run(folder: Path, kills: int, seed: int = SEED) -> tuple[int, Counter[str]]:
    """Kill so many times; return how many rows there were, and who was killed."""
    chance = random.Random(seed)
    node = make_node(folder / "node", tables=TABLES)
    rounds: list[Round] = []
    killed: Counter[str] = Counter()
    with running(node):
        streams = Streams(node)
        next_row = 1
        for kind in victims(kills, chance):
            rounds.append(play_round(streams, kind, go_back(next_row, chance), chance))
            told_through = rounds[-1].first + len(rounds[-1].verdicts) - 1
            reached, next_row = max(told_through + 1, next_row), recover(streams)
            assert next_row >= reached, f"{kind}: row {next_row} is asked for, not {reached}"
            killed[kind] += 1
        answer = finish(streams, max(1, next_row - ROWS_SENT_AGAIN_MAX))
        check_end(streams, answer, rounds)
        assert "Traceback" not in node.log, node.log_tail
        assert node.stop() == 0
    check_store(node, answer.last["rows"])
    return answer.last["rows"], killed


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill a node in the middle of a stream.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=SEED)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="biaoshi-kills-") as folder:
        started_s = time.monotonic()
        count, killed = run(Path(folder), chosen.kills, chosen.seed)
        took_s = time.monotonic() - started_s
    who = ", ".join(f"{kind} {times}" for kind, times in sorted(killed.items()))
    sys.stdout.write(
        f"{chosen.kills} kills ({who}), {count:,} rows, none lost or done twice, {took_s:.0f} s\n"
    )


if __name__ == "__main__":
    main()
