"""Creations whose outcome hangs on two things only: who asks, and whether the name is free.

Most registrations are alike: a new handle below a prefix, with values that anybody may read and
that this node does not act upon. Such a one is made here exactly as `admin.decide` and
`admin.apply` make it, or it is left to them:

    prefix is homed and the identity permitted ─> name free ─> stored; what the journal is to say
      (asked once a transaction) │                    │
                                 └────────────────────┴─> None, nothing is done

It also is what is remembered between two of a transaction: `forget` it after any other change,
which may have been one of permissions. Plain creations themselves change none.
"""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from protocol.value import Reference
from registry.authorization import Counted, Permitted, Policy
from registry.creation_rights import CreationRights
from registry.journal import Kind, pack_change
from registry.outcomes import NOTHING_FOREIGN, Foreign
from registry.quotas import count_created, refuse_beyond
from registry.schema import KEY_OCTETS_MAX, record_of_public
from registry.views import WriteView

_pack_time = struct.Struct(">i").pack


class PlainCreation(NamedTuple):
    """A new handle and its values.

    `pieces` are the wire octets of the value list, cut where the timestamps stand: the time of the
    transaction joins them. The values are public, have indexes of their own and no references, are
    of no type that `registry.checks` looks into, and fit into a record; the handle may be created.
    """

    handle: bytes
    pieces: Sequence[bytes]


class PlainCreations:
    """Makes the plain creations of one transaction.

    Args:
        view: of the transaction.
        policy: the node's own administrators.
        now_s: the time of the transaction.
    """

    def __init__(self, view: WriteView, policy: Policy, now_s: int) -> None:
        self._view = view
        self._policy = policy
        self._now_s = now_s
        self._packed_time = _pack_time(now_s)
        self._rights: dict[tuple[Reference, int], CreationRights] = {}

    def create(
        self, creation: PlainCreation, identity: Reference, foreign: Foreign = NOTHING_FOREIGN
    ) -> list[Any] | None:
        """Store the handle and return its item for the journal; None: `decide` has to say why.

        Args:
            creation: what to create.
            identity: who asks, proven.
            foreign: what is known of other nodes' handles, as `decide` would have it.
        """
        handle, pieces = creation
        folded = self._view.fold(handle)
        right = self._find_rights(identity, foreign).find(handle, folded)
        if not isinstance(right, Permitted) or len(folded) > KEY_OCTETS_MAX:
            return None
        is_counted = type(right) is Counted
        if is_counted and refuse_beyond(self._view, handle, 1, self._now_s) is not None:
            return None
        octets = self._packed_time.join(pieces)
        if not self._view.add_row(folded, record_of_public(octets, folded)):
            return None
        if is_counted:
            count_created(self._view, handle, 1, self._now_s)
        return pack_change(Kind.CREATE, folded, octets, identity, self._now_s)

    def _find_rights(self, identity: Reference, foreign: Foreign) -> CreationRights:
        """Return an identity's rights as far as this very mapping says."""
        place = identity, id(foreign)  # the rights hold it, so that no other one takes its place
        rights = self._rights.get(place)
        if rights is None:
            rights = self._rights[place] = CreationRights(
                self._view, identity, foreign, self._policy, self._now_s
            )
        return rights

    def forget(self) -> None:
        """Forget who may do what: something else was changed."""
        self._rights.clear()
