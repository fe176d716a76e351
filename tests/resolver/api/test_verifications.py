import pytest

from tests.resolver.api.calls import Api

PATH = "/api/verifications/301:88/USER"
QUERY = "nonce=bm9uY2U=&cnonce=Y24%3D&alg=SHA256&signature=c2ln"


def test_asking() -> None:
    api = Api()
    query = f"{QUERY}&salt=c2FsdA==&iterations=10000&length=160"
    answer = api.request("GET", f"{PATH}?{query}", scheme="http")
    assert (answer.status, answer.json) == (200, {"responseCode": 1, "verificationResult": True})
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
    assert api.request("GET", f"{PATH}?{QUERY}").json["verificationResult"] is False
    api.operations.verification = {"code": 301, "message": b"not here", "holds": False}
    answer = api.request("GET", f"{PATH}?{QUERY}")
    assert (answer.status, answer.json) == (400, {"responseCode": 301, "message": "not here"})


@pytest.mark.parametrize(
    "target",
    [
        "/api/verifications/88/USER?" + QUERY,
        "/api/verifications/301:?" + QUERY,
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
