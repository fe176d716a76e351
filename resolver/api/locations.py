"""Values of type 10320/loc: several addresses of one identifier, and which of them is taken.

    <locations chooseby="locatt,address,country,score,weighted">
      <location id="0" href="https://gb.example/" country="gb" weight="0"/>
      <location id="1" href="https://www.example/" weight="1"/>
      <location http_role="conneg" href_template="https://data.example/{hdl}" weight="0"/>
    </locations>

Selection is as the public Handle proxies document it. Methods are applied in order until one
location is left; a method that leaves none is taken back; the last is always the weighted one.

    locatt     ?locatt=id:1 (repeatable): those with this attribute; ?locatt=id: that have it
    address    those whose addresses="192.0.2.0/24,.." have the client's in them
    country    those of the client's country, else those that name none
    score      those with the highest score="1", without one 0
    weighted   one by chance, by weight; no weight counts as 1; all at 0: any of them

A country is known when the client names it, `?locatt=country:gb` or `?country=gb`; it is never
guessed from an address. Locations with http_role="conneg" serve those who want another form than a
page. An http_sc of the root is that of locations without one.

XML comes from whoever registered the handle: a document type, and so every entity, is refused.
"""

import contextlib
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote
from xml.parsers import expat

from resolver.api.targets import TARGET_OCTETS_MAX, find_target

CHOOSEBY = ("locatt", "address", "country", "score", "weighted")
ASKED_MAX = 16  # attributes that one request asks for
STATUS_DEFAULT = 302
_NETWORKS_MAX = 64  # of one location that are looked at
_STATUSES = {"301", "302", "303", "307", "308"}
_CONNEG = "conneg"
_HANDLE = "{hdl}"
_HANDLE_PATH = "{hdl:path}"
_TAGS = ("location", "loc_template")
_PATH_SAFE = "/:@!$,~*().-_"  # of a handle in a path
# The public proxies' documents write both.
_COUNTRIES = {"uk": "gb"}
# (name, value); without a value any is meant.
Attribute = tuple[str, str | None]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Location:
    """One address: `target` as a header may have it, and the attributes as they were written."""

    target: str
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def is_negotiated(self) -> bool:
        """Say whether it is only for clients that want another form than a page."""
        return self.attributes.get("http_role", "").lower() == _CONNEG

    @property
    def status(self) -> int:
        """The status that a client is sent there with."""
        written = self.attributes.get("http_sc", "")
        return int(written) if written in _STATUSES else STATUS_DEFAULT

    @property
    def weight(self) -> float:
        """How likely it is to be chosen by chance, from 0."""
        return _number(self.attributes.get("weight", "1"), 1.0)

    @property
    def score(self) -> float:
        """How good it is, from 0."""
        return _number(self.attributes.get("score", "0"), 0.0)

    def serves(self, client: Address) -> bool:
        """Say whether its addresses have the client's in them; those that are none have nobody."""
        for each in self.attributes.get("addresses", "").split(",")[:_NETWORKS_MAX]:
            with contextlib.suppress(ValueError):
                if client in ipaddress.ip_network(each.strip(), strict=False):
                    return True
        return False


def _number(text: str, default: float) -> float:
    try:
        number = float(text)
    except ValueError:
        return default
    return min(number, 1e6) if number > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Locations:
    """What a value of this type says."""

    entries: tuple[Location, ...]
    chooseby: tuple[str, ...] = CHOOSEBY
    url_weight: float = 0.0  # of URL values among them
    allows_urls: bool = True

    def with_urls(self, urls: Sequence[Location]) -> "Locations":
        """Return these, and URL values among them where that is asked for."""
        if not (self.url_weight and self.allows_urls):
            return self
        weight = {"weight": str(self.url_weight)}
        added = (Location(each.target, weight) for each in urls)
        return replace(self, entries=(*self.entries, *added))


def find_locations(data: bytes, handle: bytes) -> Locations | None:
    """Read a value; None when it is no such XML. Addresses nobody is sent to are left out.

    Args:
        data: of the value.
        handle: it belongs to, for addresses that have `{hdl}` in them.
    """
    found = _Elements()
    parser = expat.ParserCreate()
    parser.StartElementHandler = found.start
    parser.EndElementHandler = found.end
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, _RefusedError, LookupError, ValueError):
        return None  # the last two: an encoding that Python does not know, or cannot use here
    if found.root is None:
        return None
    root = found.root
    methods = root.get("choose_by", root.get("chooseby", "")).split(",")
    named = (each.strip().lower() for each in methods)
    chooseby = tuple(dict.fromkeys(each for each in named if each in CHOOSEBY))
    shared = {"http_sc": root["http_sc"]} if "http_sc" in root else {}
    entries = (_location(shared | attributes, handle) for attributes in found.locations)
    return Locations(
        tuple(each for each in entries if each is not None),
        chooseby or CHOOSEBY,
        _number(root.get("urlWeight", "0"), 0.0),
        root.get("no_legacy", "").lower() not in ("true", "yes", "1"),
    )


def choose(
    locations: Locations,
    asked: Sequence[Attribute],
    *,
    negotiated: bool | None,
    random: Callable[[], float],
    client: Address | None = None,
) -> Location | None:
    """Return the location to send a client to; None: there is none for it.

    Args:
        locations: to choose from.
        asked: the attributes that the client asks for, (name, value).
        negotiated: the client wants another form than a page; None: whatever it wants.
        random: a number from 0 up to 1, without 1.
        client: its address, if it is known.
    """
    left = [each for each in locations.entries if negotiated in (None, each.is_negotiated)]
    for method in locations.chooseby:
        if len(left) < 2:
            break
        if method == "weighted":
            return _weighted(left, random)
        left = _METHODS[method](left, asked, client) or left
    return _weighted(left, random) if left else None


def attributes_asked(parameters: Sequence[str]) -> list[Attribute]:
    """Return the attributes in `locatt` parameters, `name:value`, or `name` for any value.

    Those beyond ASKED_MAX are passed over.
    """
    split = (each.partition(":") for each in parameters[:ASKED_MAX])
    found = ((name.strip(), value.strip() if colon else None) for name, colon, value in split)
    return [(name, value) for name, value in found if name]


class _RefusedError(Exception):
    """A document that is not read on."""


def _refuse_doctype(*_: object) -> None:
    raise _RefusedError


class _Elements:
    """Collects the root's attributes and those of the locations directly in it."""

    def __init__(self) -> None:
        self.root: dict[str, str] | None = None
        self.locations: list[dict[str, str]] = []
        self._depth = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._depth == 0:
            if name != "locations":
                raise _RefusedError
            self.root = attributes
        elif self._depth == 1 and name.lower() in _TAGS:
            self.locations.append(attributes)
        self._depth += 1

    def end(self, _: str) -> None:
        self._depth -= 1


def _location(attributes: dict[str, str], handle: bytes) -> Location | None:
    address = attributes.get("href") or attributes.get("href_template") or ""
    placed = address.count(_HANDLE) + address.count(_HANDLE_PATH)
    if len(address) + placed * 3 * len(handle) > TARGET_OCTETS_MAX:
        return None
    address = address.replace(_HANDLE, quote(handle, safe=""))
    address = address.replace(_HANDLE_PATH, quote(handle, safe=_PATH_SAFE))
    target = find_target(address.encode())
    return None if target is None else Location(target, attributes)


def _with_attributes(
    left: list[Location], asked: Sequence[Attribute], _: Address | None
) -> list[Location]:
    for name, value in asked:
        wanted = None if value is None else _plain(name, value)
        found = [
            each
            for each in left
            if name in each.attributes and wanted in (None, _plain(name, each.attributes[name]))
        ]
        left = found or left
    return left


def _at_address(
    left: list[Location], _: Sequence[Attribute], client: Address | None
) -> list[Location]:
    return [] if client is None else [each for each in left if each.serves(client)]


def _of_highest_score(
    left: list[Location], _: Sequence[Attribute], __: Address | None
) -> list[Location]:
    highest = max(each.score for each in left)
    return [each for each in left if each.score == highest]


def _in_country(
    left: list[Location], asked: Sequence[Attribute], _: Address | None
) -> list[Location]:
    wanted = [_plain(name, value) for name, value in asked if name == "country" and value]
    named = [(_plain("country", each.attributes.get("country", "")), each) for each in left]
    found = [each for country, each in named if country and country in wanted]
    return found or [each for country, each in named if not country]


def _plain(name: str, value: str) -> str:
    if name != "country":
        return value
    country = value.strip().lower()
    return _COUNTRIES.get(country, country)


def _weighted(left: list[Location], random: Callable[[], float]) -> Location:
    total = sum(each.weight for each in left)
    if total <= 0:
        return left[int(random() * len(left))]
    point = random() * total
    for each in left:
        point -= each.weight
        if point < 0:
            return each
    return max(left, key=lambda each: each.weight)  # what rounding left over


_METHODS: dict[
    str, Callable[[list[Location], Sequence[Attribute], Address | None], list[Location]]
] = {
    "locatt": _with_attributes,
    "address": _at_address,
    "country": _in_country,
    "score": _of_highest_score,
}
