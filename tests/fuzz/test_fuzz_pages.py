import ctypes
import importlib
import mmap
import multiprocessing
import os
import struct
from types import ModuleType

import pytest

from resolver.fastpath import is_native_built
from tests.fuzz import fuzz_pages
from tests.fuzz.fuzz_pages import META_MAGIC_AT, META_PAGE_OCTETS_AT, Fuzzer
from tests.fuzz.page_trees import request

pytestmark = pytest.mark.skipif(not is_native_built(), reason="the native batch was not built here")

FILE_OCTETS = 8_192


def load_native() -> ModuleType:
    return importlib.import_module("resolver._batch")


def test_a_few_damaged_files_are_walked() -> None:
    fuzzer = Fuzzer(load_native(), seed=2)
    fuzzer.run(500)
    keys, touched = fuzzer.walked
    assert keys // 10 < touched < keys  # each walk's count is checked where it is taken


def test_of_whole_files_every_key_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_pages, "mutate", lambda tree, choose: tree.octets)
    fuzzer = Fuzzer(load_native(), seed=3)
    fuzzer.run(100)
    assert fuzzer.walked.touched > 1_000


def walk_one_page() -> None:
    """Walk a file that says it is one page, twice, with memory behind it that nobody may read."""
    room = max(FILE_OCTETS, mmap.PAGESIZE)
    area = mmap.mmap(-1, room + mmap.PAGESIZE)
    struct.pack_into("<II", area, room - FILE_OCTETS + META_MAGIC_AT, 0xBEEFC0DE, 1)
    struct.pack_into("<I", area, room - FILE_OCTETS + META_PAGE_OCTETS_AT, FILE_OCTETS)
    end = ctypes.addressof(ctypes.c_char.from_buffer(area)) + room
    protected = ctypes.CDLL(None).mprotect(ctypes.c_void_p(end), mmap.PAGESIZE, 0)
    assert protected == 0
    fileno = os.memfd_create("pages")
    os.ftruncate(fileno, FILE_OCTETS)
    native = load_native()
    batch = native.Batch(-1, case_sensitive=True, cached=True, authoritative=True, site_serial=1)
    batch.touch_pages_of(native.MappedPages(end - FILE_OCTETS, FILE_OCTETS, fileno, b""))
    for _ in range(2):
        batch.load([request(b"1/A"), request(b"1/B")])
        assert batch.touched == 0


def test_a_file_of_one_page_is_not_left_by_the_second_walk() -> None:
    process = multiprocessing.get_context("spawn").Process(target=walk_one_page)
    process.start()
    process.join()
    assert process.exitcode == 0
