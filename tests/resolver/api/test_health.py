import pytest

from tests.resolver.api.calls import Api


def test_a_process_that_answers_is_alive() -> None:
    answer = Api().request("GET", "/healthz", scheme="http")
    assert (answer.status, answer.body) == (200, b"ok\n")


def test_a_node_is_ready_or_says_why_not() -> None:
    api = Api()
    api.operations.state |= {"read_only": "the disk is nearly full", "prefixes": ["0.NA/88"]}
    answer = api.request("GET", "/readyz")
    assert answer.status == 200
    assert answer.json == {"ready": True, "role": "top", "read_only": "the disk is nearly full"}
    api.operations.state["ready"] = False
    assert api.request("GET", "/readyz").status == 503


@pytest.mark.parametrize(
    ("client", "status"),
    [
        ("127.0.0.5", 200),
        ("::ffff:127.0.0.1", 200),
        ("192.0.2.1", 403),
        ("::1", 403),
        ("2001:db8::5", 200),
        ("nobody", 403),
    ],
)
def test_metrics_are_for_the_networks_configured(client: str, status: int) -> None:
    api = Api(metrics_allow=("127.0.0.0/8", "2001:db8::/32"))
    answer = api.request("GET", "/metrics", client=client)
    assert answer.status == status
    assert (b"biaoshi_requests" in answer.body) == (status == 200)
