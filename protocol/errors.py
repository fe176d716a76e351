"""What `protocol` raises, and the response code each error is answered with.

    ProtocolError              4   the peer broke a rule of the protocol
     ├─ DecodeError            4   octets that are truncated, too long or contradictory
     ├─ InvalidHandleError   102   a name that is not a handle
     ├─ InvalidValueError    202   a handle value whose data do not have its type's form
     ├─ VersionError           4   a protocol version that is not spoken here
     └─ SecurityError        403   a signature, MAC, cipher text or answer that does not hold
         └─ KeyFileError     403   a key file that cannot be read with this passphrase

An answer such as "not found" is never an exception: it is a response code in what is returned.
"""

from protocol.codes import ResponseCode


class ProtocolError(Exception):
    """A peer or caller broke a rule; `response_code` is what to answer it with."""

    response_code = ResponseCode.PROTOCOL_ERROR


class DecodeError(ProtocolError):
    """Octets that end too early, announce a length out of range or contradict themselves."""


class InvalidHandleError(ProtocolError):
    """A name that is not a handle: too long, not UTF-8, or empty."""

    response_code = ResponseCode.INVALID_HANDLE


class InvalidValueError(ProtocolError):
    """A handle value, or its JSON form, that does not have the form its type asks for."""

    response_code = ResponseCode.INVALID_VALUE


class VersionError(ProtocolError):
    """A protocol version that is not spoken here."""


class SecurityError(ProtocolError):
    """A signature, MAC, cipher text or challenge answer that does not hold."""

    response_code = ResponseCode.AUTHENTICATION_FAILED


class KeyFileError(SecurityError):
    """A key file that is damaged, or is not opened by the passphrase given."""
