from pathlib import Path
from typing import cast

import pytest

from protocol.bodies import ResolutionRequest
from protocol.codes import MessageFlag, OpCode
from protocol.handle import fold_handle
from protocol.types.hs_site import TRANSPORT_TCP
from protocol.value import HandleValue
from registry.errors import StoreError
from registry.range_records import FindNearest, FoundRow, find_nearest
from registry.schema import encode_record
from registry.store import Store
from registry.streams import Verdict
from registry.template_expansion import ExpandRows, expand_rows
from resolver.dispatch import Peer
from resolver.fastpath import Choice, Lookups
from resolver.quick_answers import BatchAnswers, open_quick_answers
from tests.registry.builders import url
from tests.registry.template_builders import ALL, made_row, register, seed, send
from tests.resolver.office import request
from tests.resolver.two_paths import TWINS, Given, Paths, make_paths

Rows = tuple[list[FoundRow], list[bool]]
PEER = Peer("192.0.2.1", 5_000, TRANSPORT_TCP)
LONG = HandleValue(1, b"URL", bytes(range(256)) * 12)
VALUES = {b"88.118/A": (url(),), b"88.118/LONG": (LONG, url(2)), b"99/A": (url(),)}


def ask(handle: bytes, request_id: int, flags: int = MessageFlag.PUBLIC_ONLY) -> bytes:
    body = ResolutionRequest(handle, (), ())
    return request(OpCode.RESOLUTION, body, flags, request_id=request_id).encode()


def quick_answers(paths: Paths, twin: Choice) -> BatchAnswers:
    replies = paths.dispatcher.replies
    lookups = Lookups(paths.batch(twin), paths.given, replies, TRANSPORT_TCP, cached=paths.cached)
    return BatchAnswers(lookups)


@pytest.mark.parametrize("twin", TWINS)
def test_answers_are_those_of_the_dispatcher_whole_and_in_place(twin: Choice) -> None:
    rows = {handle: encode_record(values, fold_handle(handle)) for handle, values in VALUES.items()}
    paths = make_paths(Given(rows, frozenset({b"0.NA/88.118"})))
    quick = quick_answers(paths, twin)
    messages = [
        ask(b"88.118/a", 1),
        ask(b"88.118/missing", 2),
        ask(b"88.118/long", 3),
        ask(b"99/a", 4),
        ask(b"88.118/LONG", 5),
        ask(b"88.118/A", 6, MessageFlag.CERTIFY),
        ask(b"88.118/A", 7)[:-6],
        ask(b"88.118/A", 8),
    ]
    answers = quick.answer_many(messages)
    assert [answer is not None for answer in answers] == [True, True, True, 0, True, 0, 0, True]
    for message, answer in zip(messages, answers, strict=True):
        if answer is not None:
            assert answer == paths.dispatcher.answer_now(message, PEER)


@pytest.mark.parametrize("twin", TWINS)
def test_nothing_to_look_up_is_nothing_answered(twin: Choice) -> None:
    paths = make_paths(Given({}))
    quick = quick_answers(paths, twin)
    assert quick.answer_many([b"", b"\xff" * 70]) == [None, None]
    assert quick.answer_many([]) == []


@pytest.mark.parametrize("twin", TWINS)
def test_a_store_that_cannot_be_read_is_the_dispatchers_to_tell(twin: Choice) -> None:
    class Unreadable(Given):
        def find_rows(
            self,
            keys: list[bytes],
            prefixes: list[bytes],
            nearest: FindNearest = find_nearest,
            expand: ExpandRows = expand_rows,
        ) -> Rows:
            raise StoreError("no more readers")

    paths = make_paths(Unreadable({}))
    messages = [ask(b"88.118/a", 1), ask(b"88.118/b", 2)]
    assert quick_answers(paths, twin).answer_many(messages) == [None, None]


@pytest.mark.parametrize("twin", TWINS)
def test_rows_made_from_a_template_are_answered(
    twin: Choice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed(tmp_path / "store")
    with Store.open(tmp_path / "store", sync=False) as store:
        register(store)
        handles = [b"88.118/LOT.%06d" % number for number in range(20)]
        rows = [made_row(each, {**ALL, "serial": each[-6:].decode()}) for each in handles]
        assert {run.verdict for run in send(store, rows)} == {Verdict.CREATED}
        paths = make_paths(cast("Given", store))
        quick = open_quick_answers(store, paths.dispatcher.replies, twin)
        assert quick is not None
        if twin is Choice.NATIVE:
            monkeypatch.setattr("resolver._batch.expand_in_python", None)
        messages = [ask(each, number) for number, each in enumerate(handles)]
        answers = quick.answer_many(messages)
        assert answers == [paths.dispatcher.answer_now(each, PEER) for each in messages]
        assert None not in answers
