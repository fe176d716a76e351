"""The command `biaoshi`: from the shell's words to the command that does them.

`serve` goes straight to the supervisor: a node has to answer within half a second of its start,
and the libraries that draw tables and help pages take longer than that to import. Everything
else goes through `resolver.cli.app`.
"""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (`resolver.cli.errors.ExitCode`)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["serve"] and "--help" not in words:
        from resolver.cli.serve import serve_from_words

        return serve_from_words(words[1:])
    from resolver.cli.app import run

    return run(words)


if __name__ == "__main__":
    sys.exit(main())
