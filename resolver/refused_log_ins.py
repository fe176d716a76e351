"""Refused log-ins in the log: who was claimed to be, from where, by which transport, and why not.

    warning: log-in refused: the proof of identity does not hold identity=300:0.NA/88.118
             address=192.0.2.7 transport=tcp repeated=12

What was sent to prove it is never logged. An address gets one line in a while, whoever it claims to
be: somebody who tries names and passwords can fill neither the log nor the disk.
"""

import logging

from protocol.codes import ResponseCode
from protocol.handle import to_text
from protocol.types.hs_site import (
    TRANSPORT_HTTP,
    TRANSPORT_HTTPS,
    TRANSPORT_TCP,
    TRANSPORT_UDP,
)
from protocol.value import Reference
from resolver.logs import RateLimit

WORDS_CHARACTERS_MAX = 120  # of an identity and of a reason: a handle may have 2,048 octets
_TRANSPORTS = {
    TRANSPORT_UDP: "udp",
    TRANSPORT_TCP: "tcp",
    TRANSPORT_HTTP: "http",
    TRANSPORT_HTTPS: "https",
}
# Other codes say that the node could not check, or that what was asked for is impossible anyway.
_REFUSED_CODES = frozenset(
    {
        ResponseCode.INVALID_ADMIN,
        ResponseCode.AUTHENTICATION_FAILED,
        ResponseCode.INVALID_CREDENTIAL,
        ResponseCode.AUTHENTICATION_ERROR,
    }
)

_log = logging.getLogger(__name__)


class RefusedLogIns:
    """Logs refused log-ins.

    Args:
        limit: how often one address is logged.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit

    def note(self, user: Reference, address: str, transport: int, code: int, words: bytes) -> None:
        """Log a refusal of somebody who claims to be `user`, if it is one of a log-in."""
        if code not in _REFUSED_CODES:
            return
        self._limit.warning(
            address,
            "log-in refused: %s",
            _shorten(to_text(words) or f"response code {code}"),
            identity=_shorten(f"{user.index}:{to_text(user.handle)}"),
            address=address,
            transport=_TRANSPORTS.get(transport, str(transport)),
        )


def make_refused_log_ins(repeat_after_s: float) -> RefusedLogIns:
    """Return one that writes to this module's log."""
    return RefusedLogIns(RateLimit(_log, repeat_after_s))


def _shorten(text: str) -> str:
    if len(text) <= WORDS_CHARACTERS_MAX:
        return text
    return f"{text[:WORDS_CHARACTERS_MAX]}..."
