"""When what is signed about a node's own handles ends, for the metrics.

Looked at are the handles that the node's standing rests on and that it holds itself: the prefix
handles homed here and those of its administrators. Certificates of identifiers below are their
owners' to watch, with `biaoshi trust check`.
"""

from collections.abc import Iterable, Sequence

from protocol.claims import TRUST_TYPES, read_claims
from protocol.errors import ProtocolError
from protocol.value import HandleValue
from registry.errors import RecordError
from registry.views import View

PREFIXES_MAX = 1_000  # homed prefixes looked at; a node has a few, a hosting one some hundreds


def find_soonest_expiry(view: View, administrators: Iterable[bytes] = ()) -> int:
    """Return when the first certificate or signature ends, seconds since 1970; 0: there is none.

    Args:
        view: the store.
        administrators: their handles.
    """
    found = []
    for handle in {*view.list_homed(None, PREFIXES_MAX).handles, *administrators}:
        try:
            record = view.find_record(handle)
        except RecordError:
            continue  # a damaged record is said where it is resolved
        if record is not None:
            found += expiries(record.values)
    return min(found, default=0)


def expiries(values: Sequence[HandleValue]) -> list[int]:
    """Return when a record's certificates and signatures end.

    One that cannot be read, or names no end, is passed over: `biaoshi trust check` says so.
    """
    found = []
    for value in values:
        if value.type not in TRUST_TYPES:
            continue
        try:
            _, claims = read_claims(value.data)
        except ProtocolError:
            continue
        if claims.expires_s is not None:
            found.append(claims.expires_s)
    return found
