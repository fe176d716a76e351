"""HS_SECKEY: a secret shared with an administrator, octets without structure.

One variant in use stores the lower-case hex of SHA-1(password): just another secret.
"""

from dataclasses import dataclass, field

from protocol.errors import InvalidValueError


@dataclass(frozen=True, slots=True)
class HsSeckey:
    """A secret; it does not show in a repr, so that no log line ever holds one."""

    secret: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Return the value's data."""
        return self.secret


def decode_hs_seckey(data: bytes) -> HsSeckey:
    """Decode HS_SECKEY data.

    Raises:
        InvalidValueError: no octets: everybody would know that secret.
    """
    if not data:
        raise InvalidValueError("HS_SECKEY is empty, which would let anybody in")
    return HsSeckey(data)
