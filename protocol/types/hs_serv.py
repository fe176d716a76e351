"""HS_SERV and HS_SERV.PREFIX: the handle of a service, whose HS_SITE values hold its sites.

The data are the handle's octets, without a length.
"""

from dataclasses import dataclass

from protocol.errors import InvalidValueError
from protocol.wire import HANDLE_OCTETS_MAX


@dataclass(frozen=True, slots=True)
class HsServ:
    """Where to look for the sites of a prefix."""

    handle: bytes

    def encode(self) -> bytes:
        """Return the value's data."""
        return self.handle


def decode_hs_serv(data: bytes) -> HsServ:
    """Decode HS_SERV data.

    Raises:
        InvalidValueError: no octets, or more than a handle may have.
    """
    if not 0 < len(data) <= HANDLE_OCTETS_MAX:
        raise InvalidValueError(
            f"HS_SERV holds a handle of 1 to {HANDLE_OCTETS_MAX} octets, not {len(data)}"
        )
    return HsServ(data)
