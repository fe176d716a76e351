"""JSON Schemas of what goes over the REST interface, where no msgspec structure reads it.

Values are read and written by `protocol.json_forms`, whose forms these are.
"""

from typing import Any

from protocol.wire import HANDLE_OCTETS_MAX

Schema = dict[str, Any]

BASE64_PATTERN = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$"
_INDEX: Schema = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
_TIME: Schema = {"type": "string", "format": "date-time", "examples": ["2026-11-21T08:00:00Z"]}
RESPONSE_CODE: Schema = {
    "type": "integer",
    "description": "1 success, 100 no such handle, 200 no such values, 402 authentication needed",
}


def ref(name: str) -> Schema:
    """Return a reference to one of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def members(*required: str, **properties: Schema) -> Schema:
    """Return an object's schema that lets further members be."""
    found: Schema = {"type": "object", "properties": properties}
    return {**found, "required": list(required)} if required else found


def listed(item: Schema, **bounds: int) -> Schema:
    """Return a list's schema."""
    return {"type": "array", "items": item, **bounds}


def success(*required: str, **properties: Schema) -> Schema:
    """Return the schema of an answer that says responseCode 1, and more."""
    return members(
        "responseCode", *required, responseCode={**RESPONSE_CODE, "enum": [1]}, **properties
    )


HANDLE: Schema = {"type": "string", "maxLength": HANDLE_OCTETS_MAX, "examples": ["88.118.5/X1"]}
TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
YES_OR_NO: Schema = {"type": "boolean"}
ANYTHING: Schema = {"type": "object"}
NEXT: Schema = {"description": "where the next page begins; absent or empty on the last"}

_REFERENCE = members("handle", "index", handle=HANDLE, index={"type": "integer", "minimum": 0})
_DATA_FORMATS = {
    "string": TEXT,
    "base64": {"type": "string", "contentEncoding": "base64"},
    "hex": {"type": "string", "pattern": "^([0-9A-Fa-f]{2})*$"},
    "admin": members(
        "handle",
        "index",
        "permissions",
        handle=HANDLE,
        index={"type": "integer", "minimum": 0},
        permissions={"type": "string", "pattern": "^[01]{12,16}$"},
        legacyByteLength={**YES_OR_NO, "description": "it ends in two octets of old writers"},
    ),
    "vlist": listed(_REFERENCE),
    "site": ref("Site"),
    "key": ref("Key"),
}
_IN_BASE64URL: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}
_KEY: Schema = {
    "description": "a JSON Web Key",
    "oneOf": [
        members("kty", "n", "e", kty={"const": "RSA"}, n=_IN_BASE64URL, e=_IN_BASE64URL),
        members(
            *("kty", "y", "p", "q", "g"),
            kty={"const": "DSA"},
            **dict.fromkeys("ypqg", _IN_BASE64URL),
        ),
    ],
}
_PORT: Schema = {"type": "integer", "minimum": 0, "maximum": 65_535}
_TRANSPORT: Schema = {
    "oneOf": [{"enum": ["UDP", "TCP", "HTTP", "HTTPS"]}, {"type": "integer", "maximum": 255}]
}
_INTERFACE = members(
    *("query", "admin", "protocol", "port"),
    query=YES_OR_NO,
    admin=YES_OR_NO,
    protocol=_TRANSPORT,
    port=_PORT,
)
_SERVER = members(
    *("serverId", "address", "publicKey", "interfaces"),
    serverId=NUMBER,
    address={"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]},
    publicKey=ref("Data"),
    interfaces=listed(_INTERFACE),
)
_SITE = members(
    "servers",
    version=NUMBER,
    protocolVersion={"type": "string", "pattern": "^[0-9]{1,3}[.][0-9]{1,3}$"},
    serialNumber={"type": "integer", "minimum": 0, "maximum": 65_535},
    primarySite=YES_OR_NO,
    multiPrimary=YES_OR_NO,
    hashOption={"enum": [0, 1, 2]},
    hashFilter=TEXT,
    attributes=listed(members("name", "value", name=TEXT, value=TEXT)),
    servers=listed(_SERVER),
)
_DATA: Schema = {
    "oneOf": [
        *(
            members("format", "value", format={"const": name}, value=value)
            for name, value in _DATA_FORMATS.items()
        ),
        {"type": "string", "description": "when sent: the same as format string"},
    ]
}
_VALUE = members(
    "index",
    "type",
    "data",
    index=_INDEX,
    type={"type": "string", "examples": ["URL"]},
    data=ref("Data"),
    permissions={
        "type": "string",
        "pattern": "^[01]{4}$",
        "description": "admin read, admin write, public read, public write; 1110 if absent",
    },
    ttl={
        "oneOf": [{"type": "integer", "minimum": 0, "maximum": 2**31 - 1}, _TIME],
        "description": "seconds, or the time until which the value may be kept",
    },
    timestamp=_TIME,
    references=listed(_REFERENCE),
)

SCHEMAS: dict[str, Schema] = {
    "Data": _DATA,
    "Key": _KEY,
    "Site": _SITE,
    "Value": _VALUE,
    "Refusal": members("responseCode", responseCode=RESPONSE_CODE, handle=HANDLE, message=TEXT),
    "Record": members(
        "responseCode",
        "handle",
        "values",
        responseCode={**RESPONSE_CODE, "enum": [1, 200]},
        handle=HANDLE,
        values=listed(ref("Value")),
    ),
    "Changed": success("handle", handle=HANDLE),
    "HandleList": success(
        "prefix",
        "totalCount",
        "handles",
        prefix=HANDLE,
        totalCount={"type": "string", "pattern": "^[0-9]+$"},
        page=NUMBER,
        pageSize=NUMBER,
        next=HANDLE,
        handles=listed(HANDLE),
    ),
    "NewValues": {
        "oneOf": [
            listed(ref("Value")),
            members("values", values=listed(ref("Value"))),
            ref("Value"),
            members(
                "template",
                template=TEXT,
                version=NUMBER,
                attributes={"type": "object"},
                values=listed(ref("Value")),
            ),
        ]
    },
    "PrefixList": success(
        "totalCount",
        "prefixes",
        totalCount={"type": "string", "pattern": "^[0-9]+$"},
        page=NUMBER,
        pageSize=NUMBER,
        prefixes=listed(HANDLE),
    ),
    "Verification": success("isValid", "handle", isValid=YES_OR_NO, handle=HANDLE),
    "Session": members(
        sessionId=TEXT,
        nonce=TEXT,
        authenticated=YES_OR_NO,
        id=TEXT,
    ),
    "SessionAnswer": members(
        "id",
        "type",
        "cnonce",
        "alg",
        "signature",
        sessionId=TEXT,
        id={"type": "string", "examples": ["300:0.NA/88.118.5"]},
        type={"enum": ["HS_PUBKEY", "HS_SECKEY"]},
        cnonce={"type": "string", "contentEncoding": "base64"},
        alg={"type": "string", "examples": ["SHA256"]},
        signature={"type": "string", "contentEncoding": "base64"},
        salt={"type": "string", "contentEncoding": "base64"},
        iterations=NUMBER,
        length=NUMBER,
    ),
}
