"""Endpoints of records: handles, the node itself, sessions, streams of registrations."""

from registry.stream_rows import ROWS_MAX
from resolver.api import (
    docs,
    handles,
    prefixes,
    receipts,
    registrations,
    sessions,
    verifications,
)
from resolver.api.endpoints import (
    IN_PREFIX,
    NDJSON,
    PREFIX,
    Body,
    Endpoint,
    Parameter,
    flag,
    in_path,
    number,
    text,
)
from resolver.api.endpoints import TEXT as PLAIN_TEXT
from resolver.api.parameters import INDEX_MAX
from resolver.api.schemas import (
    ANYTHING,
    BASE64_PATTERN,
    TEXT,
    listed,
    ref,
    success,
)
from resolver.api.site_info import get_site
from resolver.limits import PAGE_HANDLES_MAX
from resolver.told.streams import ReceiptChecks, StreamState

_HTML = "text/html"
_IN_HANDLE = in_path("handle", "as it is or percent-encoded; slashes are part of it")
_ONE_INDEX = {"type": "integer", "minimum": 0, "maximum": INDEX_MAX}
_INDEX = Parameter(
    "index",
    "indexes of values; may be repeated",
    {"type": "array", "items": _ONE_INDEX},
)
_INDEX_OR_VARIOUS = Parameter(
    "index",
    "indexes of the values in the body; may be repeated. Or various: whichever they are",
    {
        "type": "array",
        "items": {"oneOf": [{"type": "integer", "minimum": 0}, {"const": "various"}]},
    },
)
_TYPE = Parameter(
    "type", "types of values; may be repeated", {"type": "array", "items": {"type": "string"}}
)
_HOW = (
    flag("publicOnly", "only what everybody may read; true where nobody says who he is"),
    flag("auth", "authoritative: past every cache"),
    flag("cert", "certified: signatures of other nodes are verified"),
    flag("doNotRefer", "an error in place of a referral to another node"),
)
_PRETTY = flag("pretty", "indented, for people")
# Members of a body are taken as the text that they would be in a query.
_AS_TEXT = {"type": ["string", "integer", "boolean"]}
_IN_BODY = {"anyOf": [_ONE_INDEX, {"type": "string", "pattern": "^[0-9]{1,9}$"}]}
_SWITCH = {"enum": [True, False, 1, 0, "true", "false", "1", "0", "yes", "no", ""]}
_READING = {
    "type": "object",
    "properties": {
        "type": {"anyOf": [listed(_AS_TEXT), _AS_TEXT]},
        "index": {"anyOf": [listed(_IN_BODY), _IN_BODY]},
        **{each.name: _SWITCH for each in _HOW},
    },
    "additionalProperties": {"anyOf": [listed(_AS_TEXT), _AS_TEXT]},
}


def _in_base64(name: str, words: str) -> Parameter:
    return text(name, words, required=True, pattern=BASE64_PATTERN)


_VERIFICATION = "/api/verifications/{user:path}"
_SECRET_KEY = in_path("user", "301:88.118/USER, the value with the key", pattern="^[0-9]{1,9}:.+")
_ANSWER = (
    _in_base64("nonce", "what was to be answered, in base64"),
    _in_base64("cnonce", "what the client added, in base64"),
    text("alg", "SHA1, SHA256, HMAC-SHA1, PBKDF2-HMAC-SHA1, ..", required=True),
    _in_base64("signature", "the answer, in base64"),
    text("salt", "of PBKDF2, in base64", pattern=BASE64_PATTERN),
    number("iterations", "of PBKDF2", 0, INDEX_MAX),
    number("length", "of PBKDF2's key, in bits", 0, INDEX_MAX),
)
_ANSWER_IN_BODY = {
    "type": "object",
    "required": [each.name for each in _ANSWER if each.required],
    "properties": {each.name: each.schema for each in _ANSWER},
}
_LISTING = (
    number("page", "from 0; how deep is bounded, use after instead", 0, INDEX_MAX),
    number("pageSize", "handles in a page; 0: only count", 0, PAGE_HANDLES_MAX),
    text(
        "after",
        "begin behind this handle: the member next of the page before, 88.118/ for the first; a "
        "page may be short, even empty, as long as it has a next",
    ),
)
_LISTING_IN_BODY = {
    "type": "object",
    "required": ["prefix"],
    "properties": {each.name: each.schema for each in (PREFIX, *_LISTING)},
}
_HANDLES = (
    Endpoint(
        "GET", "/api/handles", handles.list_handles, "handles", "List the handles of a prefix",
        ref("HandleList"), (PREFIX, *_LISTING),
    ),
    Endpoint(
        "POST", "/api/handles", handles.list_handles, "handles",
        "List the handles of a prefix, with the parameters of GET as members of the body",
        ref("HandleList"), body=Body(_LISTING_IN_BODY),
    ),
    Endpoint(
        "GET", "/api/handles/{handle:path}", handles.get_handle, "handles",
        "Resolve a handle; with callback=NAME as JSONP, which has status 200 whatever it says",
        ref("Record"), (_IN_HANDLE, _INDEX, _TYPE, *_HOW, _PRETTY),
        access="some",
    ),
    Endpoint(
        "POST", "/api/handles/{handle:path}", handles.post_handle, "handles",
        "Resolve a handle, with the parameters of GET as members of the body", ref("Record"),
        (_IN_HANDLE,), Body(_READING, required=False), access="some",
    ),
    Endpoint(
        "PUT", "/api/handles/{handle:path}", handles.put_handle, "handles",
        "Create or replace a handle; with index add or replace values", ref("Changed"),
        (
            _IN_HANDLE,
            _INDEX_OR_VARIOUS,
            flag("overwrite", "false: 409 for what exists; true if absent"),
            flag("mintNewSuffix", "the handle is a stem: the node appends to it"),
        ),
        Body(ref("NewValues")), created=True,
    ),
    Endpoint(
        "DELETE", "/api/handles/{handle:path}", handles.delete_handle, "handles",
        "Delete a handle; with index some of its values", ref("Changed"), (_IN_HANDLE, _INDEX),
    ),
    Endpoint(
        "GET", _VERIFICATION, verifications.get_verification, "handles",
        "Verify an answer made with a secret key of this node's", ref("Verification"),
        (_SECRET_KEY, *_ANSWER), access="anybody",
    ),
    Endpoint(
        "POST", _VERIFICATION, verifications.get_verification, "handles",
        "The same, with the parameters as members of the body", ref("Verification"),
        (_SECRET_KEY,), Body(_ANSWER_IN_BODY), access="anybody",
    ),
)  # fmt: skip

_NODE = (
    Endpoint(
        "GET", "/api/site", get_site, "node", "The node's own site record",
        success("site", site=ref("Site")), (_PRETTY,), access="anybody",
    ),
    Endpoint(
        "GET", "/api/prefixes", prefixes.get_prefixes, "node", "The prefixes homed here",
        ref("PrefixList"),
        (
            number("page", "from 0; without one all are told", 0, INDEX_MAX),
            number("pageSize", "prefixes in a page; 0: only count", 0, INDEX_MAX),
        ),
    ),
    *(
        Endpoint(
            method, "/api/prefixes", function, "node", words, ref("Changed"),
            body=Body({"type": "object", "required": ["prefix"], "properties": {"prefix": TEXT}}),
        )
        for method, function, words in (
            ("POST", prefixes.post_prefix, "Home a prefix here, named in the body"),
            ("DELETE", prefixes.delete_prefix, "Home it no more, named in the body"),
        )
    ),
    Endpoint(
        "POST", "/api/prefixes/{prefix}", prefixes.post_prefix, "node", "Home a prefix here",
        ref("Changed"), (IN_PREFIX,),
    ),
    Endpoint(
        "DELETE", "/api/prefixes/{prefix}", prefixes.delete_prefix, "node", "Home it no more",
        ref("Changed"), (IN_PREFIX,),
    ),
    Endpoint(
        "GET", "/api/openapi.json", docs.get_openapi, "node", "This document", ANYTHING,
        access="anybody",
    ),
    Endpoint(
        "GET", "/api/docs", docs.get_docs, "node", "This document for people", TEXT,
        media_types=(_HTML,), access="anybody",
    ),
    Endpoint(
        "GET", "/api/docs/{file}", docs.get_file, "node", "A file of that page", TEXT,
        (in_path("file", "its name"),), media_types=("text/css", "text/javascript"),
        access="anybody",
    ),
)  # fmt: skip

_SESSIONS = (
    Endpoint(
        "POST", "/api/sessions", sessions.post_sessions, "sessions", "Begin a session",
        ref("Session"), status=201, access="anybody",
    ),
    Endpoint(
        "GET", "/api/sessions/this", sessions.get_session, "sessions", "Who am I", ref("Session"),
        access="some",
    ),
    *(
        Endpoint(
            method, "/api/sessions/this", sessions.put_session, "sessions",
            "Answer the challenge of the session", ref("Session"), body=Body(ref("SessionAnswer")),
            access="anybody",
        )
        for method in ("PUT", "POST")
    ),
    Endpoint(
        "DELETE", "/api/sessions/this", sessions.delete_session, "sessions", "Log out", ANYTHING,
        status=204,
    ),
)  # fmt: skip

_KEY = in_path("key", "the Idempotency-Key of the stream", maxLength=128)
_REGISTRATIONS = (
    Endpoint(
        "POST", "/api/registrations", registrations.post_registrations, "registrations",
        "Register any number of rows; an answer has a verdict for each", TEXT,
        (
            Parameter(
                "Idempotency-Key", "the stream's name, yours to choose", {"type": "string"},
                "header",
            ),
            text("key", "the same, where headers cannot be set"),
            number("from", "number of the first row in this body", 1, 2**53),
            flag("end", "false: more rows follow in another request"),
            text("verdicts", "when verdicts are told", enum=["after", "stream", "refused", "none"]),
        ),
        Body(TEXT, (NDJSON, "text/csv", "application/msgpack")), media_types=(NDJSON,),
    ),
    Endpoint(
        "GET", "/api/registrations/{key}", registrations.get_stream, "registrations",
        f"How far a stream has come, {ROWS_MAX} rows at a time, and its receipt",
        StreamState, (_KEY,),
    ),
    Endpoint(
        "GET", "/api/registrations/{key}/verdicts", registrations.get_verdicts, "registrations",
        "What became of its rows", TEXT,
        (_KEY, number("from", "the first row", 1, 2**53), flag("refused", "only refused ones")),
        media_types=(NDJSON,),
    ),
    Endpoint(
        "POST", "/api/receipts/verify", receipts.post_receipt, "registrations",
        "Verify a receipt that this node signed",
        ReceiptChecks,
        (number("after", "the last frame looked at", 0, receipts.SEQUENCE_MAX),),
        Body(TEXT, (PLAIN_TEXT,)), access="anybody",
    ),
)  # fmt: skip


ENDPOINTS: tuple[Endpoint, ...] = (*_HANDLES, *_NODE, *_SESSIONS, *_REGISTRATIONS)
