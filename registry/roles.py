"""The roles of people and machines at a node, held by handle identities.

A role's holders are named in the configuration as `index:handle`; a holder may be a group
(HS_VLIST), which is followed like one in an HS_ADMIN value, and index 0 means any key there.

    administrator  everything HS_ADMIN could allow, homes and unhomes prefixes
    operator       sees all: homed prefixes, handles of any prefix
    reviewer       decides on prefix applications (no opcode of the protocol)
    peer           another node: the transaction log, dumps
    bulk client    streams of registrations (no opcode of the protocol)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from protocol.codes import OpCode
from protocol.errors import InvalidValueError
from protocol.handle import check_handle, fold_handle
from protocol.value import Reference


class Role(Enum):
    """What somebody is to this node. The values are the keys of the configuration."""

    ADMINISTRATOR = "administrators"
    OPERATOR = "operators"
    REVIEWER = "reviewers"
    PEER = "peers"
    BULK_CLIENT = "bulk_clients"


# Operations that a role allows; what HS_ADMIN values allow is `registry.admin`'s.
OPERATIONS: dict[int, frozenset[Role]] = {
    OpCode.LIST_HANDLES: frozenset({Role.ADMINISTRATOR, Role.OPERATOR}),
    OpCode.HOME_NA: frozenset({Role.ADMINISTRATOR}),
    OpCode.UNHOME_NA: frozenset({Role.ADMINISTRATOR}),
    OpCode.LIST_HOMED_NAS: frozenset({Role.ADMINISTRATOR, Role.OPERATOR, Role.PEER}),
    OpCode.GET_NEXT_TXN_ID: frozenset({Role.ADMINISTRATOR, Role.PEER}),
    OpCode.RETRIEVE_TXN_LOG: frozenset({Role.ADMINISTRATOR, Role.PEER}),
    OpCode.DUMP_HANDLES: frozenset({Role.ADMINISTRATOR, Role.PEER}),
    OpCode.BACKUP_SERVER: frozenset({Role.ADMINISTRATOR, Role.OPERATOR}),
}
_ADMINISTRATOR_ONLY = frozenset({Role.ADMINISTRATOR})


def matches_identity(named: Reference, identity: Reference) -> bool:
    """Say whether a reference names an identity.

    The prefix part is compared without case, the suffix exactly; a named index 0 is any index.
    An identity of index 0 is matched only by index 0: it has not said which key it holds.
    """
    if named.index not in (0, identity.index):
        return False
    return fold_handle(named.handle, case_sensitive=True) == fold_handle(
        identity.handle, case_sensitive=True
    )


def identity_from_text(text: str) -> Reference:
    """Read `300:0.NA/88.118`.

    Raises:
        InvalidValueError: not of this form.
        InvalidHandleError: the part after the colon is not a handle.
    """
    index, colon, handle = text.partition(":")
    if not colon or not (index.isascii() and index.isdigit()) or int(index) >= 1 << 31:
        raise InvalidValueError(f'an identity is written as "300:0.NA/88.118", not "{text}"')
    check_handle(handle.encode())
    return Reference(handle.encode(), int(index))


@dataclass(frozen=True)
class Roles:
    """Who holds which role."""

    mapping: Mapping[Role, tuple[Reference, ...]] = field(default_factory=dict)

    def holders(self, opcode: int) -> tuple[Reference, ...]:
        """Return who is named for an operation, administrators first."""
        roles = OPERATIONS.get(opcode, _ADMINISTRATOR_ONLY)
        return tuple(
            holder for role in Role if role in roles for holder in self.mapping.get(role, ())
        )

    def permits(self, identity: Reference, opcode: int) -> bool:
        """Say whether an identity is itself named for an operation; groups are not followed."""
        return any(matches_identity(holder, identity) for holder in self.holders(opcode))

    def has(self, identity: Reference, role: Role) -> bool:
        """Say whether an identity is itself named for a role; groups are not followed."""
        return any(matches_identity(holder, identity) for holder in self.mapping.get(role, ()))
