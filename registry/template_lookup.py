"""Which template an identifier is made from: its own prefix's, or one of a prefix above it."""

from collections.abc import Iterator

from protocol.codes import ResponseCode
from protocol.handle import PREFIX_HANDLE_START, fold_case, prefix_handle
from registry.prefixes import ancestors
from registry.standings import find_standing, silence_words
from registry.tables import Table
from registry.templates import Version, find_version, find_withdrawal
from registry.views import View


class TemplateError(Exception):
    """No template that could be used; the message says why, `response_code` is what to answer."""

    def __init__(
        self, words: str, response_code: ResponseCode = ResponseCode.INVALID_VALUE
    ) -> None:
        super().__init__(words)
        self.response_code = response_code


def usable_prefixes(view: View, handle: bytes) -> Iterator[bytes]:
    """Iterate over the prefixes whose templates a handle may use, its own first."""
    own = prefix_handle(handle)
    for each in (own, *ancestors(own)):
        if view.is_homed(each):
            yield each[len(PREFIX_HANDLE_START) :]


def get_usable(view: View, handle: bytes, name: str, version: int = 0) -> Version:
    """Return the version of a template that a handle is to be made from.

    Args:
        view: the store.
        handle: to be made.
        name: a code, looked for under the handle's own prefix first; or one with its prefix.
        version: 0 is the last one.

    Raises:
        TemplateError: there is none, it was withdrawn, or its prefix or the handle's is suspended.
        RecordError: it is stored damaged.
    """
    table = view.table("templates")
    owner, colon, code = name.rpartition(":")
    wanted = fold_case(owner.encode("utf-8", "backslashreplace"))
    prefixes = list(usable_prefixes(view, handle))
    own = prefix_handle(handle)
    named = PREFIX_HANDLE_START + wanted
    _check_silence(view, own)
    if colon and named in ancestors(own):
        _check_silence(view, named)
    if colon and wanted not in prefixes:
        raise TemplateError(
            f"template {name[:100]!r} cannot be used here: {owner[:80]!r} is not the prefix of the "
            "identifier or one above it on this node"
        )
    for prefix in [wanted] if colon else prefixes:
        found = find_version(table, prefix, code, version)
        if found is not None:
            return _check_withdrawn(table, found)
    if version:
        raise TemplateError(f"there is no version {version} of a template {name[:100]!r}")
    raise TemplateError(f"there is no template {name[:100]!r} for this identifier's prefix")


def _check_silence(view: View, prefix: bytes) -> None:
    standing = find_standing(view, prefix)
    if standing is not None and standing.silent:
        words = silence_words(prefix, standing)
        raise TemplateError(words, ResponseCode.INSUFFICIENT_PERMISSIONS)


def _check_withdrawn(table: Table, found: Version) -> Version:
    withdrawal = find_withdrawal(table, found.number)
    if withdrawal is not None:
        why = f" ({withdrawal.reason})" if withdrawal.reason else ""
        raise TemplateError(
            f"version {found.template.version} of {found.template.name} was withdrawn{why}: use "
            "another version"
        )
    return found
