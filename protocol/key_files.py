"""Private key files, as Handle.Net's tools write and read them.

     encryption  i32   0 DES-ECB, key MD5(passphrase)      followed by the cipher text
                       1 none                              followed by the clear text
                       2 DES-CBC, key MD5(passphrase)      followed by 8 octets of IV, cipher text
                       3 PBKDF2 and DESede-CBC   }         str salt, i32 rounds, i32 key bits,
                       4 PBKDF2 and AES-CBC      }         str iv, str cipher text

     clear text  str kind, then numbers, each a str:
                 "RSA_PRIVCRT_KEY"  n, e, d, p, q, d mod p-1, d mod q-1, 1/q mod p
                 "RSA_PRIV_KEY"     n, d
                 "DSA_PRIV_KEY"     x, p, q, g

Files are written with encryption 1 or 4, and read with all five.
"""

import hashlib
import secrets

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.dsa import (
    DSAParameterNumbers,
    DSAPrivateKey,
    DSAPrivateNumbers,
    DSAPublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from protocol import ciphers
from protocol.errors import InvalidValueError, KeyFileError, ProtocolError
from protocol.types.hs_pubkey import read_number, write_number
from protocol.wire import Reader, write_i32, write_str

PrivateKey = RSAPrivateKey | DSAPrivateKey

ENCRYPTION_DES_ECB = 0
ENCRYPTION_NONE = 1
ENCRYPTION_DES_CBC = 2
ENCRYPTION_PBKDF2_DESEDE = 3
ENCRYPTION_PBKDF2_AES = 4

RSA_BITS_DEFAULT = 2_048  # what Handle.Net's key tool makes and every client accepts
RSA_EXPONENT = 65_537

# Written: about a third of a second of one core for whoever tries a passphrase. Readers take the
# number from the file. Read: a minute's worth, so that a forged file cannot occupy us for hours.
PBKDF2_ROUNDS = 600_000
PBKDF2_ROUNDS_MAX = 100_000_000
# 128 bits, because Java without the unlimited-strength policy opens no longer key.
_AES_KEY_BITS = 128
_KEY_BITS_MAX = 512
_SALT_OCTETS = 16

_RSA_CRT_KIND = b"RSA_PRIVCRT_KEY"
_RSA_KIND = b"RSA_PRIV_KEY"
_DSA_KIND = b"DSA_PRIV_KEY"
# A file of kind RSA_PRIV_KEY lacks the public exponent: these are the ones in use.
_LIKELY_EXPONENTS = (RSA_EXPONENT, 3, 17, 5, 257)


def generate_rsa_key(bits: int = RSA_BITS_DEFAULT) -> RSAPrivateKey:
    """Return a new RSA key."""
    return rsa.generate_private_key(RSA_EXPONENT, bits)


def is_encrypted(octets: bytes) -> bool:
    """Say whether a key file needs a passphrase. Raises: KeyFileError."""
    return _read_encryption(octets) != ENCRYPTION_NONE


def decode_private_key(octets: bytes, passphrase: bytes | None = None) -> PrivateKey:
    """Read a key file.

    Args:
        octets: the whole file.
        passphrase: as typed, in UTF-8; not needed for an unencrypted file.

    Raises:
        KeyFileError: damaged, of an unknown kind, encrypted and no passphrase given, or not
            opened by this passphrase.
    """
    encryption = _read_encryption(octets)
    if encryption == ENCRYPTION_NONE:
        return _decode_clear(octets[4:])
    if passphrase is None:
        raise KeyFileError("the key file is encrypted and no passphrase was given")
    try:
        clear = _decrypt(encryption, octets[4:], passphrase)
        return _decode_clear(clear)
    except KeyFileError:
        raise KeyFileError("the key file is damaged or not opened by this passphrase") from None
    except ProtocolError as error:
        raise KeyFileError(f"the key file is not opened by this passphrase: {error}") from None


def encode_private_key(
    key: PrivateKey,
    passphrase: bytes | None = None,
    encryption: int = ENCRYPTION_PBKDF2_AES,
    rounds: int = PBKDF2_ROUNDS,
) -> bytes:
    """Return a key file, unencrypted without a passphrase, otherwise with PBKDF2 and AES."""
    clear = _encode_clear(key)
    if passphrase is None:
        return write_i32(ENCRYPTION_NONE) + clear
    assert encryption == ENCRYPTION_PBKDF2_AES, f"encryption {encryption} is only read"
    salt = secrets.token_bytes(_SALT_OCTETS)
    iv = secrets.token_bytes(ciphers.BLOCK_OCTETS[ciphers.AES])
    secret = pbkdf2_sha1(passphrase, salt, rounds, _AES_KEY_BITS)
    return (
        write_i32(encryption)
        + write_str(salt)
        + write_i32(rounds)
        + write_i32(_AES_KEY_BITS)
        + write_str(iv)
        + write_str(ciphers.encrypt(ciphers.AES, secret, iv, clear))
    )


def pbkdf2_sha1(secret: bytes, salt: bytes, rounds: int, bits: int) -> bytes:
    """Derive a key with PBKDF2-HMAC-SHA1.

    Java hands the secret over as characters, one for each octet, and writes those in UTF-8.
    """
    password = secret.decode("latin-1").encode("utf-8")
    return hashlib.pbkdf2_hmac("sha1", password, salt, rounds, bits // 8)


def _read_encryption(octets: bytes) -> int:
    try:
        encryption = Reader(octets).read_i32("key file encryption")
    except ProtocolError as error:
        raise KeyFileError(f"this is not a key file: {error}") from None
    if not ENCRYPTION_DES_ECB <= encryption <= ENCRYPTION_PBKDF2_AES:
        raise KeyFileError(f"this is not a key file: encryption {encryption} is unknown")
    return encryption


def _decrypt(encryption: int, octets: bytes, passphrase: bytes) -> bytes:
    if encryption == ENCRYPTION_DES_ECB:
        return ciphers.decrypt(ciphers.DES, _des_key(passphrase), None, octets)
    if encryption == ENCRYPTION_DES_CBC:
        return ciphers.decrypt(ciphers.DES, _des_key(passphrase), octets[:8], octets[8:])
    reader = Reader(octets)
    salt = reader.read_str("salt")
    rounds = reader.read_i32("PBKDF2 rounds")
    bits = reader.read_i32("key bits")
    iv = reader.read_str("iv")
    cipher_text = reader.read_str("cipher text")
    reader.expect_end("key file")
    if not 1 <= rounds <= PBKDF2_ROUNDS_MAX:
        raise KeyFileError(f"PBKDF2 rounds are {rounds}, allowed are 1 to {PBKDF2_ROUNDS_MAX}")
    if not 8 <= bits <= _KEY_BITS_MAX:
        raise KeyFileError(f"key bits are {bits}, allowed are 8 to {_KEY_BITS_MAX}")
    cipher_id = ciphers.AES if encryption == ENCRYPTION_PBKDF2_AES else ciphers.DESEDE
    return ciphers.decrypt(cipher_id, pbkdf2_sha1(passphrase, salt, rounds, bits), iv, cipher_text)


def _des_key(passphrase: bytes) -> bytes:
    return hashlib.md5(passphrase, usedforsecurity=False).digest()[:8]


def _decode_clear(clear: bytes) -> PrivateKey:
    reader = Reader(clear)
    try:
        kind = reader.read_str("private key kind")
        if kind == _RSA_CRT_KIND:
            return _read_rsa_crt(reader)
        if kind == _RSA_KIND:
            return _read_rsa(reader)
        if kind == _DSA_KIND:
            return _read_dsa(reader)
    except (ProtocolError, ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"the key file is damaged: {error}") from None
    raise KeyFileError(f"private key kind {kind[:32]!r} is unknown")


def _read_rsa_crt(reader: Reader) -> PrivateKey:
    names = ("n", "e", "d", "p", "q", "d mod p-1", "d mod q-1", "1/q mod p")
    n, e, d, p, q, dp, dq, q_inverse = (read_number(reader, f"RSA {name}") for name in names)
    public = rsa.RSAPublicNumbers(e, n)
    return rsa.RSAPrivateNumbers(p, q, d, dp, dq, q_inverse, public).private_key()


def _read_rsa(reader: Reader) -> PrivateKey:
    n = read_number(reader, "RSA n")
    d = read_number(reader, "RSA d")
    e = _find_exponent(n, d)
    p, q = rsa.rsa_recover_prime_factors(n, e, d)
    numbers = rsa.RSAPrivateNumbers(
        p,
        q,
        d,
        rsa.rsa_crt_dmp1(d, p),
        rsa.rsa_crt_dmq1(d, q),
        rsa.rsa_crt_iqmp(p, q),
        rsa.RSAPublicNumbers(e, n),
    )
    return numbers.private_key()


def _find_exponent(n: int, d: int) -> int:
    for e in _LIKELY_EXPONENTS:
        if n > 2 and pow(pow(2, e, n), d, n) == 2:
            return e
    raise InvalidValueError("no usual public exponent belongs to this RSA key")


def _read_dsa(reader: Reader) -> PrivateKey:
    x, p, q, g = (read_number(reader, f"DSA {name}") for name in "xpqg")
    if p < 2:
        raise InvalidValueError(f"DSA p is {p}")
    public = DSAPublicNumbers(pow(g, x, p), DSAParameterNumbers(p, q, g))
    return DSAPrivateNumbers(x, public).private_key()


def _encode_clear(key: PrivateKey) -> bytes:
    if isinstance(key, DSAPrivateKey):
        dsa_numbers = key.private_numbers()
        group = dsa_numbers.public_numbers.parameter_numbers
        return _encode(_DSA_KIND, dsa_numbers.x, group.p, group.q, group.g)
    numbers = key.private_numbers()
    public = numbers.public_numbers
    return _encode(
        _RSA_CRT_KIND,
        public.n,
        public.e,
        numbers.d,
        numbers.p,
        numbers.q,
        numbers.dmp1,
        numbers.dmq1,
        numbers.iqmp,
    )


def _encode(kind: bytes, *numbers: int) -> bytes:
    return write_str(kind) + b"".join(map(write_number, numbers))
