"""Message bodies: what stands between header and credential, by opcode and response code.

Requests have one body class per shape; `decode_request_body` finds it by opcode. A success
response's body depends on the opcode, every other response's on its response code; a digest that
stands first is returned beside it by `decode_response_body`.

This module is where others import bodies from; the classes live in `body_shapes` (shared),
`request_bodies` and `answer_bodies`.
"""

from protocol.answer_bodies import (
    ChallengeAnswer,
    CreatedAnswer,
    ErrorAnswer,
    HandleListAnswer,
    ReferralAnswer,
    SessionSetupAnswer,
    SiteInfoAnswer,
    StreamAnswer,
    TransactionIdAnswer,
    VerificationAnswer,
    decode_response_body,
)
from protocol.body_shapes import (
    Body,
    Empty,
    UnknownBody,
    ValuesRequest,
)
from protocol.request_bodies import (
    SESSION_MODE_CLIENT_KEY,
    SESSION_MODE_DIFFIE_HELLMAN,
    SESSION_MODE_KEY_IN_HANDLE,
    SESSION_MODE_SERVER_KEY,
    ChallengeAnswerRequest,
    DumpRequest,
    HandleRequest,
    RemoveValuesRequest,
    ResolutionRequest,
    RetrieveLogRequest,
    SessionExchangeKeyRequest,
    SessionSetupRequest,
    VerifyChallengeRequest,
    decode_request_body,
)

__all__ = [
    "SESSION_MODE_CLIENT_KEY",
    "SESSION_MODE_DIFFIE_HELLMAN",
    "SESSION_MODE_KEY_IN_HANDLE",
    "SESSION_MODE_SERVER_KEY",
    "Body",
    "ChallengeAnswer",
    "ChallengeAnswerRequest",
    "CreatedAnswer",
    "DumpRequest",
    "Empty",
    "ErrorAnswer",
    "HandleListAnswer",
    "HandleRequest",
    "ReferralAnswer",
    "RemoveValuesRequest",
    "ResolutionRequest",
    "RetrieveLogRequest",
    "SessionExchangeKeyRequest",
    "SessionSetupAnswer",
    "SessionSetupRequest",
    "SiteInfoAnswer",
    "StreamAnswer",
    "TransactionIdAnswer",
    "UnknownBody",
    "ValuesRequest",
    "VerificationAnswer",
    "VerifyChallengeRequest",
    "decode_request_body",
    "decode_response_body",
]
