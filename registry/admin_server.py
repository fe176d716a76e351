"""Deciding about what is asked of the server as a whole: BACKUP_SERVER."""

from protocol.bodies import Empty
from protocol.codes import OpCode
from registry.admin_step import Step
from registry.authorization import Permitted
from registry.operations import Outcome, Told
from registry.outcomes import NeedAuthentication

SERVER_OPCODES = frozenset({OpCode.BACKUP_SERVER})


def decide_checkpoint(step: Step) -> Outcome:
    """Decide about BACKUP_SERVER, with which tools have a server bring its files up to date.

    Every change is in the store's files, synced, before it is acknowledged: once whoever asks may
    ask, that is so already.
    """
    if step.identity is None:
        return NeedAuthentication()
    role = step.role()
    return Told(Empty()) if isinstance(role, Permitted) else role
