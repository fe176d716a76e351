"""Whether the values of a request may be stored at all, whoever sends them.

Every refusal names the value: "value at index 3: ...". The limits are those of `registry.schema`.
"""

from collections.abc import Sequence

from protocol.codes import ResponseCode
from protocol.errors import ProtocolError
from protocol.handle import to_text
from protocol.types import DECODERS
from protocol.value import TTL_ABSOLUTE, TTL_RELATIVE, HandleValue, encode_values
from registry.outcomes import Refusal, refuse
from registry.schema import RECORD_OCTETS_MAX, REFERENCES_MAX, VALUES_MAX

# What this node itself acts upon must make sense; keys and everything else are their owners'.
CHECKED_TYPES = frozenset(
    {b"HS_ADMIN", b"HS_VLIST", b"HS_SITE", b"HS_SITE.6", b"HS_SITE.PREFIX", b"HS_NA_DELEGATE"}
)


def check_values(
    values: Sequence[HandleValue], *, may_repeat_indexes: bool = False
) -> Refusal | None:
    """Return the refusal of the first value that may not be stored, or None."""
    if len(values) > VALUES_MAX:
        return refuse(
            ResponseCode.INVALID_VALUE,
            f"{len(values)} values given, a handle has at most {VALUES_MAX}",
        )
    seen: set[int] = set()
    for value in values:
        refusal = _check_value(value)
        if refusal is not None:
            return refusal
        if value.index in seen and not may_repeat_indexes:
            return refuse(
                ResponseCode.VALUE_ALREADY_EXISTS,
                f"value at index {value.index}: the index is given twice",
            )
        seen.add(value.index)
    return None


def _check_value(value: HandleValue) -> Refusal | None:
    fault = _find_fault(value)
    if fault is None:
        return None
    return refuse(ResponseCode.INVALID_VALUE, f"value at index {value.index}: {fault}")


def _find_fault(value: HandleValue) -> str | None:
    if value.index <= 0:
        return "an index is at least 1"
    if value.ttl_type not in (TTL_RELATIVE, TTL_ABSOLUTE):
        return f"ttl type {value.ttl_type} is unknown, use 0 (relative) or 1 (absolute)"
    if len(value.references) > REFERENCES_MAX:
        return f"{len(value.references)} references, at most {REFERENCES_MAX} are kept"
    if value.type in CHECKED_TYPES:
        try:
            DECODERS[value.type](value.data)
        except ProtocolError as error:
            return f"{to_text(value.type)} data: {error}"
    return None


def check_record(values: Sequence[HandleValue]) -> Refusal | None:
    """Return the refusal of a handle that would grow too large to be answered, or None."""
    if len(values) > VALUES_MAX:
        return refuse(
            ResponseCode.INVALID_VALUE,
            f"the handle would have {len(values)} values, at most {VALUES_MAX} fit",
        )
    octets = len(encode_values(values))
    if octets > RECORD_OCTETS_MAX:
        largest = max(values, key=lambda value: len(value.data))
        return refuse(
            ResponseCode.INVALID_VALUE,
            f"the values take {octets} octets, at most {RECORD_OCTETS_MAX} fit into an answer; "
            f"the largest is the value at index {largest.index}: {len(largest.data)} octets",
        )
    return None
