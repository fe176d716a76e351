"""What a node says of a receipt that somebody shows it: its own signature, its own stream."""

from typing import NamedTuple

from protocol import jws
from protocol.errors import SecurityError
from protocol.types.hs_pubkey import decode_public_key
from registry.receipt_checks import Finding, check_frames, check_stream
from registry.receipts import from_payload
from registry.store import Store
from resolver.node import Node

SIGNATURE = "signature"


class ReceiptFindings(NamedTuple):
    """What was found. `next_after` is not 0 when more frames of the journal have to be looked at:
    ask again from there.
    """

    findings: tuple[Finding, ...]
    next_after: int = 0


def find_receipt(node: Node, store: Store, token: str, after: int) -> ReceiptFindings:
    """Look at a receipt; may take some ten milliseconds.

    What this node did not sign is told nothing else: its streams are their owners' affair.

    Raises:
        DecodeError, ReceiptError: this is no receipt.
        StoreError: what is kept is damaged.
    """
    signature, payload = _check_signature(node, token)
    if payload is None:
        return ReceiptFindings((signature,))
    receipt = from_payload(payload)
    with store.read() as view:
        stream = check_stream(view, receipt)
        looked = check_frames(view, receipt, after)
    next_after = 0 if looked.is_done else looked.through
    return ReceiptFindings((signature, stream, looked.finding), next_after)


def _check_signature(node: Node, token: str) -> tuple[Finding, bytes | None]:
    """Check a signature with the key that the receipt names, if it is or was this node's."""
    named = jws.peek(token)[0].key_id
    known = node.find_key(named) if named else None
    try:
        payload = jws.verify(token, decode_public_key(known or node.public_key))
    except SecurityError as error:
        words = str(error)
        if named and known is None:
            words = f"{words}: it names {named[:80]}, this node's key is {node.key_id}"
        return Finding(SIGNATURE, False, words), None
    earlier = "" if known in (None, node.public_key) else " with a key of before"
    return Finding(SIGNATURE, True, f"{node.name} signed it{earlier}"), payload
