"""The kernel's tables for many datagrams in one call, laid out by hand for `batch_python`.

They are as Linux has them on 64-bit little-endian machines; elsewhere `is_available` says no.

    iovec    base u64, length u64
    mmsghdr  name u64, name length u32, pad, iovec u64, count u64, control u64 u64, flags i32, pad,
             octets received u32, pad

ctypes structures would do the same at ten times the cost of a number in a `memoryview`.
"""

import contextlib
import ctypes
import struct
import sys
from collections.abc import Callable

MESSAGE_WORDS = 8  # of 8 octets, in one mmsghdr
NAME_OCTETS_AT = 2  # of its 4-octet words: the length of the address
OCTETS_AT = 14  # and how many octets were received
ADDRESS_OCTETS = 128  # sockaddr_storage


def _system_calls() -> tuple[Callable[..., int], Callable[..., int]] | None:
    if sys.byteorder != "little" or struct.calcsize("P") != 8:
        return None
    library = ctypes.CDLL(None, use_errno=True)
    with contextlib.suppress(AttributeError):
        receive, send = library.recvmmsg, library.sendmmsg
        number, pointer = ctypes.c_int, ctypes.c_void_p
        receive.argtypes = [number, pointer, ctypes.c_uint, number, pointer]
        send.argtypes = [number, pointer, ctypes.c_uint, number]
        return receive, send
    return None


CALLS = _system_calls()


def is_available() -> bool:
    """Say whether this machine has the system calls, laid out as they are here."""
    return CALLS is not None


class MessageTable:
    """Messages for the kernel: fixed buffers, headers that point at them, addresses."""

    def __init__(self, messages: int, octets: int) -> None:
        """Make room for so many messages of so many octets."""
        self.octets = octets
        self._buffers = ctypes.create_string_buffer(messages * octets)
        self._iovecs = (ctypes.c_uint64 * (2 * messages))()
        self._headers = (ctypes.c_uint64 * (MESSAGE_WORDS * messages))()
        self.memory = memoryview(self._buffers).cast("B")
        self.iovecs = memoryview(self._iovecs).cast("B").cast("Q")
        self.words = memoryview(self._headers).cast("B").cast("Q")
        self.halves = memoryview(self._headers).cast("B").cast("I")
        self.headers_at = ctypes.addressof(self._headers)
        for number in range(messages):
            self.iovecs[2 * number] = ctypes.addressof(self._buffers) + number * octets
            self.iovecs[2 * number + 1] = octets
            at = MESSAGE_WORDS * number
            self.words[at + 2] = ctypes.addressof(self._iovecs) + 16 * number
            self.words[at + 3] = 1
