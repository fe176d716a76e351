"""The REST interface's way to the node: operations on bodies, without messages.

Look-ups of public values are answered from the store or cache; everything else goes over the link
(`resolver.rest_requests` at its other end). No method raises for an answer that is a refusal.
"""

import asyncio
import contextlib
import time
from typing import Any, NamedTuple

import msgpack

from protocol.bodies import (
    Body,
    ErrorAnswer,
    HandleListAnswer,
    ResolutionRequest,
    SiteInfoAnswer,
    decode_response_body,
)
from protocol.codes import OpCode, ResponseCode
from protocol.header import Header
from registry.store import Store
from registry.streams import Batch, batches, cut
from resolver.dispatch import Peer, link_code
from resolver.link import Link, LinkDown
from resolver.metrics import RequestMetrics
from resolver.node import NOT_REGISTERING_WORDS, Node
from resolver.node_receipts import ReceiptFindings, find_receipt
from resolver.query import Records, Result, ask_keeper
from resolver.query_counts import QueryCounts

LISTED_HANDLES_MAX = 100_000  # in one answer: 5 MB of usual handles, 200 MB of the longest
STATUS_TIMEOUT_S = 2.0
LIST_OPCODES = frozenset({OpCode.LIST_HANDLES, OpCode.LIST_HOMED_NAS})


class Listing(NamedTuple):
    """One page of a list: `total` counts all of it, `message` says why when it is refused.

    `next` is the handle that what follows comes after, listed or revoked; empty: nothing follows.
    """

    response_code: int
    handles: tuple[bytes, ...] = ()
    total: int = 0
    message: bytes = b""
    next: bytes = b""


class RestOperations:
    """Carries out REST operations in one worker. Use from its event loop.

    Args:
        node: this node's site.
        records: what is answered without asking anybody.
        link: to the registrar or keeper.
        metrics: counts what is answered.
        store: where verdicts are read; None where nothing is registered.
        counts: where queries are counted for statistics; None: nowhere.
    """

    def __init__(
        self,
        node: Node,
        records: Records,
        link: Link,
        metrics: RequestMetrics,
        store: Store | None = None,
        counts: QueryCounts | None = None,
    ) -> None:
        self._counts = counts
        self._node = node
        self._records = records
        self._link = link
        self._metrics = metrics
        self._store = store

    async def perform(
        self,
        opcode: int,
        body: Body,
        flags: int,
        authorization: dict[str, Any] | None,
        peer: Peer,
    ) -> Result:
        """Carry out one operation of the REST interface.

        Args:
            opcode: what is asked for.
            body: the request's body.
            flags: MessageFlag bits that mean something without a message: OVERWRITE, MINT_SUFFIX,
                PUBLIC_ONLY, AUTHORITATIVE, CERTIFY.
            authorization: None, {"basic": [handle, index, password]} or {"session": id}.
            peer: who asks.
        """
        started = time.perf_counter()
        try:
            result = await self._perform(opcode, body, flags, authorization, peer)
        except LinkDown as error:
            result = Result(link_code(error), ErrorAnswer(str(error).encode()))
        if self._counts is not None and isinstance(body, ResolutionRequest):
            is_success = result.response_code == ResponseCode.SUCCESS
            self._counts.add(body.handle, peer.address, answered=is_success)
        header = Header(opcode, result.response_code, 0, 0)
        self._metrics.count(header, peer.transport, time.perf_counter() - started)
        return result

    async def list_handles(
        self,
        prefix_handle: bytes,
        page: int,
        page_size: int,
        authorization: dict[str, Any] | None,
        peer: Peer,
        after: bytes = b"",
    ) -> Listing:
        """Return one page of the handles under a prefix, and their total.

        Pages are counted from 0; a handle in `after` says in their place what the page follows.
        """
        payload = {
            "prefix": prefix_handle,
            "page": page,
            "page_size": page_size,
            "after": after,
            "authorization": authorization,
            "address": peer.address,
            "transport": peer.transport,
        }
        try:
            reply = await self._link.call("list_page", payload)
        except LinkDown as error:
            return Listing(link_code(error), message=str(error).encode())
        return Listing(
            reply["code"],
            tuple(reply["handles"]),
            reply["total"],
            reply["message"],
            reply.get("next", b""),
        )

    async def verify(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Say whether an answer was made with a secret key (`RestRequests.verify` says with what).

        Raises:
            LinkDown: the registrar cannot be reached.
        """
        if not self._node.registers:
            code = int(ResponseCode.OPERATION_NOT_SUPPORTED)
            return {"code": code, "message": NOT_REGISTERING_WORDS, "holds": False}
        return await self._link.call("verification", payload)

    async def rest_session(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Make, answer, show or end a REST session (`resolver.rest_sessions` says with what).

        Args:
            action: "new" {address} and perhaps {authorization, transport}; "who" with these;
                "answer" {session_id, handle, index, type, algorithm,
                signature, client_nonce, salt, rounds, key_bits, address, transport}; "get" and
                "delete" {session_id}.
            payload: text for session_id and algorithm, octets elsewhere.

        Raises:
            LinkDown: the registrar cannot be reached.
        """
        return await self._link.call("rest_session", {"action": action, **payload})

    async def registrations(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Begin, feed, end or show a stream of registrations (`resolver.registrations`).

        Raises:
            LinkDown: the registrar cannot be reached.
        """
        if not self._node.registers:
            code = int(ResponseCode.OPERATION_NOT_SUPPORTED)
            return {"code": code, "message": NOT_REGISTERING_WORDS}
        return await self._link.call(f"registrations_{action}", payload)

    async def act(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Carry out an act (`resolver.acts`). Raises: LinkDown: the registrar cannot be reached."""
        if not self._node.registers:
            code = int(ResponseCode.OPERATION_NOT_SUPPORTED)
            return {"code": code, "message": NOT_REGISTERING_WORDS}
        return await self._link.call("act", payload)

    def find_verdicts(self, name: bytes, first: int, last: int) -> Batch | None:
        """Return what became of rows from `first` on, of one batch and not beyond `last`.

        Raises:
            StoreError: what is kept is damaged.
        """
        assert self._store is not None, "a stream is known, so something is registered here"
        with self._store.read() as view:
            batch = next(batches(view, name, first), None)
        if batch is None:
            return None
        return cut(batch, max(first, batch.first), min(last, batch.first + batch.rows - 1))

    async def check_receipt(self, token: str, after: int) -> ReceiptFindings:
        """Find out whether this node signed a receipt, and has what it says.

        Args:
            token: the receipt.
            after: the last frame of the journal that was looked at already, 0 for none.

        Raises:
            DecodeError, ReceiptError: this is no receipt.
            StoreError: what is kept is damaged.
        """
        assert self._store is not None, "asked where something is registered only"
        return await asyncio.to_thread(find_receipt, self._node, self._store, token, after)

    async def status(self) -> dict[str, Any]:
        """Return what /readyz tells: {"ready", "role", "read_only" (why, or ""), "link"}.

        A read-only node is ready: it answers look-ups, and says that it registers nothing.
        """
        status: dict[str, Any] = {"role": self._node.role.value, "link": self._link.is_up}
        try:
            status |= await self._link.call("status", {}, STATUS_TIMEOUT_S)
        except LinkDown as error:
            status |= {"read_only": str(error), "link": False}
        return status | {"ready": status["link"]}

    async def _perform(
        self,
        opcode: int,
        body: Body,
        flags: int,
        authorization: dict[str, Any] | None,
        peer: Peer,
    ) -> Result:
        if opcode == OpCode.GET_SITE_INFO:
            return Result(ResponseCode.SUCCESS, SiteInfoAnswer(self._node.site_octets))
        if isinstance(body, ResolutionRequest) and authorization is None:
            found = self._records.find(body, flags)
            if found is not None:
                return found
            if not self._node.registers:
                return await ask_keeper(self._link, body, flags, 0)
        if not self._node.registers:
            return Result(ResponseCode.OPERATION_NOT_SUPPORTED, ErrorAnswer(NOT_REGISTERING_WORDS))
        payload = {
            "opcode": opcode,
            "body": body.encode(),
            "flags": flags,
            "authorization": authorization,
            "address": peer.address,
            "transport": peer.transport,
        }
        if opcode in LIST_OPCODES:
            return await self._list_all(payload)
        reply = await self._link.call("request", payload)
        left = reply.get("left")
        return Result(
            reply["code"],
            _answer_body(opcode, reply),
            reply["created"],
            None if left is None else (left[0], left[1], left[2]),
        )

    async def _list_all(self, payload: dict[str, Any]) -> Result:
        handles: list[bytes] = []
        async with contextlib.aclosing(self._link.stream("list", payload)) as items:
            async for item in items:
                page = msgpack.unpackb(item)
                if page["code"] != ResponseCode.SUCCESS:
                    return Result(page["code"], ErrorAnswer(page["message"]))
                handles += page["handles"]
                if len(handles) > LISTED_HANDLES_MAX:
                    words = f"there are more than {LISTED_HANDLES_MAX} handles: ask page by page"
                    return Result(ResponseCode.PROTOCOL_ERROR, ErrorAnswer(words.encode()))
        return Result(ResponseCode.SUCCESS, HandleListAnswer(tuple(handles)))


def _answer_body(opcode: int, reply: dict[str, Any]) -> Body:
    return decode_response_body(Header(opcode, reply["code"], 0, 0), reply["body"])[1]
