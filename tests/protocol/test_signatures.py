import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from protocol.digests import MD5, SHA1, SHA256
from protocol.signatures import find_hash, signature_holds


@pytest.mark.parametrize(
    ("name", "hash_id"),
    [
        (b"SHA1", SHA1),
        (b"sha-1", SHA1),
        (b"\x02", SHA1),
        (b"SHA256", SHA256),
        (b"SHA-256", SHA256),
        (b"\x03", SHA256),
        (b"MD5", MD5),
        (b"\x01", MD5),
        (b"\x04", None),
        (b"", None),
        (b"SHA-512", None),
    ],
)
def test_names(name: bytes, hash_id: int | None) -> None:
    assert find_hash(name) == hash_id


def test_each_hash_is_told_from_the_others(rsa_key: RSAPrivateKey) -> None:
    algorithms: dict[bytes, hashes.HashAlgorithm] = {
        b"MD5": hashes.MD5(),
        b"SHA1": hashes.SHA1(),
        b"SHA-256": hashes.SHA256(),
    }
    for name, algorithm in algorithms.items():
        signature = rsa_key.sign(b"octets", PKCS1v15(), algorithm)
        for other in (*algorithms, b"SHA-512"):
            holds = signature_holds(rsa_key.public_key(), b"octets", other, signature)
            assert holds is (other == name)
