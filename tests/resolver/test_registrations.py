"""Streams in the registrar: who may send, what a row's reply promises, how a stream ends."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from protocol import jws
from protocol.codes import ResponseCode
from protocol.handle import ROOT_HANDLE
from protocol.value import Reference, encode_values
from registry.errors import StoreFullError
from registry.office_replay import put_own
from registry.outcomes import OldRecord, Unavailable, foreign_key
from registry.owners import next_owner_entry
from registry.plain_creations import PlainCreation
from registry.receipts import from_payload
from registry.schema import Record
from registry.store import Store
from registry.stream_keeping import StreamCounts, find_counts
from registry.stream_rows import RowKind
from registry.views import WriteView
from resolver import registrations
from resolver.metrics import BULK_ROWS
from resolver.registrations import Registrations
from tests.registry.builders import NOW_S, POLICY, PREFIX, STRANGER, admin_value, group, put, url
from tests.resolver.office import (
    ADDRESS,
    ADMIN_KEY,
    SECRET,
    SECRET_ADMIN,
    Office,
    make_node,
    open_office,
)

BASIC = {"basic": [SECRET_ADMIN.handle, SECRET_ADMIN.index, SECRET]}
Reply = dict[str, Any]


class Desk:
    """Streams over an office, and calls as a worker makes them."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.now_s = float(NOW_S)
        self.clock_s = 0.0
        self.seconds_a_look = 0.0  # by which the clock goes on when it is looked at
        self.streams = Registrations(
            office.store,
            office.commit,
            office.operations,
            POLICY,
            office.rest.prove,
            node=make_node(),
            threads=office.threads,
            now_s=lambda: self.now_s,
            bounds=StreamCounts(3, 5),
            clock_s=self._look_at_clock,
        )

    def _look_at_clock(self) -> float:
        self.clock_s += self.seconds_a_look
        return self.clock_s

    async def begin(self, key: bytes = b"lot", authorization: Any = BASIC) -> Reply:
        return await self.streams.begin(asked(key, authorization))

    async def send(self, begun: Reply, first: int, *rows: list[Any]) -> Reply:
        payload = {"name": begun["name"], "token": begun["token"], "first": first}
        return await self.streams.rows(payload | {"rows": msgpack.packb(list(rows))})

    async def end(self, begun: Reply, rows: int = 0) -> Reply:
        payload = {"name": begun["name"], "token": begun["token"], "rows": rows}
        return await self.streams.end(payload)


def asked(key: bytes, authorization: Any = BASIC) -> dict[str, Any]:
    return {"authorization": authorization, "key": key, "address": ADDRESS, "transport": 1}


def plain(number: int, text: bytes = b"x") -> list[Any]:
    octets = encode_values((url(data=text),))
    handle = b"88.118/P%d" % number
    return [int(RowKind.PLAIN), handle, octets, hashlib.sha256(handle + octets).digest()]


def run(tmp_path: Path, scenario: Callable[[Desk], Awaitable[None]]) -> None:
    async def with_desk() -> None:
        async with open_office(tmp_path) as office:
            await scenario(Desk(office))

    asyncio.run(with_desk())


def test_a_stream_from_its_beginning_to_its_receipt(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        begun = await desk.begin()
        assert (begun["code"], begun["next"]) == (1, 1)
        done = await desk.send(begun, 1, plain(1), plain(2), plain(1, b"other"))
        assert (done["code"], done["next"], done["changed"]) == (1, 4, [])
        assert desk.office.has(b"88.118/P2")
        desk.now_s += 5
        ended = await desk.end(begun)
        receipt = from_payload(jws.verify(ended["stream"]["receipt"], ADMIN_KEY.public_key()))
        assert (receipt.rows, receipt.created, receipt.refused) == (3, 2, 1)
        assert receipt.identity == "301:0.NA/88.118"
        assert (receipt.begun, receipt.ended) == (
            "2026-11-18T11:06:40.000Z",
            "2026-11-18T11:06:45.000Z",
        )
        again = await desk.begin()
        assert (await desk.end(again))["stream"] == ended["stream"]

    run(tmp_path, scenario)


def test_nobody_begins_a_stream_without_a_proof(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        nobody = await desk.begin(authorization=None)
        assert nobody["code"] == ResponseCode.AUTHENTICATION_NEEDED
        wrong = {"basic": [SECRET_ADMIN.handle, SECRET_ADMIN.index, b"guess"]}
        assert (await desk.begin(authorization=wrong))["code"] == ResponseCode.AUTHENTICATION_FAILED
        assert (await desk.streams.show(asked(b"lot")))["code"] == ResponseCode.HANDLE_NOT_FOUND
        with desk.office.store.read() as view:
            assert view.count_streams() == 0

    run(tmp_path, scenario)


def test_who_began_last_sends_and_the_one_before_is_told(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        first, second = await desk.begin(), await desk.begin()
        refused = await desk.send(first, 1, plain(1))
        assert (refused["code"], b"another connection" in refused["message"]) == (2, True)
        assert not desk.office.has(b"88.118/P1")
        assert (await desk.end(first))["code"] == ResponseCode.ERROR
        assert (await desk.send(second, 1, plain(1)))["next"] == 2

    run(tmp_path, scenario)


def test_who_is_logged_out_begins_again(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        begun = await desk.begin()
        assert desk.streams.drop_of(lambda key: key.handle == b"0.NA/77") == 0
        assert (await desk.send(begun, 1, plain(1)))["code"] == ResponseCode.SUCCESS
        assert desk.streams.drop_of(lambda key: key == SECRET_ADMIN) == 1
        assert (await desk.send(begun, 2, plain(2)))["code"] == ResponseCode.ERROR
        assert not desk.office.has(b"88.118/P2")
        again = await desk.begin()
        assert again["next"] == 2

    run(tmp_path, scenario)


def ranges(count: int) -> list[list[Any]]:
    """Return rows that register a range each, with check characters."""
    forms = [
        {"stem": f"88.118/R{number}.", "first": "00", "last": "49", "check": "gs1",
         "values": [{"index": 1, "type": "URL", "data": "https://example.org/{serial}"}]}
        for number in range(count)
    ]  # fmt: skip
    packed = [msgpack.packb(form) for form in forms]
    return [[int(RowKind.RANGE), b"", each, hashlib.sha256(each).digest()] for each in packed]


def test_rows_that_take_long_give_single_registrations_a_turn(tmp_path: Path) -> None:
    """4,096 ranges with check characters were one transaction of half a second."""

    async def scenario(desk: Desk) -> None:
        begun, order = await desk.begin(), []
        desk.seconds_a_look = registrations.TURN_S / 3
        sending = asyncio.ensure_future(desk.send(begun, 1, *ranges(10), plain(1), plain(2)))
        sending.add_done_callback(lambda _: order.append("rows"))
        await asyncio.sleep(0)
        for number in range(2):
            await desk.office.commit.create(
                PlainCreation(b"88.118/S%d" % number, [encode_values((url(),))]), SECRET_ADMIN
            )
            order.append("single")
        done = await sending
        assert (done["code"], done["next"], done["stream"]["created"]) == (1, 13, 12)
        assert order == ["single", "single", "rows"]
        stream = (await desk.end(begun))["stream"]
        assert stream["lastSequence"] - stream["firstSequence"] >= 3
        assert desk.office.has(b"88.118/S1")

    run(tmp_path, scenario)


def test_who_is_logged_out_between_two_transactions_is_told(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        begun = await desk.begin()
        desk.seconds_a_look = registrations.TURN_S
        transact = desk.office.commit.transact

        async def ending(work: Callable[[WriteView], Any]) -> Any:
            result = await transact(work)
            desk.streams.drop_of(lambda key: key == SECRET_ADMIN)
            return result

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(desk.office.commit, "transact", ending)
            refused = await desk.send(begun, 1, *ranges(3))
        assert (refused["code"], b"another connection" in refused["message"]) == (2, True)
        again = await desk.begin()
        assert again["next"] == 2
        assert (await desk.send(again, 1, *ranges(3)))["stream"]["created"] == 3

    run(tmp_path, scenario)


def change_hands(desk: Desk) -> None:
    with desk.office.store.write(journaled=False) as view:
        put_own(view, (next_owner_entry(view, PREFIX),))


def test_who_gets_a_prefix_sees_nothing_that_was_begun_before(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        before = await desk.begin()
        assert (await desk.send(before, 1, plain(1), plain(2)))["next"] == 3
        change_hands(desk)
        assert (await desk.streams.show(asked(b"lot")))["code"] == ResponseCode.HANDLE_NOT_FOUND
        own = await desk.begin()
        assert (own["next"], own["stream"]["rows"]) == (1, 0)
        assert own["name"] != before["name"]
        assert (await desk.send(own, 1, plain(3)))["next"] == 2
        assert (await desk.streams.show(asked(b"lot")))["stream"]["rows"] == 1

    run(tmp_path, scenario)


def test_what_was_sent_before_a_prefix_changed_hands_is_not_registered_after(
    tmp_path: Path,
) -> None:
    async def scenario(desk: Desk) -> None:
        begun = await desk.begin()
        change_hands(desk)
        refused = await desk.send(begun, 1, plain(1))
        assert (refused["code"], b"has changed hands" in refused["message"]) == (2, True)
        assert not desk.office.has(b"88.118/P1")

    run(tmp_path, scenario)


def test_nobody_begins_whose_key_is_lost_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(desk: Desk) -> None:
        transact = desk.office.commit.transact

        async def slow(work: Any) -> Any:
            done = await transact(work)
            assert desk.streams.drop_of(lambda key: key == SECRET_ADMIN) == 0
            return done

        monkeypatch.setattr(desk.office.commit, "transact", slow)
        refused = await desk.begin()
        assert refused["code"] == ResponseCode.SERVER_TOO_BUSY
        assert b"keys were changed meanwhile" in refused["message"]

    run(tmp_path, scenario)


def test_a_sender_that_was_silent_longest_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registrations, "SENDERS_MAX", 2)

    async def scenario(desk: Desk) -> None:
        begun = [await desk.begin(b"lot %d" % number) for number in range(3)]
        codes = [
            (await desk.send(each, 1, plain(number)))["code"] for number, each in enumerate(begun)
        ]
        assert codes == [2, 1, 1]
        again = await desk.begin(b"lot 0")
        assert (await desk.send(again, 1, plain(7)))["code"] == 1

    run(tmp_path, scenario)


def test_rows_that_cannot_follow_name_the_one_that_is_next(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        begun = await desk.begin()
        refused = await desk.send(begun, 5, plain(5))
        assert (refused["code"], refused["next"]) == (ResponseCode.ERROR, 1)

    run(tmp_path, scenario)


def test_rows_count_when_they_are_durable_and_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = BULK_ROWS.labels("created")

    async def scenario(desk: Desk) -> None:
        begun = await desk.begin()
        transact, before = desk.office.commit.transact, counter._value.get()

        def failing(work: Callable[[WriteView], Any]) -> Callable[[WriteView], Any]:
            def fail(view: WriteView) -> Any:
                work(view)
                raise StoreFullError("no room")

            return fail

        with monkeypatch.context() as patched:
            patched.setattr(desk.office.commit, "transact", lambda work: transact(failing(work)))
            assert (await desk.send(begun, 1, plain(1)))["code"] == ResponseCode.SERVER_BACKUP
        desk.office.commit.read_only = ""
        assert counter._value.get() == before
        assert (await desk.send(begun, 1, plain(1), plain(2)))["code"] == 1
        assert counter._value.get() == before + 2

    run(tmp_path, scenario)


def test_without_room_nothing_is_acknowledged_and_nothing_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(desk: Desk) -> None:
        begun = await desk.begin()
        write = Store.write

        def full(self: Store, **options: Any) -> Any:
            raise StoreFullError("no room, as the test wants it")

        monkeypatch.setattr(Store, "write", full)
        refused = await desk.send(begun, 1, plain(1))
        assert (refused["code"], b"no room" in refused["message"]) == (
            ResponseCode.SERVER_BACKUP,
            True,
        )
        monkeypatch.setattr(Store, "write", write)
        assert (await desk.send(begun, 1, plain(1)))["code"] == ResponseCode.SERVER_BACKUP
        desk.office.commit.check_room()
        assert (await desk.send(begun, 1, plain(1)))["next"] == 2

    run(tmp_path, scenario)


def test_a_group_on_another_node_is_fetched_once(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        far = Reference(b"99/GROUP", 200)
        values = [*keys(desk), group(200, far), admin_value(Reference(PREFIX, 200))]
        put(desk.office.store, {PREFIX: values})
        desk.office.afar.records[foreign_key(b"99/GROUP")] = Record((group(200, SECRET_ADMIN),))
        begun = await desk.begin()
        assert (await desk.send(begun, 1, plain(1)))["stream"]["created"] == 1
        assert (await desk.send(begun, 2, plain(2)))["stream"]["created"] == 2
        assert desk.office.afar.fetched == [foreign_key(b"99/GROUP")]

    run(tmp_path, scenario)


def administered_afar(desk: Desk, *admins: Reference) -> Record:
    """Have the prefix administered by a group on another node; return that group's record."""
    group_of_all = Reference(b"99/GROUP", 200)
    put(desk.office.store, {PREFIX: [*keys(desk), admin_value(group_of_all)]})
    return Record((group(200, *admins),))


def test_rights_given_on_another_node_a_moment_ago_count_for_all_rows(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        key, afar = foreign_key(b"99/GROUP"), desk.office.afar
        afar.records[key] = administered_afar(desk, STRANGER)
        begun = await desk.begin()
        refused = await desk.send(begun, 1, plain(1))  # as the other node has it, asked twice
        assert (refused["stream"]["refused"], afar.refreshed) == (1, [key])
        afar.records[key] = administered_afar(desk, SECRET_ADMIN)
        at_once = await desk.send(begun, 2, plain(2))  # it is asked once a second, not more often
        assert (at_once["stream"]["refused"], afar.refreshed) == (2, [key])
        desk.now_s += registrations.DOUBT_AFTER_S
        done = await desk.send(begun, 3, plain(3), plain(4))
        assert (done["stream"]["created"], done["stream"]["refused"]) == (2, 2)
        assert afar.refreshed == [key, key]
        await desk.send(begun, 5, plain(5))
        assert afar.refreshed == [key, key]  # nothing was refused, nothing is in doubt

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    "known",
    [
        Unavailable("its node did not answer within 3 s"),
        OldRecord((admin_value(STRANGER),), reason="its node did not answer within 3 s"),
    ],
)
def test_rows_wait_for_the_node_that_knows_who_may_register(
    tmp_path: Path, known: Record | Unavailable
) -> None:
    async def scenario(desk: Desk) -> None:
        prefix, afar = foreign_key(b"0.NA/88.119"), desk.office.afar
        begun = await desk.begin()
        put(desk.office.store, {}, homed=[b"0.NA/88.119"])
        with desk.office.store.write(journaled=False) as view:
            view.unhome(ROOT_HANDLE)  # the prefixes' own handles are on another node now
        afar.records[foreign_key(PREFIX)] = Record((admin_value(SECRET_ADMIN),))
        afar.records[prefix] = known
        far = [*plain(1)]
        far[1] = b"88.119/P1"
        stopped = await desk.send(begun, 1, plain(1), far)
        assert stopped["code"] == ResponseCode.SERVER_TOO_BUSY
        assert b"may register under 88.119 is not known now" in stopped["message"]
        assert b"did not answer within 3 s" in stopped["message"]
        assert not desk.office.has(b"88.118/P1")  # of the batch nothing was decided on
        afar.records[prefix] = Record((admin_value(SECRET_ADMIN),))
        desk.now_s += registrations.KNOWN_S
        done = await desk.send(begun, 1, plain(1), far)
        assert (done["code"], done["stream"]["created"]) == (1, 2)

    run(tmp_path, scenario)


def keys(desk: Desk) -> list[Any]:
    with desk.office.store.read() as view:
        record = view.find_record(PREFIX)
    assert record is not None
    return [value for value in record.values if value.type != b"HS_ADMIN"]


def test_old_streams_are_forgotten_and_their_rows_stay(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        begun = await desk.begin()
        await desk.send(begun, 1, plain(1))
        await desk.end(begun)
        desk.now_s += 50
        await desk.begin(b"newer")
        await desk.streams.purge(20.0)
        assert (await desk.streams.show(asked(b"lot")))["code"] == ResponseCode.HANDLE_NOT_FOUND
        assert (await desk.streams.show(asked(b"newer")))["code"] == 1
        assert desk.office.has(b"88.118/P1")

    run(tmp_path, scenario)


def test_old_streams_are_looked_for_some_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registrations, "PURGE_PAGE_STREAMS", 2)
    monkeypatch.setattr(registrations, "PURGE_PAGES", 1)
    monkeypatch.setattr(registrations, "FORGOTTEN_MAX", 1)

    async def scenario(desk: Desk) -> None:
        transacted = 0
        transact = desk.office.commit.transact

        async def counting(*args: Any, **options: Any) -> Any:
            nonlocal transacted
            transacted += 1
            return await transact(*args, **options)

        for number in range(5):
            begun = await desk.begin(b"%d" % number)
            await desk.send(begun, 1, plain(number))
            await desk.end(begun)
        desk.now_s += 50
        monkeypatch.setattr(desk.office.commit, "transact", counting)
        await desk.streams.purge(100.0)
        assert transacted == 0  # a look needs no writer
        left = []
        for _ in range(4):
            await desk.streams.purge(20.0)
            with desk.office.store.read() as view:
                left.append(view.count_streams())
        # Two were looked at before; after the last one it is the first ones' turn.
        assert left == [3, 2, 0, 0]

    run(tmp_path, scenario)


def test_the_number_of_streams_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registrations, "STREAMS_MAX", 1)

    async def scenario(desk: Desk) -> None:
        assert (await desk.begin(b"one"))["code"] == 1
        assert (await desk.begin(b"two"))["code"] == ResponseCode.SERVER_TOO_BUSY
        assert (await desk.begin(b"one"))["code"] == 1

    run(tmp_path, scenario)


def test_a_clock_that_jumps_back_does_no_harm(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        begun = await desk.begin()
        await desk.send(begun, 1, plain(1))
        desk.now_s -= 86_400
        assert (await desk.send(begun, 2, plain(2)))["stream"]["created"] == 2
        ended = await desk.end(begun)
        receipt = from_payload(jws.verify(ended["stream"]["receipt"], ADMIN_KEY.public_key()))
        assert receipt.rows == 2
        assert receipt.ended < receipt.begun  # as the clock had it
        assert receipt.first_sequence < receipt.last_sequence

    run(tmp_path, scenario)


def test_a_stream_does_not_end_before_its_last_rows_are_there(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        begun = await desk.begin()
        await desk.send(begun, 1, plain(1))
        early = await desk.end(begun, rows=2)
        assert (early["code"], b"row 2" in early["message"]) == (ResponseCode.ERROR, True)
        await desk.send(begun, 2, plain(2))
        assert (await desk.end(begun, rows=2))["stream"]["ended"]

    run(tmp_path, scenario)


def test_prefixes_of_many_nodes_are_fetched_together(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        prefixes = [b"0.NA/77.%d" % number for number in range(30)]
        put(desk.office.store, {}, homed=prefixes)
        begun = await desk.begin()
        with desk.office.store.write(journaled=False) as view:
            view.unhome(b"0.NA/0.NA")
        admin = Record((admin_value(SECRET_ADMIN),))
        for prefix in prefixes:
            desk.office.afar.records[foreign_key(prefix)] = admin
        rows = [plain(number) for number in range(30)]
        for number, each in enumerate(rows):
            each[1] = b"77.%d/x" % number
        done = await desk.send(begun, 1, *rows)
        assert done["stream"]["created"] == 30

    run(tmp_path, scenario)


def test_what_accepted_nothing_is_forgotten_after_a_day(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        begun = await desk.begin(b"refused")
        await desk.send(begun, 1, [0, b"", b"nonsense", bytes(32)])
        kept = await desk.begin(b"kept")
        await desk.send(kept, 1, plain(1))
        desk.now_s += 90_000
        await desk.streams.purge(1_000_000.0)
        assert (await desk.streams.show(asked(b"refused")))["code"] == 100
        assert (await desk.streams.show(asked(b"kept")))["code"] == 1

    run(tmp_path, scenario)


def counted(desk: Desk, owners_before: int = 0) -> StreamCounts:
    with desk.office.store.read() as view:
        return find_counts(view, SECRET_ADMIN, owners_before)


def test_an_identity_has_so_many_streams_open_and_kept(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        begun = [await desk.begin(b"%d" % number) for number in range(3)]
        refused = await desk.begin(b"3")
        assert refused["code"] == ResponseCode.INSUFFICIENT_PERMISSIONS
        assert b"301:0.NA/88.118 has 3 streams open, 3 may be: go on" in refused["message"]
        assert (await desk.begin(b"1"))["code"] == 1  # to go on with one is not to begin one
        assert (await desk.end(begun[0]))["code"] == 1
        again = await desk.begin(b"0")
        assert (await desk.end(again))["code"] == 1  # ended already: counted once
        assert counted(desk) == (2, 3)
        for key in (b"3", b"4"):
            assert (await desk.end(await desk.begin(key)))["code"] == 1
        refused = await desk.begin(b"5")
        assert b"the node keeps 5 streams of 301:0.NA/88.118, 5 may be" in refused["message"]
        change_hands(desk)
        assert (await desk.begin(b"0"))["code"] == 1
        assert (counted(desk), counted(desk, 1)) == ((2, 5), (1, 1))

    run(tmp_path, scenario)


def test_streams_that_are_forgotten_count_no_more(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.begin(b"open")
        await desk.end(await desk.begin(b"ended"))
        assert counted(desk) == (1, 2)
        desk.now_s += 100_000
        await desk.streams.purge(1_000.0)
        assert counted(desk) == (0, 0)
        assert (await desk.begin(b"open"))["next"] == 1
        assert counted(desk) == (1, 1)

    run(tmp_path, scenario)
