"""Every endpoint of the REST interface: the one table of routes and of the OpenAPI document."""

from starlette.routing import Route

from resolver.api import administration_endpoints, record_endpoints
from resolver.api.endpoints import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = (
    *record_endpoints.ENDPOINTS,
    *administration_endpoints.ENDPOINTS,
)

# Other ways of writing a path.
_ALIASES = {
    "/api/handles": "/api/handles/",
    "/api/prefixes/{prefix}": "/api/prefixes/0.NA/{prefix}",
}


def make_routes() -> list[Route]:
    """Return the routes of all endpoints, those with other spellings of a path first."""
    aliases = [
        Route(_ALIASES[each.path], each.function, methods=[each.method])
        for each in ENDPOINTS
        if each.path in _ALIASES
    ]
    return [*aliases, *(endpoint.route() for endpoint in ENDPOINTS)]
