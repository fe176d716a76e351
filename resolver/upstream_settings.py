"""What asking other nodes may cost, and how the configuration says it."""

from dataclasses import dataclass, field

from resolver.config import UpstreamConfig
from resolver.exchanges import ExchangeLimits

HEAD_START_S = 0.75  # past the first repetition at 0.5 s, so that one lost datagram is no reason
IN_FLIGHT_MAX = 1_024  # sockets held at once; the usual limit on open files is 1,024 or more


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """What asking may cost."""

    limits: ExchangeLimits = field(default_factory=ExchangeLimits)
    head_start_s: float = HEAD_START_S
    """Seconds a candidate has for itself before the next is asked too."""
    timeout_s: float = 10.0
    """Seconds for everything, unless the caller says otherwise."""
    in_flight_max: int = IN_FLIGHT_MAX
    """Attempts under way at once; more wait for their turn."""


def upstream_settings(config: UpstreamConfig) -> UpstreamSettings:
    """Return the settings that a configuration's `[upstream]` asks for."""
    stream_s = config.stream_timeout_ms / 1e3
    waits_s = tuple(wait_ms / 1e3 for wait_ms in config.udp_timeouts_ms)
    return UpstreamSettings(
        limits=ExchangeLimits(connect_s=stream_s, silence_s=stream_s, udp_waits_s=waits_s),
        timeout_s=sum(waits_s) + stream_s,
        in_flight_max=config.in_flight_max,
    )
