"""`make bench-writes`: targets P4 to P7, how fast a node registers and what that costs others.

    P4  PUT of one row each over 64 kept-open HTTPS connections, in a session; both cores for all
    P5  one NDJSON stream over HTTP on loopback, in a session; server on one core, client on another
    P6  what the rows of P5 take on the disk, journal included; and rows of a lot from a template
    P7  look-ups in an open loop at 10,000/s while a stream registers as fast as it can

Rows are those of the formula, without the timestamps: the node sets its own. P4 and P5 begin with
an empty node in every run. Afterwards every row of P4 that was acknowledged and 200 rows of P5 are
read back, and `biaoshi verify` goes through the store of P5.
"""

import contextlib
import os
import secrets
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from loadtest.formula import Shape, make_handle
from loadtest.load import Answers, Tools, check_http, compile_tools, run_puts
from loadtest.lot import LOT_ROWS, TEMPLATE, measure_lot
from loadtest.plan import Bench, Plan, check_cores
from loadtest.registrar_client import Streamed, find_administrator, log_in, send_stream
from loadtest.report import make_report
from loadtest.resident import held
from loadtest.servers import CONFIG, load_node, run_biaoshi, serving
from loadtest.startup import MeasurementError
from loadtest.stores import disk_octets
from loadtest.writable import WRITES_CONFIG, Disk, check_rows, describe_disk, make_writable
from loadtest.writer import count_resolved

P4 = "P4 single, durable, HTTPS, 64 connections"
P5 = "P5 stream of NDJSON"
P7_ALONE = "UDP, open loop at 10 k/s, nobody writes"
P7 = "P7 UDP, open loop at 10 k/s, beside a stream"
P7_STREAM = "P7 the stream beside it"
SYSTEM = "biaoshi"
CONNECTIONS = 64
PUTS_PER_S_MAX = 20_000  # some times what was seen: the file must not run out
READ_PER_S = 10_000
CHUNK_OCTETS = 65_536
SETTLE_S = 0.5  # before the look-ups that are measured: the stream is under way then
_TIMESTAMP = b',"timestamp":"2026-11-21T00:00:00Z"'


def run_writes(plan: Plan, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure P4 to P7 and return the report.

    Args:
        plan: what to measure; its shape's rows are those of P5.
        folder: an empty one for stores and logs, on a real disk.
        say: told about every step.

    Raises:
        MeasurementError: something does not run, or a row was lost.
    """
    check_cores(plan)
    bench = Bench(plan, compile_tools(folder), folder, say)
    disk = Disk([], [])
    readers = make_readers(bench)
    with on_core(plan.client_core):
        for run in range(1, plan.runs + 1):
            measure_single(bench, run)
            measure_stream(bench, run, disk)
            measure_lot(bench, run, disk)
            measure_beside(bench, run, readers)
    bench.notes["P6"] = describe_disk(disk.octets_per_row)
    bench.notes["P6, lot from a template"] = (
        f"{describe_disk(disk.octets_per_row_of_a_lot)}; {LOT_ROWS:,} consecutive serials, "
        f"{len(TEMPLATE['attributes'])} attributes, two of which hold the serial"
    )
    return make_report(bench.samples, setup_words(plan), {"notes": bench.notes})


def setup_words(plan: Plan) -> dict[str, str]:
    """Return in words what every figure depends on."""
    return {
        "rows": plan.shape.words(),
        "authentication": "a session of the prefix's administrator, RSA-2048 at its beginning",
        "TLS": "P4 yes, kept-open connections; P5 and P7 no",
        "cores": f"P4 shares all cores with wrk; else server {plan.server_core}, client and "
        f"generator {plan.client_core}; one worker",
        "keys": "rows in their order, so sorted; look-ups uniform over as many rows",
        "load": f"P4 {CONNECTIONS} in flight for {plan.seconds} s; P5 from the first octet sent to "
        f"the receipt; P7 {plan.seconds} s; {plan.runs} runs; every answer checked",
    }


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Keep this process, which sends streams, on a core; what it starts may be elsewhere."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def make_readers(bench: Bench) -> Path:
    """Return the node of P7, filled with the rows that are looked up."""
    node = make_writable(bench.folder / "readers", bench.plan.shape)
    bench.say(f"building the store that is read: {bench.plan.shape.words()}")
    load_node(bench.tools, node, bench.plan.shape)
    return node


def measure_single(bench: Bench, run: int) -> None:
    """Measure P4; read back what was acknowledged."""
    plan, home = bench.plan, bench.folder / f"single-{run}"
    rows = replace(plan.shape, rows=PUTS_PER_S_MAX * (plan.seconds + 1))
    node, file = make_writable(home, rows), home / "rows.ndjson"
    with file.open("wb") as sink, generating(bench.tools, rows) as pieces:
        for piece in pieces:
            sink.write(piece)
    with serving(node, make_handle(rows, 0), plan.both_cores, config=WRITES_CONFIG) as served:
        port, http_port = served.ports
        authorization = log_in(http_port, find_administrator(node, CONFIG), tls=True)
        answers = run_puts(
            http_port,
            file,
            authorization,
            seconds=plan.seconds,
            connections=CONNECTIONS,
            cores=plan.both_cores,
        )
        created = answers.counts["created"]
        # wrk takes a row for itself when it starts, and gives up on what is in flight at the end.
        found = count_resolved(port, rows, range(created + CONNECTIONS + 1))
    if found < created:
        raise MeasurementError(f"{created} rows were acknowledged, {found} of them are there")
    bench.keep(P4, SYSTEM, run, answers)
    shutil.rmtree(home)


def measure_stream(bench: Bench, run: int, disk: Disk) -> None:
    """Measure P5 and P6; read a sample back, verify the store."""
    plan, home = bench.plan, bench.folder / f"stream-{run}"
    shape, node = plan.shape, make_writable(home, plan.shape)
    before = disk_octets(node / "store")
    with serving(node, make_handle(shape, 0), plan.server_core, config=WRITES_CONFIG) as served:
        http_port = served.ports[1]
        authorization = log_in(http_port, find_administrator(node, CONFIG), tls=False)
        with generating(bench.tools, shape) as pieces:
            streamed = send_stream(http_port, authorization, "bench", started(pieces))
        check_rows(streamed, shape.rows)
        check_http(http_port, shape, seed=run)
    run_biaoshi("verify", str(node))
    octets = (disk_octets(node / "store") - before) / shape.rows
    disk.octets_per_row.append(octets)
    bench.keep(P5, SYSTEM, run, Answers(shape.rows / streamed.seconds))
    bench.say(f"run {run}  P6 {octets:.1f} octets a row; 200 rows read back, store verified")
    shutil.rmtree(home)


def measure_beside(bench: Bench, run: int, node: Path) -> None:
    """Measure P7, and the same look-ups with nobody writing."""
    plan = bench.plan
    written = replace(plan.shape, rows=5_000_000_000, prefix=f"{plan.shape.prefix}/S{run}")
    options = ("--rate", str(READ_PER_S))
    handle = make_handle(plan.shape, 0)
    with (
        held(node / "store"),
        serving(node, handle, plan.server_core, config=WRITES_CONFIG) as served,
    ):
        port, http_port = served.ports
        bench.keep(P7_ALONE, SYSTEM, run, bench.generate("udp", port, options))
        authorization = log_in(http_port, find_administrator(node, CONFIG), tls=False)
        sender = Sender(bench.tools, written, http_port, authorization)
        sender.start()
        try:
            warm = ("--warmup", str(SETTLE_S))
            answers = bench.generate("udp", port, (*options, *warm))
        finally:
            streamed = sender.finish()
        rows = int(streamed.last["rows"])
        check_rows(streamed, rows)
        check_http(http_port, replace(written, rows=rows), seed=run)
    bench.keep(P7, SYSTEM, run, answers)
    bench.keep(P7_STREAM, SYSTEM, run, Answers(rows / streamed.seconds))


class Sender(threading.Thread):
    """Sends a stream from the generator until it is told to finish."""

    def __init__(self, tools: Tools, rows: Shape, http_port: int, authorization: str) -> None:
        super().__init__(name="sender", daemon=True)
        self._tools = tools
        self._rows = rows
        self._http_port = http_port
        self._authorization = authorization
        self._enough = threading.Event()
        self._streamed: Streamed | None = None
        self._error: Exception | None = None

    def run(self) -> None:
        """Send."""
        try:
            with generating(self._tools, self._rows) as pieces:
                whole = whole_lines(pieces, self._enough.is_set)
                key = secrets.token_hex(8)
                self._streamed = send_stream(self._http_port, self._authorization, key, whole)
        except (MeasurementError, OSError) as error:
            self._error = error

    def finish(self) -> Streamed:
        """End the stream; return how it went. Raises: MeasurementError."""
        self._enough.set()
        self.join()
        if self._streamed is None:
            raise MeasurementError(f"the stream broke: {self._error}")
        return self._streamed


@contextlib.contextmanager
def generating(tools: Tools, shape: Shape) -> Iterator[Iterator[bytes]]:
    """Hand out the rows as NDJSON, in pieces that end anywhere, made as they are taken."""
    words = [str(tools.generator), "ndjson", "--prefix", shape.prefix]
    words += ["--rows", str(shape.rows), "--values", str(shape.values)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as generator:
        assert generator.stdout is not None
        try:
            yield without_timestamps(iter(lambda: _read(generator), b""))
        finally:
            generator.kill()


def _read(generator: "subprocess.Popen[bytes]") -> bytes:
    assert generator.stdout is not None
    return generator.stdout.read(CHUNK_OCTETS)


def without_timestamps(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield whole lines of NDJSON whose values state no time."""
    rest = b""
    for piece in pieces:
        lines, feed, rest_of_piece = piece.rpartition(b"\n")
        if not feed:
            rest += piece
            continue
        yield (rest + lines + feed).replace(_TIMESTAMP, b"")
        rest = rest_of_piece
    if rest:
        yield rest.replace(_TIMESTAMP, b"")


def started(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Return the pieces, the first of which is there."""
    first = next(pieces)

    def all_of_them() -> Iterator[bytes]:
        yield first
        yield from pieces

    return all_of_them()


def whole_lines(pieces: Iterator[bytes], is_enough: Callable[[], bool]) -> Iterator[bytes]:
    """Yield pieces of whole lines until there are enough."""
    for piece in pieces:
        yield piece
        if is_enough():
            return
