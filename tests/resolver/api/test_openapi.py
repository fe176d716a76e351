import gzip
import json
import re

import pytest
from starlette.routing import Route

from resolver.api.endpoints import REFUSALS
from resolver.api.errors import _STATUS
from resolver.api.routes import ENDPOINTS
from tests.resolver.api.calls import Api

# Not endpoints: the answer to paths that are none, and other spellings of paths.
NOT_SHOWN = {"/api/{rest:path}", "/api/handles/", "/api/prefixes/0.NA/{prefix}"}


def document() -> dict[str, dict[str, dict[str, object]]]:
    answer = Api().request("GET", "/api/openapi.json", scheme="http")
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "*")
    found: dict[str, dict[str, dict[str, object]]] = answer.json
    return found


def test_every_route_is_described_and_what_is_described_is_routed() -> None:
    routed = {
        (method, route.path.replace(":path}", "}"))
        for route in Api().app.routes
        if isinstance(route, Route) and route.path.startswith("/api") and route.methods
        for method in route.methods - {"HEAD"}
        if route.path not in NOT_SHOWN
    }
    paths = document()["paths"]
    described = {(method.upper(), path) for path, item in paths.items() for method in item}
    assert described == routed


def test_no_path_hides_another() -> None:
    app = Api().app
    for endpoint in ENDPOINTS:
        path = re.sub(r"\{[^}]*\}", "1", endpoint.path)
        scope = {"type": "http", "path": path, "method": endpoint.method, "root_path": ""}
        routes = [route for route in app.routes if isinstance(route, Route)]
        first = next(each for each in routes if each.matches(scope)[0].value == 2)
        assert first.endpoint is endpoint.function, endpoint


def test_every_reference_leads_somewhere_and_names_are_unique() -> None:
    found = document()
    text = json.dumps(found)
    for path in set(re.findall(r'"#/([^"]+)"', text)):
        place: object = found
        for name in path.split("/"):
            assert isinstance(place, dict)
            assert name in place, path
            place = place[name]
    names = re.findall(r'"operationId": ?"([^"]+)"', text)
    assert len(names) == len(set(names)) == len(ENDPOINTS)


def test_every_status_of_a_response_code_is_described() -> None:
    assert {*_STATUS.values(), 500} - {200} <= set(REFUSALS)


def test_parameters_of_paths_are_those_in_the_path() -> None:
    for endpoint in ENDPOINTS:
        named = {each.name for each in endpoint.parameters if each.place == "path"}
        assert named == set(re.findall(r"\{(\w+)", endpoint.path)), endpoint


def test_the_page_loads_nothing_from_elsewhere() -> None:
    answer = Api().request("GET", "/api/docs")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html;charset=UTF-8")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = answer.body.decode()
    assert "://" not in page
    loaded = re.findall(r'(?:src|href)="(docs/[^"]+)"', page)
    assert len(loaded) == 3
    for name in loaded:
        assert Api().request("GET", f"/api/{name}").status == 200


@pytest.mark.parametrize("name", ["swagger-ui-bundle.js", "swagger-ui.css"])
def test_files_of_the_page_come_compressed_to_whoever_takes_that(name: str) -> None:
    plain = Api().request("GET", f"/api/docs/{name}")
    small = Api().request("GET", f"/api/docs/{name}", headers={"accept-encoding": "gzip, br"})
    assert small.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(small.body) == plain.body


def test_other_files_are_not_there() -> None:
    for name in ("README.md", "..%2Fdocs.py", "page.js.gz"):
        assert Api().request("GET", f"/api/docs/{name}").status == 404


def test_a_method_that_a_path_has_not_is_told_those_it_has() -> None:
    for method, path, allowed in (
        ("GET", "/api/ranges/split", "POST, OPTIONS"),
        ("PATCH", "/api/handles/88.118/x", "DELETE, GET, HEAD, POST, PUT, OPTIONS"),
    ):
        answer = Api().request(method, path)
        assert (answer.status, answer.headers["allow"]) == (405, allowed)
        preflight = Api().request("OPTIONS", path)
        assert (preflight.status, preflight.headers["allow"]) == (204, allowed)
    assert Api().request("GET", "/api/nothing").status == 404
