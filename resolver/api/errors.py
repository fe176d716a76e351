"""What ends a REST request early, and how each response code looks as an HTTP status.

1    200, 201 when something came to be      300, 302, 303   300
100  404                                     5               501
101, 201          409                        3, 7            503
4, 102, 202, 301  400                        others          500
200  400 (200 when reading)                  402             401
400, 401, 403, 404  403
"""

from protocol.codes import ResponseCode

_STATUS: dict[int, int] = {
    ResponseCode.SUCCESS: 200,
    ResponseCode.HANDLE_NOT_FOUND: 404,
    ResponseCode.HANDLE_ALREADY_EXISTS: 409,
    ResponseCode.VALUE_ALREADY_EXISTS: 409,
    ResponseCode.PROTOCOL_ERROR: 400,
    ResponseCode.INVALID_HANDLE: 400,
    ResponseCode.INVALID_VALUE: 400,
    ResponseCode.SERVER_NOT_RESPONSIBLE: 400,
    ResponseCode.VALUES_NOT_FOUND: 400,
    ResponseCode.AUTHENTICATION_NEEDED: 401,
    ResponseCode.INVALID_ADMIN: 403,
    ResponseCode.INSUFFICIENT_PERMISSIONS: 403,
    ResponseCode.AUTHENTICATION_FAILED: 403,
    ResponseCode.INVALID_CREDENTIAL: 403,
    ResponseCode.SERVICE_REFERRAL: 300,
    ResponseCode.PREFIX_REFERRAL: 300,
    ResponseCode.OPERATION_NOT_SUPPORTED: 501,
    ResponseCode.SERVER_TOO_BUSY: 503,
    ResponseCode.SERVER_BACKUP: 503,
}


def http_status(response_code: int, *, created: bool = False, reading: bool = False) -> int:
    """Return the HTTP status for a response code.

    Args:
        response_code: of the answer.
        created: something new came to be.
        reading: the request reads, where "no such value" is no mistake.
    """
    if response_code == ResponseCode.SUCCESS and created:
        return 201
    if response_code == ResponseCode.VALUES_NOT_FOUND and reading:
        return 200
    return _STATUS.get(response_code, 500)


class RequestError(Exception):
    """A request that cannot be carried out as it stands.

    Args:
        words: what is wrong and what to do.
        response_code: of the Handle protocol.
        status: the HTTP status; without it, that of the response code.
    """

    def __init__(
        self,
        words: str,
        response_code: int = ResponseCode.PROTOCOL_ERROR,
        status: int | None = None,
    ) -> None:
        super().__init__(words)
        self.words = words
        self.response_code = response_code
        self.status = http_status(response_code) if status is None else status
