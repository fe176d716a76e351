"""Statistics over REST: what was registered and asked, by prefix and day, and who asked most.

    GET /api/statistics?prefix=&from=&to=    by day; without a prefix of all the node
    GET /api/statistics/totals?prefix=       what there is; without a prefix also page by page,
                                             &limit= and &after=, the "next" of the page before
    GET /api/statistics/sources?prefix=&day= who asked most on a day; without a prefix, for anything

Days are written 2026-11-21 and are those of Shanghai; without one it is today. What may be asked
and who may see it is the registry's to say (`registry.statistics_acts`).
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from registry.counters import NAMES_MAX
from resolver.api.acts import answer_act
from resolver.api.parameters import query_parameters


async def get_statistics(request: Request) -> Response:
    """Answer GET /api/statistics."""
    return await answer_act(request, "statistics.show", _texts(request, "prefix", "from", "to"))


async def get_totals(request: Request) -> Response:
    """Answer GET /api/statistics/totals."""
    parameters: dict[str, Any] = _texts(request, "prefix", "after")
    limit = query_parameters(request).number("limit", NAMES_MAX, 1, NAMES_MAX)
    return await answer_act(request, "statistics.totals", {**parameters, "limit": limit})


async def get_sources(request: Request) -> Response:
    """Answer GET /api/statistics/sources."""
    return await answer_act(request, "statistics.sources", _texts(request, "prefix", "day"))


def _texts(request: Request, *names: str) -> dict[str, str]:
    """Return the parameters that are given. Raises: RequestError."""
    given = query_parameters(request)
    unicode = {name: given.first(name) for name in names if name in given}
    # What is no UTF-8 in the query cannot be sent on as text.
    return {name: text.encode("utf-8", "replace").decode() for name, text in unicode.items()}
