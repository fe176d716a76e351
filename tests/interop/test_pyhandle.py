"""PYHANDLE, the Python client enterprises use, over HTTPS with the certificate checked."""

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from pyhandle.clientcredentials import PIDClientCredentials
from pyhandle.handleclient import PyHandleClient
from pyhandle.handleexceptions import (
    HandleAlreadyExistsException,
    HandleAuthenticationError,
    HandleNotFoundException,
)

from tests.interop.conftest import HttpsStand


@pytest.fixture
def client(https_node: HttpsStand) -> Any:
    return log_in(https_node, https_node.password)


def log_in(node: HttpsStand, password: str) -> Any:
    return PyHandleClient("rest").instantiate_with_username_and_password(
        node.https_url,
        node.user,
        password,
        HTTPS_verify=str(node.authority.path),
        handleowner=node.user,
    )


@pytest.fixture
def handle(https_node: HttpsStand) -> str:
    return https_node.fresh("PY").decode()


def test_life_of_a_handle(client: Any, handle: str) -> None:
    made = client.register_handle(handle, location="https://example.org/一", DESC="标识 1")
    assert made == handle
    record = client.retrieve_handle_record(handle)
    assert (record["URL"], record["DESC"]) == ("https://example.org/一", "标识 1")
    client.modify_handle_value(handle, URL="https://example.org/2", OWNER="a maker")
    assert client.get_value_from_handle(handle, "URL") == "https://example.org/2"
    assert client.get_value_from_handle(handle, "OWNER") == "a maker"
    client.delete_handle_value(handle, "OWNER")
    assert client.get_value_from_handle(handle, "OWNER") is None
    assert client.get_value_from_handle(handle, "DESC") == "标识 1"
    client.delete_handle(handle)
    assert client.retrieve_handle_record(handle) is None


def test_what_exists_is_not_replaced_unless_told_to(client: Any, handle: str) -> None:
    client.register_handle(handle, location="https://example.org/1")
    with pytest.raises(HandleAlreadyExistsException):
        client.register_handle(handle, location="https://example.org/2")
    assert client.get_value_from_handle(handle, "URL") == "https://example.org/1"
    client.register_handle(handle, location="https://example.org/2", overwrite=True)
    assert client.get_value_from_handle(handle, "URL") == "https://example.org/2"


def test_a_record_as_json(client: Any, handle: str) -> None:
    client.register_handle(handle, location="https://example.org/1")
    record = client.retrieve_handle_record_json(handle)
    assert (record["responseCode"], record["handle"]) == (1, handle)
    values = {value["type"]: value for value in record["values"]}
    assert values["URL"]["data"] == {"format": "string", "value": "https://example.org/1"}
    assert values["HS_ADMIN"]["data"]["format"] == "admin"
    assert values["HS_ADMIN"]["data"]["value"]["permissions"] == "011111110011"


def test_a_name_made_up_by_the_client(client: Any, https_node: HttpsStand) -> None:
    prefix = https_node.prefix.decode()
    made = client.generate_and_register_handle(prefix, "https://example.org/", checksum="a1b2")
    assert made.startswith(prefix + "/")
    assert client.get_value_from_handle(made, "CHECKSUM") == "a1b2"


def test_deleting_what_is_not_there(client: Any, handle: str) -> None:
    with pytest.raises(HandleNotFoundException):
        client.modify_handle_value(handle, URL="https://example.org/")


def test_a_wrong_password_writes_nothing(https_node: HttpsStand, client: Any, handle: str) -> None:
    with pytest.raises(HandleAuthenticationError):
        log_in(https_node, "guess").register_handle(handle, location="https://example.org/")
    assert client.retrieve_handle_record(handle) is None


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # PYHANDLE leaves it open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_credentials_from_a_file(https_node: HttpsStand, tmp_path: Path, handle: str) -> None:
    path = tmp_path / "credentials.json"
    fields = {
        "client": "rest",
        "handle_server_url": https_node.https_url,
        "username": https_node.user,
        "password": https_node.password,
        "handleowner": https_node.user,
        "HTTPS_verify": str(https_node.authority.path),
    }
    path.write_text(json.dumps(fields), encoding="utf-8")
    credentials = PIDClientCredentials.load_from_JSON(str(path))
    client = PyHandleClient("rest").instantiate_with_credentials(credentials)
    client.register_handle(handle, location="https://example.org/")
    assert client.get_value_from_handle(handle, "URL") == "https://example.org/"


def test_the_certificate_is_really_checked(https_node: HttpsStand) -> None:
    client = PyHandleClient("rest").instantiate_for_read_access(
        handle_server_url=https_node.https_url, HTTPS_verify=True
    )
    with pytest.raises(requests.exceptions.SSLError):
        client.retrieve_handle_record("88/USER")
