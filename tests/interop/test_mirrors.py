"""A foreign mirror follows a running node: dumps, the log, every form of the stream, kills."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from registry.log import LocalLog
from registry.store import Store
from tests.interop import foreign_wire as wire
from tests.interop.conftest import Guild, Stand, stand, url
from tests.interop.foreign_mirror import (
    AT_HANDLE,
    AT_HANDLE_DATE,
    AT_PREFIX,
    CREATE,
    HOME,
    NEED_REDUMP,
    REMOVE,
    SENDING,
    TLS,
    UNHOME,
    UPDATE,
    ForeignMirror,
    Refused,
    streamed,
)
from tests.interop.foreign_wire import Value, pack_str, position_in_site
from tests.nodes import Tables, make_node, must_run, running, wait_until

SIGNED, UNSIGNED = 0, -1


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A node of these tests' own, which old mirrors may follow too."""
    tables: Tables = {"mirrors": {"allow_unencrypted": True}, "limits": {"mirrors_max": 2}}
    with running(make_node(tmp_path_factory.mktemp("mirrors") / "node", tables=tables)) as node:
        yield stand(node)


@pytest.fixture
def mirror(primary: Stand) -> ForeignMirror:
    return ForeignMirror(primary.client, primary.admin)


def followed(mirror: ForeignMirror) -> list[tuple[int, bytes]]:
    log = mirror.follow()
    assert log.status == SENDING
    return [(action, handle) for _, action, handle in log.changes]


def test_a_mirror_dumps_and_then_follows_every_kind_of_change(
    primary: Stand, mirror: ForeignMirror
) -> None:
    secret = Value(3, b"HS_SECKEY", b"secret", permissions=0b1100, ttl=60)
    early = primary.make(url(), secret)
    assert mirror.dump() == TLS
    assert mirror.prefixes >= {b"0.NA/88", b"0.NA/0.NA"}
    kept = {value.index: value for value in mirror.handles[early]}
    assert set(kept) == {1, 3, 100}
    assert replace(kept[3], timestamp=0) == secret
    assert kept[3].timestamp > 1_700_000_000
    assert followed(mirror) == []

    late = primary.make(url(text=b"late"))
    assert primary.client.modify(early, [url(text=b"new")], primary.admin).code == 1
    assert followed(mirror) == [(CREATE, late), (UPDATE, early)]
    assert mirror.handles[early][0].data == b"new"
    assert primary.client.delete(early, primary.admin).code == 1
    for opcode in (wire.HOME, wire.UNHOME, wire.HOME):
        assert primary.client.perform(opcode, pack_str(b"0.NA/77"), primary.admin).code == 1
    # What is told is how it is now: the prefix was given up in between.
    assert followed(mirror) == [(REMOVE, early), *[(HOME, b"0.NA/77")] * 3]
    assert b"0.NA/77" in mirror.prefixes
    assert primary.client.perform(wire.UNHOME, pack_str(b"0.NA/77"), primary.admin).code == 1
    assert followed(mirror) == [(UNHOME, b"0.NA/77")]

    fresh = ForeignMirror(primary.client, primary.admin)
    fresh.dump()
    assert fresh.digest() == mirror.digest()


def test_the_log_from_its_beginning_gives_what_a_dump_gives(primary: Stand) -> None:
    primary.make(url())
    whole, dumped = (ForeignMirror(primary.client, primary.admin) for _ in range(2))
    assert whole.follow().status == SENDING
    dumped.dump()
    assert whole.digest() == dumped.digest()
    assert whole.last_id == dumped.last_id == whole.next_id() - 2


@pytest.mark.parametrize(
    ("transport", "version", "kind"),
    [
        ("tcp", (2, 7), SIGNED),
        ("tcp", (2, 8), TLS),
        ("tcp", (2, 9), TLS),
        ("tcp", (2, 10), TLS),
        ("https", (2, 7), SIGNED),
        ("https", (2, 8), UNSIGNED),
        ("https", (2, 10), UNSIGNED),
        ("http", (2, 7), SIGNED),
        ("http", (2, 10), SIGNED),
    ],
)
def test_every_form_of_the_stream(
    primary: Stand, transport: str, version: wire.Version, kind: int
) -> None:
    changes = {"transport": transport, "version": version, "suggested": version}
    mirror = ForeignMirror(primary.client.speaking(**changes), primary.admin)
    mirror.dump(most=3)
    assert mirror.dump() == kind
    made = primary.make(url())
    log = mirror.follow()
    assert (log.kind, log.status) == (kind, SENDING)
    assert made in mirror.handles
    assert mirror.follow().changes == []


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_mirror_in_a_session(primary: Stand, encrypted: bool) -> None:
    client = primary.client.open_session(primary.admin, encrypted=encrypted)
    mirror = ForeignMirror(client, primary.admin)
    assert mirror.dump() == TLS
    assert mirror.handles
    assert mirror.next_id() > mirror.last_id


def test_a_mirror_of_several_primaries_goes_by_their_names(
    primary: Stand, mirror: ForeignMirror
) -> None:
    first = mirror.follow(sources=True)
    assert first.source == b"0:sources"
    assert first.changes
    made = primary.make(url())
    again = mirror.follow(sources=True)
    assert [change[1:] for change in again.changes] == [(CREATE, made)]
    mirror.dates.clear()  # it asks for all of it once more
    mirror.sources = {"0:somebody else": {"lastTxnId": 1 << 60, "lastTimestamp": 0}}
    assert len(mirror.follow(sources=True).changes) == len(first.changes) + 1
    mirror.sources["0:sources"]["lastTxnId"] = 1 << 60
    log = mirror.follow(sources=True)
    assert (log.status, log.changes, log.end_ms) == (NEED_REDUMP, [], 0)


def test_each_server_of_a_mirror_gets_its_share(primary: Stand) -> None:
    handles = {primary.make(url()) for _ in range(8)}
    mirrors = [
        ForeignMirror(primary.client, primary.admin, share=(2, 3, number)) for number in range(3)
    ]
    for number, mirror in enumerate(mirrors):
        mirror.dump()
        assert all(position_in_site(each, 3) == number for each in mirror.handles)
        assert b"0.NA/88" in mirror.prefixes
    assert handles <= set().union(*(each.handles for each in mirrors))
    made = primary.make(url())
    assert primary.client.perform(wire.HOME, pack_str(b"0.NA/76"), primary.admin).code == 1
    for number, mirror in enumerate(mirrors):
        told = followed(mirror)
        own = [(CREATE, made)] if position_in_site(made, 3) == number else []
        assert told == [*own, (HOME, b"0.NA/76")]
    later = primary.make(url())
    other = mirrors[(position_in_site(later, 3) + 1) % 3]
    # Nothing for it: it moves on with what it has.
    assert followed(other) == [(HOME, min(other.prefixes))]
    assert followed(other) == []


def test_a_dump_goes_on_where_it_was_broken_off(primary: Stand) -> None:
    for _ in range(5):
        primary.make(url())
    whole, broken = (ForeignMirror(primary.client, primary.admin) for _ in range(2))
    broken.dump(most=6)
    before = broken.last_id
    lost = primary.make(url())
    broken.dump(resume=(max(broken.handles), AT_HANDLE))
    assert broken.last_id == before, "a dump that goes on must not skip the log"
    broken.follow()
    assert lost in broken.handles
    whole.dump()
    assert broken.digest() == whole.digest()
    assert broken.prefixes
    broken.prefixes = {min(broken.prefixes)}
    broken.dump(resume=(min(broken.prefixes), AT_PREFIX))
    assert broken.digest() == whole.digest()
    broken.handles.clear()
    broken.prefixes.clear()
    broken.dump(resume=(max(whole.handles), AT_HANDLE_DATE))
    assert broken.digest() == whole.digest()


def test_a_suspended_prefix_is_gone_until_it_is_resumed(
    primary: Stand, mirror: ForeignMirror
) -> None:
    folder = ["--node", str(primary.node.folder)]
    homed, elsewhere = b"0.NA/74", b"0.NA/75"
    for handle in (homed, elsewhere):
        assert primary.client.create(handle, [primary.admin_value()], primary.admin).code == 1
    assert primary.client.perform(wire.HOME, pack_str(homed), primary.admin).code == 1
    mirror.dump()
    for prefix in ("74", "75"):
        must_run("prefix", "suspend", prefix, "--reason", "r", *folder)
    assert followed(mirror) == [
        (UNHOME, homed), (REMOVE, homed), (REMOVE, elsewhere),
    ]  # fmt: skip
    must_run("prefix", "resume", "74", *folder)
    assert followed(mirror) == [(HOME, homed), (UPDATE, homed)]
    fresh = ForeignMirror(primary.client, primary.admin)
    fresh.dump()
    assert fresh.digest() == mirror.digest()
    must_run("prefix", "resume", "75", *folder)


def test_frozen_revoked_and_ranged(primary: Stand, mirror: ForeignMirror) -> None:
    folder = ["--node", str(primary.node.folder)]
    frozen, revoked = primary.make(url()), primary.make(url())
    mirror.dump()
    must_run("life", "freeze", frozen.decode(), "--reason", "r", *folder)
    must_run("life", "revoke", revoked.decode(), "--reason", "r", "--yes", *folder)
    must_run(
        "range", "register", "88/RANGED.", "1", "9", "-v", "URL=https://a.cn/{serial}", *folder
    )
    taken = followed(mirror)
    assert taken == [(UPDATE, frozen), (REMOVE, revoked), (HOME, min(mirror.prefixes))]
    lost = "1 changes of ranges were not sent to the mirror"
    wait_until(lambda: lost in primary.node.log, "what was left out is told", 5)
    fresh = ForeignMirror(primary.client, primary.admin)
    fresh.dump()
    assert frozen in fresh.handles
    assert fresh.digest() == mirror.digest()
    # Written behind the end of the stream.
    told = "9 identifiers in ranges were not sent to the mirror"
    wait_until(lambda: told in primary.node.log, "what was left out is told", 5)


def test_who_is_not_named_gets_nothing(guild: Guild, primary: Stand) -> None:
    for who in (guild.member, guild.keeper, guild.stranger):
        mirror = ForeignMirror(guild.client, who)
        for ask in (mirror.next_id, mirror.dump, mirror.follow):
            with pytest.raises(Refused) as refused:
                ask()
            assert refused.value.answer.code == 400
    pretender = replace(primary.admin, key=guild.member.key)
    with pytest.raises(Refused) as refused:
        ForeignMirror(primary.client, pretender).dump()
    assert refused.value.answer.code == 403


@pytest.mark.parametrize(
    "changes", [{"version": (2, 7), "suggested": (2, 7)}, {"transport": "http"}]
)
def test_values_do_not_cross_in_clear_unless_allowed(
    top: Stand, changes: dict[str, object]
) -> None:
    mirror = ForeignMirror(top.client.speaking(**changes), top.admin)
    for ask in (mirror.dump, mirror.follow):
        with pytest.raises(Refused) as refused:
            ask()
        assert refused.value.answer.code == 5
        assert "mirrors.allow_unencrypted" in refused.value.answer.text


@pytest.mark.parametrize(
    ("share", "words"),
    [
        ((3, 1, 0), "hash type 3 is unknown"),
        ((2, 0, 0), "a mirror of 0 servers"),
        ((2, 1_025, 0), "a mirror of 1025 servers"),
        ((2, 3, 3), "server 3 of 3"),
        ((2, 3, -1), "server -1 of 3"),
    ],
)
def test_a_share_that_is_none_is_refused(
    primary: Stand, share: tuple[int, int, int], words: str
) -> None:
    mirror = ForeignMirror(primary.client, primary.admin, share=share)
    with pytest.raises(Refused) as refused:
        mirror.dump()
    assert refused.value.answer.code == 4
    assert words in refused.value.answer.text


def test_only_so_many_mirrors_are_fed_at_once(primary: Stand, mirror: ForeignMirror) -> None:
    share = b"\2" + (1).to_bytes(4, "big") + bytes(4)
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            ask = streamed(primary.client, wire.DUMP_HANDLES, share, primary.admin, secure=False)
            _, stream = stack.enter_context(ask)
            assert stream.kind == TLS
        with pytest.raises(Refused) as refused:
            mirror.dump()
        assert refused.value.answer.code == 3
        assert "2 mirrors are fed at the moment" in refused.value.answer.text
    wait_until(lambda: is_fed(mirror), "there is room again", 5)


def is_fed(mirror: ForeignMirror) -> bool:
    try:
        mirror.dump()
    except Refused:
        return False
    return True


def test_an_id_from_another_log_needs_a_dump(primary: Stand, mirror: ForeignMirror) -> None:
    mirror.last_id, mirror.last_ms = mirror.next_id() + (5 << 16), 1_790_000_000_123
    log = mirror.follow()
    assert (log.status, log.changes, log.end_ms) == (NEED_REDUMP, [], mirror.last_ms)


def test_a_mirror_that_has_not_had_a_transaction_yet_asks_after_minus_one(
    primary: Stand, mirror: ForeignMirror
) -> None:
    mirror.last_id = -1
    log = mirror.follow()
    assert log.status == SENDING
    assert log.changes


def test_a_mirror_survives_kill_and_needs_a_dump_after_trimming(tmp_path: Path) -> None:
    node = make_node(tmp_path / "node")
    with running(node):
        place = stand(node)
        behind, mirror = (ForeignMirror(place.client, place.admin) for _ in range(2))
        for each in (behind, mirror):
            each.dump()
        made = [place.make(url(text=bytes(2_000))) for _ in range(20)]
        assert len(mirror.follow(most=7).changes) == 7
        node.kill()
        node.start()
        mirror.follow()
        assert set(made) <= set(mirror.handles)
        up_to_date = mirror.last_id
        node.stop()
        with Store.open(node.store) as store, store.write(journaled=False) as view:
            log = LocalLog(view)
            log.trim(0, log.seal_snapshot(1_790_000_000_000).seq)
        node.start()
        assert mirror.follow().status == SENDING
        assert behind.follow().status == NEED_REDUMP
        behind.dump()
        assert behind.last_id >= up_to_date
        behind.follow()
        mirror.follow()
        assert behind.digest() == mirror.digest()
