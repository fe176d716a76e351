"""The prefix office over REST: applications, the prefixes given out, their quotas, people.

    POST /api/applications                    {"prefix", "publicKey", "particulars"}, and perhaps
                                              "site", "role"; anybody may. 201 {"number", "token"}
    GET  /api/applications?state=&after=&limit=   {"applications": [..], "next"}
    GET  /api/applications/{number}           ?people=true shows them in clear, to reviewers; the
                                              applicant sends the header Application-Token
    POST /api/applications/{number}/approve   {"mode": "delegated" | "hosted"}, and perhaps
                                              "reason", "delegation"
    POST /api/applications/{number}/refuse    {"reason"}
    GET  /api/prefixes/{prefix}               how it stands
    POST /api/prefixes/{prefix}/suspend       {"reason"}; likewise /release
    POST /api/prefixes/{prefix}/resume        likewise /remove
    POST /api/prefixes/{prefix}/transfer      {"publicKey"}, and perhaps "particulars", "reason"
    GET, PUT /api/quotas/{prefix}             {"identifiersPerDay", "requestsPerDay"}
    DELETE /api/people/{subject}              erases a person

All of it is there over https only: it is about people. What the members may be is the registry's
to say (`registry.office_parameters`).
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from resolver.api.acts import answer_act
from resolver.api.context import context_of
from resolver.api.errors import RequestError
from resolver.api.parameters import json_body, query_parameters

TOKEN_HEADER = "application-token"
BODY_OCTETS_MAX = 65_536
NUMBER_MAX = 2**53 - 1  # JSON's
LISTED = 100  # when no limit is asked for
LISTED_MAX = 1_000
VERBS = ("suspend", "resume", "transfer", "release", "remove")
DECISIONS = ("approve", "refuse")


async def post_application(request: Request) -> Response:
    """POST /api/applications."""
    document = await _body(request)
    return await answer_act(request, "applications.apply", document, created=True)


async def get_applications(request: Request) -> Response:
    """GET /api/applications."""
    _require_tls(request)
    asked = query_parameters(request)
    parameters = {
        "state": asked.text("state"),
        "after": asked.number("after", 0, 0, NUMBER_MAX),
        "limit": asked.number("limit", LISTED, 1, LISTED_MAX),
    }
    return await answer_act(request, "applications.list", parameters)


async def get_application(request: Request) -> Response:
    """GET /api/applications/{number}."""
    _require_tls(request)
    parameters = {
        "number": _number(request),
        "token": request.headers.get(TOKEN_HEADER, ""),
        "people": query_parameters(request).flag("people", False),
    }
    return await answer_act(request, "applications.show", parameters)


async def post_decision(request: Request) -> Response:
    """POST /api/applications/{number}/approve or /refuse."""
    verb = _verb(request, DECISIONS)
    document = await _body(request, {"number": _number(request)})
    return await answer_act(request, f"applications.{verb}", document)


async def get_prefix(request: Request) -> Response:
    """GET /api/prefixes/{prefix}."""
    _require_tls(request)
    return await answer_act(request, "prefixes.show", {"prefix": request.path_params["prefix"]})


async def post_prefix(request: Request) -> Response:
    """POST /api/prefixes/{prefix}/suspend and so on."""
    verb = _verb(request, VERBS)
    document = await _body(request, {"prefix": request.path_params["prefix"]})
    return await answer_act(request, f"prefixes.{verb}", document)


async def get_quota(request: Request) -> Response:
    """GET /api/quotas/{prefix}."""
    _require_tls(request)
    return await answer_act(request, "quotas.show", {"prefix": request.path_params["prefix"]})


async def put_quota(request: Request) -> Response:
    """PUT /api/quotas/{prefix}."""
    document = await _body(request, {"prefix": request.path_params["prefix"]})
    return await answer_act(request, "quotas.set", document)


async def delete_person(request: Request) -> Response:
    """DELETE /api/people/{subject}."""
    _require_tls(request)
    return await answer_act(request, "people.erase", {"subject": request.path_params["subject"]})


def _require_tls(request: Request) -> None:
    if not context_of(request).takes_credentials(request):
        raise RequestError("the prefix office is there over https only", status=403)


async def _body(request: Request, path: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the JSON object in the body, and what the path says. Raises: RequestError."""
    _require_tls(request)
    octets = await request.body()
    if len(octets) > BODY_OCTETS_MAX:
        raise RequestError(f"the body has {len(octets)} octets, at most {BODY_OCTETS_MAX}")
    document = await json_body(request) if octets else {}
    if not isinstance(document, dict):
        raise RequestError('the body is not a JSON object: write {"reason": ".."} for example')
    for name in path or {}:
        if name in document:
            raise RequestError(f"{name} stands in the path, leave it out of the body")
    return document | (path or {})


def _verb(request: Request, known: tuple[str, ...]) -> str:
    verb: str = request.path_params["verb"]
    if verb not in known:
        raise RequestError(f"no such path: known are {', '.join(known)}", status=404)
    return verb


def _number(request: Request) -> int:
    text: str = request.path_params["number"]
    if text.isascii() and text.isdigit() and len(text) <= len(str(NUMBER_MAX)):
        return int(text)
    raise RequestError(f"{text[:40]!r} is no number of an application")
