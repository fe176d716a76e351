"""What an act of the prefix office begins with: who may, and parameters that make sense."""

from registry.act_steps import ActStep
from registry.authorization import Permitted
from registry.office_parameters import FormType, read
from registry.outcomes import Need, Refusal
from registry.roles import Role


def read_from(step: ActStep, form: type[FormType], *roles: Role) -> FormType | Refusal | Need:
    """Return an act's parameters as a form, if whoever asks has one of these roles."""
    role = step.role(*roles)
    return read(step.parameters, form) if isinstance(role, Permitted) else role
