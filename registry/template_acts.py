"""Acts on templates: register, show, list, withdraw.

    templates.register       a template's document (`registry.template_documents`)
                             -> {"template": T, "registered": false when it is there already}
    templates.show           {"prefix", "code", "version": else the last} -> {"template": T}
    templates.list           {"prefix", "code": all when left out, "after": cursor, "limit"}
                             -> {"templates": [T...], "next": cursor or ""}, by code and version
    templates.withdraw       {"prefix", "code", "version", "reason"} -> {"template": T}

Who may create handles under a prefix may register and withdraw its templates. What a version means
is known to everybody who may resolve, so anybody may see it, while the prefix is not suspended.
"""

from dataclasses import replace
from typing import Any

from protocol.codes import AdminPermission, ResponseCode
from protocol.handle import PREFIX_HANDLE_START, fold_case, to_text
from protocol.json_fields import describe
from registry.act_steps import ActDecider, ActOutcome, ActStep, Done
from registry.authorization import Authorization, Permitted
from registry.journal import JournalOperation, Kind
from registry.outcomes import Refusal, refuse
from registry.prefixes import find_silence
from registry.roles import Role
from registry.schema import KEY_OCTETS_MAX
from registry.tables import Table
from registry.template_documents import parse_template, template_form
from registry.template_lots import pack_entries
from registry.template_requests import join_faults, read_version
from registry.templates import (
    CODE,
    NUMBERS_END,
    PAGE_MAX,
    VERSIONS_MAX,
    Registered,
    Template,
    Version,
    Withdrawal,
    encode_template,
    encode_withdrawal,
    find_version,
    find_withdrawal,
    get_registered,
    name_key,
    next_number,
    number_key,
    withdrawn_key,
)

TEMPLATE_OCTETS_MAX = 131_072  # of a version as it is stored; ours
CODES_MAX = 1_000  # templates of one prefix, each with up to VERSIONS_MAX versions; ours
PAGE_OCTETS_MAX = 262_144  # of the versions on one page, as they are stored: some 30 ms
REASON_CHARACTERS_MAX = 1_024
CURSOR_CHARACTERS_MAX = 2 * KEY_OCTETS_MAX


def decide_register(step: ActStep) -> ActOutcome:
    """Decide about templates.register."""
    parsed = parse_template(step.parameters)
    template = parsed.template
    if template is None:
        return refuse(ResponseCode.INVALID_VALUE, join_faults(parsed.faults))
    allowed = _may_administer(step, template.prefix)
    if not isinstance(allowed, Permitted):
        return allowed
    table = step.view.table("templates")
    last = find_version(table, template.prefix, template.code)
    known = _find_same(table, template, last)
    if isinstance(known, Version):
        return Done({"template": show(table, known), "registered": False})
    refusal = _check_next(table, template, last)
    if refusal is not None:
        return refusal
    assert step.identity is not None
    follows = 1 if last is None else last.template.version + 1
    registered = Registered(_with_version(template, follows), step.now_s, step.identity)
    octets = encode_template(registered)
    if len(octets) > TEMPLATE_OCTETS_MAX:
        words = f"the template takes {len(octets):,} octets, at most {TEMPLATE_OCTETS_MAX:,} fit"
        return refuse(ResponseCode.INVALID_VALUE, words)
    number = next_number(table)
    key = name_key(template.prefix, template.code, follows)
    entries = [(number_key(number), octets), (key, number_key(number))]
    form = template_form(registered, None)
    return Done({"template": form, "registered": True}, (_entries(step, template, entries),))


def decide_show(step: ActStep) -> ActOutcome:
    """Decide about templates.show."""
    found = _get_named(step)
    if isinstance(found, Refusal):
        return found
    return Done({"template": show(step.view.table("templates"), found)})


def decide_list(step: ActStep) -> ActOutcome:
    """Decide about templates.list."""
    faults: list[str] = []
    prefix = _read_prefix(step, faults)
    code = step.parameters.get("code") or ""
    if not isinstance(code, str) or (code and not CODE.fullmatch(code)):
        faults.append(f"code is {describe(code)}: write one such as auto-part, or leave it out")
    limit = step.parameters.get("limit", PAGE_MAX)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= PAGE_MAX:
        faults.append(f"limit is {describe(limit)}: write a number from 1 to {PAGE_MAX:,}")
    after = _read_cursor(step.parameters.get("after") or "", faults)
    if faults:
        return refuse(ResponseCode.INVALID_VALUE, join_faults(faults))
    silence = _find_silence(step, prefix)
    if silence is not None:
        return silence
    table = step.view.table("templates")
    forms: list[dict[str, Any]] = []
    octets = 0
    for key, entry in table.items(after, name_key(prefix, code)):
        if key == after:
            continue
        if len(forms) == limit or octets > PAGE_OCTETS_MAX:
            return Done({"templates": forms, "next": after.hex()})
        number = int.from_bytes(entry, "big")
        octets += len(table.get(number_key(number)) or b"")
        forms.append(template_form(get_registered(table, number), find_withdrawal(table, number)))
        after = key
    return Done({"templates": forms, "next": ""})


def decide_withdraw(step: ActStep) -> ActOutcome:
    """Decide about templates.withdraw."""
    if "version" not in step.parameters:
        return refuse(ResponseCode.INVALID_VALUE, "say which version is withdrawn")
    reason = step.parameters.get("reason", "")
    if not isinstance(reason, str) or not 0 < len(reason) <= REASON_CHARACTERS_MAX:
        words = f"say why: reason is a text of 1 to {REASON_CHARACTERS_MAX:,} characters"
        return refuse(ResponseCode.INVALID_VALUE, words)
    found = _get_named(step)
    if isinstance(found, Refusal):
        return found
    template = found.template
    allowed = _may_administer(step, template.prefix)
    if not isinstance(allowed, Permitted):
        return allowed
    table = step.view.table("templates")
    if find_withdrawal(table, found.number) is not None:
        return Done({"template": show(table, found)})
    assert step.identity is not None
    withdrawal = Withdrawal(step.now_s, step.identity, reason)
    entries = [(withdrawn_key(found.number), encode_withdrawal(withdrawal))]
    form = template_form(get_registered(table, found.number), withdrawal)
    return Done({"template": form}, (_entries(step, template, entries),))


def show(table: Table, version: Version) -> dict[str, Any]:
    """Return a version as it is shown. Raises: RecordError."""
    withdrawal = find_withdrawal(table, version.number)
    return template_form(get_registered(table, version.number), withdrawal)


def _may_administer(step: ActStep, prefix: bytes) -> Authorization:
    """Say whether the identity may register templates of a prefix, which must be homed here."""
    handle = PREFIX_HANDLE_START + prefix
    silence = _find_silence(step, prefix)
    if silence is not None:
        return silence
    if not step.view.is_homed(handle):
        words = f"prefix {to_text(prefix)} is not homed on this node"
        return refuse(ResponseCode.SERVER_NOT_RESPONSIBLE, words)
    if not step.policy.allow_na_admins:
        return step.role(Role.ADMINISTRATOR)
    return step.permission(handle, AdminPermission.ADD_HANDLE)


def _find_silence(step: ActStep, prefix: bytes) -> Refusal | None:
    """Return why nothing is said of a prefix that is suspended here."""
    words = find_silence(step.view, prefix + b"/")
    return None if words is None else refuse(ResponseCode.INSUFFICIENT_PERMISSIONS, words)


def _find_same(table: Table, template: Template, last: Version | None) -> Version | None:
    """Return the version that is just this one already: the one named, else the last."""
    if template.version:
        found = find_version(table, template.prefix, template.code, template.version)
    else:
        found = last
    if found is None or found.template != _with_version(template, found.template.version):
        return None
    return found


def _check_next(table: Table, template: Template, last: Version | None) -> Refusal | None:
    """Return why this cannot be the version after the last one, if so."""
    follows = 1 if last is None else last.template.version + 1
    named = f"{template.name} version {template.version}"
    if template.version and template.version < follows:
        words = f"{named} is registered with other content and never changes"
        hint = f"register version {follows}"
        return refuse(ResponseCode.HANDLE_ALREADY_EXISTS, f"{words}: {hint}")
    if template.version > follows:
        words = f"{named} cannot be registered: the next one is version {follows}"
        return refuse(ResponseCode.INVALID_VALUE, words)
    if follows > VERSIONS_MAX:
        words = f"{template.name} has {VERSIONS_MAX:,} versions already: choose another code"
        return refuse(ResponseCode.INVALID_VALUE, words)
    if last is None and _has_many_codes(table, template.prefix):
        words = f"prefix {to_text(template.prefix)} has {CODES_MAX:,} templates already"
        return refuse(ResponseCode.INVALID_VALUE, words)
    if next_number(table) >= int.from_bytes(NUMBERS_END + bytes(3), "big"):
        return refuse(ResponseCode.ERROR, "no more templates can be numbered")
    return None


def _has_many_codes(table: Table, prefix: bytes) -> bool:
    start = at = name_key(prefix)
    for _ in range(CODES_MAX):
        found = table.at_or_after(at)
        if found is None or not found[0].startswith(start):
            return False
        at = found[0][: -len(number_key(0))] + b"\xff\xff\xff\xff"  # behind its last version
    return True


def _with_version(template: Template, version: int) -> Template:
    return replace(template, version=version)


def _entries(
    step: ActStep, template: Template, entries: list[tuple[bytes, bytes]]
) -> JournalOperation:
    handle = PREFIX_HANDLE_START + template.prefix
    return step.operation(Kind.TEMPLATE, handle, pack_entries(entries))


def _get_named(step: ActStep) -> Version | Refusal:
    """Return the version that prefix, code and version name."""
    faults: list[str] = []
    prefix = _read_prefix(step, faults)
    code = step.parameters.get("code")
    if not isinstance(code, str) or not CODE.fullmatch(code):
        faults.append(f"code is {describe(code)}: write one such as auto-part")
    version = read_version(step.parameters.get("version"), faults)
    if faults:
        return refuse(ResponseCode.INVALID_VALUE, join_faults(faults))
    silence = _find_silence(step, prefix)
    if silence is not None:
        return silence
    found = find_version(step.view.table("templates"), prefix, str(code), version)
    if found is None:
        which = f"version {version} of a template" if version else "template"
        words = f"there is no {which} {code} of prefix {to_text(prefix)}"
        return refuse(ResponseCode.HANDLE_NOT_FOUND, words)
    return found


def _read_prefix(step: ActStep, faults: list[str]) -> bytes:
    item = step.parameters.get("prefix")
    octets = item.encode("utf-8", "backslashreplace") if isinstance(item, str) else b""
    folded = fold_case(octets).removeprefix(PREFIX_HANDLE_START)
    if not 0 < len(folded) <= KEY_OCTETS_MAX // 2 or b"\0" in folded:
        faults.append(f"prefix is {describe(item)}: write one such as 88.118.5")
        return b""
    return folded


def _read_cursor(item: Any, faults: list[str]) -> bytes:
    try:
        if not isinstance(item, str) or len(item) > CURSOR_CHARACTERS_MAX:
            raise ValueError
        return bytes.fromhex(item)
    except ValueError:
        faults.append("after is not what a page before this one gave as next")
        return b""


ACTS: dict[str, ActDecider] = {
    "templates.register": decide_register,
    "templates.show": decide_show,
    "templates.list": decide_list,
    "templates.withdraw": decide_withdraw,
}
READING_ACTS = frozenset({"templates.show", "templates.list"})
