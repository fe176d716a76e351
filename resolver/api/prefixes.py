"""The prefixes homed on this node, over REST: the Handle protocol's own three operations.

    GET    /api/prefixes              {"responseCode": 1, "totalCount": "2", "prefixes": [..]};
                                      &page= (from 0) &pageSize= a page of them
    POST   /api/prefixes/{prefix}     this node answers for it from now on
    DELETE /api/prefixes/{prefix}     no more

POST and DELETE also take the prefix as a parameter: ?prefix=, or {"prefix": ..} in the body.

A prefix is named 88.118.5 or 0.NA/88.118.5. Giving prefixes out to others is the office's
(`resolver.api.office`), whose paths have a verb at their end.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from protocol.bodies import HandleListAnswer, HandleRequest
from protocol.codes import OpCode
from protocol.handle import ROOT_HANDLE, to_text
from resolver.api.answers import json_response, result_response
from resolver.api.context import context_of, peer_of
from resolver.api.errors import RequestError
from resolver.api.handles import authorized
from resolver.api.parameters import (
    INDEX_MAX,
    PAGE_SIZE,
    all_parameters,
    handle_in_path,
    prefix_handle_of,
    query_parameters,
)
from resolver.query import Result

_PATH = b"/api/prefixes/"


async def get_prefixes(request: Request) -> Response:
    """GET /api/prefixes."""
    parameters = query_parameters(request)
    paging: dict[str, int] = {}
    if parameters.ask_for_page():
        paging["page"] = parameters.number("page", 0, 0, INDEX_MAX)
        paging["pageSize"] = parameters.number("pageSize", PAGE_SIZE, 0, INDEX_MAX)

    def respond(result: Result) -> Response:
        if not isinstance(result.body, HandleListAnswer):
            return result_response(request, ROOT_HANDLE, result)
        prefixes = [to_text(handle) for handle in result.body.handles]
        document: dict[str, Any] = {
            "responseCode": int(result.response_code),
            "totalCount": str(len(prefixes)),
            **paging,
            "prefixes": prefixes,
        }
        if paging:
            first = paging["page"] * paging["pageSize"]
            document["prefixes"] = prefixes[first : first + paging["pageSize"]]
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
    """POST /api/prefixes/{prefix}, or with the prefix as a parameter."""
    return await _home(request, OpCode.HOME_NA)


async def delete_prefix(request: Request) -> Response:
    """DELETE /api/prefixes/{prefix}, or with the prefix as a parameter."""
    return await _home(request, OpCode.UNHOME_NA)


async def _home(request: Request, opcode: int) -> Response:
    parameters = await all_parameters(request)
    prefix = parameters.first("prefix")
    if not prefix and request.scope["raw_path"].startswith(_PATH):
        prefix = handle_in_path(request, _PATH).decode("utf-8", "surrogateescape")
    if not prefix:
        raise RequestError("name the prefix: /api/prefixes/0.NA/88.118")
    handle = prefix_handle_of(prefix)
    return await authorized(
        request,
        handle,
        lambda authorization: context_of(request).operations.perform(
            opcode, HandleRequest(handle), 0, authorization, peer_of(request)
        ),
        lambda result: result_response(request, handle, result),
    )
