import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from protocol.bodies import ResolutionRequest, ValuesRequest
from protocol.codes import OpCode, ResponseCode
from protocol.value import Reference
from resolver.logs import RateLimit
from resolver.refused_log_ins import WORDS_CHARACTERS_MAX, RefusedLogIns
from tests.registry.builders import url
from tests.resolver.office import (
    ADDRESS,
    SECRET,
    SECRET_ADMIN,
    STRANGER,
    Office,
    open_office,
    request,
)
from tests.resolver.test_rest_requests import perform
from tests.resolver.test_rest_sessions import act, begin, keyed

Scene = Callable[[Office], Awaitable[None]]
CREATE = ValuesRequest(b"88.118/NEW", (url(),))
WRONG = b"wrong-secret"


def play(folder: Path, scene: Scene) -> None:
    async def run() -> None:
        async with open_office(folder) as office:
            await scene(office)

    asyncio.run(run())


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = record.__dict__["fields"]
    return fields


def refused_of(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [each for each in caplog.records if each.name == "resolver.refused_log_ins"]


async def by_message(office: Office) -> None:
    message = request(OpCode.CREATE_HANDLE, CREATE)
    await office.ask_as(message, SECRET_ADMIN, WRONG)


async def by_basic(office: Office) -> None:
    await perform(office, OpCode.CREATE_HANDLE, CREATE, {"basic": [*SECRET_ADMIN, WRONG]})


async def by_session(office: Office) -> None:
    await act(office, "answer", **keyed(await begin(office), WRONG))


@pytest.mark.parametrize(
    ("log_in", "transport"), [(by_message, "tcp"), (by_basic, "https"), (by_session, "https")]
)
def test_a_wrong_proof_is_logged_once_in_a_while(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, log_in: Scene, transport: str
) -> None:
    async def scene(office: Office) -> None:
        await log_in(office)
        await log_in(office)

    play(tmp_path, scene)
    (record,) = refused_of(caplog)
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "log-in refused: the proof of identity does not hold"
    assert fields_of(record) == {
        "identity": "301:0.NA/88.118",
        "address": ADDRESS,
        "transport": transport,
    }
    assert WRONG.decode() not in repr(record.__dict__)


@pytest.mark.parametrize("by_rest", [False, True])
def test_somebody_without_permission_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, by_rest: bool
) -> None:
    async def scene(office: Office) -> None:
        if by_rest:
            basic = {"basic": [*STRANGER, SECRET]}
            await perform(office, OpCode.CREATE_HANDLE, CREATE, basic)
        else:
            await office.ask_as(request(OpCode.CREATE_HANDLE, CREATE), STRANGER, SECRET)

    play(tmp_path, scene)
    (record,) = refused_of(caplog)
    assert fields_of(record)["identity"] == "302:0.NA/88.118"


def test_who_is_let_in_is_not_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(office: Office) -> None:
        right = {"basic": [*SECRET_ADMIN, SECRET]}
        missing = ResolutionRequest(b"88.118/MISSING")
        await perform(office, OpCode.CREATE_HANDLE, CREATE, right)
        await perform(office, OpCode.RESOLUTION, missing, right)
        await act(office, "answer", **keyed(await begin(office)))

    play(tmp_path, scene)
    assert refused_of(caplog) == []


def test_lines_stay_short_and_say_how_many_were_left_out(caplog: pytest.LogCaptureFixture) -> None:
    clock_s = 0.0
    logger = logging.getLogger("resolver.refused_log_ins")
    log_ins = RefusedLogIns(RateLimit(logger, 60.0, lambda: clock_s))
    code = ResponseCode.AUTHENTICATION_FAILED
    for number in range(3):
        log_ins.note(Reference(b"x" * 2_000, number), ADDRESS, 0, code, b"w" * 2_000)
    clock_s = 60.0
    log_ins.note(Reference(b"x", 9), ADDRESS, 0, code, b"no")
    first, second = refused_of(caplog)
    assert len(str(fields_of(first)["identity"])) == WORDS_CHARACTERS_MAX + 3
    assert len(first.getMessage()) < WORDS_CHARACTERS_MAX + 30
    assert fields_of(second)["repeated"] == 2
