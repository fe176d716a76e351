"""Hypothesis strategies for everything that encodes and decodes."""

from typing import TypeVar

from hypothesis import strategies as st

from protocol.bodies import (
    Body,
    ChallengeAnswer,
    ChallengeAnswerRequest,
    CreatedAnswer,
    DumpRequest,
    Empty,
    ErrorAnswer,
    HandleListAnswer,
    HandleRequest,
    ReferralAnswer,
    RemoveValuesRequest,
    ResolutionRequest,
    RetrieveLogRequest,
    SessionExchangeKeyRequest,
    SessionSetupAnswer,
    SessionSetupRequest,
    SiteInfoAnswer,
    StreamAnswer,
    TransactionIdAnswer,
    UnknownBody,
    ValuesRequest,
    VerificationAnswer,
    VerifyChallengeRequest,
)
from protocol.codes import OpCode, ResponseCode
from protocol.credential import Credential
from protocol.digests import DIGEST_OCTETS, MD5, RequestDigest
from protocol.envelope import Envelope
from protocol.header import Header
from protocol.message import Message
from protocol.types.hs_admin import HsAdmin
from protocol.types.hs_site import HsSite, SiteInterface, SiteServer
from protocol.types.hs_vlist import HsVlist
from protocol.value import HandleValue, Reference
from protocol.versions import V2_8, V2_9, Version

U8 = st.integers(0, 0xFF)
U16 = st.integers(0, 0xFFFF)
I16 = st.integers(-(2**15), 2**15 - 1)
I32 = st.integers(-(2**31), 2**31 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
OCTETS = st.binary(max_size=40)
HANDLES = st.binary(max_size=24)
MINORS = st.builds(Version, st.just(2), st.integers(0, 10))


Item = TypeVar("Item")


def tuples_of(items: st.SearchStrategy[Item]) -> st.SearchStrategy[tuple[Item, ...]]:
    return st.lists(items, max_size=4).map(tuple)


REFERENCES = st.builds(Reference, HANDLES, I32)
VALUES = st.builds(HandleValue, I32, OCTETS, OCTETS, U8, I32, U8, I32, tuples_of(REFERENCES))
ADMINS = st.builds(HsAdmin, U16, REFERENCES, st.sampled_from([b"", b"\0\0"]))
VLISTS = st.builds(HsVlist, tuples_of(REFERENCES))
INTERFACES = st.builds(SiteInterface, U8, U8, st.integers(0, 65_535))
SERVERS = st.builds(
    SiteServer, I32, st.binary(min_size=16, max_size=16), OCTETS, tuples_of(INTERFACES)
)
SITES = st.builds(
    HsSite,
    st.builds(Version, U8, U8),
    U16,
    st.booleans(),
    tuples_of(SERVERS),
    tuples_of(st.tuples(OCTETS, OCTETS)),
    st.booleans(),
    st.integers(0, 0x3F),
    st.integers(0, 2),
    OCTETS,
    I16,
)

ENVELOPES = st.builds(
    Envelope,
    st.builds(Version, U8, U8),
    st.builds(Version, st.integers(0, 3), U8),
    st.integers(0, 7).map(lambda bits: bits << 5),
    I32,
    I32,
    st.integers(0, 2**31 - 1),
    st.integers(0, 262_144),
)
HEADERS = st.builds(Header, I32, I32, st.integers(0, 2**32 - 1), I32, U16, U8, U8)
CREDENTIALS = st.builds(Credential, U8, I16, I32, OCTETS, OCTETS, OCTETS, U8, OCTETS)
MESSAGES = st.builds(Message, ENVELOPES, HEADERS, OCTETS, OCTETS)

NEW_DIGESTS = st.sampled_from(sorted(DIGEST_OCTETS)).flatmap(
    lambda algorithm: st.builds(
        RequestDigest,
        st.just(algorithm),
        st.binary(min_size=DIGEST_OCTETS[algorithm], max_size=DIGEST_OCTETS[algorithm]),
    )
)
OLD_DIGESTS = st.builds(
    RequestDigest, st.just(0), st.binary(min_size=DIGEST_OCTETS[MD5], max_size=DIGEST_OCTETS[MD5])
)
DIGESTS = NEW_DIGESTS | OLD_DIGESTS


def session_setups() -> st.SearchStrategy[Body]:
    common = (I32, HANDLES, I32)
    rest = st.sampled_from([b"", b"\0\0"])
    return st.one_of(
        st.builds(SessionSetupRequest, st.sampled_from([1, 4]), *common, OCTETS, trailing=rest),
        st.builds(
            SessionSetupRequest,
            st.just(3),
            *common,
            key_handle=HANDLES,
            key_index=I32,
            trailing=rest,
        ),
        st.builds(SessionSetupRequest, st.just(2), *common, trailing=rest),
    )


def retrieve_logs(*, with_mode: bool) -> st.SearchStrategy[Body]:
    share = (U8, I32, I32)
    mode = st.integers(2, 255) | st.just(0) if with_mode else st.none()
    by_id = st.builds(RetrieveLogRequest, mode, I64, I64, st.just(b""), *share)
    if not with_mode:
        return by_id
    zero = st.just(0)
    return by_id | st.builds(RetrieveLogRequest, st.just(1), zero, zero, OCTETS, *share)


_HANDLE = st.builds(HandleRequest, HANDLES)
_VALUES = st.builds(ValuesRequest, HANDLES, tuples_of(VALUES))
_VERIFY = st.builds(
    VerifyChallengeRequest, HANDLES, I32, OCTETS, NEW_DIGESTS, st.just(False), OCTETS
) | st.builds(
    VerifyChallengeRequest,
    HANDLES,
    I32,
    OCTETS,
    st.builds(RequestDigest, st.just(0), OCTETS),
    st.just(True),
    OCTETS,
)
_REQUEST_BODIES: dict[int, st.SearchStrategy[Body]] = {
    OpCode.RESERVED: st.builds(UnknownBody, OCTETS),
    OpCode.RESOLUTION: st.builds(ResolutionRequest, HANDLES, tuples_of(I32), tuples_of(OCTETS)),
    OpCode.GET_SITE_INFO: _HANDLE,
    OpCode.CREATE_HANDLE: _VALUES,
    OpCode.DELETE_HANDLE: _HANDLE,
    OpCode.ADD_VALUE: _VALUES,
    OpCode.REMOVE_VALUE: st.builds(RemoveValuesRequest, HANDLES, tuples_of(I32)),
    OpCode.MODIFY_VALUE: _VALUES,
    OpCode.LIST_HANDLES: _HANDLE,
    OpCode.RESPONSE_TO_CHALLENGE: st.builds(ChallengeAnswerRequest, OCTETS, HANDLES, I32, OCTETS),
    OpCode.VERIFY_CHALLENGE: _VERIFY,
    OpCode.HOME_NA: _HANDLE,
    OpCode.UNHOME_NA: _HANDLE,
    OpCode.LIST_HOMED_NAS: _HANDLE,
    OpCode.SESSION_SETUP: session_setups(),
    OpCode.SESSION_TERMINATE: _HANDLE,
    OpCode.SESSION_EXCHANGE_KEY: st.builds(SessionExchangeKeyRequest, OCTETS),
    OpCode.GET_NEXT_TXN_ID: _HANDLE,
    OpCode.DUMP_HANDLES: st.builds(DumpRequest, U8, I32, I32)
    | st.builds(DumpRequest, U8, I32, I32, HANDLES, I32),
    OpCode.BACKUP_SERVER: _HANDLE,
}


REQUESTS: st.SearchStrategy[tuple[int, Version, Body]] = st.one_of(
    *(
        st.tuples(st.just(int(opcode)), st.just(V2_8), bodies)
        for opcode, bodies in _REQUEST_BODIES.items()
    ),
    st.tuples(st.just(int(OpCode.RETRIEVE_TXN_LOG)), st.just(V2_9), retrieve_logs(with_mode=True)),
    st.tuples(st.just(int(OpCode.RETRIEVE_TXN_LOG)), st.just(V2_8), retrieve_logs(with_mode=False)),
)

_EMPTY = st.just(Empty())
_LIST = st.builds(HandleListAnswer, tuples_of(HANDLES))
_SUCCESS_BODIES: dict[int, st.SearchStrategy[Body]] = {
    OpCode.RESOLUTION: _VALUES,
    OpCode.GET_SITE_INFO: st.builds(SiteInfoAnswer, OCTETS),
    OpCode.CREATE_HANDLE: st.builds(CreatedAnswer, st.none() | HANDLES),
    OpCode.DELETE_HANDLE: _EMPTY,
    OpCode.ADD_VALUE: _EMPTY,
    OpCode.REMOVE_VALUE: _EMPTY,
    OpCode.MODIFY_VALUE: _EMPTY,
    OpCode.LIST_HANDLES: _LIST,
    OpCode.VERIFY_CHALLENGE: st.builds(VerificationAnswer, U8),
    OpCode.HOME_NA: _EMPTY,
    OpCode.UNHOME_NA: _EMPTY,
    OpCode.LIST_HOMED_NAS: _LIST,
    OpCode.SESSION_SETUP: st.builds(SessionSetupAnswer, I16, OCTETS, OCTETS),
    OpCode.SESSION_TERMINATE: _EMPTY,
    OpCode.SESSION_EXCHANGE_KEY: _EMPTY,
    OpCode.GET_NEXT_TXN_ID: st.builds(TransactionIdAnswer, I64),
    OpCode.RETRIEVE_TXN_LOG: st.builds(StreamAnswer, U8),
    OpCode.DUMP_HANDLES: _EMPTY,
    OpCode.BACKUP_SERVER: _EMPTY,
    OpCode.RESERVED: st.builds(UnknownBody, OCTETS),
}
_REFUSALS = sorted(
    set(ResponseCode)
    - {
        ResponseCode.REQUEST,
        ResponseCode.SUCCESS,
        ResponseCode.AUTHENTICATION_NEEDED,
        ResponseCode.SERVICE_REFERRAL,
        ResponseCode.PREFIX_REFERRAL,
    }
)
ANSWERS: st.SearchStrategy[tuple[int, int, Body]] = st.one_of(
    *(
        st.tuples(st.just(int(opcode)), st.just(1), bodies)
        for opcode, bodies in _SUCCESS_BODIES.items()
    ),
    st.tuples(st.just(1), st.sampled_from(_REFUSALS).map(int), st.builds(ErrorAnswer, OCTETS)),
    st.tuples(st.just(1), st.sampled_from(_REFUSALS).map(int), st.just(ErrorAnswer(None))),
    st.tuples(st.just(100), st.just(402), st.builds(ChallengeAnswer, OCTETS)),
    st.tuples(
        st.just(1),
        st.sampled_from([302, 303]),
        st.builds(ReferralAnswer, HANDLES, st.none() | tuples_of(VALUES)),
    ),
)
