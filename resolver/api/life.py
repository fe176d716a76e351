"""The life of identifiers over REST: freeze, thaw, revoke, look at the state and at the past.

    POST /api/life/freeze, /api/life/thaw, /api/life/revoke   {"handle", "reason"}
    GET  /api/life/state?handle=                              who may resolve may ask this
    GET  /api/life/history?handle=                            perhaps &after= &limit=, see "next"
    GET  /api/life/as-of?handle=&time=                        or &sequence=

What is answered: `registry.life_cycle` and `registry.life_history`. Handles stand in the query and
not in the path, since they may hold slashes.
"""

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from protocol.codes import ResponseCode
from protocol.wire import HANDLE_OCTETS_MAX
from registry.history_index import EVENTS_MAX, SEQUENCE_MAX
from registry.marks import REASON_OCTETS_MAX
from resolver.api.acts import answer_act
from resolver.api.errors import RequestError
from resolver.api.parameters import Parameters, body_as, query_parameters

PATH = "/api/life"
_TIME_CHARACTERS_MAX = 64
_EXAMPLE = '{"handle": "88.118.5/valve-7", "reason": "printed twice"}'


class Change(msgspec.Struct, forbid_unknown_fields=True):
    """What freezing, thawing and revoking are asked with."""

    handle: Annotated[str, Meta(min_length=1, max_length=HANDLE_OCTETS_MAX)]
    reason: Annotated[str, Meta(max_length=REASON_OCTETS_MAX)] = ""


async def post_freeze(request: Request) -> Response:
    """POST /api/life/freeze."""
    return await _change(request, "life.freeze")


async def post_thaw(request: Request) -> Response:
    """POST /api/life/thaw."""
    return await _change(request, "life.thaw")


async def post_revoke(request: Request) -> Response:
    """POST /api/life/revoke."""
    return await _change(request, "life.revoke")


async def get_state(request: Request) -> Response:
    """GET /api/life/state."""
    return await answer_act(request, "life.show", {"handle": _handle(query_parameters(request))})


async def get_history(request: Request) -> Response:
    """GET /api/life/history."""
    asked = query_parameters(request)
    parameters = {
        "handle": _handle(asked),
        "after": asked.number("after", 0, 0, SEQUENCE_MAX),
        "limit": asked.number("limit", EVENTS_MAX, 1, EVENTS_MAX),
    }
    return await answer_act(request, "life.history", parameters)


async def get_as_of(request: Request) -> Response:
    """GET /api/life/as-of."""
    asked = query_parameters(request)
    if ("time" in asked) == ("sequence" in asked):
        raise RequestError(
            f"say as of when: {PATH}/as-of?handle=88.118.5/valve-7&time=2026-11-21T08:00:00Z, or "
            "&sequence= and a frame of the journal"
        )
    parameters: dict[str, str | int] = {"handle": _handle(asked)}
    if "sequence" in asked:
        parameters["sequence"] = asked.number("sequence", 0, 0, SEQUENCE_MAX)
    else:
        parameters["time"] = asked.text("time")[:_TIME_CHARACTERS_MAX]
    return await answer_act(request, "life.as_of", parameters)


async def _change(request: Request, name: str) -> Response:
    body = await body_as(request, Change, _EXAMPLE)
    return await answer_act(request, name, {"handle": body.handle, "reason": body.reason})


def _handle(asked: Parameters) -> str:
    handle = asked.text("handle")
    if not handle or len(handle) > HANDLE_OCTETS_MAX:
        words = f"name the handle: ?handle=88.118.5/valve-7, at most {HANDLE_OCTETS_MAX} octets"
        raise RequestError(words, ResponseCode.INVALID_HANDLE)
    return handle
