"""The prefix office of a node: applications, the prefixes it gave out, quotas, people.

    await apply_for_prefix(site, document)         anybody: a number and a token
    await ask_for_application(site, number, token)
    async with AdministrationClient.at(site, identity) as node:
        async for application in node.applications(state="in review"): ...
        await node.approve(7, "hosted")
        await node.suspend("88.118.5", "unpaid")

Documents are those of the REST interface (`resolver.api.office`), as dictionaries.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any, Literal

import httpx
import msgspec

from protocol.types.hs_site import HsSite
from resolver.client.calls import BlockingCalls, RestCalls, in_path
from resolver.client.errors import HandleError
from resolver.client.rest import READ_S, connection_lost, refusal_of, rest_url
from resolver.client.trust import CONNECT_S, pinned_context
from resolver.told.forms import Page

__all__ = ["BlockingOfficeCalls", "OfficeCalls", "apply_for_prefix", "ask_for_application"]

APPLICATIONS = "/api/applications"
PREFIXES = "/api/prefixes"
QUOTAS = "/api/quotas"
PEOPLE = "/api/people"

Document = dict[str, Any]
Mode = Literal["delegated", "hosted"]


class _Applications(Page, frozen=True):
    applications: list[Document]


class OfficeCalls(RestCalls):
    """What reviewers, operators and administrators do. Each method raises HandleError."""

    async def applications(self, *, state: str = "") -> AsyncGenerator[Document, None]:
        """Iterate over applications by number; `state` such as `in review`: only those."""
        query = {"state": state} if state else {}
        async for page in self._pages(_Applications, APPLICATIONS, query):
            for application in page.applications:
                yield application

    async def application(self, number: int, *, people: bool = False) -> Document:
        """Return an application; with `people` those in clear, which is logged."""
        query = {"people": "true"} if people else None
        return await self._read(Document, f"{APPLICATIONS}/{number}", query)

    async def approve(
        self,
        number: int,
        mode: Mode,
        *,
        reason: str = "",
        delegation: Mapping[str, Any] | None = None,
    ) -> Document:
        """Give a prefix out; `delegation` is delegation.json of the applicant's node."""
        document: Document = {"mode": mode}
        if reason:
            document["reason"] = reason
        if delegation is not None:
            document["delegation"] = dict(delegation)
        return await self._change(Document, f"{APPLICATIONS}/{number}/approve", document)

    async def refuse(self, number: int, reason: str) -> Document:
        """Refuse an application."""
        path = f"{APPLICATIONS}/{number}/refuse"
        return await self._change(Document, path, {"reason": reason})

    async def prefix(self, prefix: str) -> Document:
        """Return how a prefix stands."""
        return await self._read(Document, f"{PREFIXES}/{in_path(prefix)}")

    async def suspend(self, prefix: str, reason: str) -> Document:
        """Have a prefix stop answering; everybody who asks is told the reason."""
        return await self._step(prefix, "suspend", {"reason": reason})

    async def resume(self, prefix: str, reason: str = "") -> Document:
        """Have a suspended prefix answer again, or take its release back."""
        return await self._step(prefix, "resume", {"reason": reason} if reason else {})

    async def transfer(
        self,
        prefix: str,
        public_key: Any,
        *,
        particulars: Mapping[str, Any] | None = None,
        reason: str = "",
    ) -> Document:
        """Give a prefix to somebody else: a key, in PEM or JSON, and perhaps new particulars."""
        document: Document = {"publicKey": public_key}
        if particulars is not None:
            document["particulars"] = dict(particulars)
        if reason:
            document["reason"] = reason
        return await self._step(prefix, "transfer", document)

    async def release(self, prefix: str, reason: str) -> Document:
        """Note that a prefix is to be deleted: nothing new is registered under it."""
        return await self._step(prefix, "release", {"reason": reason})

    async def remove(self, prefix: str) -> Document:
        """Delete a released prefix under which nothing is left."""
        return await self._step(prefix, "remove", {})

    async def quota(self, prefix: str) -> Document:
        """Return a prefix's quotas, what is used and left today."""
        return await self._read(Document, f"{QUOTAS}/{in_path(prefix)}")

    async def set_quota(
        self, prefix: str, *, identifiers: int | None = None, requests: int | None = None
    ) -> Document:
        """Set a prefix's quotas a day; None: no limit."""
        document = {"identifiersPerDay": identifiers, "requestsPerDay": requests}
        path = f"{QUOTAS}/{in_path(prefix)}"
        return await self._change(Document, path, document, method="PUT")

    async def erase_person(self, subject: str) -> Document:
        """Erase a person: the key goes, what is encrypted under it is unreadable for ever."""
        return await self._change(Document, f"{PEOPLE}/{in_path(subject)}", {}, method="DELETE")

    async def _step(self, prefix: str, verb: str, document: Document) -> Document:
        return await self._change(Document, f"{PREFIXES}/{in_path(prefix)}/{verb}", document)


class BlockingOfficeCalls(BlockingCalls):
    """The same, each call waited for."""

    _client: OfficeCalls

    def applications(self, *, state: str = "") -> Iterator[Document]:
        """Iterate over applications: `OfficeCalls.applications`."""
        return self._iterate(self._client.applications(state=state))

    def application(self, number: int, *, people: bool = False) -> Document:
        """Return an application: `OfficeCalls.application`."""
        return self._wait(self._client.application(number, people=people))

    def approve(
        self,
        number: int,
        mode: Mode,
        *,
        reason: str = "",
        delegation: Mapping[str, Any] | None = None,
    ) -> Document:
        """Give a prefix out: `OfficeCalls.approve`."""
        approving = self._client.approve(number, mode, reason=reason, delegation=delegation)
        return self._wait(approving)

    def refuse(self, number: int, reason: str) -> Document:
        """Refuse an application: `OfficeCalls.refuse`."""
        return self._wait(self._client.refuse(number, reason))

    def prefix(self, prefix: str) -> Document:
        """Return how a prefix stands: `OfficeCalls.prefix`."""
        return self._wait(self._client.prefix(prefix))

    def suspend(self, prefix: str, reason: str) -> Document:
        """Have a prefix stop answering: `OfficeCalls.suspend`."""
        return self._wait(self._client.suspend(prefix, reason))

    def resume(self, prefix: str, reason: str = "") -> Document:
        """Have a prefix answer again: `OfficeCalls.resume`."""
        return self._wait(self._client.resume(prefix, reason))

    def transfer(
        self,
        prefix: str,
        public_key: Any,
        *,
        particulars: Mapping[str, Any] | None = None,
        reason: str = "",
    ) -> Document:
        """Give a prefix to somebody else: `OfficeCalls.transfer`."""
        transferring = self._client.transfer(
            prefix, public_key, particulars=particulars, reason=reason
        )
        return self._wait(transferring)

    def release(self, prefix: str, reason: str) -> Document:
        """Note that a prefix is to be deleted: `OfficeCalls.release`."""
        return self._wait(self._client.release(prefix, reason))

    def remove(self, prefix: str) -> Document:
        """Delete a released prefix: `OfficeCalls.remove`."""
        return self._wait(self._client.remove(prefix))

    def quota(self, prefix: str) -> Document:
        """Return a prefix's quotas: `OfficeCalls.quota`."""
        return self._wait(self._client.quota(prefix))

    def set_quota(
        self, prefix: str, *, identifiers: int | None = None, requests: int | None = None
    ) -> Document:
        """Set a prefix's quotas: `OfficeCalls.set_quota`."""
        setting = self._client.set_quota(prefix, identifiers=identifiers, requests=requests)
        return self._wait(setting)

    def erase_person(self, subject: str) -> Document:
        """Erase a person: `OfficeCalls.erase_person`."""
        return self._wait(self._client.erase_person(subject))


async def apply_for_prefix(
    site: HsSite, document: Mapping[str, Any], *, transport: httpx.AsyncBaseTransport | None = None
) -> Document:
    """Apply for a prefix at the node of a site, without logging in: `number` and `token`.

    Raises:
        HandleError: the node does not take it, or does not answer.
    """
    body = msgspec.json.encode(document)
    headers = {"Content-Type": "application/json"}
    return await _ask(site, "POST", APPLICATIONS, headers, body, transport)


async def ask_for_application(
    site: HsSite, number: int, token: str, *, transport: httpx.AsyncBaseTransport | None = None
) -> Document:
    """Return how an application stands, as its applicant. Raises: HandleError."""
    headers = {"Application-Token": token}
    return await _ask(site, "GET", f"{APPLICATIONS}/{number}", headers, None, transport)


async def _ask(
    site: HsSite,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes | None,
    transport: httpx.AsyncBaseTransport | None,
) -> Document:
    url, key = rest_url(site)
    address = httpx.URL(url)
    assert address.port is not None, "a site names the port of each interface"
    verify = transport is None and await pinned_context(address.host, address.port, key)
    timeout = httpx.Timeout(READ_S, connect=CONNECT_S)
    async with httpx.AsyncClient(
        base_url=address, verify=verify, timeout=timeout, trust_env=False, transport=transport
    ) as http:
        try:
            answer = await http.request(method, path, content=body, headers=dict(headers))
        except httpx.TransportError as error:
            raise connection_lost(url, error) from None
    if not answer.is_success:
        raise refusal_of(answer)
    try:
        return msgspec.json.decode(answer.content, type=Document)
    except msgspec.MsgspecError as error:
        hint = "is this the HTTP port of a node of this kind?"
        raise HandleError(f"{url}{path} answered no application: {error}", hint=hint) from None
