import asyncio
import hmac
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from protocol.challenge import answer_public_key
from protocol.codes import ResponseCode
from protocol.digests import RequestDigest
from protocol.types.hs_site import TRANSPORT_HTTPS
from protocol.versions import V2_10
from protocol.wire import Reader
from tests.registry.builders import PREFIX, put, url
from tests.resolver.office import (
    ADDRESS,
    ADMIN,
    ADMIN_KEY,
    SECRET,
    SECRET_ADMIN,
    Office,
    open_office,
)

Scene = Callable[[Office], Awaitable[None]]
CLIENT_NONCE = b"client nonce"


def play(folder: Path, scene: Scene) -> None:
    async def run() -> None:
        async with open_office(folder) as office:
            await scene(office)

    asyncio.run(run())


async def act(office: Office, action: str, **payload: Any) -> dict[str, Any]:
    return await office.rest_sessions.handle(
        {"action": action, "address": ADDRESS, "transport": TRANSPORT_HTTPS, **payload}
    )


async def begin(office: Office, address: str = ADDRESS) -> dict[str, Any]:
    session = await act(office, "new", address=address)
    assert session["code"] == ResponseCode.SUCCESS
    return session


def signed(session: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an answer with the administrator's key."""
    digest = RequestDigest(0, CLIENT_NONCE)
    reader = Reader(answer_public_key(ADMIN_KEY, session["nonce"], digest, V2_10))
    return {
        "session_id": session["session_id"],
        "handle": ADMIN.handle,
        "index": ADMIN.index,
        "type": b"HS_PUBKEY",
        "algorithm": reader.read_str("hash").decode(),
        "signature": reader.read_str("signature"),
        "client_nonce": CLIENT_NONCE,
    }


def keyed(session: dict[str, Any], secret: bytes = SECRET) -> dict[str, Any]:
    """Return the fields of an answer with a secret key."""
    return {
        "session_id": session["session_id"],
        "handle": SECRET_ADMIN.handle,
        "index": SECRET_ADMIN.index,
        "type": b"HS_SECKEY",
        "algorithm": "HMAC-SHA256",
        "signature": hmac.digest(secret, session["nonce"] + CLIENT_NONCE, "sha256"),
        "client_nonce": CLIENT_NONCE,
    }


@pytest.mark.parametrize(("answer", "identity"), [(signed, ADMIN), (keyed, SECRET_ADMIN)])
def test_a_session_is_whoever_answers_its_nonce(
    tmp_path: Path, answer: Callable[[dict[str, Any]], dict[str, Any]], identity: Any
) -> None:
    async def scene(office: Office) -> None:
        session = await begin(office)
        assert not session["authenticated"]
        assert office.rest_sessions.identity(session["session_id"]) is None
        answered = await act(office, "answer", **answer(session))
        assert answered["code"] == ResponseCode.SUCCESS
        assert (answered["handle"], answered["index"]) == identity
        assert office.rest_sessions.identity(session["session_id"]) == identity
        shown = await act(office, "get", session_id=session["session_id"])
        assert shown["authenticated"]

    play(tmp_path, scene)


def test_a_nonce_is_answered_once(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        session = await begin(office)
        fields = keyed(session)
        first = await act(office, "answer", **fields)
        again = await act(office, "answer", **fields)
        assert (first["code"], again["code"]) == (1, ResponseCode.AUTHENTICATION_FAILED)
        assert again["nonce"] != session["nonce"]
        assert not again["authenticated"]
        assert office.rest_sessions.identity(session["session_id"]) is None

    play(tmp_path, scene)


@pytest.mark.parametrize("answer", [signed, keyed])
def test_nobody_is_proven_by_a_key_that_was_taken_away_while_he_was(
    tmp_path: Path,
    answer: Callable[[dict[str, Any]], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(office: Office) -> None:
        in_thread = office.operations.in_thread

        async def slow(*arguments: Any) -> Any:
            done = await in_thread(*arguments)
            put(office.store, {PREFIX: [url()]})
            return done

        monkeypatch.setattr(office.operations, "in_thread", slow)
        session = await begin(office)
        answered = await act(office, "answer", **answer(session))
        assert answered["code"] == ResponseCode.AUTHENTICATION_FAILED
        assert office.rest_sessions.identity(session["session_id"]) is None

    play(tmp_path, scene)


def test_after_a_wrong_answer_comes_another_nonce(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        session = await begin(office)
        failed = await act(office, "answer", **keyed(session, b"wrong"))
        assert failed["code"] == ResponseCode.AUTHENTICATION_FAILED
        assert failed["message"]
        right = await act(office, "answer", **keyed(failed))
        assert right["code"] == ResponseCode.SUCCESS

    play(tmp_path, scene)


@pytest.mark.parametrize(
    "change", [{"type": b"HS_WHAT"}, {"algorithm": "ROT13"}, {"signature": b""}, {"index": 999}]
)
def test_answers_that_prove_nothing_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    async def scene(office: Office) -> None:
        session = await begin(office)
        failed = await act(office, "answer", **{**keyed(session), **change})
        assert failed["code"] == ResponseCode.AUTHENTICATION_FAILED
        assert not failed["authenticated"]

    play(tmp_path, scene)


@pytest.mark.parametrize("action", ["get", "delete", "answer"])
@pytest.mark.parametrize("session_id", ["", "guess", "\udcff"])
def test_a_session_that_is_not_there_has_timed_out(
    tmp_path: Path, action: str, session_id: str
) -> None:
    async def scene(office: Office) -> None:
        answer = await act(office, action, session_id=session_id)
        assert answer == {"code": ResponseCode.SESSION_TIMEOUT}

    play(tmp_path, scene)


def test_a_deleted_session_is_gone(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        session = await begin(office)
        await act(office, "answer", **keyed(session))
        deleted = await act(office, "delete", session_id=session["session_id"])
        assert deleted == {"code": ResponseCode.SUCCESS}
        assert office.rest_sessions.identity(session["session_id"]) is None

    play(tmp_path, scene)


def test_nobody_s_sessions_are_kept_no_longer_than_a_challenge(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        nobody, somebody = await begin(office), await begin(office)
        await act(office, "answer", **keyed(somebody))
        office.clock_s += 60
        assert office.rest_sessions.purge() == 1
        gone = await act(office, "get", session_id=nobody["session_id"])
        assert gone["code"] == ResponseCode.SESSION_TIMEOUT
        office.clock_s += 3_539
        assert office.rest_sessions.identity(somebody["session_id"]) == SECRET_ADMIN
        office.clock_s += 3_599
        assert office.rest_sessions.identity(somebody["session_id"]) == SECRET_ADMIN
        office.clock_s += 3_600
        assert office.rest_sessions.identity(somebody["session_id"]) is None

    play(tmp_path, scene)


def test_sessions_of_one_address_are_bounded(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        first = await begin(office)
        kept = await begin(office)
        await act(office, "answer", **keyed(kept))
        for _ in range(3):
            await begin(office)
        assert len(office.rest_sessions) == 4, "the oldest that was nobody's made room"
        gone = await act(office, "get", session_id=first["session_id"])
        assert gone["code"] == ResponseCode.SESSION_TIMEOUT
        assert office.rest_sessions.identity(kept["session_id"]) == SECRET_ADMIN
        await begin(office, "198.51.100.1")
        assert len(office.rest_sessions) == 5

    play(tmp_path, scene)


def test_many_addresses_lock_nobody_out(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        kept = await begin(office)
        await act(office, "answer", **keyed(kept))
        for number in range(7):
            await begin(office, f"198.51.100.{number}")
        late = await begin(office, "203.0.113.1")
        assert len(office.rest_sessions) == 8
        await act(office, "answer", **keyed(late))
        for session in (kept, late):
            assert office.rest_sessions.identity(session["session_id"]) == SECRET_ADMIN

    play(tmp_path, scene)


def test_where_all_have_logged_in_the_newcomer_is_refused(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        for _ in range(4):
            await act(office, "answer", **keyed(await begin(office)))
        refused = await act(office, "new", address=ADDRESS)
        assert refused == {"code": ResponseCode.SERVER_TOO_BUSY}

    play(tmp_path, scene)


def test_session_ids_are_long_and_unlike(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        ids = {(await begin(office))["session_id"] for _ in range(4)}
        assert len(ids) == 4
        assert all(len(each) == 24 for each in ids)

    play(tmp_path, scene)
