import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from resolver.config import Config, ConfigError, NodeRole, config_from_table, load_config

EXAMPLE = Path(__file__).parents[2] / "deploy" / "config" / "biaoshi.example.toml"


def problems_of(table: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config_from_table(table, Path("/data"))
    return caught.value.problems


def test_the_example_shows_every_key_with_its_default() -> None:
    config = Config(role=NodeRole.ENTERPRISE)
    shown = tomllib.loads(EXAMPLE.read_text())
    assert shown == msgspec.json.decode(msgspec.json.encode(config))
    assert load_config(EXAMPLE) == msgspec.structs.replace(
        config, data_dir=str(EXAMPLE.resolve().parent)
    )


def test_the_example_explains_every_table() -> None:
    lines = EXAMPLE.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"\[|role", line):
            assert lines[number - 1].startswith("#") or lines[number + 1].startswith("#"), line


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    path = tmp_path / "biaoshi.toml"
    path.write_text('role = "top"\ndata_dir = "data"\n')
    config = load_config(path)
    assert config.folder == tmp_path.resolve() / "data"
    assert config.store_folder == config.folder / "store"
    assert config.cache_folder == config.folder / "cache"
    assert config.link_path.parent == config.run_folder
    assert config.metrics_folder.parent == config.run_folder
    assert config.bootstrap_path == config.folder / "bootstrap.json"


@pytest.mark.parametrize(
    ("role", "registers"),
    [("top", True), ("secondary", True), ("enterprise", True), ("recursive", False)],
)
def test_all_roles_but_the_recursive_register(role: str, registers: bool) -> None:
    assert config_from_table({"role": role}, Path("/data")).role.registers == registers


def test_all_mistakes_are_told_at_once() -> None:
    table = {
        "rol": "top",
        "listen": {"http_port": 0, "handle_prt": 1, "addresses": ["localhost"]},
        "commit": 3,
        "log": {"level": "loud"},
        "roles": {"peers": ["0.NA/88"]},
        "mirrors": {"name": "0.NA/88"},
    }
    problems = problems_of(table)
    assert problems == [
        "rol is not a known key: did you mean role?",
        "listen.http_port is 0: expected int >= 1",
        "listen.handle_prt is not a known key: did you mean handle_port?",
        "commit is 3: write it as a table, [commit]",
        "log.level is 'loud': set it to one of debug, info, warning, error",
        "role is missing: set it to one of top, secondary, enterprise, recursive",
        "listen.addresses has 'localhost': write an IPv4 or IPv6 address",
        'roles.peers: an identity is written as "300:0.NA/88.118", not "0.NA/88"',
        "mirrors.name is '0.NA/88': write \"sources\", or the HS_SITE value that mirrors read, "
        'such as "3:0.NA/88.118"',
    ]


def test_contradictions_are_told_at_once() -> None:
    table = {
        "role": "top",
        "listen": {"addresses": ["localhost"], "handle_port": 8000},
        "tls": {"key": "key.pem"},
        "upstream": {"udp_timeouts_ms": []},
        "roles": {"peers": ["0.NA/88", "300:0.NA/88"]},
        "metrics": {"allow": ["127.0.0.1/8"]},
        "limits": {"connections_max": 5},
    }
    problems = problems_of(table)
    assert len(problems) == 7
    for part in (
        "listen.addresses has 'localhost'",
        "listen.http_port is 8000, as handle_port is",
        "tls.certificate and tls.key go together",
        "udp_timeouts_ms is empty",
        'roles.peers: an identity is written as "300:0.NA/88.118", not "0.NA/88"',
        "metrics.allow has '127.0.0.1/8'",
        "limits.connections_per_address_max is larger than limits.connections_max",
    ):
        assert any(part in problem for problem in problems), part


@pytest.mark.parametrize("role", [{}, {"role": "queen"}, {"role": 7}])
def test_a_mistaken_role_hides_no_contradiction(role: dict[str, Any]) -> None:
    table = role | {"tls": {"key": "key.pem"}, "limits": {"connections_max": 5}}
    first, *others = problems_of(table)
    assert first.startswith("role is ")
    assert len(others) == 2
    assert others[0].startswith("tls.certificate and tls.key go together")


@pytest.mark.parametrize(
    ("network", "advice"),
    [("127.0.0.1/8", "write 127.0.0.0/8"), ("x", "write an IPv4 or IPv6 network, such as")],
)
def test_a_network_that_is_none_is_said_once(network: str, advice: str) -> None:
    (problem,) = problems_of({"role": "top", "metrics": {"allow": [network]}})
    assert advice in problem
    assert problem.count(repr(network)) == 1


def test_no_address_is_a_mistake() -> None:
    (problem,) = problems_of({"role": "top", "listen": {"addresses": []}})
    assert problem.startswith("listen.addresses is empty")


def test_an_unknown_key_that_resembles_none_gets_the_list() -> None:
    (problem,) = problems_of({"role": "top", "commit": {"zzz": 1}})
    assert problem == (
        "commit.zzz is not a known key: known here are operations_max, queue_max, window_ms"
    )


def test_a_file_that_is_not_toml_is_told(tmp_path: Path) -> None:
    path = tmp_path / "biaoshi.toml"
    path.write_text("role = top")
    with pytest.raises(ConfigError, match=r"biaoshi\.toml is not TOML: .*line 1"):
        load_config(path)


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(tmp_path / "biaoshi.toml")


def test_a_mistake_does_not_hide_a_contradiction() -> None:
    table = {
        "role": "top",
        "log": {"format": "xml"},
        "tls": {"certificate": "a.pem"},
        "roles": {"administrators": ["nobody"]},
    }
    problems = problems_of(table)
    assert problems[0] == "log.format is 'xml': set it to one of text, json"
    assert len(problems) == 3
    assert any(each.startswith("tls.certificate and tls.key") for each in problems)
    assert any(each.startswith("roles.administrators") for each in problems)
