"""Following a primary's site, each of its servers by itself: their transaction ids are their own.

    server 0  ── Follower ─┐
    server 1  ── Follower ─┼── one store; the metric says when all of them had caught up
    ...                    ┘

Which handles are a server's, the site says by its hash option. A server that is away keeps nobody
from following the others.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence

from protocol.types.hs_site import HsSite
from registry.mirror_plans import Share
from registry.roles import identity_from_text
from registry.store import Store
from resolver.client.identities import KeyIdentity
from resolver.config import Config
from resolver.following import Follower
from resolver.group_commit import GroupCommit
from resolver.metrics import FOLLOWED
from resolver.node_files import NodeFilesError, read_site
from resolver.primary_line import PrimaryError, PrimaryLine
from resolver.server_keys import read_key


class Followers:
    """Follows every server of one site."""

    def __init__(self, followers: Sequence[Follower]) -> None:
        self._followers = followers

    async def run(self) -> None:
        """Follow until cancelled."""
        self._tell()
        async with asyncio.TaskGroup() as tasks:
            for each in self._followers:
                tasks.create_task(each.run(self._tell))

    def _tell(self) -> None:
        FOLLOWED.set(min(each.caught_up_s for each in self._followers))


def make_followers(
    config: Config, store: Store, commit: GroupCommit, now_s: Callable[[], float]
) -> Followers:
    """Return what follows the site that the configuration names.

    Raises:
        NodeFilesError: the primary's site or our key cannot be used.
        StoreError: this node has registered something itself.
    """
    follow = config.follow
    site_path, key_path = config.folder / follow.site, config.folder / follow.key
    site = read_site(site_path)
    identity = KeyIdentity(identity_from_text(follow.identity), read_key(key_path))
    shares = [Share(site.hash_option, len(site.servers), n) for n in range(len(site.servers))]
    fault = shares[0].fault() if shares else "it names no server"
    if fault is not None:
        raise NodeFilesError(f"{site_path}: {fault}")
    try:
        lines = [
            PrimaryLine(site, number, identity, now_s, follow.silence_timeout_s)
            for number in range(len(site.servers))
        ]
    except PrimaryError as error:
        raise NodeFilesError(f"{site_path}: {error}") from None
    return Followers(
        [
            Follower(line, source, share, store, commit, poll_s=follow.poll_s, now_s=now_s)
            for line, source, share in zip(lines, sources_of(site), shares, strict=True)
        ]
    )


def sources_of(site: HsSite) -> list[str]:
    """Return the name of each server of a site, by the keys; other servers, other names."""
    if len(site.servers) == 1:
        return [hashlib.sha256(site.servers[0].public_key).hexdigest()]
    keys = [hashlib.sha256(server.public_key).digest() for server in site.servers]
    group = hashlib.sha256(bytes([site.hash_option]) + b"".join(keys)).hexdigest()
    return [f"{group}/{number}" for number in range(len(keys))]
