"""What a person reads when a command fails: what happened, to which handle or row, what to do.

Every failure becomes one `CliError`, printed on two lines and ended with an exit code that
scripts can rely on. Only `--debug` shows a traceback.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `biaoshi`, stable for scripts."""

    OK = 0
    REFUSED = 1  # the answer is no: not found, refused, rows refused, problems found
    USAGE = 2  # the command line itself is wrong
    UNREACHABLE = 3  # no node answered
    FILES = 4  # a file or the configuration is missing or wrong
    NOT_ALLOWED = 5  # the identity or its key is not accepted
    BUG = 70  # ours: please report it
    INTERRUPTED = 130  # Ctrl-C


class CliError(Exception):
    """A failure in words: `what` happened to whom, and `hint`, what to do next."""

    def __init__(self, what: str, hint: str = "", code: ExitCode = ExitCode.FILES) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.code = code

    def lines(self) -> list[str]:
        """Return the lines to print."""
        return [f"error: {self.what}"] + ([f"  try: {self.hint}"] if self.hint else [])
