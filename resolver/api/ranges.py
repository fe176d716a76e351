"""Ranges over REST: runs of serials, each registered, told and changed as one record.

    POST /api/ranges                  register: {"stem", "first", "last", "values"}, and perhaps
                                      "check" and "existing"; 201 {"range": R}
    GET  /api/ranges?prefix=          {"ranges": [R, ...], "next": "..."}; perhaps &stem= &limit=
                                      and &after=, the "next" of the page before
    GET  /api/ranges/count?prefix=    {"rows", "ranges", "identifiers", "inRanges", ...}
    GET  /api/ranges/of/{identifier}  {"range": R}: the one that holds the identifier
    GET  /api/ranges/history?identifier=   what was done to the ranges that held the identifier;
                                      perhaps &after= &limit=, see "next"
    POST /api/ranges/shrink           {"identifier", "first", "last"}, and perhaps "existing": new
                                      ends inside the old ones
    POST /api/ranges/split            {"identifier"}: the first one of the second part
    POST /api/ranges/revoke           {"identifier", "reason"}, and perhaps "existing": for good

What a range is, its serials, schemes and placeholders are the registry's to say; here documents
get their form, and text its bounds.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from protocol.codes import ResponseCode
from protocol.wire import HANDLE_OCTETS_MAX
from registry.history_index import EVENTS_MAX, SEQUENCE_MAX
from registry.marks import REASON_OCTETS_MAX
from registry.schema import VALUES_MAX
from resolver.api.acts import answer_act
from resolver.api.errors import RequestError
from resolver.api.parameters import Parameters, body_as, handle_in_path, query_parameters

PATH = "/api/ranges"
PAGE_RANGES_MAX = 1_000
PAGE_RANGES = 100  # when no limit is asked for: some 50 KB
SERIAL_DIGITS_MAX = 18
CURSOR_CHARACTERS_MAX = 4_096  # a key of a range, however it is written
_OF = b"/api/ranges/of/"
_PREFIX_HANDLE_START = "0.na/"

_EXAMPLE = (
    '{"stem": "88.118.5/870101.M1.", "first": "000001", "last": "100000", "values": [{"index": 1, '
    '"type": "URL", "data": "https://example.org/{serial}"}]}'
)
_SHRINK_EXAMPLE = '{"identifier": "88.118.5/870101.M1.000001", "first": "000001", "last": "000500"}'
_SPLIT_EXAMPLE = '{"identifier": "88.118.5/870101.M1.050001"}'
_REVOKE_EXAMPLE = '{"identifier": "88.118.5/870101.M1.000001", "reason": "never produced"}'

Handle = Annotated[str, Meta(min_length=1, max_length=HANDLE_OCTETS_MAX)]
Serial = Annotated[str, Meta(max_length=SERIAL_DIGITS_MAX)]
Existing = Literal["refuse", "keep"]  # single identifiers inside that have a row of their own
Reason = Annotated[str, Meta(min_length=1, max_length=REASON_OCTETS_MAX)]


class Register(msgspec.Struct, forbid_unknown_fields=True):
    """A new range."""

    stem: Handle
    first: Serial
    last: Serial
    values: Annotated[list[Any], Meta(max_length=VALUES_MAX)]
    check: Annotated[str, Meta(max_length=64)] = "none"
    existing: Existing = "refuse"
    operation: Literal["range"] = "range"  # as in a row of a stream, the same document


class Shrink(msgspec.Struct, forbid_unknown_fields=True):
    """New ends for the range around an identifier."""

    identifier: Handle
    first: Serial
    last: Serial
    existing: Existing = "refuse"


class Split(msgspec.Struct, forbid_unknown_fields=True):
    """The first identifier of the second part."""

    identifier: Handle


class Revoke(msgspec.Struct, forbid_unknown_fields=True):
    """An identifier of the range, and why it is revoked."""

    identifier: Handle
    reason: Reason
    existing: Existing = "refuse"


async def post_range(request: Request) -> Response:
    """POST /api/ranges."""
    body = await body_as(request, Register, _EXAMPLE)
    parameters = msgspec.structs.asdict(body)
    del parameters["operation"]
    return await answer_act(request, "ranges.register", parameters, created=True)


async def get_ranges(request: Request) -> Response:
    """GET /api/ranges."""
    asked = query_parameters(request)
    after = asked.text("after")
    if len(after) > CURSOR_CHARACTERS_MAX:
        raise RequestError("after is longer than any cursor: give the member next of a page")
    parameters = {
        "prefix": _prefix(asked),
        "stem": asked.text("stem"),
        "after": after,
        "limit": asked.number("limit", PAGE_RANGES, 1, PAGE_RANGES_MAX),
    }
    return await answer_act(request, "ranges.list", parameters)


async def get_range_counts(request: Request) -> Response:
    """GET /api/ranges/count."""
    asked = query_parameters(request)
    return await answer_act(request, "ranges.count", {"prefix": _prefix(asked)})


async def get_range_of(request: Request) -> Response:
    """GET /api/ranges/of/{identifier}."""
    handle = handle_in_path(request, _OF)
    try:
        identifier = handle.decode()
    except UnicodeDecodeError:
        words = "the identifier is not UTF-8, and those of ranges are"
        raise RequestError(words, ResponseCode.INVALID_HANDLE) from None
    return await answer_act(request, "ranges.show", {"identifier": identifier})


async def get_range_history(request: Request) -> Response:
    """GET /api/ranges/history."""
    asked = query_parameters(request)
    identifier = asked.text("identifier")
    if not identifier or len(identifier) > HANDLE_OCTETS_MAX:
        raise RequestError(
            "name an identifier of the range, such as its first: "
            f"?identifier=88.118.5/870101.M1.000001, at most {HANDLE_OCTETS_MAX} octets",
            ResponseCode.INVALID_HANDLE,
        )
    parameters = {
        "identifier": identifier,
        "after": asked.number("after", 0, 0, SEQUENCE_MAX),
        "limit": asked.number("limit", EVENTS_MAX, 1, EVENTS_MAX),
    }
    return await answer_act(request, "ranges.history", parameters)


async def post_shrink(request: Request) -> Response:
    """POST /api/ranges/shrink."""
    body = await body_as(request, Shrink, _SHRINK_EXAMPLE)
    return await answer_act(request, "ranges.shrink", msgspec.structs.asdict(body))


async def post_split(request: Request) -> Response:
    """POST /api/ranges/split."""
    body = await body_as(request, Split, _SPLIT_EXAMPLE)
    return await answer_act(request, "ranges.split", msgspec.structs.asdict(body))


async def post_revoke(request: Request) -> Response:
    """POST /api/ranges/revoke."""
    body = await body_as(request, Revoke, _REVOKE_EXAMPLE)
    if len(body.reason.encode()) > REASON_OCTETS_MAX:
        raise RequestError(f"reason has at most {REASON_OCTETS_MAX} octets of UTF-8")
    return await answer_act(request, "ranges.revoke", msgspec.structs.asdict(body))


def _prefix(asked: Parameters) -> str:
    """Return the prefix asked for, however it was named, without 0.NA/. Raises: RequestError."""
    prefix = asked.text("prefix")
    if prefix.lower().startswith(_PREFIX_HANDLE_START):
        prefix = prefix[len(_PREFIX_HANDLE_START) :]
    if not prefix or "/" in prefix or len(prefix) > HANDLE_OCTETS_MAX:
        raise RequestError(f"name a prefix: {PATH}?prefix=88.118.5, without a slash in it")
    return prefix
