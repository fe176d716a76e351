"""Log lines, for people or for machines, and warnings that do not repeat without end.

    text   2026-11-21T09:12:00.123Z warning worker 4711 disk nearly full free_octets=1024
    json   {"time":"2026-11-21T09:12:00.123Z","level":"warning","process":"worker","pid":4711,...}

Whatever comes from outside is escaped: one event is one line, always. Fields beside the words are
given as `extra={"fields": {...}}`. A warning that strangers can cause goes through `RateLimit`,
which lets one of a kind through in a while and says how many it left out.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import msgspec

from resolver.config import LogConfig

_log = logging.getLogger(__name__)

KEYS_MAX = 1_024  # kinds of warnings remembered; when full, the oldest makes room


class TextFormatter(logging.Formatter):
    """One line for people: time, level, process, words, fields."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        words = [
            _timestamp(record.created),
            record.levelname.lower(),
            self._process,
            str(os.getpid()),
            _one_line(record.getMessage()),
        ]
        words += [f"{key}={_one_line(str(value))}" for key, value in _fields(record).items()]
        if record.exc_info:
            words.append(_one_line(self.formatException(record.exc_info)))
        return " ".join(words)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        event: dict[str, Any] = {
            "time": _timestamp(record.created),
            "level": record.levelname.lower(),
            "process": self._process,
            "pid": os.getpid(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        event.update((key, _plain(value)) for key, value in _fields(record).items())
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(event).decode()


def configure_logs(config: LogConfig, process: str, stream: TextIO | None = None) -> None:
    """Send all log lines of this process to `stream` (standard error) in the form configured."""
    handler = logging.StreamHandler(stream or sys.stderr)
    kind = JsonFormatter if config.format == "json" else TextFormatter
    handler.setFormatter(kind(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(config.level.upper())
    # uvicorn tells of every connection at info; we have metrics for that.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def stdout_line(words: str, config: LogConfig, process: str) -> str:
    """Return a line for standard output: the words, or with JSON logs an object like theirs."""
    if config.format != "json":
        return words
    fields = {"name": __name__, "levelno": logging.INFO, "levelname": "INFO", "msg": words}
    return JsonFormatter(process).format(logging.makeLogRecord(fields))


def log_strays() -> None:
    """Send to the log what Python itself would print on standard error, for good."""
    logging.captureWarnings(True)
    sys.excepthook = lambda kind, error, trace: _stray("stopped", (kind, error, trace))
    threading.excepthook = lambda stray: _stray(
        "a thread ended", (stray.exc_type, stray.exc_value, stray.exc_traceback)
    )
    sys.unraisablehook = lambda stray: _stray(
        str(stray.err_msg or "ignored"), (stray.exc_type, stray.exc_value, stray.exc_traceback)
    )


def _stray(words: str, error: Any) -> None:
    _log.error("%s by an error nobody caught", words, exc_info=error)


class RateLimit:
    """Lets one event of a kind through in a while.

    Args:
        logger: where the lines go.
        repeat_after_s: how long an event of the same key is held back.
        now_s: a clock that never goes back.
    """

    def __init__(
        self,
        logger: logging.Logger,
        repeat_after_s: float,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._repeat_after_s = repeat_after_s
        self._now_s = now_s
        self._seen: dict[str, tuple[float, int]] = {}

    def warning(self, key: str, words: str, *args: object, **fields: object) -> None:
        """Log a warning unless one of this key was logged a short while ago."""
        now = self._now_s()
        last, left_out = self._seen.get(key, (None, 0))
        if last is not None and now - last < self._repeat_after_s:
            self._seen[key] = (last, left_out + 1)
            return
        if last is None and len(self._seen) >= KEYS_MAX:
            del self._seen[next(iter(self._seen))]
        self._seen.pop(key, None)
        self._seen[key] = (now, 0)
        if left_out:
            fields["repeated"] = left_out
        self._logger.warning(words, *args, extra={"fields": fields})


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    fields: Mapping[str, object] = getattr(record, "fields", {})
    return fields


def _plain(value: object) -> object:
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def _timestamp(created_s: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created_s))
    return f"{whole}.{int(created_s % 1 * 1000):03d}Z"
