"""The demo as a newcomer runs it: to its end, into an occupied port, and until Ctrl-C."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import psutil

from resolver.demo.topology import PORTS, check_ports
from tests.nodes import ADDRESS, BIAOSHI, ROOT, run_biaoshi, wait_until

DEMO_TIMEOUT_S = 60  # the promise made to newcomers


def free_base_port() -> int:
    for base in range(21_000, 31_000, PORTS):
        if all(_is_free(port) for port in range(base, base + PORTS)):
            return base
    raise AssertionError("no free run of ports")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((ADDRESS, port))
            except OSError:
                return False
    return True


def test_once_checks_itself_and_twice_works_twice(tmp_path: Path) -> None:
    words = ["demo", "--once", "--data", str(tmp_path / "d"), "--base-port"]
    for _ in range(2):
        ended = run_biaoshi(*words, str(free_base_port()))
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "registered 1,000 products" in ended.stdout
        assert "resolved 1,000 products through the recursive node: all as in" in ended.stdout
        assert "all checks passed: 1,004 records" in ended.stdout
        for transport in ("udp", "tcp", "http"):
            assert f"{transport}://{ADDRESS}:" in ended.stdout


def test_a_port_in_use_is_named_with_the_option(tmp_path: Path) -> None:
    base = free_base_port()
    with socket.socket() as holder:
        holder.bind((ADDRESS, base + 3))
        holder.listen()
        ended = run_biaoshi("demo", "--data", str(tmp_path / "d"), "--base-port", str(base))
    assert ended.returncode == 4
    assert f"port {base + 3}" in ended.stderr
    assert "--base-port" in ended.stderr
    assert not (tmp_path / "d").exists()


def interrupted(folder: Path, until: bytes, *options: str) -> tuple[int, str]:
    """Run a demo, Ctrl-C it once it has said `until`; return its exit code and output.

    None of its processes is left, and its ports can be used again.
    """
    base = free_base_port()
    output = folder / "output"
    words = ["demo", "--data", str(folder / "d"), "--base-port", str(base), *options]
    with output.open("wb") as written:
        demo = subprocess.Popen(
            [*BIAOSHI, *words],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=written,
            stderr=written,
            start_new_session=True,
        )
    try:
        wait_until(lambda: until in output.read_bytes(), f"{until!r} said", DEMO_TIMEOUT_S)
        children = psutil.Process(demo.pid).children(recursive=True)
        assert len(children) >= 12, "four supervisors, workers and writers"
        demo.send_signal(signal.SIGINT)
        code = demo.wait(20)
    finally:
        demo.kill()
        demo.wait()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
    check_ports(base)  # as the next demo will do
    return code, output.read_text("utf-8")


def test_ctrl_c_is_how_it_ends(tmp_path: Path) -> None:
    code, output = interrupted(tmp_path, b"Ctrl-C ends")
    assert code == 0, output
    assert "stopping all four" in output


def test_an_interrupted_check_is_no_success(tmp_path: Path) -> None:
    code, output = interrupted(tmp_path, b"delegating 88.118", "--once")
    assert code == 130, output
    assert "all checks passed" not in output
    assert "Traceback" not in output
