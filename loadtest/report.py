"""From samples to a report: medians, spreads and ratios, as JSON and as a table in Markdown."""

import json
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from loadtest.histogram import Histogram, merge

PACKAGES = ("biaoshi", "lmdb", "uvloop", "httptools", "uvicorn")
PROGRAMS = {
    "cc": ("cc", "--version"),
    "wrk": ("wrk", "-v"),
    "knot": ("knotd", "-V"),
    "nsd": ("nsd", "-v"),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement. `ratio` is to the echo measured right before it."""

    case: str
    system: str
    run: int
    rate: float
    ratio: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    latency_us: Mapping[str, float] = field(default_factory=dict)
    histogram: Histogram | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """All runs of one case on one system."""

    case: str
    system: str
    rate_median: float
    rate_least: float
    rate_most: float
    ratio_median: float | None
    latency_us: Mapping[str, float]
    lost: int

    @property
    def spread(self) -> float:
        """The distance of the extremes as a share of the median."""
        return (self.rate_most - self.rate_least) / self.rate_median


def summarize(samples: Iterable[Sample]) -> list[Line]:
    """Return a line for every case and system, in the order in which they first appear."""
    grouped: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        grouped.setdefault((sample.case, sample.system), []).append(sample)
    return [_line(case, system, group) for (case, system), group in grouped.items()]


def _line(case: str, system: str, group: Sequence[Sample]) -> Line:
    rates = [sample.rate for sample in group]
    ratios = [sample.ratio for sample in group if sample.ratio is not None]
    return Line(
        case,
        system,
        statistics.median(rates),
        min(rates),
        max(rates),
        statistics.median(ratios) if ratios else None,
        _latency(group),
        sum(sample.counts.get("lost", 0) for sample in group),
    )


def _latency(group: Sequence[Sample]) -> dict[str, float]:
    """Return percentiles over all runs; where there are no histograms, medians of the runs'."""
    histograms = [sample.histogram for sample in group if sample.histogram is not None]
    if histograms:
        return merge(histograms).summary_us()
    names = group[0].latency_us
    return {name: statistics.median(sample.latency_us[name] for sample in group) for name in names}


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, memory, kernel."""
    return {
        "processor": _grep("/proc/cpuinfo", r"model name\s*:\s*(.+)") or platform.machine(),
        "cores": os.cpu_count(),
        "memory_mb": int(_grep("/proc/meminfo", r"MemTotal:\s*(\d+)") or 0) // 1024,
        "kernel": f"{platform.system()} {platform.release()}",
    }


def _grep(path: str, pattern: str) -> str:
    try:
        found = re.search(pattern, Path(path).read_text("utf-8", "replace"))
    except OSError:
        return ""
    return found[1].strip() if found else ""


def describe_versions() -> dict[str, str]:
    """Return the versions of what took part; what is not installed is left out."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    for name, words in PROGRAMS.items():
        shown = _first_line(words)
        if shown:
            versions[name] = shown
    return versions


def _first_line(words: Sequence[str]) -> str:
    environment = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
    try:
        ended = subprocess.run(
            words, capture_output=True, text=True, timeout=10, check=False, env=environment
        )
    except OSError:
        return ""
    return (ended.stdout + ended.stderr).strip().splitlines()[0][:80]


def describe_commit() -> str:
    """Return the commit of the checkout, with "+changes" when files differ from it."""
    folder = Path(__file__).parents[1]
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    # Results of earlier runs are new files too: only what is tracked counts.
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{commit or 'unknown'}{'+changes' if changed else ''}"


def _git(folder: Path, *words: str) -> str:
    try:
        ended = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except OSError:
        return ""
    return ended.stdout.strip() if ended.returncode == 0 else ""


def make_report(
    samples: Sequence[Sample], setup: Mapping[str, Any], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the whole report: who measured what where, every sample, the summary."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
        "machine": describe_machine(),
        "versions": describe_versions(),
        "commit": describe_commit(),
        "command": " ".join(["biaoshi", *sys.argv[1:]]),
        "setup": dict(setup),
        **extra,
        "summary": [_line_to_json(line) for line in summarize(samples)],
        "samples": [_sample_to_json(sample) for sample in samples],
    }


def _line_to_json(line: Line) -> dict[str, Any]:
    return {
        "case": line.case,
        "system": line.system,
        "rate_median": round(line.rate_median),
        "rate_least": round(line.rate_least),
        "rate_most": round(line.rate_most),
        "ratio_to_echo": None if line.ratio_median is None else round(line.ratio_median, 3),
        "latency_us": dict(line.latency_us),
        "lost": line.lost,
    }


def _sample_to_json(sample: Sample) -> dict[str, Any]:
    return {
        "case": sample.case,
        "system": sample.system,
        "run": sample.run,
        "rate": round(sample.rate),
        "ratio_to_echo": None if sample.ratio is None else round(sample.ratio, 3),
        "counts": dict(sample.counts),
        "latency_us": dict(sample.latency_us),
    }


def to_markdown(report: Mapping[str, Any]) -> str:
    """Return the report as a page: what was measured, then the table."""
    machine = report["machine"]
    lines = [
        f"# Benchmark of {report['date']}",
        "",
        f"- commit {report['commit']}",
        f"- machine: {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_mb']:,} MB, {machine['kernel']}",
        "- versions: " + ", ".join(f"{k} {v}" for k, v in report["versions"].items()),
        *(f"- {name}: {words}" for name, words in report["setup"].items()),
        *(f"- {name}: {words}" for name, words in report.get("notes", {}).items()),
        "",
        "| case | system | median /s | spread | of the echo | p50 µs | p99 µs | p99.9 µs | lost |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
        *(_table_line(line) for line in report["summary"]),
        *_start_lines(report.get("starts", {})),
        *_scaling_lines(report.get("scaling", [])),
    ]
    return "\n".join(lines) + "\n"


def _table_line(line: Mapping[str, Any]) -> str:
    spread = (line["rate_most"] - line["rate_least"]) / line["rate_median"]
    ratio = "" if line["ratio_to_echo"] is None else f"{line['ratio_to_echo']:.2f}"
    found = line["latency_us"]
    latency = [f"{found[n]:,.0f}" if n in found else "" for n in ("p50_us", "p99_us", "p999_us")]
    cells = [line["case"], line["system"], f"{line['rate_median']:,}", f"{spread:.0%}", ratio]
    return "| " + " | ".join([*cells, *latency, f"{line['lost']:,}"]) + " |"


def _start_lines(starts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not starts:
        return []
    lines = [
        "",
        "| start | first answer s, median | largest process, MB private |",
        "|---|--:|--:|",
    ]
    for system, start in starts.items():
        memory = start["uss_octets_largest"] / 1e6
        lines.append(f"| {system} | {start['first_answer_s_median']:.3f} | {memory:.1f} |")
    return lines


def _scaling_lines(scaling: Sequence[Mapping[str, Any]]) -> list[str]:
    if not scaling:
        return []
    lines = [
        "",
        "| scaling: workers | offered /s | answered /s | processor µs per answer | by run "
        "| shares of the workers by run |",
        "|--:|--:|--:|--:|---|---|",
    ]
    for one in scaling:
        costs = ", ".join(f"{cost:.2f}" for cost in one["cpu_us_per_answer"])
        shares = ", ".join(" + ".join(f"{s:.0%}" for s in each) for each in one["shares"])
        lines.append(
            f"| {one['workers']} | {one['offered_per_s_median']:,} "
            f"| {one['answered_per_s_median']:,} | {one['cpu_us_per_answer_median']:.2f} "
            f"| {costs} | {shares} |"
        )
    return lines


def write_report(report: Mapping[str, Any], folder: Path, name: str) -> list[Path]:
    """Write `DATE-name.json` and `.md`; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{report['date'].replace(':', '')}-{name}"
    paths = [folder / f"{stem}.json", folder / f"{stem}.md"]
    paths[0].write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    paths[1].write_text(to_markdown(report), "utf-8")
    return paths
