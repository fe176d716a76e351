"""The digest of a request, as a response repeats it to prove what it answers.

Computed over header and body of the request as received, never envelope or credential. Two forms
on the wire: an id octet and the raw digest (from 2.1 on); or, when the first octet is 0, a `str`
of an MD5, that zero being the top octet of its length (2.0).
"""

import hashlib
from dataclasses import dataclass

from protocol.errors import DecodeError
from protocol.versions import V2_1, V2_7, Version
from protocol.wire import Reader, write_str

MD5, SHA1, SHA256 = 1, 2, 3
DIGEST_NAMES = {MD5: "md5", SHA1: "sha1", SHA256: "sha256"}
DIGEST_OCTETS = {MD5: 16, SHA1: 20, SHA256: 32}
OLD_FORM = 0


@dataclass(frozen=True, slots=True)
class RequestDigest:
    """A digest and the algorithm's id; id 0 is the old form, an MD5 as a `str`."""

    algorithm: int
    digest: bytes

    def encode(self) -> bytes:
        """Return the wire octets of either form."""
        if self.algorithm == OLD_FORM:
            return write_str(self.digest)
        return bytes([self.algorithm]) + self.digest

    def matches(self, covered: bytes) -> bool:
        """Say whether this is the digest of `covered` (header and body of a request)."""
        name = DIGEST_NAMES[self.algorithm or MD5]
        return hashlib.new(name, covered, usedforsecurity=False).digest() == self.digest


def read_digest(reader: Reader) -> RequestDigest:
    """Read a digest of either form.

    Raises:
        DecodeError: an unknown algorithm id, or an old form that is not 16 octets long.
    """
    if reader.octets[reader.position : reader.position + 1] == b"\0":
        digest = reader.read_str("request digest")
        if len(digest) != DIGEST_OCTETS[MD5]:
            raise DecodeError(f"an old-form request digest has 16 octets, not {len(digest)}")
        return RequestDigest(OLD_FORM, digest)
    algorithm = reader.read_u8("digest algorithm")
    if algorithm not in DIGEST_OCTETS:
        raise DecodeError(f"digest algorithm {algorithm} is unknown, expected 1, 2 or 3")
    return RequestDigest(algorithm, reader.read_octets(DIGEST_OCTETS[algorithm], "request digest"))


def digest_request(covered: bytes, version: Version) -> RequestDigest:
    """Return the digest of a request's header and body by the rules of the answer's version."""
    if version.at_least(V2_7):
        return RequestDigest(SHA256, hashlib.sha256(covered).digest())
    if version.at_least(V2_1):
        return RequestDigest(SHA1, hashlib.sha1(covered, usedforsecurity=False).digest())
    return RequestDigest(OLD_FORM, hashlib.md5(covered, usedforsecurity=False).digest())
