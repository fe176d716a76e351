"""Verdicts as lines: each row has one, and one that is not the row of before is refused."""

import asyncio
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import StoreError
from registry.streams import ROW_DIGEST_OCTETS, Batch, Run, Verdict, cut
from resolver.api.context import Context
from resolver.api.verdict_lines import verdict_lines
from resolver.registrations import find_runs

NAME = b"stream"
RUNS = st.lists(
    st.builds(
        Run,
        st.integers(1, 5),
        st.sampled_from(Verdict),
        st.sampled_from([1, 101]),
        st.sampled_from([b"", b"taken"]),
    ),
    min_size=1,
    max_size=4,
)


class Kept:
    """Verdicts of rows 1 to `count`, as a worker finds them: in batches."""

    def __init__(self, batches: list[list[Run]]) -> None:
        self.operations = self
        self._batches: list[Batch] = []
        first = 1
        for number, runs in enumerate(batches, 1):
            rows = sum(run.rows for run in runs)
            octets = bytes(rows * ROW_DIGEST_OCTETS)
            self._batches.append(Batch(first, number, 0, octets, tuple(runs)))
            first += rows
        self.count = first - 1
        self.verdicts = [Verdict(run.verdict) for runs in batches for run in runs
                         for _ in range(run.rows)]  # fmt: skip

    def find_verdicts(self, name: bytes, first: int, last: int) -> Batch | None:
        assert name == NAME
        for batch in self._batches:
            end = batch.first + batch.rows - 1
            if first <= end:
                return cut(batch, max(first, batch.first), min(last, end))
        return None


def tell(kept: Kept, first: int, last: int, **more: Any) -> list[dict[str, Any]]:
    async def gather() -> bytes:
        lines = verdict_lines(cast("Context", kept), NAME, first, last, **more)
        return b"".join([each async for each in lines])

    return [msgspec.json.decode(line) for line in asyncio.run(gather()).splitlines()]


@given(st.lists(RUNS, min_size=1, max_size=4), st.data())
def test_every_row_is_told_once_and_changed_ones_are_refused(
    batches: list[list[Run]], data: st.DataObject
) -> None:
    kept = Kept(batches)
    first = data.draw(st.integers(1, kept.count))
    last = data.draw(st.integers(first, kept.count))
    changed = data.draw(st.sets(st.integers(1, kept.count)))
    lines = tell(kept, first, last, only_refused=False, changed=find_runs(sorted(changed)))
    told = {}
    for line in lines:
        for row in range(line["row"], line.get("through", line["row"]) + 1):
            assert row not in told
            told[row] = line
    assert sorted(told) == list(range(first, last + 1))
    for row, line in told.items():
        expected = Verdict.REFUSED if row in changed else kept.verdicts[row - 1]
        assert line["verdict"] == expected.name.lower()
        assert ("sequence" in line) == (expected != Verdict.REFUSED)
        assert (row in changed) == ("another row" in line.get("message", ""))
    refused = tell(kept, first, last, only_refused=True, changed=find_runs(sorted(changed)))
    assert refused == [line for line in lines if line["verdict"] == "refused"]


def test_verdicts_that_are_gone_are_an_error() -> None:
    kept = Kept([[Run(2, Verdict.CREATED)]])
    with pytest.raises(StoreError, match="not kept"):
        tell(kept, 1, 3, only_refused=False)
