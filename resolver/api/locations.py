"""Values of type 10320/loc: several addresses of one identifier, and which of them is taken.

    <locations chooseby="locatt,country,weighted">
      <location id="0" href="https://gb.example/" country="gb" weight="0"/>
      <location id="1" href="https://www.example/" weight="1"/>
      <location http_role="conneg" href_template="https://data.example/{hdl}" weight="0"/>
    </locations>

Selection is as the public Handle proxies document it. Methods are applied in order until one
location is left; a method that leaves none is taken back; the last is always the weighted one.

    locatt     ?locatt=id:1 (repeatable): those with this attribute
    country    those of the client's country, else those that name none
    weighted   one by chance, by weight; no weight counts as 1; all at 0: any of them

A country is known when the client names it, `?locatt=country:gb`; it is never guessed from an
address. Locations with http_role="conneg" serve those who want another form than a page.

XML comes from whoever registered the handle: a document type, and so every entity, is refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote
from xml.parsers import expat

from resolver.api.targets import TARGET_OCTETS_MAX, find_target

CHOOSEBY = ("locatt", "country", "weighted")
ASKED_MAX = 16  # attributes that one request asks for
STATUS_DEFAULT = 302
_STATUSES = {"301", "302", "303", "307", "308"}
_CONNEG = "conneg"
_HANDLE = "{hdl}"
# The public proxies' documents write both.
_COUNTRIES = {"uk": "gb"}
Attribute = tuple[str, str]


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
        try:
            weight = float(self.attributes.get("weight", "1"))
        except ValueError:
            return 1.0
        return min(weight, 1e6) if weight > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Locations:
    """What a value of this type says."""

    entries: tuple[Location, ...]
    chooseby: tuple[str, ...] = CHOOSEBY


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
    methods = found.root.get("chooseby", "").split(",")
    named = (each.strip().lower() for each in methods)
    chooseby = tuple(dict.fromkeys(each for each in named if each in CHOOSEBY))
    entries = (_location(attributes, handle) for attributes in found.locations)
    return Locations(tuple(each for each in entries if each is not None), chooseby or CHOOSEBY)


def choose(
    locations: Locations,
    asked: Sequence[Attribute],
    *,
    negotiated: bool,
    random: Callable[[], float],
) -> Location | None:
    """Return the location to send a client to; None: there is none for it.

    Args:
        locations: to choose from.
        asked: the attributes that the client asks for, (name, value).
        negotiated: the client wants another form than a page.
        random: a number from 0 up to 1, without 1.
    """
    left = [each for each in locations.entries if each.is_negotiated == negotiated]
    for method in locations.chooseby:
        if len(left) < 2:
            break
        if method == "weighted":
            return _weighted(left, random)
        chosen = left
        if method == "locatt":
            chosen = _with_attributes(left, asked)
        elif method == "country":
            chosen = _in_country(left, asked)
        left = chosen or left
    return _weighted(left, random) if left else None


def attributes_asked(parameters: Sequence[str]) -> list[Attribute]:
    """Return the attributes in `locatt` parameters, `name:value`; what has no colon is nothing.

    Those beyond ASKED_MAX are passed over.
    """
    split = (each.partition(":") for each in parameters[:ASKED_MAX])
    return [(name.strip(), value.strip()) for name, colon, value in split if colon]


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
        elif self._depth == 1 and name == "location":
            self.locations.append(attributes)
        self._depth += 1

    def end(self, _: str) -> None:
        self._depth -= 1


def _location(attributes: dict[str, str], handle: bytes) -> Location | None:
    address = attributes.get("href") or attributes.get("href_template") or ""
    if len(address) + address.count(_HANDLE) * 3 * len(handle) > TARGET_OCTETS_MAX:
        return None
    target = find_target(address.replace(_HANDLE, quote(handle, safe="")).encode())
    return None if target is None else Location(target, attributes)


def _with_attributes(left: list[Location], asked: Sequence[Attribute]) -> list[Location]:
    for name, value in asked:
        wanted = _plain(name, value)
        found = [
            each
            for each in left
            if name in each.attributes and _plain(name, each.attributes[name]) == wanted
        ]
        left = found or left
    return left


def _in_country(left: list[Location], asked: Sequence[Attribute]) -> list[Location]:
    wanted = [_plain(name, value) for name, value in asked if name == "country"]
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
