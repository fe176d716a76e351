import json
from pathlib import Path

from protocol.bodies import SiteInfoAnswer
from protocol.codes import OpCode, ResponseCode
from protocol.json_sites import site_from_json
from resolver.query import Result
from tests.resolver.api.calls import Api, FakeOperations, refused

SITE = Path(__file__).parents[2] / "vectors" / "siteinfo.json"


def test_the_site_is_shown_as_existing_tools_write_it() -> None:
    recorded = json.loads(SITE.read_text("utf-8"))
    site = site_from_json(recorded)
    api = Api(FakeOperations(Result(ResponseCode.SUCCESS, SiteInfoAnswer(site.encode()))))
    answer = api.request("GET", "/api/site", scheme="http")
    assert answer.json == {"responseCode": 1, "site": recorded}
    assert api.call.opcode == OpCode.GET_SITE_INFO


def test_a_site_that_cannot_be_had_is_an_error() -> None:
    answer = Api(FakeOperations(refused(ResponseCode.ERROR, b"no"))).request("GET", "/api/site")
    assert (answer.status, answer.json["message"]) == (500, "no")
