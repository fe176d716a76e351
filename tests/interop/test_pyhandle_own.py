"""PYHANDLE's own integration tests, those that need only a Handle server, against a running node.

They ship inside the package and read what to ask from a file beside them, so they are copied to a
folder where we may write that file. The node shows its own certificate, made from its server key.
"""

import ast
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyhandle
import pytest

from tests.interop import foreign_wire as wire
from tests.interop.conftest import SECRET, Stand
from tests.interop.foreign_wire import Value, admin_data, pack_str
from tests.nodes import ADDRESS

TESTS = Path(pyhandle.__file__).parent / "tests"
RUNNER = Path(__file__).with_name("pyhandle_runner.py")
VALUES_FILE = "testvalues_for_integration_tests_IGNORE.json"
# What their records name as administrator, so it has to exist.
PREFIX = b"21.T14999"
USER = PREFIX + b"/B2HANDLE_INTEGRATION_TESTS"
USER_INDEX = 300
READ_HANDLE = PREFIX + b"/READ"
# As their own set-up writes it, in the order of Handle.Net, by index: a test counts on it.
READ_VALUES = ((4, b"TEST4"), (100, b""), (111, b"TEST1"), (333, b"TEST3"), (2222, b"TEST2"))
TIMEOUT_S = 120

READ = "RESTHandleClientReadaccessTestCase"
WRITE = "RESTHandleClientWriteaccessTestCase"
SEARCH = "RESTTHandleClientSearchTestCase"
NEEDS_PUBLIC_RESOLVER = "asks the public resolver, whose address is built into it"
NEEDS_SERVLET = "needs answers of the reverse-lookup servlet, which is no part of a Handle server"
LEFT_OUT = {
    f"{READ}.test_global_resolve": NEEDS_PUBLIC_RESOLVER,
    f"{SEARCH}.test_search_handle_emptylist": NEEDS_SERVLET,
    f"{SEARCH}.test_search_handle_for_checksum": NEEDS_SERVLET,
    f"{SEARCH}.test_search_handle_for_url": NEEDS_SERVLET,
    f"{SEARCH}.test_search_handle_for_url_and_checksum": NEEDS_SERVLET,
    f"{SEARCH}.test_search_handle_prefixfilter": NEEDS_SERVLET,
}
# These fail inside PYHANDLE whatever the server says; the words are of how they fail. When a newer
# PYHANDLE mends one, its test here fails, and it moves to the others.
NO_CLIENT_NAMED = (
    "Client not provided or empty"  # credentials need a field that the test leaves out
)
OUTDATED = {
    f"{READ}.test_instantiate_with_credentials": NO_CLIENT_NAMED,
    f"{READ}.test_instantiate_with_credentials_config": NO_CLIENT_NAMED,
    f"{READ}.test_instantiate_with_credentials_config_override": NO_CLIENT_NAMED,
    f"{READ}.test_instantiate_with_credentials_inexistentuser": NO_CLIENT_NAMED,
    # Both ask for what PYHANDLE no longer has; the second sends a list as data, and then asks a
    # method that is gone.
    f"{WRITE}.test_register_handle": 'No support for argument "additional_URLs"',
    f"{WRITE}.test_generate_and_register_handle": "must be an object, not an array",
    # It expects None; the client raises for the answer 404 with code 100, which is Handle.Net's.
    f"{WRITE}.test_delete_handle_inexistent": "HandleNotFoundException",
}


def names_of_tests() -> list[str]:
    """Every integration test of the installed package, as its source has it."""
    names = []
    for path in sorted((TESTS / "testcases").glob("*_integration_test.py")):
        for each in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(each, ast.ClassDef):
                methods = (item.name for item in each.body if isinstance(item, ast.FunctionDef))
                names += [f"{each.name}.{name}" for name in methods if name.startswith("test_")]
    return names


@pytest.fixture(scope="module")
def ended(top: Stand, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """How each of the tests ended."""
    make_user(top)
    folder = tmp_path_factory.mktemp("pyhandle")
    shutil.copytree(TESTS / "testcases", folder / "testcases")
    (folder / "resources").mkdir()
    values = json.dumps(values_for(top))
    (folder / "resources" / VALUES_FILE).write_text(values, encoding="utf-8")
    words = [sys.executable, "-W", "ignore", str(RUNNER), str(folder), *LEFT_OUT]
    run = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, str] = json.loads(run.stdout)
    return found


def make_user(top: Stand) -> None:
    """Home their prefix; make the administrator who has a password, and the handle they read."""
    rule = Value(101, b"HS_ADMIN", admin_data(USER, USER_INDEX))
    secret = Value(USER_INDEX, b"HS_SECKEY", SECRET, permissions=0b1100)
    read = [
        Value(index, type_, b"val" + type_[-1:]) if type_ else replace(rule, index=index)
        for index, type_ in READ_VALUES
    ]
    site = top.client.resolve(b"0.NA/88", (b"HS_SITE",)).values[0]
    home = top.client.perform(wire.HOME, pack_str(b"0.NA/" + PREFIX), top.admin)
    assert home.code == 1, home
    records = {b"0.NA/" + PREFIX: [site, top.admin_value(), rule], USER: [secret, rule]}
    for handle, values in {**records, READ_HANDLE: read}.items():
        answer = top.client.create(handle, values, top.admin)
        assert answer.code == 1, (handle, answer)


def values_for(top: Stand) -> dict[str, object]:
    """What the package's template of this file asks for."""
    url = f"https://{ADDRESS}:{top.node.http_port}"
    prefix = PREFIX.decode()
    return {
        "user": f"{USER_INDEX}:{USER.decode()}",
        "password": SECRET.decode(),
        "handle_server_url_read": url,
        "handle_server_url_write": url,
        "url_extension_REST_API": "/api/handles/",
        "reverselookup_username": "nobody",
        "reverselookup_password": "nothing",
        "reverselookup_baseuri": url,
        "reverselookup_baseuri_wrong": url,
        "reverselookup_url_extension": "/hrls/handles/",
        "handle_for_read_tests": READ_HANDLE.decode(),
        "handle_globally_resolvable": READ_HANDLE.decode(),
        "handle_to_be_created": f"{prefix}/CREATED",
        "handle_to_be_modified": f"{prefix}/MODIFIED",
        "HTTPS_verify": str(top.node.folder / "run" / "tls-certificate.pem"),
    }


def test_what_is_left_out_exists() -> None:
    assert {*LEFT_OUT, *OUTDATED} < set(names_of_tests())


RUN = [each for each in names_of_tests() if each not in LEFT_OUT and each not in OUTDATED]


@pytest.mark.parametrize("name", OUTDATED)
def test_outdated(ended: dict[str, str], name: str) -> None:
    assert OUTDATED[name] in ended[name]


@pytest.mark.parametrize("name", RUN)
def test_of_pyhandle(ended: dict[str, str], name: str) -> None:
    assert ended[name] == "passed", ended[name]
