"""`biaoshi serve`: run a node in the foreground until SIGTERM or Ctrl-C.

This module imports neither typer nor rich, see `resolver.cli.main`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from resolver.cli.errors import CliError, ExitCode

CONFIG_NAME = "biaoshi.toml"
USAGE = "usage: biaoshi serve [FOLDER | CONFIG.toml]   (default: the current folder)"


def serve_from_words(words: Sequence[str]) -> int:
    """Serve the node that the words after `serve` name; return the exit code."""
    try:
        path = find_config(words)
    except CliError as error:
        print("\n".join(error.lines()), file=sys.stderr)
        return error.code
    from resolver.config import ConfigError
    from resolver.supervisor import serve

    try:
        return serve(path)
    except ConfigError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        print(f"  try: edit {path}; every key is shown in deploy/config", file=sys.stderr)
        return ExitCode.FILES
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def find_config(words: Sequence[str]) -> Path:
    """Return the configuration file that the words name.

    Raises:
        CliError: too many words, or no such file.
    """
    if len(words) > 1 or any(word.startswith("-") for word in words):
        raise CliError(f"serve does not know {' '.join(words)}", USAGE, ExitCode.USAGE)
    place = Path(words[0]) if words else Path()
    path = place / CONFIG_NAME if place.is_dir() else place
    if not path.is_file():
        raise CliError(
            f"there is no configuration {path}",
            f"biaoshi init ROLE --data {path.parent} makes a node there",
        )
    return path
