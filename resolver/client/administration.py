"""Administration of a node from a Python program: what the Handle protocol has no words for.

    async with AdministrationClient.at(read_site(path), identity) as node:
        await node.register_range("88.118.5/870101.M1.", "000001", "100000", values)

Each part is a module with a mixin for asyncio and one that waits; to add one, name both below.

    life        identifiers frozen, thawed, revoked; what they are and were
    ranges      runs of serials, each one record
    templates   attributes that identifiers are made from
    office      applications for prefixes, suspension, quotas, people
    statistics  what was registered and asked, by prefix and day (`resolver.client.counts`)
"""

from resolver.client.counts import BlockingStatisticsCalls, StatisticsCalls
from resolver.client.life import BlockingLifeCalls, LifeCalls
from resolver.client.office import BlockingOfficeCalls, OfficeCalls
from resolver.client.ranges import BlockingRangeCalls, RangeCalls
from resolver.client.templates import BlockingTemplateCalls, TemplateCalls

__all__ = ["AdministrationClient", "BlockingAdministrationClient"]


class AdministrationClient(RangeCalls, TemplateCalls, LifeCalls, OfficeCalls, StatisticsCalls):
    """Administration of one node as one identity: `resolver.client.calls.RestCalls`."""


class BlockingAdministrationClient(
    BlockingRangeCalls,
    BlockingTemplateCalls,
    BlockingLifeCalls,
    BlockingOfficeCalls,
    BlockingStatisticsCalls,
):
    """An AdministrationClient that blocks. Use from one thread, in `with` or with `close`.

        with BlockingAdministrationClient(AdministrationClient(url, identity)) as node:
            node.count("88.118.5")

    Every call raises what the AdministrationClient's does.
    """

    _client: AdministrationClient

    def __init__(self, client: AdministrationClient) -> None:
        super().__init__(client)
