from collections.abc import Callable
from typing import Protocol, TypeVar

from typing_extensions import Buffer

from registry.stream_rows import PackedRow

Other = TypeVar("Other")

class Hash(Protocol):
    def digest(self) -> bytes: ...

def read_lines(
    data: Buffer,
    now_s: int,
    octets_max: int,
    sha256: Callable[[bytes], Hash],
    read_other: Callable[[bytes], Other],
) -> list[PackedRow | Other]: ...
def pack_lines(
    data: Buffer,
    start: int,
    now_s: int,
    octets_max: int,
    sha256: Callable[[bytes], Hash],
    pack_other: Callable[[bytes], bytes],
    rows_max: int,
    packed_max: int,
) -> tuple[int, bytes, int]: ...
