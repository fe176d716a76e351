"""Parameters of the prefix office's acts: what they may be, and the words when they are not.

Every text a stranger can send has a limit here. `read` turns parameters into a form, a msgspec
structure, or into a refusal that names the field.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from protocol.codes import ResponseCode
from protocol.handle import PREFIX_HANDLE_START, fold_handle
from registry.outcomes import Refusal, refuse
from registry.prefixes import PREFIX_OCTETS_MAX, prefix_fault

NAME_LETTERS_MAX = 200
LINE_LETTERS_MAX = 300  # addresses and places
WORD_LETTERS_MAX = 64  # kinds and numbers of certificates
REASON_LETTERS_MAX = 120  # shown to everybody who asks for a suspended prefix
PEM_LETTERS_MAX = 8_192

_SHAPES: dict[str, str] = {}


def shape(pattern: str, words: str) -> str:
    """Return a pattern that texts have to match; `words` say to people what that means."""
    _SHAPES[pattern] = words
    return pattern


# At least one letter that shows, and nothing that a terminal would act upon.
_PLAIN = shape(
    r"\A(?=.*\S)[^\x00-\x1f\x7f-\x9f\u2028\u2029]+\Z", "text, not blank, without control characters"
)

Name = Annotated[str, Meta(max_length=NAME_LETTERS_MAX, pattern=_PLAIN)]
Line = Annotated[str, Meta(max_length=LINE_LETTERS_MAX, pattern=_PLAIN)]
Word = Annotated[str, Meta(max_length=WORD_LETTERS_MAX, pattern=_PLAIN)]
Reason = Annotated[str, Meta(max_length=REASON_LETTERS_MAX, pattern=_PLAIN)]
Prefix = Annotated[str, Meta(max_length=PREFIX_OCTETS_MAX)]
Number = Annotated[int, Meta(ge=1, lt=1 << 53)]


class Form(msgspec.Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """Parameters with camelCase names, none but those that are known."""


FormType = TypeVar("FormType", bound=Form)


def read(parameters: Mapping[str, Any], form: type[FormType]) -> FormType | Refusal:
    """Return parameters as a form, or the refusal that says which one is wrong."""
    try:
        return msgspec.convert(dict(parameters), form)
    except (msgspec.ValidationError, RecursionError) as error:
        return refuse(ResponseCode.INVALID_VALUE, _words(str(error)))


def _words(error: str) -> str:
    """Put the field first: "address.city: expected ..."."""
    what, at, path = error.partition(" - at `")
    what = what[:1].lower() + what[1:]
    for pattern, words in _SHAPES.items():
        what = what.replace(f"`str` matching regex {pattern!r}", words)
    return f"{path.rstrip('`').removeprefix('$.') or 'parameters'}: {what}" if at else what


def read_prefix(prefix: str) -> bytes | Refusal:
    """Return the folded handle of a prefix that was named: `88.118.5` or `0.NA/88.118.5`."""
    start = PREFIX_HANDLE_START.decode()
    if prefix[: len(start)].upper() == start:
        prefix = prefix[len(start) :]
    fault = prefix_fault(prefix)
    if fault is None and (prefix == "0" or prefix.startswith("0.")):
        fault = "what begins with 0 is the Handle System's own"
    if fault is not None:
        return refuse(ResponseCode.INVALID_HANDLE, f"{prefix[:80]!r} is not a prefix: {fault}")
    return fold_handle(PREFIX_HANDLE_START + prefix.encode("utf-8", "surrogateescape"))
