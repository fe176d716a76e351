"""Acts on the life of handles, as tests perform them: decided, replayed, journaled, in one go."""

from typing import Any

from protocol.value import Reference
from registry.acts import Act, ActOutcome, Done, decide_act
from registry.authorization import Policy
from registry.log import LocalLog
from registry.outcomes import NOTHING_FOREIGN, Foreign, Refusal
from registry.replay import replay
from registry.store import Store
from tests.registry.builders import ADMIN, NOW_S, POLICY


def act(
    store: Store,
    name: str,
    identity: Reference | None = ADMIN,
    *,
    now_ms: int = (NOW_S + 60) * 1_000,
    policy: Policy = POLICY,
    foreign: Foreign = NOTHING_FOREIGN,
    **parameters: Any,
) -> ActOutcome:
    """Perform an act; a handle may be given as octets."""
    if isinstance(parameters.get("handle"), bytes):
        parameters["handle"] = parameters["handle"].decode()
    with store.write() as view:
        outcome = decide_act(view, Act(name, parameters), identity, foreign, policy, now_ms)
        if isinstance(outcome, Done) and outcome.operations:
            replay(view, outcome.operations)
            LocalLog(view).append_operations(outcome.operations, now_ms)
    return outcome


def done(outcome: ActOutcome) -> dict[str, Any]:
    """Return the result of an act that was done."""
    assert isinstance(outcome, Done), outcome
    return outcome.result


def refused(outcome: object) -> tuple[int, str]:
    """Return the code and the words of a refusal."""
    assert isinstance(outcome, Refusal), outcome
    return int(outcome.response_code), outcome.message.decode()
