import os
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.header import Header
from protocol.types.hs_site import TRANSPORT_TCP, TRANSPORT_UDP
from resolver import metric_files
from resolver.metric_files import FILE_KINDS, FILE_OCTETS
from resolver.metrics import REQUESTS, RequestMetrics, forget_process, render_metrics


def requests_counted(opcode: str, code: str, transport: str) -> float:
    for metric in REQUESTS.collect():
        for sample in metric.samples:
            labels = {"opcode": opcode, "response_code": code, "transport": transport}
            if sample.name == "biaoshi_requests_total" and sample.labels == labels:
                return sample.value
    return 0.0


def test_answers_are_counted_by_opcode_code_and_transport() -> None:
    metrics = RequestMetrics()
    before = requests_counted("resolution", "handle_not_found", "udp")
    metrics.count(Header(1, 100, 0, 0), TRANSPORT_UDP, 0.001)
    metrics.count(Header(1, 100, 0, 0), TRANSPORT_UDP, 0.001)
    metrics.count(Header(1, 1, 0, 0), TRANSPORT_TCP, 0.001)
    assert requests_counted("resolution", "handle_not_found", "udp") == before + 2


def test_opcodes_of_strangers_share_one_label() -> None:
    metrics = RequestMetrics()
    before = requests_counted("unknown", "error", "udp")
    for opcode in range(10_000, 10_050):
        metrics.count(Header(opcode, 2, 0, 0), TRANSPORT_UDP, 0.0)
    assert requests_counted("unknown", "error", "udp") == before + 50
    page, _ = render_metrics()
    assert b"10049" not in page


def test_the_page_is_in_prometheus_words() -> None:
    page, content_type = render_metrics()
    assert content_type.startswith("text/plain; version=0.0.4")
    for name in (b"biaoshi_requests_total", b"biaoshi_read_only", b"biaoshi_commit_queue"):
        assert name in page


def test_forgetting_a_process_without_shared_files_is_nothing() -> None:
    forget_process("worker1")


def test_files_are_filled_before_they_are_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metric_files, "_process", ["supervisor"])
    monkeypatch.setenv(metric_files.FOLDER_VARIABLE, "")
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "counter_worker9.db").write_bytes(b"left by a run before")
    metric_files.share_metrics(folder)
    assert metric_files.process_name() == "supervisor"
    metric_files.name_process("worker1")
    assert metric_files.process_name() == "worker1"
    names = {f"{kind}_{name}.db" for kind in FILE_KINDS for name in ("supervisor", "worker1")}
    assert {path.name for path in folder.iterdir()} == names
    for path in folder.iterdir():
        assert path.stat().st_size == FILE_OCTETS
        assert path.stat().st_blocks * 512 >= FILE_OCTETS


SHARING = """
import sys
from pathlib import Path
from resolver.metric_files import share_metrics, name_process
share_metrics(Path(sys.argv[1]))
from resolver.metrics import COMMITS, RESTARTS, READ_ONLY, forget_process, render_metrics
RESTARTS.labels("worker").inc()
for life in range(2):
    name_process("registrar")
    COMMITS.inc()
    READ_ONLY.set(1)
name_process("worker1")
COMMITS.inc(3)
print(render_metrics()[0].decode())
name_process("supervisor")
forget_process("registrar")
print("FORGOTTEN")
print(render_metrics()[0].decode())
"""


def test_processes_share_their_numbers_by_name(tmp_path: Path) -> None:
    # A process of its own: prometheus-client decides at its import how numbers are kept.
    done = subprocess.run(
        [sys.executable, "-c", SHARING, str(tmp_path / "metrics")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    before, after = done.stdout.split("FORGOTTEN")
    assert "biaoshi_commits_total 5.0" in before
    assert "biaoshi_read_only 1.0" in before
    assert 'biaoshi_restarts_total{process="worker"} 1.0' in before
    assert "biaoshi_commits_total 5.0" in after
    assert "biaoshi_read_only 1.0" not in after
