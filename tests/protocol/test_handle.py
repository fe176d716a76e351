import hashlib

import pytest

from protocol.errors import InvalidHandleError
from protocol.handle import (
    check_handle,
    fold_handle,
    hash_position,
    is_prefix_handle,
    parent_prefix_handle,
    prefix_handle,
    split_handle,
    to_text,
)


@pytest.mark.parametrize(
    ("handle", "parts"),
    [
        (b"88.118/a/b", (b"88.118", b"a/b")),
        (b"0.NA/88.118", (b"0.NA", b"88.118")),
        (b"88.118", (b"0.NA", b"88.118")),
        (b"/x", (b"", b"x")),
        (b"", (b"0.NA", b"")),
    ],
)
def test_parts(handle: bytes, parts: tuple[bytes, bytes]) -> None:
    assert split_handle(handle) == parts


@pytest.mark.parametrize(
    ("handle", "folded", "folded_with_case"),
    [
        (b"a.b/xY", b"A.B/XY", b"A.B/xY"),
        (b"0.na/88.x", b"0.NA/88.X", b"0.NA/88.X"),
        (b"88.x", b"0.NA/88.X", b"0.NA/88.X"),
        ("a/ä€z".encode(), "A/ä€Z".encode(), "A/ä€z".encode()),
    ],
)
def test_folding(handle: bytes, folded: bytes, folded_with_case: bytes) -> None:
    assert fold_handle(handle) == folded
    assert fold_handle(handle, case_sensitive=True) == folded_with_case
    assert fold_handle(folded) == folded


@pytest.mark.parametrize("handle", [b"a/b", b"x", "标识/一".encode(), b"a/" + b"b" * 2046])
def test_what_may_be_created(handle: bytes) -> None:
    check_handle(handle)


@pytest.mark.parametrize(
    ("handle", "words"),
    [
        (b"", "this one 0"),
        (b"a/" + b"b" * 2047, "this one 2049"),
        (b"a/\xff", "octet 2 of the handle is not UTF-8"),
        (b"/x", "no prefix"),
    ],
)
def test_what_may_not(handle: bytes, words: str) -> None:
    with pytest.raises(InvalidHandleError, match=words):
        check_handle(handle)


def test_prefixes() -> None:
    assert prefix_handle(b"88.118.a/x") == b"0.NA/88.118.A"
    assert prefix_handle(b"0.NA/88") == b"0.NA/0.NA"
    assert parent_prefix_handle(b"0.na/88.118.5") == b"0.NA/88.118"
    assert parent_prefix_handle(b"0.NA/88") == b"0.NA/0.NA"
    assert parent_prefix_handle(b"0.NA/0.NA") is None
    assert is_prefix_handle(b"0.na/88")
    assert is_prefix_handle(b"88")
    assert not is_prefix_handle(b"88/0.NA")


def test_text_shows_octets_that_are_not_utf_8() -> None:
    assert to_text(b"a/\xffb") == "a/\\xffb"
    assert to_text("a/标".encode()) == "a/标"


def expected_position(part: bytes, servers: int) -> int:
    last = hashlib.md5(part.upper()).digest()[-4:]
    return abs(int.from_bytes(last, "big", signed=True)) % servers


@pytest.mark.parametrize(("hash_option", "part"), [(0, b"88.118"), (1, b"abc"), (2, b"88.118/abc")])
def test_the_server_a_handle_hashes_to(hash_option: int, part: bytes) -> None:
    for servers in (2, 3, 7):
        assert hash_position(b"88.118/abc", hash_option, servers) == expected_position(
            part, servers
        )
    assert hash_position(b"88.118/abc", hash_option, 1) == 0
    assert hash_position(b"88.118/ABC", hash_option, 7) == expected_position(part, 7)
