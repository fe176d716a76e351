import os
import socket
from pathlib import Path

import pytest

from loadtest.scaling import (
    TICK_S,
    Scaled,
    await_workers,
    cpu_s,
    find_workers,
    read_stat,
    summarize_scaling,
    udp_inodes,
    write_config,
)
from loadtest.startup import MeasurementError

STAT = "31 (a (b) c) S 1 31 31 0 -1 4194560 5 0 0 0 120 30 7 9 20 0 1 0 100 4096 1"
UDP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
  108: 0100007F:520B 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 6516338
  109: 0100007F:520B 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 6516400
  412: 0100007F:520C 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 6516577
"""


def test_processor_time_is_counted_behind_a_name_of_any_kind() -> None:
    assert cpu_s(STAT) == pytest.approx(150 * TICK_S)
    assert cpu_s(read_stat(os.getpid())) >= 0


def test_sockets_of_a_port() -> None:
    assert udp_inodes(UDP, 0x520B) == {6516338, 6516400}
    assert udp_inodes(UDP, 1) == set()


def test_a_process_with_the_port_is_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.scaling.LIMIT_S", 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        assert find_workers(os.getpid(), port) == [os.getpid()]
        with pytest.raises(MeasurementError, match="1 processes hold UDP port"):
            await_workers(os.getpid(), port, 2)


def test_a_configuration_of_two_workers(tmp_path: Path) -> None:
    (tmp_path / "biaoshi.toml").write_text('role = "top"\n', "utf-8")
    text = (tmp_path / write_config(tmp_path, 2)).read_text("utf-8")
    assert text == 'role = "top"\n\n[process]\nworkers = 2\n'
    (tmp_path / "biaoshi.toml").write_text(text, "utf-8")
    with pytest.raises(MeasurementError, match="sets"):
        write_config(tmp_path, 1)


def test_cost_and_shares_by_number_of_workers() -> None:
    measured = [
        Scaled(1, 1, 100.0, 1_000, 99.0, (0.005,)),
        Scaled(2, 1, 100.0, 1_000, 100.0, (0.002, 0.004)),
        Scaled(1, 2, 100.0, 1_000, 100.0, (0.004,)),
        Scaled(2, 2, 100.0, 1_000, 100.0, (0.0, 0.0)),
    ]
    one, two = summarize_scaling(measured)
    assert one["cpu_us_per_answer"] == [5.0, 4.0]
    assert one["cpu_us_per_answer_median"] == 4.5
    assert one["answered_per_s_median"] == 100  # of 99 and 100, rounded
    assert two["shares"] == [[0.667, 0.333], [0.0, 0.0]]
