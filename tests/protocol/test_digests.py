import hashlib

import pytest

from protocol.digests import OLD_FORM, RequestDigest, digest_request, read_digest
from protocol.errors import DecodeError
from protocol.versions import V2_0, V2_1, V2_6, V2_7, Version
from protocol.wire import Reader, write_str


@pytest.mark.parametrize(
    ("version", "algorithm", "name"),
    [
        (Version(5, 2), OLD_FORM, "md5"),
        (V2_0, OLD_FORM, "md5"),
        (V2_1, 2, "sha1"),
        (V2_6, 2, "sha1"),
        (V2_7, 3, "sha256"),
    ],
)
def test_by_version(version: Version, algorithm: int, name: str) -> None:
    digest = digest_request(b"request", version)
    assert digest == RequestDigest(algorithm, hashlib.new(name, b"request").digest())
    assert digest.matches(b"request")
    assert not digest.matches(b"other")


def test_md5_with_an_id() -> None:
    digest = read_digest(Reader(b"\x01" + hashlib.md5(b"x").digest()))
    assert digest.matches(b"x")


def test_forms_that_do_not_exist() -> None:
    with pytest.raises(DecodeError, match="digest algorithm 4 is unknown"):
        read_digest(Reader(b"\x04" + bytes(40)))
    with pytest.raises(DecodeError, match="16 octets, not 20"):
        read_digest(Reader(write_str(bytes(20))))
    with pytest.raises(DecodeError, match="digest algorithm needs 1 octets, 0 remain"):
        read_digest(Reader(b""))
