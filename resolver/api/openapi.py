"""The OpenAPI 3.1 document, made of the table of endpoints (`resolver.api.routes`).

Structures that requests are read into, and those that answers are (`resolver.told`), become schemas
by msgspec; others are in `resolver.api.schemas`. What a JSON Schema cannot say, and what people
have to know once, stands in the description.
"""

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import msgspec

from protocol.codes import ResponseCode
from resolver.api.endpoints import JSON, REFUSALS, Body, Endpoint, Parameter
from resolver.api.schemas import RESPONSE_CODE, SCHEMAS, ref

_REF = "#/components/schemas/{name}"
_DESCRIPTION = """\
Identifiers are registered and resolved here, as Handle.Net's REST interface has it and beyond.

A handle stands in the path as it is, slashes included, or percent-encoded. Every answer has the
Handle protocol's `responseCode`; a refusal has a `message` that says what to do.

**Who asks** is read over https only. By password: user `300:0.NA/88.118`, percent-encoded, colon
as `%3A`. By key: an answer to the challenge of a 401, `Authorization: Handle sessionId="..",
id="300:0.NA/88.118", type="HS_PUBKEY", cnonce="..", alg="SHA256", signature=".."`, the signature
over nonce and cnonce; then `Handle sessionId=".."`. By TLS certificate, on the port that asks for
one: `Handle clientCert="true"`, or nothing.
"""
_TAGS = {
    "handles": "resolve, create, change, delete, list",
    "node": "the node and its prefixes",
    "sessions": "log in once",
    "registrations": "streams of registrations and their receipts",
    "ranges": "runs of serials, each as one record",
    "life": "frozen, revoked, and what was before",
    "templates": "templates of metadata",
    "statistics": "what was registered and asked",
    "office": "applications for prefixes, and what becomes of them",
}
_SECURITY: dict[str, list[dict[str, list[str]]]] = {
    "anybody": [],
    "some": [{}, {"password": []}, {"key": []}],
    "known": [{"password": []}, {"key": []}],
}


def make_document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Return the document, of plain JSON types."""
    endpoints = tuple(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    components = Components()
    for endpoint in endpoints:
        path = paths.setdefault(endpoint.shown_path, {})
        path[endpoint.method.lower()] = _operation(endpoint, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Biaoshi",
            "version": version("biaoshi"),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": words} for name, words in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": {**SCHEMAS, **components.schemas},
            "responses": {f"Refused{status}": _refusal(status) for status in REFUSALS},
            "securitySchemes": {
                "password": {"type": "http", "scheme": "basic"},
                "key": {"type": "http", "scheme": "Handle"},
            },
        },
    }


class Components:
    """Schemas that msgspec makes of structures, each once."""

    def __init__(self) -> None:
        self.schemas: dict[str, Any] = {}

    def answer(self, structure: type) -> dict[str, Any]:
        """Return a reference to the answer that tells a structure, and nothing beside it."""
        _, found = msgspec.json.schema_components((structure,), ref_template=_REF)
        self.schemas |= {name: _closed(_in_ecma(each)) for name, each in found.items()}
        told = self.schemas[structure.__name__]
        code = {"responseCode": {**RESPONSE_CODE, "enum": [int(ResponseCode.SUCCESS)]}}
        self.schemas[structure.__name__] = {
            **told,
            "properties": code | told["properties"],
            "required": ["responseCode", *told.get("required", [])],
        }
        return ref(structure.__name__)

    def plain(self, schema: Any) -> Any:
        """Return a schema with the structures in it made references."""
        if isinstance(schema, type):
            (made,), found = msgspec.json.schema_components((schema,), ref_template=_REF)
            self.schemas |= {name: _in_ecma(each) for name, each in found.items()}
            return made
        if isinstance(schema, dict):
            return {name: self.plain(each) for name, each in schema.items()}
        return [self.plain(each) for each in schema] if isinstance(schema, list) else schema


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a structure's schema with no members but its own: what else is told is a mistake."""
    return {**schema, "additionalProperties": False} if "properties" in schema else schema


def _in_ecma(schema: Any) -> Any:
    r"""Return a schema whose patterns have ^ and $ for Python's \A and \Z."""
    if isinstance(schema, dict):
        return {
            name: each.replace(r"\A", "^").replace(r"\Z", "$")
            if name == "pattern" and isinstance(each, str)
            else _in_ecma(each)
            for name, each in schema.items()
        }
    return [_in_ecma(each) for each in schema] if isinstance(schema, list) else schema


def _operation(endpoint: Endpoint, components: Components) -> dict[str, Any]:
    path = endpoint.shown_path.removeprefix("/api/").replace("/", "_")
    name = "".join(each for each in path if each not in "{}").replace("-", "_")
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.method.lower()}_{name}",
        "tags": [endpoint.tag],
        "summary": endpoint.words,
        "security": _SECURITY[endpoint.access],
        "parameters": [_parameter(each) for each in endpoint.parameters],
        "responses": _responses(endpoint, components),
    }
    if endpoint.body is not None:
        operation["requestBody"] = _body(endpoint.body, components)
    return operation


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.words,
        "required": parameter.required,
        "schema": dict(parameter.schema),
    }


def _body(body: Body, components: Components) -> dict[str, Any]:
    schema = components.plain(body.content)
    return {
        "required": body.required,
        "content": {media_type: {"schema": schema} for media_type in body.media_types},
    }


def _responses(endpoint: Endpoint, components: Components) -> dict[str, Any]:
    done: dict[str, Any] = {"description": "done"}
    if endpoint.status != 204:
        told = endpoint.answer
        schema = components.answer(told) if isinstance(told, type) else dict(told)
        done["content"] = {
            each: {"schema": schema if each == JSON else {"type": "string"}}
            for each in endpoint.media_types
        }
    statuses = [endpoint.status, *([201] if endpoint.created else [])]
    refused = {
        str(status): {"$ref": f"#/components/responses/Refused{status}"} for status in REFUSALS
    }
    return {**{str(status): done for status in statuses}, **refused}


def _refusal(status: int) -> dict[str, Any]:
    if status == 401:
        # After an Authorization header that failed there is no body, as in Handle.Net.
        words = f"{REFUSALS[status]}; no body when an Authorization header failed"
        form = 'Handle sessionId="..", nonce=".."'
        challenge = {"schema": {"type": "string", "examples": [form]}}
        return {"description": words, "headers": {"WWW-Authenticate": challenge}}
    return {"description": REFUSALS[status], "content": {JSON: {"schema": ref("Refusal")}}}
