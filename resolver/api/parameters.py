"""What a REST request asks for: the handle in its path, its parameters, its JSON body.

A handle is octets and may hold slashes, so it is read from the path as it was sent, everything
after `/api/handles/`, percent-decoded once. Parameters stand in the query, and, in a POST that
reads, as the members of a JSON object or the fields of a form beside it.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote_to_bytes

import msgspec
from starlette.requests import Request

from protocol.handle import PREFIX_HANDLE_START, fold_case
from protocol.wire import HANDLE_OCTETS_MAX
from resolver.api.errors import RequestError

HANDLES_PATH = b"/api/handles/"
VARIOUS = "various"  # ?index=various: the indexes are those of the body
INDEX_MAX = 2**31 - 1
JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"
_WITH_BODY = ("POST", "PUT", "DELETE")
PAGE_SIZE = 1_000  # of a page when only its number is asked for: some 30 KB
_NEGATIVE = re.compile("-[0-9]{1,10}")
_TRUE = {"", "true", "1", "yes"}
_FALSE = {"false", "0", "no"}
# Many times what a request of 2,048 values needs; parse_qs stops there with an error.
_FIELDS_MAX = 4_096

Form = TypeVar("Form")


def handle_in_path(request: Request, start: bytes = HANDLES_PATH) -> bytes:
    """Return the handle after `start` in the path as sent. Raises: RequestError."""
    raw_path: bytes = request.scope["raw_path"]
    if not raw_path.startswith(start):  # routes match the decoded path: /api/%68andles/x
        raise RequestError(f"write {start.decode()} plainly, without %XX", status=404)
    handle = unquote_to_bytes(raw_path[len(start) :])
    if len(handle) > HANDLE_OCTETS_MAX:
        raise RequestError(f"a handle has at most {HANDLE_OCTETS_MAX} octets, not {len(handle)}")
    return handle


def prefix_handle_of(prefix: str) -> bytes:
    """Return `0.NA/x` for either way of naming a prefix, `0.NA/x` or `x`."""
    octets = prefix.encode("utf-8", "surrogateescape")
    if fold_case(octets).startswith(PREFIX_HANDLE_START):
        return octets
    return PREFIX_HANDLE_START + octets


def content_type(request: Request) -> str:
    """Return the media type of a request's body, empty when it names none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def json_body(request: Request) -> Any:
    """Return the JSON document in a request's body. Raises: RequestError."""
    if content_type(request) != JSON_TYPE:
        raise RequestError("send the body as JSON, with Content-Type: application/json")
    try:
        return msgspec.json.decode(await request.body())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"the body is not JSON: {str(error).lower()}") from None
    except RecursionError:
        raise RequestError("the body is not usable: it is nested too deeply") from None


async def body_as(request: Request, form: type[Form], example: str) -> Form:
    """Return the JSON document in a request's body as a msgspec structure.

    Args:
        request: has the body.
        form: what it has to be; give its fields limits with `msgspec.Meta`.
        example: a document that is right, for the refusal of one that is not.

    Raises:
        RequestError: it is no such document; the words say which member, and show the example.
    """
    document = await json_body(request)
    try:
        return msgspec.convert(document, form)
    except msgspec.ValidationError as error:
        words = str(error)
        words = f"{words[0].lower()}{words[1:]}".replace("$.", "").replace(" - at `$`", "")
        raise RequestError(f"the body is not usable: {words}: write {example}") from None


class Parameters:
    """Parameters by name, each with all its values as text."""

    def __init__(self, values: Mapping[str, list[str]]) -> None:
        self._values = values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def names(self) -> list[str]:
        """Return the names of all."""
        return list(self._values)

    def joined(self, others: "Parameters") -> "Parameters":
        """Return these, and behind them the values of others."""
        names = dict.fromkeys([*self._values, *others._values])
        return Parameters({name: self.all(name) + others.all(name) for name in names})

    def all(self, name: str) -> list[str]:
        """Return all values, perhaps none."""
        return self._values.get(name, [])

    def first(self, name: str, default: str = "") -> str:
        """Return the first value."""
        return (self.all(name) or [default])[0]

    def text(self, name: str, default: str = "") -> str:
        """Return the first value, which has to be UTF-8. Raises: RequestError."""
        text = self.first(name, default)
        try:
            text.encode()
        except UnicodeEncodeError:  # octets that are not UTF-8 came in as surrogates
            raise RequestError(f"{name} is not UTF-8") from None
        return text

    def flag(self, name: str, default: bool) -> bool:
        """Return a switch; a name without a value means true. Raises: RequestError."""
        if name not in self:
            return default
        text = self.first(name).lower()
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        raise RequestError(f"{name} is {text[:40]!r}: write true or false")

    def is_on(self, name: str) -> bool:
        """Say whether a switch is there, whatever its value is unless that is false, 0 or no."""
        return name in self and self.first(name).lower() not in _FALSE

    def number(self, name: str, default: int, smallest: int, largest: int) -> int:
        """Return a number within bounds. Raises: RequestError."""
        return _number(name, self.first(name), smallest, largest) if name in self else default

    def ask_for_page(self) -> bool:
        """Say whether page or pageSize ask for one: Handle.Net's clients write -1 for all."""
        asked = [self.first(name) for name in ("page", "pageSize") if name in self]
        return bool(asked) and not any(_NEGATIVE.fullmatch(each) for each in asked)

    def indexes(self) -> tuple[int, ...]:
        """Return the value indexes asked for. Raises: RequestError."""
        return tuple(_number("index", text, 0, INDEX_MAX) for text in self.all("index"))

    def types(self) -> tuple[bytes, ...]:
        """Return the value types asked for."""
        return tuple(text.encode("utf-8", "surrogateescape") for text in self.all("type"))


def query_parameters(request: Request) -> Parameters:
    """Return what stands in the query. Raises: RequestError."""
    return _fields_of(request.scope["query_string"], "the query")


async def all_parameters(request: Request) -> Parameters:
    """Return what stands in the query and, of a POST, in its body: JSON or a form, or nothing.

    A body of another kind is none of ours. Raises: RequestError.
    """
    parameters = query_parameters(request)
    if request.method not in _WITH_BODY:
        return parameters
    kind = content_type(request)
    if kind == FORM_TYPE:
        return parameters.joined(_fields_of(await request.body(), "the form"))
    if kind == JSON_TYPE and await request.body():
        return parameters.joined(body_parameters(await json_body(request)))
    return parameters


async def page_parameters(request: Request) -> Parameters:
    """Return what an address says as the public proxies read it, and the form of a POST.

    There a plus is a plus, and ; separates like &. Raises: RequestError.
    """
    query = request.scope["query_string"].replace(b"+", b"%2B").replace(b";", b"&")
    parameters = _fields_of(query, "the query")
    if request.method == "POST" and content_type(request) == FORM_TYPE:
        return parameters.joined(_fields_of(await request.body(), "the form"))
    return parameters


def _fields_of(octets: bytes, place: str) -> Parameters:
    try:
        found = parse_qs(
            octets.decode("latin-1"),
            keep_blank_values=True,
            errors="surrogateescape",
            max_num_fields=_FIELDS_MAX,
        )
    except ValueError:
        raise RequestError(f"{place} has more than {_FIELDS_MAX} parameters") from None
    return Parameters(found)


def body_parameters(document: Any) -> Parameters:
    """Return the members of a JSON object as parameters. Raises: RequestError."""
    if not isinstance(document, dict):
        raise RequestError('the body is not a JSON object: write {"type": ["URL"]} for example')
    return Parameters(
        {
            name: [_text(name, each) for each in (value if isinstance(value, list) else [value])]
            for name, value in document.items()
        }
    )


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | str):
        return str(value)
    raise RequestError(f"{name[:40]} in the body is neither text, number, true nor false")


def _number(name: str, text: str, smallest: int, largest: int) -> int:
    if text.isascii() and text.isdigit() and len(text) <= len(str(largest)):
        number = int(text)
        if smallest <= number <= largest:
            return number
    raise RequestError(f"{name} is {text[:40]!r}: write a number from {smallest} to {largest}")
