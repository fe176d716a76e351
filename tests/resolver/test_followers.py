"""Which servers of a site are followed, under which names, and when all had caught up."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from protocol.json_forms import site_to_json
from protocol.key_files import encode_private_key
from protocol.types.hs_pubkey import encode_public_key
from protocol.types.hs_site import HsSite, SiteServer
from registry.follow_states import FollowState
from resolver.config import Config, FollowConfig, NodeRole
from resolver.followers import Followers, make_followers, sources_of
from resolver.following import Follower
from resolver.node_files import NodeFilesError
from tests.resolver.office import make_node

KEYS = [rsa.generate_private_key(65537, 2048) for _ in range(2)]


def site_of(count: int, **changes: Any) -> HsSite:
    site = make_node().site
    servers = [
        replace(site.servers[0], id=n + 1, public_key=encode_public_key(KEYS[n].public_key()))
        for n in range(count)
    ]
    return replace(site, servers=tuple(servers), **changes)


def make(folder: Path, site: HsSite) -> Followers:
    (folder / "site.json").write_text(json.dumps(site_to_json(site)))
    (folder / "key.bin").write_bytes(encode_private_key(KEYS[0]))
    follow = FollowConfig(site="site.json", identity="300:0.NA/M", key="key.bin")
    config = Config(role=NodeRole.TOP, data_dir=str(folder), follow=follow)
    nothing = cast("Any", None)
    return make_followers(config, nothing, nothing, lambda: 1.0)


def test_the_source_of_a_lone_server_is_named_as_it_always_was() -> None:
    (alone,) = sources_of(site_of(1))
    assert len(alone) == 64
    assert int(alone, 16)
    assert FollowState(alone).group == alone


def test_other_servers_or_another_hash_make_other_sources() -> None:
    several = sources_of(site_of(2))
    assert [each[-2:] for each in several] == ["/0", "/1"]
    assert len({FollowState(each).group for each in several}) == 1
    turned = replace(site_of(2), servers=tuple(reversed(site_of(2).servers)))
    others = [site_of(1), site_of(2, hash_option=1), turned]
    groups = {FollowState(sources_of(each)[0]).group for each in (site_of(2), *others)}
    assert len(groups) == 4


def without_key(server: SiteServer) -> SiteServer:
    return replace(server, public_key=b"")


def without_interfaces(server: SiteServer) -> SiteServer:
    return replace(server, interfaces=())


@pytest.mark.parametrize(
    ("change", "words"),
    [(without_key, "server 1 of the primary's site has no key"),
     (without_interfaces, "server 1 of the primary's site takes no administration over TCP"),
     (lambda server: replace(server, public_key=b"x"), "key of server 1 in the primary's site")],
)  # fmt: skip
def test_a_server_that_cannot_be_followed_is_named(
    change: Callable[[SiteServer], SiteServer], words: str, tmp_path: Path
) -> None:
    site = site_of(2)
    broken = replace(site, servers=(site.servers[0], change(site.servers[1])))
    with pytest.raises(NodeFilesError, match=words):
        make(tmp_path, broken)


def test_a_site_without_servers_or_of_an_unknown_hash_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NodeFilesError, match=r"site\.json"):
        make(tmp_path, site_of(0))
    with pytest.raises(NodeFilesError, match=r"hash type 7 is unknown|hashOption"):
        make(tmp_path, site_of(2, hash_option=7))


def test_the_metric_says_when_the_last_of_them_had_caught_up() -> None:
    class Following:
        def __init__(self, caught_up_s: float) -> None:
            self.caught_up_s = caught_up_s

        async def run(self, caught_up: Callable[[], None]) -> None:
            self.caught_up_s += 10
            caught_up()

    followers = Followers([cast("Follower", Following(each)) for each in (100.0, 105.0)])
    shown: list[float] = []
    spy = SimpleNamespace(set=shown.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resolver.followers.FOLLOWED", spy)
        asyncio.run(followers.run())
    assert shown == [100.0, 105.0, 110.0]
