"""Tokens: the vectors of RFC 7515 appendices A.2 and A.3, damage, and keys that do not fit."""

import base64
import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import DecodeError, InvalidValueError, ProtocolError, SecurityError
from protocol.jws import (
    TOKEN_OCTETS_MAX,
    JwsHeader,
    SigningKey,
    VerifyingKey,
    find_algorithm,
    peek,
    sign,
    verify,
)
from protocol.key_files import PrivateKey, decode_private_key
from protocol.types.hs_pubkey import DhPublicKey
from tests.protocol.recorded import octets_of


def text_of(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def number_of(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


# RFC 7515 appendix A: the payload of all its examples.
PAYLOAD = b'{"iss":"joe",\r\n "exp":1300819380,\r\n "http://example.com/is_root":true}'
PAYLOAD_TEXT = (
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
)
A2_MODULUS = (
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4"
    "d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5re"
    "xMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxX"
    "FvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
)
A2_SIGNATURE = (
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5"
    "jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb"
    "1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QO"
    "YEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
)
A3_X = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
A3_Y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
A3_D = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"
A3_SIGNATURE = (
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
A2_TOKEN = f"eyJhbGciOiJSUzI1NiJ9.{PAYLOAD_TEXT}.{A2_SIGNATURE}"
A3_TOKEN = f"eyJhbGciOiJFUzI1NiJ9.{PAYLOAD_TEXT}.{A3_SIGNATURE}"
A2_KEY = rsa.RSAPublicNumbers(65_537, number_of(A2_MODULUS)).public_key()
A3_KEY = ec.EllipticCurvePrivateNumbers(
    number_of(A3_D),
    ec.EllipticCurvePublicNumbers(number_of(A3_X), number_of(A3_Y), ec.SECP256R1()),
).private_key()

RSA_KEY = decode_private_key(octets_of("admpriv.bin"))
TOKENS: list[tuple[str, VerifyingKey]] = [
    (A2_TOKEN, A2_KEY),
    (A3_TOKEN, A3_KEY.public_key()),
    (sign(b"", RSA_KEY, key_id="empty"), RSA_KEY.public_key()),
    (sign(b"\0\xff" * 20, A3_KEY, key_id="标识"), A3_KEY.public_key()),
]


def make_token(header: bytes, payload: bytes = b"{}", signature: bytes = b"x") -> str:
    return ".".join(map(text_of, (header, payload, signature)))


@pytest.mark.parametrize(
    ("token", "key", "algorithm"),
    [(A2_TOKEN, A2_KEY, "RS256"), (A3_TOKEN, A3_KEY.public_key(), "ES256")],
    ids=["A.2", "A.3"],
)
def test_the_vectors_of_the_rfc(token: str, key: VerifyingKey, algorithm: str) -> None:
    assert verify(token, key) == PAYLOAD
    assert peek(token) == (JwsHeader(algorithm, ""), PAYLOAD)


@pytest.mark.parametrize("key", [RSA_KEY, A3_KEY], ids=["RSA", "P-256"])
@given(payload=st.binary(max_size=300), key_id=st.text(st.characters(exclude_categories=["Cs"])))
def test_there_and_back(key: SigningKey, payload: bytes, key_id: str) -> None:
    token = sign(payload, key, key_id=key_id)
    assert verify(token, key.public_key()) == payload
    assert peek(token) == (JwsHeader(find_algorithm(key), key_id), payload)


def test_the_header_has_algorithm_and_key_id() -> None:
    head, payload, signature = sign(PAYLOAD, RSA_KEY, key_id="k").split(".")
    assert base64.urlsafe_b64decode(head + "==") == b'{"alg":"RS256","kid":"k"}'
    assert payload == PAYLOAD_TEXT
    assert "=" not in head + payload + signature


@given(st.sampled_from(TOKENS), st.data())
def test_every_changed_octet_is_refused(
    token: tuple[str, VerifyingKey], data: st.DataObject
) -> None:
    text, key = token
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(max_codepoint=255).filter(lambda one: one != text[place]))
    with pytest.raises(ProtocolError):
        verify(text[:place] + other + text[place + 1 :], key)


@given(st.sampled_from(TOKENS), st.data())
def test_every_truncation_and_addition_is_refused(
    token: tuple[str, VerifyingKey], data: st.DataObject
) -> None:
    text, key = token
    cut = data.draw(st.integers(0, len(text) - 1))
    more = data.draw(st.text(st.sampled_from("A=.\n -_+/é"), min_size=1, max_size=4))
    for wrong in (text[:cut], text + more, more + text, text[:cut] + more + text[cut:]):
        with pytest.raises(ProtocolError):
            verify(wrong, key)


@given(st.text(max_size=200))
def test_whatever_comes_in(text: str) -> None:
    with pytest.raises(DecodeError):
        verify(text, A2_KEY)


@pytest.mark.parametrize(("token", "key"), TOKENS)
def test_the_unused_bits_of_the_last_character(token: str, key: VerifyingKey) -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for letter in set(letters) - {token[-1]}:
        with pytest.raises(ProtocolError):
            verify(token[:-1] + letter, key)


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "ES256", "RS512", "PS256", ""])
def test_the_key_decides_the_algorithm(algorithm: str, rsa_key: RSAPrivateKey) -> None:
    good = sign(b"{}", rsa_key, key_id="")
    header = json.dumps({"alg": algorithm}).encode()
    for signature in ("", good.split(".")[2]):
        token = ".".join((text_of(header), text_of(b"{}"), signature))
        with pytest.raises(SecurityError, match="has to be RS256"):
            verify(token, rsa_key.public_key())


def test_extensions_are_refused() -> None:
    token = make_token(b'{"alg":"RS256","crit":["b64"],"b64":false}')
    with pytest.raises(SecurityError, match="extensions"):
        verify(token, A2_KEY)


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("", "3 parts with dots between them, this has 1"),
        ("a.b", "this has 2"),
        ("a.b.c.d", "this has 4"),
        (f"{A2_TOKEN}=", "signature is not base64url in its one spelling"),
        (f"{A2_TOKEN}AAA", "signature is not base64url"),
        ("é.e30.e30", "header is not base64url"),
        ("..", "header cannot be read"),
        (make_token(b"[]"), "header cannot be read"),
        (make_token(b"{}"), "`alg`"),
        (make_token(b'{"alg":1}'), "alg"),
        (make_token(b'{"alg":"\xff"}'), "header cannot be read"),
        (make_token(b'{"alg":"RS256","x":' + b"[" * 12_000), "header cannot be read"),
        ("a" * (TOKEN_OCTETS_MAX + 1), "at most 16384 octets, this has 16385"),
    ],
)
def test_what_is_not_a_token(token: str, words: str) -> None:
    for read in (peek, lambda text: verify(text, A2_KEY)):
        with pytest.raises(DecodeError, match=words):
            read(token)


def test_a_token_too_long_is_not_made() -> None:
    with pytest.raises(InvalidValueError, match="at most 16384"):
        sign(bytes(TOKEN_OCTETS_MAX), RSA_KEY, key_id="")
    with pytest.raises(InvalidValueError, match="at most 16384"):
        sign(b"", RSA_KEY, key_id="k" * TOKEN_OCTETS_MAX)


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), b"\xff" * 64, bytes(65)])
def test_es256_signatures_of_no_form(signature: bytes) -> None:
    token = make_token(b'{"alg":"ES256"}', signature=signature)
    with pytest.raises(SecurityError, match="does not hold"):
        verify(token, A3_KEY.public_key())


def test_another_key(rsa_key: RSAPrivateKey) -> None:
    with pytest.raises(SecurityError, match="does not hold"):
        verify(A2_TOKEN, rsa_key.public_key())
    with pytest.raises(SecurityError, match="has to be ES256"):
        verify(A2_TOKEN, A3_KEY.public_key())


@pytest.mark.parametrize(
    ("make_key", "words"),
    [
        (lambda dsa: dsa.public_key(), "DSA keys sign no tokens"),
        (lambda dsa: DhPublicKey(5, 23, 2), "DH keys sign no tokens"),
        (lambda dsa: ec.generate_private_key(ec.SECP384R1()).public_key(), "secp384r1"),
    ],
    ids=["DSA", "DH", "P-384"],
)
def test_keys_without_an_algorithm(
    make_key: Callable[[PrivateKey], VerifyingKey], words: str, dsa_key: PrivateKey
) -> None:
    with pytest.raises(SecurityError, match=words):
        verify(A2_TOKEN, make_key(dsa_key))


def test_a_dsa_key_signs_nothing(dsa_key: PrivateKey) -> None:
    with pytest.raises(SecurityError, match="DSA keys sign no tokens"):
        sign(b"", dsa_key, key_id="")
