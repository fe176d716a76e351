"""What an endpoint of the REST interface is: where it is routed, and how it is described.

One entry per method and path serves both the router and the OpenAPI document, so that neither has
what the other lacks.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Schema = Mapping[str, Any]
JSON = "application/json"
NDJSON = "application/x-ndjson"
TEXT = "text/plain"

# What any request may be answered with: `resolver.api.errors` has them by response code.
REFUSALS = {
    300: "another node is responsible; the body says which",
    400: "the request cannot be carried out as it stands",
    401: "somebody has to say who he is, and prove it",
    403: "he may not, or not over plain http",
    404: "there is no such thing",
    409: "it exists already",
    413: "the body is too large",
    500: "server error",
    501: "this node does no such thing",
    503: "the node is too busy, or only answers look-ups",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the query, a header or the path; those of paths are always required."""

    name: str
    words: str
    schema: Schema
    place: str = "query"
    required: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """What a request brings: a JSON Schema, or a msgspec structure, of which one is made."""

    content: Schema | type
    media_types: tuple[str, ...] = (JSON,)
    required: bool = True


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path.

    `answer` is the schema of success, or the structure that is told (`resolver.told`), `status` its
    HTTP status; `created` adds 201 to 200. `access` says who may: "anybody", "some" (who he is
    changes what he sees) or "known" (nobody else).
    """

    method: str
    path: str
    function: Callable[[Request], Awaitable[Response]]
    tag: str
    words: str
    answer: Schema | type
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    status: int = 200
    created: bool = False
    media_types: tuple[str, ...] = (JSON,)
    access: str = "known"

    @property
    def shown_path(self) -> str:
        """The path as OpenAPI writes it."""
        return self.path.replace(":path}", "}")

    def route(self) -> Route:
        """Return the route that serves it."""
        return Route(self.path, self.function, methods=[self.method])


def text(name: str, words: str, *, required: bool = False, **schema: Any) -> Parameter:
    """Return a parameter in the query that is text."""
    return Parameter(name, words, {"type": "string", **schema}, required=required)


def number(name: str, words: str, smallest: int, largest: int) -> Parameter:
    """Return a parameter in the query that is a number within bounds."""
    return Parameter(name, words, {"type": "integer", "minimum": smallest, "maximum": largest})


def flag(name: str, words: str) -> Parameter:
    """Return a parameter in the query that is true or false."""
    return Parameter(name, words, {"type": "boolean"})


def in_path(name: str, words: str, **schema: Any) -> Parameter:
    """Return a parameter in the path; what OpenAPI has no words for is that it may hold slashes."""
    whole = {"type": "string", "minLength": 1, **schema}
    return Parameter(name, words, whole, "path", required=True)


IN_PREFIX = in_path("prefix", "88.118.5 or 0.NA/88.118.5")
PREFIX = text("prefix", "88.118.5 or 0.NA/88.118.5", required=True, minLength=1)
