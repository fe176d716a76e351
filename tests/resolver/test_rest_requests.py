import asyncio
import hmac
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from protocol.bodies import (
    Body,
    CreatedAnswer,
    ErrorAnswer,
    HandleRequest,
    ResolutionRequest,
    ValuesRequest,
    decode_response_body,
)
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.header import Header
from protocol.key_files import generate_rsa_key
from protocol.types.hs_pubkey import encode_public_key
from protocol.value import HandleValue, Reference
from registry.schema import Record
from resolver.hot_creations import read_pieces
from resolver.listing import Pages
from tests.registry.builders import PREFIX, ROOT, admin_value, hidden, put, url
from tests.resolver.office import (
    ADDRESS,
    ADMIN,
    ADMIN_KEY,
    SECRET,
    SECRET_ADMIN,
    STRANGER,
    Office,
    open_office,
)
from tests.resolver.test_rest_sessions import act, begin, keyed, signed

Scene = Callable[[Office], Awaitable[None]]
NEW = b"88.118/NEW"
CREATE = ValuesRequest(NEW, (url(),))
RIGHT = {"basic": [*SECRET_ADMIN, SECRET]}


def play(folder: Path, scene: Scene) -> None:
    async def run() -> None:
        async with open_office(folder) as office:
            await scene(office)

    asyncio.run(run())


def payload_of(
    opcode: int, body: Body, authorization: dict[str, Any] | None, flags: int = 0
) -> dict[str, Any]:
    return {
        "opcode": opcode,
        "body": body.encode(),
        "flags": flags,
        "authorization": authorization,
        "address": ADDRESS,
        "transport": 3,
    }


async def perform(
    office: Office,
    opcode: int,
    body: Body,
    authorization: dict[str, Any] | None = None,
    flags: int = 0,
) -> tuple[int, Body, bool]:
    reply = await office.rest.perform(payload_of(opcode, body, authorization, flags))
    header = Header(opcode, reply["code"], 0, 0)
    return reply["code"], decode_response_body(header, reply["body"])[1], reply["created"]


@pytest.mark.parametrize("index", [SECRET_ADMIN.index, 0])
def test_a_session_begun_with_a_password_is_that_user_s(tmp_path: Path, index: int) -> None:
    async def scene(office: Office) -> None:
        claim = {"basic": [SECRET_ADMIN.handle, index, SECRET]}
        asked = {"authorization": claim, "address": ADDRESS, "transport": 3}
        session = await office.rest.rest_session({"action": "new", **asked})
        assert (session["code"], session["authenticated"]) == (1, True)
        assert Reference(session["handle"], session["index"]) == SECRET_ADMIN
        there = {"session": session["session_id"]}
        assert (await perform(office, OpCode.CREATE_HANDLE, CREATE, there))[0] == 1
        who = await office.rest.rest_session({"action": "who", **asked})
        assert (who["handle"], who["index"]) == SECRET_ADMIN
        assert "session_id" not in who

    play(tmp_path, scene)


def test_a_wrong_password_begins_no_session(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        claim = {"basic": [*SECRET_ADMIN, b"wrong"]}
        for action in ("new", "who"):
            asked = {"action": action, "authorization": claim}
            told = await office.rest.rest_session({**asked, "address": ADDRESS, "transport": 3})
            assert told == {"code": ResponseCode.AUTHENTICATION_FAILED}
        assert len(office.rest_sessions) == 0
        nobody: dict[str, Any] = {"action": "new", "address": ADDRESS, "authorization": None}
        assert (await office.rest.rest_session(nobody))["authenticated"] is False

    play(tmp_path, scene)


def test_a_password_creates(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        result = await perform(office, OpCode.CREATE_HANDLE, CREATE, RIGHT)
        assert result == (1, CreatedAnswer(NEW), True)
        assert office.has(NEW)
        again = await perform(office, OpCode.CREATE_HANDLE, CREATE, RIGHT, MessageFlag.OVERWRITE)
        assert again == (1, CreatedAnswer(NEW), False)

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("user", "password", "code"),
    [
        (SECRET_ADMIN, b"wrong", ResponseCode.AUTHENTICATION_FAILED),
        (STRANGER, b"wrong", ResponseCode.INVALID_ADMIN),
        (STRANGER, SECRET, ResponseCode.INVALID_ADMIN),
        (Reference(PREFIX, 0), b"wrong", ResponseCode.AUTHENTICATION_FAILED),
        (Reference(PREFIX, 0), SECRET, ResponseCode.SUCCESS),
        (Reference(b"88.119/ADMIN", 301), SECRET, ResponseCode.INVALID_ADMIN),
    ],
)
def test_permission_comes_before_the_password(
    tmp_path: Path, user: Reference, password: bytes, code: int
) -> None:
    async def scene(office: Office) -> None:
        basic = {"basic": [user.handle, user.index, password]}
        result = await perform(office, OpCode.CREATE_HANDLE, CREATE, basic)
        assert result[0] == code
        assert office.has(NEW) == (code == 1)

    play(tmp_path, scene)


def test_a_password_of_another_node_cannot_be_checked(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        afar = Reference(b"88.119/ADMIN", 301)
        put(office.store, {PREFIX: [admin_value(afar)]})
        basic = {"basic": [*afar, SECRET]}
        code, body, _ = await perform(office, OpCode.CREATE_HANDLE, CREATE, basic)
        assert code == ResponseCode.AUTHENTICATION_FAILED
        assert isinstance(body, ErrorAnswer)
        assert b"on another node" in (body.message or b"")

    play(tmp_path, scene)


def test_nobody_is_asked_who_he_is(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        code, _, _ = await perform(office, OpCode.CREATE_HANDLE, CREATE)
        assert code == ResponseCode.AUTHENTICATION_NEEDED
        code, _, _ = await perform(office, OpCode.CREATE_HANDLE, CREATE, {"session": "guess"})
        assert code == ResponseCode.AUTHENTICATION_NEEDED
        assert not office.has(NEW)

    play(tmp_path, scene)


def test_public_write_values_are_anybody_s_to_modify(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        put(office.store, {NEW: [url(permission=0b1111)]})
        body = ValuesRequest(NEW, (url(data=b"changed", permission=0b1111),))
        assert (await perform(office, OpCode.MODIFY_VALUE, body))[0] == 1

    play(tmp_path, scene)


def test_a_session_creates_and_deletes(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        session = await begin(office)
        await act(office, "answer", **keyed(session))
        who = {"session": session["session_id"]}
        assert (await perform(office, OpCode.CREATE_HANDLE, CREATE, who))[0] == 1
        assert (await perform(office, OpCode.DELETE_HANDLE, HandleRequest(NEW), who))[0] == 1
        assert not office.has(NEW)

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, ResponseCode.AUTHENTICATION_NEEDED),
        ({"basic": [*SECRET_ADMIN, b"wrong"]}, ResponseCode.AUTHENTICATION_FAILED),
        ({"basic": [*STRANGER, SECRET]}, ResponseCode.INVALID_ADMIN),
        ({"basic": [PREFIX, 0, b"wrong"]}, ResponseCode.AUTHENTICATION_FAILED),
        ({"basic": [PREFIX, 0, SECRET]}, ResponseCode.SUCCESS),
        (RIGHT, ResponseCode.SUCCESS),
    ],
)
def test_restricted_values_are_shown_to_administrators(
    tmp_path: Path, authorization: dict[str, Any] | None, code: int
) -> None:
    async def scene(office: Office) -> None:
        put(office.store, {NEW: [url(), hidden(2), admin_value(SECRET_ADMIN)]})
        result = await perform(office, OpCode.RESOLUTION, ResolutionRequest(NEW), authorization)
        assert result[0] == code
        if code == ResponseCode.SUCCESS:
            assert isinstance(result[1], ValuesRequest)
            assert len(result[1].values) == 3

    play(tmp_path, scene)


def test_a_suffix_is_minted(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        stem = ValuesRequest(b"88.118/lot-", (url(),))
        code, body, created = await perform(
            office, OpCode.CREATE_HANDLE, stem, RIGHT, MessageFlag.MINT_SUFFIX
        )
        assert (code, created) == (1, True)
        assert isinstance(body, CreatedAnswer)
        assert body.handle is not None
        assert body.handle.startswith(b"88.118/lot-")
        assert office.has(body.handle)

    play(tmp_path, scene)


def test_pages_of_a_list_know_the_whole(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        handles = [b"88.118/%04d" % number for number in range(2_499)]
        put(office.store, {handle: [url()] for handle in handles})
        payload = {"prefix": PREFIX, "page_size": 100, "after": b"", "authorization": RIGHT}
        pages = []
        for page in (0, 1, 24, 25):
            reply = await office.rest.list_page(payload | {"page": page})
            assert (reply["code"], reply["total"]) == (1, 2_500)
            pages.append(reply["handles"])
        assert pages == [
            handles[:100],
            handles[100:200],
            [*handles[2_400:], b"88.118/OLD"],
            [],
        ]

    play(tmp_path, scene)


def test_a_whole_list_is_streamed(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        put(office.store, {b"88.118/%04d" % number: [url()] for number in range(1_999)})
        payload = payload_of(OpCode.LIST_HANDLES, HandleRequest(PREFIX), RIGHT)
        items = [msgpack.unpackb(item) async for item in office.rest.list_all(payload)]
        assert [len(item["handles"]) for item in items] == [1_000, 1_000]

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, ResponseCode.AUTHENTICATION_NEEDED),
        ({"basic": [*STRANGER, SECRET]}, ResponseCode.INVALID_ADMIN),
        ({"basic": [*SECRET_ADMIN, b"wrong"]}, ResponseCode.AUTHENTICATION_FAILED),
    ],
)
def test_lists_are_for_administrators(
    tmp_path: Path, authorization: dict[str, Any] | None, code: int
) -> None:
    async def scene(office: Office) -> None:
        payload = payload_of(OpCode.LIST_HANDLES, HandleRequest(PREFIX), authorization)
        (item,) = [msgpack.unpackb(item) async for item in office.rest.list_all(payload)]
        assert item["code"] == code
        page = {"prefix": PREFIX, "page": 0, "page_size": 9}
        reply = await office.rest.list_page(payload | page)
        assert (reply["code"], reply["handles"]) == (code, [])

    play(tmp_path, scene)


def test_a_malformed_body_is_a_protocol_error(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        payload = payload_of(OpCode.DELETE_HANDLE, HandleRequest(NEW), RIGHT)
        payload["body"] = b"\0"
        assert (await office.rest.perform(payload))["code"] == ResponseCode.PROTOCOL_ERROR

    play(tmp_path, scene)


def test_the_root_s_administrator_needs_no_permission_on_the_handle(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        keys = [url(), admin_value(ADMIN)]
        put(office.store, {ROOT.handle: [*keys, *_secret(ROOT.index)]})
        basic = {"basic": [*ROOT, SECRET]}
        assert (await perform(office, OpCode.CREATE_HANDLE, CREATE, basic))[0] == 1

    play(tmp_path, scene)


def _secret(index: int) -> list[Any]:
    return [HandleValue(index, b"HS_SECKEY", SECRET, 0b1100)]


def test_a_session_creates_the_short_way(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        body = b'[{"index":1,"type":"URL","data":{"format":"string","value":"x"}}]'
        session = await begin(office)
        payload = [session["session_id"], NEW, read_pieces(body, b"88.118/A")]
        assert not await office.rest.create(payload)  # nobody yet
        await act(office, "answer", **keyed(session))
        assert await office.rest.create(payload)
        assert office.has(NEW)
        assert not await office.rest.create(payload)  # is there

    play(tmp_path, scene)


BODY = b'[{"index":1,"type":"URL","data":{"format":"string","value":"x"}}]'


class Enterprise:
    """An office whose prefix's own record lives with its parent, and a session of its admin."""

    def __init__(self, office: Office) -> None:
        self.office = office
        with office.store.write(journaled=False) as view:
            record = view.find_record(PREFIX)
            assert record is not None
            self.record = record
            view.unhome(ROOT.handle)
            view.delete_record(PREFIX)
        self.tell(record)
        self._count = 0

    def tell(self, record: Record) -> None:
        """Have the parent say this from now on."""
        self.office.afar.records[PREFIX] = record

    def without_rights(self) -> Record:
        return Record(tuple(each for each in self.record.values if each.type != b"HS_ADMIN"))

    async def log_in(self) -> None:
        session = await begin(self.office)
        await act(self.office, "answer", **signed(session))
        self.who = session["session_id"]

    async def short(self) -> bool:
        """Create another handle by the short way; say whether it was made."""
        self._count += 1
        name = b"88.118/N%d" % self._count
        made = await self.office.rest.create([self.who, name, read_pieces(BODY, b"88.118/A")])
        assert made == self.office.has(name)
        return made

    async def long(self) -> int:
        self._count += 1
        body = ValuesRequest(b"88.118/N%d" % self._count, (url(),))
        who = {"session": self.who}
        return (await perform(self.office, OpCode.CREATE_HANDLE, body, who))[0]


def test_the_short_way_recalls_what_the_long_way_fetched(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        node = Enterprise(office)
        await node.log_in()
        assert not await node.short()
        assert await node.long() == ResponseCode.SUCCESS
        office.afar.fetched.clear()
        assert [await node.short() for _ in range(3)] == [True] * 3
        assert office.afar.fetched == []
        other = b"88.119/X"
        assert not await office.rest.create([node.who, other, read_pieces(BODY, b"88.118/A")])

    play(tmp_path, scene)


def test_the_short_way_asks_again_once_what_was_fetched_has_expired(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        node = Enterprise(office)
        await node.log_in()
        assert await node.long() == ResponseCode.SUCCESS
        node.tell(node.without_rights())
        assert await node.short()  # as the long way, which would recall it too
        office.afar.memory.clear()
        assert not await node.short()
        assert await node.long() == ResponseCode.INVALID_ADMIN
        assert not await node.short()
        node.tell(node.record)
        office.afar.memory.clear()
        assert not await node.short()
        assert await node.long() == ResponseCode.SUCCESS
        assert await node.short()

    play(tmp_path, scene)


def test_the_short_way_believes_what_was_fetched_last(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        node = Enterprise(office)
        await node.log_in()
        assert await node.long() == ResponseCode.SUCCESS
        assert await node.short()
        office.afar.memory[PREFIX] = node.without_rights()  # another request had it fetched
        assert not await node.short()
        office.afar.memory[PREFIX] = None
        assert not await node.short()

    play(tmp_path, scene)


OWN_KEY = encode_public_key(ADMIN_KEY.public_key())
CERTIFIED = {"certificate": [*ADMIN, OWN_KEY]}


def test_a_certificate_creates_reads_and_lists(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        result = await perform(office, OpCode.CREATE_HANDLE, CREATE, CERTIFIED)
        assert result == (1, CreatedAnswer(NEW), True)
        put(office.store, {b"88.118/HIDDEN": [hidden(1), admin_value(ADMIN)]})
        question = ResolutionRequest(b"88.118/HIDDEN")
        code, body, _ = await perform(office, OpCode.RESOLUTION, question, CERTIFIED)
        assert (code, isinstance(body, ValuesRequest)) == (1, True)
        payload = payload_of(OpCode.LIST_HANDLES, HandleRequest(PREFIX), CERTIFIED)
        assert msgpack.unpackb(await anext(office.rest.list_all(payload)))["code"] == 1
        assert await office.rest.prove(payload) == ADMIN

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("user", "is_own_key", "code"),
    [
        (ADMIN, False, ResponseCode.AUTHENTICATION_FAILED),
        (Reference(PREFIX, 0), False, ResponseCode.AUTHENTICATION_FAILED),
        (Reference(PREFIX, 0), True, ResponseCode.SUCCESS),
        (SECRET_ADMIN, True, ResponseCode.AUTHENTICATION_FAILED),
        (STRANGER, True, ResponseCode.INVALID_ADMIN),
    ],
)
def test_a_certificate_is_good_for_its_own_key_alone(
    tmp_path: Path, user: Reference, is_own_key: bool, code: int
) -> None:
    async def scene(office: Office) -> None:
        key = OWN_KEY if is_own_key else encode_public_key(generate_rsa_key().public_key())
        authorization = {"certificate": [*user, key]}
        result = await perform(office, OpCode.CREATE_HANDLE, CREATE, authorization)
        assert (result[0], office.has(NEW)) == (code, code == ResponseCode.SUCCESS)

    play(tmp_path, scene)


def verification(secret: bytes = SECRET, **changed: Any) -> dict[str, Any]:
    signature = hmac.digest(secret, b"nonce" + b"client", "sha256")
    fields = {"nonce": b"nonce", "client_nonce": b"client", "signature": signature}
    rest = {"algorithm": "HMAC-SHA256", "salt": b"", "rounds": 0, "key_bits": 0}
    who = {"handle": SECRET_ADMIN.handle, "index": SECRET_ADMIN.index}
    return {**who, **fields, **rest, **changed}


@pytest.mark.parametrize(
    ("payload", "code", "holds"),
    [
        (verification(), 1, True),
        (verification(index=0), 1, True),
        (verification(b"wrong"), 1, False),
        (verification(index=999), 1, False),
        (verification(nonce=b"other"), 1, False),
        (verification(algorithm="CRC32"), ResponseCode.PROTOCOL_ERROR, False),
        (verification(handle=b"99/x"), ResponseCode.SERVER_NOT_RESPONSIBLE, False),
        (
            verification(algorithm="PBKDF2-HMAC-SHA1", rounds=1_000_000, key_bits=160, salt=b"s"),
            1,
            False,
        ),
    ],
)
def test_answers_are_verified_for_others(
    tmp_path: Path, payload: dict[str, Any], code: int, holds: bool
) -> None:
    async def scene(office: Office) -> None:
        reply = await office.rest.verify(payload)
        assert (reply["code"], reply["holds"]) == (code, holds)

    play(tmp_path, scene)


def test_a_page_too_deep_says_how_to_go_on(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        put(office.store, {b"88.118/%04d" % number: [url()] for number in range(99)})
        office.rest._pages = Pages(office.store, steps_max=10)
        asked = {"prefix": PREFIX, "page": 2, "page_size": 20, "authorization": RIGHT, "after": b""}
        reply = await office.rest.list_page(asked)
        assert (reply["code"], b"after=" in reply["message"]) == (4, True)
        reply = await office.rest.list_page(asked | {"page": 0, "after": b"88.118/0090"})
        assert reply["handles"][:2] == [b"88.118/0091", b"88.118/0092"]
        assert (reply["total"], reply["next"]) == (100, b"")

    play(tmp_path, scene)
