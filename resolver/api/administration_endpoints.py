"""Endpoints of administration: ranges, life, templates, statistics, the prefix office."""

from registry.counters import NAMES_MAX
from registry.history_index import EVENTS_MAX, SEQUENCE_MAX
from registry.particulars import WholeParticulars
from registry.templates import CODE, PAGE_MAX
from resolver.api import counts, life, office, ranges, templates
from resolver.api.endpoints import (
    IN_PREFIX,
    PREFIX,
    Body,
    Endpoint,
    Parameter,
    flag,
    in_path,
    number,
    text,
)
from resolver.api.schemas import ANYTHING, NEXT, NUMBER, TEXT, listed, members, success

_RANGE = success("range", range=ANYTHING)
_TEMPLATE = success("template", template=ANYTHING)
_PREFIX_STATE = success(prefix=TEXT)
_VERSION = in_path("version", "1 is the first", pattern="^[1-9][0-9]{0,3}$")
_CODE = in_path("code", "of the template", pattern=f"^({CODE.pattern})$")
_REASON = Body(members("reason", reason={"type": "string", "minLength": 1, "maxLength": 1_024}))
_RANGES = (
    Endpoint(
        "GET", "/api/ranges", ranges.get_ranges, "ranges", "List ranges",
        success("ranges", ranges=listed(ANYTHING), next=NEXT),
        (
            PREFIX,
            text("stem", "only of this stem"),
            text("after", "the member next of the page before"),
            number("limit", "ranges in a page", 1, ranges.PAGE_RANGES_MAX),
        ),
    ),
    Endpoint(
        "POST", "/api/ranges", ranges.post_range, "ranges", "Register a range", _RANGE,
        body=Body(ranges.Register), status=201,
    ),
    Endpoint(
        "GET", "/api/ranges/count", ranges.get_range_counts, "ranges",
        "How many identifiers a prefix has, in rows and in ranges", success(), (PREFIX,),
    ),
    Endpoint(
        "GET", "/api/ranges/history", ranges.get_range_history, "ranges",
        "What was done to the range of an identifier", success(),
        (
            text("identifier", "any of the range", required=True, minLength=1),
            number("after", "the member next of the page before", 0, SEQUENCE_MAX),
            number("limit", "events in a page", 1, EVENTS_MAX),
        ),
        access="some",
    ),
    Endpoint(
        "GET", "/api/ranges/of/{identifier:path}", ranges.get_range_of, "ranges",
        "The range around an identifier", _RANGE, (in_path("identifier", "in the range"),),
        access="some",
    ),
    *(
        Endpoint(
            "POST", f"/api/ranges/{verb}", function, "ranges", words, success(), body=Body(form)
        )
        for verb, function, words, form in (
            ("shrink", ranges.post_shrink, "Give a range new ends", ranges.Shrink),
            ("split", ranges.post_split, "Make two ranges of one", ranges.Split),
            ("revoke", ranges.post_revoke, "Revoke a range for good", ranges.Revoke),
        )
    ),
)  # fmt: skip

_LIFE = (
    *(
        Endpoint(
            "POST", f"{life.PATH}/{verb}", function, "life", words, success(),
            body=Body(life.Change),
        )
        for verb, function, words in (
            ("freeze", life.post_freeze, "Freeze an identifier"),
            ("thaw", life.post_thaw, "Thaw it"),
            ("revoke", life.post_revoke, "Revoke it for good"),
        )
    ),
    *(
        Endpoint(
            "GET", f"{life.PATH}/{path}", function, "life", words, success(),
            (text("handle", "whose", required=True, minLength=1), *more), access="some",
        )
        for path, function, words, more in (
            ("state", life.get_state, "Active, frozen or revoked", ()),
            (
                "history", life.get_history, "What happened to it",
                (
                    number("after", "the member next of the page before", 0, SEQUENCE_MAX),
                    number("limit", "events in a page", 1, EVENTS_MAX),
                ),
            ),
            (
                "as-of", life.get_as_of, "What it was at a time, or at a frame of the journal",
                (
                    text("time", "2026-11-21T08:00:00Z; or sequence"),
                    number("sequence", "a frame of the journal; or time", 0, SEQUENCE_MAX),
                ),
            ),
        )
    ),
)  # fmt: skip

_TEMPLATES = (
    Endpoint(
        "GET", "/api/templates", templates.list_templates, "templates", "List templates",
        success("templates", templates=listed(ANYTHING), next=NEXT),
        (
            PREFIX,
            text("code", "only versions of this one"),
            text("after", "the member next of the page before"),
            number("limit", "templates in a page", 1, PAGE_MAX),
        ),
        access="some",
    ),
    Endpoint(
        "POST", "/api/templates", templates.post_template, "templates", "Register a template",
        _TEMPLATE, body=Body(ANYTHING), created=True,
    ),
    *(
        Endpoint(
            "GET", "/api/templates/{prefix}/{code}" + version, templates.get_template,
            "templates", words, _TEMPLATE, (IN_PREFIX, _CODE, *more), access="some",
        )
        for version, words, more in (
            ("", "The last version of a template", ()),
            ("/{version}", "One version of a template", (_VERSION,)),
        )
    ),
    Endpoint(
        "PUT", "/api/templates/{prefix}/{code}/{version}/withdrawal", templates.put_withdrawal,
        "templates", "Withdraw a version: no more are made from it", _TEMPLATE,
        (IN_PREFIX, _CODE, _VERSION), _REASON,
    ),
)  # fmt: skip

_DAY = "^([0-9]{4}-[0-9]{2}-[0-9]{2})?$"
_STATISTICS = (
    Endpoint(
        "GET", "/api/statistics", counts.get_statistics, "statistics", "By day",
        success(),
        (
            text("prefix", "without one of all the node"),
            text("from", "the first day", pattern=_DAY),
            text("to", "the last day", pattern=_DAY),
        ),
    ),
    Endpoint(
        "GET", "/api/statistics/totals", counts.get_totals, "statistics", "What there is",
        success(),
        (
            text("prefix", "without one of all the node"),
            text("after", "the member next of the page before"),
            number("limit", "prefixes in a page", 1, NAMES_MAX),
        ),
    ),
    Endpoint(
        "GET", "/api/statistics/sources", counts.get_sources, "statistics",
        "Who asked most on a day", success(), (text("day", "today if absent", pattern=_DAY),),
    ),
)  # fmt: skip
_NUMBER = Parameter(
    "number", "of the application", {"type": "integer", "minimum": 1, "maximum": office.NUMBER_MAX},
    "path", required=True,
)  # fmt: skip
_APPLY = {
    "type": "object",
    "required": ["prefix", "publicKey", "particulars"],
    "properties": {
        "prefix": TEXT,
        "publicKey": ANYTHING,
        "particulars": WholeParticulars,
        "site": ANYTHING,
        "role": TEXT,
    },
}
_OFFICE = (
    Endpoint(
        "GET", "/api/applications", office.get_applications, "office", "List applications",
        success("applications", applications=listed(ANYTHING), next=NEXT),
        (
            text("state", "only of this state"),
            number("after", "the member next of the page before", 0, office.NUMBER_MAX),
            number("limit", "applications in a page", 1, office.LISTED_MAX),
        ),
    ),
    Endpoint(
        "POST", "/api/applications", office.post_application, "office", "Apply for a prefix",
        success("number", "token", number=NUMBER, token=TEXT), body=Body(_APPLY), status=201,
        access="anybody",
    ),
    Endpoint(
        "GET", "/api/applications/{number}", office.get_application, "office",
        "How an application stands", success(),
        (
            _NUMBER,
            flag("people", "show people in clear, to reviewers"),
            Parameter(
                office.TOKEN_HEADER, "the applicant's", {"type": "string"}, "header"
            ),
        ),
        access="some",
    ),
    Endpoint(
        "POST", "/api/applications/{number}/{verb}", office.post_decision, "office",
        "Decide about an application", success(),
        (_NUMBER, in_path("verb", "the decision", enum=list(office.DECISIONS))),
        Body(members(mode={"enum": ["delegated", "hosted"]}, reason=TEXT, delegation=ANYTHING)),
    ),
    Endpoint(
        "GET", "/api/prefixes/{prefix}", office.get_prefix, "office", "How a prefix stands",
        _PREFIX_STATE, (IN_PREFIX,),
    ),
    Endpoint(
        "POST", "/api/prefixes/{prefix}/{verb}", office.post_prefix, "office",
        "Suspend, resume, transfer, release or remove a prefix", _PREFIX_STATE,
        (IN_PREFIX, in_path("verb", "what is done", enum=list(office.VERBS))),
        Body(members(reason=TEXT, publicKey=ANYTHING, particulars=ANYTHING)),
    ),
    Endpoint(
        "GET", "/api/quotas/{prefix}", office.get_quota, "office", "The quota of a prefix",
        success(), (IN_PREFIX,),
    ),
    Endpoint(
        "PUT", "/api/quotas/{prefix}", office.put_quota, "office", "Give a prefix a quota",
        success(), (IN_PREFIX,),
        Body(members(identifiersPerDay=NUMBER, requestsPerDay=NUMBER)),
    ),
    Endpoint(
        "DELETE", "/api/people/{subject}", office.delete_person, "office", "Erase a person",
        success(), (in_path("subject", "in hexadecimal", pattern="^[0-9a-f]+$"),),
    ),
)  # fmt: skip


ENDPOINTS: tuple[Endpoint, ...] = (*_RANGES, *_LIFE, *_TEMPLATES, *_STATISTICS, *_OFFICE)
