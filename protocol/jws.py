"""JSON Web Signatures in their compact form (RFC 7515 §3.1), as receipts carry them.

     token    BASE64URL(header) "." BASE64URL(payload) "." BASE64URL(signature)
     header   {"alg":"RS256","kid":"..."}
     signed   the octets of the token before its second "."

     key              alg      signature (RFC 7518 §3.1)
     RSA              RS256    PKCS#1 v1.5 with SHA-256
     EC, P-256        ES256    32 octets r, 32 octets s, with SHA-256
     others           none: refused

Handle values (`for_values`) are signed by DSA keys too, and read in more than one algorithm, with
names of Handle.Net's own:

     RSA              RS256, RS384, RS512
     DSA              DS160, which is SHA-1, where q has 160 bits; DS256, DS384, DS512

Handle values that are tokens (`claims`) come in the JSON form of RFC 7515 §7.2.1 too, with one
signature; `to_compact` makes one of the other.

The key decides the algorithm; a header that names another one, "none" among them, is refused.
A token has one spelling only: padding, line breaks and stray bits in the last character are
refused, so no octet of a token can change unnoticed. Nothing here keeps state: every function may
run in a thread.
"""

import base64
import binascii
from dataclasses import dataclass

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPrivateKey, DSAPublicKey
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512

from protocol.errors import DecodeError, InvalidValueError, SecurityError
from protocol.key_files import PrivateKey
from protocol.types.hs_pubkey import PublicKey

# Key files hold no EC keys; verifiers elsewhere and later nodes may.
SigningKey = PrivateKey | EllipticCurvePrivateKey
VerifyingKey = PublicKey | EllipticCurvePublicKey

RS256 = "RS256"
ES256 = "ES256"
DS160 = "DS160"
DS256 = "DS256"
_DS160_ORDER_BITS = 160  # a longer q wants a longer hash; Java refuses SHA-1 with it

_Hash = SHA1 | SHA256 | SHA384 | SHA512
_HASHES: dict[str, type[_Hash]] = {
    RS256: SHA256,
    "RS384": SHA384,
    "RS512": SHA512,
    DS160: SHA1,
    DS256: SHA256,
    "DS384": SHA384,
    "DS512": SHA512,
}

# A payload of 8 KiB, a signature by the longest key computed with (1 KiB), a third more for
# base64, and room for the header: everything fits into one header field or form field elsewhere.
TOKEN_OCTETS_MAX = 16_384
_ES256_NUMBER_OCTETS = 32


@dataclass(frozen=True, slots=True)
class JwsHeader:
    """What a token says of itself; `key_id` is empty where it does not name its key."""

    algorithm: str
    key_id: str


def sign(
    payload: bytes,
    key: SigningKey,
    *,
    key_id: str = "",
    for_values: bool = False,
    octets_max: int = TOKEN_OCTETS_MAX,
) -> str:
    """Return a token of `payload` signed with `key`.

    Raises:
        SecurityError: no algorithm fits the key.
        InvalidValueError: the token would have more than `octets_max` octets.
    """
    algorithm = find_algorithm(key, for_values=for_values)
    named = {"alg": algorithm, "kid": key_id} if key_id else {"alg": algorithm}
    header = msgspec.json.encode(named)
    signed = f"{_to_base64(header)}.{_to_base64(payload)}"
    token = f"{signed}.{_to_base64(_make_signature(key, signed.encode(), algorithm))}"
    if len(token) > octets_max:
        raise InvalidValueError(
            f"the signed token has {len(token)} octets, at most {octets_max} are allowed"
        )
    return token


def verify(
    token: str,
    key: VerifyingKey,
    *,
    for_values: bool = False,
    octets_max: int = TOKEN_OCTETS_MAX,
) -> bytes:
    """Return the payload of a token that `key` signed.

    Raises:
        DecodeError: this is not a token.
        SecurityError: no algorithm fits the key, the token names another one or asks for an
            extension, or the signature does not hold.
    """
    header, payload, signed, signature = _take_apart(token, octets_max)
    algorithm = find_algorithm(key, for_values=for_values)
    others = _HASHES if for_values else ()
    if header.alg != algorithm and not (header.alg in others and header.alg[:2] == algorithm[:2]):
        raise SecurityError(
            f"the token is signed with {header.alg[:32]!r}, with this key it has to be {algorithm}"
        )
    if header.crit is not msgspec.UNSET:  # RFC 7515 §4.1.11
        raise SecurityError("the token's header asks for extensions, none are known here")
    if not _signature_holds(key, signed, signature, header.alg):
        raise SecurityError("the token's signature does not hold under this key")
    return payload


def peek(token: str, octets_max: int = TOKEN_OCTETS_MAX) -> tuple[JwsHeader, bytes]:
    """Return header and payload of a token, nothing of which is proved. Raises: DecodeError."""
    header, payload, _, _ = _take_apart(token, octets_max)
    return JwsHeader(header.alg, header.kid), payload


def to_compact(text: str) -> str:
    """Return the compact form of a token in either form. Raises: DecodeError."""
    if not text.lstrip().startswith("{"):
        return text.strip()
    try:
        form = msgspec.json.decode(text, type=_JsonForm)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise DecodeError(f"the token's JSON form cannot be read: {error}") from None
    if len(form.signatures) != 1:
        raise DecodeError(f"the token has {len(form.signatures)} signatures, one is expected")
    return f"{form.signatures[0].protected}.{form.payload}.{form.signatures[0].signature}"


def to_json_form(token: str) -> str:
    """Return the JSON form of a compact token. Raises: DecodeError."""
    parts = token.split(".")
    if len(parts) != 3:
        raise DecodeError(f"a token has 3 parts with dots between them, this has {len(parts)}")
    form = _JsonForm(parts[1], [_JsonSignature(parts[0], parts[2])])
    return msgspec.json.encode(form).decode()


def find_algorithm(key: SigningKey | VerifyingKey, *, for_values: bool = False) -> str:
    """Return the algorithm that a key signs with.

    Args:
        key: private or public.
        for_values: let DSA keys sign too: handle values are, receipts never.

    Raises:
        SecurityError: none does.
    """
    # Deviation: RFC 7518 §3.3 asks for RSA keys of 2,048 bits. Nodes that came from Handle.Net
    # may have shorter ones, and a receipt then proves as much as everything else they sign.
    if isinstance(key, RSAPrivateKey | RSAPublicKey):
        return RS256
    if isinstance(key, EllipticCurvePrivateKey | EllipticCurvePublicKey):
        if isinstance(key.curve, SECP256R1):
            return ES256
        raise SecurityError(f"EC keys sign tokens on curve secp256r1, this one is {key.curve.name}")
    if for_values and isinstance(key, DSAPrivateKey | DSAPublicKey):
        order = key.parameters().parameter_numbers().q
        return DS160 if order.bit_length() <= _DS160_ORDER_BITS else DS256
    kind = type(key).__name__.removesuffix("PublicKey").removesuffix("PrivateKey").upper()
    raise SecurityError(f"{kind} keys sign no tokens: it takes an RSA key or an EC key on P-256")


class _Header(msgspec.Struct):
    alg: str
    kid: str = ""
    crit: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _JsonSignature(msgspec.Struct):
    protected: str
    signature: str


class _JsonForm(msgspec.Struct):
    payload: str
    signatures: list[_JsonSignature]


def _take_apart(token: str, octets_max: int) -> tuple[_Header, bytes, bytes, bytes]:
    """Return header, payload, the octets signed, and the signature. Raises: DecodeError."""
    if len(token) > octets_max:
        raise DecodeError(f"a token has at most {octets_max} octets, this has {len(token)}")
    parts = token.split(".")
    if len(parts) != 3:
        raise DecodeError(f"a token has 3 parts with dots between them, this has {len(parts)}")
    names = ("header", "payload", "signature")
    header, payload, signature = map(_from_base64, parts, names)
    return _read_header(header), payload, f"{parts[0]}.{parts[1]}".encode(), signature


def _read_header(octets: bytes) -> _Header:
    try:
        return msgspec.json.decode(octets, type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"the token's header cannot be read: {error}") from None


def _make_signature(key: SigningKey, octets: bytes, algorithm: str) -> bytes:
    if isinstance(key, RSAPrivateKey):
        return key.sign(octets, PKCS1v15(), _HASHES[algorithm]())
    if isinstance(key, DSAPrivateKey):
        return key.sign(octets, _HASHES[algorithm]())
    assert isinstance(key, EllipticCurvePrivateKey), "find_algorithm refuses the others"
    numbers = decode_dss_signature(key.sign(octets, ECDSA(SHA256())))
    return b"".join(number.to_bytes(_ES256_NUMBER_OCTETS, "big") for number in numbers)


def _signature_holds(key: VerifyingKey, octets: bytes, signature: bytes, algorithm: str) -> bool:
    try:
        if isinstance(key, RSAPublicKey):
            key.verify(signature, octets, PKCS1v15(), _HASHES[algorithm]())
            return True
        if isinstance(key, DSAPublicKey):
            key.verify(signature, octets, _HASHES[algorithm]())
            return True
        assert isinstance(key, EllipticCurvePublicKey), "find_algorithm refuses the others"
        if len(signature) != 2 * _ES256_NUMBER_OCTETS:
            return False
        r = int.from_bytes(signature[:_ES256_NUMBER_OCTETS], "big")
        s = int.from_bytes(signature[_ES256_NUMBER_OCTETS:], "big")
        key.verify(encode_dss_signature(r, s), octets, ECDSA(SHA256()))
        return True
    except (InvalidSignature, UnsupportedAlgorithm):
        return False


def _to_base64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _from_base64(text: str, name: str) -> bytes:
    try:
        octets = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise DecodeError(f"the token's {name} is not base64url: {error}") from None
    if _to_base64(octets) != text:  # the decoder skips what it does not know
        raise DecodeError(f"the token's {name} is not base64url in its one spelling")
    return octets
