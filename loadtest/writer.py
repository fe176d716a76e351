"""A writer beside the readers: `biaoshi import --by-row` registers while look-ups are measured.

Every row is registered by itself, durably, after a challenge that the administrator's key answers;
16 are under way at a time. Their handles are `prefix/W<run>/P<number>`, so that no reader asks for
them. The writer is on the generator's core and takes a good part of it: what a rate loses against
P1 is mostly that. So the echo is measured beside the writer too, and the ratio is the node's.

When the measurements are over the writer is interrupted and says how many rows were decided. At
least as many of its file's first rows have to be in the node, with the values of the file.
"""

import http.client
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from loadtest.formula import Shape, make_handle, make_row
from loadtest.load import Answers, Tools, pinned
from loadtest.plan import ECHO, Bench
from loadtest.servers import BIAOSHI, running
from loadtest.startup import MeasurementError, resolution_request
from protocol.bodies import ValuesRequest, decode_response_body
from protocol.codes import ResponseCode
from protocol.message import decode_message

WRITTEN = "UDP, with a writer"
WRITTEN_OPEN = "UDP, with a writer, open loop at half of P1"
IN_FLIGHT = 16
ROWS_PER_S_MAX = 5_000  # an order of magnitude above what was seen: the file must not run out
EXTRA_S = 15  # of rows in the file beyond the measurements
LIMIT_S = 15.0
LOOK_S = 0.05
ASK_TIMEOUT_S = 1.0
ASK_PASSES_MAX = 5
INTERRUPTED = 130

_DECIDED = re.compile(r"interrupted: ([\d,]+) rows were decided")
_REGISTERED = re.compile(
    r'^biaoshi_requests_total\{[^}]*opcode="create_handle",response_code="success"[^}]*\} (\S+)$',
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Target:
    """The node that is read and written."""

    folder: Path
    handle_port: int
    http_port: int


def written_rows(plan_shape: Shape, run: int, seconds: int) -> Shape:
    """Return what the writer of a run may register: more rows than it can in the time."""
    rows = ROWS_PER_S_MAX * (4 * seconds + EXTRA_S)
    return replace(plan_shape, rows=rows, prefix=f"{plan_shape.prefix}/W{run}")


def import_words(node: Path, file: Path, core: int | None) -> list[str]:
    """Return the writer's command line."""
    words = ["import", str(file), "--by-row", "--in-flight", str(IN_FLIGHT), "--node", str(node)]
    return [*pinned(core), str(BIAOSHI), *words, "--refused", str(file.with_suffix(".refused"))]


def measure_with_writer(bench: Bench, target: Target, system: str, run: int, rate: float) -> int:
    """Measure P1's load, and an open loop at `rate`, while rows are registered; return how many.

    Raises:
        MeasurementError: the writer ended early, a row was refused or is not there afterwards.
    """
    plan = bench.plan
    rows = written_rows(plan.shape, run, plan.seconds)
    file, log = bench.folder / f"written-{run}.ndjson", bench.folder / f"written-{run}.log"
    write_rows(bench.tools, rows, file)
    before = read_registered(target.http_port)
    with running(import_words(target.folder, file, plan.client_core), log) as writer:
        await_registered(target.http_port, before, writer)
        loops: Sequence[tuple[str, tuple[str, ...]]] = (
            (WRITTEN, ()),
            (WRITTEN_OPEN, ("--rate", f"{rate:.0f}")),
        )
        for case, options in loops:
            echo = bench.generate("echo", bench.echo_port, options)
            answers = generate_counting(bench, target, options)
            bench.keep(case, ECHO, run, echo)
            bench.keep(case, system, run, answers, answers.rate / echo.rate)
        decided = end_writer(writer, log)
    if file.with_suffix(".refused").exists():
        raise MeasurementError(f"rows of {file} were refused")
    found = count_resolved(target.handle_port, rows, range(decided + IN_FLIGHT))
    if found < decided:
        raise MeasurementError(f"{decided} rows were registered, {found} of them are in the node")
    bench.say(f"run {run}  {decided:,} rows were registered, all of them resolve")
    file.unlink()
    return decided


def generate_counting(bench: Bench, target: Target, options: Sequence[str]) -> Answers:
    """Run the generator once; count in `registered` what the node registered meanwhile."""
    before = read_registered(target.http_port)
    answers = bench.generate("udp", target.handle_port, options)
    registered = read_registered(target.http_port) - before
    return replace(answers, counts={**answers.counts, "registered": registered})


def write_rows(tools: Tools, rows: Shape, file: Path) -> None:
    """Write rows as `biaoshi import` reads them. Raises: OSError, CalledProcessError."""
    words = ["ndjson", "--prefix", rows.prefix]
    words += ["--rows", str(rows.rows), "--values", str(rows.values)]
    with file.open("wb") as sink:
        subprocess.run([str(tools.generator), *words], stdout=sink, check=True)


def read_registered(http_port: int) -> int:
    """Return how many handles the node says it has created since its start."""
    connection = http.client.HTTPConnection("127.0.0.1", http_port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        return count_registered(connection.getresponse().read().decode())
    finally:
        connection.close()


def count_registered(page: str) -> int:
    """Add up the handles created in a page of metrics."""
    return sum(int(float(number)) for number in _REGISTERED.findall(page))


def await_registered(http_port: int, before: int, writer: subprocess.Popen[bytes]) -> None:
    """Wait until the writer's first row is registered. Raises: MeasurementError."""
    deadline = time.monotonic() + LIMIT_S
    while read_registered(http_port) == before:
        if writer.poll() is not None or time.monotonic() > deadline:
            raise MeasurementError("the writer registers nothing; its log is beside its file")
        time.sleep(LOOK_S)


def end_writer(writer: subprocess.Popen[bytes], log: Path) -> int:
    """Interrupt the writer; return how many rows it says were decided.

    Raises:
        MeasurementError: it had ended before, or does not end.
    """
    writer.send_signal(signal.SIGINT)
    try:
        code = writer.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        raise MeasurementError(f"the writer did not end within {LIMIT_S:.0f} s") from None
    words = log.read_text("utf-8", "replace")
    if code != INTERRUPTED:
        raise MeasurementError(f"the writer ended with code {code}: {words.strip()}")
    return read_decided(words)


def read_decided(words: str) -> int:
    """Return the number of rows in what an interrupted import says. Raises: MeasurementError."""
    found = _DECIDED.search(words)
    if found is None:
        raise MeasurementError(f"the writer does not say how many rows it sent: {words.strip()}")
    return int(found[1].replace(",", ""))


def count_resolved(port: int, shape: Shape, numbers: Iterable[int]) -> int:
    """Return how many rows are in the node, a few asked for at a time over UDP.

    Raises:
        MeasurementError: one is there with other values, or there was no answer.
    """
    waiting, found = set(numbers), 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", port))
        client.settimeout(ASK_TIMEOUT_S)
        for _ in range(ASK_PASSES_MAX):
            asked = sorted(waiting)
            for at in range(0, len(asked), IN_FLIGHT):
                answered = _ask(client, shape, asked[at : at + IN_FLIGHT])
                waiting -= answered.keys()
                found += sum(answered.values())
            if not waiting:
                return found
    raise MeasurementError(f"no answer for {len(waiting)} rows that were registered")


def _ask(client: socket.socket, shape: Shape, numbers: Sequence[int]) -> dict[int, bool]:
    """Ask for some rows at once; return of those answered whether they are in the node."""
    for number in numbers:
        client.send(resolution_request(make_handle(shape, number), number + 1))
    answered: dict[int, bool] = {}
    while len(answered) < len(numbers):
        try:
            answer = client.recv(65_536)
        except TimeoutError:
            break
        number, is_found = read_answer(answer, shape)
        answered[number] = is_found
    return answered


def read_answer(answer: bytes, shape: Shape) -> tuple[int, bool]:
    """Return the row that was asked for and whether it is in the node.

    Timestamps are the node's and not compared.

    Raises:
        MeasurementError: it holds other values, or the answer is neither yes nor no.
    """
    message = decode_message(answer)
    number = message.envelope.request_id - 1
    if message.header.response_code == ResponseCode.HANDLE_NOT_FOUND:
        return number, False
    body = None
    if message.header.response_code == ResponseCode.SUCCESS:
        body = decode_response_body(message.header, message.body)[1]
    expected = [replace(value, timestamp=0) for value in make_row(shape, number)]
    if not isinstance(body, ValuesRequest) or expected != [
        replace(value, timestamp=0) for value in body.values
    ]:
        raise MeasurementError(f"row {number} of the writer is answered with {body or message}")
    return number, True
