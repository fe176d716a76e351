"""A stored range written as the document that would register it again, with what is known of it."""

from dataclasses import dataclass
from typing import Any

from protocol.errors import ProtocolError
from protocol.handle import to_text
from protocol.json_forms import time_to_json, value_to_json
from protocol.value import Reference
from registry.errors import RecordError
from registry.outcomes import identity_text
from registry.range_documents import Range
from registry.range_values import Origin, Pattern, stored_patterns


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of a range: what its RANGE value says, and its values as templates."""

    origin: Origin
    patterns: list[Pattern]


def read_shown(range_: Range) -> Shown:
    """Return what the record of a range says. Raises: RecordError: damaged."""
    try:
        patterns, origin = stored_patterns(range_.record)
    except (ProtocolError, ValueError) as error:
        raise RecordError(f"the values of a range do not decode: {error}") from error
    return Shown(origin, patterns)


def show_range(range_: Range, *, public_only: bool = True) -> dict[str, Any]:
    """Return the document of a range. Raises: RecordError: damaged.

    Args:
        range_: as stored.
        public_only: leave out the values that not everybody may read.
    """
    shown = read_shown(range_)
    origin, revoked = shown.origin, range_.revoked
    document: dict[str, Any] = {
        "stem": to_text(origin.stem),
        "first": origin.first.decode(),
        "last": origin.last.decode(),
        "check": range_.span.check or "none",
        "identifiers": range_.span.size,
        "state": "active" if revoked is None else "revoked",
        "registered": time_to_json(origin.registered_s),
        "by": _by(origin.by),
        "values": [
            _pattern_form(pattern)
            for pattern in shown.patterns
            if pattern.value.is_public or not public_only
        ],
    }
    if revoked is not None:
        time_s, handle, index, reason = revoked
        document["revoked"] = time_to_json(time_s)
        document["revokedBy"] = _by(Reference(handle, index))
        document["reason"] = reason
    return document


def _by(identity: Reference) -> str:
    return identity_text(identity) if identity.handle else ""


def _pattern_form(pattern: Pattern) -> dict[str, Any]:
    form = value_to_json(pattern.value)
    if pattern.is_template:
        form["data"] = {"format": "string", "value": pattern.value.data.decode()}
    return form


def name_range(range_: Range) -> str:
    """Return what a range is called in words: `88.118.5/LOT.000001..100000`."""
    origin = read_shown(range_).origin
    return to_text(origin.stem + origin.first + b".." + origin.last)


def revocation_words(handle: bytes, revoked: list[Any]) -> str:
    """Return why an identifier of a revoked range is not there."""
    time_s, by, index, reason = revoked
    who = _by(Reference(by, index)) or "the owner of the node"
    return (
        f"{to_text(handle)} was revoked with its whole range on {time_to_json(time_s)} by {who}: "
        f"{reason}"
    )
