"""The command `biaoshi`: from the shell's words to the command that does them.

`serve` goes straight to the supervisor: a node has to answer within half a second of its start,
and the libraries that draw tables and help pages take longer than that to import. Everything
else goes through `resolver.cli.app`.
"""

import sys
from collections.abc import Sequence

INTERRUPTED = 130  # ExitCode.INTERRUPTED, known before anything is imported


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (`resolver.cli.errors.ExitCode`)."""
    try:
        return _run(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:  # while modules are imported: commands have words of their own
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _run(words: list[str]) -> int:
    if words[:1] == ["serve"] and "--help" not in words:
        from resolver.cli.serve import serve_from_words

        return serve_from_words(words[1:])
    from resolver.cli.app import run

    return run(words)


if __name__ == "__main__":
    sys.exit(main())
