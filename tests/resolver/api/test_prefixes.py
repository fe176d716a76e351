import pytest

from protocol.bodies import ErrorAnswer, HandleListAnswer, HandleRequest
from protocol.codes import OpCode
from resolver.query import Result
from tests.resolver.api.calls import Api, FakeOperations

PLAIN = ErrorAnswer(b"")


def test_listing() -> None:
    api = Api(FakeOperations(Result(1, HandleListAnswer((b"0.NA/88", b"0.NA/88.118")))))
    answer = api.request("GET", "/api/prefixes")
    assert (answer.status, answer.json) == (
        200,
        {"responseCode": 1, "totalCount": "2", "prefixes": ["0.NA/88", "0.NA/88.118"]},
    )
    assert api.call[:2] == (OpCode.LIST_HOMED_NAS, HandleRequest(b"0.NA/0.NA"))


@pytest.mark.parametrize("name", ["88.119", "0.NA/88.119", "0.NA%2F88.119"])
@pytest.mark.parametrize(
    ("method", "opcode"), [("POST", OpCode.HOME_NA), ("DELETE", OpCode.UNHOME_NA)]
)
def test_homing(name: str, method: str, opcode: OpCode) -> None:
    api = Api(FakeOperations(Result(1, ErrorAnswer(None))))
    answer = api.request(method, f"/api/prefixes/{name}")
    assert (answer.status, answer.json["handle"]) == (200, "0.NA/88.119")
    assert api.call[:2] == (opcode, HandleRequest(b"0.NA/88.119"))


@pytest.mark.parametrize(("code", "status"), [(402, 401), (400, 403), (102, 400), (5, 501)])
def test_refusals(code: int, status: int) -> None:
    api = Api(FakeOperations(Result(code, PLAIN)))
    for method, path in (("GET", "/api/prefixes"), ("POST", "/api/prefixes/88.119")):
        answer = api.request(method, path)
        assert (answer.status, answer.json["responseCode"]) == (status, code)


def test_the_office_s_verbs_are_no_prefixes() -> None:
    api = Api()
    assert api.request("POST", "/api/prefixes/88.119/suspend").status == 200
    assert api.request("POST", "/api/prefixes/88.119/other").status == 404
    assert api.operations.calls == []


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_prefix_may_be_a_parameter(method: str) -> None:
    api = Api(FakeOperations(Result(1, ErrorAnswer(None))))
    assert api.send_json(method, "/api/prefixes", {"prefix": "0.NA/88.119"}).status == 200
    assert api.request(method, "/api/prefixes?prefix=88.119").status == 200
    assert [each.body for each in api.operations.calls] == [HandleRequest(b"0.NA/88.119")] * 2
    assert api.request(method, "/api/prefixes").status == 400


def test_prefixes_are_listed_by_page() -> None:
    found = HandleListAnswer((b"0.NA/1", b"0.NA/2", b"0.NA/3"))
    api = Api(FakeOperations(Result(1, found)))
    answer = api.request("GET", "/api/prefixes?page=1&pageSize=2")
    assert answer.json == {
        "responseCode": 1,
        "totalCount": "3",
        "page": 1,
        "pageSize": 2,
        "prefixes": ["0.NA/3"],
    }
    assert "page" not in api.request("GET", "/api/prefixes?page=-1&pageSize=-1").json
