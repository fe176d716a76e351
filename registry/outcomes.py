"""How a step of the registry ends, other than with the thing asked for.

Steps have no I/O. One that lacks the values of a handle on another node returns `Need`; its caller
fetches them and calls again with more in `foreign`, until the step ends in something else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from protocol.codes import ResponseCode
from protocol.handle import fold_handle, to_text
from protocol.value import Reference
from registry.schema import Record


@dataclass(frozen=True, slots=True)
class Refusal:
    """The request is answered with an error: a response code and words in UTF-8."""

    response_code: ResponseCode
    message: bytes


@dataclass(frozen=True, slots=True)
class NeedAuthentication:
    """Whoever asks must prove who he is: answer with a challenge (402)."""


@dataclass(frozen=True, slots=True)
class Need:
    """Fetch these handles, certified, and call again; they are keys of `Foreign`."""

    handles: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A handle that could not be fetched, and why in words."""

    reason: str


@dataclass(frozen=True, slots=True)
class OldRecord(Record):
    """What a handle had when it was last fetched; it is unavailable now, and why in words."""

    reason: str = ""


# Handles of other nodes by `foreign_key`: their record, None when there is no such handle.
Foreign = Mapping[bytes, Record | Unavailable | None]
NOTHING_FOREIGN: Foreign = MappingProxyType({})


def foreign_key(handle: bytes) -> bytes:
    """Return the name a foreign handle is known by: its suffix keeps the case.

    Two handles that differ in case are two handles if their node says so; only it knows.
    """
    return fold_handle(handle, case_sensitive=True)


def refuse(response_code: ResponseCode, message: str) -> Refusal:
    """Return a refusal with its words as octets."""
    return Refusal(response_code, message.encode())


def identity_text(identity: Reference) -> str:
    """Return an identity as people write it: `300:0.NA/88.118`."""
    return f"{identity.index}:{to_text(identity.handle)}"
