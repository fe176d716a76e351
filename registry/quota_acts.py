"""Setting a prefix's quotas and looking at them.

set   reviewers and administrators: {prefix, identifiersPerDay?, requestsPerDay?}; null or none:
      no limit. What was used today stays used
show  the same, operators, and whoever may register under the prefix
"""

from typing import Annotated

from msgspec import Meta

from protocol.codes import AdminPermission, ResponseCode
from protocol.handle import to_text
from registry.act_steps import ActOutcome, ActStep, Done
from registry.authorization import Permitted
from registry.journal import Kind
from registry.office_parameters import Form, Prefix, read, read_prefix
from registry.office_requests import read_from
from registry.offices import (
    IDENTIFIERS,
    OFFICES,
    QUOTA,
    REQUESTS,
    Entries,
    office_payload,
    prefix_key,
)
from registry.outcomes import Refusal, refuse
from registry.quotas import LIMIT_MAX, NO_LIMIT, Quota, find_quota, quota_form
from registry.roles import Role
from registry.standings import find_standing
from registry.views import View

QUOTAS_MAX = 10_000  # prefixes of one node with one

Limit = Annotated[int, Meta(ge=0, le=LIMIT_MAX)]


class _Set(Form):
    prefix: Prefix
    identifiers_per_day: Limit | None = None
    requests_per_day: Limit | None = None


class _Show(Form):
    prefix: Prefix


def decide_set(step: ActStep) -> ActOutcome:
    """Decide about `quotas.set`."""
    form = read_from(step, _Set, Role.REVIEWER, Role.ADMINISTRATOR)
    if not isinstance(form, _Set):
        return form
    handle = read_prefix(form.prefix)
    if isinstance(handle, Refusal):
        return handle
    if not step.view.is_homed(handle) and find_standing(step.view, handle) is None:
        words = f"{to_text(handle)} is not homed here: nothing is registered under it"
        return refuse(ResponseCode.SERVER_NOT_RESPONSIBLE, words)
    quota = Quota(_limit(form.identifiers_per_day), _limit(form.requests_per_day))
    before = find_quota(step.view, handle)
    if before is None and _count(step.view) >= QUOTAS_MAX:
        words = f"{QUOTAS_MAX} prefixes have quotas already"
        return refuse(ResponseCode.SERVER_TOO_BUSY, words)
    result = {
        "identifiersPerDay": form.identifiers_per_day,
        "requestsPerDay": form.requests_per_day,
    }
    if quota == (before or Quota()):
        return Done(result)
    octets = b"" if quota == Quota() else quota.encode()
    payload = office_payload("set quota", ((prefix_key(QUOTA, handle), octets),))
    forgotten: Entries = tuple(
        (prefix_key(kind, handle), b"")
        for kind in (IDENTIFIERS, REQUESTS)
        if quota.limit(kind) == NO_LIMIT
    )
    return Done(result, (step.operation(Kind.QUOTA, handle, payload),), own=forgotten)


def decide_show(step: ActStep) -> ActOutcome:
    """Decide about `quotas.show`."""
    form = read(step.parameters, _Show)
    if isinstance(form, Refusal):
        return form
    handle = read_prefix(form.prefix)
    if isinstance(handle, Refusal):
        return handle
    role = step.role(Role.REVIEWER, Role.OPERATOR, Role.ADMINISTRATOR)
    if not isinstance(role, Permitted):
        role = step.permission(handle, AdminPermission.ADD_HANDLE)
    if not isinstance(role, Permitted):
        return role
    return Done(quota_form(step.view, handle, step.now_s))


def _count(view: View) -> int:
    return sum(1 for _ in view.table(OFFICES).items(prefix=QUOTA))


def _limit(given: int | None) -> int:
    return NO_LIMIT if given is None else given
