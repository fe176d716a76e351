"""Runs the tests that PYHANDLE brings along, in a process of their own: warnings stay in there.

    python pyhandle_runner.py FOLDER

FOLDER/testcases holds their modules, FOLDER/resources the values they are given. Printed is a JSON
object: the name of each test, `Class.test`, with "passed" or how it failed.
"""

import importlib.util
import json
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tests_in(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from tests_in(each)
        else:
            yield each


def run(test: unittest.TestCase) -> str:
    result = unittest.TestResult()
    test.run(result)
    troubles: list[tuple[Any, str]] = [*result.errors, *result.failures]
    return troubles[0][1] if troubles else "skipped" if result.skipped else "passed"


def main() -> None:
    loader = unittest.TestLoader()
    ended = {}
    for path in sorted((Path(sys.argv[1]) / "testcases").glob("*_integration_test.py")):
        for test in tests_in(loader.loadTestsFromModule(load(path))):
            name = f"{type(test).__name__}.{test.id().rpartition('.')[2]}"
            if name not in sys.argv[2:]:
                ended[name] = run(test)
    json.dump(ended, sys.stdout)


if __name__ == "__main__":
    main()
