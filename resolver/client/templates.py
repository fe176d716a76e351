"""Templates of metadata: register, show, list, withdraw; identifiers made from one.

Many identifiers are made by `RegistrationClient.register`, with rows such as
`{"handle": ..., "template": "auto-part", "attributes": {...}}`.
"""

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from typing import Any

from protocol.json_forms import value_to_json
from protocol.value import HandleValue
from resolver.client.calls import BlockingCalls, RestCalls, in_path
from resolver.client.client import Text
from resolver.client.errors import AlreadyExistsError, HandleNotFoundError
from resolver.told.templates import (
    Attribute,
    MadeHandle,
    OneTemplate,
    Template,
    TemplatePage,
    Withdrawn,
)

__all__ = [
    "Attribute",
    "BlockingTemplateCalls",
    "MadeHandle",
    "Template",
    "TemplateCalls",
    "Withdrawn",
]

PATH = "/api/templates"
PAGE_TEMPLATES = 100  # fetched at a time
_CHANGED = "what a version means never changes: leave version out, or write the next one"


class TemplateCalls(RestCalls):
    """Templates of a node."""

    async def register_template(self, document: Mapping[str, Any]) -> Template:
        """Register a version of a template; the same one again is only shown.

        A call that was not answered is tried again, and registers nothing twice.

        Args:
            document: `{"prefix", "code", "version" (else the next), "title", "industry",
                "activeCarrier", "attributes": [{"name", "type", "alias", "required", "length",
                "values", "itemType"}]}`.

        Raises:
            AlreadyExistsError: that version has other content.
            InvalidRequestError: something in the document is wrong; the words name all of it.
            HandleError: any other refusal, or nobody answered.
        """
        try:
            answer = await self._change(OneTemplate, PATH, document, settled=_not_known)
        except AlreadyExistsError as error:
            error.hint = _CHANGED
            raise
        return answer.template

    async def find_template(self, prefix: str, code: str, version: int = 0) -> Template | None:
        """Return a version, with 0 the last one; None: there is none. Raises: HandleError."""
        try:
            return (await self._read(OneTemplate, _path(prefix, code, version))).template
        except HandleNotFoundError:
            return None

    async def list_templates(
        self, prefix: str, *, code: str = "", page_templates: int = PAGE_TEMPLATES
    ) -> AsyncGenerator[Template, None]:
        """Iterate over all versions of a prefix's templates, by code. Raises: HandleError.

        Args:
            prefix: such as `88.118.5`.
            code: only of this one.
            page_templates: how many are fetched at a time, at most 1,000.
        """
        query = {"prefix": prefix, "limit": str(page_templates)}
        if code:
            query["code"] = code
        async for page in self._pages(TemplatePage, PATH, query):
            for each in page.templates:
                yield each

    async def withdraw_template(
        self, prefix: str, code: str, version: int, reason: str
    ) -> Template:
        """Have no more identifiers made from a version; those there are stay. Raises: HandleError.

        Doing it again changes nothing, not even the reason.
        """
        path = f"{_path(prefix, code, version)}/withdrawal"
        answer = await self._change(
            OneTemplate, path, {"reason": reason}, method="PUT", settled=_not_known
        )
        return answer.template

    async def create_from_template(
        self,
        handle: Text,
        template: str,
        attributes: Mapping[str, Any],
        *,
        version: int = 0,
        values: Iterable[HandleValue] = (),
    ) -> MadeHandle:
        """Make one identifier from a template.

        Args:
            handle: the identifier.
            template: code of a template of its prefix or one above, or one with its prefix.
            attributes: by name.
            version: 0 is the last one.
            values: other values, at indexes below 2000.

        Raises:
            AlreadyExistsError: the identifier is registered.
            InvalidRequestError: attributes are missing, unknown or of another type; the words
                name all of them.
            HandleError: any other refusal, or nobody answered: then look whether it was made.
        """
        document: dict[str, Any] = {"template": template, "attributes": dict(attributes)}
        document["values"] = [value_to_json(value) for value in values]
        if version:
            document["version"] = version
        path, query = f"/api/handles/{in_path(handle)}", {"overwrite": "false"}
        return await self._change(MadeHandle, path, document, method="PUT", query=query)


async def _not_known() -> None:
    """Say that a change is to be sent again: once made, it changes nothing."""


def _path(prefix: str, code: str, version: int) -> str:
    path = f"{PATH}/{in_path(prefix)}/{in_path(code)}"
    return f"{path}/{version}" if version else path


class BlockingTemplateCalls(BlockingCalls):
    """Templates of a node, each call waited for: `TemplateCalls`."""

    _client: TemplateCalls

    def register_template(self, document: Mapping[str, Any]) -> Template:
        """Register a version of a template: `TemplateCalls.register_template`."""
        return self._wait(self._client.register_template(document))

    def find_template(self, prefix: str, code: str, version: int = 0) -> Template | None:
        """Return a version of a template: `TemplateCalls.find_template`."""
        return self._wait(self._client.find_template(prefix, code, version))

    def list_templates(
        self, prefix: str, *, code: str = "", page_templates: int = PAGE_TEMPLATES
    ) -> Iterator[Template]:
        """Iterate over versions of templates: `TemplateCalls.list_templates`."""
        return self._iterate(
            self._client.list_templates(prefix, code=code, page_templates=page_templates)
        )

    def withdraw_template(self, prefix: str, code: str, version: int, reason: str) -> Template:
        """Have no more made from a version: `TemplateCalls.withdraw_template`."""
        return self._wait(self._client.withdraw_template(prefix, code, version, reason))

    def create_from_template(
        self,
        handle: Text,
        template: str,
        attributes: Mapping[str, Any],
        *,
        version: int = 0,
        values: Iterable[HandleValue] = (),
    ) -> MadeHandle:
        """Make one identifier: `TemplateCalls.create_from_template`."""
        return self._wait(
            self._client.create_from_template(
                handle, template, attributes, version=version, values=values
            )
        )
