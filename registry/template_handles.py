"""The act that makes one identifier from a template.

    templates.create_handle  {"handle", "template", "version", "attributes", "values", "overwrite"}
                             -> {"handle", "template", "version", "replaced"}

What is new and permitted becomes a row of its template; about all else `registry.admin` decides.
"""

from dataclasses import replace
from typing import Any

from protocol.bodies import ValuesRequest
from protocol.codes import OpCode, ResponseCode
from protocol.errors import InvalidHandleError
from protocol.handle import check_handle, to_text
from protocol.json_fields import describe
from protocol.value import HandleValue, Reference
from registry import quotas
from registry.act_steps import ActDecider, ActOutcome, ActStep, Done
from registry.admin import decide
from registry.authorization import Permitted
from registry.creation_rights import CreationRights
from registry.journal import JournalOperation, Kind
from registry.operations import Change, Operation
from registry.outcomes import Need, Refusal, refuse
from registry.schema import folded_key
from registry.template_creations import Made, TemplateCreations, is_free
from registry.template_requests import join_faults, read_request


def decide_create_handle(step: ActStep) -> ActOutcome:
    """Decide about templates.create_handle."""
    faults: list[str] = []
    request = read_request(step.parameters, faults)
    handle = _read_handle(step.parameters.get("handle"), faults)
    overwrites = step.parameters.get("overwrite", False)
    if not isinstance(overwrites, bool):
        faults.append(f"overwrite is {describe(overwrites)}: write true or false")
    if faults:
        return refuse(ResponseCode.INVALID_VALUE, join_faults(faults))
    if step.identity is None:
        return refuse(ResponseCode.AUTHENTICATION_NEEDED, "this needs an identity: log in")
    creations = TemplateCreations(step.view, step.now_s)
    made = creations.make(handle, request)
    if isinstance(made, Refusal):
        return made
    result = {
        "handle": to_text(handle),
        "template": made.version.template.name,
        "version": made.version.template.version,
        "replaced": False,
    }
    folded = step.view.fold(handle)
    new = None
    if is_free(step.view, folded_key(folded)) and _may_create(step, handle, folded):
        new = creations.row(folded_key(folded), made)
    if new is not None:
        operation = step.operation(Kind.CREATE_FROM_TEMPLATE, folded, new.payload())
        refusal = quotas.refuse_beyond(step.view, handle, 1, step.now_s)
        return refusal or _counted(step, handle, Done(result, (operation,)))
    return _decide_ordinary(step, step.identity, handle, made, overwrites, result)


def _may_create(step: ActStep, handle: bytes, folded: bytes) -> bool:
    """Say whether the handle may be created for certain; else `decide` says why not."""
    assert step.identity is not None
    rights = CreationRights(
        step.view, step.identity, step.knowledge.foreign, step.policy, step.now_s
    )
    return isinstance(rights.find(handle, folded), Permitted)


def _decide_ordinary(
    step: ActStep,
    identity: Reference,
    handle: bytes,
    made: Made,
    overwrites: bool,
    result: dict[str, Any],
) -> ActOutcome:
    """Decide as about any creation: whoever may not, or something is there, or no row will do."""
    body = ValuesRequest(handle, made.values(step.now_s))
    operation = Operation(OpCode.CREATE_HANDLE, body, overwrite=overwrites)
    outcome = decide(
        step.view, operation, identity, step.knowledge.foreign, step.policy, step.now_s
    )
    if isinstance(outcome, Change):
        operations = tuple(
            _ordinary_operation(step, identity, each.kind, each.handle, each.values)
            for each in outcome.operations
        )
        done = Done(result | {"replaced": outcome.overwrote}, operations)
        return done if outcome.overwrote else _counted(step, handle, done)
    if isinstance(outcome, Refusal | Need):
        return outcome
    return refuse(
        ResponseCode.SERVER_NOT_RESPONSIBLE,
        f"the prefix of {to_text(handle)} is not homed on this node",
    )


def _counted(step: ActStep, handle: bytes, done: Done) -> Done:
    """Return what is done with the new handle counted in its prefix's quota, if there is one."""
    return replace(done, own=quotas.counted_entries(step.view, handle, 1, step.now_s))


def _ordinary_operation(
    step: ActStep, identity: Reference, kind: Kind, handle: bytes, values: tuple[HandleValue, ...]
) -> JournalOperation:
    return JournalOperation(kind, step.view.fold(handle), values, identity, step.now_s)


def _read_handle(item: Any, faults: list[str]) -> bytes:
    if not isinstance(item, str | bytes):
        faults.append(f"handle is {describe(item)}: write an identifier such as 88.118.5/a")
        return b""
    handle = item if isinstance(item, bytes) else item.encode("utf-8", "backslashreplace")
    try:
        check_handle(handle)
    except InvalidHandleError as error:
        faults.append(str(error))
    return handle


ACTS: dict[str, ActDecider] = {"templates.create_handle": decide_create_handle}
