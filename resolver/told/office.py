"""What the prefix office tells: applications, prefixes, quotas, people.

Programs have these as dictionaries (`resolver.client.office`).
"""

from typing import Annotated, Any, Literal

from msgspec import Meta

from registry.particulars import Particulars
from resolver.told.forms import Count, Page, Time, Told, Who

# A key as `protocol.json_types` has it.
Key = Annotated[dict[str, Any], Meta(extra_json_schema={"$ref": "#/components/schemas/Key"})]
Mode = Literal["delegated", "hosted"]
State = Literal["in review", "rejected", "active", "suspended", "to be deleted", "deleted"]


PersonState = Literal["encrypted", "encrypted, the key is not on this node", "erased", "missing"]


class Applied(Told, frozen=True):
    """A new application; who shows the token is its applicant."""

    number: Count
    token: str
    state: State


class ShortApplication(Told, frozen=True):
    """An application as lists show it."""

    number: Count
    prefix: str
    state: State
    name: str
    made: Time


class ApplicationPage(Page, frozen=True):
    """A page of applications."""

    applications: list[ShortApplication]


class ShownPerson(Told, frozen=True):
    """Somebody in an application: how he is kept, or, to who may read it, in clear."""

    part: str
    subject: str
    state: PersonState | None = None
    name: str = ""
    phone: str = ""
    email: str = ""
    id_number: str = ""


class Application(ShortApplication, frozen=True, kw_only=True):
    """All of an application."""

    public_key: Key
    role: str
    has_site: bool
    particulars: Particulars
    people: list[ShownPerson]
    applicant: Who = ""
    decided: Time = ""
    reviewer: Who = ""
    reason: str = ""
    mode: Mode | None = None


class Decided(Told, frozen=True):
    """What became of an application, and where its prefix is registered."""

    number: Count
    prefix: str
    state: State
    mode: Mode | None = None
    handle: str = ""


class PrefixStanding(Told, frozen=True):
    """How a prefix stands since when, who put it there and why; `answers`: whether it does."""

    prefix: str
    state: State
    mode: Mode | None = None
    answers: bool = True
    application: Count = 0
    since: Time = ""
    reason: str = ""
    by: Who = ""


class Usage(Told, frozen=True):
    """A quota of a day, None without one; what is used and left of it."""

    per_day: Count | None
    used: Count
    left: Count | None


class PrefixQuota(Told, frozen=True):
    """The quotas of a prefix, and when they begin anew."""

    prefix: str
    identifiers: Usage
    requests: Usage
    resets: Time


class QuotaSet(Told, frozen=True):
    """The quotas of a day that a prefix has from now on, None without one."""

    identifiers_per_day: Count | None
    requests_per_day: Count | None


class Erased(Told, frozen=True):
    """Somebody who cannot be read any more since then."""

    subject: str
    erased: Time
