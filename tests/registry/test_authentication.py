import functools

import pytest

from protocol.challenge import answer_public_key, answer_secret_key
from protocol.digests import RequestDigest, digest_request
from protocol.key_files import PrivateKey, generate_rsa_key
from protocol.types.hs_pubkey import encode_public_key
from protocol.value import HandleValue, Reference
from protocol.versions import V2_1, V2_10, Version
from registry.authentication import (
    KEYS_TRIED_MAX,
    Keys,
    RemoteSecret,
    find_key_holder,
    find_keys,
    verify_answer,
    verify_password,
)
from registry.outcomes import NOTHING_FOREIGN, Foreign, Need, Refusal, Unavailable
from registry.schema import Record
from registry.store import Store
from tests.registry.builders import PREFIX, admin_value, put, site_value, url

USER = b"88.118/USER"
NONCE = b"n" * 16
DIGEST = digest_request(b"request", V2_10)
ROUNDS_MAX = 20_000


@functools.cache
def key(number: int) -> PrivateKey:
    """Return one key per number, small ones: they are quick to make."""
    del number
    return generate_rsa_key(1024)


def public_key(number: int, index: int) -> HandleValue:
    return HandleValue(index, b"HS_PUBKEY", encode_public_key(key(number).public_key()))


def secret(index: int, octets: bytes) -> HandleValue:
    return HandleValue(index, b"HS_SECKEY", octets, 0b1100)


@pytest.fixture
def known(store: Store) -> Store:
    """With 88.118/USER: two public keys, two secrets and something else."""
    put(
        store,
        {
            USER: [
                public_key(2, 302),
                secret(312, b"two"),
                public_key(1, 301),
                secret(311, b"one"),
                url(),
            ]
        },
    )
    return store


def find(
    store: Store,
    index: int,
    kind: bytes = b"HS_PUBKEY",
    handle: bytes = USER,
    foreign: Foreign = NOTHING_FOREIGN,
) -> Keys | RemoteSecret | Need | Refusal:
    with store.read() as view:
        return find_keys(view, foreign, Reference(handle, index), kind)


def keys_of(store: Store, index: int, kind: bytes = b"HS_PUBKEY") -> Keys:
    found = find(store, index, kind)
    assert isinstance(found, Keys)
    return found


def verified(
    keys: Keys, kind: bytes, answer: bytes, nonce: bytes = NONCE, digest: RequestDigest = DIGEST
) -> Reference | None:
    return verify_answer(keys, kind, answer, nonce, digest, ROUNDS_MAX)


def test_a_key_is_found_by_index(known: Store) -> None:
    assert [value.index for value in keys_of(known, 302).values] == [302]
    assert [value.index for value in keys_of(known, 311, b"HS_SECKEY").values] == [311]


def test_index_0_finds_all_smallest_first(known: Store) -> None:
    assert [value.index for value in keys_of(known, 0).values] == [301, 302]
    assert [value.index for value in keys_of(known, 0, b"HS_SECKEY").values] == [311, 312]


def test_only_so_many_keys_are_tried(store: Store) -> None:
    put(store, {USER: [secret(i, b"x") for i in range(1, KEYS_TRIED_MAX + 9)]})
    assert len(keys_of(store, 0, b"HS_SECKEY").values) == KEYS_TRIED_MAX


@pytest.mark.parametrize(
    ("index", "kind", "handle"),
    [
        (1, b"HS_PUBKEY", USER),
        (311, b"HS_PUBKEY", USER),
        (301, b"HS_SECKEY", USER),
        (301, b"HS_PUBKEY", b"88.118/NOBODY"),
    ],
)
def test_no_such_key_is_an_authentication_that_failed(
    known: Store, index: int, kind: bytes, handle: bytes
) -> None:
    found = find(known, index, kind, handle)
    assert isinstance(found, Refusal)
    assert found.response_code == 403
    assert found.message


def test_an_unknown_kind_of_login_is_an_invalid_credential(store: Store) -> None:
    put(store, {USER: [secret(301, b"x")]})
    found = find(store, 301, b"HS_NOTHING")
    assert isinstance(found, Refusal)
    assert found.response_code == 404


def test_the_key_of_a_delegated_prefix_is_asked_for_where_the_prefix_lives(store: Store) -> None:
    """A root is responsible for every prefix handle; those it delegates have their keys there."""
    child = b"0.NA/88.118.5"
    put(store, {PREFIX: [site_value(b"HS_SITE.PREFIX")]})
    assert find(store, 300, b"HS_PUBKEY", child) == Need(frozenset({child}))
    assert find(store, 300, b"HS_SECKEY", child) == RemoteSecret(Reference(child, 300))
    put(store, {child: [secret(300, b"x")]})
    found = find(store, 300, b"HS_SECKEY", child)
    assert found == Keys(Reference(child, 300), (secret(300, b"x"),))


def test_a_public_key_elsewhere_is_fetched(known: Store) -> None:
    assert find(known, 301, handle=b"99/User") == Need(frozenset({b"99/User"}))
    foreign: Foreign = {b"99/User": Record((public_key(1, 301),))}
    found = find(known, 301, handle=b"99/User", foreign=foreign)
    assert found == Keys(Reference(b"99/User", 301), (public_key(1, 301),))
    lost = find(known, 301, handle=b"99/User", foreign={b"99/User": None})
    assert isinstance(lost, Refusal)
    assert lost.response_code == 403


def test_a_node_that_cannot_be_reached_is_named(known: Store) -> None:
    foreign: Foreign = {b"99/User": Unavailable("192.0.2.7 did not answer within 2 s")}
    found = find(known, 301, handle=b"99/User", foreign=foreign)
    assert isinstance(found, Refusal)
    assert found.response_code == 406
    assert b"301:99/User" in found.message
    assert b"192.0.2.7" in found.message


def test_a_secret_elsewhere_is_verified_there(known: Store) -> None:
    user = Reference(b"99/User", 300)
    assert find(known, 300, b"HS_SECKEY", b"99/User") == RemoteSecret(user)


def test_keys_of_a_delegated_prefix_are_elsewhere(known: Store) -> None:
    """The root answers for all prefix handles, also for those that it refers for."""
    child = b"0.NA/88.118.5"
    for kind in (b"HS_PUBKEY", b"HS_SECKEY"):
        assert isinstance(find(known, 300, kind, child), Refusal), "nobody is named for it"
    put(known, {PREFIX: [admin_value(), site_value(b"HS_SITE.PREFIX")]})
    assert find(known, 300, b"HS_SECKEY", child) == RemoteSecret(Reference(child, 300))
    assert find(known, 300, handle=child) == Need(frozenset({child}))
    put(known, {child: [public_key(1, 300), secret(301, b"here after all")]})
    for index, kind in ((300, b"HS_PUBKEY"), (301, b"HS_SECKEY")):
        assert isinstance(find(known, index, kind, child), Keys)


def test_a_public_key_answer(known: Store) -> None:
    answer = answer_public_key(key(2), NONCE, DIGEST, V2_10)
    assert verified(keys_of(known, 302), b"HS_PUBKEY", answer) == Reference(USER, 302)
    assert verified(keys_of(known, 301), b"HS_PUBKEY", answer) is None
    assert verified(keys_of(known, 302), b"HS_PUBKEY", answer, nonce=b"m" * 16) is None
    other = digest_request(b"other request", V2_10)
    assert verified(keys_of(known, 302), b"HS_PUBKEY", answer, digest=other) is None
    assert verified(keys_of(known, 302), b"HS_PUBKEY", b"") is None


def test_index_0_becomes_the_index_of_the_key(known: Store) -> None:
    answer = answer_public_key(key(2), NONCE, DIGEST, V2_10)
    assert verified(keys_of(known, 0), b"HS_PUBKEY", answer) == Reference(USER, 302)


def test_a_damaged_key_is_passed_over(store: Store) -> None:
    put(store, {USER: [HandleValue(300, b"HS_PUBKEY", b"\0\0"), public_key(1, 301)]})
    answer = answer_public_key(key(1), NONCE, DIGEST, V2_10)
    assert verified(keys_of(store, 0), b"HS_PUBKEY", answer) == Reference(USER, 301)
    assert verified(keys_of(store, 300), b"HS_PUBKEY", answer) is None


@pytest.mark.parametrize("version", [V2_1, V2_10])
def test_a_secret_key_answer(known: Store, version: Version) -> None:
    answer = answer_secret_key(b"two", NONCE, DIGEST, version)
    assert verified(keys_of(known, 312, b"HS_SECKEY"), b"HS_SECKEY", answer) == Reference(USER, 312)
    assert verified(keys_of(known, 0, b"HS_SECKEY"), b"HS_SECKEY", answer) == Reference(USER, 312)
    assert verified(keys_of(known, 311, b"HS_SECKEY"), b"HS_SECKEY", answer) is None


def test_too_many_rounds_are_a_wrong_answer(known: Store) -> None:
    answer = answer_secret_key(b"two", NONCE, DIGEST, V2_10)
    keys = keys_of(known, 312, b"HS_SECKEY")
    assert verify_answer(keys, b"HS_SECKEY", answer, NONCE, DIGEST, 10_000) is not None
    assert verify_answer(keys, b"HS_SECKEY", answer, NONCE, DIGEST, 9_999) is None


def test_passwords(known: Store) -> None:
    assert verify_password(keys_of(known, 312, b"HS_SECKEY"), b"two") == Reference(USER, 312)
    assert verify_password(keys_of(known, 0, b"HS_SECKEY"), b"two") == Reference(USER, 312)
    assert verify_password(keys_of(known, 312, b"HS_SECKEY"), b"one") is None
    assert verify_password(keys_of(known, 312, b"HS_SECKEY"), b"") is None


def test_the_holder_of_a_certificate_s_key_is_found(known: Store) -> None:
    with known.read() as view:
        keys = find_keys(view, NOTHING_FOREIGN, Reference(USER, 0), b"HS_PUBKEY")
    assert isinstance(keys, Keys)
    certified = encode_public_key(key(2).public_key())
    assert find_key_holder(keys, certified) == Reference(USER, 302)
    assert find_key_holder(keys, certified.rstrip(b"\0")) == Reference(USER, 302)
    assert find_key_holder(keys, encode_public_key(key(9).public_key())) is None


def test_a_key_that_cannot_be_read_is_nobody_s(store: Store) -> None:
    put(store, {USER: [HandleValue(300, b"HS_PUBKEY", b"no key"), public_key(1, 301)]})
    with store.read() as view:
        keys = find_keys(view, NOTHING_FOREIGN, Reference(USER, 0), b"HS_PUBKEY")
    assert isinstance(keys, Keys)
    certified = encode_public_key(key(1).public_key())
    assert find_key_holder(keys, certified) == Reference(USER, 301)
