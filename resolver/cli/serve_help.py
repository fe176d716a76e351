"""The help page of `biaoshi serve`; the command itself is `resolver.cli.serve`."""

from typing import Annotated

import typer

from resolver.cli.serve import serve_from_words


def serve(
    folder: Annotated[
        str, typer.Argument(help="The node's folder, or its configuration file.")
    ] = ".",
) -> None:
    """Run a node in the foreground until SIGTERM or Ctrl-C.

    SIGHUP reads the TLS certificate again, and takes up server keys that have changed.
    """
    raise typer.Exit(serve_from_words([folder]))
