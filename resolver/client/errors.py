"""What the client raises, and what the reader can do about each.

    HandleError                          every refusal; has response_code, words, hint, hops
     ├─ HandleNotFoundError       100
     ├─ ValuesNotFoundError       200
     ├─ AlreadyExistsError        101, 201
     ├─ InvalidRequestError       102, 202
     ├─ PermissionRefusedError    400, 401
     ├─ AuthenticationRefusedError 402 to 406
     ├─ ServiceUnavailableError   3, 6, 7, 500 to 505
     ├─ UnreachableError          nobody answered: no code
     │   ├─ UntrustedNodeError    somebody did, who is not the node that was meant
     │   └─ UnbelievedError       somebody did, and the answer breaks the protocol or is not signed
     └─ StreamError               a stream of registrations cannot go on with these rows
         ├─ StreamChangedError    other rows were sent under its key before
         └─ StreamEndedError      it has its receipt, and there are more rows

Inside the node an answer is a returned code, never an exception. This is the edge where a person's
program calls, and there a refusal that can be overlooked is worse than one that stops.
"""

from collections.abc import Sequence

from protocol.codes import ResponseCode
from resolver.asking import Hop


class HandleError(Exception):
    """A request that was refused or not answered.

    Attributes:
        response_code: the node's, or None when no node answered.
        words: what the node said, or what happened.
        hint: what to do about it.
        hops: the attempts made, in order.
    """

    def __init__(
        self,
        words: str,
        *,
        response_code: int | None = None,
        hint: str = "",
        hops: Sequence[Hop] = (),
    ) -> None:
        super().__init__(words)
        self.response_code = response_code
        self.words = words
        self.hint = hint
        self.hops = tuple(hops)


class HandleNotFoundError(HandleError):
    """The handle, or its prefix, is not registered."""


class ValuesNotFoundError(HandleError):
    """The handle exists, but has no value of the indexes or types asked for."""


class AlreadyExistsError(HandleError):
    """The handle, or a value at that index, exists; nothing was changed."""


class InvalidRequestError(HandleError):
    """The handle or a value is not well-formed; nothing was changed."""


class PermissionRefusedError(HandleError):
    """This identity may not do that."""


class AuthenticationRefusedError(HandleError):
    """The node wants proof of identity, or the proof did not hold."""


class ServiceUnavailableError(HandleError):
    """The node cannot do it now; later it may."""


class UnreachableError(HandleError):
    """Nobody answered, or nobody who could be believed."""


class UntrustedNodeError(UnreachableError):
    """Whoever answered did not show the node's certificate."""


class UnbelievedError(UnreachableError):
    """Somebody answered, but the answer breaks the protocol or may not be believed."""


class StreamError(HandleError):
    """A stream of registrations cannot go on with these rows; those acknowledged are kept."""


class StreamChangedError(StreamError):
    """The stream's rows are not those sent under its key before."""


class StreamEndedError(StreamError):
    """The stream has ended and has its receipt; these rows are more than it has."""


_KINDS: dict[int, tuple[type[HandleError], str]] = {
    ResponseCode.SERVER_TOO_BUSY: (ServiceUnavailableError, "try again in a few seconds"),
    ResponseCode.OPERATION_NOT_SUPPORTED: (
        HandleError,
        "this node does not do that: ask a node that registers handles",
    ),
    ResponseCode.RECURSION_COUNT_TOO_HIGH: (
        ServiceUnavailableError,
        "recursive nodes ask each other in a circle: point bootstrap.json at the top node",
    ),
    ResponseCode.SERVER_BACKUP: (
        ServiceUnavailableError,
        "the node registers nothing at the moment: it is a mirror, or its disk is full",
    ),
    ResponseCode.HANDLE_NOT_FOUND: (
        HandleNotFoundError,
        "check the spelling; what is revoked stays so, a new identifier must be registered first",
    ),
    ResponseCode.HANDLE_ALREADY_EXISTS: (
        AlreadyExistsError,
        "change it with update, or replace it with --overwrite (overwrite=True), unless revoked",
    ),
    ResponseCode.INVALID_HANDLE: (
        InvalidRequestError,
        "write it as prefix/suffix in UTF-8, 2,048 octets at most",
    ),
    ResponseCode.VALUES_NOT_FOUND: (
        ValuesNotFoundError,
        "resolve it without types and indexes to see what it has",
    ),
    ResponseCode.VALUE_ALREADY_EXISTS: (
        AlreadyExistsError,
        "choose a free index, or replace the value: update --modify TYPE:INDEX=DATA",
    ),
    ResponseCode.INVALID_VALUE: (InvalidRequestError, "mend the value the message names"),
    ResponseCode.SERVER_NOT_RESPONSIBLE: (
        HandleError,
        "the prefix is not homed at this node, or names no site: check its HS_SITE value",
    ),
    ResponseCode.INVALID_ADMIN: (
        PermissionRefusedError,
        "use an identity that an HS_ADMIN value of the handle or its prefix names",
    ),
    ResponseCode.INSUFFICIENT_PERMISSIONS: (
        PermissionRefusedError,
        "nobody may: a value's permissions, a freeze, a suspended prefix or a quota forbid it",
    ),
    ResponseCode.AUTHENTICATION_NEEDED: (
        AuthenticationRefusedError,
        "give an identity: its index:handle and its private key or secret",
    ),
    ResponseCode.AUTHENTICATION_FAILED: (
        AuthenticationRefusedError,
        "the key or secret is not the one registered at this identity's index",
    ),
    ResponseCode.AUTHENTICATION_TIMEOUT: (AuthenticationRefusedError, "try again"),
}
_AUTHENTICATION_HINT = "check that the identity's handle exists and holds its key at that index"
_SESSION_CODES = range(500, 600)
_AUTHENTICATION_CODES = range(402, 407)


def error_for(response_code: int, words: str, hops: Sequence[Hop] = ()) -> HandleError:
    """Return the error that stands for a response code."""
    kind, hint = _KINDS.get(response_code, (HandleError, ""))
    if response_code in _SESSION_CODES:
        kind, hint = ServiceUnavailableError, "try again: the node ended the session"
    elif response_code in _AUTHENTICATION_CODES and not hint:
        kind, hint = AuthenticationRefusedError, _AUTHENTICATION_HINT
    return kind(words or name_of(response_code), response_code=response_code, hint=hint, hops=hops)


def unreachable(words: str, hops: Sequence[Hop] = ()) -> UnreachableError:
    """Return the error for when nobody answered."""
    hint = "check that the node runs and that its address and ports can be reached from here"
    return UnreachableError(words, hint=hint, hops=hops)


def unbelieved(words: str, hops: Sequence[Hop] = ()) -> UnbelievedError:
    """Return the error for when an answer came that may not be believed."""
    hint = "compare the site record you go by with what the node says of itself now (/api/site)"
    return UnbelievedError(words, hint=hint, hops=hops)


def unsendable(words: str) -> InvalidRequestError:
    """Return the error for a request that no server would take; it was not sent."""
    return InvalidRequestError(words, hint="give fewer or shorter values in one request")


def untrusted(words: str) -> UntrustedNodeError:
    """Return the error for when a certificate is not the one expected."""
    hint = "name the PEM file of its certificate, or of who issued it; or is this another node?"
    return UntrustedNodeError(words, hint=hint)


def name_of(response_code: int) -> str:
    """Return a response code in words: 100 -> "handle not found"."""
    try:
        return ResponseCode(response_code).name.lower().replace("_", " ")
    except ValueError:
        return f"response code {response_code}"
