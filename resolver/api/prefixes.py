"""The prefixes homed on this node, over REST: the Handle protocol's own three operations.

    GET    /api/prefixes              {"responseCode": 1, "totalCount": "2", "prefixes": [..]}
    POST   /api/prefixes/{prefix}     this node answers for it from now on
    DELETE /api/prefixes/{prefix}     no more

A prefix is named 88.118.5 or 0.NA/88.118.5. Giving prefixes out to others is the office's
(`resolver.api.office`), whose paths have a verb at their end.
"""

from starlette.requests import Request
from starlette.responses import Response

from protocol.bodies import HandleListAnswer, HandleRequest
from protocol.codes import OpCode
from protocol.handle import ROOT_HANDLE, to_text
from resolver.api.answers import json_response, result_response
from resolver.api.context import context_of, peer_of
from resolver.api.handles import authorized
from resolver.api.parameters import handle_in_path, prefix_handle_of
from resolver.query import Result

_PATH = b"/api/prefixes/"


async def get_prefixes(request: Request) -> Response:
    """GET /api/prefixes."""

    def respond(result: Result) -> Response:
        if not isinstance(result.body, HandleListAnswer):
            return result_response(request, ROOT_HANDLE, result)
        prefixes = [to_text(handle) for handle in result.body.handles]
        document = {
            "responseCode": int(result.response_code),
            "totalCount": str(len(prefixes)),
            "prefixes": prefixes,
        }
        return json_response(request, document)

    return await authorized(
        request,
        ROOT_HANDLE,
        lambda authorization: context_of(request).operations.perform(
            OpCode.LIST_HOMED_NAS, HandleRequest(ROOT_HANDLE), 0, authorization, peer_of(request)
        ),
        respond,
    )


async def post_prefix(request: Request) -> Response:
    """POST /api/prefixes/{prefix}."""
    return await _home(request, OpCode.HOME_NA)


async def delete_prefix(request: Request) -> Response:
    """DELETE /api/prefixes/{prefix}."""
    return await _home(request, OpCode.UNHOME_NA)


async def _home(request: Request, opcode: int) -> Response:
    prefix = handle_in_path(request, _PATH).decode("utf-8", "surrogateescape")
    handle = prefix_handle_of(prefix)
    return await authorized(
        request,
        handle,
        lambda authorization: context_of(request).operations.perform(
            opcode, HandleRequest(handle), 0, authorization, peer_of(request)
        ),
        lambda result: result_response(request, handle, result),
    )
