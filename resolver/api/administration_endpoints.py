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
from resolver.api.schemas import ANYTHING, NUMBER, TEXT, members
from resolver.told import counts as counts_told
from resolver.told import life as life_told
from resolver.told import office as office_told
from resolver.told import ranges as ranges_told
from resolver.told import templates as templates_told

_VERSION = in_path("version", "1 is the first", pattern="^[1-9][0-9]{0,3}$")
_CODE = in_path("code", "of the template", pattern=f"^({CODE.pattern})$")
_REASON = Body(members("reason", reason={"type": "string", "minLength": 1, "maxLength": 1_024}))
_RANGES = (
    Endpoint(
        "GET", "/api/ranges", ranges.get_ranges, "ranges", "List ranges",
        ranges_told.RangePage,
        (
            PREFIX,
            text("stem", "only of this stem"),
            text("after", "the member next of the page before"),
            number("limit", "ranges in a page", 1, ranges.PAGE_RANGES_MAX),
        ),
    ),
    Endpoint(
        "POST", "/api/ranges", ranges.post_range, "ranges", "Register a range",
        ranges_told.OneRange, body=Body(ranges.Register), status=201,
    ),
    Endpoint(
        "GET", "/api/ranges/count", ranges.get_range_counts, "ranges",
        "How many identifiers a prefix has, in rows and in ranges", ranges_told.RangeCounts,
        (PREFIX,),
    ),
    Endpoint(
        "GET", "/api/ranges/history", ranges.get_range_history, "ranges",
        "What was done to the range of an identifier", ranges_told.RangeEvents,
        (
            text("identifier", "any of the range", required=True, minLength=1),
            number("after", "the member next of the page before", 0, SEQUENCE_MAX),
            number("limit", "events in a page", 1, EVENTS_MAX),
        ),
        access="some",
    ),
    Endpoint(
        "GET", "/api/ranges/of/{identifier:path}", ranges.get_range_of, "ranges",
        "The range around an identifier", ranges_told.OneRange,
        (in_path("identifier", "in the range"),),
        access="some",
    ),
    *(
        Endpoint(
            "POST", f"/api/ranges/{verb}", function, "ranges", words, answer, body=Body(form)
        )
        for verb, function, words, form, answer in (
            (
                "shrink", ranges.post_shrink, "Give a range new ends", ranges.Shrink,
                ranges_told.OneRange,
            ),
            (
                "split", ranges.post_split, "Make two ranges of one", ranges.Split,
                ranges_told.ManyRanges,
            ),
            (
                "revoke", ranges.post_revoke, "Revoke a range for good", ranges.Revoke,
                ranges_told.OneRange,
            ),
        )
    ),
)  # fmt: skip

_LIFE = (
    *(
        Endpoint(
            "POST", f"{life.PATH}/{verb}", function, "life", words, life_told.LifeState,
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
            "GET", f"{life.PATH}/{path}", function, "life", words, answer,
            (text("handle", "whose", required=True, minLength=1), *more), access="some",
        )
        for path, function, words, answer, more in (
            ("state", life.get_state, "Active, frozen or revoked", life_told.LifeState, ()),
            (
                "history", life.get_history, "What happened to it", life_told.LifeHistory,
                (
                    number("after", "the member next of the page before", 0, SEQUENCE_MAX),
                    number("limit", "events in a page", 1, EVENTS_MAX),
                ),
            ),
            (
                "as-of", life.get_as_of, "What it was at a time, or at a frame of the journal",
                life_told.LifeMoment,
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
        templates_told.TemplatePage,
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
        templates_told.OneTemplate, body=Body(ANYTHING), created=True,
    ),
    *(
        Endpoint(
            "GET", "/api/templates/{prefix}/{code}" + version, templates.get_template,
            "templates", words, templates_told.OneTemplate, (IN_PREFIX, _CODE, *more),
            access="some",
        )
        for version, words, more in (
            ("", "The last version of a template", ()),
            ("/{version}", "One version of a template", (_VERSION,)),
        )
    ),
    Endpoint(
        "PUT", "/api/templates/{prefix}/{code}/{version}/withdrawal", templates.put_withdrawal,
        "templates", "Withdraw a version: no more are made from it", templates_told.OneTemplate,
        (IN_PREFIX, _CODE, _VERSION), _REASON,
    ),
)  # fmt: skip

_DAY = "^([0-9]{4}-[0-9]{2}-[0-9]{2})?$"
_STATISTICS = (
    Endpoint(
        "GET", "/api/statistics", counts.get_statistics, "statistics", "By day",
        counts_told.Statistics,
        (
            text("prefix", "without one of all the node"),
            text("from", "the first day", pattern=_DAY),
            text("to", "the last day", pattern=_DAY),
        ),
    ),
    Endpoint(
        "GET", "/api/statistics/totals", counts.get_totals, "statistics", "What there is",
        counts_told.TotalsPage,
        (
            text("prefix", "without one of all the node"),
            text("after", "the member next of the page before"),
            number("limit", "prefixes in a page", 1, NAMES_MAX),
        ),
    ),
    Endpoint(
        "GET", "/api/statistics/sources", counts.get_sources, "statistics",
        "Who asked most on a day", counts_told.Sources,
        (
            text("prefix", "without one of all the node"),
            text("day", "today if absent", pattern=_DAY),
        ),
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
        office_told.ApplicationPage,
        (
            text("state", "only of this state"),
            number("after", "the member next of the page before", 0, office.NUMBER_MAX),
            number("limit", "applications in a page", 1, office.LISTED_MAX),
        ),
    ),
    Endpoint(
        "POST", "/api/applications", office.post_application, "office", "Apply for a prefix",
        office_told.Applied, body=Body(_APPLY), status=201,
        access="anybody",
    ),
    Endpoint(
        "GET", "/api/applications/{number}", office.get_application, "office",
        "How an application stands", office_told.Application,
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
        "Decide about an application", office_told.Decided,
        (_NUMBER, in_path("verb", "the decision", enum=list(office.DECISIONS))),
        Body(members(mode={"enum": ["delegated", "hosted"]}, reason=TEXT, delegation=ANYTHING)),
    ),
    Endpoint(
        "GET", "/api/prefixes/{prefix}", office.get_prefix, "office", "How a prefix stands",
        office_told.PrefixStanding, (IN_PREFIX,),
    ),
    Endpoint(
        "POST", "/api/prefixes/{prefix}/{verb}", office.post_prefix, "office",
        "Suspend, resume, transfer, release or remove a prefix", office_told.PrefixStanding,
        (IN_PREFIX, in_path("verb", "what is done", enum=list(office.VERBS))),
        Body(members(reason=TEXT, publicKey=ANYTHING, particulars=ANYTHING)),
    ),
    Endpoint(
        "GET", "/api/quotas/{prefix}", office.get_quota, "office", "The quota of a prefix",
        office_told.PrefixQuota, (IN_PREFIX,),
    ),
    Endpoint(
        "PUT", "/api/quotas/{prefix}", office.put_quota, "office", "Give a prefix a quota",
        office_told.QuotaSet, (IN_PREFIX,),
        Body(members(identifiersPerDay=NUMBER, requestsPerDay=NUMBER)),
    ),
    Endpoint(
        "DELETE", "/api/people/{subject}", office.delete_person, "office", "Erase a person",
        office_told.Erased, (in_path("subject", "in hexadecimal", pattern="^[0-9a-f]+$"),),
    ),
)  # fmt: skip


ENDPOINTS: tuple[Endpoint, ...] = (*_RANGES, *_LIFE, *_TEMPLATES, *_STATISTICS, *_OFFICE)
