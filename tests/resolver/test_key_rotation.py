"""A server key is replaced: every crash between two steps leaves a node that serves."""

import dataclasses
import ipaddress
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol.key_files import PrivateKey, encode_private_key
from protocol.types.hs_pubkey import encode_public_key
from protocol.types.hs_site import HsSite
from resolver import key_rotation, node_files
from resolver.config import Config, NodeRole
from resolver.key_rotation import (
    OVERLAP_S,
    RotationError,
    find_rotation,
    next_serial,
    note_published,
    published_s,
    retire_keys,
    rotate_key,
)
from resolver.node import Node, load_node
from resolver.node_files import (
    Delegation,
    NodeFilesError,
    NodeFolder,
    make_site,
    read_bootstrap,
    read_delegation,
    read_site,
    write_bootstrap,
    write_delegation,
    write_key_pair,
    write_site,
)
from tests.resolver.network import server_key

ADDRESS = [ipaddress.ip_address("127.0.0.1")]


@pytest.fixture
def folder(tmp_path: Path) -> NodeFolder:
    """A secondary's folder: its root is another node."""
    made = NodeFolder(tmp_path)
    public = write_key_pair(made.server_key, made.server_public_key, server_key(0))
    site = make_site(public, ADDRESS, 2641, 8000, description="x", serial=7)
    write_site(made.site, site)
    write_bootstrap(made.bootstrap, [site, site_of(server_key(5))])
    write_delegation(made.delegation, Delegation("88.118", "secondary", site, public))
    return made


def site_of(key: PrivateKey) -> HsSite:
    data = encode_public_key(key.public_key())
    return make_site(data, ADDRESS, 2641, 8000, description="another")


def load(folder: NodeFolder) -> Node:
    return load_node(Config(role=NodeRole.SECONDARY, data_dir=str(folder.path)))


def rotate(folder: NodeFolder) -> None:
    rotate_key(folder, lambda: server_key(1))


def same(key: PrivateKey, number: int) -> bool:
    return key.public_key() == server_key(number).public_key()


def check_rotated(folder: NodeFolder) -> None:
    node = load(folder)
    public = encode_public_key(server_key(1).public_key())
    assert (node.site.serial, node.public_key) == (8, public)
    assert same(node.signing_key(7), 0)
    for serial in (8, 6, 9, 0xFFFF, 0):
        assert same(node.signing_key(serial), 1)
    assert folder.server_key.read_bytes() == encode_private_key(server_key(1))
    assert folder.server_key.stat().st_mode & 0o777 == 0o600
    assert folder.server_public_key.read_bytes() == public
    assert read_delegation(folder.delegation).site == node.site
    assert read_bootstrap(folder.bootstrap) == (node.site, site_of(server_key(5)))
    assert not folder.new_server_key.exists()
    assert not [each for each in folder.path.iterdir() if each.suffix == ".part"]
    kept = {path.name: path.stat().st_mode & 0o777 for path in folder.earlier_keys.iterdir()}
    assert kept == {"7-site.json": 0o644, "7-key.bin": 0o600}


def test_a_key_is_replaced(folder: NodeFolder) -> None:
    rotate(folder)
    check_rotated(folder)
    rotation = find_rotation(folder)
    assert not rotation.is_unfinished
    assert [serial for serial, _ in rotation.signing] == [7]


class Killed(BaseException):
    pass


def dying_at(step: int, act: Callable[..., Any], steps: Iterator[int]) -> Callable[..., Any]:
    def counted(*arguments: Any, **named: Any) -> Any:
        if next(steps) == step:
            raise Killed
        return act(*arguments, **named)

    return counted


@pytest.mark.parametrize("step", range(9))
def test_a_crash_before_each_step(
    folder: NodeFolder, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Before each file is put in place; the last step is one more than there are."""
    steps = itertools.count()
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", dying_at(step, os.replace, steps))
        try:
            rotate(folder)
        except Killed:
            pass
        else:
            assert step == 8
    node = load(folder)
    is_decided = step > 3
    assert node.site.serial == (8 if is_decided else 7)
    assert same(node.private_key, 1 if is_decided else 0)
    assert same(node.signing_key(7), 0)
    assert find_rotation(folder).is_unfinished == (2 < step < 8)
    if step < 8:
        rotate(folder)
    check_rotated(folder)


def test_files_are_durable_in_their_order(
    folder: NodeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    replace, sync = os.replace, node_files.sync_folder

    def note(source: Any, target: Any) -> None:
        replace(source, target)
        done.append(Path(target).name)

    def note_sync(path: Path) -> None:
        sync(path)
        done.append("sync")

    monkeypatch.setattr(os, "replace", note)
    for module in (node_files, key_rotation):
        monkeypatch.setattr(module, "sync_folder", note_sync)
    rotate(folder)
    names = [each for each in done if each != "sync"]
    assert names[:4] == ["7-key.bin", "7-site.json", "server-key.new.bin", "site.json"]
    assert names[-1] == "server-key.bin"
    assert all(done[done.index(name) + 1] == "sync" for name in names)


def test_what_cannot_be_read_is_told_before_anything_is_decided(folder: NodeFolder) -> None:
    folder.delegation.write_text("{")
    with pytest.raises(NodeFilesError, match=r"delegation\.json"):
        rotate(folder)
    assert load(folder).site.serial == 7
    folder.delegation.unlink()
    folder.bootstrap.unlink()
    rotate(folder)
    assert load(folder).site.serial == 8


def test_one_overlap_at_a_time(folder: NodeFolder) -> None:
    rotate(folder)
    with pytest.raises(RotationError, match="serial 7 still signs"):
        rotate(folder)


def test_an_earlier_key_is_retired_when_clients_know_the_new_site(folder: NodeFolder) -> None:
    rotate(folder)
    ((_, rotated_s),) = find_rotation(folder).signing
    with pytest.raises(RotationError, match="serial 8 was not published"):
        retire_keys(folder, now_s=rotated_s + 9 * OVERLAP_S)
    note_published(folder, 8)
    since_s = published_s(folder, 8)
    assert since_s is not None
    assert published_s(folder, 7) is None
    with pytest.raises(RotationError, match="clients may know no other"):
        retire_keys(folder, now_s=since_s + OVERLAP_S - 60)
    assert retire_keys(folder, now_s=since_s + OVERLAP_S) == (7,)
    node = load(folder)
    assert same(node.signing_key(7), 1)
    old = encode_public_key(server_key(0).public_key())
    assert [each.public_key for each in node.earlier_keys] == [old]
    assert retire_keys(folder, now_s=since_s) == ()
    rotate_key(folder, lambda: server_key(2))
    assert load(folder).site.serial == 9


def test_a_node_that_is_published_nowhere_counts_from_the_rotation(folder: NodeFolder) -> None:
    rotate(folder)
    ((_, since_s),) = find_rotation(folder).signing
    with pytest.raises(RotationError, match="clients may know no other"):
        retire_keys(folder, now_s=since_s + OVERLAP_S - 60, is_published=False)
    assert retire_keys(folder, now_s=since_s + OVERLAP_S, is_published=False) == (7,)


def test_retiring_at_once(folder: NodeFolder) -> None:
    rotate(folder)
    assert retire_keys(folder, now_s=0, at_once=True) == (7,)


def test_nothing_is_retired_before_the_new_key_is_in_place(folder: NodeFolder) -> None:
    folder.new_server_key.write_bytes(encode_private_key(server_key(1)))
    with pytest.raises(RotationError, match="not in place"):
        retire_keys(folder, now_s=0, at_once=True)


@pytest.mark.parametrize(
    ("serial", "following"), [(1, 2), (0xFFFE, 1), (0xFFFD, 0xFFFE), (0xFFFF, 1), (0, 1)]
)
def test_serials_count_up_and_never_mean_unknown(serial: int, following: int) -> None:
    assert next_serial(serial) == following


def test_a_key_that_no_site_names_signs_nothing(folder: NodeFolder) -> None:
    folder.server_key.write_bytes(encode_private_key(server_key(3)))
    with pytest.raises(NodeFilesError, match="names another key than"):
        load(folder)


def test_an_earlier_key_without_its_site_signs_nothing(folder: NodeFolder) -> None:
    rotate(folder)
    (folder.earlier_keys / "3-key.bin").write_bytes(encode_private_key(server_key(3)))
    assert same(load(folder).signing_key(3), 1)
    (folder.earlier_keys / "7-key.bin").write_bytes(encode_private_key(server_key(3)))
    with pytest.raises(NodeFilesError, match="7-key"):
        load(folder)


def test_a_rival_is_refused(folder: NodeFolder) -> None:
    with key_rotation._alone(folder), pytest.raises(RotationError, match="another process"):
        rotate(folder)
    rotate(folder)


def test_only_our_server_of_a_site_gets_the_key(folder: NodeFolder) -> None:
    site = read_site(folder.site)
    other = dataclasses.replace(
        site.servers[0], id=2, public_key=encode_public_key(server_key(4).public_key())
    )
    folder.site.unlink()
    write_site(folder.site, dataclasses.replace(site, servers=(site.servers[0], other)))
    rotate(folder)
    keys = [each.public_key for each in read_site(folder.site).servers]
    assert keys == [encode_public_key(server_key(1).public_key()), other.public_key]
