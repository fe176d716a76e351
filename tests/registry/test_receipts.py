import hashlib
import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.receipts import (
    PAYLOAD_OCTETS_MAX,
    START,
    TYPE,
    VERSION,
    Receipt,
    ReceiptError,
    chain,
    from_payload,
    to_payload,
)

RECEIPT = Receipt(
    node="88.118 site, server 1",
    identity="300:0.NA/88.118.5",
    key="lot-4711",
    rows=1_000,
    created=900,
    replaced=50,
    deleted=30,
    unchanged=18,
    refused=2,
    first_sequence=17,
    last_sequence=19,
    digest=bytes(range(32)),
    begun="2026-11-21T08:00:00.000Z",
    ended="2026-11-21T08:00:01.250Z",
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
COUNTS = st.integers(0, 2**63 - 1)


def changed(**members: Any) -> bytes:
    document = {**json.loads(to_payload(RECEIPT)), **members}
    kept = {name: value for name, value in document.items() if value is not ...}
    return json.dumps(kept).encode()


def test_the_form() -> None:
    text = to_payload(RECEIPT).decode()
    document = json.loads(text)
    assert list(document) == sorted(document)
    assert document == {
        "begun": "2026-11-21T08:00:00.000Z",
        "created": 900,
        "deleted": 30,
        "digest": "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "ended": "2026-11-21T08:00:01.250Z",
        "firstSequence": 17,
        "identity": "300:0.NA/88.118.5",
        "key": "lot-4711",
        "lastSequence": 19,
        "node": "88.118 site, server 1",
        "refused": 2,
        "replaced": 50,
        "rows": 1000,
        "type": "biaoshi-registration-receipt",
        "unchanged": 18,
        "version": 1,
    }
    assert len(document) == len(fields(Receipt)) + 2


@given(TEXTS, TEXTS, TEXTS, st.binary(min_size=32, max_size=32), COUNTS, COUNTS, COUNTS)
def test_there_and_back(
    node: str, identity: str, key: str, digest: bytes, rows: int, first: int, frames: int
) -> None:
    last = min(first + frames, 2**63 - 1) if first else 0
    receipt = replace(RECEIPT, node=node, identity=identity, key=key, digest=digest, rows=rows)
    receipt = replace(receipt, first_sequence=first, last_sequence=last)
    assert from_payload(to_payload(receipt)) == receipt


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"", "not a receipt"),
        (b"[]", "not a receipt"),
        (b"{}", "its type is ''"),
        (b"\xff", "not a receipt"),
        (b'{"type":"\xff"}', "not a receipt"),
        (b'{"x":' + b"[" * 8_000, "not a receipt"),
        (bytes(PAYLOAD_OCTETS_MAX + 1), "at most 8192 octets, this has 8193"),
        (changed(type="JWT"), "its type is 'JWT'"),
        (changed(version=VERSION + 1), "version 2, version 1 is known"),
        (changed(rows=...), "`rows`"),
        (changed(rows=-1), "rows"),
        (changed(rows="1"), "rows"),
        (changed(rows=1.5), "rows"),
        (changed(identity=None), "identity"),
        (changed(digest="00"), "digest"),
        (changed(digest="g" * 64), "digest"),
        (changed(digest="A" * 64), "digest"),
        (changed(begun="2026-11-21T08:00:00Z"), "begun"),
        (changed(ended="2026-11-21T08:00:00.000Z\n"), "ended"),
        (changed(more=1), "more"),
        (changed(firstSequence=0), "frames are 0 to 19"),
        (changed(lastSequence=0), "frames are 17 to 0"),
        (changed(firstSequence=20), "frames are 20 to 19"),
    ],
)
def test_what_is_not_a_receipt(octets: bytes, words: str) -> None:
    with pytest.raises(ReceiptError, match=words):
        from_payload(octets)


@given(st.binary(max_size=200))
def test_whatever_comes_in(octets: bytes) -> None:
    with pytest.raises(ReceiptError):
        from_payload(octets)


def test_what_nobody_could_read_is_not_made() -> None:
    with pytest.raises(ReceiptError, match="at most 8192"):
        to_payload(replace(RECEIPT, key="k" * PAYLOAD_OCTETS_MAX))
    with pytest.raises(ReceiptError, match="begun"):
        to_payload(replace(RECEIPT, begun="now"))


def test_the_chain_begins_with_zeros() -> None:
    one, two = (hashlib.sha256(row).digest() for row in (b"one", b"two"))
    first = hashlib.sha256(bytes(32) + one).digest()
    assert chain(START, []) == START == bytes(32)
    assert chain(START, [one]) == first
    assert chain(START, [one, two]) == hashlib.sha256(first + two).digest()
    assert chain(START, [two, one]) != chain(START, [one, two])


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=20), st.data())
def test_the_chain_does_not_care_for_cuts(rows: list[bytes], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(rows)))
    assert chain(chain(START, rows[:cut]), iter(rows[cut:])) == chain(START, rows)


def test_the_type_is_stable() -> None:
    assert (TYPE, VERSION) == ("biaoshi-registration-receipt", 1)
