import io
import json
import logging
import sys

import pytest

from resolver.config import LogConfig
from resolver.logs import KEYS_MAX, JsonFormatter, RateLimit, TextFormatter, configure_logs


def make_record(words: str, *arguments: object, **fields: object) -> logging.LogRecord:
    record = logging.LogRecord("node", logging.WARNING, "x.py", 1, words, arguments, None)
    record.created = 1_795_000_000.25
    record.fields = fields
    return record


def failed_record() -> logging.LogRecord:
    record = make_record("failed")
    try:
        raise ValueError("bad octet")
    except ValueError:
        record.exc_info = sys.exc_info()
    return record


def test_a_text_line_reads_from_left_to_right() -> None:
    line = TextFormatter("worker1").format(make_record("disk has %d octets", 7, free=7))
    time, level, process, pid, rest = line.split(" ", 4)
    assert time == "2026-11-18T11:06:40.250Z"
    assert (level, process, rest) == ("warning", "worker1", "disk has 7 octets free=7")
    assert pid.isdigit()


def test_what_strangers_send_stays_on_its_line() -> None:
    record = make_record("handle %s", "88/a\n2026 error all is well\x1b[0m", from_="x\ny")
    line = TextFormatter("worker1").format(record)
    assert "\n" not in line
    assert "\x1b" not in line
    assert "88/a\\n2026 error" in line
    assert "标识" in TextFormatter("worker1").format(make_record("标识"))


def test_a_traceback_is_one_line_too() -> None:
    line = TextFormatter("worker1").format(failed_record())
    assert "\n" not in line
    assert line.endswith("ValueError: bad octet")


def test_a_json_line_is_an_object() -> None:
    line = JsonFormatter("registrar").format(
        make_record("commit of %d", 3, handle=b"88/\xff", count=3, kind=object)
    )
    event = json.loads(line)
    assert event["message"] == "commit of 3"
    assert event["time"] == "2026-11-18T11:06:40.250Z"
    assert event["process"] == "registrar"
    assert event["handle"] == "88/\\xff"
    assert event["count"] == 3
    assert event["kind"] == "<class 'object'>"
    assert "\n" not in line


def test_a_json_line_has_its_exception() -> None:
    event = json.loads(JsonFormatter("registrar").format(failed_record()))
    assert event["exception"].endswith("ValueError: bad octet")


@pytest.mark.parametrize(("form", "begins"), [("text", "2"), ("json", "{")])
def test_the_configured_form_and_level_are_used(form: str, begins: str) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    try:
        configure_logs(
            LogConfig(level="warning", format=form),  # type: ignore[arg-type]
            "worker1",
            stream,
        )
        logging.getLogger("node").info("unheard")
        logging.getLogger("node").warning("heard")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert stream.getvalue().startswith(begins)
    assert stream.getvalue().count("\n") == 1


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_warning_that_repeats_is_held_back_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    limit = RateLimit(logging.getLogger("limited"), 60.0, clock)
    for _ in range(5):
        limit.warning("full", "too many %s", "connections", address="192.0.2.1")
    limit.warning("other", "another kind")
    clock.now_s = 60.0
    limit.warning("full", "too many %s", "connections")
    assert [record.getMessage() for record in caplog.records] == [
        "too many connections",
        "another kind",
        "too many connections",
    ]
    fields = [getattr(record, "fields", None) for record in caplog.records]
    assert fields == [{"address": "192.0.2.1"}, {}, {"repeated": 4}]


def test_the_kinds_remembered_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    limit = RateLimit(logging.getLogger("limited"), 60.0, Clock())
    for number in range(KEYS_MAX + 1):
        limit.warning(str(number), "once")
    caplog.clear()
    limit.warning(str(KEYS_MAX), "still remembered")
    limit.warning("0", "made room and was forgotten")
    assert [record.getMessage() for record in caplog.records] == ["made room and was forgotten"]
