"""Any history of the prefix office replays to the same store, and keeps to the states' table."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.act_steps import Done
from registry.answers import Question, resolve
from registry.log import LocalLog
from registry.offline import seed_store
from registry.outcomes import Need
from registry.standings import TRANSITIONS, State, find_standing
from registry.store import Store
from registry.verify import verify
from tests.registry.builders import (
    ADMIN,
    NOW_S,
    PREFIX,
    ROOT,
    admin_value,
    create,
    open_store,
    perform,
    url,
)
from tests.registry.office import APPLICANT_KEY, NOW_MS, OFFICE_POLICY, act, application, site

PREFIXES = ("88.118.5", "88.118.6")
Step = Callable[[Store], None]


def asking(name: str, **parameters: Any) -> tuple[str, dict[str, Any]]:
    return name, parameters


NUMBERS = st.integers(1, 3)
STEPS = st.one_of(
    st.builds(lambda prefix: asking("applications.apply", **application(prefix, site=site())),
              st.sampled_from(PREFIXES)),
    st.builds(lambda number, mode: asking("applications.approve", number=number, mode=mode),
              NUMBERS, st.sampled_from(["hosted", "delegated"])),
    st.builds(lambda number: asking("applications.refuse", number=number, reason="no"), NUMBERS),
    st.builds(lambda verb, prefix: asking(f"prefixes.{verb}", prefix=prefix, reason="because"),
              st.sampled_from(["suspend", "resume", "release", "remove"]),
              st.sampled_from(PREFIXES)),
    st.builds(lambda prefix: asking("prefixes.transfer", prefix=prefix, publicKey=APPLICANT_KEY),
              st.sampled_from(PREFIXES)),
    st.builds(lambda limit: asking("quotas.set", prefix="88.118", identifiersPerDay=limit),
              st.none() | st.integers(0, 3)),
    st.just(asking("create")),
    st.just(asking("seal")),
)  # fmt: skip


GIVEN_OUT = (
    asking("applications.apply", **application(PREFIXES[0])),
    asking("applications.approve", number=1, mode="hosted"),
)


def take(store: Store, step: tuple[str, dict[str, Any]], at: int) -> None:
    name, parameters = step
    if name == "create":
        perform(store, create(b"88.118/X%d" % at, url()), identity=ADMIN, policy=OFFICE_POLICY)
    elif name == "seal":
        with store.write() as view:
            LocalLog(view).trim(0, LocalLog(view).seal_snapshot(NOW_MS).seq)
    else:
        before = states(store)
        outcome = act(store, name, parameters)
        check(before, states(store), name, parameters, isinstance(outcome, Done))


def states(store: Store) -> dict[str, State | None]:
    with store.read() as view:
        found = {prefix: find_standing(view, b"0.NA/" + prefix.encode()) for prefix in PREFIXES}
    return {prefix: each.state if each else None for prefix, each in found.items()}


def check(
    before: dict[str, State | None],
    after: dict[str, State | None],
    name: str,
    parameters: dict[str, Any],
    is_done: bool,
) -> None:
    if not name.startswith("prefixes."):
        return
    verb, prefix = name.partition(".")[2], parameters["prefix"]
    was = before[prefix]
    wanted = TRANSITIONS.get((was, verb)) if was is not None else None
    if not is_done:
        assert after == before
        return
    assert wanted is not None, f"{verb} of {prefix}, which was {was}"
    assert after[prefix] == (None if wanted == State.DELETED else wanted)


@settings(max_examples=60, deadline=None)
@given(st.booleans(), st.lists(STEPS, max_size=14))
def test_any_history_of_the_office_replays_to_the_same_store(
    tmp_path_factory: pytest.TempPathFactory,
    is_given_out: bool,
    steps: list[tuple[str, dict[str, Any]]],
) -> None:
    folder: Path = tmp_path_factory.mktemp("office")
    records = {b"0.NA/0.NA": [admin_value(ROOT)], PREFIX: [admin_value()]}
    seed_store(folder / "store", records, [b"0.NA/0.NA", PREFIX], now_s=NOW_S)
    with open_store(folder / "store") as store:
        for at, step in enumerate([*(GIVEN_OUT if is_given_out else ()), *steps]):
            take(store, step, at)
        with store.read() as view:
            for prefix in PREFIXES:
                handle = b"0.NA/" + prefix.encode()
                standing = find_standing(view, handle)
                answer = resolve(view, Question(handle))
                assert not isinstance(answer, Need)
                is_silent = standing is not None and standing.silent
                assert (answer.response_code == 401) == is_silent
    assert verify(folder / "store").problems == []
    shutil.rmtree(folder)
