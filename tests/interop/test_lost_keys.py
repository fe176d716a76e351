"""Two nodes: who is logged in at one with a key of the other is logged out when it is changed."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from protocol.types.hs_pubkey import encode_public_key
from tests.faults.rest_client import RestSession
from tests.faults.wire_client import Administrator, administrator
from tests.nodes import Node, Tables, delegate, make_node, must_run, running, wait_until

TABLES: Tables = {
    "tls": {"allow_plain_credentials_on_loopback": True},
    "upstream": {"foreign_ttl_s": 1},
    "limits": {"foreign_key_check_s": 1},
}
MEMBER = b"88.118/MEMBER"
TARGET = "88/THING?index=1&overwrite=true"


class Stand(NamedTuple):
    top: Node
    below: Node


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A top node whose 88/THING the member of the node below may change."""
    folder: Path = tmp_path_factory.mktemp("lost-keys")
    top = make_node(folder / "top", tables=TABLES)
    below = make_node(
        folder / "below", "secondary", "88.118", root=top.bootstrap, tables={"tls": TABLES["tls"]}
    )
    with running(top):
        delegate(top, below)
        with running(below):
            rule = {
                "index": 100,
                "type": "HS_ADMIN",
                "data": {
                    "format": "admin",
                    "value": {
                        "handle": MEMBER.decode(),
                        "index": 300,
                        "permissions": "111111111111",
                    },
                },
            }
            with RestSession(top, administrator(top)) as session:
                assert session.put("88/THING", [url("first"), rule]).status == 201
            yield Stand(top, below)
        assert "Traceback" not in top.log, top.log_tail


def url(text: str) -> dict[str, Any]:
    data = {"format": "string", "value": f"https://example.org/{text}"}
    return {"index": 1, "type": "URL", "data": data}


def give_key(below: Node, *, is_new: bool) -> Administrator:
    """Have the member's handle hold a new key in place of the one before."""
    key = rsa.generate_private_key(65_537, 2_048)
    data = base64.b64encode(encode_public_key(key.public_key())).decode()
    value = {
        "index": 300, "type": "HS_PUBKEY", "ttl": 1, "data": {"format": "base64", "value": data}
    }  # fmt: skip
    target = MEMBER.decode() + ("" if is_new else "?index=300&overwrite=true")
    with RestSession(below, administrator(below)) as session:
        assert session.put_at(target, [value]).status == (201 if is_new else 200)
    return Administrator(MEMBER, 300, key)


def test_a_session_ends_with_its_key_on_another_node(stand: Stand) -> None:
    member = give_key(stand.below, is_new=True)
    with RestSession(stand.top, member) as session:
        assert session.put_at(TARGET, [url("second")]).status == 200
        now = give_key(stand.below, is_new=False)
        ended = "1 sessions ended and 0 streams stopped: changed or gone: 300:88.118/MEMBER"
        wait_until(lambda: ended in stand.top.log, "the session is ended", 20)
        assert session.put_at(TARGET, [url("third")]).status == 401
    with RestSession(stand.top, now) as session:
        assert session.put_at(TARGET, [url("fourth")]).status == 200
        stand.below.kill()
        told = "the key 300:88.118/MEMBER cannot be looked at again"
        wait_until(lambda: told in stand.top.log, "the node below is missed", 20)
        stand.below.start()
        assert session.put_at(TARGET, [url("fifth")]).status == 200
        must_run("delete", MEMBER.decode(), "--yes", "--node", str(stand.below.folder))
        wait_until(lambda: stand.top.log.count(ended) == 2, "the session is ended", 20)
        assert session.put_at(TARGET, [url("sixth")]).status == 401
    assert stand.top.log.count(told) == 1
