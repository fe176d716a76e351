"""Templates of metadata over REST.

POST /api/templates                                register; the document as in
                                                   `registry.template_documents`
GET  /api/templates?prefix=88.118.5                list; &code= &after= &limit=
GET  /api/templates/{prefix}/{code}                the last version
GET  /api/templates/{prefix}/{code}/{version}      one version
PUT  .../{code}/{version}/withdrawal               {"reason": "..."}: no more are made from it
PUT  /api/handles/{handle}                         {"template", "version", "attributes", "values"}
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from protocol.codes import ResponseCode
from protocol.handle import to_text
from registry.template_requests import find_unsendable, join_faults, read_request
from registry.templates import PAGE_MAX, VERSIONS_MAX
from resolver.api.acts import answer_act, perform_act
from resolver.api.answers import json_response
from resolver.api.errors import RequestError
from resolver.api.parameters import VARIOUS, Parameters, json_body, query_parameters

_VERSION_DIGITS_MAX = len(str(VERSIONS_MAX))


async def post_template(request: Request) -> Response:
    """POST /api/templates."""
    document = _object(await json_body(request))
    result = await perform_act(request, "templates.register", document)
    if isinstance(result, Response):
        return result
    form = {"responseCode": int(ResponseCode.SUCCESS), **result}
    return json_response(request, form, 201 if result["registered"] else 200)


async def list_templates(request: Request) -> Response:
    """GET /api/templates?prefix=x."""
    parameters = query_parameters(request)
    if not parameters.first("prefix"):
        raise RequestError("name a prefix: /api/templates?prefix=88.118.5")
    asked = {
        "prefix": parameters.first("prefix"),
        "code": parameters.first("code"),
        "after": parameters.first("after"),
        "limit": parameters.number("limit", PAGE_MAX, 1, PAGE_MAX),
    }
    return await answer_act(request, "templates.list", _sendable(asked))


async def get_template(request: Request) -> Response:
    """GET /api/templates/{prefix}/{code} and /api/templates/{prefix}/{code}/{version}."""
    return await answer_act(request, "templates.show", _named(request))


async def put_withdrawal(request: Request) -> Response:
    """PUT /api/templates/{prefix}/{code}/{version}/withdrawal."""
    document = _object(await json_body(request))
    asked = _named(request) | {"reason": document.get("reason", "")}
    return await answer_act(request, "templates.withdraw", _sendable(asked))


async def put_from_template(
    request: Request, handle: bytes, parameters: Parameters, document: dict[str, Any]
) -> Response:
    """PUT /api/handles/{handle} with a body that names a template."""
    if "index" in parameters or "mintNewSuffix" in parameters:
        raise RequestError(
            f"index (also {VARIOUS}) and mintNewSuffix do not go together with a template"
        )
    faults: list[str] = []
    read_request(document, faults)
    if faults:
        raise RequestError(join_faults(faults), ResponseCode.INVALID_VALUE)
    asked = {name: document.get(name) for name in ("template", "version", "attributes", "values")}
    asked |= {"handle": handle, "overwrite": parameters.flag("overwrite", True)}
    result = await perform_act(request, "templates.create_handle", _sendable(asked))
    if isinstance(result, Response):
        return result
    form = {"responseCode": int(ResponseCode.SUCCESS), **result, "handle": to_text(handle)}
    return json_response(request, form, 200 if result["replaced"] else 201)


def _object(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise RequestError("the body is not a JSON object")
    return _sendable(document)


def _sendable(document: dict[str, Any]) -> dict[str, Any]:
    """Return what can be handed on to the registrar. Raises: RequestError."""
    fault = find_unsendable(document)
    if fault:
        raise RequestError(fault, ResponseCode.INVALID_VALUE)
    return document


def _named(request: Request) -> dict[str, Any]:
    named: dict[str, Any] = {name: request.path_params[name] for name in ("prefix", "code")}
    version = request.path_params.get("version")
    if version is not None:
        if not version.isascii() or not version.isdigit() or len(version) > _VERSION_DIGITS_MAX:
            raise RequestError(f"version is {version[:40]!r}: write a number, 1 is the first")
        named["version"] = int(version)
    return _sendable(named)
