"""The numbers of the Handle protocol: opcodes, response codes, message flags, permissions.

RFC 3652 §2.2.2 names most of them; where Handle.Net extends the RFC, the comment says so.
"""

from enum import IntEnum


class OpCode(IntEnum):
    """What a request asks for (header octets 0-3)."""

    RESERVED = 0
    RESOLUTION = 1
    GET_SITE_INFO = 2
    CREATE_HANDLE = 100
    DELETE_HANDLE = 101
    ADD_VALUE = 102
    REMOVE_VALUE = 103
    MODIFY_VALUE = 104
    LIST_HANDLES = 105
    RESPONSE_TO_CHALLENGE = 200  # Handle.Net: OC_RESPONSE_TO_CHALLENGE
    VERIFY_CHALLENGE = 201
    HOME_NA = 300
    UNHOME_NA = 301
    LIST_HOMED_NAS = 302
    SESSION_SETUP = 400
    SESSION_TERMINATE = 401
    SESSION_EXCHANGE_KEY = 402
    GET_NEXT_TXN_ID = 1000  # Handle.Net only, as are the three below
    RETRIEVE_TXN_LOG = 1001
    DUMP_HANDLES = 1002
    BACKUP_SERVER = 1003


class ResponseCode(IntEnum):
    """How a request ended (header octets 4-7); 0 marks a request."""

    REQUEST = 0
    SUCCESS = 1
    ERROR = 2
    SERVER_TOO_BUSY = 3
    PROTOCOL_ERROR = 4
    OPERATION_NOT_SUPPORTED = 5
    RECURSION_COUNT_TOO_HIGH = 6
    SERVER_BACKUP = 7  # the node is read-only for now
    HANDLE_NOT_FOUND = 100
    HANDLE_ALREADY_EXISTS = 101
    INVALID_HANDLE = 102
    VALUES_NOT_FOUND = 200
    VALUE_ALREADY_EXISTS = 201
    INVALID_VALUE = 202
    OUT_OF_DATE_SITE_INFO = 300
    SERVER_NOT_RESPONSIBLE = 301
    SERVICE_REFERRAL = 302
    PREFIX_REFERRAL = 303  # Handle.Net before 2.5: RC_NA_DELEGATE
    INVALID_ADMIN = 400
    INSUFFICIENT_PERMISSIONS = 401
    AUTHENTICATION_NEEDED = 402
    AUTHENTICATION_FAILED = 403
    INVALID_CREDENTIAL = 404
    AUTHENTICATION_TIMEOUT = 405
    AUTHENTICATION_ERROR = 406
    SESSION_TIMEOUT = 500
    SESSION_FAILED = 501
    INVALID_SESSION_KEY = 502
    NEED_RSA_KEY_FOR_SESSION = 503
    INVALID_SESSION_SETUP_REQUEST = 504
    SESSION_MESSAGE_REJECTED = 505


REFERRALS = frozenset({ResponseCode.SERVICE_REFERRAL, ResponseCode.PREFIX_REFERRAL})

READ_OPCODES = frozenset({OpCode.RESOLUTION, OpCode.GET_SITE_INFO})

# Opcodes an interface without the admin bit answers too (a stock site's UDP is query-only).
QUERY_OPCODES = frozenset(
    {
        OpCode.RESOLUTION,
        OpCode.GET_SITE_INFO,
        OpCode.RESPONSE_TO_CHALLENGE,
        OpCode.VERIFY_CHALLENGE,
        OpCode.SESSION_SETUP,
        OpCode.SESSION_TERMINATE,
        OpCode.SESSION_EXCHANGE_KEY,
    }
)


class MessageFlag:
    """Bits of the header's flag word. Plain integers: they are tested for every message."""

    AUTHORITATIVE = 0x80000000
    CERTIFY = 0x40000000
    ENCRYPT = 0x20000000
    RECURSIVE = 0x10000000
    CACHE_CERTIFY = 0x08000000
    CONTINUOUS = 0x04000000
    KEEP_ALIVE = 0x02000000
    PUBLIC_ONLY = 0x01000000
    REQUEST_DIGEST = 0x00800000
    OVERWRITE = 0x00400000  # Handle.Net extension, as are the two below
    MINT_SUFFIX = 0x00200000
    DO_NOT_REFER = 0x00100000


class EnvelopeFlag:
    """Bits of envelope octet 2; its two low bits hold the suggested major version instead."""

    COMPRESSED = 0x80
    ENCRYPTED = 0x40
    TRUNCATED = 0x20


class Permission:
    """Bits of a handle value's permission octet (RFC 3651 §3.1)."""

    ADMIN_READ = 0x8
    ADMIN_WRITE = 0x4
    PUBLIC_READ = 0x2
    PUBLIC_WRITE = 0x1
    DEFAULT = ADMIN_READ | ADMIN_WRITE | PUBLIC_READ


class AdminPermission:
    """Bits of an HS_ADMIN value's permission word (RFC 3651 §3.2.1)."""

    ADD_HANDLE = 0x001
    DELETE_HANDLE = 0x002
    ADD_DERIVED_PREFIX = 0x004
    DELETE_DERIVED_PREFIX = 0x008
    MODIFY_VALUE = 0x010
    REMOVE_VALUE = 0x020
    ADD_VALUE = 0x040
    MODIFY_ADMIN = 0x080
    REMOVE_ADMIN = 0x100
    ADD_ADMIN = 0x200
    READ_VALUE = 0x400
    LIST_HANDLES = 0x800
    ALL = 0xFFF
