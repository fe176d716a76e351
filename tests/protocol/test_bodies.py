import pytest

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
    decode_request_body,
    decode_response_body,
)
from protocol.codes import MessageFlag, OpCode
from protocol.digests import RequestDigest
from protocol.errors import DecodeError
from protocol.header import Header
from protocol.value import HandleValue
from protocol.versions import BEST, V2_8, Version
from protocol.wire import write_str

# Properties over all bodies are in test_properties.py, truncations in test_malformed.py.

MD5 = bytes(range(16))
A = "00000001 61"  # the str "a"
VALUE = HandleValue(1, b"T", b"d", 0xE, 2, 0, 3)
VALUE_OCTETS = "00000001 00000003 00 00000002 0e 00000001 54 00000001 64 00000000"


@pytest.mark.parametrize(
    ("opcode", "version", "body", "octets"),
    [
        (1, BEST, ResolutionRequest(b"a", (5,), (b"a",)), f"{A} 00000001 00000005 00000001 {A}"),
        (2, BEST, HandleRequest(b"a"), A),
        (100, BEST, ValuesRequest(b"a", (VALUE,)), f"{A} 00000001 {VALUE_OCTETS}"),
        (103, BEST, RemoveValuesRequest(b"a", (5,)), f"{A} 00000001 00000005"),
        (200, BEST, ChallengeAnswerRequest(b"a", b"a", 5, b"a"), f"{A} {A} 00000005 {A}"),
        (
            201,
            BEST,
            VerifyChallengeRequest(b"a", 5, b"a", RequestDigest(0, b"a"), True, b"a"),
            f"{A} 00000005 {A} {A} {A}",
        ),
        (
            201,
            BEST,
            VerifyChallengeRequest(b"a", 5, b"a", RequestDigest(1, MD5), False, b"a"),
            f"{A} 00000005 {A} 01 {MD5.hex()} {A}",
        ),
        (
            400,
            BEST,
            SessionSetupRequest(1, 9, b"a", 5, b"a"),
            f"0001 00000009 {A} 00000005 {A} 0000",
        ),
        (400, BEST, SessionSetupRequest(2, 9, b"a", 5), f"0002 00000009 {A} 00000005 0000"),
        (
            400,
            BEST,
            SessionSetupRequest(3, 9, b"a", 5, key_handle=b"a", key_index=6),
            f"0003 00000009 {A} 00000005 {A} 00000006 0000",
        ),
        (402, BEST, SessionExchangeKeyRequest(b"a"), A),
        (
            1001,
            BEST,
            RetrieveLogRequest(0, 1, 2, b"", 2, 3, 4),
            "00 0000000000000001 0000000000000002 02 00000003 00000004",
        ),
        (
            1001,
            BEST,
            RetrieveLogRequest(1, 0, 0, b"a", 2, 3, 4),
            f"01 {A} 02 00000003 00000004",
        ),
        (
            1001,
            V2_8,
            RetrieveLogRequest(None, 1, 2, b"", 2, 3, 4),
            "0000000000000001 0000000000000002 02 00000003 00000004",
        ),
        (1002, BEST, DumpRequest(2, 3, 4), "02 00000003 00000004"),
        (1002, BEST, DumpRequest(2, 3, 4, b"a", 5), f"02 00000003 00000004 {A} 00000005"),
        (9_999, BEST, UnknownBody(b"any"), "616e79"),
    ],
)
def test_request_octets(opcode: int, version: Version, body: Body, octets: str) -> None:
    assert body.encode() == bytes.fromhex(octets)
    assert decode_request_body(opcode, bytes.fromhex(octets), version) == body


@pytest.mark.parametrize(
    ("opcode", "code", "body", "octets"),
    [
        (1, 1, ValuesRequest(b"a", (VALUE,)), f"{A} 00000001 {VALUE_OCTETS}"),
        (2, 1, SiteInfoAnswer(b"any"), "616e79"),
        (100, 1, CreatedAnswer(None), ""),
        (100, 1, CreatedAnswer(b"a"), A),
        (101, 1, Empty(), ""),
        (105, 1, HandleListAnswer((b"a", b"a")), f"00000002 {A} {A}"),
        (201, 1, VerificationAnswer(1), "01"),
        (400, 1, SessionSetupAnswer(4, b"a"), f"0004 {A} 0000"),
        (1000, 1, TransactionIdAnswer(7), "0000000000000007"),
        (1001, 1, StreamAnswer(1), "01"),
        (9_999, 1, UnknownBody(b"any"), "616e79"),
        (1, 402, ChallengeAnswer(b"a"), A),
        (1, 302, ReferralAnswer(b"a"), A),
        (1, 303, ReferralAnswer(b"a", (VALUE,)), f"{A} 00000001 {VALUE_OCTETS}"),
        (1, 100, ErrorAnswer(b"a"), A),
        (1, 100, ErrorAnswer(None), ""),
    ],
)
def test_answer_octets(opcode: int, code: int, body: Body, octets: str) -> None:
    assert body.encode() == bytes.fromhex(octets)
    header = Header(opcode, code, 0, 0)
    assert decode_response_body(header, bytes.fromhex(octets)) == (None, body)


@pytest.mark.parametrize(
    ("digest", "octets"),
    [
        (RequestDigest(1, MD5), f"01 {MD5.hex()}"),
        (RequestDigest(0, MD5), f"00000010 {MD5.hex()}"),
    ],
)
def test_a_digest_stands_first(digest: RequestDigest, octets: str) -> None:
    assert digest.encode() == bytes.fromhex(octets)
    header = Header(1, 100, MessageFlag.REQUEST_DIGEST, 0)
    body = bytes.fromhex(octets) + bytes.fromhex(A)
    assert decode_response_body(header, body) == (digest, ErrorAnswer(b"a"))


def test_octets_left_over() -> None:
    with pytest.raises(DecodeError, match="request body has 1 octets too many"):
        decode_request_body(OpCode.DELETE_HANDLE, write_str(b"a/b") + b"\0", BEST)
    with pytest.raises(DecodeError, match="response body has 1 octets too many"):
        decode_response_body(Header(OpCode.DELETE_HANDLE, 1, 0, 0), b"\0")


def test_a_request_is_no_response() -> None:
    with pytest.raises(DecodeError, match="marks a request"):
        decode_response_body(Header(1, 0, 0, 0), b"")
