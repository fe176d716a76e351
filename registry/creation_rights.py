"""Whether an identity may create handles under a prefix, asked once and remembered for a while."""

from protocol.bodies import ValuesRequest
from protocol.codes import OpCode, ResponseCode
from protocol.handle import is_prefix_handle, prefix_handle
from protocol.value import Reference
from registry.admin_handles import may_create
from registry.admin_step import Step
from registry.authorization import Authorization, Counted, Permitted, Policy
from registry.errors import RecordError
from registry.knowledge import Knowledge
from registry.operations import Operation
from registry.outcomes import Foreign, refuse
from registry.prefixes import find_silence, is_responsible
from registry.quotas import NO_LIMIT, find_quota
from registry.views import View


class CreationRights:
    """The rights of one identity in one transaction; `forget` them after a change of any record.

    Creations that `registry.checks` has nothing to look into change no rights.

    Args:
        view: of the transaction.
        identity: who creates.
        foreign: what was fetched of other nodes' handles.
        policy: the node's own administrators.
        now_s: the time of the transaction.
    """

    def __init__(
        self, view: View, identity: Reference, foreign: Foreign, policy: Policy, now_s: int
    ) -> None:
        self._view = view
        self._identity = identity
        self._foreign = foreign
        self._policy = policy
        self._now_s = now_s
        self._known: dict[bytes, Authorization] = {}

    def find(self, handle: bytes, folded: bytes) -> Authorization:
        """Return whether a handle may be created; prefixes are left to `admin.decide`.

        Counted: if its prefix's quota has room for it, and then it is to be counted.

        Args:
            handle: as it is to be created.
            folded: the form under which it is stored.
        """
        prefix = folded.partition(b"/")[0]
        right = self._known.get(prefix)
        if right is None:
            right = self._known[prefix] = self._ask(handle)
        return right

    def forget(self) -> None:
        """Forget all: something was changed that may have been a right."""
        self._known.clear()

    def _ask(self, handle: bytes) -> Authorization:
        if is_prefix_handle(handle):
            return refuse(ResponseCode.ERROR, "prefixes are decided on one by one")
        operation = Operation(OpCode.CREATE_HANDLE, ValuesRequest(handle, ()))
        knowledge = Knowledge(self._view, self._foreign)
        step = Step(self._view, operation, self._identity, knowledge, self._policy, self._now_s)
        try:
            if not is_responsible(self._view, handle):
                silence = find_silence(self._view, handle)
                if silence is not None:
                    return refuse(ResponseCode.INSUFFICIENT_PERMISSIONS, silence)
                return refuse(ResponseCode.SERVER_NOT_RESPONSIBLE, "not homed here")
            right = may_create(step, handle)
            if not isinstance(right, Permitted):
                return right
            quota = find_quota(self._view, prefix_handle(handle))
            if quota is not None and quota.identifiers != NO_LIMIT:
                return Counted()
            return right
        except RecordError as error:
            return refuse(ResponseCode.ERROR, str(error))
