"""The node's own site record over REST: GET /api/site."""

from starlette.requests import Request
from starlette.responses import Response

from protocol.bodies import HandleRequest, SiteInfoAnswer
from protocol.codes import OpCode
from protocol.json_sites import site_to_json
from protocol.types.hs_site import decode_hs_site
from resolver.api.answers import json_response, result_response
from resolver.api.context import context_of, peer_of
from resolver.api.parameters import query_parameters

SITE_INFO_HANDLE = b"/"  # what existing clients put into the handle of a GET_SITE_INFO


async def get_site(request: Request) -> Response:
    """GET /api/site."""
    query_parameters(request).flag("pretty", False)  # `json_response` would let anything be
    result = await context_of(request).operations.perform(
        OpCode.GET_SITE_INFO, HandleRequest(SITE_INFO_HANDLE), 0, None, peer_of(request)
    )
    if not isinstance(result.body, SiteInfoAnswer):
        return result_response(request, SITE_INFO_HANDLE, result)
    site = site_to_json(decode_hs_site(result.body.site))
    return json_response(request, {"responseCode": int(result.response_code), "site": site})
