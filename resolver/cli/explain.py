"""From what other modules raise to what a person reads: one `CliError` for each kind."""

from protocol.errors import ProtocolError
from registry.errors import StoreError
from resolver.cli.errors import CliError, ExitCode
from resolver.client import (
    AuthenticationRefusedError,
    HandleError,
    PermissionRefusedError,
    UnreachableError,
)
from resolver.config import ConfigError
from resolver.demo.errors import DemoError
from resolver.node_files import NodeFilesError

SUBJECT_CHARACTERS_MAX = 120  # a handle may have 2,048, which would bury the words


def explain(error: Exception) -> CliError | None:
    """Return the error in words with its exit code; None for one we did not expect."""
    if isinstance(error, HandleError):
        return explain_handle_error(error)
    if isinstance(error, DemoError):
        return CliError(error.what, error.hint, ExitCode.FILES)
    if isinstance(error, ConfigError):
        return CliError("; ".join(error.problems), "edit the configuration, then try again")
    if isinstance(error, NodeFilesError):
        return CliError(str(error), "check the path, or give another with --data or --root")
    if isinstance(error, StoreError):
        return CliError(str(error), "biaoshi doctor FOLDER tells more")
    if isinstance(error, ProtocolError):
        return CliError(str(error), code=ExitCode.REFUSED)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return CliError(f"{where}{error.strerror or error}", "check path, permissions and disk")
    return None


def explain_handle_error(error: HandleError, subject: str = "") -> CliError:
    """Return a refusal in words; `subject` is the handle it is about."""
    code = ExitCode.REFUSED
    if isinstance(error, UnreachableError):
        code = ExitCode.UNREACHABLE
    elif isinstance(error, PermissionRefusedError | AuthenticationRefusedError):
        code = ExitCode.NOT_ALLOWED
    number = f" (response code {error.response_code})" if error.response_code else ""
    about = "" if not subject or subject in error.words else f"{_shorten(subject)}: "
    words = error.words.replace(subject, _shorten(subject)) if subject else error.words
    hint = "" if error.hint in error.words or error.words in error.hint else error.hint
    return CliError(f"{about}{words}{number}", hint, code)


def _shorten(subject: str) -> str:
    if len(subject) <= SUBJECT_CHARACTERS_MAX:
        return subject
    return f"{subject[:SUBJECT_CHARACTERS_MAX]}..."
