"""Nothing is acknowledged before it is durable, as the kernel saw it.

For each registration the trace has to show, in this order: the request's octets read from the
network; a write of its row to data.mdb returned; an fdatasync that began after that returned; the
new meta page written through the O_DSYNC descriptor returned; only then the octets of the
acknowledgement handed to the network.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from tests.faults.conftest import (
    CLIENTS,
    ONE_BY_ONE,
    OVER_HTTP,
    PER_CLIENT,
    Acknowledged,
    TracedRun,
)
from tests.faults.power_loss import DiskHistory
from tests.faults.system_calls import READS, SENDS, SystemCall, read_trace


def find_read(calls: Sequence[SystemCall], made: Acknowledged) -> SystemCall | None:
    """The call with which a request came in from the network."""
    return next((c for c in calls if _is(c, READS) and made.request in c.octets), None)


def find_acknowledgement(calls: Sequence[SystemCall], made: Acknowledged) -> SystemCall | None:
    """The call with which the success of a creation left for the network."""
    return next((c for c in calls if _is(c, SENDS) and made.success.search(c.octets)), None)


def _is(call: SystemCall, names: Sequence[str]) -> bool:
    return call.is_on_network and call.name in names and call.result > 0


def find_gap(calls: Sequence[SystemCall], disk: DiskHistory, made: Acknowledged) -> str:
    """Say which step is missing between request and acknowledgement; "" when all are there."""
    request = find_read(calls, made)
    acknowledgement = find_acknowledgement(calls, made)
    if request is None or acknowledgement is None:
        return "request or acknowledgement is not in the trace"
    key = b"88/" + made.name.upper().encode()
    rows = [w for w in disk.writes if w.entered > request.left and key in w.octets]
    if not rows:
        return "its row was not written after the request was read"
    synced = next((s.left for s in disk.syncs if s.entered > rows[0].left), None)
    if synced is None:
        return "no fdatasync followed the write of its row"
    meta = next((w for w in disk.writes if w.synchronous and w.entered > synced), None)
    if meta is None:
        return "no synchronous write of a meta page followed the fdatasync"
    if meta.left >= acknowledgement.entered:
        return "it was acknowledged before the meta page was written"
    return ""


def test_every_acknowledgement_left_after_fdatasync_and_meta_page(traced_run: TracedRun) -> None:
    assert len(traced_run.acknowledged) == ONE_BY_ONE + 2 * OVER_HTTP + CLIENTS * PER_CLIENT
    gaps = {
        made.name: find_gap(traced_run.calls, traced_run.disk, made)
        for made in traced_run.acknowledged
    }
    assert {name: gap for name, gap in gaps.items() if gap} == {}


def test_check_notices_missing_syncs(traced_run: TracedRun) -> None:
    unsynced = traced_run.disk._replace(syncs=())
    careless_meta = traced_run.disk._replace(writes=traced_run.disk.without_syncs().writes)
    for made in traced_run.acknowledged:
        assert "fdatasync" in find_gap(traced_run.calls, unsynced, made)
        assert "meta page" in find_gap(traced_run.calls, careless_meta, made)


def test_check_notices_an_acknowledgement_that_left_early(traced_run: TracedRun) -> None:
    made = traced_run.acknowledged[0]
    request = find_read(traced_run.calls, made)
    sent = find_acknowledgement(traced_run.calls, made)
    assert request is not None
    assert sent is not None
    moment = request.left + 1
    early = dataclasses.replace(sent, entered=moment, left=moment)
    calls = [early if call is sent else call for call in traced_run.calls]
    assert "before the meta page" in find_gap(calls, traced_run.disk, made)


def test_registrations_in_parallel_share_transactions(traced_run: TracedRun) -> None:
    # Group commit: fewer fdatasyncs than acknowledgements, or the promise costs one each.
    commits = sum(write.synchronous for write in traced_run.disk.writes)
    assert ONE_BY_ONE <= commits < len(traced_run.acknowledged)


def test_calls_that_were_interrupted_in_the_trace_are_put_together(tmp_path: Path) -> None:
    record = tmp_path / "strace.txt"
    record.write_text(
        "7 1.0 fdatasync(22<\\x2f\\x61> <unfinished ...>\n"
        "8 1.1 read(5<TCP:[1.2.3.4:5->1.2.3.4:6]>,  <unfinished ...>\n"
        "7 1.2 <... fdatasync resumed>)          = 0\n"
        '8 1.3 <... read resumed>"\\x41\\x42", 65536) = 2\n'
        '8 1.4 write(5<TCP:[1.2.3.4:5->1.2.3.4:6]>, "\\x43", 1) = -1 EPIPE (Broken pipe)\n'
        "8 1.5 --- SIGPIPE {si_signo=SIGPIPE} ---\n"
        '7 1.6 pwrite64(23<\\x2f\\x61>, "\\x44", 1, 4096 <unfinished ...>\n'
    )
    sync, read, write = read_trace(record)
    assert (sync.name, sync.fd, sync.target, sync.entered, sync.left) == (
        "fdatasync",
        22,
        "/a",
        0,
        2,
    )
    assert (read.octets, read.result, read.entered, read.left) == (b"AB", 2, 1, 3)
    assert read.is_on_network
    assert write.result == -1
