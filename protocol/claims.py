"""What HS_CERT and HS_SIGNATURE values claim (wire-notes §15): signed tokens about handles.

    iss, sub     who claims, about whom: "index:handle", of a signature the handle alone
    exp, nbf, iat   seconds since 1970: until when, from when, and when it was said
    chain        where the certificates stand that lead from the issuer to the root:
                 "index:handle", or a handle alone for the latest there about who is asked for
    digests      HS_SIGNATURE: {"alg": "SHA-256", "digests": [{"index": 1, "digest": base64}]}, of
                 encoded values without their first 8 octets (index and timestamp)
    publicKey    HS_CERT: the subject's key, as JSON Web Key (RSA or DSA)
    perms        HS_CERT: what the subject may sign: [{"handle", "perm"}]
    content      any text

The token is compact or in JSON form (`jws`). All of it as Handle.Net 9 writes and reads it; whether
what is claimed holds is the reader's to find out: nothing here is proved.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import msgspec

from protocol import jws
from protocol.errors import DecodeError, InvalidValueError
from protocol.handle import PREFIX_HANDLE_START, fold_handle, split_handle
from protocol.json_types import key_from_json, key_to_json
from protocol.jws import VerifyingKey
from protocol.key_files import PrivateKey
from protocol.value import HandleValue, Reference
from protocol.wire import MESSAGE_OCTETS_MAX

HS_CERT = b"HS_CERT"
HS_SIGNATURE = b"HS_SIGNATURE"
TRUST_TYPES = frozenset({HS_CERT, HS_SIGNATURE})
TRUST_ROOT = b"0.0/0.0"  # where clients of Handle.Net believe a root to be, and nowhere else
CHAIN_MAX = 50  # Handle.Net's bound
DIGEST_ALGORITHM = "SHA-256"
_DIGESTS = {"SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}
_UNDIGESTED_OCTETS = 8
_INDEX_MAX = 2**31 - 1
_INDEX_DIGITS_MAX = 10


class Perm(StrEnum):
    """What a certificate lets its subject sign."""

    EVERYTHING = "everything"
    THIS_HANDLE = "thisHandle"
    DERIVED_PREFIXES = "derivedPrefixes"
    HANDLES_UNDER_THIS_PREFIX = "handlesUnderThisPrefix"


class Grant(NamedTuple):
    """A permission over a handle, mostly a prefix handle; `perm` may be one nobody knows."""

    perm: str
    handle: bytes = b""

    def covers(self, handle: bytes) -> bool:
        """Say whether a handle may be signed. THIS_HANDLE of a prefix handle has those under it
        too, as existing clients have it.
        """
        if self.perm == Perm.EVERYTHING:
            return True
        own, asked = fold_handle(self.handle), fold_handle(handle)
        prefix = PREFIX_HANDLE_START + split_handle(asked)[0]
        is_under = own.startswith(PREFIX_HANDLE_START) and prefix == own
        if self.perm == Perm.THIS_HANDLE:
            return own == asked or is_under
        if self.perm == Perm.HANDLES_UNDER_THIS_PREFIX:
            return is_under
        derived = own + b"."
        return (
            self.perm == Perm.DERIVED_PREFIXES
            and own.startswith(PREFIX_HANDLE_START)
            and (asked.startswith(derived) or prefix.startswith(derived))
        )


@dataclass(frozen=True, slots=True)
class Claims:
    """A set of claims. `public_key` is HS_PUBKEY data; None where the set has no such claim."""

    issuer: Reference
    subject: str
    expires_s: int | None = None
    not_before_s: int | None = None
    issued_s: int | None = None
    chain: tuple[Reference, ...] = ()
    digest_algorithm: str = ""
    digests: tuple[tuple[int, bytes], ...] | None = None
    public_key: bytes | None = field(default=None, repr=False)
    grants: tuple[Grant, ...] | None = None
    content: str | None = None

    @property
    def subject_handle(self) -> bytes:
        """The handle it is about, without the index that may stand before it."""
        index, colon, handle = self.subject.partition(":")
        return (handle if colon and index.isdigit() else self.subject).encode()

    @property
    def is_self_issued(self) -> bool:
        """Say whether issuer and subject are the same identity, as of a root."""
        return same_identity(reference_text(self.issuer), self.subject)

    def encode(self) -> bytes:
        """Return the claims as JSON."""
        form: dict[str, Any] = {}
        if self.digests is not None:
            digests = [
                {"index": index, "digest": base64.b64encode(digest).decode()}
                for index, digest in self.digests
            ]
            form["digests"] = {"alg": self.digest_algorithm, "digests": digests}
        if self.grants is not None:
            form["perms"] = [_grant_to_json(grant) for grant in self.grants]
        if self.chain:
            form["chain"] = [reference_text(each) for each in self.chain]
        if self.public_key is not None:
            form["publicKey"] = key_to_json(self.public_key)
        if self.content is not None:
            form["content"] = self.content
        form["iss"], form["sub"] = reference_text(self.issuer), self.subject
        times = (("exp", self.expires_s), ("nbf", self.not_before_s), ("iat", self.issued_s))
        form |= {name: time_s for name, time_s in times if time_s is not None}
        return msgspec.json.encode(form)


def _grant_to_json(grant: Grant) -> dict[str, str]:
    form = {"perm": str(grant.perm)}
    return {"handle": grant.handle.decode(), **form} if grant.handle else form


class _Digest(msgspec.Struct):
    index: int
    digest: str


class _Digests(msgspec.Struct):
    alg: str
    digests: list[_Digest]


class _Grant(msgspec.Struct):
    perm: str
    handle: str | None = None


_Seconds = Annotated[int, msgspec.Meta(ge=0, le=2**53)]  # since 1970; beyond it JSON is not exact


class _Claims(msgspec.Struct, rename="camel"):
    iss: str
    sub: str
    exp: _Seconds | None = None
    nbf: _Seconds | None = None
    iat: _Seconds | None = None
    chain: list[str] | None = None
    digests: _Digests | None = None
    public_key: dict[str, Any] | None = None
    perms: list[_Grant] | None = None
    content: str | None = None


def decode_claims(octets: bytes) -> Claims:
    """Read the JSON of a set of claims.

    Raises:
        DecodeError: not JSON, or a member that is missing or of another type.
        InvalidValueError: a key, digest or reference that is none; over 50 links of a chain.
    """
    try:
        form = msgspec.json.decode(octets, type=_Claims)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise DecodeError(f"the claims cannot be read: {error}") from None
    if len(form.chain or ()) > CHAIN_MAX:
        raise InvalidValueError(f"the chain has {len(form.chain or ())} links, at most {CHAIN_MAX}")
    digests = form.digests
    return Claims(
        issuer=_reference(form.iss, "iss"),
        subject=form.sub,
        expires_s=form.exp,
        not_before_s=form.nbf,
        issued_s=form.iat,
        chain=tuple(_reference(each, "chain") for each in form.chain or ()),
        digest_algorithm=digests.alg if digests is not None else "",
        digests=tuple((each.index, _octets(each.digest)) for each in digests.digests)
        if digests is not None
        else None,
        public_key=key_from_json(form.public_key, "publicKey") if form.public_key else None,
        grants=tuple(Grant(each.perm, (each.handle or "").encode()) for each in form.perms)
        if form.perms is not None
        else None,
        content=form.content,
    )


def _octets(text: str) -> bytes:
    plain = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidValueError(f"the digest {text[:40]!r} is not base64") from None


def _reference(text: str, name: str) -> Reference:
    """Read `index:handle`, or a handle alone: index 0."""
    index, colon, handle = text.partition(":")
    if not (colon and index.isascii() and index.isdigit()):
        index, handle = "0", text
    if not handle or len(index) > _INDEX_DIGITS_MAX or int(index) > _INDEX_MAX:
        raise InvalidValueError(f"{name} is {text[:80]!r}, not index:handle")
    return Reference(handle.encode(), int(index))


def reference_text(reference: Reference) -> str:
    """Return `300:0.NA/88.118`; of index 0 the handle alone."""
    handle = reference.handle.decode("utf-8", "backslashreplace")
    return f"{reference.index}:{handle}" if reference.index else handle


def same_identity(one: str, other: str) -> bool:
    """Say whether two texts name the same: index equal, handles but for the case of letters."""
    index, _, handle = one.partition(":")
    other_index, _, other_handle = other.partition(":")
    if not (handle and other_handle):
        return one == other
    same_handle = fold_handle(handle.encode()) == fold_handle(other_handle.encode())
    return index == other_index and same_handle


def digest_value(value: HandleValue, algorithm: str = DIGEST_ALGORITHM) -> bytes:
    """Return the digest of a value, which index and timestamp have no part in.

    Raises:
        InvalidValueError: the algorithm is not known.
    """
    if algorithm not in _DIGESTS:
        known = ", ".join(_DIGESTS)
        raise InvalidValueError(f"digest algorithm {algorithm[:40]!r} is not one of {known}")
    octets = value.encode()[_UNDIGESTED_OCTETS:]
    return hashlib.new(_DIGESTS[algorithm], octets, usedforsecurity=False).digest()


def digest_values(values: Iterable[HandleValue]) -> tuple[tuple[int, bytes], ...]:
    """Return index and digest of values, for the claims of a signature."""
    return tuple((value.index, digest_value(value)) for value in values)


def sign_claims(claims: Claims, key: PrivateKey) -> str:
    """Return the compact token of claims. Raises: SecurityError, InvalidValueError."""
    return jws.sign(claims.encode(), key, for_values=True, octets_max=MESSAGE_OCTETS_MAX)


def read_claims(data: bytes) -> tuple[str, Claims]:
    """Return the compact token that a value's data are, and what it claims, nothing proved.

    Raises:
        DecodeError: not a token of claims.
        InvalidValueError: a claim that cannot be meant.
    """
    try:
        token = jws.to_compact(data.decode())
    except UnicodeDecodeError:
        raise DecodeError("the value is not a token: it is not UTF-8") from None
    _, payload = jws.peek(token, MESSAGE_OCTETS_MAX)
    return token, decode_claims(payload)


def verify_token(token: str, key: VerifyingKey) -> None:
    """Check a token's signature. Raises: SecurityError, it does not hold; DecodeError."""
    jws.verify(token, key, for_values=True, octets_max=MESSAGE_OCTETS_MAX)
