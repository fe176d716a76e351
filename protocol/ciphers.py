"""Block ciphers with PKCS#5 padding, as sessions and key files use them.

CBC when an IV is given, ECB without one (what peers below 2.4 and the oldest key files do). DES is
the triple DES of one key repeated: the library at hand has dropped single DES.
"""

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from protocol.errors import SecurityError

DES, DESEDE, AES = 1, 2, 3  # the protocol's cipher ids
BLOCK_OCTETS = {DES: 8, DESEDE: 8, AES: 16}
_DES_KEY_OCTETS = {DES: 8, DESEDE: 24}
_AES_KEY_OCTETS = (16, 24, 32)


def _make_cipher(
    cipher_id: int, key: bytes, iv: bytes | None
) -> Cipher[modes.CBC] | Cipher[modes.ECB]:
    algorithm: TripleDES | algorithms.AES
    if cipher_id == AES:
        if len(key) not in _AES_KEY_OCTETS:
            raise SecurityError(f"an AES key has 16, 24 or 32 octets, this one {len(key)}")
        algorithm = algorithms.AES(key)
    else:
        if len(key) != _DES_KEY_OCTETS[cipher_id]:
            raise SecurityError(
                f"a key of cipher {cipher_id} has {_DES_KEY_OCTETS[cipher_id]} octets, "
                f"this one {len(key)}"
            )
        algorithm = TripleDES(key * (24 // len(key)))
    if iv is None:
        return Cipher(algorithm, modes.ECB())
    if len(iv) != BLOCK_OCTETS[cipher_id]:
        raise SecurityError(f"an IV here has {BLOCK_OCTETS[cipher_id]} octets, not {len(iv)}")
    return Cipher(algorithm, modes.CBC(iv))


def encrypt(cipher_id: int, key: bytes, iv: bytes | None, clear: bytes) -> bytes:
    """Pad and encrypt. Raises: SecurityError on a key or IV of the wrong length."""
    encryptor = _make_cipher(cipher_id, key, iv).encryptor()
    padder = PKCS7(BLOCK_OCTETS[cipher_id] * 8).padder()
    padded = padder.update(clear) + padder.finalize()
    return encryptor.update(padded) + encryptor.finalize()


def decrypt(cipher_id: int, key: bytes, iv: bytes | None, cipher_text: bytes) -> bytes:
    """Decrypt and take the padding off.

    Raises:
        SecurityError: key, IV or cipher text of the wrong length, or padding that does not hold.
    """
    block = BLOCK_OCTETS[cipher_id]
    if not cipher_text or len(cipher_text) % block:
        raise SecurityError(f"cipher text has {len(cipher_text)} octets, not a multiple of {block}")
    decryptor = _make_cipher(cipher_id, key, iv).decryptor()
    padded = decryptor.update(cipher_text) + decryptor.finalize()
    unpadder = PKCS7(block * 8).unpadder()
    try:
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        raise SecurityError("cipher text does not decrypt with this key") from None
