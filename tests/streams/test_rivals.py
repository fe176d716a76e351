"""Two who write the same identifiers, and two who send the same stream."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.nodes import Node
from tests.streams.client import (
    TIMEOUT_S,
    Streams,
    Told,
    Upload,
    digest_of,
    row,
    row_by_row,
    rows,
    values_of,
)

ROWS = 4_000
AT_ONCE = 500
ROUNDS = 4


def shared_rows(stem: str, owner: str) -> list[bytes]:
    return [row(f"{stem}{number}", f"{owner} {number}") for number in range(1, ROWS + 1)]


def cut(lines: list[bytes]) -> Iterator[bytes]:
    return (b"".join(lines[at : at + AT_ONCE]) for at in range(0, len(lines), AT_ONCE))


def send_in_pieces(streams: Streams, key: str, lines: list[bytes]) -> Told:
    return streams.post(key, cut(lines))


def test_each_identifier_is_created_by_one_of_two_streams(
    streams: Streams, node: Node, key: str, stem: str
) -> None:
    owners = ("here", "there")
    bodies = [shared_rows(stem, owner) for owner in owners]
    bodies[1].reverse()  # so that they meet in the middle
    both_began = Barrier(2, timeout=TIMEOUT_S)

    def pieces(name: str, lines: list[bytes]) -> Iterator[bytes]:
        yield b"".join(lines[:AT_ONCE])
        streams.wait_for_rows(name, AT_ONCE)
        both_began.wait()
        yield from cut(lines[AT_ONCE:])

    with ThreadPoolExecutor(2) as senders:
        names = [f"{key}-{owner}" for owner in owners]
        jobs = [
            senders.submit(streams.post, name, pieces(name, body))
            for name, body in zip(names, bodies, strict=True)
        ]
        here, there = (job.result() for job in jobs)
    told = [row_by_row(here.verdicts), list(reversed(row_by_row(there.verdicts)))]
    assert all({one, other} == {"created", "refused"} for one, other in zip(*told, strict=True))
    assert here.last["created"] + there.last["created"] == ROWS
    assert here.last["refused"] + there.last["refused"] == ROWS
    assert here.last["created"] > 0 < there.last["created"]
    for number in (1, ROWS // 2, ROWS // 2 + 1, ROWS):
        winner = owners[told[1][number - 1] == "created"]
        found = values_of(node, f"{stem}{number}")
        assert found is not None
        assert found[1] == f"{winner} {number}"
    loser = there if told[1][0] == "refused" else here
    refused = next(each for each in loser.verdicts if each["verdict"] == "refused")
    assert refused["responseCode"] == 101
    assert "is registered already" in refused["message"]


def test_two_streams_with_the_same_rows(streams: Streams, key: str, stem: str) -> None:
    lines = list(rows(1, ROWS, stem))
    with ThreadPoolExecutor(2) as senders:
        jobs = [senders.submit(send_in_pieces, streams, f"{key}-{at}", lines) for at in range(2)]
        answers = [job.result() for job in jobs]
    told = [row_by_row(answer.verdicts) for answer in answers]
    assert all({one, other} == {"created", "unchanged"} for one, other in zip(*told, strict=True))
    counts = Counter(verdict for each in told for verdict in each)
    assert counts == {"created": ROWS, "unchanged": ROWS}


@pytest.mark.parametrize("verdicts", ["after", "stream"])
def test_who_begins_last_goes_on_with_a_stream(
    streams: Streams, key: str, stem: str, verdicts: str
) -> None:
    lines = list(rows(1, 30, stem))
    with Upload(streams, key, query={"verdicts": verdicts}) as earlier:
        earlier.send(b"".join(lines[:10]))
        streams.wait_for_rows(key, 10)
        with Upload(streams, key, query={"verdicts": verdicts}) as later:
            later.send(b"".join(lines[:20]))
            streams.wait_for_rows(key, 20)
            earlier.send(b"".join(lines[10:15]))
            earlier.end()
            refused = earlier.told()
            later.send(b"".join(lines[20:]))
            later.end()
            answer = later.told()
    assert refused.status == (409 if verdicts == "after" else 200)
    assert refused.last["responseCode"] == 2
    assert "another connection goes on with this stream" in refused.last["message"]
    assert refused.last["next"] >= 11
    assert row_by_row(answer.verdicts) == ["created"] * 30
    assert answer.last["digest"] == digest_of(lines).hex()


def test_the_same_stream_over_two_connections_at_once(
    streams: Streams, key: str, stem: str
) -> None:
    for attempt in range(ROUNDS):
        name = f"{key}-{attempt}"
        lines = list(rows(1, 1_000, f"{stem}{attempt}-"))
        with ThreadPoolExecutor(2) as senders:
            jobs = [senders.submit(send_in_pieces, streams, name, lines) for _ in range(2)]
            answers = [job.result() for job in jobs]
        assert 200 in [answer.status for answer in answers]
        for answer in answers:
            if answer.status == 200:
                assert row_by_row(answer.verdicts) == ["created"] * 1_000
            else:
                assert answer.status == 409, answer
                assert "another connection goes on" in answer.last["message"]
        state = streams.state(name)
        assert (state["created"], state["rows"]) == (1_000, 1_000)
        assert state["digest"] == digest_of(lines).hex()
        assert state["receipt"]
