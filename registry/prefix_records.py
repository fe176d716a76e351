"""The values of prefix handles: a prefix that another node serves, or one that is hosted here.

index  1  HS_SITE         the node that serves the prefix
          HS_SERV         hosted: the handle of the prefix above, whose node serves this one too
       2  HS_SITE.PREFIX  the same node, when it delegates further
     100  HS_ADMIN        all rights, to
     300  HS_PUBKEY       the key of whoever the prefix belongs to
"""

from collections.abc import Sequence

from protocol.codes import AdminPermission
from protocol.types.hs_admin import HsAdmin
from protocol.types.hs_serv import HsServ
from protocol.types.hs_site import HsSite
from protocol.value import HandleValue, Reference

ADMIN_INDEX = 300  # where an administrator's key stands, by Handle.Net's convention
ADMIN_VALUE_INDEX = 100
SITE_INDEX = 1
PREFIX_SITE_INDEX = 2
# Values that say whose a prefix is, or that others may administer it.
OWNER_TYPES = frozenset({b"HS_ADMIN", b"HS_PUBKEY", b"HS_SECKEY", b"HS_VLIST"})


def prefix_values(
    admin: Reference,
    *,
    now_s: int,
    site: HsSite | None = None,
    public_key: bytes | None = None,
    prefix_site: HsSite | None = None,
) -> tuple[HandleValue, ...]:
    """Return the values of a prefix handle, in order of index."""
    parts = [
        (SITE_INDEX, b"HS_SITE", site.encode() if site else None),
        (PREFIX_SITE_INDEX, b"HS_SITE.PREFIX", prefix_site.encode() if prefix_site else None),
        (ADMIN_VALUE_INDEX, b"HS_ADMIN", HsAdmin(AdminPermission.ALL, admin).encode()),
        (ADMIN_INDEX, b"HS_PUBKEY", public_key),
    ]
    return tuple(
        HandleValue(index, type_, data, timestamp=now_s)
        for index, type_, data in parts
        if data is not None
    )


def hosted_values(
    handle: bytes, parent: bytes, public_key: bytes, *, now_s: int
) -> tuple[HandleValue, ...]:
    """Return the values of the handle of a prefix that is homed beside the one above it.

    Args:
        handle: of the prefix: `0.NA/88.118.5`.
        parent: handle of the prefix above.
        public_key: HS_PUBKEY data of whoever the prefix belongs to.
        now_s: timestamp of the values.
    """
    service = HandleValue(SITE_INDEX, b"HS_SERV", HsServ(parent).encode(), timestamp=now_s)
    owner = Reference(handle, ADMIN_INDEX)
    return (service, *prefix_values(owner, now_s=now_s, public_key=public_key))


def transferred_values(
    handle: bytes, values: Sequence[HandleValue], public_key: bytes, *, now_s: int
) -> tuple[HandleValue, ...]:
    """Return a prefix handle's values when the prefix belongs to somebody else from now on.

    Whatever gave rights to the one before is gone; where the prefix is served stays.
    """
    kept = [value for value in values if value.type not in OWNER_TYPES]
    owner = Reference(handle, ADMIN_INDEX)
    new = prefix_values(owner, now_s=now_s, public_key=public_key)
    taken = {value.index for value in new}
    kept = [value for value in kept if value.index not in taken]
    return tuple(sorted((*kept, *new), key=lambda value: value.index))
