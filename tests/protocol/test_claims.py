"""Claims of HS_CERT and HS_SIGNATURE: both forms of the token, digests, what is granted."""

import base64
import json
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from hypothesis import given
from hypothesis import strategies as st

from protocol import jws
from protocol.claims import (
    CHAIN_MAX,
    Claims,
    Grant,
    Perm,
    decode_claims,
    digest_value,
    digest_values,
    read_claims,
    same_identity,
    sign_claims,
    verify_token,
)
from protocol.errors import DecodeError, InvalidValueError, ProtocolError, SecurityError
from protocol.key_files import PrivateKey, decode_private_key
from protocol.types.hs_pubkey import encode_public_key
from protocol.value import HandleValue, Reference
from tests.protocol.recorded import octets_of

RSA_KEY = decode_private_key(octets_of("admpriv.bin"))
ROOT = Reference(b"0.0/0.0", 300)
FULL = Claims(
    ROOT,
    "300:0.NA/88.118",
    expires_s=2_000_000_000,
    not_before_s=1_700_000_000,
    issued_s=1_700_000_001,
    chain=(Reference(b"0.NA/88", 400), Reference(b"0.0/0.0", 400)),
    digest_algorithm="SHA-256",
    digests=((1, b"\xff" * 32), (2, b"\0" * 32)),
    public_key=encode_public_key(RSA_KEY.public_key()),
    grants=(Grant(Perm.EVERYTHING), Grant(Perm.DERIVED_PREFIXES, b"0.NA/88")),
    content="标识",
)


@cache
def dsa_key(bits: int = 2_048) -> PrivateKey:
    return dsa.generate_private_key(bits)


def test_claims_are_read_as_they_were_written() -> None:
    assert decode_claims(FULL.encode()) == FULL
    bare = Claims(ROOT, "88.118/x")
    assert decode_claims(bare.encode()) == bare
    assert json.loads(bare.encode()) == {"iss": "300:0.0/0.0", "sub": "88.118/x"}


def test_an_index_may_lack_and_a_permission_may_name_no_handle() -> None:
    perms = [{"perm": "x", "handle": None}]
    form = {"iss": "0.0/0.0", "sub": "0.0/0.0", "chain": ["0.NA/88", "a:b/c"], "perms": perms}
    claims = decode_claims(json.dumps(form).encode())
    assert claims.issuer == Reference(b"0.0/0.0", 0)
    assert claims.chain == (Reference(b"0.NA/88", 0), Reference(b"a:b/c", 0))
    assert claims.grants == (Grant("x"),)
    assert claims.is_self_issued
    assert json.loads(claims.encode())["chain"] == ["0.NA/88", "a:b/c"]


def test_the_members_have_the_names_that_existing_clients_read() -> None:
    form = json.loads(FULL.encode())
    assert form["chain"] == ["400:0.NA/88", "400:0.0/0.0"]
    assert form["digests"]["alg"] == "SHA-256"
    assert form["digests"]["digests"][0] == {
        "index": 1,
        "digest": base64.b64encode(b"\xff" * 32).decode(),
    }
    assert form["perms"] == [
        {"perm": "everything"},
        {"handle": "0.NA/88", "perm": "derivedPrefixes"},
    ]
    assert form["publicKey"]["kty"] == "RSA"
    assert (form["exp"], form["nbf"], form["iat"]) == (2_000_000_000, 1_700_000_000, 1_700_000_001)


@pytest.mark.parametrize(("algorithm", "bits"), [("RS256", 0), ("DS160", 1_024), ("DS256", 2_048)])
def test_both_forms_of_a_token_hold_under_its_key_only(algorithm: str, bits: int) -> None:
    key = dsa_key(bits) if bits else RSA_KEY
    token = sign_claims(FULL, key)
    assert jws.peek(token)[0] == jws.JwsHeader(algorithm, "")
    for text in (token, jws.to_json_form(token), f" {jws.to_json_form(token)}\n"):
        compact, claims = read_claims(text.encode())
        assert (compact, claims) == (token, FULL)
        verify_token(compact, key.public_key())
    head, _, signature = token.split(".")
    other = base64.urlsafe_b64encode(FULL.encode().replace(b"88", b"99")).rstrip(b"=").decode()
    stranger = dsa_key() if key is RSA_KEY else RSA_KEY
    with pytest.raises(SecurityError):
        verify_token(token, stranger.public_key())
    with pytest.raises(SecurityError, match="does not hold"):
        verify_token(f"{head}.{other}.{signature}", key.public_key())


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "DS256", "DS384", "DS512"])
def test_other_algorithms_of_the_same_kind_of_key_are_read(algorithm: str) -> None:
    """Handle.Net 9 writes DS256 with every DSA key, and reads what else has such a name."""
    key = RSA_KEY if algorithm.startswith("RS") else dsa_key(1_024)
    hashed = {"256": SHA256(), "384": SHA384(), "512": SHA512()}[algorithm[2:]]
    parts = [json.dumps({"alg": algorithm}).encode(), FULL.encode()]
    signed = b".".join(base64.urlsafe_b64encode(each).rstrip(b"=") for each in parts)
    signature = (
        key.sign(signed, PKCS1v15(), hashed)
        if isinstance(key, rsa.RSAPrivateKey)
        else key.sign(signed, hashed)
    )
    token = f"{signed.decode()}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    verify_token(token, key.public_key())
    assert read_claims(token.encode()) == (token, FULL)
    with pytest.raises(SecurityError, match=r"it has to be RS256|sign no tokens"):
        jws.verify(token, key.public_key())
    other = dsa_key() if key is RSA_KEY else RSA_KEY
    with pytest.raises(SecurityError, match="with this key it has to be"):
        verify_token(token, other.public_key())
    broken = token[:-8] + ("A" * 8 if token[-8:] != "A" * 8 else "B" * 8)
    with pytest.raises(SecurityError, match="does not hold"):
        verify_token(broken, key.public_key())


def test_what_has_not_three_parts_has_no_json_form() -> None:
    with pytest.raises(DecodeError, match="3 parts"):
        jws.to_json_form("a.b")


def test_a_dsa_key_signs_no_receipt() -> None:
    with pytest.raises(SecurityError, match="DSA keys sign no tokens"):
        jws.sign(b"{}", dsa_key())
    with pytest.raises(SecurityError, match="DSA keys sign no tokens"):
        jws.verify(sign_claims(FULL, dsa_key()), dsa_key().public_key())


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"[]", "cannot be read"),
        (b'{"iss":"300:0.0/0.0"}', "sub"),
        (b'{"iss":"","sub":"x"}', "iss is ''"),
        (b'{"iss":"1:","sub":"x"}', "iss is '1:'"),
        (b'{"iss":"2147483648:a","sub":"x"}', "not index:handle"),
        (b'{"iss":"99999999999:a","sub":"x"}', "not index:handle"),
        (b'{"iss":"1:a","sub":"x","exp":"soon"}', "exp"),
        (b'{"iss":"1:a","sub":"x","exp":-1}', "exp"),
        (b'{"iss":"1:a","sub":"x","nbf":1' + bytes(400).replace(b"\0", b"0") + b"}", "nbf"),
        (b'{"iss":"1:a","sub":"x","digests":{"alg":"SHA-256","digests":[{"index":1,"digest":"!"}]}}',
         "not base64"),
        (b'{"iss":"1:a","sub":"x","publicKey":{"kty":"EC"}}', "publicKey.kty"),
        (json.dumps({"iss": "1:a", "sub": "x", "chain": ["1:a"] * (CHAIN_MAX + 1)}).encode(),
         "51 links"),
    ],
)  # fmt: skip
def test_claims_that_cannot_be_meant_are_refused(octets: bytes, words: str) -> None:
    with pytest.raises((DecodeError, InvalidValueError), match=words):
        decode_claims(octets)


@pytest.mark.parametrize("data", [b"", b"\xff", b"a.b", b"{}", b'{"payload":"","signatures":[]}'])
def test_what_is_no_token_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        read_claims(data)


@given(st.binary(max_size=200))
def test_whatever_comes_nothing_else_is_raised(data: bytes) -> None:
    for octets in (data, b'{"payload":"e30","signatures":[{"protected":"' + data):
        try:
            read_claims(octets)
        except ProtocolError:
            continue


def test_a_digest_is_that_of_all_but_index_and_timestamp() -> None:
    value = HandleValue(1, b"URL", b"x", timestamp=5, references=(Reference(b"1/a", 1),))
    same = HandleValue(9, b"URL", b"x", timestamp=7, references=(Reference(b"1/a", 1),))
    assert digest_value(value) == digest_value(same)
    assert digest_values([value, same]) == ((1, digest_value(value)), (9, digest_value(value)))
    for other in (
        HandleValue(1, b"url", b"x", references=value.references),
        HandleValue(1, b"URL", b"y", references=value.references),
        HandleValue(1, b"URL", b"x", 0b1111, references=value.references),
        HandleValue(1, b"URL", b"x", ttl=1, references=value.references),
        HandleValue(1, b"URL", b"x"),
    ):
        assert digest_value(other) != digest_value(value)
    assert digest_value(value, "SHA-1") != digest_value(value)
    with pytest.raises(InvalidValueError, match="not one of"):
        digest_value(value, "MD4")


@pytest.mark.parametrize(
    ("perm", "handle", "covered", "not_covered"),
    [
        ("everything", "", ["1/a", "0.NA/9"], []),
        ("thisHandle", "88.118/x", ["88.118/X"], ["88.118/xy", "0.NA/88.118"]),
        ("thisHandle", "0.NA/88.118", ["0.NA/88.118", "88.118/x"], ["0.NA/88.118.5", "88.118.5/x"]),
        ("handlesUnderThisPrefix", "0.NA/88.118", ["88.118/x"],
         ["0.NA/88.118", "88.1189/x", "88.118.5/x"]),
        ("derivedPrefixes", "0.NA/88.118", ["0.NA/88.118.5", "88.118.5/x", "88.118.5.7/x"],
         ["0.NA/88.118", "88.118/x", "0.NA/88.1185"]),
        ("derivedPrefixes", "88.118/x", [], ["88.118/x.y", "88.118/x"]),
        ("handlesUnderThisPrefix", "88.118/x", [], ["88.118/x", "88.118/x/y"]),
        ("somethingNew", "0.NA/88", [], ["88/x", "0.NA/88"]),
    ],
)  # fmt: skip
def test_a_permission_covers_what_it_says(
    perm: str, handle: str, covered: list[str], not_covered: list[str]
) -> None:
    grant = Grant(perm, handle.encode())
    assert all(grant.covers(each.encode()) for each in covered)
    assert not any(grant.covers(each.encode()) for each in not_covered)


def test_identities_are_the_same_whatever_the_case() -> None:
    assert same_identity("300:0.na/88.118", "300:0.NA/88.118")
    assert not same_identity("300:0.NA/88.118", "301:0.NA/88.118")
    assert not same_identity("0.NA/88", "300:0.NA/88")
    assert same_identity("x", "x")
    assert Claims(ROOT, "300:0.0/0.0").is_self_issued
    assert not Claims(ROOT, "0.0/0.0").is_self_issued
    assert Claims(ROOT, "a:b/c").subject_handle == b"a:b/c"
