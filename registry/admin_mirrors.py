"""Deciding about mirrors: the next transaction id, the log, a dump. Nobody may, unless named."""

from protocol.bodies import DumpRequest, RetrieveLogRequest, TransactionIdAnswer
from protocol.codes import OpCode, ResponseCode
from protocol.replication import ResumePoint
from registry.admin_step import Step
from registry.authorization import Permitted
from registry.mirror_plans import (
    DumpPlan,
    LogPlan,
    Plan,
    Share,
    next_transaction_id,
    read_positions,
)
from registry.operations import Mirroring, Outcome, Told
from registry.outcomes import NeedAuthentication, Refusal, refuse


def decide_next_id(step: Step) -> Outcome:
    """Decide about GET_NEXT_TXN_ID."""
    if step.identity is None:
        return NeedAuthentication()
    role = step.role()
    if not isinstance(role, Permitted):
        return role
    return Told(TransactionIdAnswer(next_transaction_id(step.view)))


def decide_mirroring(step: Step) -> Outcome:
    """Decide about RETRIEVE_TXN_LOG and DUMP_HANDLES."""
    plan = _plan(step)
    if isinstance(plan, Refusal):
        return plan
    if step.identity is None:
        return NeedAuthentication()
    role = step.role()
    return Mirroring(plan, step.identity) if isinstance(role, Permitted) else role


def _plan(step: Step) -> Plan | Refusal:
    body = step.operation.body
    assert isinstance(body, RetrieveLogRequest | DumpRequest)
    share = Share(body.hash_option, body.servers, body.server_number)
    fault = share.fault()
    if fault is not None:
        return refuse(ResponseCode.PROTOCOL_ERROR, fault)
    if isinstance(body, DumpRequest):
        return _dump_plan(body, share)
    if body.mode is None or body.mode == 0:
        return LogPlan(share, body.last_id, asked_ms=body.last_query_ms)
    if body.mode != 1:
        words = f"mode {body.mode} of opcode {OpCode.RETRIEVE_TXN_LOG} is unknown"
        return refuse(ResponseCode.PROTOCOL_ERROR, f"{words}, known are 0 and 1")
    positions = read_positions(body.positions_json)
    if isinstance(positions, str):
        return refuse(ResponseCode.PROTOCOL_ERROR, positions)
    return LogPlan(share, positions=positions)


def _dump_plan(body: DumpRequest, share: Share) -> Plan | Refusal:
    if body.resume_at is not None and body.resume_type not in tuple(ResumePoint):
        words = f"a dump cannot resume at a record of type {body.resume_type}, known are 0 to 3"
        return refuse(ResponseCode.PROTOCOL_ERROR, words)
    return DumpPlan(share, body.resume_at, body.resume_type)
