"""Watching a node's system calls with strace, and reading what it wrote down.

One tracer stops all traced threads in turn, so the lines of its file are a total order of what
really happened: a call is entered where its line (or its `<unfinished ...>`) stands and has
returned where its line (or its `<... resumed>`) ends. Those positions are the only clock here.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.nodes import wait_until

READS = ("read", "readv", "recvfrom", "recvmsg", "recvmmsg")
FILE_WRITES = ("pwrite64", "pwritev", "pwritev2", "writev", "write")
SENDS = ("write", "writev", "sendto", "sendmsg", "sendmmsg")
SYNCS = ("fdatasync", "fsync")
# Calls that would change the file behind the model's back; the model insists they do not occur.
UNMODELLED = ("ftruncate", "fallocate", "msync", "sync_file_range", "copy_file_range", "sendfile")
_TRACED = sorted({*READS, *FILE_WRITES, *SENDS, *SYNCS, *UNMODELLED, "lseek"})
_STRING_OCTETS_MAX = 1 << 20  # more than any write here: a string cut short would hide octets

_LINE = re.compile(r"^(\d+) +[\d.]+ (.*)$")
_RESUMED = re.compile(r"^<\.\.\. \w+ resumed>(.*)$")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_RESULT = re.compile(r"\) += (-?\d+|\?)(?: [A-Z][^)]*\)?)?$")
_FD = re.compile(r"^(\d+)<(.*?)> *[,)]")
_SOCKET = re.compile(r"^(TCP|UDP|TCPv6|UDPv6|UNIX[A-Z-]*|NETLINK)\b")


@dataclass(frozen=True, slots=True)
class SystemCall:
    """One call: entered and left are positions in the file; octets is what went in or out."""

    thread: int
    name: str
    fd: int
    target: str
    octets: bytes
    arguments: str
    result: int
    entered: int
    left: int

    @property
    def is_on_network(self) -> bool:
        return self.target.startswith(("TCP", "UDP"))


def require_strace() -> None:
    """Skip the test where strace is missing or may not attach to our own processes."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt-get install strace")
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    restricted = scope.exists() and scope.read_text().strip() != "0"
    if restricted and not _is_root():
        pytest.skip("kernel.yama.ptrace_scope forbids attaching to running processes")


def _is_root() -> bool:
    return Path("/proc/self").stat().st_uid == 0


@contextmanager
def traced(pids: Sequence[int], record: Path) -> Iterator[None]:
    """Trace running processes and all their threads while the block lasts."""
    words = ["strace", "-f", "-ttt", "-yy", "-xx", "-s", str(_STRING_OCTETS_MAX)]
    words += ["-e", f"trace={','.join(_TRACED)}", "-o", str(record)]
    for pid in pids:
        words += ["-p", str(pid)]
    tracer = subprocess.Popen(words, stderr=subprocess.PIPE)
    threads = {thread.name for pid in pids for thread in Path(f"/proc/{pid}/task").iterdir()}
    try:
        wait_until(lambda: _all_traced(tracer, threads), "strace is attached to every thread")
        yield
    finally:
        tracer.send_signal(2)  # SIGINT: it detaches and leaves the processes running
        _, errors = tracer.communicate(timeout=30)
    assert b"attach:" not in errors, errors.decode()


def _all_traced(tracer: "subprocess.Popen[bytes]", threads: set[str]) -> bool:
    assert tracer.poll() is None, "strace ended early"
    return all(
        f"TracerPid:\t{tracer.pid}\n" in Path(f"/proc/{thread}/status").read_text()
        for thread in threads
    )


def read_trace(record: Path) -> list[SystemCall]:
    """Take the tracer's file apart, calls in the order in which they returned."""
    calls = []
    unfinished: dict[int, tuple[int, str]] = {}
    for position, line in enumerate(record.read_text("ascii").splitlines()):
        match = _LINE.match(line)
        assert match, f"line {position} of the trace: {line[:80]!r}"
        thread, text = int(match[1]), match[2]
        if text.startswith(("+++", "---")):
            continue
        entered = position
        resumed = _RESUMED.match(text)
        if resumed:
            entered, start = unfinished.pop(thread, (position, ""))
            text = start + resumed[1]
        if text.endswith("<unfinished ...>"):
            unfinished[thread] = (entered, text.removesuffix("<unfinished ...>"))
            continue
        call = _read_call(thread, text, entered, position)
        if call is not None:
            calls.append(call)
    return calls


def _read_call(thread: int, text: str, entered: int, left: int) -> SystemCall | None:
    name, paren, rest = text.partition("(")
    result = _RESULT.search(text)
    if not paren or result is None or result[1] == "?":
        return None  # cut off when the tracer detached
    fd = _FD.match(rest)
    assert fd, f"no descriptor in {text[:80]}"
    strings = _STRING.findall(rest, fd.end())
    assert not any(cut for _, cut in strings), f"strace cut a string of {name}"
    octets = b"".join(bytes.fromhex(each.replace("\\x", "")) for each, _ in strings)
    arguments = _STRING.sub('""', rest)
    return SystemCall(
        thread, name, int(fd[1]), _target(fd[2]), octets, arguments, int(result[1]), entered, left
    )


def _target(text: str) -> str:
    """Return what a descriptor is open on: paths are printed in hexadecimal, sockets are not."""
    if _SOCKET.match(text):
        return text
    return re.sub(r"\\x([0-9a-f]{2})", lambda octet: chr(int(octet[1], 16)), text)


def synchronous_descriptors(pid: int, path: Path) -> set[int]:
    """Return the process's descriptors on `path` that were opened with O_DSYNC."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if entry.resolve() != path.resolve():
            continue
        lines = Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text().splitlines()
        flags = next(int(line.split()[1], 8) for line in lines if line.startswith("flags:"))
        if flags & 0o10000:  # O_DSYNC
            found.add(int(entry.name))
    return found
