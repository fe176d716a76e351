"""Whether a record's signatures hold: the chain from HS_SIGNATURE over HS_CERTs to a root key.

    HS_SIGNATURE   iss A ──> HS_CERT   sub A, iss B ──> ... ──> HS_CERT   sub R, iss R
    signed by A's key        A's key, what A may sign           the root: its key is one trusted
                             signed by B's key

A certificate is where the chain that was met first says, an entry for each step; when that is used
up, where the chain of the last one says; else at the issuer's handle. Of several there about the
issuer it is the one issued last. Every link is looked at, and all that is wrong with it is said;
fetching is the caller's, time an argument.

What holds is what Handle.Net 9 lets hold. Permissions are asked for where values are signed: each
certificate on the way has to cover the handle. A certificate that is looked at by itself has to
lead to a root that is trusted, no more: over whom it may be used, a signature shows.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from protocol.claims import (
    CHAIN_MAX,
    HS_CERT,
    HS_SIGNATURE,
    TRUST_ROOT,
    TRUST_TYPES,
    Claims,
    digest_value,
    read_claims,
    reference_text,
    same_identity,
    verify_token,
)
from protocol.errors import ProtocolError
from protocol.handle import fold_handle, to_text
from protocol.types.hs_pubkey import decode_public_key, encode_public_key
from protocol.value import HandleValue, Reference

# Returns a handle's values; raises LookupError with words when there are none to be had.
Fetch = Callable[[bytes], Sequence[HandleValue]]


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key that a root may have, HS_PUBKEY data; of a root at one handle, or at any."""

    data: bytes
    handle: bytes | None = None


@dataclass
class Link:
    """One step of the way: what was looked at, what was found good, and what is wrong."""

    name: str
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass
class Checked:
    """One HS_SIGNATURE (or HS_CERT) of a record, and the way from it to the root."""

    index: int
    type: bytes
    links: list[Link] = field(default_factory=list)
    verified: tuple[int, ...] = ()
    """Indexes of values whose digests are those that were signed."""

    @property
    def is_good(self) -> bool:
        """Say whether nothing is wrong anywhere on the way."""
        return bool(self.links) and not any(link.problems for link in self.links)


@dataclass(frozen=True, slots=True)
class _Signed:
    """A token with its claims, and where it stands."""

    place: str
    token: str
    claims: Claims


class ChainChecker:
    """Checks signatures and certificates.

    Args:
        fetch: returns the values of handles.
        trusted: the keys that a root may have.
        now_s: the time it has to hold at.
    """

    def __init__(self, fetch: Fetch, trusted: Collection[TrustedKey], now_s: int) -> None:
        self._fetch = fetch
        self._trusted = [(_same_form(each.data), each.handle) for each in trusted]
        self._now_s = now_s
        self._known: dict[bytes, Sequence[HandleValue]] = {}

    def check(
        self, handle: bytes, values: Sequence[HandleValue], indexes: Collection[int] = ()
    ) -> Iterator[Checked]:
        """Yield what the signatures and certificates of a record are worth.

        Args:
            handle: whose record it is.
            values: all of it that can be read.
            indexes: only these; empty: all.
        """
        self._known[fold_handle(handle)] = values
        for value in values:
            if value.type in TRUST_TYPES and (not indexes or value.index in indexes):
                yield self._check_value(handle, values, value)

    def _check_value(
        self, handle: bytes, values: Sequence[HandleValue], value: HandleValue
    ) -> Checked:
        checked = Checked(value.index, value.type)
        place = f"{to_text(value.type)} {reference_text(Reference(handle, value.index))}"
        link = Link(place)
        checked.links.append(link)
        try:
            token, claims = read_claims(value.data)
        except ProtocolError as error:
            link.problems.append(str(error))
            return checked
        link.notes.append(f"by {reference_text(claims.issuer)}, about {claims.subject}")
        self._check_subject(handle, value.type, claims, link)
        if value.type == HS_SIGNATURE:
            checked.verified = _check_digests(values, claims, link)
        covered = handle if value.type == HS_SIGNATURE else None
        self._walk(_Signed(place, token, claims), covered, checked)
        return checked

    def _check_subject(self, handle: bytes, type_: bytes, claims: Claims, link: Link) -> None:
        if type_ == HS_CERT:
            if claims.public_key is None:
                link.problems.append("the certificate names no key (publicKey)")
        elif fold_handle(claims.subject.encode()) != fold_handle(handle):
            link.problems.append(f"it is about {claims.subject}, not about {to_text(handle)}")

    def _walk(self, signed: _Signed, handle: bytes | None, checked: Checked) -> None:
        """Follow the chain to its end, a link for each certificate; `handle` has to be covered."""
        link = checked.links[0]
        rest: tuple[Reference, ...] = ()
        for _ in range(CHAIN_MAX):
            claims = signed.claims
            link.problems += self._time_problems(claims, link)
            if claims.is_self_issued and claims.public_key is not None:
                self._check_root(signed, claims.public_key, link)
                return
            rest = rest or claims.chain
            certificate = self._find_certificate(claims.issuer, rest[:1], link)
            if certificate is None:
                return
            rest = rest[1:]
            following = Link(certificate.place)
            checked.links.append(following)
            self._check_signed(signed, certificate, link, following)
            if handle is not None:
                self._check_authorized(certificate, handle, link)
            signed, link = certificate, following
        link.problems.append(f"the chain has over {CHAIN_MAX} links")

    def _check_signed(
        self, signed: _Signed, certificate: _Signed, link: Link, following: Link
    ) -> None:
        """Check that the certificate's subject signed this."""
        claims = certificate.claims
        by = f"by {reference_text(claims.issuer)}, for {claims.subject}"
        following.notes.append(by)
        assert claims.public_key is not None, "certificates without a key are not found"
        _check_signature(signed, claims.public_key, link)

    def _check_authorized(self, certificate: _Signed, handle: bytes, link: Link) -> None:
        """Check that a certificate covers the handle that was begun with.

        Each on the way has to: nobody can grant more than was granted to him.
        """
        claims = certificate.claims
        if not any(grant.covers(handle) for grant in claims.grants or ()):
            granted = ", ".join(
                f"{grant.perm} {to_text(grant.handle)}".strip() for grant in claims.grants or ()
            )
            link.problems.append(
                f"{claims.subject} may not sign {to_text(handle)}: "
                f"its certificate allows {granted or 'nothing'}"
            )

    def _check_root(self, signed: _Signed, key: bytes, link: Link) -> None:
        _check_signature(signed, key, link)
        own, subject = _same_form(key), fold_handle(signed.claims.subject_handle)
        places = [place for data, place in self._trusted if data == own]
        if not places:
            link.problems.append("the chain ends here, and this key is none of those trusted")
        elif None in places or subject in places:
            link.notes.append("the root, and its key is one of those trusted")
        else:
            link.problems.append(f"this key is trusted as that of {to_text(places[0] or b'')} only")
        if subject != TRUST_ROOT:
            link.notes.append("clients of Handle.Net believe a root at 0.0/0.0 only")

    def _find_certificate(
        self, issuer: Reference, named: Sequence[Reference], link: Link
    ) -> _Signed | None:
        """Return the certificate of an issuer, or say at `link` why there is none."""
        place_of = named[0] if named else Reference(issuer.handle, 0)
        handle = place_of.handle
        try:
            values = self._values_of(handle)
        except LookupError as error:
            link.problems.append(f"the issuer's certificate is not to be had: {error}")
            return None
        wrong = []
        found: list[_Signed] = []
        for value in values:
            if value.index != place_of.index if place_of.index else value.type != HS_CERT:
                continue
            place = f"{to_text(value.type)} {reference_text(Reference(handle, value.index))}"
            try:
                token, claims = read_claims(value.data)
            except ProtocolError as error:
                wrong.append(f"{place}: {error}")
                continue
            if not same_identity(claims.subject, reference_text(issuer)):
                wrong.append(f"{place} is for {claims.subject}")
            elif claims.public_key is None:
                wrong.append(f"{place} names no key")
            else:
                found.append(_Signed(place, token, claims))
        if found:
            return max(found, key=lambda each: -1 if (at := each.claims.issued_s) is None else at)
        others = f" ({'; '.join(wrong)})" if wrong else ""
        where = reference_text(place_of)
        words = f"there is no certificate for {reference_text(issuer)} at {where}{others}"
        link.problems.append(words)
        return None

    def _values_of(self, handle: bytes) -> Sequence[HandleValue]:
        key = fold_handle(handle)
        if key not in self._known:
            self._known[key] = self._fetch(handle)
        return self._known[key]

    def _time_problems(self, claims: Claims, link: Link) -> Iterator[str]:
        if claims.expires_s is None:
            link.notes.append("without an end (exp)")
        elif claims.expires_s < self._now_s:
            yield f"it expired at {time_text(claims.expires_s)}"
        else:
            link.notes.append(f"until {time_text(claims.expires_s)}")
        if claims.not_before_s is not None and claims.not_before_s > self._now_s:
            yield f"it is not valid before {time_text(claims.not_before_s)}"


def find_unsigned(values: Sequence[HandleValue], found: Sequence[Checked]) -> list[int]:
    """Return the indexes of values that anybody may read and that no good signature covers.

    Clients of Handle.Net hold a record for good only when there are none. A signature itself needs
    none.
    """
    covered = {index for each in found if each.is_good for index in each.verified}
    return sorted(
        value.index
        for value in values
        if value.is_public and value.type != HS_SIGNATURE and value.index not in covered
    )


def _same_form(key: bytes) -> bytes:
    """Return HS_PUBKEY data as this project writes it, for comparing."""
    return encode_public_key(decode_public_key(key))


def _check_signature(signed: _Signed, key: bytes, link: Link) -> None:
    try:
        verify_token(signed.token, decode_public_key(key))
    except ProtocolError as error:
        link.problems.append(f"its signature: {error}")
    else:
        link.notes.append("its signature holds")


def _check_digests(values: Sequence[HandleValue], claims: Claims, link: Link) -> tuple[int, ...]:
    """Compare the values of a record with the digests that were signed."""
    if claims.digests is None:
        link.problems.append("it signs no values (digests)")
        return ()
    signed = dict(claims.digests)
    verified = []
    for value in values:
        if value.index not in signed:
            continue
        try:
            good = digest_value(value, claims.digest_algorithm) == signed[value.index]
        except ProtocolError as error:
            link.problems.append(str(error))
            return ()
        if good:
            verified.append(value.index)
        else:
            words = f"the value at index {value.index} is not the one that was signed"
            link.problems.append(f"{words} (its digest differs)")
    present = {value.index for value in values}
    missing = sorted(set(signed) - present)
    if missing:
        names = ", ".join(map(str, missing))
        link.problems.append(f"signed, but not there or not to be read: index {names}")
    unsigned = sorted(
        value.index for value in values if value.index not in signed and value.type != HS_SIGNATURE
    )
    if unsigned:
        link.notes.append(f"not signed: index {', '.join(map(str, unsigned))}")
    if verified:
        link.notes.append(f"as signed: index {', '.join(map(str, verified))}")
    return tuple(verified)


def time_text(seconds: int) -> str:
    """Return seconds since 1970 as people read them; far beyond any calendar as a number."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return str(seconds)
