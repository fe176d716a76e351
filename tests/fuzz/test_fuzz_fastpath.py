import importlib

import pytest

from resolver.fastpath import is_native_built
from tests.fuzz.fuzz_fastpath import fuzz


@pytest.mark.skipif(not is_native_built(), reason="the native batch was not built here")
def test_a_little_fuzz() -> None:
    native = importlib.import_module("resolver._batch")
    assert fuzz(native, inputs=20_000, seed=2) > 200
