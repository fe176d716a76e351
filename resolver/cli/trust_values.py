"""Making HS_SIGNATURE and HS_CERT values out of what the command line says."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from protocol import jws
from protocol.claims import (
    DIGEST_ALGORITHM,
    HS_SIGNATURE,
    Claims,
    Grant,
    Perm,
    read_claims,
    reference_text,
    sign_claims,
)
from protocol.errors import ProtocolError
from protocol.handle import to_text
from protocol.key_files import PrivateKey
from protocol.value import HandleValue, Reference
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.value_texts import parse_identity

DAY_S = 86_400
FIRST_INDEX = 400  # where signatures and certificates usually stand


def choose_values(
    values: Sequence[HandleValue], indexes: Sequence[int], handle: str
) -> list[HandleValue]:
    """Return the values at indexes, or all but signatures. Raises: CliError, one is missing."""
    present = {value.index for value in values}
    missing = [each for each in indexes if each not in present]
    if missing:
        words = f"{handle} has no value at index {', '.join(map(str, missing))} that can be read"
        raise CliError(words, "resolve it to see what it has", ExitCode.REFUSED)
    chosen = [
        value
        for value in values
        if (value.index in indexes if indexes else value.type != HS_SIGNATURE)
    ]
    if not chosen:
        raise CliError(f"{handle} has no values to sign", "", ExitCode.REFUSED)
    return chosen


def make_claims(
    issuer: Reference,
    subject: str,
    chain: tuple[Reference, ...],
    days: int,
    begin: str,
    *,
    digests: tuple[tuple[int, bytes], ...] | None = None,
    public_key: bytes | None = None,
    grants: tuple[Grant, ...] | None = None,
) -> Claims:
    """Return claims that hold for `days` from `begin` on, a time as text, or from now on."""
    now_s = int(time.time())
    begin_s = read_time(begin, "--from") if begin else now_s
    return Claims(
        issuer,
        subject,
        expires_s=begin_s + days * DAY_S,
        not_before_s=begin_s,
        issued_s=now_s,
        chain=chain,
        digest_algorithm=DIGEST_ALGORITHM if digests is not None else "",
        digests=digests,
        public_key=public_key,
        grants=grants,
    )


def make_value(
    type_: bytes,
    claims: Claims,
    key: PrivateKey,
    values: Sequence[HandleValue],
    index: int,
    *,
    json_form: bool,
) -> HandleValue:
    """Return the HS_SIGNATURE or HS_CERT that claims make, signed.

    Args:
        type_: which of the two.
        claims: what is to be signed.
        key: the issuer's.
        values: those that the handle has.
        index: where it is to stand; 0: where the same issuer's stands, else the next free one.
        json_form: write the token in its JSON form.

    Raises:
        CliError: at that index stands a value of another type.
    """
    token = sign_claims(claims, key)
    text = jws.to_json_form(token) if json_form else token
    index = index or _own_index(values, type_, claims)
    there = next((value for value in values if value.index == index), None)
    if there is not None and there.type != type_:
        words = f"at index {index} stands a {to_text(there.type)} value"
        raise CliError(words, "choose another --index", ExitCode.USAGE)
    return HandleValue(index, type_, text.encode())


def _own_index(values: Sequence[HandleValue], type_: bytes, claims: Claims) -> int:
    for value in values:
        if value.type == type_:
            try:
                _, other = read_claims(value.data)
            except ProtocolError:
                continue
            if (other.issuer, other.subject) == (claims.issuer, claims.subject):
                return value.index
    taken = {value.index for value in values}
    index = FIRST_INDEX
    while index in taken:
        index += 1
    return index


def read_links(texts: Sequence[str] | None) -> tuple[Reference, ...]:
    """Return the references that a chain was given as. Raises: CliError."""
    return tuple(map(parse_identity, texts or ()))


def read_grant(text: str) -> Grant:
    """Return the permission written as `everything` or `PERM:HANDLE`. Raises: CliError."""
    perm, _, handle = text.partition(":")
    if perm not in set(Perm) or bool(handle) == (perm == Perm.EVERYTHING):
        raise CliError(
            f"--perm {text!r} is no permission",
            "everything; thisHandle:HANDLE; derivedPrefixes:0.NA/PREFIX; "
            "handlesUnderThisPrefix:0.NA/PREFIX",
            ExitCode.USAGE,
        )
    return Grant(perm, handle.encode())


def key_at(values: Sequence[HandleValue], reference: Reference) -> bytes:
    """Return the HS_PUBKEY data at an index of the subject's handle. Raises: CliError."""
    for value in values:
        if value.index == reference.index and value.type == b"HS_PUBKEY":
            return value.data
    words = f"there is no HS_PUBKEY at {reference_text(reference)}"
    raise CliError(words, "give the key with --public-key", ExitCode.REFUSED)


def read_time(text: str, option: str) -> int:
    """Return a time in seconds since 1970; without a zone it is UTC. Raises: CliError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        words = f"{option} {text!r} is not a time"
        raise CliError(words, "write it as 2026-11-21T08:00:00Z", ExitCode.USAGE) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
