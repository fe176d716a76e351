"""Receipts of registration streams: what a node certifies once a stream has ended.

A receipt says which stream of which identity it is of, how its rows went, between which frames of
the journal they stand, and which rows they were. It is the payload of a token that the node signs
(`protocol.jws`), a JSON object with its members in order:

     {"begun": "2026-11-21T08:00:00.000Z", "created": 998, "deleted": 0, "digest": "6fe1...",
      "ended": "2026-11-21T08:00:01.250Z", "firstSequence": 17, "identity": "300:0.NA/88.118.5",
      "key": "lot-4711", "lastSequence": 18, "node": "...", "refused": 2, "replaced": 0,
      "rows": 1000, "type": "biaoshi-registration-receipt", "unchanged": 0, "version": 1}

The digest of all rows is a chain over the rows in the order of their positions:

     START   32 octets of zero
     digest  SHA-256(digest of the rows before || digest of the row)

A row's digest is the SHA-256 of its octets as sent; for CSV, whose octets say nothing without
header and options, `resolver.rows.csv_stream` defines it. The digest of all rows depends on the
rows and their order alone, not on how the stream was cut into requests.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Annotated

import msgspec

from registry.errors import StoreError

TYPE = "biaoshi-registration-receipt"
VERSION = 1
DIGEST_OCTETS = 32
START = bytes(DIGEST_OCTETS)

# Two texts of 2 KiB, the longest handle, and the rest: see protocol.jws.TOKEN_OCTETS_MAX.
PAYLOAD_OCTETS_MAX = 8_192


class ReceiptError(StoreError):
    """A payload that is not a receipt, or one that this version does not know."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a node certifies of one stream.

    `node` names the node, `identity` who sent the stream (`300:0.NA/88.118.5`), `key` is the
    stream's idempotency key. The sequences are journal frames, 0 when nothing was written.
    `digest` is that of all rows (32 octets); times are RFC 3339, UTC, with milliseconds.
    """

    node: str
    identity: str
    key: str
    rows: int
    created: int
    replaced: int
    deleted: int
    unchanged: int
    refused: int
    first_sequence: int
    last_sequence: int
    digest: bytes
    begun: str
    ended: str


def chain(digest: bytes, row_digests: Iterable[bytes]) -> bytes:
    """Return the digest of all rows after some more.

    Args:
        digest: that of the rows before, START where there are none.
        row_digests: of each further row, in order, 32 octets each.
    """
    assert len(digest) == DIGEST_OCTETS, f"the digest so far has {len(digest)} octets"
    sha256 = hashlib.sha256
    for row_digest in row_digests:
        assert len(row_digest) == DIGEST_OCTETS, f"a row's digest has {len(row_digest)} octets"
        digest = sha256(digest + row_digest).digest()
    return digest


def to_payload(receipt: Receipt) -> bytes:
    """Return the octets to sign.

    Raises:
        ReceiptError: its texts are too long, or a field is not as `from_payload` asks.
    """
    fields = {**asdict(receipt), "digest": receipt.digest.hex()}
    form = _Form(**fields, type=TYPE, version=VERSION)
    octets = msgspec.json.encode(form, order="sorted")
    from_payload(octets)  # what nobody could read is not signed
    return octets


def from_payload(octets: bytes) -> Receipt:
    """Read a receipt; whether it is signed is `protocol.jws`'s to say.

    Raises:
        ReceiptError: too long, not JSON, not a receipt, of another version, or a member missing,
            unknown or of another form.
    """
    if len(octets) > PAYLOAD_OCTETS_MAX:
        raise ReceiptError(
            f"a receipt has at most {PAYLOAD_OCTETS_MAX} octets, this has {len(octets)}"
        )
    try:
        _check_kind(msgspec.json.decode(octets, type=_Kind))
        form = msgspec.json.decode(octets, type=_Form)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReceiptError(f"this is not a receipt: {error}") from None
    if (form.first_sequence == 0) != (form.last_sequence == 0) or (
        form.first_sequence > form.last_sequence
    ):
        raise ReceiptError(
            f"the receipt's journal frames are {form.first_sequence} to {form.last_sequence}"
        )
    return _to_receipt(form)


_Count = Annotated[int, msgspec.Meta(ge=0)]
_Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
_Time = Annotated[
    str,
    msgspec.Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z\Z"),
]


class _Kind(msgspec.Struct):
    type: str = ""
    version: int = 0


class _Form(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    node: str
    identity: str
    key: str
    rows: _Count
    created: _Count
    replaced: _Count
    deleted: _Count
    unchanged: _Count
    refused: _Count
    first_sequence: _Count
    last_sequence: _Count
    digest: _Digest
    begun: _Time
    ended: _Time
    type: str
    version: int


def _check_kind(kind: _Kind) -> None:
    if kind.type != TYPE:
        raise ReceiptError(f"this is not a receipt: its type is {kind.type[:64]!r}, not {TYPE!r}")
    if kind.version != VERSION:
        raise ReceiptError(
            f"the receipt has version {kind.version}, version {VERSION} is known here"
        )


def _to_receipt(form: _Form) -> Receipt:
    fields = msgspec.structs.asdict(form)
    del fields["type"], fields["version"]
    return Receipt(**{**fields, "digest": bytes.fromhex(form.digest)})
