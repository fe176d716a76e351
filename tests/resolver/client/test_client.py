"""The client against three tiers in memory: walks, challenges, lists, refusals."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from protocol.bodies import (
    Body,
    ChallengeAnswer,
    ChallengeAnswerRequest,
    CreatedAnswer,
    Empty,
    ErrorAnswer,
    HandleListAnswer,
    HandleRequest,
    RemoveValuesRequest,
    ResolutionRequest,
    SiteInfoAnswer,
    ValuesRequest,
)
from protocol.challenge import verify_public_key_answer, verify_secret_key_answer
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.digests import RequestDigest, digest_request
from protocol.key_files import encode_private_key
from protocol.message import Message
from protocol.types.hs_pubkey import encode_public_key
from protocol.types.hs_site import TRANSPORT_HTTP, TRANSPORT_TCP, TRANSPORT_UDP, HsSite
from protocol.value import HandleValue, Reference
from resolver.client import (
    AlreadyExistsError,
    AuthenticationRefusedError,
    BlockingClient,
    HandleClient,
    HandleError,
    HandleNotFoundError,
    Identity,
    InvalidRequestError,
    KeyIdentity,
    PermissionRefusedError,
    SecretIdentity,
    UnbelievedError,
    UnreachableError,
    ValuesNotFoundError,
    reference_from_text,
    reference_to_text,
    site_at,
)
from resolver.client.client import prefix_to_handle
from resolver.client.errors import error_for, name_of
from resolver.exchanges import NotSentError
from resolver.upstream import Upstream
from resolver.upstream_settings import UpstreamSettings
from tests.resolver.network import (
    FakeNetwork,
    FakeNode,
    Tiers,
    body_of,
    make_reply,
    make_site,
    make_tiers,
    server_key,
)

HANDLE = "88.118.5/PUMP-1"
URL = HandleValue(1, b"URL", b"https://example.org/")
ADMIN = Reference(b"0.NA/88.118.5", 300)
SECRET = SecretIdentity(ADMIN, b"s3cret")
NONCE = bytes(range(16))

Result = TypeVar("Result")


def upstream_of(network: FakeNetwork) -> Upstream:
    return Upstream(UpstreamSettings(head_start_s=1.0, timeout_s=2.0), mover=network.move)


def client_of(
    tiers: Tiers,
    *,
    identity: Identity | None = None,
    site: HsSite | None = None,
    certify: bool = False,
) -> HandleClient:
    return HandleClient(
        [tiers.root] if site is None else (),
        site=site,
        identity=identity,
        certify=certify,
        upstream=upstream_of(tiers.network),
    )


def run(awaitable: Awaitable[Result]) -> Result:
    async def main() -> Result:
        return await awaitable

    return asyncio.run(main())


class Administered:
    """Challenges every request but look-ups and takes the answer of one identity."""

    def __init__(
        self, identity: KeyIdentity | SecretIdentity, answers: Callable[[Message], list[Message]]
    ) -> None:
        self._identity = identity
        self._answers = answers
        self._challenged: dict[int, Message] = {}
        self.spoil_digest = False
        self.done: list[Body] = []

    def __call__(self, request: Message) -> list[Message] | None:
        opcode = request.header.opcode
        if opcode == OpCode.RESOLUTION and request.header.has(MessageFlag.PUBLIC_ONLY):
            return None
        if opcode != OpCode.RESPONSE_TO_CHALLENGE:
            return [self._challenge(request)]
        original = self._challenged.pop(request.envelope.session_id)
        if not self._holds(request, original):
            words = ErrorAnswer(b"the proof does not hold")
            return [make_reply(request, ResponseCode.AUTHENTICATION_FAILED, words)]
        self.done.append(body_of(original))
        return [
            replace(
                answer,
                envelope=replace(answer.envelope, request_id=request.envelope.request_id),
            )
            for answer in self._answers(original)
        ]

    def _challenge(self, request: Message) -> Message:
        session_id = len(self._challenged) + 71
        self._challenged[session_id] = request
        code = ResponseCode.AUTHENTICATION_NEEDED
        reply = make_reply(request, code, ChallengeAnswer(NONCE), session_id=session_id)
        if reply.header.has(MessageFlag.REQUEST_DIGEST):
            return reply
        flags = reply.header.flags | MessageFlag.REQUEST_DIGEST
        digest = self._digest(request)
        body = digest.encode() + reply.body
        return replace(reply, header=replace(reply.header, flags=flags), body=body)

    def _digest(self, request: Message) -> RequestDigest:
        covered = b"another request" if self.spoil_digest else request.covered
        return digest_request(covered, request.envelope.best_version)

    def _holds(self, request: Message, original: Message) -> bool:
        body = body_of(request)
        assert isinstance(body, ChallengeAnswerRequest)
        if Reference(body.user_handle, body.user_index) != self._identity.reference:
            return False
        digest = self._digest(original)
        if isinstance(self._identity, SecretIdentity):
            secret = self._identity.secret
            return verify_secret_key_answer(secret, NONCE, digest, body.answer)
        key = encode_public_key(self._identity.private_key.public_key())
        return verify_public_key_answer(key, NONCE, digest, body.answer)


def done(body: Body) -> Callable[[Message], list[Message]]:
    return lambda request: [make_reply(request, ResponseCode.SUCCESS, body)]


def refused(code: ResponseCode, words: bytes = b"") -> Callable[[Message], list[Message]]:
    return lambda request: [make_reply(request, code, ErrorAnswer(words))]


def test_resolve_walks_from_the_root() -> None:
    resolution = run(client_of(make_tiers()).resolve(HANDLE))
    assert resolution.handle == HANDLE.encode()
    assert [value.index for value in resolution.values] == [1, 2]
    assert [(hop.endpoint.address, hop.response_code) for hop in resolution.hops] == [
        ("10.0.0.1", 303),
        ("10.0.0.2", 1),
        ("10.0.0.3", 1),
    ]
    assert resolution.is_authoritative
    assert not resolution.is_certified


def test_resolve_asks_for_types_and_indexes() -> None:
    resolution = run(client_of(make_tiers()).resolve(HANDLE, ["name"], [7]))
    assert [value.type for value in resolution.values] == [b"NAME"]
    assert resolution.of_type("Name")[0].data == b"pump"
    assert resolution.find_value(2) == resolution.values[0]
    assert resolution.find_value(1) is None


def test_certified_resolution_checks_every_step() -> None:
    tiers = make_tiers(certified=True)
    assert run(client_of(tiers, certify=True).resolve(HANDLE)).is_certified
    tiers.secondary.key = server_key(9)
    with pytest.raises(UnbelievedError, match="does not hold"):
        run(client_of(tiers, certify=True).resolve(HANDLE))


def test_prefix_is_looked_up_once_for_many_handles() -> None:
    tiers = make_tiers()

    async def main() -> None:
        client = client_of(tiers)
        for _ in range(3):
            await client.resolve(HANDLE)

    asyncio.run(main())
    assert [len(node.asked) for node in tiers.all] == [1, 1, 3]


def test_one_site_is_asked_for_everything_and_to_recurse() -> None:
    tiers = make_tiers()
    run(client_of(tiers, site=make_site("10.0.0.3")).resolve(HANDLE))
    assert [len(node.asked) for node in tiers.all] == [0, 0, 1]
    assert tiers.enterprise.asked[0].header.has(MessageFlag.RECURSIVE)


def test_transport_is_that_asked_for() -> None:
    tiers = make_tiers()
    resolution = run(client_of(tiers).resolve(HANDLE, transport=TRANSPORT_TCP))
    assert [hop.endpoint.transport for hop in resolution.hops] == [
        TRANSPORT_UDP,
        TRANSPORT_UDP,
        TRANSPORT_TCP,
    ]


def test_not_found_is_raised_with_a_hint_and_the_way() -> None:
    with pytest.raises(HandleNotFoundError) as caught:
        run(client_of(make_tiers()).resolve("88.118.5/NONE"))
    assert caught.value.response_code == ResponseCode.HANDLE_NOT_FOUND
    assert "registered first" in caught.value.hint
    assert len(caught.value.hops) == 3


def test_unknown_prefix_says_so() -> None:
    with pytest.raises(HandleNotFoundError, match=r"prefix 0\.NA/99\.1 is not registered"):
        run(client_of(make_tiers()).resolve("99.1/a"))


def test_no_such_values() -> None:
    with pytest.raises(ValuesNotFoundError):
        run(client_of(make_tiers()).resolve(HANDLE, ["EMAIL"]))


def test_nobody_answers() -> None:
    tiers = make_tiers()
    tiers.top.is_dead = True
    with pytest.raises(UnreachableError) as caught:
        run(client_of(tiers).resolve(HANDLE))
    assert caught.value.response_code is None
    assert "10.0.0.1" in caught.value.words


@pytest.mark.parametrize("kind", ["key", "secret"])
def test_challenge_is_answered(kind: str) -> None:
    identity = SECRET if kind == "secret" else KeyIdentity(ADMIN, server_key(5))
    node = Administered(identity, done(CreatedAnswer(b"88.118.5/NEW")))
    tiers = make_tiers()
    tiers.enterprise.answerer = node
    created = run(client_of(tiers, identity=identity).create("88.118.5/NEW", [URL]))
    assert created == b"88.118.5/NEW"
    assert node.done == [ValuesRequest(b"88.118.5/NEW", (URL,))]


def test_challenge_in_a_certified_dialogue() -> None:
    tiers = make_tiers(certified=True)
    tiers.enterprise.answerer = Administered(SECRET, done(Empty()))
    run(client_of(tiers, identity=SECRET, certify=True).delete(HANDLE))


def test_challenge_for_another_request_is_not_answered() -> None:
    node = Administered(SECRET, done(Empty()))
    node.spoil_digest = True
    tiers = make_tiers()
    tiers.enterprise.answerer = node
    with pytest.raises(UnbelievedError, match="another request"):
        run(client_of(tiers, identity=SECRET).delete(HANDLE))
    assert node.done == []
    opcodes = {message.header.opcode for message in tiers.enterprise.asked}
    assert OpCode.RESPONSE_TO_CHALLENGE not in opcodes


def test_a_request_too_long_is_refused_here_and_not_sent() -> None:
    tiers = make_tiers()
    value = HandleValue(1, b"DESC", bytes(262_144))
    with pytest.raises(InvalidRequestError, match="262144 allowed") as caught:
        run(client_of(tiers, identity=SECRET).create("88.118.5/LONG", [value]))
    assert caught.value.response_code is None
    assert tiers.enterprise.asked == []


def test_a_root_that_signs_with_another_key_did_answer() -> None:
    tiers = make_tiers(certified=True)
    tiers.top.key = server_key(9)
    with pytest.raises(UnbelievedError) as caught:
        run(client_of(tiers, certify=True).resolve(HANDLE))
    assert "does not hold" in caught.value.words
    assert "site record" in caught.value.hint


def test_challenge_without_an_identity_asks_for_one() -> None:
    tiers = make_tiers()
    tiers.enterprise.answerer = Administered(SECRET, done(Empty()))
    with pytest.raises(AuthenticationRefusedError) as caught:
        run(client_of(tiers).delete(HANDLE))
    assert "give an identity" in caught.value.hint


def test_wrong_secret_is_refused() -> None:
    tiers = make_tiers()
    tiers.enterprise.answerer = Administered(SECRET, done(Empty()))
    with pytest.raises(AuthenticationRefusedError, match="does not hold"):
        run(client_of(tiers, identity=SecretIdentity(ADMIN, b"wrong")).delete(HANDLE))


def test_private_values_are_asked_for_and_proven_over_tcp() -> None:
    answer = ValuesRequest(HANDLE.encode(), (URL,))
    tiers = make_tiers()
    tiers.enterprise.answerer = Administered(SECRET, done(answer))
    resolution = run(client_of(tiers, identity=SECRET).resolve(HANDLE, private=True))
    assert resolution.values == (URL,)
    ways = [hop.endpoint.transport for hop in resolution.hops[-2:]]
    assert ways == [TRANSPORT_UDP, TRANSPORT_TCP]


@pytest.mark.parametrize(
    ("call", "body"),
    [
        (lambda client: client.add(HANDLE, [URL]), ValuesRequest(HANDLE.encode(), (URL,))),
        (lambda client: client.modify(HANDLE, [URL]), ValuesRequest(HANDLE.encode(), (URL,))),
        (lambda client: client.remove(HANDLE, [1]), RemoveValuesRequest(HANDLE.encode(), (1,))),
        (lambda client: client.delete(HANDLE), HandleRequest(HANDLE.encode())),
    ],
    ids=["add", "modify", "remove", "delete"],
)
def test_changes(call: Callable[[HandleClient], Awaitable[None]], body: Body) -> None:
    node = Administered(SECRET, done(Empty()))
    tiers = make_tiers()
    tiers.enterprise.answerer = node
    run(call(client_of(tiers, identity=SECRET)))
    assert node.done == [body]
    assert tiers.enterprise.asked[0].header.flags & MessageFlag.OVERWRITE == 0


def test_overwrite_and_mint_are_flags() -> None:
    tiers = make_tiers()
    tiers.enterprise.answerer = done(CreatedAnswer(b"88.118.5/A-7f"))
    created = run(client_of(tiers).create("88.118.5/A-", [URL], overwrite=True, mint=True))
    assert created == b"88.118.5/A-7f"
    flags = tiers.enterprise.asked[0].header.flags
    assert flags & MessageFlag.OVERWRITE
    assert flags & MessageFlag.MINT_SUFFIX


def test_create_answered_without_a_handle_is_that_asked_for() -> None:
    tiers = make_tiers()
    tiers.enterprise.answerer = done(CreatedAnswer(None))
    assert run(client_of(tiers).create(HANDLE, [URL])) == HANDLE.encode()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (ResponseCode.HANDLE_ALREADY_EXISTS, AlreadyExistsError),
        (ResponseCode.INVALID_ADMIN, PermissionRefusedError),
        (ResponseCode.SERVER_NOT_RESPONSIBLE, HandleError),
    ],
)
def test_refusals_are_typed(code: ResponseCode, kind: type[HandleError]) -> None:
    tiers = make_tiers()
    tiers.enterprise.answerer = refused(code, b"because")
    with pytest.raises(kind, match="because") as caught:
        run(client_of(tiers).create(HANDLE, [URL]))
    assert caught.value.response_code == code
    assert caught.value.hint


def test_home_goes_to_the_asked_site() -> None:
    node = Administered(SECRET, done(Empty()))
    tiers = make_tiers()
    tiers.secondary.answerer = node
    client = client_of(tiers, identity=SECRET, site=make_site("10.0.0.2"))
    run(client.home("88.118.5"))
    run(client.unhome("0.NA/88.118.5"))
    assert node.done == [HandleRequest(b"0.NA/88.118.5")] * 2


def listing(*pages: tuple[bytes, ...]) -> Callable[[Message], list[Message]]:
    def answer(request: Message) -> list[Message]:
        return [
            make_reply(
                request,
                ResponseCode.SUCCESS,
                HandleListAnswer(page),
                flags=MessageFlag.CONTINUOUS if page is not pages[-1] else 0,
            )
            for page in pages
        ]

    return answer


def test_list_is_read_over_its_messages_after_a_challenge() -> None:
    node = Administered(SECRET, listing((b"88.118.5/A", b"88.118.5/B"), (b"88.118.5/C",)))
    tiers = make_tiers()
    tiers.enterprise.answerer = node

    async def main() -> list[bytes]:
        client = client_of(tiers, identity=SECRET)
        return [handle async for handle in client.list_handles("88.118.5")]

    assert asyncio.run(main()) == [b"88.118.5/A", b"88.118.5/B", b"88.118.5/C"]
    assert node.done == [HandleRequest(b"0.NA/88.118.5")]


def test_list_is_gathered_from_every_server_of_a_site() -> None:
    nodes = {
        f"10.0.1.{number}": FakeNode(answerer=listing((b"A/%d" % number,))) for number in (1, 2)
    }
    tiers = make_tiers()
    tiers.network.nodes.update(nodes)
    client = client_of(tiers, site=make_site(*nodes))
    with BlockingClient(client) as blocking:
        assert sorted(blocking.list_handles("A")) == [b"A/1", b"A/2"]


def test_list_that_is_refused() -> None:
    tiers = make_tiers()
    tiers.enterprise.answerer = refused(ResponseCode.INVALID_ADMIN)
    with BlockingClient(client_of(tiers)) as client, pytest.raises(PermissionRefusedError):
        list(client.list_handles("88.118.5"))


def test_list_over_the_next_transport_when_no_connection_is_made() -> None:
    def answer(request: Message) -> list[Message]:
        if len(tiers.enterprise.asked) == 1:
            raise NotSentError("10.0.0.3: refused")
        return listing((b"A/1",))(request)

    tiers = make_tiers()
    tiers.enterprise.answerer = answer
    with BlockingClient(client_of(tiers, site=make_site("10.0.0.3"))) as client:
        assert list(client.list_handles("A")) == [b"A/1"]
    assert [each.transport for each in tiers.network.endpoints] == [TRANSPORT_TCP, TRANSPORT_HTTP]


def test_list_that_breaks_off_is_an_error_after_what_was_read() -> None:
    tiers = make_tiers()
    tiers.enterprise.answerer = listing((b"A/1",), (b"A/2",))
    tiers.enterprise.breaks_after = 1
    handles = []
    with BlockingClient(client_of(tiers, site=make_site("10.0.0.3"))) as client:
        listed = client.list_handles("A")
        handles.append(next(listed))
        with pytest.raises(UnreachableError, match="broke off"):
            next(listed)
    assert handles == [b"A/1"]


def test_list_left_early_is_closed() -> None:
    tiers = make_tiers()
    tiers.enterprise.answerer = listing((b"A/1", b"A/2"), (b"A/3",))
    with BlockingClient(client_of(tiers, site=make_site("10.0.0.3"))) as client:
        assert next(client.list_handles("A")) == b"A/1"


def test_list_needs_a_primary_site() -> None:
    tiers = make_tiers()
    site = make_site("10.0.0.3", is_primary=False)
    with BlockingClient(client_of(tiers, site=site)) as client, pytest.raises(UnreachableError):
        list(client.list_handles("A"))


def test_list_of_an_unknown_prefix() -> None:
    with BlockingClient(client_of(make_tiers())) as client, pytest.raises(HandleNotFoundError):
        list(client.list_handles("99.1"))


def test_list_of_homed_prefixes() -> None:
    tiers = make_tiers()
    tiers.enterprise.answerer = listing((b"0.NA/88.118.5",))
    with BlockingClient(client_of(tiers, site=make_site("10.0.0.3"))) as client:
        assert list(client.list_homed()) == [b"0.NA/88.118.5"]


def test_site_info() -> None:
    site = make_site("10.0.0.3", key=server_key(0))
    tiers = make_tiers()
    tiers.enterprise.answerer = done(SiteInfoAnswer(site.encode()))
    with BlockingClient(client_of(tiers, site=site_at("10.0.0.3"))) as client:
        assert client.site_info() == site
    assert tiers.enterprise.asked[0].envelope.version == (2, 3)


def test_site_info_that_is_refused() -> None:
    tiers = make_tiers()
    tiers.enterprise.answerer = refused(ResponseCode.OPERATION_NOT_SUPPORTED)
    with pytest.raises(HandleError, match="operation not supported"):
        run(client_of(tiers, site=site_at("10.0.0.3")).site_info())


def test_blocking_client_does_what_the_other_does() -> None:
    tiers = make_tiers()
    with BlockingClient(client_of(tiers)) as client:
        assert client.resolve(HANDLE, ["URL"]).values[0].data == b"https://example.org/pump"
        tiers.enterprise.answerer = done(Empty())
        client.add(HANDLE, [URL])
        client.modify(HANDLE, [URL])
        client.remove(HANDLE, [1])
        client.delete(HANDLE)
        tiers.enterprise.answerer = done(CreatedAnswer(None))
        assert client.create(HANDLE, [URL]) == HANDLE.encode()
    opcodes = [message.header.opcode for message in tiers.enterprise.asked]
    assert opcodes == [1, 102, 104, 103, 101, 100]


def test_client_needs_somebody_to_ask() -> None:
    with pytest.raises(ValueError, match="root"):
        HandleClient()


def test_loaded_identity_keeps_its_key_out_of_sight(tmp_path: Path) -> None:
    path = tmp_path / "key.bin"
    path.write_bytes(encode_private_key(server_key(5), b"pass"))
    identity = KeyIdentity.load("300:0.NA/88.118.5", path, b"pass")
    assert identity.reference == ADMIN
    assert "private_key" not in repr(identity)
    assert "s3cret" not in repr(SECRET)


@pytest.mark.parametrize("text", ["", "300", "300:", ":a/b", "x:a/b", "-1:a/b", "2147483648:a/b"])
def test_identities_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="index:handle"):
        reference_from_text(text)


def test_identities_as_text() -> None:
    reference = reference_from_text("300:0.NA/88.118.5")
    assert reference == ADMIN
    assert reference_to_text(reference) == "300:0.NA/88.118.5"


@pytest.mark.parametrize("prefix", ["88.118.a", "0.NA/88.118.a", b"0.na/88.118.A"])
def test_prefix_in_either_form(prefix: str | bytes) -> None:
    assert prefix_to_handle(prefix) == b"0.NA/88.118.A"


@pytest.mark.parametrize("code", [code for code in ResponseCode if code > 1])
def test_every_code_has_words(code: ResponseCode) -> None:
    error = error_for(code, "")
    assert str(error) == name_of(code)
    assert error.response_code == code


def test_unknown_codes_have_words_too() -> None:
    assert name_of(999) == "response code 999"


def test_lookups_ask_for_what_existing_clients_ask() -> None:
    tiers = make_tiers()
    run(client_of(tiers).resolve(HANDLE))
    body = body_of(tiers.top.asked[0])
    types = (b"HS_SITE", b"HS_SITE.6", b"HS_SERV", b"HS_NAMESPACE")
    assert body == ResolutionRequest(b"0.NA/88.118.5", (), types)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_list_that_is_left_after_the_client_was_closed_says_nothing() -> None:
    tiers = make_tiers()
    tiers.enterprise.answerer = listing((b"A/1",), (b"A/2",))
    with BlockingClient(client_of(tiers, site=make_site("10.0.0.3"))) as client:
        listed = client.list_handles("A")
        assert next(listed) == b"A/1"
    assert isinstance(listed, Generator)
    listed.close()
