"""Handles over REST: read, create or replace, change values, delete, list.

GET    /api/handles/{handle}      ?type= &index= (repeat) &publicOnly= &auth= &cert=
POST   /api/handles/{handle}      the same, parameters as a JSON object in the body
PUT    /api/handles/{handle}      create or replace; ?overwrite=false &mintNewSuffix=true
                                  the body may name a template (`registry.template_requests`)
       ...?index=3 or =various    add or replace these values
DELETE /api/handles/{handle}      all of it, or ?index=3 the values
GET    /api/handles?prefix=x      list; &page= (from 0) &pageSize=
"""

from collections.abc import Awaitable, Callable

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
from protocol.handle import to_text
from protocol.header import HEADER_OCTETS
from protocol.json_forms import values_from_json
from protocol.wire import MESSAGE_OCTETS_MAX
from resolver.api.answers import json_response, result_response
from resolver.api.authorization import (
    AuthorizationError,
    challenge_response,
    find_authorization,
    is_failed,
)
from resolver.api.context import Authorization, context_of, peer_of
from resolver.api.errors import RequestError, http_status
from resolver.api.parameters import (
    VARIOUS,
    Parameters,
    body_parameters,
    handle_in_path,
    json_body,
    prefix_handle_of,
    query_parameters,
)
from resolver.api.templates import put_from_template
from resolver.limits import PAGE_HANDLES_MAX
from resolver.query import Result

# What any client may have to read the record as: one message, with its credential's length.
_BODY_OCTETS_MAX = MESSAGE_OCTETS_MAX - HEADER_OCTETS - 4
_PAGE_MAX = 2**31 - 1
_PAGE_SIZE = 1_000  # of a page when only its number is asked for: some 30 KB

Operation = Callable[[Authorization], Awaitable[Result]]


async def get_handle(request: Request) -> Response:
    """GET /api/handles/{handle}."""
    return await _read(request, query_parameters(request))


async def post_handle(request: Request) -> Response:
    """POST /api/handles/{handle}: a GET with its parameters in the body."""
    return await _read(request, body_parameters(await json_body(request)))


async def put_handle(request: Request) -> Response:
    """PUT /api/handles/{handle}."""
    handle = handle_in_path(request)
    parameters = query_parameters(request)
    document = await json_body(request)
    if isinstance(document, dict) and "template" in document:
        return await put_from_template(request, handle, parameters, document)
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
    """GET /api/handles?prefix=x."""
    parameters = query_parameters(request)
    if not parameters.first("prefix"):
        raise RequestError("name a prefix: /api/handles?prefix=88.118, or a handle after the slash")
    prefix = prefix_handle_of(parameters.first("prefix"))
    page = parameters.number("page", 0, 0, _PAGE_MAX)
    page_size = parameters.number("pageSize", _PAGE_SIZE, 1, PAGE_HANDLES_MAX)
    totals: list[int] = []

    async def operate(authorization: Authorization) -> Result:
        operations, peer = context_of(request).operations, peer_of(request)
        if "page" not in parameters and "pageSize" not in parameters:
            return await operations.perform(
                OpCode.LIST_HANDLES, HandleRequest(prefix), 0, authorization, peer
            )
        listing = await operations.list_handles(prefix, page, page_size, authorization, peer)
        if listing.response_code != ResponseCode.SUCCESS:
            return Result(listing.response_code, ErrorAnswer(listing.message))
        totals.append(listing.total)
        return Result(listing.response_code, HandleListAnswer(listing.handles))

    def respond(result: Result) -> Response:
        if not isinstance(result.body, HandleListAnswer):
            return result_response(request, prefix, result)
        handles = result.body.handles
        document = {
            "responseCode": int(result.response_code),
            "prefix": to_text(prefix),
            "totalCount": str(totals[0] if totals else len(handles)),
            "handles": [to_text(handle) for handle in handles],
        }
        if totals:
            document |= {"page": page, "pageSize": page_size}
        return json_response(request, document, http_status(result.response_code))

    return await _authorized(request, prefix, operate, respond)


async def _read(request: Request, parameters: Parameters) -> Response:
    handle = handle_in_path(request)
    question = ResolutionRequest(handle, parameters.indexes(), parameters.types())
    public_only = parameters.flag("publicOnly", False)
    public_only_is_asked = "publicOnly" in parameters
    flags = MessageFlag.AUTHORITATIVE if parameters.flag("auth", False) else 0
    if parameters.flag("cert", False):
        flags |= MessageFlag.CERTIFY

    async def operate(authorization: Authorization) -> Result:
        # Who does not say who he is reads what is public; who does, reads what he may.
        public = public_only if public_only_is_asked else authorization is None
        asked = flags | (MessageFlag.PUBLIC_ONLY if public else 0)
        return await context_of(request).operations.perform(
            OpCode.RESOLUTION, question, asked, authorization, peer_of(request)
        )

    return await _authorized(
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

    return await _authorized(
        request,
        handle,
        lambda authorization: context_of(request).operations.perform(
            opcode, body, flags, authorization, peer_of(request)
        ),
        respond,
    )


async def _authorized(
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
            f"same, or index={VARIOUS}",
            ResponseCode.INVALID_VALUE,
        )
