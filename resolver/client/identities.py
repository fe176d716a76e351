"""Who is asking: an index and a handle, and the private key or secret that proves it.

`300:0.NA/88.118` names the value at index 300 of the handle 0.NA/88.118, an HS_PUBKEY or HS_SECKEY.
A challenge is answered by signing the node's nonce together with the digest of our own request, so
an answer is of use to nobody for anything else (`protocol.challenge`).
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from protocol.challenge import (
    AUTHENTICATION_PUBLIC_KEY,
    AUTHENTICATION_SECRET_KEY,
    answer_public_key,
    answer_secret_key,
)
from protocol.digests import RequestDigest
from protocol.key_files import PrivateKey, decode_private_key
from protocol.value import Reference
from protocol.versions import Version


class Identity(Protocol):
    """Anything that can answer a challenge."""

    @property
    def reference(self) -> Reference:
        """The handle and index of the key."""
        ...

    @property
    def authentication_type(self) -> bytes:
        """HS_PUBKEY or HS_SECKEY."""
        ...

    def answer(self, nonce: bytes, digest: RequestDigest, version: Version) -> bytes:
        """Return the answer to a challenge; may take milliseconds of CPU."""
        ...


@dataclass(frozen=True, slots=True)
class KeyIdentity:
    """An identity proven by a private key (RSA or DSA)."""

    reference: Reference
    private_key: PrivateKey = field(repr=False)

    authentication_type = AUTHENTICATION_PUBLIC_KEY

    @classmethod
    def load(cls, reference: str, path: Path, passphrase: bytes | None = None) -> "KeyIdentity":
        """Read a key file; `reference` is `300:0.NA/88.118`.

        Raises:
            ValueError: `reference` is not index:handle.
            OSError: the file cannot be read.
            KeyFileError: it is damaged or needs another passphrase.
        """
        key = decode_private_key(path.read_bytes(), passphrase)
        return cls(reference_from_text(reference), key)

    def answer(self, nonce: bytes, digest: RequestDigest, version: Version) -> bytes:
        """Return the signature over nonce and digest."""
        return answer_public_key(self.private_key, nonce, digest, version)


@dataclass(frozen=True, slots=True)
class SecretIdentity:
    """An identity proven by a secret, as passwords are."""

    reference: Reference
    secret: bytes = field(repr=False)

    authentication_type = AUTHENTICATION_SECRET_KEY

    def answer(self, nonce: bytes, digest: RequestDigest, version: Version) -> bytes:
        """Return the MAC over nonce and digest."""
        return answer_secret_key(self.secret, nonce, digest, version)


def reference_from_text(text: str) -> Reference:
    """Read `300:0.NA/88.118`.

    Raises:
        ValueError: not an index from 0 to 2,147,483,647, a colon and a handle.
    """
    index, colon, handle = text.partition(":")
    if not (colon and handle and index.isascii() and index.isdigit() and int(index) < 2**31):
        raise ValueError(f'{text!r} is not an identity: write index:handle, as "300:0.NA/88.118"')
    return Reference(handle.encode(), int(index))


def reference_to_text(reference: Reference) -> str:
    """Return `300:0.NA/88.118`."""
    return f"{reference.index}:{reference.handle.decode('utf-8', 'backslashreplace')}"
