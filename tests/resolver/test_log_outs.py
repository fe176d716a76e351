"""Sessions of both kinds end with their key: one that a range gave, and one of another node."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from protocol.bodies import HandleRequest
from protocol.codes import OpCode, ResponseCode
from protocol.types.hs_pubkey import encode_public_key
from protocol.value import HandleValue, Reference
from registry.acts import Act, Done, decide_act
from registry.log import LocalLog
from registry.operations import Change
from registry.outcomes import NOTHING_FOREIGN, Unavailable
from registry.replay import replay
from registry.schema import Record
from registry.views import WriteView
from tests.registry.builders import ADMIN as REGISTRAR
from tests.registry.builders import NOW_S, POLICY, PREFIX, admin_value, create, put, url
from tests.registry.range_builders import document, url_form
from tests.resolver.office import ADMIN_KEY, SECRET, Office, open_office
from tests.resolver.test_rest_sessions import act, begin, keyed, signed
from tests.resolver.test_sessions import NEW, log_in, open_session

Scene = Callable[[Office], Awaitable[None]]
LOT = "88.118/DEV."
DEVICE = Reference(b"88.118/DEV.0042", 301)
AFAR = Reference(b"77/USER", 300)
AFAR_SECRET = Reference(b"77/USER", 301)
PUBLIC = HandleValue(300, b"HS_PUBKEY", encode_public_key(ADMIN_KEY.public_key()), ttl=120)
DEVICE_KEY = {
    "index": 301,
    "type": "HS_SECKEY",
    "permissions": "1100",
    "data": {"format": "string", "value": SECRET.decode()},
}


def play(folder: Path, scene: Scene) -> None:
    async def run() -> None:
        async with open_office(folder) as office:
            await scene(office)

    asyncio.run(run())


async def on_range(office: Office, name: str, parameters: dict[str, Any]) -> None:
    """Carry out an act on ranges as the registrar does."""

    def work(view: WriteView) -> None:
        asked = Act(f"ranges.{name}", parameters)
        outcome = decide_act(view, asked, REGISTRAR, NOTHING_FOREIGN, POLICY, NOW_S * 1_000)
        assert isinstance(outcome, Done), outcome
        replay(view, outcome.operations)
        LocalLog(view).append_operations(outcome.operations, NOW_S * 1_000)

    await office.commit.transact(work, own=True)


async def rest_session(office: Office, user: Reference) -> str:
    """Log in over REST; return the session's id."""
    begun = await begin(office)
    fields = keyed(begun) if user.index == 301 else signed(begun)
    answered = await act(office, "answer", **{**fields, "handle": user.handle, "index": user.index})
    assert answered["code"] == ResponseCode.SUCCESS, answered
    session_id: str = begun["session_id"]
    return session_id


def lives(office: Office, session_id: str) -> bool:
    return office.rest_sessions.identity(session_id) is not None


@pytest.mark.parametrize(
    ("name", "parameters", "is_ended"),
    [
        ("revoke", {"reason": "stolen"}, True),
        ("shrink", {"first": "0001", "last": "0041"}, True),
        ("shrink", {"first": "0001", "last": "0042"}, False),
        ("split", {"identifier": f"{LOT}0042"}, False),
    ],
)
def test_a_session_by_a_range_s_key_ends_when_the_range_does(
    tmp_path: Path, name: str, parameters: dict[str, Any], is_ended: bool
) -> None:
    async def scene(office: Office) -> None:
        await on_range(office, "register", document(LOT, "0001", "0500", url_form(), DEVICE_KEY))
        put(office.store, {b"88.118/OLD": [url(), admin_value(DEVICE)]})
        session_id = await rest_session(office, DEVICE)
        await on_range(office, name, {"identifier": f"{LOT}0001", **parameters})
        assert lives(office, session_id) is not is_ended

    play(tmp_path, scene)


def test_a_session_by_a_range_s_key_ends_when_its_identifier_is_overridden(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        await on_range(office, "register", document(LOT, "0001", "0500", url_form(), DEVICE_KEY))
        session_id = await rest_session(office, DEVICE)
        other = await rest_session(office, Reference(b"88.118/DEV.0043", 301))
        own = create(DEVICE.handle, url(), overwrite=True)
        outcome = await office.commit.submit(own, REGISTRAR, NOTHING_FOREIGN)
        assert isinstance(outcome, Change), outcome
        assert not lives(office, session_id)
        assert lives(office, other)

    play(tmp_path, scene)


@pytest.mark.parametrize("user", [AFAR, AFAR_SECRET], ids=["public key", "secret key"])
def test_a_rest_session_ends_with_a_key_of_another_node(
    tmp_path: Path, user: Reference, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(office: Office) -> None:
        office.afar.records[b"77/USER"] = Record((PUBLIC,))
        office.afar.secrets[AFAR_SECRET] = True
        session_id = await rest_session(office, user)
        office.clock_s += 300
        await office.foreign_keys.check()
        assert lives(office, session_id)
        down = Unavailable("nobody answers")
        office.afar.records[b"77/USER"] = office.afar.secrets[AFAR_SECRET] = down
        office.clock_s += 300
        await office.foreign_keys.check()
        assert lives(office, session_id)
        assert "cannot be looked at again" in caplog.text
        office.afar.records[b"77/USER"], office.afar.secrets[AFAR_SECRET] = Record(()), False
        office.clock_s += 300
        await office.foreign_keys.check()
        assert not lives(office, session_id)

    play(tmp_path, scene)


def test_a_session_of_the_protocol_ends_with_a_key_of_another_node(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        office.afar.records[b"77/USER"] = Record((PUBLIC,))
        put(office.store, {PREFIX: [admin_value(AFAR)]})
        client = await open_session(office, AFAR)
        created = await log_in(client, AFAR)
        assert created.header.response_code == ResponseCode.SUCCESS
        changed = HandleValue(300, b"HS_PUBKEY", b"another")
        office.afar.records[b"77/USER"] = Record((changed,))
        office.clock_s += 120
        await office.foreign_keys.check()
        asked = client.make(OpCode.DELETE_HANDLE, HandleRequest(NEW))
        assert await client.ask_code(asked) == ResponseCode.SESSION_TIMEOUT
        assert office.has(NEW)

    play(tmp_path, scene)


def test_more_keys_of_other_nodes_than_are_watched_are_refused(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        for number in range(4):
            user = Reference(b"77/USER.%d" % number, 300)
            office.afar.records[user.handle] = Record((PUBLIC,))
            await rest_session(office, user)
        office.afar.records[b"77/USER"] = Record((PUBLIC,))
        begun = await act(office, "new", address="192.0.2.8")
        answered = await act(
            office, "answer", **{**signed(begun), "handle": AFAR.handle, "index": AFAR.index}
        )
        assert answered["code"] == ResponseCode.SERVER_TOO_BUSY
        assert b"keys of other nodes" in answered["message"]
        assert not lives(office, begun["session_id"])

    play(tmp_path, scene)
