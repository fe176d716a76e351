"""A way out that takes no answers put together: they leave singly, and the kernel cuts those."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from resolver.fastpath import Choice, is_native_built
from tests.registry.builders import PREFIX, open_store, put, url
from tests.resolver.test_fastpath import ask, fast_path, some_answers

ROOT = Path(__file__).parents[2]
PACKET_OCTETS = 300  # less than an answer
ANSWERS = 20
# Loopback of a namespace of our own: up (SIOCSIFFLAGS), with small packets (SIOCSIFMTU).
SCRIPT = f"""
import fcntl, pathlib, socket, struct, sys
from tests.faults.test_small_packets import answer_all
with socket.socket(type=socket.SOCK_DGRAM) as sock:
    fcntl.ioctl(sock, 0x8914, struct.pack("16sH14x", b"lo", 0x41))
    fcntl.ioctl(sock, 0x8922, struct.pack("16si12x", b"lo", {PACKET_OCTETS}))
print(answer_all(pathlib.Path(sys.argv[1])))
"""


def answer_all(folder: Path) -> int:
    """Ask for answers longer than a packet; return how many came whole."""
    with (
        open_store(folder) as store,
        socket.socket(type=socket.SOCK_DGRAM) as server,
        socket.socket(type=socket.SOCK_DGRAM) as client,
    ):
        put(store, {b"88.118/A": [url(data=bytes(380))]}, homed=[PREFIX])
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        client.settimeout(10)
        client.connect(server.getsockname())
        for number in range(ANSWERS):
            client.send(ask(request_id=number))
        assert fast_path(store, server, Choice.NATIVE).serve() == ([], [], ANSWERS)
        answers = some_answers(client, ANSWERS)
        return len({answer.envelope.request_id for answer in answers})


@pytest.mark.skipif(not is_native_built(), reason="the native batch was not built here")
def test_answers_longer_than_a_packet_arrive(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    words = [unshare or "unshare", "--map-root-user", "--net"]
    if unshare is None or subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("no network namespaces of our own here")
    ended = subprocess.run(
        [*words, sys.executable, "-c", SCRIPT, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stdout == f"{ANSWERS}\n", ended.stderr[-3000:]
