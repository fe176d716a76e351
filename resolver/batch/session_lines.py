"""The lines of a SESSIONSETUP: words with a colon, in any order."""

from collections.abc import Sequence
from dataclasses import replace

from resolver.batch.sections import SessionWish
from resolver.batch.value_lines import SPACE, Line, read_identity, read_number

HOUR_S = 3_600
TIMEOUT_H_MAX = 24 * 365
_WORDS = (
    "USESESSION",
    "PUBEXNGKEYFILE",
    "PUBEXNGKEYREF",
    "PRIVEXNGKEYFILE",
    "PASSPHRASE",
    "OPTIONS",
    "TIMEOUT",
)


def read_session_lines(begin: Line, lines: Sequence[Line], text: str) -> SessionWish:
    """Return what a SESSIONSETUP asks for.

    Args:
        begin: the line with that word.
        lines: those behind it.
        text: all of them, as they are to be repeated.

    Raises:
        BatchError: a word that is unknown or missing, or what stands behind one.
    """
    wish = SessionWish(begin.number, text)
    seen = set()
    for line in lines:
        word, colon, rest = line.text.partition(":")
        at = len(word) + 1 + len(rest) - len(rest.lstrip(SPACE))
        word = word.strip(SPACE).upper()
        if word not in _WORDS or not colon:
            hint = f"one of {', '.join(_WORDS)}, a colon behind it"
            raise line.fault(0, f"{word[:40]!r} says nothing of a session", hint)
        if word in seen:
            raise line.fault(0, f"{word} stands here twice")
        seen.add(word)
        wish = _take(wish, line, word, at, rest.strip(SPACE))
    _check_complete(begin, wish, seen)
    return wish


def _take(wish: SessionWish, line: Line, word: str, at: int, text: str) -> SessionWish:
    match word:
        case "USESESSION":
            return replace(wish, use=read_number(line, at, text, word, 0) > 0)
        case "OPTIONS":
            return _take_options(wish, line, at, text)
        case "TIMEOUT":
            hours = read_number(line, at, text, word, 1)
            if hours > TIMEOUT_H_MAX:
                raise line.fault(
                    at, f"TIMEOUT is {hours} hours, at most {TIMEOUT_H_MAX} make sense"
                )
            return replace(wish, timeout_s=hours * HOUR_S)
        case "PUBEXNGKEYFILE":
            return replace(wish, public_key_path=text)
        case "PUBEXNGKEYREF":
            return replace(wish, public_key_reference=read_identity(line, at, text))
        case "PRIVEXNGKEYFILE":
            return replace(wish, private_key_path=text)
        case _:
            return replace(wish, passphrase=text.encode())


def _take_options(wish: SessionWish, line: Line, at: int, text: str) -> SessionWish:
    if len(text) not in (2, 3) or set(text) - {"0", "1"}:
        hint = "digits 0 or 1: encrypt, authenticate, fall back on challenges"
        raise line.fault(at, f"OPTIONS {text[:40]!r} are none", hint)
    return replace(wish, encrypt=text[0] == "1", fall_back=text[2:] != "0")


def _check_complete(begin: Line, wish: SessionWish, seen: set[str]) -> None:
    at = len(begin.text)
    if "USESESSION" not in seen:
        raise begin.fault(at, "SESSIONSETUP needs USESESSION", "write USESESSION:1")
    if wish.public_key_path and wish.public_key_reference is not None:
        raise begin.fault(at, "two public keys are named", "PUBEXNGKEYFILE or PUBEXNGKEYREF")
    names_public = bool(wish.public_key_path) or wish.public_key_reference is not None
    if names_public != bool(wish.private_key_path):
        hint = "PRIVEXNGKEYFILE and one of PUBEXNGKEYFILE, PUBEXNGKEYREF; or neither"
        raise begin.fault(at, "one half of a key is named and the other is not", hint)
