"""Keys that identifiers have from a range: who loses his when the range changes."""

from collections.abc import Iterable
from typing import Any

import pytest

from protocol.value import HandleValue, Reference
from registry.acts import Act, Done, decide_act
from registry.log import LocalLog
from registry.outcomes import NOTHING_FOREIGN
from registry.range_keys import lost_identities
from registry.replay import replay
from registry.store import Store
from tests.registry.builders import ADMIN, NOW_S, POLICY, create
from tests.registry.builders import perform as perform_all
from tests.registry.range_builders import prepare, register, url_form

LOT = "88.118/DEV."
KEY = {"index": 300, "type": "HS_PUBKEY", "data": {"format": "base64", "value": "AAAA"}}
SECRET = {
    "index": 301,
    "type": "HS_SECKEY",
    "permissions": "1100",
    "data": {"format": "string", "value": "secret of {serial}"},
}

REVOKE = {"identifier": f"{LOT}0001", "reason": "stolen"}


def device(number: int, index: int = 301) -> Reference:
    return Reference(b"88.118/dev.%04d" % number, index)


def lost_by(
    store: Store, name: str, parameters: dict[str, Any], identities: Iterable[Reference]
) -> set[Reference]:
    """Carry out an act on a range; return who has lost his key by it."""
    with store.write() as view:
        asked = Act(name, parameters)
        outcome = decide_act(view, asked, ADMIN, NOTHING_FOREIGN, POLICY, NOW_S * 1_000)
        assert isinstance(outcome, Done), outcome
        replay(view, outcome.operations)
        LocalLog(view).append_operations(outcome.operations, NOW_S * 1_000)
        changed = view.changed_ranges()
    with store.read() as view:
        return set(lost_identities(view, list(changed.items()), identities))


@pytest.fixture
def lot(store: Store) -> Store:
    prepare(store)
    register(store, LOT, "0001", "0500", url_form(), KEY, SECRET)
    return store


def everybody() -> list[Reference]:
    return [device(number, index) for number in (1, 250, 251, 500) for index in (300, 301)] + [
        device(501),
        device(1, 1),  # no key
        Reference(b"88.118/OTHER.0001", 300),
        Reference(b"0.NA/88.118", 300),
    ]


def test_a_range_that_is_revoked_takes_the_keys_of_all(lot: Store) -> None:
    lost = lost_by(
        lot, "ranges.revoke", {"identifier": f"{LOT}0001", "reason": "stolen"}, everybody()
    )
    assert lost == {device(n, index) for n in (1, 250, 251, 500) for index in (300, 301)}


def test_who_a_shrunk_range_no_longer_holds_has_lost_his_key(lot: Store) -> None:
    shrink = {"identifier": f"{LOT}0001", "first": "0001", "last": "0250"}
    lost = lost_by(lot, "ranges.shrink", shrink, everybody())
    assert lost == {device(n, index) for n in (251, 500) for index in (300, 301)}


def test_a_split_takes_nobody_s_key(lot: Store) -> None:
    split = {"identifier": f"{LOT}0251"}
    assert lost_by(lot, "ranges.split", split, everybody()) == set()


def test_an_identifier_with_a_row_of_its_own_keeps_the_key_that_is_there(lot: Store) -> None:
    own = HandleValue(301, b"HS_SECKEY", b"its own", 0b1100)
    perform_all(lot, create(b"88.118/DEV.0001", own, overwrite=True), identity=ADMIN)
    revoke = {**REVOKE, "existing": "keep"}
    assert lost_by(lot, "ranges.revoke", revoke, [device(1), device(2)]) == {device(2)}


def test_a_range_without_keys_is_not_looked_at(store: Store) -> None:
    prepare(store)
    register(store, LOT, "0001", "0500", url_form())
    with store.write() as view:
        asked = Act("ranges.revoke", REVOKE)
        outcome = decide_act(view, asked, ADMIN, NOTHING_FOREIGN, POLICY, NOW_S * 1_000)
        assert isinstance(outcome, Done)
        replay(view, outcome.operations)
        LocalLog(view).append_operations(outcome.operations, NOW_S * 1_000)
        assert view.changed_ranges() == {}


def test_a_damaged_range_is_nobody_s(lot: Store) -> None:
    with lot.read() as view:
        ((key, octets),) = view.table("ranges").items()
        assert lost_identities(view, [(key, octets[:30])], everybody()) == frozenset()
