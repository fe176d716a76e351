from registry.range_records import FoundRow
from resolver.batch_python import Datagram

DATAGRAMS_MAX: int

class MappedPages:
    def __init__(self, start: int, octets: int, fileno: int, database: bytes) -> None: ...

class Batch:
    keys: list[bytes]
    prefixes: list[bytes]
    answered: int
    missing: int
    refused: int
    touched: int

    def __init__(
        self,
        fileno: int,
        *,
        case_sensitive: bool,
        cached: bool,
        authoritative: bool,
        site_serial: int,
    ) -> None: ...
    @staticmethod
    def seek_keys(keys: list[bytes]) -> list[bytes]: ...
    def receive(self) -> int: ...
    def load(self, datagrams: list[Datagram]) -> int: ...
    def assemble(self, rows: list[FoundRow], homed: list[bool], now_s: int) -> list[Datagram]: ...
    def send(self) -> list[Datagram]: ...
    def take(self) -> list[Datagram]: ...
    def touch_pages_of(self, rows: MappedPages, ranges: MappedPages | None = None) -> None: ...
