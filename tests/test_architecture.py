"""House law: which package may import which, and what a name or a file must not be.

`protocol` knows bytes, `registry` knows handles, `resolver` knows sockets.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("protocol", "registry", "resolver", "loadtest")
MAY_IMPORT = {
    "protocol": {"protocol"},
    "registry": {"protocol", "registry"},
    "resolver": {"protocol", "registry", "resolver"},
    "loadtest": {"protocol", "loadtest"},
}
FORBIDDEN_IN = {
    "protocol": {"socket", "asyncio", "time", "os", "pathlib", "lmdb", "random", "threading"},
    "registry": {"socket", "asyncio", "uvloop", "ssl", "http", "uvicorn", "starlette"},
}
VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: relative import in line {node.lineno}"
            yield str(node.module)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_along_the_arrows(package: str) -> None:
    assert sources(package), f"{package} has no sources"
    for source in sources(package):
        ours = {name.split(".")[0] for name in imports(source)} & {*PACKAGES, "tests"}
        assert ours <= MAY_IMPORT[package], f"{source.relative_to(ROOT)} imports {ours}"


@pytest.mark.parametrize("package", sorted(FORBIDDEN_IN))
def test_pure_packages_stay_pure(package: str) -> None:
    for source in sources(package):
        found = {name.split(".")[0] for name in imports(source)} & FORBIDDEN_IN[package]
        assert not found, f"{source.relative_to(ROOT)} imports {found}"


def test_lmdb_is_imported_in_one_file() -> None:
    users = {
        str(source.relative_to(ROOT))
        for package in PACKAGES
        for source in sources(package)
        if "lmdb" in {name.split(".")[0] for name in imports(source)}
    }
    assert users == {"registry/store.py"}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_is_vague_or_shadows_the_standard_library(package: str) -> None:
    for source in sources(package):
        if source.name.startswith("__"):
            continue
        assert source.stem not in VAGUE_NAMES, source
        assert source.stem not in sys.stdlib_module_names, source


@pytest.mark.parametrize("package", [*PACKAGES, "deploy", "tests"])
def test_every_package_opens_with_a_map(package: str) -> None:
    assert (ROOT / package / "README.md").read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_says_its_purpose(package: str) -> None:
    for source in sources(package):
        text = source.read_text(encoding="utf-8")
        if text.strip():
            assert ast.get_docstring(ast.parse(text)), f"{source.relative_to(ROOT)} has none"


def test_every_cited_rfc_section_has_the_one_form() -> None:
    for package in PACKAGES:
        for source in sources(package):
            for line in source.read_text(encoding="utf-8").splitlines():
                if "RFC 365" in line and "§" not in line:
                    assert "section" not in line.lower(), f"{source}: cite as RFC 3652 §2.2.2"


def loaded_by(statement: str) -> set[str]:
    """Return all modules that a new interpreter has imported after a statement."""
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(ended.stdout.split())


# What is imported before the first answer delays it; a node has half a second for all of it.
@pytest.mark.parametrize(
    ("statement", "never"),
    [
        (
            "import resolver.cli.main, resolver.cli.serve, resolver.supervisor",
            "resolver.worker lmdb",
        ),
        (
            "import resolver.worker",
            "resolver.http_part resolver.api resolver.tls starlette uvicorn",
        ),
        ("import resolver.worker", "resolver.upstream httpx typer rich"),
        (
            "import resolver.worker, resolver.http_part",
            "registry.act_steps registry.acts registry.admin registry.bulk registry.replay "
            "resolver.registrar resolver.operations resolver.group_commit resolver.upstream "
            "stdnum httpx typer rich",
        ),
    ],
)
def test_a_node_imports_little_before_it_answers(statement: str, never: str) -> None:
    loaded = loaded_by(statement)
    assert "resolver.supervisor" in loaded
    assert not loaded & set(never.split())
