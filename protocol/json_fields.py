"""Fields of JSON objects, taken out with errors that say where and what was expected.

JSON here is what any JSON reader makes of it: dict, list, str, int, float, bool and None. Every
function takes the path of what it reads ("values[2].data") and raises InvalidValueError with it.
"""

import base64
import binascii
import re
from typing import Any

from protocol.errors import InvalidValueError

I32_MIN, I32_MAX = -(2**31), 2**31 - 1
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}")
_TO_STANDARD_ALPHABET = str.maketrans("-_", "+/")


def expect_object(item: Any, where: str) -> dict[str, Any]:
    """Return `item` if it is an object. Raises: InvalidValueError."""
    if not isinstance(item, dict):
        raise InvalidValueError(f"{where} must be an object, not {describe(item)}")
    return item


def expect_list(item: Any, where: str) -> list[Any]:
    """Return `item` if it is an array. Raises: InvalidValueError."""
    if not isinstance(item, list):
        raise InvalidValueError(f"{where} must be an array, not {describe(item)}")
    return item


def expect_text(item: Any, where: str) -> str:
    """Return `item` if it is a string that UTF-8 can hold. Raises: InvalidValueError."""
    if not isinstance(item, str):
        raise InvalidValueError(f"{where} must be a string, not {describe(item)}")
    try:
        item.encode()
    except UnicodeEncodeError as error:
        raise InvalidValueError(f"{where} has half a character at {error.start}") from None
    return item


def expect_number(item: Any, where: str, low: int = I32_MIN, high: int = I32_MAX) -> int:
    """Return `item` if it is a whole number from `low` to `high`, or the digits of one as text.

    Scripts write numbers in quotes, and Handle.Net takes them. Raises: InvalidValueError.
    """
    if isinstance(item, str) and _WHOLE_NUMBER.fullmatch(item):
        item = int(item)
    if not isinstance(item, int) or isinstance(item, bool):
        raise InvalidValueError(f"{where} must be a whole number, not {describe(item)}")
    if not low <= item <= high:
        raise InvalidValueError(f"{where} is {describe(item)}, allowed are {low} to {high}")
    return item


def expect_bool(item: Any, where: str) -> bool:
    """Return `item` if it is true or false, also in quotes. Raises: InvalidValueError."""
    if isinstance(item, str) and item.lower() in ("true", "false"):
        return item.lower() == "true"
    if not isinstance(item, bool):
        raise InvalidValueError(f"{where} must be true or false, not {describe(item)}")
    return item


def get_field(fields: dict[str, Any], name: str, where: str) -> Any:
    """Return a field that must be there. Raises: InvalidValueError."""
    if name not in fields:
        raise InvalidValueError(f'{where} lacks "{name}"')
    return fields[name]


def get_text(fields: dict[str, Any], name: str, where: str) -> str:
    """Return a string field that must be there. Raises: InvalidValueError."""
    return expect_text(get_field(fields, name, where), f"{where}.{name}")


def get_number(
    fields: dict[str, Any], name: str, where: str, low: int = I32_MIN, high: int = I32_MAX
) -> int:
    """Return a number field that must be there. Raises: InvalidValueError."""
    return expect_number(get_field(fields, name, where), f"{where}.{name}", low, high)


def decode_base64(text: str, where: str) -> bytes:
    """Decode base64, as loosely as Handle.Net does. Raises: InvalidValueError."""
    try:
        return decode_loose_base64(text)
    except (binascii.Error, ValueError) as error:
        raise InvalidValueError(f"{where} is not base64: {error}") from None


def decode_loose_base64(text: str) -> bytes:
    """Decode base64 of either alphabet, spaced and padded or not. Raises: ValueError."""
    plain = "".join(text.translate(_TO_STANDARD_ALPHABET).split()).rstrip("=")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)


def decode_hex(text: str, where: str) -> bytes:
    """Decode hex digits. Raises: InvalidValueError."""
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise InvalidValueError(f"{where} is not hex: {error}") from None


def describe(item: Any) -> str:
    """Return a short description of a JSON item for an error message."""
    names: dict[type, str] = {dict: "an object", list: "an array", type(None): "null"}
    if isinstance(item, int) and item.bit_length() > 64:
        return f"a number of {item.bit_length()} bits"  # Python does not print thousands of digits
    return names.get(type(item)) or repr(item)[:40]
