import asyncio
from typing import Any, cast

import msgpack
import pytest

from protocol.bodies import (
    CreatedAnswer,
    ErrorAnswer,
    HandleListAnswer,
    HandleRequest,
    ResolutionRequest,
    SiteInfoAnswer,
    ValuesRequest,
)
from protocol.codes import OpCode, ResponseCode
from resolver import rest_operations
from resolver.config import NodeRole
from resolver.link import Link, LinkDown
from resolver.metrics import RequestMetrics
from resolver.query import Result
from resolver.rest_operations import Listing, RestOperations
from tests.registry.builders import url
from tests.resolver.office import make_node
from tests.resolver.test_dispatch import FOUND, TCP, FakeLink, FakeRecords

NEW = b"88/NEW"


def make_operations(link: FakeLink, role: NodeRole = NodeRole.ENTERPRISE) -> RestOperations:
    return RestOperations(make_node(role), FakeRecords(), cast("Link", link), RequestMetrics())


def perform(operations: RestOperations, opcode: int, body: Any, who: Any = None) -> Result:
    return asyncio.run(operations.perform(opcode, body, 0, who, TCP))


def test_look_ups_are_answered_without_the_link() -> None:
    link = FakeLink()
    operations = make_operations(link)
    found = perform(operations, OpCode.RESOLUTION, ResolutionRequest(FOUND))
    assert found.body == ValuesRequest(FOUND, (url(),))
    site = perform(operations, OpCode.GET_SITE_INFO, HandleRequest(b"/"))
    assert site.body == SiteInfoAnswer(make_node().site_octets)
    assert link.asked == []


class ReplyingLink(FakeLink):
    def __init__(self, **reply: Any) -> None:
        super().__init__()
        self.reply = reply

    async def call(
        self, kind: str, payload: dict[str, Any], timeout_s: float | None = None
    ) -> dict[str, Any]:
        self.asked.append((kind, payload))
        return self.reply


def test_administration_goes_to_the_registrar() -> None:
    link = ReplyingLink(code=1, body=CreatedAnswer(NEW).encode(), created=True)
    who = {"session": "id"}
    body = ValuesRequest(NEW, (url(),))
    result = perform(make_operations(link), OpCode.CREATE_HANDLE, body, who)
    assert result == (1, CreatedAnswer(NEW), True, None)
    ((kind, payload),) = link.asked
    assert kind == "request"
    assert payload["authorization"] == who
    assert payload["body"] == body.encode()
    assert payload["address"] == TCP.address


def test_an_authorized_look_up_goes_to_the_registrar() -> None:
    link = ReplyingLink(code=403, body=ErrorAnswer(b"no").encode(), created=False)
    who = {"basic": [b"0.NA/88", 300, b"pw"]}
    result = perform(make_operations(link), OpCode.RESOLUTION, ResolutionRequest(FOUND), who)
    assert result == (403, ErrorAnswer(b"no"), False, None)


def test_a_link_that_is_down_is_an_answer() -> None:
    link = FakeLink(error=LinkDown("the registrar is not running"))
    operations = make_operations(link)
    result = perform(operations, OpCode.DELETE_HANDLE, HandleRequest(NEW))
    words = b"the registrar is not running"
    assert result == (ResponseCode.SERVER_TOO_BUSY, ErrorAnswer(words), False, None)
    page = asyncio.run(operations.list_handles(b"0.NA/88", 0, 10, None, TCP))
    assert page == Listing(ResponseCode.SERVER_TOO_BUSY, (), 0, words)
    status = asyncio.run(operations.status())
    assert (status["ready"], status["read_only"]) == (False, words.decode())


def test_lists_are_gathered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [[b"88/1", b"88/2"], [b"88/3"]]
    items = [msgpack.packb({"code": 1, "handles": page}) for page in pages]
    operations = make_operations(FakeLink(*items))
    listed = perform(operations, OpCode.LIST_HANDLES, HandleRequest(b"0.NA/88"))
    assert listed.body == HandleListAnswer((b"88/1", b"88/2", b"88/3"))
    monkeypatch.setattr(rest_operations, "LISTED_HANDLES_MAX", 2)
    refused = perform(operations, OpCode.LIST_HANDLES, HandleRequest(b"0.NA/88"))
    assert refused.response_code == ResponseCode.PROTOCOL_ERROR
    assert refused.body == ErrorAnswer(b"there are more than 2 handles: ask page by page")


def test_a_refused_list_says_why() -> None:
    item = msgpack.packb({"code": 400, "message": b"not you"})
    operations = make_operations(FakeLink(item))
    refused = perform(operations, OpCode.LIST_HANDLES, HandleRequest(b"0.NA/88"))
    assert refused == (400, ErrorAnswer(b"not you"), False, None)


def test_a_page_is_asked_for_by_number() -> None:
    link = ReplyingLink(code=1, handles=[NEW], total=41, message=b"")
    page = asyncio.run(make_operations(link).list_handles(b"0.NA/88", 4, 10, None, TCP))
    assert page == Listing(1, (NEW,), 41, b"")
    ((kind, payload),) = link.asked
    assert kind == "list_page"
    assert (payload["page"], payload["page_size"]) == (4, 10)


def test_sessions_are_the_registrar_s() -> None:
    link = ReplyingLink(code=1, session_id="id")
    session = asyncio.run(make_operations(link).rest_session("get", {"session_id": "id"}))
    assert session == {"code": 1, "session_id": "id"}
    assert link.asked == [("rest_session", {"action": "get", "session_id": "id"})]


def test_a_recursive_node_asks_its_keeper_and_registers_nothing() -> None:
    link = FakeLink()
    operations = make_operations(link, NodeRole.RECURSIVE)
    found = perform(operations, OpCode.RESOLUTION, ResolutionRequest(b"88/SECRET"))
    assert found.body == ValuesRequest(b"88/SECRET", (url(),))
    assert [kind for kind, _ in link.asked] == ["resolve"]
    refused = perform(operations, OpCode.DELETE_HANDLE, HandleRequest(NEW))
    assert refused.response_code == ResponseCode.OPERATION_NOT_SUPPORTED
    assert asyncio.run(operations.status())["role"] == "recursive"
