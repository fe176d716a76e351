"""Acts: administration that the Handle protocol has no words for, as steps without I/O.

    outcome = decide_act(view, act, identity, foreign, policy, now_ms)

        Refusal   answer with its code and words
        Need      fetch these handles, add them to `foreign`, call again
        TakesLong decide it in a thread, without `is_quick`; only where that was said
        Done      `result` is the answer. With operations: within the write transaction decide
                  again with its WriteView, then `registry.replay.replay` them and append them to
                  the log: what the journal says is what is done. `own` are entries of the prefix
                  office that stay out of the journal, `notes` are for the operator's log

An act has a name, such as `ranges.register`, and parameters of msgpack's plain types. Who asks is
proven before it is decided; None is somebody who has not said who he is. `decide_act` changes
nothing. To add one: a decider `(ActStep) -> ActOutcome` (`registry.act_steps`) in the module it
belongs to, and a line in `ACTS`, `READING_ACTS` for one that never changes anything.
"""

from protocol.codes import ResponseCode
from protocol.value import Reference
from registry import (
    applications,
    life_cycle,
    life_history,
    people,
    prefix_acts,
    quota_acts,
    range_acts,
    reviews,
    statistics_acts,
    template_acts,
    template_handles,
)
from registry.act_steps import Act, ActDecider, ActOutcome, ActStep, Done, TakesLong
from registry.authorization import Policy
from registry.knowledge import Knowledge
from registry.outcomes import Foreign, refuse
from registry.range_rows import QUICK_STEPS_MAX, STEPS_MAX
from registry.views import View

__all__ = [
    "ACTS",
    "ONE_HANDLE_ACTS",
    "READING_ACTS",
    "SLOW_ACTS",
    "Act",
    "ActOutcome",
    "ActStep",
    "Done",
    "TakesLong",
    "decide_act",
]

ACTS: dict[str, ActDecider] = {
    **range_acts.ACTS,
    **life_cycle.ACTS,
    **life_history.ACTS,
    **statistics_acts.ACTS,
    **template_acts.ACTS,
    **template_handles.ACTS,
    "applications.apply": applications.decide_apply,
    "applications.list": applications.decide_list,
    "applications.show": applications.decide_show,
    "applications.approve": reviews.decide_approve,
    "applications.refuse": reviews.decide_refuse,
    "people.erase": people.decide_erase,
    "prefixes.show": prefix_acts.decide_show,
    "prefixes.suspend": prefix_acts.decide_suspend,
    "prefixes.resume": prefix_acts.decide_resume,
    "prefixes.transfer": prefix_acts.decide_transfer,
    "prefixes.release": prefix_acts.decide_release,
    "prefixes.remove": prefix_acts.decide_remove,
    "quotas.set": quota_acts.decide_set,
    "quotas.show": quota_acts.decide_show,
}
READING_ACTS: frozenset[str] = (
    range_acts.READING_ACTS
    | life_cycle.READING_ACTS
    | life_history.READING_ACTS
    | statistics_acts.READING_ACTS
    | template_acts.READING_ACTS
    | {"applications.list", "applications.show", "prefixes.show", "quotas.show"}
)
# Of these, what reads more than a few rows: not to be decided on an event loop. Acts that change
# something say so themselves, with `TakesLong`, when they turn out to.
SLOW_ACTS: frozenset[str] = life_history.READING_ACTS | {"templates.list", "ranges.list"}

# What registers or changes one handle, the parameter `handle`: counted by quotas of requests.
ONE_HANDLE_ACTS: frozenset[str] = frozenset(
    {"templates.create_handle", "life.freeze", "life.thaw", "life.revoke"}
)


def decide_act(
    view: View,
    act: Act,
    identity: Reference | None,
    foreign: Foreign,
    policy: Policy,
    now_ms: int,
    *,
    is_quick: bool = False,
) -> ActOutcome:
    """Decide about one act; see the module's docstring for what to do with the outcome.

    Args:
        view: the store; within a write transaction, with what was done before.
        act: what is asked; its parameters have been checked by nobody.
        identity: who asks, proven.
        foreign: what was fetched of other nodes' handles, by `outcomes.foreign_key`.
        policy: roles and rules of the configuration.
        now_ms: the server's clock, since 1970.
        is_quick: give up with `TakesLong` after some milliseconds.

    Raises:
        RecordError: a stored row is damaged.
    """
    decider = ACTS.get(act.name)
    if decider is None:
        return refuse(ResponseCode.OPERATION_NOT_SUPPORTED, f"{act.name} is not known here")
    knowledge = Knowledge(view, foreign)
    steps_max = QUICK_STEPS_MAX if is_quick else STEPS_MAX
    step = ActStep(
        view, act.parameters, identity, knowledge, policy, now_ms, act.address, steps_max
    )
    return decider(step)
