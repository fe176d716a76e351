"""The generator in short runs: what it asks and what it accepts. No figure is looked at."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.formula import SHORT, UNLIKE, Shape, make_handle, make_row
from loadtest.load import Tools, check_http, compile_tools, run_generator
from loadtest.servers import (
    BIAOSHI,
    load_node,
    make_node,
    run_biaoshi,
    serving_echo,
    serving_node,
)
from loadtest.startup import MeasurementError
from loadtest.stores import fill_lots
from protocol.json_forms import values_from_json
from protocol.value import encode_values
from resolver.fastpath import Choice
from tests.resolver.two_paths import CHOICES

SHAPE = Shape(50)
LOTS = Shape(6_000, serials=1_000, lots=True)
SECONDS = 0.3

pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler"),
    pytest.mark.skipif(not BIAOSHI.exists(), reason="biaoshi is not installed"),
]


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    return compile_tools(tmp_path_factory.mktemp("tools"))


@pytest.fixture(scope="module")
def node(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_node(tmp_path_factory.mktemp("bench"), SHAPE)
    load_node(tools, made, SHAPE)
    return made


@pytest.fixture(scope="module")
def ports(node: Path) -> Iterator[tuple[int, int]]:
    with serving_node(node, SHAPE, None) as opened:
        yield opened


@pytest.mark.parametrize(
    "shape",
    [
        Shape(30),
        Shape(30, SHORT, "10.77"),
        Shape(300, UNLIKE),
        LOTS,
        Shape(60, SHORT, "10.77", 20, lots=True),
    ],
)
def test_c_and_python_have_the_same_rows(tools: Tools, shape: Shape) -> None:
    words = ["ndjson", *shape.options()]
    shown = subprocess.run([str(tools.generator), *words], capture_output=True, check=True).stdout
    for row, line in enumerate(shown.splitlines()):
        form = json.loads(line)
        assert form["handle"].encode() == make_handle(shape, row)
        read = values_from_json(form["values"])
        assert encode_values(read) == encode_values(make_row(shape, row))
    assert row == shape.rows - 1


@pytest.mark.parametrize("shape", [Shape(30), Shape(60, serials=2)])
def test_some_of_all_are_written(tools: Tools, shape: Shape) -> None:
    def lines(*words: str) -> list[bytes]:
        command = [str(tools.generator), "ndjson", *shape.options(), *words]
        return subprocess.run(command, capture_output=True, check=True).stdout.splitlines()

    every = lines()
    assert len(every) == 30
    assert lines("--first", "7", "--count", "5") == every[7:12]
    assert lines("--first", "28") == every[28:]
    with pytest.raises(subprocess.CalledProcessError):
        lines("--first", "28", "--count", "3")


@pytest.mark.parametrize("shape", [Shape(60, serials=20), Shape(20, SHORT, "10.77", 10)])
def test_c_and_python_have_the_same_ranges(tools: Tools, shape: Shape) -> None:
    words = ["ndjson", *shape.options()]
    shown = subprocess.run([str(tools.generator), *words], capture_output=True, check=True).stdout
    lines = shown.splitlines()
    assert len(lines) == shape.ranges
    for row in range(shape.rows):
        form = json.loads(lines[row // shape.serials])
        serial = make_handle(shape, row).decode().removeprefix(form["stem"])
        assert form["operation"] == "range"
        assert form["first"] <= serial <= form["last"]
        assert len(serial) == len(form["last"])
        assert [
            (item["index"], item["type"], item["data"].replace("{serial}", serial))
            for item in form["values"]
        ] == [
            (value.index, value.type.decode(), value.data.decode())
            for value in make_row(shape, row)[:-1]
        ]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("udp", "--rows", "25", "--serials", "10"), "whole ranges"),
        (("udp", "--rows", "510000000", "--serials", "10"), "1 to 50,000,000"),
        (("udp", "--rows", "20", "--serials", "10", "--values", "0"), "--values 3 or 1"),
        (("dns", "--rows", "20", "--serials", "10"), "no ranges over DNS"),
        (("udp", "--rows", "20", "--lots"), "--lots goes with --serials"),
    ],
)
def test_ranges_that_cannot_be(tools: Tools, words: tuple[str, ...], why: str) -> None:
    ended = subprocess.run([str(tools.generator), *words], capture_output=True, text=True)
    assert ended.returncode == 2
    assert why in ended.stderr


@pytest.mark.parametrize("shape", [SHAPE, Shape(50, UNLIKE)])
def test_the_zone_has_the_same_texts(tools: Tools, shape: Shape) -> None:
    words = ["zone", "--rows", str(shape.rows), "--values", str(shape.values)]
    shown = subprocess.run([str(tools.generator), *words], capture_output=True, check=True).stdout
    records = [line.split(b" TXT ") for line in shown.splitlines() if b" TXT " in line]
    assert records == [
        [make_handle(shape, row).rpartition(b"/")[2], b'"%b"' % value.data]
        for row in range(shape.rows)
        for value in make_row(shape, row)
    ]


@pytest.mark.parametrize("mode", ["udp", "tcp", "fresh"])
def test_every_answer_is_right(tools: Tools, ports: tuple[int, int], mode: str) -> None:
    answers = run_generator(tools, mode, ports[0], SHAPE, seconds=SECONDS)
    assert answers.counts["right"] > 0
    assert answers.histogram is not None
    assert answers.histogram.total == answers.counts["right"]


def test_lots_are_filled_in_and_every_answer_is_right(tools: Tools, tmp_path: Path) -> None:
    node = make_node(tmp_path, LOTS)
    assert fill_lots(node, LOTS) > 0
    run_biaoshi("verify", str(node))
    everything = ("--order", "sequential", "--once")
    with serving_node(node, LOTS, None) as (port, http_port):
        answers = run_generator(tools, "udp", port, LOTS, seconds=5, options=everything)
        assert answers.counts["right"] == LOTS.rows
        mixed = ("--missing", "0.3", "--malformed", "0.1")
        answers = run_generator(tools, "udp", port, LOTS, seconds=SECONDS, options=mixed)
        assert answers.counts["missing"] > 0
        assert run_generator(tools, "tcp", port, LOTS, seconds=SECONDS).counts["right"] > 0
        check_http(http_port, LOTS, samples=20)
        other = replace(LOTS, serials=2_000)
        with pytest.raises(MeasurementError):
            run_generator(tools, "udp", port, other, seconds=SECONDS)


def test_missing_malformed_zipf_and_a_rate(tools: Tools, ports: tuple[int, int]) -> None:
    options = ("--missing", "0.3", "--malformed", "0.3", "--zipf", "0.9", "--rate", "2000")
    answers = run_generator(tools, "udp", ports[0], SHAPE, seconds=SECONDS, options=options)
    assert 0 < answers.counts["missing"] < answers.counts["right"]
    assert answers.counts["malformed_sent"] > 0
    assert answers.rate < 4_000


def test_http_bodies_are_compared(ports: tuple[int, int]) -> None:
    check_http(ports[1], SHAPE, samples=20)
    with pytest.raises(MeasurementError, match="answered with"):
        check_http(ports[1], Shape(50, SHORT), samples=20)


def test_an_altered_value_is_found(tools: Tools, tmp_path: Path) -> None:
    node = make_node(tmp_path, SHAPE)
    load_node(tools, node, SHAPE)
    data = make_row(SHAPE, 17)[2].data.decode()
    rows = subprocess.run(
        [str(tools.generator), "ndjson", "--rows", "50"], capture_output=True, check=True
    ).stdout
    other = "f" if data[-1] != "f" else "0"
    altered = rows.replace(data.encode(), (data[:-1] + other).encode())
    assert altered != rows
    words = [str(BIAOSHI), "load", "-", "--node", str(node), "--existing", "replace", "--json"]
    ended = subprocess.run(words, input=altered, capture_output=True, check=True)
    assert json.loads(ended.stdout)["registered"] == 1
    with serving_node(node, SHAPE, None) as (port, http_port):
        for mode in ("udp", "tcp", "fresh"):
            with pytest.raises(MeasurementError, match="row 17: handle or values"):
                run_generator(tools, mode, port, SHAPE, seconds=SECONDS)
        with pytest.raises(MeasurementError, match="P0000000017"):
            check_http(http_port, SHAPE, samples=1_000)


def test_the_echo_is_no_node(tools: Tools, tmp_path: Path) -> None:
    with serving_echo(tools, tmp_path, None) as port:
        assert run_generator(tools, "echo", port, SHAPE, seconds=SECONDS).counts["right"] > 0
        with pytest.raises(MeasurementError, match="wrong answers"):
            run_generator(tools, "udp", port, SHAPE, seconds=SECONDS)


RANGES = Shape(6_000, serials=2_000)


@pytest.fixture(scope="module")
def ranged(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_node(tmp_path_factory.mktemp("ranged"), RANGES)
    load_node(tools, made, RANGES)
    return made


@pytest.mark.parametrize("choice", CHOICES)
def test_identifiers_of_ranges_are_answered_over_every_transport(
    tools: Tools, ranged: Path, choice: Choice
) -> None:
    missing = ("--missing", "0.2")
    with serving_node(ranged, RANGES, None, choice.value) as (port, http_port):
        for mode in ("udp", "tcp"):
            answers = run_generator(tools, mode, port, RANGES, seconds=SECONDS, options=missing)
            assert 0 < answers.counts["missing"] < answers.counts["right"]
        check_http(http_port, RANGES)


def test_a_wrong_value_of_a_range_is_found(tools: Tools, ranged: Path) -> None:
    others = Shape(RANGES.rows, serials=1_000)  # other stems, other serials, other values
    with (
        serving_node(ranged, RANGES, None) as (port, _),
        pytest.raises(MeasurementError, match="wrong answers"),
    ):
        run_generator(tools, "udp", port, others, seconds=SECONDS)
