from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.formula import Shape, make_handle, make_row
from loadtest.startup import MeasurementError
from loadtest.writer import (
    count_registered,
    import_words,
    read_answer,
    read_decided,
    written_rows,
)
from protocol.bodies import ErrorAnswer, ValuesRequest
from protocol.codes import OpCode, ResponseCode
from protocol.envelope import Envelope
from protocol.header import Header
from protocol.message import Message
from protocol.value import HandleValue
from protocol.versions import BEST

METRICS = """\
# TYPE biaoshi_requests_total counter
biaoshi_requests_total{opcode="resolution",response_code="success",transport="udp"} 1.5e+06
biaoshi_requests_total{opcode="create_handle",response_code="authentication_needed",transport="tcp"} 9.0
biaoshi_requests_total{opcode="create_handle",response_code="success",transport="tcp"} 1.1e+03
biaoshi_requests_total{opcode="create_handle",response_code="success",transport="http"} 2.0
"""  # noqa: E501
SHAPE = Shape(9)


def answer_with(number: int, code: ResponseCode, body: bytes) -> bytes:
    header = Header(OpCode.RESOLUTION, code, 0, expiration=0)
    return Message(Envelope(BEST, BEST, 0, 0, number + 1, 0, 0), header, body).encode()


def answer_of(number: int, values: tuple[HandleValue, ...]) -> bytes:
    body = ValuesRequest(make_handle(SHAPE, number), values).encode()
    return answer_with(number, ResponseCode.SUCCESS, body)


def test_its_handles_are_nobody_elses_and_do_not_run_out() -> None:
    rows = written_rows(SHAPE, 2, 3)
    assert make_handle(rows, 7) == b"88.118.5/W2/P0000000007"
    assert rows.rows > 5_000 * 12


def test_it_runs_on_the_core_it_is_given() -> None:
    words = import_words(Path("node"), Path("rows.ndjson"), 1)
    assert words[:3] == ["taskset", "-c", "1"]
    assert words[-2:] == ["--refused", "rows.refused"]
    assert "--by-row" in words  # each row a request of its own, which the node counts


def test_only_created_handles_count_as_registered() -> None:
    assert count_registered(METRICS) == 1_102


def test_what_an_interrupted_import_says() -> None:
    words = "error: interrupted: 1,491 rows were decided, up to 16 more may be registered\n"
    assert read_decided(words) == 1_491
    with pytest.raises(MeasurementError, match="does not say"):
        read_decided("Killed")


def test_a_row_is_compared_but_for_its_timestamps() -> None:
    values = make_row(SHAPE, 3)
    assert read_answer(answer_of(3, tuple(replace(v, timestamp=1) for v in values)), SHAPE) == (
        3,
        True,
    )
    other = (*values[:2], replace(values[2], data=b"another"))
    with pytest.raises(MeasurementError, match="row 3"):
        read_answer(answer_of(3, other), SHAPE)


def test_no_answer_but_not_found_means_absent() -> None:
    body = ErrorAnswer(b"words").encode()
    assert read_answer(answer_with(4, ResponseCode.HANDLE_NOT_FOUND, body), SHAPE) == (4, False)
    with pytest.raises(MeasurementError, match="row 4"):
        read_answer(answer_with(4, ResponseCode.SERVER_TOO_BUSY, body), SHAPE)
