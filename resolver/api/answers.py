"""Answers of the REST interface: JSON, or JSONP for pages of the time before CORS.

    {"responseCode": 1, "handle": "88.118/x", "values": [..]}         read
    {"responseCode": 100, "handle": "88.118/x", "message": "..."}     refused; words when there are

Every answer may be read by scripts of any origin: what a browser sends on its own, a cookie or a
certificate, counts for pages of this origin only (`cookies`), so a foreign page reads what anybody
may.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from protocol.bodies import Body, ErrorAnswer, ReferralAnswer, ValuesRequest
from protocol.codes import ResponseCode
from protocol.handle import to_text
from protocol.json_forms import value_to_json
from resolver.api.errors import RequestError, http_status
from resolver.api.parameters import query_parameters
from resolver.query import Result

CORS_HEADERS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
    "access-control-allow-headers": "X-Requested-With, Authorization, Origin, Accept, "
    "Content-Type, Content-Encoding, Idempotency-Key, Application-Token",
    "access-control-expose-headers": "Content-Length, Location, WWW-Authenticate, "
    "RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset",
    "access-control-max-age": "86400",
}
JSON_HEADERS = {**CORS_HEADERS, "x-content-type-options": "nosniff"}
_NOT_IN_CALLBACK = re.compile(r"[^A-Za-z0-9_$.]|^[0-9]")
_CALLBACK_OCTETS_MAX = 128
JSON_TYPE = "application/json;charset=UTF-8"
_INDENT = 2


def json_response(
    request: Request,
    document: Any,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a document as JSON, pretty and as JSONP when the query asks for it."""
    try:
        parameters = query_parameters(request)
        pretty = parameters.flag("pretty", False)
    except RequestError:
        pretty = False  # what was wrong is what this answer says
    octets = msgspec.json.encode(document)
    if pretty:
        octets = msgspec.json.format(octets, indent=_INDENT)
    every = {**JSON_HEADERS, **(headers or {})}
    callback = callback_name(request.query_params.get("callback", ""))
    if not callback:
        return Response(octets, status, every, JSON_TYPE)
    # Scripts are run with status 200 only, and the document tells the response code anyway. What
    # the answer is, its type and nosniff say: nothing stands before the name, as in Handle.Net.
    script = callback.encode() + b"(" + octets + b");"
    return Response(script, 200, every, "application/javascript;charset=UTF-8")


def callback_name(text: str) -> str:
    """Return a JSONP function's name with _ for everything that no name has."""
    return _NOT_IN_CALLBACK.sub("_", text[:_CALLBACK_OCTETS_MAX])


def result_response(
    request: Request,
    handle: bytes,
    result: Result,
    *,
    reading: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the outcome of one operation on `handle`."""
    document, status = result_document(handle, result, reading=reading)
    if result.left is not None:
        headers = {**(headers or {}), **quota_headers(result.left)}
    return json_response(request, document, status, headers)


def quota_headers(left: Sequence[int]) -> dict[str, str]:
    """Return headers that tell of a quota: its limit, what is left, seconds until it is anew."""
    names = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")
    return {name: str(number) for name, number in zip(names, left, strict=True)}


def result_document(
    handle: bytes, result: Result, *, reading: bool = False
) -> tuple[dict[str, Any], int]:
    """Return what tells the outcome of one operation on `handle`, and the HTTP status."""
    document = {"responseCode": int(result.response_code), "handle": to_text(handle)}
    document.update(_body_members(result.response_code, result.body, reading=reading))
    return document, http_status(result.response_code, created=result.created, reading=reading)


def _body_members(response_code: int, body: Body, *, reading: bool) -> dict[str, Any]:
    if isinstance(body, ErrorAnswer):
        members: dict[str, Any] = {}
        if body.message:
            members["message"] = to_text(body.message)
        if response_code == ResponseCode.VALUES_NOT_FOUND and reading:
            members["values"] = []
        return members
    if isinstance(body, ValuesRequest):
        return {"values": [value_to_json(value) for value in body.values]}
    if isinstance(body, ReferralAnswer):
        members = {"referralHandle": to_text(body.handle)} if body.handle else {}
        if body.values:
            members["values"] = [value_to_json(value) for value in body.values]
        return members
    return {}


def error_response(request: Request, error: RequestError, handle: bytes | None = None) -> Response:
    """Return a refusal that never reached the node behind the API."""
    document: dict[str, Any] = {"responseCode": int(error.response_code)}
    if handle is not None:
        document["handle"] = to_text(handle)
    document["message"] = error.words
    return json_response(request, document, error.status)
