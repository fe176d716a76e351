"""Freezing, thawing, revoking: who may, what is refused afterwards, and in which words."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from protocol.codes import AdminPermission, ResponseCode
from protocol.types.hs_pubkey import encode_public_key
from protocol.value import Reference, encode_values
from registry.answers import Answer, Question, resolve
from registry.bulk import register_rows
from registry.log import LocalLog
from registry.marks import REASON_OCTETS_MAX
from registry.offline import LoadPolicy, LoadRow, load_records, replace_key, seed_store
from registry.outcomes import NOTHING_FOREIGN, Need
from registry.plain_creations import PlainCreation, PlainCreations
from registry.schema import Record
from registry.store import Store
from registry.stream_rows import Row, RowKind
from registry.streams import Stream, Verdict, batches
from registry.verify import verify
from tests.registry.builders import (
    ADMIN,
    HANDLE,
    NOW_S,
    POLICY,
    PREFIX,
    ROOT,
    STRANGER,
    add,
    admin_value,
    create,
    delete,
    group,
    hidden,
    modify,
    open_store,
    perform,
    remove,
    rows_of,
    url,
    values_of,
)
from tests.registry.lives import act, done, refused

SINCE = "2026-11-18T11:07:40Z"
BY = "300:0.NA/88.118"
LONG = b"88.118/" + b"L" * 700


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "store"
    homed = [b"0.NA/0.NA", PREFIX]
    seed_store(place, {b"0.NA/0.NA": [admin_value(ROOT)], PREFIX: [admin_value()]}, homed, now_s=1)
    return place


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with open_store(folder) as opened:
        for handle in (HANDLE, LONG):
            perform(opened, create(handle, url(), hidden(2)))
        yield opened
    assert verify(folder).is_whole


def answer(store: Store, handle: bytes = HANDLE) -> Answer:
    with store.read() as view:
        found = resolve(view, Question(handle))
    assert isinstance(found, Answer)
    return found


def test_the_life_of_an_identifier(store: Store) -> None:
    shown = {"handle": "88.118/A"}
    assert done(act(store, "life.show", None, handle=HANDLE)) == {**shown, "state": "active"}
    frozen = {**shown, "state": "frozen", "since": SINCE, "by": BY, "reason": "under review"}
    assert done(act(store, "life.freeze", handle=HANDLE, reason=" under review ")) == frozen
    assert done(act(store, "life.show", None, handle="88.118/a")) == {
        **frozen,
        "handle": "88.118/a",
    }
    thawed = done(act(store, "life.thaw", handle=HANDLE))
    assert thawed == {**frozen, "state": "active", "reason": ""}
    assert done(act(store, "life.show", None, handle=HANDLE)) == {**shown, "state": "active"}
    assert perform(store, modify(HANDLE, url(data=b"new")))[0]
    revoked = done(act(store, "life.revoke", handle=HANDLE, reason="printed twice"))
    assert revoked == {**frozen, "state": "revoked", "reason": "printed twice"}
    assert done(act(store, "life.show", None, handle=HANDLE)) == revoked


@pytest.mark.parametrize("handle", [HANDLE, LONG])
def test_what_is_frozen_answers_as_before_and_nothing_changes_it(
    store: Store, handle: bytes
) -> None:
    before = answer(store, handle)
    rows = rows_of(store)
    done(act(store, "life.freeze", handle=handle, reason="court order"))
    frozen = rows_of(store)
    assert answer(store, handle) == before
    assert [each.index for each in values_of(store, handle) or ()] == [1, 2]
    attempts = [
        add(handle, url(9)),
        modify(handle, url(1, b"x")),
        remove(handle, 1),
        delete(handle),
        create(handle, url(1, b"x"), overwrite=True),
    ]
    for attempt in attempts:
        for identity in (ADMIN, ROOT, None):
            code, words = refused(perform(store, attempt, identity=identity)[0])
            assert code == ResponseCode.INSUFFICIENT_PERMISSIONS
            assert f"is frozen by {BY} at {SINCE}: court order; " in words
            assert "biaoshi life thaw" in words
    assert refused(perform(store, create(handle, url()))[0])[0] == 101
    assert rows_of(store) == frozen
    done(act(store, "life.thaw", handle=handle))
    assert rows_of(store) == rows
    assert refused(act(store, "life.thaw", handle=handle))[0] == ResponseCode.INVALID_VALUE


@pytest.mark.parametrize("handle", [HANDLE, LONG])
@pytest.mark.parametrize("was_frozen", [False, True])
def test_what_is_revoked_is_never_given_out_again(
    store: Store, handle: bytes, was_frozen: bool
) -> None:
    with store.read() as view:
        count = view.count_records()
    if was_frozen:
        done(act(store, "life.freeze", handle=handle))
    done(act(store, "life.revoke", handle=handle, reason="forged"))
    words = f"{handle.decode()} was revoked by {BY} at {SINCE}: forged"
    found = answer(store, handle)
    assert (found.response_code, found.message.decode()) == (100, words)
    assert values_of(store, handle) is None
    for attempt in (add(handle, url(9)), modify(handle, url()), remove(handle, 1), delete(handle)):
        assert refused(perform(store, attempt)[0]) == (100, words)
    for overwrite in (False, True):
        code, said = refused(perform(store, create(handle, url(), overwrite=overwrite))[0])
        assert (code, said) == (101, f"{words}; a revoked name is never given out again")
    for name in ("life.freeze", "life.thaw", "life.revoke"):
        assert refused(act(store, name, handle=handle, reason="again")) == (100, words)
    with store.read() as view:
        assert (view.count_records(), view.counts().revoked) == (count - 1, 1)
        assert view.fold(handle) not in view.list_handles(PREFIX, None, 9).handles
        assert view.fold(handle) not in [name for name, _ in view.records()]
        assert view.fold(handle) not in [name for _, name, _ in view.page_records(b"", 9)]


def test_what_is_frozen_is_listed_and_counted(store: Store) -> None:
    with store.read() as view:
        before = (
            view.list_handles(PREFIX, None, 9).handles,
            view.count_records(),
            list(view.records()),
        )
    for handle in (HANDLE, LONG):
        done(act(store, "life.freeze", handle=handle))
    with store.read() as view:
        after = (
            view.list_handles(PREFIX, None, 9).handles,
            view.count_records(),
            list(view.records()),
        )
    assert after == before


def test_a_name_that_spells_out_a_shortened_key_has_no_mark(store: Store) -> None:
    done(act(store, "life.revoke", handle=LONG, reason="forged"))
    with store.read() as view:
        key = next(key for key, _ in view.rows() if len(key) > 500)
        assert view.find_mark(LONG) is not None
        assert view.find_mark(key) is None


def stream_verdict(store: Store, kind: RowKind, handle: bytes, data: bytes) -> tuple[int, int, str]:
    octets = b"" if kind == RowKind.DELETE else encode_values([url(data=data)])
    stream = Stream(ADMIN, data + bytes([kind]), NOW_S * 1_000)
    with store.write() as view:
        rows = [Row(kind, handle, octets, bytes(32))]
        register_rows(
            view, stream, 1, rows, foreign=NOTHING_FOREIGN, policy=POLICY, now_ms=NOW_S * 1_000
        )
        (run,) = next(iter(batches(view, stream.name, 1))).runs
    return run.verdict, run.code, run.words.decode()


@pytest.mark.parametrize("kind", [RowKind.REPLACE, RowKind.DELETE])
def test_rows_of_streams_change_nothing_that_is_marked(store: Store, kind: RowKind) -> None:
    done(act(store, "life.freeze", handle=HANDLE, reason="court order"))
    done(act(store, "life.revoke", handle=LONG, reason="forged"))
    rows = rows_of(store)
    verdict, code, words = stream_verdict(store, kind, HANDLE, b"x")
    assert (verdict, code, "court order" in words) == (Verdict.REFUSED, 401, True)
    verdict, code, words = stream_verdict(store, kind, LONG, b"x")
    assert (verdict, code) == (Verdict.REFUSED, 100 if kind == RowKind.DELETE else 101)
    assert "forged" in words
    assert rows_of(store) == rows


@pytest.mark.parametrize("kind", [RowKind.PLAIN, RowKind.CREATE])
def test_rows_of_streams_that_create_what_is_marked(store: Store, kind: RowKind) -> None:
    plain = b"88.118/PLAIN"
    assert stream_verdict(store, kind, plain, b"x")[0] == Verdict.CREATED
    done(act(store, "life.freeze", handle=plain))
    with store.write() as view:
        pieces = encode_values([url()]).split(NOW_S.to_bytes(4, "big"))
        creations = PlainCreations(view, POLICY, NOW_S)
        assert creations.create(PlainCreation(plain, pieces), ADMIN) is None
    assert stream_verdict(store, kind, plain, b"y")[:2] == (Verdict.REFUSED, 101)
    again = stream_verdict(store, RowKind.CREATE if kind == RowKind.PLAIN else kind, plain, b"x")
    assert again[0] in (Verdict.UNCHANGED, Verdict.CREATED)
    done(act(store, "life.thaw", handle=plain))
    done(act(store, "life.revoke", handle=plain, reason="forged"))
    verdict, code, words = stream_verdict(store, kind, plain, b"z")
    assert (verdict, code, "forged" in words) == (Verdict.REFUSED, 101, True)


@pytest.mark.parametrize("policy", LoadPolicy)
def test_loading_changes_nothing_that_is_marked(store: Store, policy: LoadPolicy) -> None:
    done(act(store, "life.freeze", handle=HANDLE, reason="court order"))
    done(act(store, "life.revoke", handle=LONG, reason="forged"))
    rows = rows_of(store)
    wanted = [LoadRow(1, HANDLE, [url(5)]), LoadRow(2, LONG, encode_values([url(5)]))]
    (batch,) = load_records(store, wanted, policy=policy, now_s=lambda: NOW_S)
    assert [(each.row.number, each.code) for each in batch.refused] == [(1, 101), (2, 101)]
    assert ["court order" in batch.refused[0].reason, "forged" in batch.refused[1].reason] == [
        True
    ] * 2
    assert rows_of(store) == rows


def test_the_owner_of_the_machine_replaces_a_frozen_key_and_it_stays_frozen(store: Store) -> None:
    done(act(store, "life.freeze", ROOT, handle=PREFIX.decode(), reason="audit"))
    key = encode_public_key(generate_private_key(65_537, 2_048).public_key())
    replace_key(store, Reference(PREFIX, 300), key, now_s=NOW_S)
    found = values_of(store, PREFIX)
    assert found is not None
    assert found[-1].data == key
    assert done(act(store, "life.show", handle=PREFIX))["state"] == "frozen"


# Who may


def rights(permissions: int) -> Any:
    return admin_value(STRANGER, permissions)


FREEZES = AdminPermission.MODIFY_VALUE | AdminPermission.DELETE_HANDLE


@pytest.mark.parametrize(
    ("permissions", "name", "is_permitted"),
    [
        (AdminPermission.DELETE_HANDLE, "life.revoke", True),
        (AdminPermission.ALL & ~AdminPermission.DELETE_HANDLE, "life.revoke", False),
        (FREEZES, "life.freeze", True),
        (AdminPermission.DELETE_HANDLE, "life.freeze", False),
        (AdminPermission.MODIFY_VALUE, "life.freeze", False),
    ],
)
def test_rights_over_the_handle(
    store: Store, permissions: int, name: str, is_permitted: bool
) -> None:
    perform(store, create(b"88.118/own", rights(permissions)))
    outcome = act(store, name, STRANGER, handle="88.118/own", reason="mine")
    if is_permitted:
        assert done(outcome)["by"] == "300:88.118/STRANGER"
    else:
        assert refused(outcome)[0] == ResponseCode.INVALID_ADMIN


def test_thawing_takes_the_same_rights_as_freezing(store: Store) -> None:
    values = [rights(AdminPermission.DELETE_HANDLE), admin_value(index=101)]
    perform(store, create(b"88.118/own", *values))
    done(act(store, "life.freeze", handle="88.118/own"))
    assert refused(act(store, "life.thaw", STRANGER, handle="88.118/own"))[0] == 400
    done(act(store, "life.thaw", handle="88.118/own"))


def test_what_the_nodes_administrator_froze_only_such_a_one_ends(store: Store) -> None:
    done(act(store, "life.freeze", ROOT, handle=HANDLE, reason="regulator"))
    for name in ("life.thaw", "life.revoke"):
        code, words = refused(act(store, name, handle=HANDLE, reason="mine again"))
        assert code == ResponseCode.INVALID_ADMIN
        assert "regulator; only an administrator of this node" in words
    done(act(store, "life.thaw", ROOT, handle=HANDLE))
    done(act(store, "life.freeze", ROOT, handle=HANDLE))
    done(act(store, "life.revoke", ROOT, handle=HANDLE, reason="forged"))


def test_nobody_and_strangers_change_no_state(store: Store) -> None:
    rows = rows_of(store)
    for name in ("life.freeze", "life.revoke"):
        assert refused(act(store, name, None, handle=HANDLE, reason="x"))[0] == 402
        assert refused(act(store, name, STRANGER, handle=HANDLE, reason="x"))[0] == 400
    done(act(store, "life.freeze", handle=HANDLE))
    assert refused(act(store, "life.thaw", None, handle=HANDLE))[0] == 402
    assert refused(act(store, "life.thaw", STRANGER, handle=HANDLE))[0] == 400
    done(act(store, "life.thaw", handle=HANDLE))
    assert rows_of(store) == rows


def test_a_group_on_another_node_is_fetched_before_it_is_decided(store: Store) -> None:
    elsewhere = Reference(b"99/group", 200)
    perform(store, create(b"88.118/own", admin_value(elsewhere)))
    outcome = act(store, "life.freeze", STRANGER, handle="88.118/own")
    assert outcome == Need(frozenset({b"99/group"}))
    foreign = {b"99/group": Record((group(200, STRANGER),))}
    done(act(store, "life.freeze", STRANGER, foreign=foreign, handle="88.118/own"))


# What is wrong


@pytest.mark.parametrize(
    ("parameters", "code", "words"),
    [
        ({}, 102, "name the handle"),
        ({"handle": 7}, 102, "name the handle"),
        ({"handle": "88.118/\udc80"}, 102, "not UTF-8"),
        ({"handle": "88.118/" + "x" * 3_000}, 102, "1 to 2048 octets"),
        ({"handle": "77/x"}, 301, "not homed on this node"),
        ({"handle": "88.118/none"}, 100, "88.118/none is not registered"),
        ({"handle": "88.118/A", "reason": ["x"]}, 202, "no text"),
        ({"handle": "88.118/A", "reason": "x" * (REASON_OCTETS_MAX + 1)}, 202, "1025 octets"),
        ({"handle": "88.118/A", "reason": "\u7801" * 342}, 202, "1026 octets"),
        ({"handle": "88.118/A", "reason": "a\nb"}, 202, "one line"),
        ({"handle": "88.118/A", "reason": "a\u2028b"}, 202, "one line"),
        ({"handle": "88.118/A", "reason": "\x1b[2J"}, 202, "one line"),
        ({"handle": "88.118/A", "reason": "\ud800"}, 202, "not UTF-8"),
    ],
)
@pytest.mark.parametrize("name", ["life.freeze", "life.revoke"])
def test_bad_input(
    store: Store, name: str, parameters: dict[str, Any], code: int, words: str
) -> None:
    found, said = refused(act(store, name, **{"reason": "x", **parameters}))
    assert (found, words in said) == (code, True), said


def test_a_reason_of_the_largest_size_is_kept(store: Store) -> None:
    reason = "\u7801" * (REASON_OCTETS_MAX // 3)
    assert done(act(store, "life.freeze", handle=HANDLE, reason=reason))["reason"] == reason
    assert done(act(store, "life.show", handle=HANDLE))["reason"] == reason


@pytest.mark.parametrize("reason", ["", "  "])
def test_revoking_needs_a_reason(store: Store, reason: str) -> None:
    assert "say why" in refused(act(store, "life.revoke", handle=HANDLE, reason=reason))[1]
    assert "say why" in refused(act(store, "life.revoke", handle=HANDLE))[1]


def test_a_prefix_is_frozen_but_not_revoked(store: Store) -> None:
    code, words = refused(act(store, "life.revoke", ROOT, handle=PREFIX, reason="x"))
    assert (code, "suspended and released" in words) == (ResponseCode.INVALID_HANDLE, True)
    done(act(store, "life.freeze", handle=PREFIX))
    assert perform(store, create(b"88.118/new", url()))[0] is not None
    assert values_of(store, b"88.118/new") is not None


def test_freezing_twice_is_refused_with_what_is_so(store: Store) -> None:
    done(act(store, "life.freeze", handle=HANDLE, reason="first"))
    code, words = refused(act(store, "life.freeze", handle=HANDLE, reason="second"))
    assert (code, "first" in words) == (401, True)


# Snapshots


def test_marks_survive_a_snapshot(store: Store, folder: Path) -> None:
    done(act(store, "life.freeze", handle=HANDLE, reason="court order"))
    done(act(store, "life.revoke", handle=LONG, reason="forged"))
    with store.write() as view:
        log = LocalLog(view)
        head = log.seal_snapshot((NOW_S + 99) * 1_000)
        log.trim(0, head.seq)
    store.close()
    assert verify(folder).is_whole
    with open_store(folder) as opened:
        done(act(opened, "life.thaw", handle=HANDLE, now_ms=(NOW_S + 100) * 1_000))


def test_verify_finds_a_mark_that_nobody_made(store: Store, folder: Path) -> None:
    done(act(store, "life.revoke", handle=HANDLE, reason="forged"))
    rows = rows_of(store)
    with store.write(journaled=False) as view:
        view.put_row(b"88.118/A", rows[b"88.118/A"].replace(b"forged", b"Forged"))
    store.close()
    assert verify(folder).problems == [
        "record 88.118/A: it differs from what the journal says",
    ]
    with open_store(folder) as opened, opened.write(journaled=False) as view:
        view.put_row(b"88.118/A", rows[b"88.118/A"])
