"""What an administration request is, and how deciding about it can end.

`registry.admin` decides; its docstring says how the pieces work together.
"""

from dataclasses import dataclass, field
from uuid import uuid4

from protocol.bodies import Body, Empty
from protocol.value import HandleValue, Reference
from registry.journal import Kind
from registry.mirror_plans import Plan
from registry.outcomes import Need, NeedAuthentication, Refusal


def new_suffix() -> bytes:
    """Return a random suffix for MINT_SUFFIX: a UUID in lower case, as Handle.Net mints them."""
    return str(uuid4()).encode()


@dataclass(frozen=True)
class Operation:
    """One request to change or list something.

    `overwrite`, `mint` and `do_not_refer` are the flags of those names. `knows_referral` is False
    for a peer below 2.10, which cannot follow a 303 here. `minted` is chosen once, so that
    deciding twice gives the same handle.
    """

    opcode: int
    body: Body
    overwrite: bool = False
    mint: bool = False
    do_not_refer: bool = False
    knows_referral: bool = True
    minted: bytes = field(default_factory=new_suffix)


@dataclass(frozen=True, slots=True)
class ChangeOperation:
    """One handle or prefix as it will be; `values` are all of them, stamped."""

    kind: Kind
    handle: bytes
    values: tuple[HandleValue, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """Permitted: `registry.admin.apply` makes it, then `body` answers with response code 1.

    `overwrote` says that something existed in its place (flag OVERWRITE of the answer).
    """

    operations: tuple[ChangeOperation, ...]
    body: Body = field(default_factory=Empty)
    overwrote: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """Permitted: page through `View.list_handles(prefix)`, or `list_homed()` when `homed`."""

    prefix: bytes
    homed: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """Permitted: nothing changes, `body` answers with response code 1."""

    body: Body


@dataclass(frozen=True, slots=True)
class Mirroring:
    """Permitted: answer with response code 1, then stream what a mirror asks for.

    `identity` is who asks, or claims to.
    """

    plan: Plan
    identity: Reference


@dataclass(frozen=True, slots=True)
class Referral:
    """303: another node administers this prefix; the values say which."""

    values: tuple[HandleValue, ...]


Outcome = Refusal | NeedAuthentication | Need | Change | Listing | Told | Mirroring | Referral
