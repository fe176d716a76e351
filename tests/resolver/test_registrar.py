import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from protocol.bodies import (
    ChallengeAnswerRequest,
    CreatedAnswer,
    ErrorAnswer,
    HandleListAnswer,
    HandleRequest,
    ReferralAnswer,
    ResolutionRequest,
    SiteInfoAnswer,
    UnknownBody,
    ValuesRequest,
    VerificationAnswer,
    VerifyChallengeRequest,
)
from protocol.challenge import answer_secret_key
from protocol.claims import Claims, sign_claims
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.credential import verify_message
from protocol.digests import OLD_FORM, SHA1, SHA256, RequestDigest
from protocol.key_files import encode_private_key
from protocol.message import Message, decode_message
from protocol.types.hs_pubkey import encode_public_key
from protocol.types.hs_site import TRANSPORT_UDP
from protocol.value import HandleValue, Reference
from protocol.versions import V2_0, V2_3, V2_4, V2_6, V2_9, V2_10, Version
from registry.offline import seed_store
from registry.outcomes import Unavailable
from registry.schema import Record
from resolver.config import Config, NodeRole, RolesConfig
from resolver.metrics import render_metrics
from resolver.node_files import NodeFilesError, write_site
from resolver.registrar import Registrar, make_conversations, make_policy
from tests.registry.builders import NOW_S, PREFIX, admin_value, group, hidden, put, site_value, url
from tests.resolver.office import (
    ADMIN,
    ADMIN_KEY,
    SECRET,
    SECRET_ADMIN,
    SERVER_KEY,
    STRANGER,
    Office,
    answer_to,
    body_of,
    digest_of,
    make_node,
    open_office,
    request,
)

Scene = Callable[[Office], Awaitable[None]]
NEW = b"88.118/NEW"
CREATE = ValuesRequest(NEW, (url(),))


def play(folder: Path, scene: Scene) -> None:
    async def run() -> None:
        async with open_office(folder) as office:
            await scene(office)

    asyncio.run(run())


def code_of(answer: Message) -> int:
    return answer.header.response_code


def test_a_creation_is_challenged_then_made(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        asked = request(OpCode.CREATE_HANDLE, CREATE)
        challenge = await office.ask(asked)
        assert code_of(challenge) == ResponseCode.AUTHENTICATION_NEEDED
        assert challenge.header.opcode == OpCode.CREATE_HANDLE
        assert challenge.envelope.session_id > 0
        assert challenge.header.has(MessageFlag.REQUEST_DIGEST)
        assert digest_of(challenge).matches(asked.covered)
        assert not office.has(NEW)
        answer = await office.ask(answer_to(challenge, request_id=99))
        assert (answer.header.opcode, code_of(answer)) == (OpCode.CREATE_HANDLE, 1)
        assert answer.envelope.session_id == 0
        assert body_of(answer) == CreatedAnswer(NEW)
        assert office.has(NEW)

    play(tmp_path, scene)


def test_answers_have_the_fields_of_every_answer(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        answer = await office.ask(request(OpCode.GET_SITE_INFO, HandleRequest(b"/")))
        assert answer.header.flags == MessageFlag.AUTHORITATIVE | MessageFlag.RECURSIVE
        assert answer.header.expiration == NOW_S + 43_200
        assert answer.header.site_serial == 1
        assert isinstance(body_of(answer), SiteInfoAnswer)

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("version", "algorithm"), [(V2_10, SHA256), (V2_6, SHA1), (V2_3, SHA1), (V2_0, OLD_FORM)]
)
def test_a_challenge_follows_the_version_of_its_peer(
    tmp_path: Path, version: object, algorithm: int
) -> None:
    async def scene(office: Office) -> None:
        asked = request(
            OpCode.CREATE_HANDLE,
            CREATE,
            version=version,  # type: ignore[arg-type]
            suggested=version,  # type: ignore[arg-type]
        )
        challenge = await office.ask(asked)
        assert challenge.envelope.version == version
        if algorithm != OLD_FORM:
            assert digest_of(challenge).algorithm == algorithm
            assert digest_of(challenge).matches(asked.covered)
        else:  # nonce and digest, each a str, the digest behind
            assert len(challenge.body) == 4 + 16 + 4 + 16
            digest = RequestDigest(OLD_FORM, challenge.body[-16:])
            assert digest.matches(asked.covered)

    play(tmp_path, scene)


def test_a_secret_key_proves_as_well(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        asked = request(OpCode.CREATE_HANDLE, CREATE)
        assert code_of(await office.ask_as(asked, SECRET_ADMIN, SECRET)) == 1

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("user", "secret", "code"),
    [
        (SECRET_ADMIN, b"wrong", ResponseCode.AUTHENTICATION_FAILED),
        (STRANGER, b"wrong", ResponseCode.INVALID_ADMIN),
        (STRANGER, SECRET, ResponseCode.INVALID_ADMIN),
        (Reference(PREFIX, 0), b"wrong", ResponseCode.AUTHENTICATION_FAILED),
        (Reference(PREFIX, 999), SECRET, ResponseCode.INVALID_ADMIN),
    ],
)
def test_permission_is_looked_at_before_the_proof(
    tmp_path: Path, user: Reference, secret: bytes, code: int
) -> None:
    async def scene(office: Office) -> None:
        asked = request(OpCode.CREATE_HANDLE, CREATE)
        assert code_of(await office.ask_as(asked, user, secret)) == code
        assert not office.has(NEW)

    play(tmp_path, scene)


def test_index_zero_is_whichever_key_matches(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        asked = request(OpCode.CREATE_HANDLE, CREATE)
        assert code_of(await office.ask_as(asked, Reference(PREFIX, 0), SECRET)) == 1

    play(tmp_path, scene)


def test_a_challenge_is_answered_once_and_in_time(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        asked = request(OpCode.CREATE_HANDLE, CREATE)
        answer = answer_to(await office.ask(asked))
        assert code_of(await office.ask(answer)) == 1
        assert code_of(await office.ask(answer)) == ResponseCode.AUTHENTICATION_TIMEOUT
        late = answer_to(await office.ask(request(OpCode.DELETE_HANDLE, HandleRequest(NEW))))
        office.clock_s += 60
        assert code_of(await office.ask(late)) == ResponseCode.AUTHENTICATION_TIMEOUT
        assert office.has(NEW)

    play(tmp_path, scene)


def test_a_repeated_answer_is_met_with_silence_while_the_first_is_worked_on(
    tmp_path: Path,
) -> None:
    async def scene(office: Office) -> None:
        office.afar.gate = asyncio.Event()
        office.afar.records[b"88.119/ADMIN"] = Record(())
        user = Reference(b"88.119/ADMIN", 300)
        answer = answer_to(await office.ask(request(OpCode.CREATE_HANDLE, CREATE)), user)
        first = asyncio.create_task(office.ask(answer))
        await office.afar.asked.wait()
        assert await office.hand_in(answer.encode()) == []
        office.afar.gate.set()
        assert code_of(await first) == ResponseCode.INVALID_ADMIN

    # The claimed identity is a stranger's, but its groups may be elsewhere.
    async def with_group(office: Office) -> None:
        put(office.store, {PREFIX: [admin_value(Reference(b"88.119/GROUP", 200))]})
        await scene(office)

    play(tmp_path, with_group)


def test_too_many_challenges_of_one_address_are_refused(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        asked = request(OpCode.CREATE_HANDLE, CREATE)
        codes = [code_of(await office.ask(asked)) for _ in range(5)]
        assert codes == [402, 402, 402, 402, ResponseCode.SERVER_TOO_BUSY]
        assert code_of(await office.ask(asked, "198.51.100.1")) == 402
        big = ValuesRequest(NEW, (url(data=bytes(6_000)),))
        answer = await office.ask(request(OpCode.CREATE_HANDLE, big), "203.0.113.1")
        assert code_of(answer) == ResponseCode.SERVER_TOO_BUSY

    play(tmp_path, scene)


def test_a_registered_handle_is_replaced_only_when_asked(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        again = ValuesRequest(b"88.118/old", (url(2),))
        answer = await office.ask_as(request(OpCode.CREATE_HANDLE, again))
        assert code_of(answer) == ResponseCode.HANDLE_ALREADY_EXISTS
        asked = request(OpCode.CREATE_HANDLE, again, MessageFlag.OVERWRITE)
        answer = await office.ask_as(asked)
        assert code_of(answer) == 1
        assert answer.header.has(MessageFlag.OVERWRITE)

    play(tmp_path, scene)


def test_overwrite_means_nothing_below_2_3(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        again = ValuesRequest(b"88.118/old", (url(2),))
        flags = MessageFlag.OVERWRITE
        old = V2_0._replace(minor=2)
        asked = request(OpCode.CREATE_HANDLE, again, flags, version=old)
        assert code_of(await office.ask_as(asked)) == ResponseCode.HANDLE_ALREADY_EXISTS

    play(tmp_path, scene)


def test_restricted_values_are_shown_to_administrators(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        put(office.store, {NEW: [url(), hidden(2), admin_value()]})
        asked = request(OpCode.RESOLUTION, ResolutionRequest(NEW))
        answer = await office.ask_as(asked)
        assert code_of(answer) == 1
        assert answer.header.opcode == OpCode.RESOLUTION
        body = body_of(answer)
        assert isinstance(body, ValuesRequest)
        assert [value.index for value in body.values] == [1, 2, 100]
        refused = await office.ask_as(asked, STRANGER, SECRET)
        assert code_of(refused) == ResponseCode.INVALID_ADMIN

    play(tmp_path, scene)


def test_an_administrator_s_key_on_another_node_is_fetched(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        afar = Reference(b"88.119/ADMIN", 300)
        with office.store.read() as view:
            home = view.find_record(PREFIX)
        assert home is not None
        office.afar.records[afar.handle] = Record(home.values)
        put(office.store, {PREFIX: [admin_value(afar)]})
        assert code_of(await office.ask_as(request(OpCode.CREATE_HANDLE, CREATE), afar)) == 1
        assert office.afar.fetched == [afar.handle]
        assert office.afar.kept == [afar]

    play(tmp_path, scene)


def test_a_refusal_that_rests_on_another_node_is_not_final(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        afar = b"88.119/GROUP"
        office.afar.records[afar] = Record((group(200, STRANGER),))
        office.afar.news[afar] = Record((group(200, ADMIN),))
        with office.store.read() as view:
            record = view.find_record(PREFIX)
        assert record is not None
        keys = [value for value in record.values if value.type != b"HS_ADMIN"]
        put(office.store, {PREFIX: [admin_value(Reference(afar, 200)), *keys]})
        assert code_of(await office.ask_as(request(OpCode.CREATE_HANDLE, CREATE))) == 1

    play(tmp_path, scene)


def test_a_node_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        gone = b"88.119/GROUP"
        office.afar.records[gone] = Unavailable("no answer within 3 s")
        put(office.store, {PREFIX: [admin_value(Reference(gone, 200))]})
        answer = await office.ask_as(request(OpCode.CREATE_HANDLE, CREATE))
        assert code_of(answer) == ResponseCode.INVALID_ADMIN
        body = body_of(answer)
        assert isinstance(body, ErrorAnswer)
        assert b"88.119/GROUP could not be fetched: no answer within 3 s" in (body.message or b"")

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (True, 1),
        (False, ResponseCode.AUTHENTICATION_FAILED),
        (Unavailable("down"), ResponseCode.AUTHENTICATION_ERROR),
    ],
)
def test_a_secret_on_another_node_is_verified_there(
    tmp_path: Path, verdict: bool | Unavailable, code: int
) -> None:
    async def scene(office: Office) -> None:
        afar = Reference(b"88.119/ADMIN", 301)
        office.afar.secrets[afar] = verdict
        put(office.store, {PREFIX: [admin_value(afar)]})
        asked = request(OpCode.CREATE_HANDLE, CREATE)
        assert code_of(await office.ask_as(asked, afar, b"theirs")) == code

    play(tmp_path, scene)


@pytest.mark.parametrize(("secret", "result"), [(SECRET, 1), (b"wrong", 0)])
def test_secrets_that_are_ours_are_verified_for_others(
    tmp_path: Path, secret: bytes, result: int
) -> None:
    async def scene(office: Office) -> None:
        nonce, digest = bytes(16), RequestDigest(OLD_FORM, bytes(32))
        answer = answer_secret_key(secret, nonce, digest, V2_10)
        body = VerifyChallengeRequest(PREFIX, 301, nonce, digest, True, answer)
        asked = request(OpCode.VERIFY_CHALLENGE, body, MessageFlag.CERTIFY)
        verdict = await office.ask(asked)
        assert body_of(verdict) == VerificationAnswer(result)
        verify_message(verdict, SERVER_KEY.public_key())

    play(tmp_path, scene)


def test_secrets_of_others_are_not_verified_here(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        digest = RequestDigest(OLD_FORM, bytes(32))
        body = VerifyChallengeRequest(b"88.119/X", 301, bytes(16), digest, True, b"")
        answer = await office.ask(request(OpCode.VERIFY_CHALLENGE, body))
        assert code_of(answer) == ResponseCode.SERVER_NOT_RESPONSIBLE

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("suggested", "flags", "answer"),
    [
        (V2_10, 0, 303),
        (V2_9, 0, VerificationAnswer(1)),
        # Who wants no referral is told that what is not here is not valid here.
        (V2_10, 0x00100000, VerificationAnswer(0)),
    ],
)
def test_the_secret_of_a_delegated_prefix_is_verified_by_its_own_node(
    tmp_path: Path, suggested: Version, flags: int, answer: int | VerificationAnswer
) -> None:
    """A server that asks the root about a derived prefix's key is told where the prefix lives."""

    async def scene(office: Office) -> None:
        child = Reference(b"0.NA/88.118.5", 300)
        delegation = site_value(b"HS_SITE.PREFIX")
        put(office.store, {PREFIX: [delegation]})
        office.afar.secrets[child] = True
        digest = RequestDigest(OLD_FORM, bytes(32))
        body = VerifyChallengeRequest(*child, bytes(16), digest, True, b"answer")
        asked = request(OpCode.VERIFY_CHALLENGE, body, flags, suggested=suggested)
        told = await office.ask(asked)
        referred = ReferralAnswer(b"", (delegation,))
        assert code_of(told) == (answer if isinstance(answer, int) else 1)
        assert body_of(told) == (referred if isinstance(answer, int) else answer)

    play(tmp_path, scene)


def test_the_administrator_of_a_delegated_prefix_logs_in_at_its_parent(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        child = Reference(b"0.NA/88.118.5", 300)
        key = HandleValue(300, b"HS_PUBKEY", encode_public_key(ADMIN_KEY.public_key()))
        put(office.store, {PREFIX: [site_value(b"HS_SITE.PREFIX"), admin_value(child)]})
        asked = request(OpCode.CREATE_HANDLE, CREATE)
        assert code_of(await office.ask_as(asked, child)) == ResponseCode.AUTHENTICATION_FAILED
        office.afar.records[child.handle] = Record((key,))
        assert code_of(await office.ask_as(asked, child)) == 1

    play(tmp_path, scene)


def test_a_minted_handle_s_answer_says_so(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        asked = request(OpCode.CREATE_HANDLE, CREATE, MessageFlag.MINT_SUFFIX)
        answer = await office.ask_as(asked)
        assert answer.header.has(MessageFlag.MINT_SUFFIX)
        body = body_of(answer)
        assert isinstance(body, CreatedAnswer)
        assert body.handle is not None
        suffix = body.handle.removeprefix(NEW)
        assert suffix == suffix.lower()
        assert len(suffix) == 36

    play(tmp_path, scene)


def test_a_list_comes_in_messages_of_fifty(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        handles = [b"88.118/%03d" % number for number in range(119)]
        put(office.store, {handle: [url()] for handle in handles})
        challenge = await office.ask(request(OpCode.LIST_HANDLES, HandleRequest(PREFIX)))
        octets = await office.hand_in(answer_to(challenge).encode())
        answers = [decode_message(each) for each in octets]
        assert [answer.header.opcode for answer in answers] == [OpCode.LIST_HANDLES] * 3
        more = [answer.header.has(MessageFlag.CONTINUOUS) for answer in answers]
        assert more == [True, True, False]
        listed: list[bytes] = []
        for answer in answers:
            body = body_of(answer)
            assert isinstance(body, HandleListAnswer)
            listed += body.handles
        assert [len(listed), listed] == [120, [*handles, b"88.118/OLD"]]

    play(tmp_path, scene)


def test_a_list_of_a_full_last_message_ends_there(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        put(office.store, {b"88.118/%03d" % number: [url()] for number in range(49)})
        challenge = await office.ask(request(OpCode.LIST_HANDLES, HandleRequest(PREFIX)))
        (octets,) = await office.hand_in(answer_to(challenge).encode())
        assert not decode_message(octets).header.has(MessageFlag.CONTINUOUS)

    play(tmp_path, scene)


def test_only_administrators_list_homed_prefixes(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        answer = await office.ask_as(request(OpCode.LIST_HOMED_NAS, HandleRequest(b"/")))
        assert code_of(answer) == ResponseCode.INVALID_ADMIN

    play(tmp_path, scene)


def test_certified_answers_are_signed(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        asked = request(OpCode.CREATE_HANDLE, CREATE, MessageFlag.CERTIFY)
        challenge = await office.ask(asked)
        verify_message(challenge, SERVER_KEY.public_key())
        answer = await office.ask(answer_to(challenge))
        assert code_of(answer) == 1
        verify_message(answer, SERVER_KEY.public_key())

    play(tmp_path, scene)


@pytest.mark.parametrize(("suggested", "code"), [(V2_10, ResponseCode.SERVER_BACKUP), (V2_4, 303)])
def test_a_read_only_node_says_so(tmp_path: Path, suggested: object, code: int) -> None:
    async def scene(office: Office) -> None:
        office.commit.read_only = "the disk is full"
        asked = request(OpCode.CREATE_HANDLE, CREATE)
        challenge = await office.ask(asked)
        answer = await office.ask(
            answer_to(challenge, version=suggested)  # type: ignore[arg-type]
            if suggested != V2_4
            else _lowered(answer_to(challenge))
        )
        assert code_of(answer) == code
        assert b"the disk is full" in answer.body

    play(tmp_path, scene)


def _lowered(message: Message) -> Message:
    envelope = dataclasses.replace(message.envelope, suggested=V2_4)
    return dataclasses.replace(message, envelope=envelope)


@pytest.mark.parametrize(("suggested", "code"), [(V2_10, 303), (V2_9, 1)])
def test_old_clients_are_spared_prefix_referrals(
    tmp_path: Path, suggested: object, code: int
) -> None:
    async def scene(office: Office) -> None:
        put(office.store, {PREFIX: [site_value(b"HS_SITE.PREFIX")]}, homed=[b"0.NA/0.NA"])
        asked = request(
            OpCode.RESOLUTION,
            ResolutionRequest(b"0.NA/88.118.5"),
            MessageFlag.PUBLIC_ONLY,
            suggested=suggested,  # type: ignore[arg-type]
        )
        answer = await office.ask(asked)
        assert code_of(answer) == code
        assert len(office.resolved_afar) == (code == 1)
        if code == 303:
            body = body_of(answer)
            assert isinstance(body, ReferralAnswer)
            assert body.handle == b""

    play(tmp_path, scene)


def test_administration_is_refused_on_a_query_interface(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        octets = request(OpCode.CREATE_HANDLE, CREATE).encode()
        (answer,) = await office.hand_in(octets, transport=TRANSPORT_UDP)
        message = decode_message(answer)
        assert code_of(message) == ResponseCode.PROTOCOL_ERROR
        assert body_of(message) == ErrorAnswer(b"Received admin request on non-admin interface")

    play(tmp_path, scene)


def test_a_checkpoint_is_the_administrators_to_ask_for(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        asked = request(OpCode.BACKUP_SERVER, HandleRequest(b"/"))
        assert code_of(await office.ask(asked)) == ResponseCode.AUTHENTICATION_NEEDED

    play(tmp_path, scene)


def test_a_malformed_original_is_a_protocol_error(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        answer = await office.ask(request(OpCode.CREATE_HANDLE, UnknownBody(b"\0")))
        assert code_of(answer) == ResponseCode.PROTOCOL_ERROR

    play(tmp_path, scene)


def test_a_response_is_met_with_silence(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        answer = await office.ask(request(OpCode.GET_SITE_INFO, HandleRequest(b"/")))
        assert await office.hand_in(answer.encode()) == []

    play(tmp_path, scene)


def test_proofs_that_cost_too_much_are_wrong(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        challenge = await office.ask(request(OpCode.CREATE_HANDLE, CREATE))
        rounds = (10**9).to_bytes(4, "big")
        answer = b"\x22\0\0\0\1s" + rounds + (160).to_bytes(4, "big") + b"\0\0\0\1m"
        body = ChallengeAnswerRequest(b"HS_SECKEY", PREFIX, 301, answer)
        sent = request(200, body, session_id=challenge.envelope.session_id)
        assert code_of(await office.ask(sent)) == ResponseCode.AUTHENTICATION_FAILED

    play(tmp_path, scene)


def test_the_group_of_a_group_may_administer(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        inner = group(201, SECRET_ADMIN)
        outer = group(200, Reference(PREFIX, 201))
        with office.store.read() as view:
            record = view.find_record(PREFIX)
        assert record is not None
        keys = [value for value in record.values if value.type != b"HS_ADMIN"]
        admin = admin_value(Reference(PREFIX, 200))
        put(office.store, {PREFIX: [admin, outer, inner, *keys]})
        asked = request(OpCode.CREATE_HANDLE, CREATE)
        assert code_of(await office.ask_as(asked, SECRET_ADMIN, SECRET)) == 1

    play(tmp_path, scene)


def write_folder(folder: Path) -> Config:
    write_site(folder / "site.json", make_node().site)
    (folder / "server-key.bin").write_bytes(encode_private_key(SERVER_KEY))
    return Config(role=NodeRole.TOP, data_dir=str(folder))


def test_a_registrar_is_put_together_from_its_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = [0.0]
    registrar = Registrar(write_folder(tmp_path), clock_s=lambda: clock[0])
    assert "keys on other nodes cannot be fetched" in caplog.text
    registrar.tick(0)
    page, _ = render_metrics()
    assert b"biaoshi_store_handles 0.0" in page
    registrar.close()


def test_the_first_end_of_what_is_signed_about_own_handles_is_in_the_metrics(
    tmp_path: Path,
) -> None:
    config = msgspec.structs.replace(
        write_folder(tmp_path), roles=RolesConfig(administrators=("300:88.118/admin",))
    )
    prefix, administrator, identifier = b"0.NA/88.118", b"88.118/admin", b"88.118/X"
    ends_s = {prefix: 2_000_000_000, administrator: 1_900_000_000, identifier: 1_800_000_000}

    def signed(handle: bytes) -> HandleValue:
        claims = Claims(Reference(b"0.NA/88", 300), f"300:{handle.decode()}", ends_s[handle])
        return HandleValue(400, b"HS_CERT", sign_claims(claims, SERVER_KEY).encode())

    damaged = HandleValue(401, b"HS_SIGNATURE", b"x.y.z")
    seed_store(
        config.store_folder,
        {handle: [signed(handle), damaged] for handle in ends_s},
        [prefix],
        now_s=1,
    )
    registrar = Registrar(config, clock_s=lambda: 0.0)
    registrar.watch_trust()
    page, _ = render_metrics()
    assert b"biaoshi_trust_expiry_timestamp_seconds 1.9e+09" in page
    registrar.close()


def test_without_its_files_a_registrar_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NodeFilesError, match=r"site\.json cannot be read"):
        Registrar(Config(role=NodeRole.TOP, data_dir=str(tmp_path)))


def test_the_policy_is_the_configuration_s() -> None:
    roles = RolesConfig(administrators=("300:0.NA/88.118",), allow_prefix_administrators=False)
    policy = make_policy(Config(role=NodeRole.TOP, roles=roles))
    assert not policy.allow_na_admins
    assert policy.allow_list_handles
    silent = RolesConfig(allow_list_handles=False)
    assert not make_policy(Config(role=NodeRole.TOP, roles=silent)).allow_list_handles
    assert policy.roles.permits(ADMIN, OpCode.HOME_NA)
    assert not policy.roles.permits(STRANGER, OpCode.HOME_NA)


def test_conversations_are_bounded_by_the_configuration() -> None:
    conversations = make_conversations(Config(role=NodeRole.TOP).limits)
    assert not conversations.is_taken(1)
