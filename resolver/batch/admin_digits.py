"""The twelve digits of an administrator in a batch file: which of them grants what.

    position  1    2    3    4    5    6    7    8     9     10    11    12
    manual    add  del  add  del  mod- re-  add  read  mod-  re-   add   list
    tool      handle    prefix    ify  move val. mod-  re-   add   read  handles
                                                 ify   move  (administrators)

Handle.Net's manual has the first order, with "read values" before the three permissions over
administrators (wire-notes §7). Its tool, as of version 9, takes the digits in the order of the
bits, with "read values" behind those three. Where digits 8 to 11 are alike, both say the same.
Otherwise somebody has to say which order the file was written in; and what is written here goes
to a file as octets then, which mean one thing to everybody.
"""

from enum import StrEnum

from protocol.codes import AdminPermission

_BITS = tuple(1 << place for place in range(AdminPermission.ALL.bit_length()))
_MANUAL = (*_BITS[:7], AdminPermission.READ_VALUE, *_BITS[7:10], AdminPermission.LIST_HANDLES)


class AdminDigits(StrEnum):
    """In which order the digits of administrators are."""

    MANUAL = "manual"
    TOOL = "tool"


_ORDERS = {AdminDigits.MANUAL: _MANUAL, AdminDigits.TOOL: _BITS}
DIGITS = len(_BITS)


def permissions_of(digits: str, order: AdminDigits) -> int:
    """Return the permissions that twelve digits 0 or 1 grant."""
    pairs = zip(_ORDERS[order], digits, strict=True)
    return sum(bit for bit, digit in pairs if digit == "1")


def digits_of(permissions: int) -> str:
    """Return the digits of permissions, in the manual's order."""
    return "".join("1" if permissions & bit else "0" for bit in _MANUAL)


def are_doubtful(digits: str) -> bool:
    """Say whether digits mean one thing by the manual and another to the tool."""
    return permissions_of(digits, AdminDigits.MANUAL) != permissions_of(digits, AdminDigits.TOOL)
