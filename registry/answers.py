"""The readable path of resolution: what a question is answered with.

    not found, and the prefix is suspended 401, says since when and why
    not ours, or not stored but delegated  301 not responsible, 303 referral
    ours and not stored                    100; of a revoked one with who, when and why
    nothing selected, or with `public_only` nothing public selected  200
    a selected value that nobody may read  401 for the whole question
    a selected value for administrators    402, then the values if READ_VALUE is granted
    else                                   1, the selected values in stored order

`resolve` has no I/O beyond its view. The fast path agrees with it or leaves the question to it.
"""

from dataclasses import dataclass

from protocol.bodies import Body, ErrorAnswer, ReferralAnswer, ValuesRequest
from protocol.codes import REFERRALS, AdminPermission, OpCode, Permission, ResponseCode
from protocol.handle import to_text
from protocol.value import HandleValue, Reference, select_values
from registry.authorization import Policy, authorize_on_record
from registry.knowledge import Knowledge
from registry.marks import State, revoked_words
from registry.outcomes import NOTHING_FOREIGN, Foreign, Need, Refusal
from registry.prefixes import find_referral, find_silence, is_responsible
from registry.ranges import find_revocation
from registry.schema import VALUES_MAX
from registry.views import View

INDEXES_MAX = VALUES_MAX  # of a question: one for every value a handle can have
# Of a question. Ours; types that end in a dot are each compared with every value's: 1,024 with all
# the values a handle can have take some 10 ms.
TYPES_MAX = 1_024


@dataclass(frozen=True, slots=True)
class Question:
    """What a RESOLUTION request asks. `in_session` forces authentication, as in Handle.Net."""

    handle: bytes
    indexes: tuple[int, ...] = ()
    types: tuple[bytes, ...] = ()
    public_only: bool = True
    do_not_refer: bool = False
    in_session: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A response code with its values (found, or to be referred with) or its words."""

    response_code: ResponseCode
    values: tuple[HandleValue, ...] = ()
    message: bytes = b""

    def body(self, handle: bytes) -> Body:
        """Return the response body for a handle as it was asked; not for 402."""
        assert self.response_code != ResponseCode.AUTHENTICATION_NEEDED
        if self.response_code == ResponseCode.SUCCESS:
            return ValuesRequest(handle, self.values)
        if self.response_code in REFERRALS:
            return ReferralAnswer(b"", self.values)
        return ErrorAnswer(self.message)


_CHALLENGE = Answer(ResponseCode.AUTHENTICATION_NEEDED)
_NO_POLICY = Policy()


def resolve(
    view: View,
    question: Question,
    identity: Reference | None = None,
    foreign: Foreign = NOTHING_FOREIGN,
    policy: Policy = _NO_POLICY,
) -> Answer | Need:
    """Answer a question.

    Args:
        view: the store.
        question: what is asked.
        identity: who asks, once proven; None answers 402 where that must be known.
        foreign: what was fetched of other nodes' handles.
        policy: the node's own administrators.

    Raises:
        RecordError: the stored row is damaged.
    """
    if len(question.indexes) > INDEXES_MAX or len(question.types) > TYPES_MAX:
        return _error(
            ResponseCode.PROTOCOL_ERROR,
            f"a question names at most {INDEXES_MAX} indexes and {TYPES_MAX} types, this one "
            f"{len(question.indexes)} and {len(question.types)}",
        )
    responsible = is_responsible(view, question.handle)
    record = view.find_record(question.handle) if responsible else None
    if record is None:
        return _not_stored(view, question, responsible)
    selected = select_values(record.values, question.indexes, question.types)
    if question.public_only:
        public = tuple(value for value in selected if value.is_public)
        return Answer(ResponseCode.SUCCESS, public) if public else _NOTHING_SELECTED
    if not selected:
        return _NOTHING_SELECTED
    return _resolve_restricted(Knowledge(view, foreign), question, selected, identity, policy)


def _resolve_restricted(
    knowledge: Knowledge,
    question: Question,
    selected: tuple[HandleValue, ...],
    identity: Reference | None,
    policy: Policy,
) -> Answer | Need:
    """Answer a question that did not ask for public values only."""
    restricted = [value for value in selected if not value.is_public]
    for value in restricted:
        if not value.permission & Permission.ADMIN_READ:
            return _error(
                ResponseCode.INSUFFICIENT_PERMISSIONS,
                f"value at index {value.index}: nobody may read it",
            )
    if identity is None and (restricted or question.in_session):
        return _CHALLENGE
    if restricted:
        assert identity is not None
        verdict = authorize_on_record(
            knowledge,
            policy,
            identity,
            OpCode.RESOLUTION,
            question.handle,
            AdminPermission.READ_VALUE,
        )
        if isinstance(verdict, Need):
            return verdict
        if isinstance(verdict, Refusal):
            return Answer(verdict.response_code, (), verdict.message)
    return Answer(ResponseCode.SUCCESS, selected)


def _not_stored(view: View, question: Question, responsible: bool) -> Answer:
    silence = find_silence(view, question.handle)
    if silence is not None:
        # Clients show the words of this code, ask no other node, and take nothing for deleted.
        return _error(ResponseCode.INSUFFICIENT_PERMISSIONS, silence)
    mark = view.find_mark(question.handle) if responsible else None
    if mark is not None and mark.state == State.REVOKED:
        return _error(ResponseCode.HANDLE_NOT_FOUND, revoked_words(question.handle, mark))
    if not question.do_not_refer:
        referral = find_referral(view, question.handle)
        if referral:
            return Answer(ResponseCode.PREFIX_REFERRAL, referral)
    if responsible:
        words = find_revocation(view, question.handle)
        return _error(
            ResponseCode.HANDLE_NOT_FOUND, words or f"{to_text(question.handle)} is not registered"
        )
    return _error(
        ResponseCode.SERVER_NOT_RESPONSIBLE,
        f"the prefix of {to_text(question.handle)} is not homed on this node",
    )


def _error(response_code: ResponseCode, message: str) -> Answer:
    return Answer(response_code, (), message.encode())


_NOTHING_SELECTED = _error(ResponseCode.VALUES_NOT_FOUND, "no readable value matches the question")
