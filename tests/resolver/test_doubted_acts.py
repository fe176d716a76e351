"""Acts that are refused for want of rights: what other nodes have is fetched again first."""

import asyncio
from pathlib import Path
from typing import Any

from protocol.codes import ResponseCode
from protocol.value import Reference
from registry.outcomes import foreign_key
from registry.schema import Record
from resolver.acts import Acts
from resolver.limits import Places
from tests.registry.builders import ADMIN, NOW_S, POLICY, PREFIX, STRANGER, admin_value, group, put
from tests.resolver.office import open_office

GROUP = Reference(b"99/GROUP", 200)
KEY = foreign_key(GROUP.handle)
OLD, NEW = Record((group(200, STRANGER),)), Record((group(200, ADMIN),))
ASKED = {
    "name": "life.freeze",
    "parameters": {"handle": "88.118/OLD", "reason": "checked"},
    "address": "192.0.2.1",
}


async def administrator(_: dict[str, Any]) -> Reference:
    return ADMIN


def freeze(folder: Path, news: dict[bytes, Record | None]) -> tuple[dict[str, Any], list[bytes]]:
    """Freeze as somebody whom a remembered group of another node does not name."""

    async def main() -> tuple[dict[str, Any], list[bytes]]:
        async with open_office(folder) as office:
            put(office.store, {PREFIX: [admin_value(GROUP)], b"88.118/OLD": [admin_value(GROUP)]})
            office.afar.records[KEY], office.afar.news = OLD, news
            acts = Acts(
                office.store,
                office.commit,
                office.operations,
                POLICY,
                administrator,
                slow_places=Places(1, 1),
                now_s=lambda: NOW_S,
            )
            return await acts.perform(ASKED), office.afar.refreshed

    return asyncio.run(main())


def test_rights_given_a_moment_ago_count(tmp_path: Path) -> None:
    reply, refreshed = freeze(tmp_path, {KEY: NEW})
    assert (reply["code"], refreshed) == (ResponseCode.SUCCESS, [KEY])


def test_a_refusal_stands_where_nothing_changed(tmp_path: Path) -> None:
    unchanged: dict[bytes, Record | None] = {KEY: OLD}
    for news in ({}, unchanged):
        reply, refreshed = freeze(tmp_path / str(len(news)), news)
        assert (reply["code"], refreshed) == (ResponseCode.INVALID_ADMIN, [KEY])
