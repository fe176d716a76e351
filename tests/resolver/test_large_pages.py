from pathlib import Path

import pytest

from resolver.large_pages import ask_for_large_pages, memory_octets
from resolver.mapped_file import find_mapped
from tests.registry.builders import open_store

THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def flags_of(path: Path) -> list[str]:
    """Return the kernel's flags of the mapping of a file (VmFlags in proc(5))."""
    mapped = find_mapped(path)
    assert mapped is not None
    lines = Path("/proc/self/smaps").read_text().splitlines()
    starts = [at for at, line in enumerate(lines) if line.startswith(f"{mapped.start:x}-")]
    return next(line for line in lines[starts[0] :] if line.startswith("VmFlags:")).split()[1:]


@pytest.mark.skipif(not THP.exists(), reason="a kernel without transparent huge pages")
def test_a_store_that_fits_into_memory_is_asked_for_in_large_pages(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        assert "hg" not in flags_of(store.data_file)
        assert ask_for_large_pages(store.data_file)
        assert "hg" in flags_of(store.data_file)


def test_one_that_does_not_fit_is_left_alone(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        octets = store.data_file.stat().st_size
        assert not ask_for_large_pages(store.data_file, memory=octets)
        assert "hg" not in flags_of(store.data_file)


def test_a_file_that_is_not_mapped_is_left_alone(tmp_path: Path) -> None:
    assert not ask_for_large_pages(tmp_path / "nothing")
    assert memory_octets() > 1 << 20
