import pytest

from tests.resolver.api.calls import Api

PATH = "/api/verifications/301:88/USER"
QUERY = "nonce=bm9uY2U=&cnonce=Y24%3D&alg=SHA256&signature=c2ln"


def test_asking() -> None:
    api = Api()
    query = f"{QUERY}&salt=c2FsdA==&iterations=10000&length=160"
    answer = api.request("GET", f"{PATH}?{query}", scheme="http")
    found = {"responseCode": 1, "isValid": True, "handle": "88/USER"}
    assert (answer.status, answer.json) == (200, found)
    assert api.operations.verifications == [
        {
            "handle": b"88/USER",
            "index": 301,
            "nonce": b"nonce",
            "client_nonce": b"cn",
            "algorithm": "SHA256",
            "signature": b"sig",
            "salt": b"salt",
            "rounds": 10_000,
            "key_bits": 160,
        }
    ]


def test_answers() -> None:
    api = Api()
    api.operations.verification["holds"] = False
    assert api.request("GET", f"{PATH}?{QUERY}").json["isValid"] is False
    api.operations.verification = {"code": 301, "message": b"not here", "holds": False}
    answer = api.request("GET", f"{PATH}?{QUERY}")
    told = {"responseCode": 301, "message": "not here", "handle": "88/USER"}
    assert (answer.status, answer.json) == (400, told)


def test_the_index_may_be_a_parameter_and_all_of_them_a_body() -> None:
    api = Api()
    assert api.request("GET", f"/api/verifications/88/USER?index=301&{QUERY}").status == 200
    members = {"nonce": "bm9uY2U", "cnonce": "Y24=", "alg": "SHA256", "signature": "c2ln"}
    assert api.send_json("POST", PATH, members).json["isValid"] is True
    assert [each["index"] for each in api.operations.verifications] == [301, 301]
    assert api.operations.verifications[1]["nonce"] == b"nonce"


@pytest.mark.parametrize(
    "target",
    [
        "/api/verifications/88/USER?" + QUERY,
        "/api/verifications/301:?" + QUERY,
        f"{PATH}?index=301&{QUERY}",
        f"/api/verifications/88/USER?index=1&index=2&{QUERY}",
        "/api/verifications/99999999999:88/USER?" + QUERY,
        f"{PATH}?nonce=bm9uY2U=&cnonce=Y24=&alg=SHA256",
        f"{PATH}?nonce=bm9uY2U=&cnonce=Y24=&signature=c2ln",
        f"{PATH}?nonce=-&cnonce=Y24=&alg=SHA256&signature=c2ln",
        f"{PATH}?nonce={'A' * 1_372}&cnonce=Y24=&alg=SHA256&signature=c2ln",
        f"{PATH}?{QUERY}&iterations=-1",
        f"{PATH}?{QUERY}&salt=",
    ],
)
def test_what_cannot_be_read(target: str) -> None:
    api = Api()
    assert api.request("GET", target).status == 400
    assert api.operations.verifications == []
