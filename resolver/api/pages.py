"""What a browser finds: the node's front page, and any handle as a path.

    GET /88.118.5/X1            sent on (302) to where the handle leads, else its values as a page
      Accept: application/json  its values as JSON, as below /api/handles
      ?noredirect               not sent on: its values
      ?type= ?index= (repeat)   only these values, for all of the above
      ?auth ?cert               asks the primary, past caches; asks for a signed answer
      ?ignore_aliases           HS_ALIAS is a value like others
      ?urlappend=               put behind the address that one is sent to
      ?locatt=name:value        (repeat) chooses among the locations of a 10320/loc value
      ?action=showurls          the addresses it may lead to, as XML
      ?action=showvalues        as noredirect
      ?action=api               as below /api/handles, always
      ?action=metadata          to the location with role="metadata", if one has it
      ?action=showmetadata      the same, else its values: they are all that a node knows of it
    GET /?handle=88.118.5/X1    the same as its path, for the front page's form
    POST / with hdl=88.118.5/X1 the same, for the forms of Handle.Net's proxies

This is what the public Handle proxies understand; another action is none. A handle may be named
with what often stands before it (`resolver.api.names`). Where it leads says
`resolver.api.destinations`.
"""

from typing import NamedTuple
from urllib.parse import quote_from_bytes

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from protocol.bodies import ErrorAnswer, ResolutionRequest, ValuesRequest
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.handle import fold_handle, to_text
from protocol.value import HandleValue, select_values
from resolver.api import page_views
from resolver.api.answers import error_response, json_response, result_response
from resolver.api.context import context_of, peer_of
from resolver.api.destinations import find_destinations
from resolver.api.errors import RequestError, http_status
from resolver.api.locations import STATUS_DEFAULT, Location
from resolver.api.names import plain_handle
from resolver.api.negotiation import Form, wanted_form, wanted_language
from resolver.api.page_views import NEGOTIATED, code, link_to, page, paragraph, path_of
from resolver.api.page_words import Words, words_in
from resolver.api.parameters import (
    Parameters,
    all_parameters,
    handle_in_path,
    page_parameters,
)
from resolver.api.targets import append
from resolver.query import Result

ALIAS_TYPE = b"HS_ALIAS"
_MOVED = 301
_LOOP_DETECTED = 508  # RFC 5842 §7.2
_NAMES = ("handle", "hdl")  # of the parameter that names a handle on the front page


class Found(NamedTuple):
    """What a path led to: `handle` after aliases, `via` the handles before it, `result` of it."""

    handle: bytes
    via: tuple[bytes, ...]
    result: Result


async def get_front_page(request: Request) -> Response:
    """GET /: what this node is, and what can be asked of it."""
    parameters = await all_parameters(request)  # of a form, in which a plus is a space
    asked = "".join(parameters.first(name) for name in _NAMES).strip()
    if asked:
        handle = plain_handle(asked.encode("utf-8", "surrogateescape"))
        return RedirectResponse(path_of(handle), 303, NEGOTIATED)
    context = context_of(request)
    status = await context.operations.status()
    prefixes = status_prefixes(status)
    if "text/html" not in request.headers.get("accept", ""):
        about = {
            "program": "biaoshi",
            "role": context.config.role.value,
            "ready": status["ready"],
            "readOnly": status.get("read_only", ""),
            "prefixes": prefixes,
            "links": {
                "site": "/api/site",
                "resolve": "/api/handles/{handle}",
                "health": "/healthz",
                "readiness": "/readyz",
            },
        }
        return json_response(request, about, headers=NEGOTIATED)
    words = _words(request)
    facts = [
        (words.role, context.config.role.value),
        (words.ready, words.yes if status["ready"] else words.no),
    ]
    if context.config.role.registers:
        facts.append((words.registrations, str(status.get("read_only") or words.open)))
        facts.append((words.prefixes, ", ".join(prefixes) or words.none))
    links = " · ".join(f'<a href="{path}">{path}</a>' for path in ("/api/site", "/readyz"))
    body = f"{page_views.resolve_form(words)}{page_views.facts_table(facts)}"
    return page(words, "Biaoshi 标识", f"{body}<footer>{links}</footer>")


def status_prefixes(status: dict[str, object]) -> list[str]:
    """Return the prefixes a node's status names, as text."""
    prefixes = status.get("prefixes", [])
    if not isinstance(prefixes, list):
        return []
    return [to_text(each) if isinstance(each, bytes) else str(each) for each in prefixes]


async def get_handle_page(request: Request) -> Response:
    """GET /{handle}: to where it leads, or its values."""
    form = wanted_form(request.headers.get("accept", ""))
    try:
        return await _answer(request, form)
    except RequestError as error:
        if form is Form.JSON:
            return error_response(request, error)
        return error_page(error)


def error_page(error: RequestError) -> Response:
    """Return a refusal for people."""
    return page_views.error_page(error.words, error.status)


async def _answer(request: Request, form: Form) -> Response:
    parameters = await page_parameters(request)
    action = parameters.first("action").lower()
    found = await _find(request, parameters, follows=action != "api")
    values, found = _selected(found, parameters)
    octets_max = context_of(request).config.limits.locations_octets_max
    destinations = find_destinations(values, found.handle, octets_max)
    if action == "api":
        return result_response(request, found.handle, found.result, reading=True)
    if action == "showurls":
        listed = destinations.to_xml()
        if listed is not None:
            return listed
    chosen = None
    if action in ("metadata", "showmetadata"):
        chosen = destinations.find_metadata(request, parameters)
    shows = action in ("showvalues", "showmetadata", "showurls") or parameters.is_on("noredirect")
    if chosen is None and not shows:
        chosen = destinations.choose(request, parameters, form)
    if chosen is not None:
        return _sent_on(request, chosen, parameters)
    if form is Form.JSON:
        result = found.result
        return result_response(request, found.handle, result, reading=True, headers=NEGOTIATED)
    return _shown(_words(request), found, values)


def _selected(found: Found, parameters: Parameters) -> tuple[tuple[HandleValue, ...], Found]:
    """Return the values that are asked for, and what was found with only these."""
    body = found.result.body
    if not isinstance(body, ValuesRequest):
        return (), found
    try:
        indexes = parameters.indexes()
    except RequestError:
        indexes = ()  # what is no index asks for nothing, as in the public proxies
    values = select_values(body.values, indexes, parameters.types())
    result = Result(found.result.response_code, ValuesRequest(found.handle, values))
    if not values:
        refusal = ErrorAnswer(b"no readable value matches the question")
        result = Result(ResponseCode.VALUES_NOT_FOUND, refusal)
    return values, found._replace(result=result)


async def _find(request: Request, parameters: Parameters, *, follows: bool) -> Found:
    """Resolve the handle in a path, and what it is an alias of.

    Raises:
        RequestError: the aliases go round, or over too many handles.
    """
    handle = plain_handle(handle_in_path(request, b"/"))
    flags = MessageFlag.PUBLIC_ONLY
    if parameters.is_on("auth"):
        flags |= MessageFlag.AUTHORITATIVE
    if parameters.is_on("cert"):
        flags |= MessageFlag.CERTIFY
    follows = follows and not parameters.is_on("ignore_aliases")
    context, words = context_of(request), _words(request)
    seen: dict[bytes, bytes] = {}
    while True:
        result = await context.operations.perform(
            OpCode.RESOLUTION, ResolutionRequest(handle), flags, None, peer_of(request)
        )
        alias = _alias(result) if follows else None
        if alias is None:
            return Found(handle, tuple(seen.values()), result)
        seen[fold_handle(handle, case_sensitive=True)] = handle
        if fold_handle(alias, case_sensitive=True) in seen:
            raise _alias_error(words.loop_text.format(to_text(handle)))
        if len(seen) > context.config.limits.aliases_followed_max:
            first, most = next(iter(seen.values())), context.config.limits.aliases_followed_max
            raise _alias_error(words.depth_text.format(to_text(first), most))
        handle = alias


def _alias_error(words: str) -> RequestError:
    return RequestError(words, ResponseCode.ERROR, status=_LOOP_DETECTED)


def _alias(result: Result) -> bytes | None:
    """Return the handle that a record stands for, if it stands for one."""
    if isinstance(result.body, ValuesRequest):
        for value in result.body.values:
            if value.type.upper() == ALIAS_TYPE and value.data:
                return value.data
    return None


def _sent_on(request: Request, chosen: Location, parameters: Parameters) -> Response:
    target = chosen.target
    addition = parameters.first("urlappend").encode("utf-8", "surrogateescape")
    if addition:
        longer = append(target, addition)
        if longer is None:
            raise RequestError(
                f"urlappend would lead to another place than {target}: it may only lengthen "
                "the path or the query, without spaces or control characters"
            )
        target = longer
    # Not RedirectResponse: it would quote again what is quoted.
    assert target.isascii()
    assert target.isprintable()
    is_old = request.scope.get("http_version") == "1.0"
    status = STATUS_DEFAULT if is_old and chosen.status != _MOVED else chosen.status
    response = page_views.redirect_page(target)
    response.status_code = status
    response.headers["location"] = target
    response.headers["referrer-policy"] = "no-referrer-when-downgrade"
    return response


def _shown(words: Words, found: Found, values: tuple[HandleValue, ...]) -> Response:
    if not values:
        return _refusal_page(words, found)
    notes = [
        paragraph(words.alias_text, link_to(each, "?noredirect&ignore_aliases"))
        for each in found.via
    ]
    api = f"/api/handles/{quote_from_bytes(found.handle)}"
    footer = f'<footer><a href="{api}?pretty">{words.as_json}</a></footer>'
    table = page_views.values_table(words, values)
    return page(words, to_text(found.handle), "".join(notes) + table + footer)


def _refusal_page(words: Words, found: Found) -> Response:
    result, name = found.result, code(to_text(found.handle))
    if result.response_code == ResponseCode.HANDLE_NOT_FOUND:
        title, body = words.not_found, paragraph(words.not_found_text, name)
        if found.handle.endswith(b"/"):
            body += paragraph(words.slash_text, link_to(found.handle.rstrip(b"/")))
    elif result.response_code == ResponseCode.VALUES_NOT_FOUND:
        title, body = to_text(found.handle), paragraph(words.nothing_shown)
    else:
        number = str(int(result.response_code))
        title, body = words.not_resolved, paragraph(words.not_resolved_text, name, number)
    if isinstance(result.body, ErrorAnswer) and result.body.message:
        body += f'<p lang="en">{code(to_text(result.body.message))}</p>'
    return page(words, title, body, http_status(result.response_code, reading=True))


def _words(request: Request) -> Words:
    return words_in(wanted_language(request.headers.get("accept-language", "")))
