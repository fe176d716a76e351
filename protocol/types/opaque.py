"""Any type without a form of its own here: the data are kept octet for octet.

URL, EMAIL, HS_ALIAS, HS_NAMESPACE, HS_SIGNATURE, HS_CERT, the product types and every type to come.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Opaque:
    """Data that nobody takes apart."""

    data: bytes

    def encode(self) -> bytes:
        """Return the value's data."""
        return self.data


def decode_opaque(data: bytes) -> Opaque:
    """Decode data of any type: it never fails."""
    return Opaque(data)
