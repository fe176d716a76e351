"""What commands of administration share: the node's REST interface, opened as an administrator."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resolver.cli.connect import Where, find_node, find_target
from resolver.cli.explain import explain_handle_error
from resolver.client import HandleError
from resolver.client.administration import AdministrationClient, BlockingAdministrationClient
from resolver.config import load_config


@contextmanager
def administered(where: Where, subject: str) -> Iterator[BlockingAdministrationClient]:
    """Yield a client of the node that is responsible; what it refuses is put in words.

    Args:
        where: the node, or the root to find it from, and who logs in.
        subject: the identifier or prefix it is about.

    Raises:
        CliError: no such place or identity, or the node refused.
    """
    try:
        target = find_target(where, log_in=True)
        assert target.identity is not None, "find_target asked for one"
        site = target.site
        if site is None:
            handle = subject if "/" in subject else f"{subject}/"
            site = asyncio.run(target.open_async().find_site(handle))
        certificates = find_certificates(where)
        client = AdministrationClient.at(site, target.identity, certificates=certificates)
        with BlockingAdministrationClient(client) as blocking:
            yield blocking
    except HandleError as error:
        raise explain_handle_error(error, subject) from error


def find_certificates(where: Where) -> Path | None:
    """Return the file of certificates named, or the operator's of a node on this machine."""
    if where.cacert is not None or not where.node:
        return where.cacert
    config = load_config(find_node(where.node).config)
    return config.folder / config.tls.certificate if config.tls.certificate else None
