import mmap
import os
from pathlib import Path

from resolver.mapped_file import find_mapped


def test_a_file_is_found_where_it_is_mapped(tmp_path: Path) -> None:
    path = tmp_path / "data with space"
    path.write_bytes(b"x" * 10_000)
    assert find_mapped(path) is None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        found = find_mapped(path)
        assert found is not None
        assert found.octets == 12_288
        assert os.fstat(found.fileno).st_ino == path.stat().st_ino
        os.close(found.fileno)
        path.rename(tmp_path / "older")
        path.write_bytes(b"another file of that name")
        assert find_mapped(path) is None


def test_what_cannot_be_told_is_not_found(tmp_path: Path) -> None:
    path = tmp_path / "data"
    assert find_mapped(path) is None
    path.write_bytes(b"x" * 10_000)
    assert find_mapped(path, maps=tmp_path / "none") is None
    with path.open("rb") as file:
        first = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        second = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        with first, second:
            assert find_mapped(path) is None  # which of the two?
