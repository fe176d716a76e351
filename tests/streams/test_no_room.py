"""A disk that fills up in the middle of a stream, and room again."""

from pathlib import Path

import pytest

from protocol.codes import ResponseCode
from tests.faults.test_disk_full import (
    RECOVERY_TIMEOUT_S,
    ROOM_WHEN_FULL_OCTETS,
    fill,
    make_small_node,
    why_read_only,
)
from tests.nodes import must_run, running, wait_until
from tests.streams.client import Streams, digest_of, row_by_row, rows, values_of

ROWS = 6_000
ROWS_BEFORE = 500


@pytest.mark.parametrize("verdicts", ["after", "stream"])
def test_a_stream_goes_on_once_there_is_room_again(
    small_disk: Path, verdicts: str, key: str
) -> None:
    node = make_small_node(small_disk, free_octets_min=1)
    lines = list(rows(1, ROWS))
    query = {"verdicts": verdicts}
    with running(node):
        streams = Streams(node)
        before = streams.post(key, b"".join(lines[:ROWS_BEFORE]), query={"end": "false"})
        assert before.last["created"] == ROWS_BEFORE
        ballast = fill(small_disk, ROOM_WHEN_FULL_OCTETS)
        stopped = streams.post(
            key, b"".join(lines[ROWS_BEFORE:]), query={"from": ROWS_BEFORE + 1, **query}
        )
        assert stopped.status == (503 if verdicts == "after" else 200)
        assert stopped.last["responseCode"] == ResponseCode.SERVER_BACKUP
        assert "room" in stopped.last["message"]
        going_on = stopped.last["next"]
        assert ROWS_BEFORE < going_on <= ROWS
        if verdicts == "stream":
            created = ["created"] * (going_on - 1 - ROWS_BEFORE)
            assert row_by_row(stopped.verdicts, ROWS_BEFORE + 1) == created
        again = streams.post(key, lines[going_on - 1], query={"from": going_on, **query})
        assert (again.status, again.last["responseCode"]) == (503, ResponseCode.SERVER_BACKUP)
        state = streams.state(key)  # what is there can be looked at all the while
        assert (state["next"], state["created"]) == (going_on, going_on - 1)
        assert row_by_row(streams.verdicts(key)) == ["created"] * (going_on - 1)
        for number in (1, ROWS_BEFORE, going_on - 1):
            assert values_of(node, f"P{number}") is not None
        assert values_of(node, f"P{going_on}") is None
        ballast.unlink()
        wait_until(lambda: not why_read_only(node), "/readyz is content", RECOVERY_TIMEOUT_S)
        answer = streams.post(key, b"".join(lines[going_on - 1 :]), query={"from": going_on})
        assert (answer.status, answer.last["created"]) == (200, ROWS)
        assert answer.last["digest"] == digest_of(lines).hex()
        assert answer.last["receipt"]
        assert "Traceback" not in node.log
        assert node.stop() == 0
    must_run("verify", str(node.folder))
