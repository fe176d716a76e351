import importlib

import pytest

from resolver.rows.native import is_native_built
from tests.fuzz.fuzz_rows import fuzz


@pytest.mark.skipif(not is_native_built(), reason="native code for rows was not built here")
def test_a_little_fuzz() -> None:
    assert fuzz(importlib.import_module("resolver._rows"), inputs=10_000, seed=2) > 1_000
