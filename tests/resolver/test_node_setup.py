from ipaddress import ip_address
from pathlib import Path

import pytest

from protocol.types.hs_admin import decode_hs_admin
from protocol.types.hs_site import decode_hs_site
from protocol.value import Reference
from registry.store import Store
from registry.verify import verify
from resolver import node_setup
from resolver.config import NodeRole, load_config
from resolver.node_files import (
    NodeFilesError,
    NodeFolder,
    read_bootstrap,
    read_delegation,
    read_site,
)
from resolver.node_setup import NodePlan, check_prefix, delegation_values, make_node

NOW_S = 1_800_000_000
LOOPBACK = (ip_address("127.0.0.1"),)


def plan(folder: Path, role: NodeRole, prefix: str = "", root: Path | None = None) -> NodePlan:
    return NodePlan(
        role=role,
        prefix=prefix,
        folder=folder,
        listen=LOOPBACK,
        public=LOOPBACK,
        handle_port=2641,
        http_port=8000,
        root=root,
    )


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> NodeFolder:
    folder = tmp_path_factory.mktemp("nodes") / "top"
    return make_node(plan(folder, NodeRole.TOP, "88"), now_s=NOW_S)


def homed(folder: NodeFolder) -> list[bytes]:
    with Store.open(folder.store, readonly=True) as store, store.read() as view:
        return view.list_homed(None, 10).handles


def test_a_top_node_is_the_root(top: NodeFolder) -> None:
    assert homed(top) == [b"0.NA/0.NA", b"0.NA/88"]
    assert read_bootstrap(top.bootstrap) == (read_site(top.site),)
    with Store.open(top.store, readonly=True) as store, store.read() as view:
        records = dict(view.records())
    assert sorted(records) == [b"0.NA/0.NA", b"0.NA/88"]
    for record in records.values():
        admin = record.find_value(100)
        assert admin is not None
        assert decode_hs_admin(admin.data).admin == Reference(b"0.NA/0.NA", 300)
        site = record.find_value(1)
        assert site is not None
        assert decode_hs_site(site.data) == read_site(top.site)
    key = records[b"0.NA/0.NA"].find_value(300)
    assert key is not None
    assert key.data == top.admin_public_key.read_bytes()
    assert verify(top.store).problems == []


def test_its_configuration_names_its_administrator(top: NodeFolder) -> None:
    config = load_config(top.config)
    assert config.role is NodeRole.TOP
    assert config.roles.administrators == ("300:0.NA/0.NA",)
    assert config.folder == top.path


def test_a_secondary_answers_for_prefixes_below_its_own(top: NodeFolder, tmp_path: Path) -> None:
    node = plan(tmp_path / "s", NodeRole.SECONDARY, "88.118", top.bootstrap)
    folder = make_node(node, now_s=NOW_S)
    assert homed(folder) == [b"0.NA/0.NA/88.118", b"0.NA/88.118"]
    assert read_bootstrap(folder.bootstrap) == read_bootstrap(top.bootstrap)
    delegation = read_delegation(folder.delegation)
    assert delegation.admin_public_key == folder.admin_public_key.read_bytes()
    values = {value.index: value for value in delegation_values(delegation, now_s=NOW_S)}
    assert [(index, values[index].type) for index in values] == [
        (1, b"HS_SITE"),
        (2, b"HS_SITE.PREFIX"),
        (100, b"HS_ADMIN"),
        (300, b"HS_PUBKEY"),
    ]
    assert decode_hs_admin(values[100].data).admin == Reference(b"0.NA/88.118", 300)


def test_an_enterprise_is_not_delegated_to_from(top: NodeFolder, tmp_path: Path) -> None:
    node = plan(tmp_path / "e", NodeRole.ENTERPRISE, "88.118.ab", top.bootstrap)
    folder = make_node(node, now_s=NOW_S)
    assert homed(folder) == [b"0.NA/88.118.AB"]
    types = [
        value.type for value in delegation_values(read_delegation(folder.delegation), now_s=NOW_S)
    ]
    assert types == [b"HS_SITE", b"HS_ADMIN", b"HS_PUBKEY"]


def test_a_recursive_node_holds_nothing(top: NodeFolder, tmp_path: Path) -> None:
    node = plan(tmp_path / "r", NodeRole.RECURSIVE, root=top.bootstrap)
    folder = make_node(node, now_s=NOW_S)
    assert not folder.store.exists()
    assert not folder.admin_key.exists()
    assert not folder.delegation.exists()
    assert load_config(folder.config).roles.administrators == ()


def test_case_is_for_good(tmp_path: Path) -> None:
    node = NodePlan(
        role=NodeRole.TOP,
        prefix="88",
        folder=tmp_path / "t",
        listen=LOOPBACK,
        public=LOOPBACK,
        handle_port=2641,
        http_port=8000,
        root=None,
        case_sensitive=True,
    )
    folder = make_node(node, now_s=NOW_S)
    assert load_config(folder.config).case_sensitive
    with Store.open(folder.store, readonly=True, case_sensitive=True) as store:
        assert store.case_sensitive


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(NodeFilesError, match="exists and is not overwritten"):
        make_node(plan(tmp_path, NodeRole.TOP, "88"), now_s=NOW_S)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_node_that_failed_half_way_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object, **__: object) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(node_setup, "seed_store", explode)
    with pytest.raises(OSError, match="no space"):
        make_node(plan(tmp_path / "t", NodeRole.TOP, "88"), now_s=NOW_S)
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    "prefix", ["", ".", "88.", ".88", "88..5", "88/5", "8 8", 'x"', "x\\", "\n"]
)
def test_not_a_prefix(prefix: str) -> None:
    with pytest.raises(NodeFilesError, match="is not a prefix"):
        check_prefix(prefix)


@pytest.mark.parametrize("prefix", ["88", "88.118.5", "20.500.12345", "88.标识"])
def test_a_prefix(prefix: str) -> None:
    check_prefix(prefix)
