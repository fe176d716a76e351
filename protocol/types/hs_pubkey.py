"""HS_PUBKEY: a public key.

     kind   str  "RSA_PUB_KEY", "DSA_PUB_KEY" or "DH_PUB_KEY"
     flags  i16  0
     RSA: str exponent, str modulus
     DSA: str q, str p, str g, str y
     DH:  str y, str p, str g

Numbers are big-endian two's complement with a leading zero octet when the top bit is set; they are
read as unsigned. RSA keys end in four zero octets, because Handle.Net's writer reserves one length
field too many: we write them as well (keys made here equal theirs) and ignore whatever
follows the numbers. Keys are therefore compared by number (`==`), not by octets.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.dsa import (
    DSAParameterNumbers,
    DSAPublicKey,
    DSAPublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from protocol.errors import InvalidValueError
from protocol.wire import Reader, write_i16, write_str

RSA_KIND = b"RSA_PUB_KEY"
DSA_KIND = b"DSA_PUB_KEY"
DH_KIND = b"DH_PUB_KEY"

# Strangers send keys and have us compute with them: at 8,192 bits a verification takes about a
# millisecond, and nobody issues longer ones. A Diffie-Hellman exchange costs 5 ms at 2,048 bits
# for anybody who asks; existing clients send 1,024.
KEY_BITS_MAX = 8_192
DH_BITS_MAX = 2_048
DH_BITS_MIN = 1_024  # what Handle.Net's client sends; less protects nothing
_RSA_TRAILER = bytes(4)


@dataclass(frozen=True, slots=True)
class DhPublicKey:
    """A Diffie-Hellman public number `y` in the group of `p` and `g`.

    Plain numbers: the cryptography library is about to drop finite-field Diffie-Hellman.
    """

    y: int
    p: int
    g: int


PublicKey = RSAPublicKey | DSAPublicKey | DhPublicKey


def number_octets(number: int) -> bytes:
    """Return a number >= 0 as two's complement octets, one zero octet for 0."""
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def write_number(number: int) -> bytes:
    """Return a number >= 0 as `str` of its two's complement octets."""
    return write_str(number_octets(number))


def read_number(reader: Reader, name: str) -> int:
    """Read a `str` as an unsigned number of at most KEY_BITS_MAX bits.

    Raises:
        DecodeError: truncated, or a length out of range.
        InvalidValueError: more bits than KEY_BITS_MAX.
    """
    number = int.from_bytes(reader.read_str(name), "big")
    if number.bit_length() > KEY_BITS_MAX:
        raise InvalidValueError(
            f"{name} has {number.bit_length()} bits, at most {KEY_BITS_MAX} are computed with"
        )
    return number


def make_rsa_key(exponent: int, modulus: int) -> RSAPublicKey:
    """Return an RSA key of these numbers. Raises: InvalidValueError."""
    try:
        return RSAPublicNumbers(exponent, modulus).public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidValueError(f"these numbers are no RSA key: {error}") from None


def make_dsa_key(y: int, p: int, q: int, g: int) -> DSAPublicKey:
    """Return a DSA key of these numbers. Raises: InvalidValueError."""
    try:
        return DSAPublicNumbers(y, DSAParameterNumbers(p, q, g)).public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidValueError(f"these numbers are no DSA key: {error}") from None


def make_dh_key(y: int, p: int, g: int) -> DhPublicKey:
    """Return a Diffie-Hellman key of these numbers.

    Raises:
        InvalidValueError: a group too small or too large, an even p, or a y or g that would make
            the shared secret guessable (0, 1, p-1 or outside the group).
    """
    if not DH_BITS_MIN <= p.bit_length() <= DH_BITS_MAX or p % 2 == 0:
        raise InvalidValueError(
            f"DH p has {p.bit_length()} bits; an odd one of {DH_BITS_MIN} to {DH_BITS_MAX} is asked"
        )
    if not 1 < y < p - 1 or not 1 < g < p - 1:
        raise InvalidValueError("DH y and g must lie between 2 and p-2")
    return DhPublicKey(y, p, g)


def _read_rsa(reader: Reader) -> PublicKey:
    exponent = read_number(reader, "RSA exponent")
    return make_rsa_key(exponent, read_number(reader, "RSA modulus"))


def _read_dsa(reader: Reader) -> PublicKey:
    q = read_number(reader, "DSA q")
    p = read_number(reader, "DSA p")
    g = read_number(reader, "DSA g")
    return make_dsa_key(read_number(reader, "DSA y"), p, q, g)


def _read_dh(reader: Reader) -> PublicKey:
    y = read_number(reader, "DH y")
    p = read_number(reader, "DH p")
    return make_dh_key(y, p, read_number(reader, "DH g"))


_READERS: dict[bytes, Callable[[Reader], PublicKey]] = {
    RSA_KIND: _read_rsa,
    DSA_KIND: _read_dsa,
    DH_KIND: _read_dh,
}


def decode_public_key(data: bytes) -> PublicKey:
    """Decode HS_PUBKEY data into a key; what follows the numbers is ignored.

    Raises:
        DecodeError: truncated, or a length out of range.
        InvalidValueError: an unknown kind, or numbers that are not a key.
    """
    reader = Reader(data)
    kind = reader.read_str("public key kind")
    reader.read_i16("public key flags")
    if kind not in _READERS:
        raise InvalidValueError(f"public key kind {kind[:32]!r} is unknown")
    return _READERS[kind](reader)


def encode_public_key(key: PublicKey) -> bytes:
    """Return HS_PUBKEY data; an RSA key gets the four trailing zero octets."""
    if isinstance(key, RSAPublicKey):
        rsa = key.public_numbers()
        return _encode(RSA_KIND, rsa.e, rsa.n) + _RSA_TRAILER
    if isinstance(key, DSAPublicKey):
        dsa = key.public_numbers()
        group = dsa.parameter_numbers
        return _encode(DSA_KIND, group.q, group.p, group.g, dsa.y)
    return _encode(DH_KIND, key.y, key.p, key.g)


def _encode(kind: bytes, *numbers: int) -> bytes:
    return write_str(kind) + write_i16(0) + b"".join(map(write_number, numbers))


@dataclass(frozen=True, slots=True)
class HsPubkey:
    """A decoded HS_PUBKEY value; encoding it gives the canonical octets, not those received."""

    key: PublicKey

    def encode(self) -> bytes:
        """Return the value's data."""
        return encode_public_key(self.key)


def decode_hs_pubkey(data: bytes) -> HsPubkey:
    """Decode HS_PUBKEY data. Raises: as `decode_public_key`."""
    return HsPubkey(decode_public_key(data))
