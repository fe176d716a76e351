import re
from pathlib import Path

from loadtest.resident import held


def locked_octets() -> int:
    """Return what this process has locked in memory."""
    found = re.search(r"^VmLck:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def test_a_store_is_locked_in_memory_as_long_as_it_is_held(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(bytes(32_768))
    before = locked_octets()
    with held(tmp_path):
        inside = locked_octets()
    assert inside - before == 32_768
    assert locked_octets() == before


def test_a_node_without_a_store_is_served_all_the_same(tmp_path: Path) -> None:
    before = locked_octets()
    with held(tmp_path):
        assert locked_octets() == before
