"""A registrar without a link: messages go in and come out, time stands still until it is moved."""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from protocol.bodies import (
    Body,
    ChallengeAnswer,
    ChallengeAnswerRequest,
    ResolutionRequest,
    decode_response_body,
)
from protocol.challenge import answer_public_key, answer_secret_key, challenge_version
from protocol.codes import ResponseCode
from protocol.digests import RequestDigest
from protocol.envelope import Envelope, decode_envelope
from protocol.handle import ROOT_HANDLE
from protocol.header import Header
from protocol.key_files import decode_private_key
from protocol.message import Message, decode_message
from protocol.types.hs_pubkey import encode_public_key
from protocol.types.hs_site import TRANSPORT_TCP
from protocol.value import HandleValue, Reference
from protocol.versions import V2_10, Version
from registry.answers import Answer
from registry.outcomes import Foreign, Unavailable, foreign_key
from registry.schema import Record
from resolver.asked import Conversations
from resolver.bounded_table import BoundedTable, Bounds
from resolver.challenges import Challenges
from resolver.config import Config, NodeRole
from resolver.foreign_keys import ForeignKeys, KeyBounds
from resolver.group_commit import GroupCommit
from resolver.listing import Pages
from resolver.log_outs import LogOuts
from resolver.messages import Messages
from resolver.mirrors import Mirrors
from resolver.node import Node
from resolver.node_files import make_site
from resolver.operations import Operations
from resolver.refused_log_ins import make_refused_log_ins
from resolver.rest_requests import RestRequests
from resolver.rest_sessions import RestSessions
from resolver.sessions import Sessions
from tests.registry.builders import NOW_S, POLICY, PREFIX, admin_value, open_store, put, url

VECTORS = Path(__file__).parents[1] / "vectors"
ADMIN = Reference(PREFIX, 300)
SECRET_ADMIN = Reference(PREFIX, 301)
STRANGER = Reference(PREFIX, 302)
SECRET = b"interop-secret"
ADMIN_KEY = decode_private_key((VECTORS / "admpriv.bin").read_bytes())
SERVER_KEY = ADMIN_KEY
ADDRESS = "192.0.2.7"
LIMITS = Bounds(8, 4, 10_000, 5_000)


def make_node(role: NodeRole = NodeRole.ENTERPRISE) -> Node:
    key = encode_public_key(SERVER_KEY.public_key())
    site = make_site(key, [ipaddress.ip_address("127.0.0.1")], 2641, 8000, description="office")
    return Node(role, site, site.encode(), SERVER_KEY, key)


def request(
    opcode: int,
    body: Body,
    flags: int = 0,
    *,
    session_id: int = 0,
    request_id: int = 7,
    version: Version = V2_10,
    suggested: Version = V2_10,
) -> Message:
    envelope = Envelope(version, suggested, 0, session_id, request_id, 0, 0)
    return Message(envelope, Header(opcode, 0, flags, NOW_S + 43_200), body.encode())


def body_of(answer: Message) -> Body:
    return decode_response_body(answer.header, answer.body)[1]


def digest_of(answer: Message) -> RequestDigest:
    digest = decode_response_body(answer.header, answer.body)[0]
    assert digest is not None
    return digest


def answer_to(
    challenge: Message,
    user: Reference = ADMIN,
    *,
    secret: bytes = b"",
    request_id: int = 8,
    version: Version = V2_10,
) -> Message:
    """Answer a challenge as a client does."""
    body = body_of(challenge)
    assert isinstance(body, ChallengeAnswer)
    nonce, digest = body.nonce, digest_of(challenge)
    rules = challenge_version(challenge.envelope)
    if secret:
        kind, answer = b"HS_SECKEY", answer_secret_key(secret, nonce, digest, rules)
    else:
        kind, answer = b"HS_PUBKEY", answer_public_key(ADMIN_KEY, nonce, digest, rules)
    return request(
        200,
        ChallengeAnswerRequest(kind, user.handle, user.index, answer),
        session_id=challenge.envelope.session_id,
        request_id=request_id,
        version=version,
        suggested=version,
    )


class FakeAfar:
    """Other nodes: records by handle, and what was kept of them."""

    def __init__(self) -> None:
        self.records: dict[bytes, Record | Unavailable | None] = {}
        self.secrets: dict[Reference, bool | Unavailable] = {}
        self.memory: dict[bytes, Record | Unavailable | None] = {}
        self.fetched: list[bytes] = []
        self.news: dict[bytes, Record | None] = {}
        self.refreshed: list[bytes] = []
        self.kept: list[Reference] = []
        self.asked = asyncio.Event()
        self.gate: asyncio.Event | None = None

    async def fetch(self, handles: Collection[bytes]) -> dict[bytes, Record | Unavailable | None]:
        self.fetched += handles
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        fetched = {foreign_key(handle): self.records.get(handle) for handle in handles}
        self.memory |= fetched
        return fetched

    def recall(self, handles: Collection[bytes]) -> Foreign | None:
        if any(key not in self.memory for key in handles):
            return None
        return {key: self.memory[key] for key in handles}

    async def refresh(
        self, handles: Collection[bytes], *, at_once: bool = False
    ) -> dict[bytes, Record | None]:
        self.refreshed += handles
        return {key: self.news[key] for key in handles if key in self.news}

    async def verify_secret(
        self, user: Reference, nonce: bytes, digest: RequestDigest, answer: bytes
    ) -> bool | Unavailable:
        return self.secrets[user]

    def proven(self, user: Reference, foreign: Foreign, now_s: float) -> None:
        self.kept.append(user)

    async def look_again(self, handle: bytes) -> Record | Unavailable | None:
        return self.records.get(handle)


class Office:
    """One registrar's messages and REST requests over a store in a folder."""

    def __init__(self, folder: Path) -> None:
        self.store = open_store(folder)
        key = encode_public_key(ADMIN_KEY.public_key())
        values = [
            admin_value(ADMIN, index=100),
            admin_value(SECRET_ADMIN, index=101),
            HandleValue(300, b"HS_PUBKEY", key),
            HandleValue(301, b"HS_SECKEY", SECRET, 0b1100),
            HandleValue(302, b"HS_SECKEY", SECRET, 0b1100),
        ]
        put(
            self.store,
            {PREFIX: values, b"88.118/OLD": [url(), admin_value()]},
            homed=[ROOT_HANDLE, PREFIX],
        )
        self.clock_s = 1_000.0
        self.afar = FakeAfar()
        self.resolved_afar: list[ResolutionRequest] = []
        self.log_outs = LogOuts(self.store)
        self.commit = GroupCommit(
            self.store,
            POLICY,
            window_s=0.0,
            now_s=lambda: NOW_S,
            keys_lost=self.log_outs.end_of,
            ranges_changed=self.log_outs.end_in,
        )
        self.foreign_keys = ForeignKeys(
            self.afar,
            self.log_outs.identities,
            self.log_outs.end_of,
            KeyBounds(keys_max=4, checks_max=2, check_s=60, ttl_s=300),
            now_s=lambda: self.clock_s,
        )
        self.threads = ThreadPoolExecutor(1)
        self.operations = Operations(
            self.store,
            self.commit,
            POLICY,
            self.afar,
            self.threads,
            rounds_max=20_000,
            verifications_max=4,
            now_s=lambda: NOW_S,
            foreign_keys=self.foreign_keys,
        )
        self.conversations = Conversations(
            Challenges(BoundedTable(LIMITS), 60.0), Sessions(BoundedTable(LIMITS), 3_600.0)
        )
        self.refused_log_ins = make_refused_log_ins(repeat_after_s=60)
        self.messages = self._make_messages()
        self.rest_sessions = RestSessions(
            BoundedTable(LIMITS),
            self.operations.prove,
            self.refused_log_ins,
            challenge_timeout_s=60.0,
            session_timeout_s=3_600.0,
            now_s=lambda: self.clock_s,
        )
        self.log_outs.cover([self.conversations.sessions, self.rest_sessions])
        pages = Pages(self.store)
        self.rest = RestRequests(self.operations, self.rest_sessions, pages, self.refused_log_ins)

    def _make_messages(self) -> Messages:
        return Messages(
            make_node(),
            self.operations,
            self.conversations,
            Pages(self.store),
            Mirrors(Config(role=NodeRole.TOP), make_node()),
            self._resolve_afar,
            self.threads,
            self.refused_log_ins,
            clock_s=lambda: self.clock_s,
            now_s=lambda: NOW_S,
        )

    async def _resolve_afar(
        self, question: ResolutionRequest, referral: Answer, recursion_count: int
    ) -> Answer:
        self.resolved_afar.append(question)
        return Answer(ResponseCode.SUCCESS, (url(),))

    async def hand_in(
        self, octets: bytes, address: str = ADDRESS, transport: int = TRANSPORT_TCP
    ) -> list[bytes]:
        payload: dict[str, Any] = {"octets": octets, "address": address, "transport": transport}
        async with contextlib.aclosing(self.messages.answer(payload)) as answers:
            return [answer async for answer in answers]

    async def ask(self, message: Message, address: str = ADDRESS) -> Message:
        """Send a message and return its one answer."""
        (answer,) = await self.hand_in(message.encode(), address)
        assert decode_envelope(answer).request_id == message.envelope.request_id
        return decode_message(answer)

    async def ask_as(
        self, message: Message, user: Reference = ADMIN, secret: bytes = b""
    ) -> Message:
        """Send a message, answer the challenge, return the last answer."""
        challenge = await self.ask(message)
        assert challenge.header.response_code == ResponseCode.AUTHENTICATION_NEEDED
        return await self.ask(answer_to(challenge, user, secret=secret))

    def has(self, handle: bytes) -> bool:
        with self.store.read() as view:
            return view.find_record(handle) is not None


@contextlib.asynccontextmanager
async def open_office(folder: Path) -> AsyncIterator[Office]:
    office = Office(folder)
    office.commit.start()
    try:
        yield office
    finally:
        await asyncio.get_running_loop().run_in_executor(None, office.commit.stop)
        office.threads.shutdown()
        office.store.close()
