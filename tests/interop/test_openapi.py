"""schemathesis against a running node, as its administrator: what is described is what is answered.

`make api-check` runs more of it, for some minutes.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.interop.conftest import SECRET_INDEX, stand
from tests.interop.foreign_wire import Value, admin_data
from tests.nodes import ADDRESS, Node, make_node, running

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
USER = f"{SECRET_INDEX}:88/USER"
SECRET = "open sesame"
EXAMPLES = 3
PHASES = "fuzzing"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that anything may be done to."""
    tables: dict[str, dict[str, object]] = {
        "tls": {"allow_plain_credentials_on_loopback": True},
        "roles": {"administrators": ["300:0.NA/0.NA", USER], "reviewers": [USER]},
    }
    with running(make_node(tmp_path_factory.mktemp("openapi") / "node", tables=tables)) as node:
        place = stand(node)
        secret = Value(SECRET_INDEX, b"HS_SECKEY", SECRET.encode(), permissions=0b1100)
        rule = Value(101, b"HS_ADMIN", admin_data(b"88/USER", SECRET_INDEX))
        assert place.client.create(b"88/USER", [secret, rule], place.admin).code == 1
        yield node


def test_schemathesis_finds_nothing(node: Node, tmp_path: Path) -> None:
    examples = os.environ.get("BIAOSHI_API_EXAMPLES", str(EXAMPLES))
    phases = os.environ.get("BIAOSHI_API_PHASES", PHASES)
    ended = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-m", "schemathesis.cli"),
            *("--config-file", str(CONFIGURATION), "run"),
            f"http://{ADDRESS}:{node.http_port}/api/openapi.json",
            *("--auth", f"{quote(USER, safe='')}:{SECRET}"),
            *("--phases", phases, "--max-examples", examples, "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    tested = re.search(r"Tested: (\d+)", ended.stdout)
    assert tested is not None, ended.stdout
    assert int(tested[1]) > 50
    assert "Traceback" not in node.log
