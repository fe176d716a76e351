"""Whether an identity is among the administrators of a handle, directly or through groups.

Candidates are the node's own administrators, then the HS_ADMIN values that carry all needed bits.
An identity is one of them when a candidate names it (`roles.matches_identity`), or when a candidate
is an HS_VLIST value that, perhaps through further ones, lists it:

    HS_ADMIN of 88.118.5/x  ->  200:0.NA/88.118.5 (HS_VLIST)  ->  300:0.NA/88.118.5 (a key)

Groups on other nodes are asked for with `Need`, all that are missing on one level at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from protocol.codes import ResponseCode
from protocol.errors import ProtocolError
from protocol.handle import is_prefix_handle, prefix_handle, to_text
from protocol.types.hs_admin import decode_hs_admin
from protocol.types.hs_vlist import decode_hs_vlist
from protocol.value import Reference
from registry.knowledge import Knowledge
from registry.outcomes import Need, Refusal, Unavailable, foreign_key, identity_text, refuse
from registry.roles import Roles, matches_identity
from registry.schema import Record

HS_ADMIN = b"HS_ADMIN"
HS_VLIST = b"HS_VLIST"

# A stranger who claims any name makes us follow groups, so what that costs is bounded (ours).
GROUP_DEPTH_MAX = 10
GROUP_REFERENCES_MAX = 1_000  # followed as groups
GROUP_MEMBERS_MAX = 20_000  # compared with the identity, in all groups together
GROUP_FOREIGN_HANDLES_MAX = 32


@dataclass(frozen=True, slots=True)
class Permitted:
    """The identity is one of the administrators."""


@dataclass(frozen=True, slots=True)
class Counted(Permitted):
    """Permitted to create, within a quota of the prefix: each is counted (`registry.quotas`)."""


@dataclass(frozen=True)
class Policy:
    """What the configuration says about who may do what.

    `allow_na_admins`: whether a prefix's administrators may create and list handles under it; off,
    only the node's own administrators may. `allow_list_handles`: whether anybody may list handles.
    """

    roles: Roles = field(default_factory=Roles)
    allow_na_admins: bool = True
    allow_list_handles: bool = True


Authorization = Permitted | Need | Refusal


@dataclass
class _Search:
    """A walk through groups, breadth first."""

    knowledge: Knowledge
    identity: Reference
    seen: set[tuple[bytes, int]] = field(default_factory=set)
    asked: set[bytes] = field(default_factory=set)
    missing: set[bytes] = field(default_factory=set)
    unreachable: list[str] = field(default_factory=list)
    compared: int = 0

    def run(self, candidates: Iterable[Reference]) -> bool:
        """Say whether the identity is found with what is known."""
        level = list(candidates)
        for _ in range(GROUP_DEPTH_MAX):
            if any(matches_identity(candidate, self.identity) for candidate in level):
                return True
            level = [member for group in level for member in self._members(group)]
        return any(matches_identity(candidate, self.identity) for candidate in level)

    def _members(self, group: Reference) -> list[Reference]:
        """Return the members of a group that is met for the first time.

        A reference of index 0 names every key at its handle and no group.
        """
        if group.index == 0:
            return []
        key = (foreign_key(group.handle), group.index)
        if key in self.seen or len(self.seen) >= GROUP_REFERENCES_MAX:
            return []
        self.seen.add(key)
        record = self._find(group.handle)
        if record is None:
            return []
        members: list[Reference] = []
        for value in record.of_type(HS_VLIST):
            if group.index == value.index:
                try:
                    members += decode_hs_vlist(value.data).references
                except ProtocolError:
                    continue  # a group whose list is damaged has no members
        members = members[: GROUP_MEMBERS_MAX - self.compared]
        self.compared += len(members)
        return members

    def _find(self, handle: bytes) -> Record | None:
        if not self.knowledge.is_local(handle):
            self.asked.add(foreign_key(handle))
            if len(self.asked) > GROUP_FOREIGN_HANDLES_MAX:
                return None
        found = self.knowledge.find(handle)
        if isinstance(found, Need):
            self.missing |= found.handles
            return None
        if isinstance(found, Unavailable):
            self.unreachable.append(f"{to_text(handle)} could not be fetched: {found.reason}")
            return None
        return found


def authorize(
    knowledge: Knowledge, identity: Reference, candidates: Iterable[Reference]
) -> Authorization:
    """Say whether an identity is one of the candidates or a member of one.

    Returns:
        Permitted; Need when a group that may list it has yet to be fetched; else a Refusal (400)
        whose words name the groups that could not be reached.
    """
    search = _Search(knowledge, identity)
    if search.run(candidates):
        return Permitted()
    if search.missing:
        return Need(frozenset(search.missing))
    words = f"{identity_text(identity)} is not an administrator with the permission this needs"
    if search.unreachable:
        words += "; " + "; ".join(search.unreachable)
    return refuse(ResponseCode.INVALID_ADMIN, words)


def authorize_on_record(
    knowledge: Knowledge,
    policy: Policy,
    identity: Reference,
    opcode: int,
    handle: bytes,
    needed: int | tuple[int, ...],
) -> Authorization:
    """Say whether an identity may do what `needed` stands for to a handle.

    Args:
        knowledge: the store and what was fetched.
        policy: the node's own administrators.
        identity: who asks, or claims to.
        opcode: names the roles that may do it anyway.
        handle: whose HS_ADMIN values count: the handle itself, or that of a prefix.
        needed: AdminPermission bits; of a tuple, any one suffices.
    """
    named = authorize(knowledge, identity, policy.roles.holders(opcode))
    if isinstance(named, Permitted):
        return named
    found = _find_administered(knowledge, policy, handle)
    if isinstance(found, Need):
        return _both(named, found)
    if isinstance(found, Unavailable):
        words = f"{to_text(handle)} could not be fetched: {found.reason}"
        return _both(named, refuse(ResponseCode.INVALID_ADMIN, words))
    alternatives = (needed,) if isinstance(needed, int) else needed
    candidates = [admin for bits in alternatives for admin in administrators(found, bits)]
    return _both(named, authorize(knowledge, identity, candidates))


def _find_administered(
    knowledge: Knowledge, policy: Policy, handle: bytes
) -> Record | Unavailable | Need | None:
    """Return the record whose HS_ADMIN values administer a handle."""
    found = knowledge.find(handle)
    if not isinstance(found, Record) or found.of_type(HS_ADMIN) or is_prefix_handle(handle):
        return found
    if not policy.allow_na_admins:
        return found
    # Deviation: Handle.Net leaves a handle without HS_ADMIN to the node's administrators. Rows of
    # a lot carry none here: their prefix's administrators have its rights over them.
    return knowledge.find(prefix_handle(handle))


def administrators(record: Record | None, needed: int) -> list[Reference]:
    """Return whom the HS_ADMIN values of a record name that carry all bits of `needed`."""
    admins: list[Reference] = []
    for value in record.of_type(HS_ADMIN) if record else ():
        try:
            admin = decode_hs_admin(value.data)
        except ProtocolError:
            continue  # a value that cannot be read grants nothing
        if admin.allows(needed):
            admins.append(admin.admin)
    return admins


def _both(first: Authorization, second: Authorization) -> Authorization:
    """Join two ways to be permitted."""
    if isinstance(first, Permitted) or isinstance(second, Permitted):
        return Permitted()
    if isinstance(first, Need) and isinstance(second, Need):
        return Need(first.handles | second.handles)
    if isinstance(first, Need) or isinstance(second, Need):
        return first if isinstance(first, Need) else second
    # Both are refusals: the second's words, and what the first could not reach.
    _, _, unreachable = first.message.partition(b"; ")
    words = second.message + (b"; " + unreachable if unreachable else b"")
    return Refusal(second.response_code, words)
