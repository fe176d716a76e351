"""Handles over REST: read, create or replace, change values, delete, list.

GET    /api/handles/{handle}      ?type= &index= (repeat) &publicOnly= &auth= &cert=
                                  &doNotRefer=
POST   /api/handles/{handle}      the same, parameters as a JSON object or a form in the body
PUT    /api/handles/{handle}      create or replace; ?overwrite=false &mintNewSuffix=true
                                  the body may name a template (`registry.template_requests`)
       ...?index=3 or =various    add or replace these values
DELETE /api/handles/{handle}      all of it, or ?index=3 the values
GET    /api/handles?prefix=x      list; &page= (from 0) &pageSize=, or &after= &pageSize=, the
                                  member next of the page before: as fast at any depth;
                                  pageSize=0 only counts. POST too
"""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from protocol.bodies import (
    Body,
    CreatedAnswer,
    ErrorAnswer,
    HandleListAnswer,
    HandleRequest,
    RemoveValuesRequest,
    ResolutionRequest,
    ValuesRequest,
)
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.errors import InvalidValueError
from protocol.handle import PREFIX_HANDLE_START, fold_handle, to_text
from protocol.header import HEADER_OCTETS
from protocol.json_forms import values_from_json
from protocol.wire import HANDLE_OCTETS_MAX, MESSAGE_OCTETS_MAX
from resolver.api.answers import json_response, result_response
from resolver.api.authorization import AuthorizationError, find_authorization, is_failed
from resolver.api.challenges import challenge_response
from resolver.api.context import Authorization, context_of, peer_of
from resolver.api.errors import RequestError, http_status
from resolver.api.parameters import (
    PAGE_SIZE,
    VARIOUS,
    Parameters,
    all_parameters,
    handle_in_path,
    json_body,
    prefix_handle_of,
    query_parameters,
)
from resolver.api.templates import put_from_template
from resolver.limits import PAGE_HANDLES_MAX
from resolver.query import Result
from resolver.rest_operations import Listing

# What any client may have to read the record as: one message, with its credential's length.
_BODY_OCTETS_MAX = MESSAGE_OCTETS_MAX - HEADER_OCTETS - 4
_PAGE_MAX = 2**31 - 1

Operation = Callable[[Authorization], Awaitable[Result]]


async def get_handle(request: Request) -> Response:
    """GET /api/handles/{handle}."""
    return await _read(request, query_parameters(request))


async def post_handle(request: Request) -> Response:
    """POST /api/handles/{handle}: a GET with its parameters in the body."""
    return await _read(request, await all_parameters(request))


async def put_handle(request: Request) -> Response:
    """PUT /api/handles/{handle}."""
    handle = handle_in_path(request)
    parameters = query_parameters(request)
    document = await json_body(request)
    if isinstance(document, dict) and "template" in document:
        return await put_from_template(request, handle, parameters, document)
    _check_handle(handle, document)
    try:
        values = values_from_json(document)
    except InvalidValueError as error:
        raise RequestError(str(error), error.response_code) from None
    flags = MessageFlag.OVERWRITE if parameters.flag("overwrite", True) else 0
    opcode = OpCode.CREATE_HANDLE
    if "index" in parameters:
        opcode = OpCode.ADD_VALUE
        _check_indexes(parameters, {value.index for value in values})
    elif parameters.flag("mintNewSuffix", False):
        flags |= MessageFlag.MINT_SUFFIX
    body = ValuesRequest(handle, values)
    if len(body.encode()) > _BODY_OCTETS_MAX:
        raise RequestError(f"the values take over {_BODY_OCTETS_MAX} octets: no client could read")
    return await _operate(request, handle, opcode, body, flags)


async def delete_handle(request: Request) -> Response:
    """DELETE /api/handles/{handle}."""
    handle = handle_in_path(request)
    parameters = query_parameters(request)
    body: Body = HandleRequest(handle)
    opcode = OpCode.DELETE_HANDLE
    if "index" in parameters:
        body = RemoveValuesRequest(handle, parameters.indexes())
        opcode = OpCode.REMOVE_VALUE
    return await _operate(request, handle, opcode, body, 0)


async def list_handles(request: Request) -> Response:
    """GET or POST /api/handles?prefix=x."""
    parameters = await all_parameters(request)
    asked_prefix = parameters.first("prefix")
    if not asked_prefix:
        raise RequestError(
            "empty handle: name a prefix, /api/handles?prefix=88.118, or a handle after the slash",
            ResponseCode.INVALID_HANDLE,
        )
    prefix = prefix_handle_of(asked_prefix)
    is_paged = "after" in parameters or parameters.ask_for_page()
    page = parameters.number("page", 0, 0, _PAGE_MAX) if is_paged else 0
    page_size = parameters.number("pageSize", PAGE_SIZE, 0, PAGE_HANDLES_MAX) if is_paged else 0
    after = _after(parameters, prefix)
    pages: list[Listing] = []

    async def operate(authorization: Authorization) -> Result:
        operations, peer = context_of(request).operations, peer_of(request)
        if not is_paged:
            return await operations.perform(
                OpCode.LIST_HANDLES, HandleRequest(prefix), 0, authorization, peer
            )
        size = max(page_size, 1)
        found = await operations.list_handles(prefix, page, size, authorization, peer, after)
        if found.response_code != ResponseCode.SUCCESS:
            return Result(found.response_code, ErrorAnswer(found.message))
        if not page_size:
            found = found._replace(handles=(), next=b"")
        pages.append(found)
        return Result(found.response_code, HandleListAnswer(found.handles))

    def respond(result: Result) -> Response:
        if not isinstance(result.body, HandleListAnswer):
            return result_response(request, prefix, result)
        handles = [to_text(handle) for handle in result.body.handles]
        document: dict[str, Any] = {
            "responseCode": int(result.response_code),
            "prefix": to_text(asked_prefix.encode("utf-8", "surrogateescape")),
            "totalCount": str(pages[0].total if pages else len(handles)),
        }
        if pages:
            document |= {"pageSize": page_size} if after else {"page": page, "pageSize": page_size}
        if pages and pages[0].next:
            document["next"] = to_text(pages[0].next)
        document["handles"] = handles
        return json_response(request, document, http_status(result.response_code))

    return await authorized(request, prefix, operate, respond)


def _check_handle(handle: bytes, document: Any) -> None:
    """Raise RequestError when a record in the body is that of another handle than the path's."""
    named = document.get("handle") if isinstance(document, dict) else None
    if named is None or "values" not in document:
        return
    text = str(named).encode("utf-8", "surrogatepass")
    if fold_handle(text) != fold_handle(handle):
        raise RequestError(
            f"the body has the values of {to_text(text[:200])}, the path names {to_text(handle)}"
        )


def _after(parameters: Parameters, prefix: bytes) -> bytes:
    """Return the handle that a page is to follow, empty: none. Raises: RequestError."""
    after = parameters.first("after").encode("utf-8", "surrogateescape")
    if not after:
        return after
    if "page" in parameters:
        raise RequestError("page and after do not go together: each says where the page begins")
    under = fold_handle(prefix)[len(PREFIX_HANDLE_START) :] + b"/"
    if len(after) > HANDLE_OCTETS_MAX or not fold_handle(after).startswith(under):
        raise RequestError(f"after is no handle under {to_text(prefix)}: give the member next")
    return after


async def _read(request: Request, parameters: Parameters) -> Response:
    handle = handle_in_path(request)
    question = ResolutionRequest(handle, parameters.indexes(), parameters.types())
    public_only = parameters.flag("publicOnly", False)
    public_only_is_asked = "publicOnly" in parameters
    flags = MessageFlag.AUTHORITATIVE if parameters.flag("auth", False) else 0
    parameters.flag("pretty", False)  # `json_response` would let anything be
    if parameters.flag("cert", False):
        flags |= MessageFlag.CERTIFY
    if parameters.flag("doNotRefer", False):
        flags |= MessageFlag.DO_NOT_REFER

    async def operate(authorization: Authorization) -> Result:
        # Who does not say who he is reads what is public; who does, reads what he may.
        public = public_only if public_only_is_asked else authorization is None
        asked = flags | (MessageFlag.PUBLIC_ONLY if public else 0)
        return await context_of(request).operations.perform(
            OpCode.RESOLUTION, question, asked, authorization, peer_of(request)
        )

    return await authorized(
        request,
        handle,
        operate,
        lambda result: result_response(request, handle, result, reading=True),
    )


async def _operate(
    request: Request, handle: bytes, opcode: int, body: Body, flags: int
) -> Response:
    def respond(result: Result) -> Response:
        created = result.body.handle if isinstance(result.body, CreatedAnswer) else None
        return result_response(request, created or handle, result)

    return await authorized(
        request,
        handle,
        lambda authorization: context_of(request).operations.perform(
            opcode, body, flags, authorization, peer_of(request)
        ),
        respond,
    )


async def authorized(
    request: Request,
    handle: bytes,
    operate: Operation,
    respond: Callable[[Result], Response],
) -> Response:
    """Carry out an operation with the request's credentials; challenge where they do not do."""
    try:
        authorization = await find_authorization(request)
    except AuthorizationError as error:
        return await challenge_response(request, session=error.session)
    result = await operate(authorization)
    if is_failed(result, authorization):
        return await challenge_response(request)
    if result.response_code == ResponseCode.AUTHENTICATION_NEEDED:
        return await challenge_response(request, handle)
    return respond(result)


def _check_indexes(parameters: Parameters, given: set[int]) -> None:
    """Raise RequestError unless ?index= names exactly the values in the body."""
    if parameters.all("index") == [VARIOUS]:
        return
    asked = set(parameters.indexes())
    if asked != given:
        raise RequestError(
            f"index asks for {sorted(asked)[:20]}, the body has {sorted(given)[:20]}: name the "
            f"same, or index={VARIOUS}"
        )
