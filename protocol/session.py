"""Sessions: how a key is agreed on, how messages are encrypted with it, which counters are new.

Diffie-Hellman (mode 4, what clients use): the client sends a DH_PUB_KEY with a group of its own,
the server answers, in the same group, i32 cipher id (from 2.4 on; DES before) ++ DH_PUB_KEY. Modes
1 and 3: the server sends RSA-PKCS1v1.5(i32 cipher id ++ key) to the client's key, id from 2.2 on.

A session key has more octets than its cipher takes: AES takes the first 16 of 32, MACs all of them.

An encrypted message: envelope in clear with its bit 0x40, then IV ++ CBC cipher text of header,
body and credential. In a session set up below 2.4 there is no IV, and ECB: what counts is the
version of the set-up's answer, not the message's. Recorded sessions of 2.10 go on in 2.1 with IVs.
"""

import secrets
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from protocol import ciphers
from protocol.ciphers import AES, DES, DESEDE
from protocol.codes import EnvelopeFlag
from protocol.envelope import Envelope
from protocol.errors import DecodeError, InvalidValueError, SecurityError
from protocol.message import Message, decode_payload
from protocol.types.hs_pubkey import DhPublicKey, decode_public_key, encode_public_key
from protocol.versions import BEST, V2_2, V2_4, Version
from protocol.wire import MESSAGE_OCTETS_MAX, Reader, write_i32

REPLAY_WINDOW = 200  # counters remembered; Handle.Net's number

# RFC 3526 §3, group 14: 2048 bits, generator 2. Stronger than the 1024 bits of Handle.Net's client
# and accepted by its server, which answers in whatever group it is sent.
_GROUP_P = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74"
    "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437"
    "4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF05"
    "98DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB"
    "9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718"
    "3995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)
_GROUP_G = 2
# RFC 3526 §8: 220 to 320 bits with a group of 2048; longer exponents cost time and add nothing.
_EXPONENT_BITS = 320

_AES_SESSION_OCTETS = 32
_CIPHER_KEY_OCTETS = {DES: 8, DESEDE: 24, AES: 16}
_SESSION_KEY_OCTETS_MAX = 64


@dataclass(frozen=True, slots=True)
class SessionKey:
    """The octets both sides agreed on, and the cipher they are used with (1 DES, 2 3DES, 3 AES).

    `version` is that of the SESSION_SETUP's answer: it decides between CBC and ECB.
    The octets do not show in a repr, so that no log line ever holds them.
    """

    octets: bytes = field(repr=False)
    cipher_id: int = AES
    version: Version = BEST

    @property
    def iv_octets(self) -> int:
        """The length of the IV before each cipher text; 0 means ECB."""
        return ciphers.BLOCK_OCTETS[self.cipher_id] if self.version.at_least(V2_4) else 0

    @property
    def cipher_octets(self) -> bytes:
        """The leading octets that the cipher takes."""
        return self.octets[: _CIPHER_KEY_OCTETS[self.cipher_id]]


def make_session_key(version: Version = BEST, cipher_id: int = AES) -> SessionKey:
    """Return a random session key for modes 1 and 3; below 2.2 it is always a DES key."""
    if not version.at_least(V2_2):
        cipher_id = DES
    if cipher_id == AES:
        return SessionKey(secrets.token_bytes(_AES_SESSION_OCTETS), AES, version)
    octets = secrets.token_bytes(_CIPHER_KEY_OCTETS[cipher_id])
    return SessionKey(_set_parity(octets), cipher_id, version)


def _set_parity(octets: bytes) -> bytes:
    """Return DES key octets with odd parity in their lowest bits."""
    return bytes(octet & 0xFE | (octet >> 1).bit_count() & 1 ^ 1 for octet in octets)


def _check_cipher(cipher_id: int) -> int:
    if cipher_id not in _CIPHER_KEY_OCTETS:
        raise SecurityError(f"session cipher {cipher_id} is unknown, expected 1, 2 or 3")
    return cipher_id


def _derive_key(
    their_key: DhPublicKey, exponent: int, cipher_id: int, version: Version
) -> SessionKey:
    """Return the session key of a shared secret, cut the way Java's key agreement does."""
    p = their_key.p
    shared = pow(their_key.y, exponent, p).to_bytes((p.bit_length() + 7) // 8, "big")
    if cipher_id == AES:
        leading_zeros = len(shared) - len(shared.lstrip(b"\0"))
        start = min(leading_zeros, len(shared) - _AES_SESSION_OCTETS)
        return SessionKey(shared[start : start + _AES_SESSION_OCTETS], AES, version)
    octets = _set_parity(shared[: _CIPHER_KEY_OCTETS[cipher_id]])
    return SessionKey(octets, cipher_id, version)


def _decode_dh_key(data: bytes) -> DhPublicKey:
    key = decode_public_key(data)
    if not isinstance(key, DhPublicKey):
        raise InvalidValueError("a Diffie-Hellman session needs a DH_PUB_KEY, not another key")
    return key


def answer_key_exchange(
    client_dh_pub: bytes, version: Version = BEST, cipher_id: int = AES
) -> tuple[bytes, SessionKey]:
    """Answer a client's Diffie-Hellman key.

    Args:
        client_dh_pub: the DH_PUB_KEY of its SESSION_SETUP.
        version: of the answer; below 2.4 the cipher is DES.
        cipher_id: the cipher to use.

    Returns:
        (data for SessionSetupAnswer, session key)

    Raises:
        DecodeError: the client's key is truncated.
        InvalidValueError: it is not a usable Diffie-Hellman key.
    """
    theirs = _decode_dh_key(client_dh_pub)
    exponent = secrets.randbits(_EXPONENT_BITS) | 1 << (_EXPONENT_BITS - 1)
    ours = DhPublicKey(pow(theirs.g, exponent, theirs.p), theirs.p, theirs.g)
    data = encode_public_key(ours)
    if version.at_least(V2_4):
        data = write_i32(cipher_id) + data
    else:
        cipher_id = DES
    return data, _derive_key(theirs, exponent, cipher_id, version)


@dataclass(frozen=True, slots=True)
class KeyExchange:
    """A client's half of a Diffie-Hellman exchange; send `public_data`, then `finish`."""

    public_data: bytes
    exponent: int = field(repr=False)

    def finish(self, data: bytes, version: Version = BEST) -> SessionKey:
        """Return the session key, given the server's answer and that answer's version.

        Raises:
            DecodeError: truncated.
            InvalidValueError: not a usable Diffie-Hellman key.
            SecurityError: an unknown cipher, or a group other than ours.
        """
        reader = Reader(data)
        cipher_id = DES
        if version.at_least(V2_4):
            cipher_id = _check_cipher(reader.read_i32("session cipher"))
        key = _decode_dh_key(reader.read_rest())
        if (key.p, key.g) != (_GROUP_P, _GROUP_G):
            raise SecurityError("the server answered in another Diffie-Hellman group")
        return _derive_key(key, self.exponent, cipher_id, version)


def start_key_exchange() -> KeyExchange:
    """Make a client's half of a Diffie-Hellman exchange."""
    exponent = secrets.randbits(_EXPONENT_BITS) | 1 << (_EXPONENT_BITS - 1)
    key = DhPublicKey(pow(_GROUP_G, exponent, _GROUP_P), _GROUP_P, _GROUP_G)
    return KeyExchange(encode_public_key(key), exponent)


def wrap_session_key(key: SessionKey, public_key: RSAPublicKey, version: Version = BEST) -> bytes:
    """Encrypt a session key to an RSA key (modes 1 and 3; below 2.2 without the cipher id)."""
    clear = key.octets
    if version.at_least(V2_2):
        clear = write_i32(key.cipher_id) + clear
    return public_key.encrypt(clear, PKCS1v15())


def unwrap_session_key(
    data: bytes, private_key: RSAPrivateKey, version: Version = BEST
) -> SessionKey:
    """Decrypt a session key (modes 1 and 3).

    Raises:
        SecurityError: it does not decrypt, or is not a session key.
    """
    try:
        clear = private_key.decrypt(data, PKCS1v15())
    except ValueError:
        raise SecurityError("the session key does not decrypt with this private key") from None
    cipher_id = DES
    if version.at_least(V2_2):
        if len(clear) < 4:
            raise SecurityError(f"a session key of {len(clear)} octets has no cipher id")
        cipher_id = _check_cipher(int.from_bytes(clear[:4], "big", signed=True))
        clear = clear[4:]
    if not _CIPHER_KEY_OCTETS[cipher_id] <= len(clear) <= _SESSION_KEY_OCTETS_MAX:
        raise SecurityError(f"a session key of {len(clear)} octets does not fit cipher {cipher_id}")
    return SessionKey(clear, cipher_id, version)


def encrypt_message(message: Message, key: SessionKey) -> bytes:
    """Return envelope and encrypted message, as sent over TCP.

    Raises:
        DecodeError: the message is over 262,144 octets, which no peer accepts.
    """
    iv = secrets.token_bytes(key.iv_octets)
    payload = iv + ciphers.encrypt(key.cipher_id, key.cipher_octets, iv or None, message.payload)
    if len(payload) > MESSAGE_OCTETS_MAX:
        raise DecodeError(f"message has {len(payload)} octets, {MESSAGE_OCTETS_MAX} allowed")
    flags = message.envelope.flags | EnvelopeFlag.ENCRYPTED
    envelope = replace(message.envelope, flags=flags, sequence=0, length=len(payload))
    return envelope.encode() + payload


def decrypt_payload(envelope: Envelope, payload: bytes, key: SessionKey) -> Message:
    """Decrypt and decode what followed an envelope with the encrypted bit.

    Raises:
        SecurityError: the cipher text does not decrypt with this key.
        DecodeError: what it decrypts to is no message.
    """
    iv, cipher_text = payload[: key.iv_octets], payload[key.iv_octets :]
    clear = ciphers.decrypt(key.cipher_id, key.cipher_octets, iv or None, cipher_text)
    return decode_payload(envelope, clear)


class ReplayWindow:
    """Which message counters of a session are new.

    A counter is refused when it was seen before or lies 200 or more below the highest. Counter 0
    marks a peer that does not count and is exempt, as Handle.Net has it; the MAC covers the
    counter, so nobody else can turn a recorded one into 0.
    """

    __slots__ = ("_highest", "_seen", "_size")

    def __init__(self, size: int = REPLAY_WINDOW) -> None:
        """Remember `size` counters."""
        self._size = size
        self._highest = 0
        self._seen = 0  # bit n stands for the counter `highest - n`

    def accept(self, counter: int) -> bool:
        """Say whether `counter` is new, and remember it. Call it once the MAC holds."""
        if counter == 0:
            return True
        if counter < 0:
            return False
        if counter > self._highest:
            step = min(counter - self._highest, self._size)
            self._seen = (self._seen << step | 1) & ((1 << self._size) - 1)
            self._highest = counter
            return True
        bit = 1 << (self._highest - counter) if self._highest - counter < self._size else 0
        if not bit or self._seen & bit:
            return False
        self._seen |= bit
        return True
