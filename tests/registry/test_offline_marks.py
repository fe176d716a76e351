"""Marks in files: exported behind their rows, loaded as they were, refused with reasons."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.export import count_left_out, export_forms
from registry.journal import OWNER, Kind, decode_frame
from registry.mark_changes import read_mark
from registry.marks import REASON_OCTETS_MAX, Mark, State
from registry.offline import LoadRow, RefusedRow, load_records
from registry.outcomes import Refusal
from registry.store import Store
from registry.verify import verify
from resolver.rows.ndjson import read_load_rows
from tests.registry.builders import (
    ADMIN,
    HANDLE,
    NOW_S,
    PREFIX,
    ROOT,
    create,
    hidden,
    open_store,
    perform,
    rows_of,
    url,
    values_of,
)
from tests.registry.lives import act, done
from tests.registry.office import do, give_out
from tests.registry.range_builders import LOT, prepare, register

OTHER = b"88.118/OTHER"
LONG = b"88.118/" + b"L" * 700
SINCE_S = NOW_S + 60


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store") as opened:
        prepare(opened)
        for handle in (HANDLE, OTHER, LONG):
            perform(opened, create(handle, url(), hidden(2)))
        yield opened
    assert verify(tmp_path / "store").is_whole


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "other") as opened:
        yield opened
    report = verify(tmp_path / "other")
    assert report.is_whole, report.problems


def forms_of(store: Store, page_records: int = 1) -> list[dict[str, Any]]:
    return list(export_forms(store, page_records))


def load(store: Store, *forms: Any, now_s: int = NOW_S + 99) -> tuple[int, int, list[RefusedRow]]:
    """Return how many were stored, how many existed, and those refused."""
    lines = [json.dumps(form).encode() + b"\n" for form in forms]
    rows = [row for row in read_load_rows(lines, now_s) if isinstance(row, LoadRow)]
    assert len(rows) == len(forms)
    (batch,) = load_records(store, rows, now_s=lambda: now_s)
    return batch.stored, batch.existed, batch.refused


def mark_of(store: Store, handle: bytes) -> Mark | None:
    with store.read() as view:
        return view.find_mark(handle)


def mark(operation: str = "freeze", handle: bytes = HANDLE, **others: Any) -> dict[str, Any]:
    return {"handle": handle.decode(), "operation": operation, "reason": "court order"} | others


def test_marks_come_out_behind_their_rows_and_go_in_as_they_were(
    store: Store, other: Store
) -> None:
    done(act(store, "life.freeze", handle=HANDLE, reason="法院裁定"))
    done(act(store, "life.revoke", ROOT, handle=LONG, reason="forged"))
    forms = forms_of(store)
    assert forms == forms_of(store, 1_000)
    named = [(form["handle"], form.get("operation"), form.get("state")) for form in forms]
    assert named == [
        (PREFIX.decode(), None, None),
        (HANDLE.decode(), None, None),
        (HANDLE.decode(), "freeze", None),
        (LONG.decode(), None, "revoked"),
        (LONG.decode(), "revoke", None),
        (OTHER.decode(), None, None),
    ]
    assert forms[2] == mark(reason="法院裁定", time="2026-11-18T11:07:40Z", by="300:0.NA/88.118")
    assert load(other, *forms) == (6, 0, [])
    assert rows_of(other) == rows_of(store)
    assert mark_of(other, LONG) == Mark(State.REVOKED, SINCE_S, ROOT, "forged")
    assert forms_of(other) == forms
    assert load(other, *forms) == (0, 6, [])


def test_the_journal_says_who_loaded_a_mark_and_what_it_says(store: Store, other: Store) -> None:
    done(act(store, "life.revoke", handle=HANDLE, reason="forged"))
    load(other, *forms_of(store))
    with other.read() as view:
        ((_, frame),) = view.frames()
    (made,) = [each for each in decode_frame(frame).operations if each.kind == Kind.MARK]
    assert (made.actor, made.time_s) == (OWNER, NOW_S + 99)
    assert read_mark(made) == (State.REVOKED, Mark(State.REVOKED, SINCE_S, ADMIN, "forged"))


def test_a_revoked_name_that_was_loaded_is_not_given_out_again(store: Store, other: Store) -> None:
    done(act(store, "life.revoke", handle=HANDLE, reason="forged"))
    load(other, *forms_of(store))
    values = [{"index": 1, "type": "A", "data": {"format": "string", "value": "new"}}]
    _, _, (refused,) = load(other, {"handle": HANDLE.decode(), "values": values})
    assert (refused.code, "forged" in refused.reason) == (101, True)
    (outcome,) = perform(prepare(other), create(HANDLE, url()))
    assert isinstance(outcome, Refusal)
    assert "forged" in outcome.message.decode()


def test_one_of_a_range_that_never_had_a_row_of_its_own(store: Store, other: Store) -> None:
    register(store)
    done(act(store, "life.revoke", handle=f"{LOT}0007", reason="recalled"))
    done(act(store, "life.freeze", handle=f"{LOT}0008", reason=""))
    forms = forms_of(store)
    assert load(other, *forms)[2] == []
    assert rows_of(other) == rows_of(store)
    assert mark_of(other, f"{LOT}0007".encode()) == Mark(State.REVOKED, SINCE_S, ADMIN, "recalled")
    assert mark_of(other, f"{LOT}0008".encode()) == Mark(State.FROZEN, SINCE_S, ADMIN)
    assert forms_of(other) == forms
    # A line is enough where the range has the identifier.
    load(other, mark("revoke", f"{LOT}0009".encode()))
    assert mark_of(other, f"{LOT}0009".encode()) == Mark(
        State.REVOKED, NOW_S + 99, OWNER, "court order"
    )


def test_a_frozen_one_may_be_revoked_by_a_line(store: Store) -> None:
    assert load(store, mark(), mark("revoke", reason="forged"))[0] == 2
    found = mark_of(store, HANDLE)
    assert found == Mark(State.REVOKED, NOW_S + 99, OWNER, "forged")


@pytest.mark.parametrize(
    ("form", "code", "words"),
    [
        (mark(handle=b"88.118/NONE"), 100, "its row comes before its mark"),
        (mark("revoke", reason=" "), 202, "needs a reason"),
        (mark("revoke", reason=None), 202, "the reason is no text"),
        (mark(reason="x" * (REASON_OCTETS_MAX + 1)), 202, "1025 octets"),
        (mark(reason="two\nlines"), 202, "line end"),
        (mark("revoke", PREFIX), 102, "suspended and released"),
        (mark(time=7), 202, "time must be a time such as"),
        (mark(by="me"), 202, "by must be an identity such as"),
        (mark(handle=OTHER, reason="for another reason"), 101, "is frozen by 300:0.NA/88.118"),
        (mark("freeze", LONG), 101, "never given out again"),
        (mark("revoke", LONG), 101, "never given out again"),
    ],
)
def test_marks_that_are_refused(store: Store, form: Any, code: int, words: str) -> None:
    done(act(store, "life.freeze", handle=OTHER, reason="audit"))
    done(act(store, "life.revoke", handle=LONG, reason="forged"))
    before = rows_of(store)
    stored, _, (refused,) = load(store, form)
    assert (stored, refused.code) == (0, code)
    assert words in refused.reason
    assert rows_of(store) == before


def test_the_handle_of_a_suspended_prefix_is_exported_in_its_place(
    store: Store, other: Store
) -> None:
    give_out(store)
    handle = b"0.NA/88.118.5"
    values = values_of(store, handle)
    whole = forms_of(store)
    do(store, "prefixes.suspend", {"prefix": "88.118.5", "reason": "unpaid"})
    assert values_of(store, handle) is None
    for page_records in range(1, 8):
        assert forms_of(store, page_records) == whole
    entries, suspended = count_left_out(store)
    assert (entries > 0, suspended) == (True, 1)
    assert load(other, *whole)[2] == []
    assert values_of(other, handle) == values
    assert forms_of(other) == whole
    # What the owner of the machine made in its place meanwhile is what is exported.
    made = {"index": 1, "type": "URL", "data": {"format": "string", "value": "new"}}
    load(store, {"handle": handle.decode(), "values": [made]})
    (form,) = [form for form in forms_of(store) if form["handle"] == handle.decode()]
    assert [value["type"] for value in form["values"]] == ["URL"]
