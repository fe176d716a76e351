"""Was an answer to a challenge made with a secret key that this node holds?

    GET /api/verifications/{index:handle}?nonce=&cnonce=&alg=&signature=[&salt=&iterations=&length=]
        {"responseCode": 1, "isValid": true, "handle": "88.118/USER"}

POST with the parameters in the body does the same; the index may also stand in ?index=. They are
those of `Authorization: Handle`, nonce, cnonce, signature and salt in base64.
It is what VERIFY_CHALLENGE is among servers; a secret key is told to nobody. Index 0 is any of the
handle's. Iterations are bounded by limits.pbkdf2_rounds_max, answers that wait by
limits.verifications_max.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from protocol.codes import ResponseCode
from protocol.handle import to_text
from protocol.json_fields import decode_loose_base64
from protocol.value import Reference
from resolver.api.answers import json_response
from resolver.api.context import context_of
from resolver.api.errors import RequestError, http_status
from resolver.api.parameters import INDEX_MAX, Parameters, all_parameters, handle_in_path

_PATH = b"/api/verifications/"
_OCTETS_MAX = 1_024  # of a nonce, a salt, a signature: many times what any client sends
_BASE64_MAX = 4 * _OCTETS_MAX // 3 + 4
_NAME_MAX = 64


async def get_verification(request: Request) -> Response:
    """GET or POST /api/verifications/{index:handle}."""
    asked = await all_parameters(request)
    user = _user(handle_in_path(request, _PATH), asked)
    algorithm = asked.text("alg")
    if not algorithm or len(algorithm) > _NAME_MAX:
        raise RequestError("name the algorithm: alg=SHA256, or alg=PBKDF2-HMAC-SHA1 and its salt")
    payload: dict[str, Any] = {
        "handle": user.handle,
        "index": user.index,
        "nonce": _octets(asked, "nonce"),
        "client_nonce": _octets(asked, "cnonce"),
        "algorithm": algorithm,
        "signature": _octets(asked, "signature"),
        "salt": _octets(asked, "salt") if "salt" in asked else b"",
        "rounds": asked.number("iterations", 0, 0, INDEX_MAX),
        "key_bits": asked.number("length", 0, 0, INDEX_MAX),
    }
    reply = await context_of(request).operations.verify(payload)
    document: dict[str, Any] = {"responseCode": reply["code"]}
    if reply["code"] == ResponseCode.SUCCESS:
        document["isValid"] = reply["holds"]
    else:
        document["message"] = to_text(reply["message"])
    document["handle"] = to_text(user.handle)
    return json_response(request, document, http_status(reply["code"]))


def _user(named: bytes, asked: Parameters) -> Reference:
    """Return whose secret key is meant, by path or with ?index=. Raises: RequestError."""
    index, colon, handle = named.partition(b":")
    if "index" in asked:
        (number, *more) = asked.indexes()
        if named and not more and not (colon and index.isdigit()):
            return Reference(named, number)
    elif handle and index.isdigit() and len(index) <= 10 and int(index) <= INDEX_MAX:
        return Reference(handle, int(index))
    raise RequestError("name one secret key: /api/verifications/301:88.118/USER?nonce=..")


def _octets(asked: Parameters, name: str) -> bytes:
    """Return the octets of a parameter in base64. Raises: RequestError."""
    # A plus that was not written as %2B comes here as a space.
    text = asked.first(name).replace(" ", "+")
    try:
        octets = decode_loose_base64(text) if len(text) <= _BASE64_MAX else b""
    except ValueError:
        octets = b""
    if not octets:
        raise RequestError(f"{name} is missing, over {_OCTETS_MAX} octets or no base64")
    return octets
