"""What a node says of a receipt that it gave: whether it signed it, and still has what it says.

Nobody logs in for that: the receipt proves itself.
"""

from typing import NamedTuple

import httpx
import msgspec

from protocol.types.hs_site import HsSite
from resolver.client.errors import HandleError
from resolver.client.rest import READ_S, connection_lost, refusal_of, rest_url
from resolver.client.trust import CONNECT_S, pinned_context
from resolver.told.streams import ReceiptChecks

PATH = "/api/receipts/verify"
JOURNAL = "journal"  # the check that goes on from answer to answer


class NodeCheck(NamedTuple):
    """One thing that a node looked at. `holds` is None where it keeps nothing that could tell."""

    name: str
    holds: bool | None
    words: str


async def check_receipt(
    site: HsSite, token: str, *, transport: httpx.AsyncBaseTransport | None = None
) -> list[NodeCheck]:
    """Ask the node of a site about a receipt.

    Args:
        site: the node's; its key has to be in the node's certificate.
        token: the receipt.
        transport: moves requests in place of sockets, for tests.

    Raises:
        HandleError: it does not answer, answers as no node does, or says that this is no receipt.
    """
    url, key = rest_url(site)
    address = httpx.URL(url)
    assert address.port is not None, "a site names the port of each interface"
    verify = transport is None and await pinned_context(address.host, address.port, key)
    timeout = httpx.Timeout(READ_S, connect=CONNECT_S)
    async with httpx.AsyncClient(
        base_url=address, verify=verify, timeout=timeout, trust_env=False, transport=transport
    ) as http:
        checks: dict[str, NodeCheck] = {}
        after: int | None = 0
        while after is not None:
            told = await _ask(http, token, after)
            for each in told.checks:
                checks[each.name] = NodeCheck(each.name, each.holds, each.words)
            after = _go_on(after, told.next)
        return list(checks.values())


async def _ask(http: httpx.AsyncClient, token: str, after: int) -> ReceiptChecks:
    url = str(http.base_url)
    headers = {"Content-Type": "application/jose"}
    try:
        answer = await http.post(PATH, params={"after": after}, content=token, headers=headers)
    except httpx.TransportError as error:
        raise connection_lost(url, error) from None
    if not answer.is_success:
        raise refusal_of(answer)
    try:
        return msgspec.json.decode(answer.content, type=ReceiptChecks)
    except msgspec.DecodeError as error:
        raise _strange(f"{url} answered no checks: {error}") from None


def _go_on(after: int, following: int | None) -> int | None:
    if following is not None and following <= after:
        raise _strange(f"the node asks to go on after frame {following}, not beyond {after}")
    return following


def _strange(words: str) -> HandleError:
    return HandleError(words, hint="is this the HTTP port of a node of this kind?")
