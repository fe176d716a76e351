"""Receipts shown to the node that signed them, by whoever has one: a receipt is its own proof.

    POST /api/receipts/verify   the receipt as it was given, nothing around it
         ?after=0               the last frame of the journal that was looked at already

    {"responseCode": 1, "verified": true, "next": null,
     "checks": [{"name": "signature", "holds": true, "words": ".."}, "stream", "journal"]}

`holds` is null where nothing is kept any more that could tell. Frames are looked at some at a time:
with a number in `next`, ask again with it as `after`.
"""

from starlette.requests import Request
from starlette.responses import Response

from protocol.codes import ResponseCode
from protocol.errors import DecodeError
from protocol.jws import TOKEN_OCTETS_MAX
from registry.receipts import ReceiptError
from resolver.api.answers import json_response
from resolver.api.context import context_of
from resolver.api.errors import RequestError
from resolver.api.parameters import query_parameters
from resolver.node import NOT_REGISTERING_WORDS

SEQUENCE_MAX = 2**53  # JSON's
RECEIPTS_MAX = 4  # at once, of a worker: each takes a thread for some ten milliseconds


async def post_receipt(request: Request) -> Response:
    """POST /api/receipts/verify."""
    context = context_of(request)
    if not context.config.role.registers:
        words = NOT_REGISTERING_WORDS.decode()
        raise RequestError(words, ResponseCode.OPERATION_NOT_SUPPORTED)
    after = query_parameters(request).number("after", 0, 0, SEQUENCE_MAX)
    token = await _read_token(request)
    if context.receipts >= RECEIPTS_MAX:
        words = f"{RECEIPTS_MAX} receipts are being looked at, try again"
        raise RequestError(words, ResponseCode.SERVER_TOO_BUSY)
    context.receipts += 1
    try:
        found = await context.operations.check_receipt(token, after)
    except (DecodeError, ReceiptError) as error:
        raise RequestError(f"this is no receipt: {error}", ResponseCode.INVALID_VALUE) from None
    finally:
        context.receipts -= 1
    return json_response(
        request,
        {
            "responseCode": int(ResponseCode.SUCCESS),
            "verified": all(each.holds is not False for each in found.findings),
            "next": found.next_after or None,
            "checks": [each._asdict() for each in found.findings],
        },
    )


async def _read_token(request: Request) -> str:
    octets = b""
    async for piece in request.stream():
        octets += piece
        if len(octets) > 2 * TOKEN_OCTETS_MAX:  # white space around it may be cut off
            raise RequestError(f"a receipt has at most {TOKEN_OCTETS_MAX} octets", status=413)
    try:
        return octets.strip().decode("ascii")
    except UnicodeDecodeError as error:
        words = f"octet {error.start} of the receipt is not ASCII: send the receipt alone"
        raise RequestError(words, ResponseCode.INVALID_VALUE) from None
