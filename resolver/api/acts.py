"""Acts over REST: who asks is taken from the request, the answer is JSON or a challenge.

{"responseCode": 1, ...what the act answers}
{"responseCode": 400, "message": "..."}
"""

from collections.abc import Mapping
from typing import Any

import msgpack
from starlette.requests import Request
from starlette.responses import Response

from protocol.codes import ResponseCode
from protocol.handle import to_text
from resolver.api.answers import json_response
from resolver.api.authorization import FAILED, AuthorizationError, find_authorization
from resolver.api.challenges import challenge_response
from resolver.api.context import context_of, peer_of
from resolver.api.errors import RequestError, http_status


async def perform_act(
    request: Request, name: str, parameters: Mapping[str, Any]
) -> dict[str, Any] | Response:
    """Carry out an act as whoever asks; return its result, or the answer that says why not.

    Raises:
        LinkDown: the registrar cannot be reached.
        RequestError: the parameters hold what cannot be sent to it.
    """
    _check_sendable(parameters)
    try:
        authorization = await find_authorization(request)
    except AuthorizationError as error:
        return await challenge_response(request, session=error.session)
    peer = peer_of(request)
    payload = {
        "authorization": authorization,
        "address": peer.address,
        "transport": peer.transport,
        "name": name,
        "parameters": dict(parameters),
    }
    reply = await context_of(request).operations.act(payload)
    code = reply["code"]
    if code == ResponseCode.SUCCESS:
        result: dict[str, Any] = reply["result"]
        return result
    if code == ResponseCode.AUTHENTICATION_NEEDED and authorization is None:
        return await challenge_response(request, b"")
    if http_status(code) == 401 or (authorization is not None and code in FAILED):
        return await challenge_response(request)
    document = {"responseCode": code, "message": to_text(reply["message"])}
    return json_response(request, document, http_status(code))


async def answer_act(
    request: Request, name: str, parameters: Mapping[str, Any], *, created: bool = False
) -> Response:
    """Carry out an act and answer with its result. Raises: LinkDown, RequestError."""
    result = await perform_act(request, name, parameters)
    if isinstance(result, Response):
        return result
    document = {"responseCode": int(ResponseCode.SUCCESS), **result}
    return json_response(request, document, 201 if created else 200)


def _check_sendable(parameters: Mapping[str, Any]) -> None:
    """Refuse what JSON can say and msgpack cannot. Raises: RequestError."""
    try:
        msgpack.packb(parameters)
    except (OverflowError, ValueError):
        words = "the request is not usable: a number has more than 64 bits, or text is not Unicode"
        raise RequestError(words) from None
