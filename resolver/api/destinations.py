"""Where a handle's values lead: its locations (`resolver.api.locations`), else its URL values.

    10320/loc         its locations; with urlWeight="1" the URL values are among them
    URL, 0.TYPE/URL   the first of them, where no location is chosen, unless no_legacy="true"
    URL.x             the first of these, where there is none of those

Which location a client gets, it says with ?locatt=, and by its headers: the media types and
languages it prefers are attributes asked for behind those (`ctype`, `media-type`, `language`), and
so is `http_role`: conneg for who prefers another form than a page, browser, or no_conneg.
"""

import random
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from starlette.requests import Request
from starlette.responses import Response

from protocol.handle import fold_case
from protocol.value import HandleValue
from resolver.api.answers import JSON_HEADERS
from resolver.api.context import client_address
from resolver.api.locations import (
    Attribute,
    Location,
    Locations,
    attributes_asked,
    choose,
    find_locations,
)
from resolver.api.negotiation import Form, names_preferred
from resolver.api.page_views import NEGOTIATED
from resolver.api.parameters import Parameters
from resolver.api.targets import find_target

LOCATIONS_TYPE = b"10320/LOC"
_URL_TYPES = (b"URL", b"0.TYPE/URL")
_METADATA = ("role", "metadata")
_BROWSERS = ("mozilla/", "opera/")


@dataclass(frozen=True, slots=True)
class Destinations:
    """What values offer: locations, if a 10320/loc value can be read, and URL values in order."""

    locations: Locations | None
    urls: tuple[Location, ...]

    def choose(self, request: Request, parameters: Parameters, form: Form) -> Location | None:
        """Return where a client is led; None: nowhere."""
        asked = _asked(request, parameters, form)
        client = client_address(request)
        found, draw = self.locations, random.random
        chosen = None
        if found is not None and form is not Form.PAGE:
            chosen = choose(found, asked, negotiated=True, random=draw, client=client)
        if chosen is not None or form is Form.JSON:
            return chosen
        if found is not None:
            among = found.with_urls(self.urls)
            chosen = choose(among, asked, negotiated=False, random=draw, client=client)
        if chosen is None and (found is None or found.allows_urls):
            return next(iter(self.urls), None)
        return chosen

    def find_metadata(self, request: Request, parameters: Parameters) -> Location | None:
        """Return a location that says role="metadata"; None: there is none."""
        if self.locations is None:
            return None
        asked = [_METADATA, *_asked(request, parameters, None)]
        chosen = choose(
            self.locations,
            asked,
            negotiated=None,
            random=random.random,
            client=client_address(request),
        )
        is_metadata = chosen is not None and chosen.attributes.get("role") == _METADATA[1]
        return chosen if is_metadata else None

    def to_xml(self) -> Response | None:
        """Return all of them in the form that the public proxies show; None: there are none."""
        lines = [] if self.locations is None else [_line(each) for each in self.locations.entries]
        for place, each in enumerate(self.urls):
            weight = "0.0" if self.locations is not None else str(int(place == 0))
            if self.locations is not None and self.locations.url_weight:
                weight = str(self.locations.url_weight)
            legacy = {"href": each.target, "weight": weight, "mode": "legacy"}
            lines.append(_element(legacy))
        if not lines:
            return None
        document = "<locations>\n" + "".join(f"{line}\n" for line in lines) + "</locations>\n"
        headers = {**JSON_HEADERS, **NEGOTIATED, "content-security-policy": "default-src 'none'"}
        return Response(document.encode(), 200, headers, "text/xml; charset=utf-8")


def find_destinations(
    values: tuple[HandleValue, ...], handle: bytes, octets_max: int
) -> Destinations:
    """Return where values lead; a 10320/loc value over `octets_max` octets is passed over."""
    return Destinations(_find_locations(values, handle, octets_max), tuple(_find_urls(values)))


def _find_locations(
    values: tuple[HandleValue, ...], handle: bytes, octets_max: int
) -> Locations | None:
    """Return what the first 10320/loc value that can be read says."""
    for value in values:
        if fold_case(value.type) == LOCATIONS_TYPE and len(value.data) <= octets_max:
            found = find_locations(value.data, handle)
            if found is not None:
                return found
    return None


def _find_urls(values: tuple[HandleValue, ...]) -> list[Location]:
    """Return the URL values that a browser may be sent to, in their order."""
    typed = [(fold_case(each.type), each.data) for each in values]
    plain = [data for type_, data in typed if type_ in _URL_TYPES]
    special = [
        data for type_, data in typed if type_.startswith(tuple(t + b"." for t in _URL_TYPES))
    ]
    targets = (find_target(each) for each in plain or special)
    return [Location(each) for each in targets if each is not None]


def _asked(request: Request, parameters: Parameters, form: Form | None) -> list[Attribute]:
    """Return the attributes asked for: in the address, then by headers. No form: without a role."""
    asked = attributes_asked(parameters.all("locatt"))
    if "country" in parameters:
        asked.append(("country", parameters.first("country")))
    accept = request.headers.get("accept", "")
    if form is not None:
        asked.append(("http_role", _role(request, accept, form)))
    types = ["text/html"] if form is Form.PAGE else names_preferred(accept)
    asked += [(name, each) for each in types for name in ("ctype", "media-type")]
    languages = names_preferred(request.headers.get("accept-language", ""))
    return asked + [("language", each) for each in languages]


def _role(request: Request, accept: str, form: Form) -> str:
    if form is not Form.PAGE:
        return "conneg"
    agent = request.headers.get("user-agent", "").strip().lower()
    is_browser = agent.startswith(_BROWSERS) or accept.strip() not in ("", "*/*")
    return "browser" if is_browser else "no_conneg"


def _line(location: Location) -> str:
    shown = {name: text for name, text in location.attributes.items() if ":" not in name}
    return _element({**shown, "href": location.target})


def _element(attributes: dict[str, str]) -> str:
    written = " ".join(f"{name}={quoteattr(text)}" for name, text in attributes.items())
    return f"<location {written}/>"
