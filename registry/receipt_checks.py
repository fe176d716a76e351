"""Whether a store still has what a receipt says; that the node signed it is looked at before.

     stream    kept under the receipt's identity and key, with the same counts, frames and digest
     journal   the frames from the first to the last sequence number are there, and each repeats
               the SHA-256 of the one before, up to what follows the last

What is kept no longer (streams for a while after their end, frames until a snapshot covers them)
neither holds nor fails. Frames are many, so a call looks at some octets of them and says how far it
came; the next one goes on from there.
"""

from typing import NamedTuple

from protocol.errors import ProtocolError
from protocol.value import Reference
from registry.errors import JournalError
from registry.journal import decode_head, frame_digest
from registry.owners import owners_before
from registry.receipts import Receipt
from registry.roles import identity_from_text
from registry.streams import Stream, find_stream, stream_name
from registry.views import GENESIS_DIGEST, View

STREAM = "stream"
JOURNAL = "journal"
OCTETS_AT_ONCE = 8 * 1_048_576  # of frames, in one transaction: some 10 ms

_COUNTS = ("rows", "created", "replaced", "deleted", "unchanged", "refused")
_SEQUENCES = ("first_sequence", "last_sequence")


class Finding(NamedTuple):
    """One thing looked at. `holds` is None where nothing is kept that could tell."""

    name: str
    holds: bool | None
    words: str


def check_stream(view: View, receipt: Receipt) -> Finding:
    """Compare a receipt with what is kept of its stream. Raises: StoreError: that is damaged."""
    try:
        identity = identity_from_text(receipt.identity)
    except ProtocolError as error:
        return Finding(STREAM, False, f"the receipt names nobody: {error}")
    stream = _find_meant(view, identity, receipt)
    if stream is None:
        return Finding(STREAM, None, "the node keeps nothing of this stream any more")
    if not stream.ended_ms:
        return Finding(STREAM, False, f"the node has {stream.rows} rows of it and waits for more")
    differences = _differences(stream, receipt)
    if differences:
        return Finding(STREAM, False, "the node kept another one: " + "; ".join(differences))
    return Finding(STREAM, True, "the node keeps it with the same counts, frames and digest")


def _find_meant(view: View, identity: Reference, receipt: Receipt) -> Stream | None:
    """Return the stream of a receipt: perhaps of somebody who had the identity before."""
    latest = None
    for before in range(owners_before(view, identity.handle), -1, -1):
        stream = find_stream(view, stream_name(identity, receipt.key.encode(), before))
        if stream is not None and stream.digest == receipt.digest:
            return stream
        latest = latest or stream
    return latest


def _differences(stream: Stream, receipt: Receipt) -> list[str]:
    found = [
        f"{name.replace('_', ' ')} {kept}, the receipt says {said}"
        for name in (*_COUNTS, *_SEQUENCES)
        if (kept := getattr(stream, name)) != (said := getattr(receipt, name))
    ]
    if stream.digest != receipt.digest:
        found.append(f"digest {stream.digest.hex()}, the receipt says {receipt.digest.hex()}")
    return found


class Looked(NamedTuple):
    """What was found of the frames up to `through`; `is_done` when no more are to be looked at."""

    finding: Finding
    through: int
    is_done: bool = True


def check_frames(
    view: View, receipt: Receipt, after: int = 0, octets_max: int = OCTETS_AT_ONCE
) -> Looked:
    """Look at the frames that a receipt names.

    Args:
        view: of the store.
        receipt: what is said.
        after: the number of the last frame that was looked at already, 0 for none.
        octets_max: to look at; at least one frame is.
    """
    last, head = receipt.last_sequence, view.head()
    if not last:
        return _looked(None, 0, "the stream wrote nothing")
    if last > head.seq:
        return _looked(False, last, f"it ends with frame {head.seq}, frame {last} is not in it")
    kept_from = next((seq for seq, _ in view.frames()), head.seq + 1)
    if last < kept_from:
        return _looked(None, last, f"frames up to {kept_from - 1} are kept no longer")
    expected = max(receipt.first_sequence, min(after, last) + 1, kept_from)
    link = _digest_before(view, expected)
    octets = 0
    for seq, frame in view.frames(expected - 1):
        fault = _find_fault(seq, frame, expected, link)
        if fault:
            return _looked(False, seq, fault)
        expected, link, octets = seq + 1, frame_digest(frame), octets + len(frame)
        if seq > last:  # it repeats the digest of the last one
            return _all_there(receipt, kept_from)
        if octets >= octets_max:
            return Looked(Finding(JOURNAL, True, f"frames up to {seq} are there"), seq, False)
    if expected <= last:
        return _looked(False, last, f"frame {expected} is missing")
    if link != head.digest:
        return _looked(False, last, f"frame {last} is not the one that the store ends with")
    return _all_there(receipt, kept_from)


def _digest_before(view: View, seq: int) -> bytes | None:
    """Return the digest of the frame before one; None when it is kept no longer."""
    if seq == 1:
        return GENESIS_DIGEST
    found, frame = next(view.frames(seq - 2), (0, b""))
    if found == seq - 1:
        return frame_digest(frame)
    snapshot = view.snapshot()
    return snapshot[0].digest if snapshot is not None and snapshot[0].seq == seq - 1 else None


def _find_fault(seq: int, frame: bytes, expected: int, link: bytes | None) -> str:
    """Return what is wrong with a frame, "" for nothing; `link` is the digest of the one before."""
    if seq != expected:
        return f"frame {expected} is missing"
    try:
        head = decode_head(frame)
    except JournalError as error:
        return f"frame {seq} is damaged: {error}"
    if head.seq != seq:
        return f"frame {seq} says that it is frame {head.seq}"
    if link is not None and head.previous != link:
        return f"frame {seq} does not follow the frame before it: one of them was changed"
    return ""


def _all_there(receipt: Receipt, kept_from: int) -> Looked:
    first, last = receipt.first_sequence, receipt.last_sequence
    if first < kept_from:
        words = f"frames {first} to {kept_from - 1} are kept no longer, those up to {last} are"
        return _looked(None, last, words)
    return _looked(True, last, f"frames {first} to {last} are there, each follows the one before")


def _looked(holds: bool | None, through: int, words: str) -> Looked:
    return Looked(Finding(JOURNAL, holds, words), through)
