"""What a node says of a receipt, from its store to the client that asked."""

import asyncio
import hashlib
import ipaddress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from protocol import jws
from protocol.types.hs_pubkey import encode_public_key
from protocol.value import encode_values
from registry import receipt_checks
from registry.store import Store
from registry.stream_keeping import StreamCounts
from registry.stream_rows import RowKind
from resolver import node_receipts
from resolver.api.receipts import RECEIPTS_MAX
from resolver.client.errors import HandleError
from resolver.client.receipts import NodeCheck, check_receipt
from resolver.config import NodeRole
from resolver.node_files import make_site
from resolver.node_receipts import ReceiptFindings, find_receipt
from resolver.registrations import Registrations
from resolver.server_keys import EarlierKey
from tests.registry.builders import NOW_S, POLICY, url
from tests.resolver.api.calls import Api
from tests.resolver.office import ADMIN_KEY, SECRET, SECRET_ADMIN, make_node, open_office

NODE = make_node()
PATH = "/api/receipts/verify"


def plain(number: int) -> list[Any]:
    handle, octets = b"88.118/P%d" % number, encode_values((url(),))
    return [int(RowKind.PLAIN), handle, octets, hashlib.sha256(handle).digest()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of an office that took a stream of two batches."""
    return tmp_path


@pytest.fixture
def token(folder: Path) -> str:
    """The receipt of that stream."""

    async def scenario() -> str:
        async with open_office(folder) as office:
            streams = Registrations(
                office.store,
                office.commit,
                office.operations,
                POLICY,
                office.rest.prove,
                node=NODE,
                threads=office.threads,
                now_s=lambda: float(NOW_S),
                bounds=StreamCounts(1, 1),
            )
            basic = [SECRET_ADMIN.handle, SECRET_ADMIN.index, SECRET]
            asked = {"authorization": {"basic": basic}, "key": b"lot"}
            begun = await streams.begin(asked | {"address": "192.0.2.7", "transport": 1})
            mine = {"name": begun["name"], "token": begun["token"]}
            for number in (1, 2):
                rows = msgpack.packb([plain(number)])
                await streams.rows(mine | {"first": number, "rows": rows})
            ended = await streams.end(mine | {"rows": 2})
            return str(ended["stream"]["receipt"])

    return asyncio.run(scenario())


@pytest.fixture
def api(folder: Path, token: str) -> Api:
    made = Api(role=NodeRole.ENTERPRISE)

    def check(shown: str, after: int) -> ReceiptFindings:
        (path,) = {each.parent for each in folder.rglob("data.mdb")}
        with Store.open(path, readonly=True, case_sensitive=None) as store:
            return find_receipt(NODE, store, shown, after)

    made.operations.check = check
    return made


def post(api: Api, body: str | bytes, query: str = "") -> Any:
    octets = body if isinstance(body, bytes) else body.encode()
    return api.request("POST", PATH + query, octets, headers={"content-type": "application/jose"})


def test_a_receipt_is_shown_to_its_node_without_a_log_in(api: Api, token: str) -> None:
    answer = post(api, f"{token}\n")
    assert answer.status == 200
    assert answer.json["verified"] is True
    assert answer.json["next"] is None
    assert [(each["name"], each["holds"]) for each in answer.json["checks"]] == [
        ("signature", True),
        ("stream", True),
        ("journal", True),
    ]
    assert answer.json["checks"][0]["words"] == "office signed it"


def test_what_the_node_did_not_sign_is_told_nothing_of_streams(api: Api, token: str) -> None:
    payload = jws.peek(token)[1]
    forged = jws.sign(payload, generate_private_key(65_537, 2_048), key_id="sha256:other")
    answer = post(api, forged)
    assert answer.json["verified"] is False
    ((name, holds, words),) = [tuple(each.values()) for each in answer.json["checks"]]
    assert (name, holds) == ("signature", False)
    assert "does not hold under this key: it names sha256:other, this node's key is" in words


def test_what_a_key_of_before_signed_holds(folder: Path, token: str) -> None:
    new = generate_private_key(65_537, 2_048)
    public = encode_public_key(new.public_key())
    earlier = EarlierKey(1, NODE.public_key, None)
    now = replace(NODE, private_key=new, public_key=public, earlier_keys=(earlier,))
    with Store.open(folder, case_sensitive=None) as store:
        found = find_receipt(now, store, token, 0)
        assert [each.holds for each in found.findings] == [True, True, True]
        assert found.findings[0].words == "office signed it with a key of before"
        unknown = find_receipt(replace(now, earlier_keys=()), store, token, 0)
        assert [each.holds for each in unknown.findings] == [False]
        payload = jws.peek(token)[1]
        forged = jws.sign(payload, new, key_id=NODE.key_id)
        assert [each.holds for each in find_receipt(now, store, forged, 0).findings] == [False]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "this is no receipt"),
        (b"a.b.c", 400, "this is no receipt"),
        ("标识".encode(), 400, "octet 0 of the receipt is not ASCII"),
        (b"x" * 40_000, 413, "a receipt has at most 16384 octets"),
        (b"x" * 20_000, 400, "a token has at most 16384 octets"),
        (jws.sign(b"{}", ADMIN_KEY, key_id="").encode(), 400, "this is not a receipt"),
    ],
)
def test_what_is_no_receipt(api: Api, body: bytes, status: int, words: str) -> None:
    answer = post(api, body)
    assert answer.status == status
    assert words in answer.json["message"]


def test_a_node_that_registers_nothing_gives_no_receipts() -> None:
    answer = post(Api(role=NodeRole.RECURSIVE), b"a.b.c")
    assert (answer.status, answer.json["responseCode"]) == (501, 5)


def test_so_many_are_looked_at_at_once(api: Api, token: str) -> None:
    context = api.app.state.context
    context.receipts = RECEIPTS_MAX
    answer = post(api, token)
    assert (answer.status, answer.json["responseCode"]) == (503, 3)
    context.receipts -= 1
    assert post(api, token).status == 200
    assert post(api, b"none").status == 400
    assert context.receipts == RECEIPTS_MAX - 1


def test_after_is_a_number(api: Api, token: str) -> None:
    assert post(api, token, "?after=1").json["verified"] is True
    assert post(api, token, "?after=x").status == 400


class Bridge(httpx.AsyncBaseTransport):
    """Moves a client's requests to an application in this process."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.targets: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        target = request.url.raw_path.decode()
        self.targets.append(target)
        body = await request.aread()
        answer = await asyncio.to_thread(
            self._api.request, request.method, target, body, headers=dict(request.headers)
        )
        return httpx.Response(answer.status, content=answer.body)


def ask(transport: httpx.AsyncBaseTransport, token: str) -> list[NodeCheck]:
    site = make_site(b"key", [ipaddress.ip_address("127.0.0.1")], 2641, 8000, description="x")
    return asyncio.run(check_receipt(site, token, transport=transport))


def test_a_client_asks_until_all_frames_were_looked_at(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_frame_at_a_time(view: Any, receipt: Any, after: int) -> receipt_checks.Looked:
        return receipt_checks.check_frames(view, receipt, after, 1)

    monkeypatch.setattr(node_receipts, "check_frames", one_frame_at_a_time)
    bridge = Bridge(api)
    checks = ask(bridge, token)
    assert [(each.name, each.holds) for each in checks] == [
        ("signature", True),
        ("stream", True),
        ("journal", True),
    ]
    assert "frames 1 to 2 are there" in checks[2].words
    assert bridge.targets == [f"{PATH}?after={after}" for after in (0, 1, 2)]


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, b'{"responseCode": 4, "message": "this is no receipt: why"}', "no receipt: why"),
        (404, b"<html>", "answered 404"),
        (200, b"<html>", "answered no checks"),
        (200, b'{"checks": [], "next": 0}', "asks to go on after frame 0, not beyond 0"),
        (503, b'{"responseCode": 3, "message": "busy"}', "busy"),
    ],
)
def test_a_client_believes_no_other_answers(status: int, body: bytes, words: str) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(status, content=body))
    with pytest.raises(HandleError, match=words):
        ask(transport, "a.b.c")


def test_a_node_that_does_not_answer() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    with pytest.raises(HandleError, match="connection refused"):
        ask(httpx.MockTransport(refuse), "a.b.c")
