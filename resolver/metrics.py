"""What the processes of a node count, and the page on which prometheus reads it.

The numbers are shared through the files of `resolver.metric_files`, when the supervisor has called
`share_metrics` before this module was imported; otherwise, as in tests, they live in this process.

Counting one request costs two dictionary look-ups here, not two label look-ups: it is done for
every answer.
"""

import contextlib
import os

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    values,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from protocol.codes import OpCode, ResponseCode
from protocol.header import Header
from protocol.types.hs_site import (
    TRANSPORT_HTTP,
    TRANSPORT_HTTPS,
    TRANSPORT_TCP,
    TRANSPORT_UDP,
)
from resolver.metric_files import FOLDER_VARIABLE, process_name

TRANSPORT_NAMES = {
    TRANSPORT_UDP: "udp",
    TRANSPORT_TCP: "tcp",
    TRANSPORT_HTTP: "http",
    TRANSPORT_HTTPS: "https",
}
# From what the store answers in to what a walk through three tiers may take.
LATENCY_BUCKETS_S = (
    5e-5,
    1e-4,
    2.5e-4,
    5e-4,
    1e-3,
    2.5e-3,
    5e-3,
    0.01,
    0.025,
    0.05,
    0.1,
    0.5,
    1,
    5,
)
COMMIT_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1_024, 4_096)

if FOLDER_VARIABLE in os.environ:
    values.ValueClass = values.MultiProcessValue(process_name)  # type: ignore[no-untyped-call]

REQUESTS = Counter("biaoshi_requests", "Answers given", ["opcode", "response_code", "transport"])
REQUEST_SECONDS = Histogram(
    "biaoshi_request_seconds",
    "Time from a request to its answer",
    ["transport"],
    buckets=LATENCY_BUCKETS_S,
)
COMMITS = Counter("biaoshi_commits", "Durable transactions of the store")
COMMIT_SECONDS = Histogram(
    "biaoshi_commit_seconds", "Time a transaction took, fsync included", buckets=LATENCY_BUCKETS_S
)
COMMIT_OPERATIONS = Histogram(
    "biaoshi_commit_operations", "Operations in one transaction", buckets=COMMIT_SIZE_BUCKETS
)
COMMIT_QUEUE = Gauge(
    "biaoshi_commit_queue", "Operations waiting for a transaction", multiprocess_mode="livesum"
)
CHALLENGES = Gauge(
    "biaoshi_challenges_pending", "Challenges not answered yet", multiprocess_mode="livesum"
)
SESSIONS = Gauge("biaoshi_sessions", "Sessions held", ["kind"], multiprocess_mode="livesum")
CACHE_LOOKUPS = Counter("biaoshi_cache_lookups", "Questions put to the cache", ["outcome"])
CACHE_ENTRIES = Gauge("biaoshi_cache_entries", "Answers cached", multiprocess_mode="livemax")
READ_ONLY = Gauge(
    "biaoshi_read_only", "1 while registrations are refused", multiprocess_mode="livemax"
)
FREE_OCTETS = Gauge(
    "biaoshi_disk_free_bytes", "Room left for the store", multiprocess_mode="livemax"
)
STORE_OCTETS = Gauge(
    "biaoshi_store_bytes", "What the store takes on disk", multiprocess_mode="livemax"
)
STORE_HANDLES = Gauge("biaoshi_store_handles", "Handles stored", multiprocess_mode="livemax")
CERTIFICATE_EXPIRY = Gauge(
    "biaoshi_certificate_expiry_timestamp_seconds",
    "When the TLS certificate expires, seconds since 1970",
    multiprocess_mode="livemax",
)
TRUST_EXPIRY = Gauge(
    "biaoshi_trust_expiry_timestamp_seconds",
    "When the first HS_CERT or HS_SIGNATURE of the node's own prefix handles expires, seconds since"
    " 1970; 0: there is none",
    multiprocess_mode="livemax",
)
CONNECTIONS = Gauge(
    "biaoshi_connections", "Connections open", ["transport"], multiprocess_mode="livesum"
)
FOLLOWED = Gauge(
    "biaoshi_followed_timestamp_seconds",
    "When this mirror last had all that its primary had, seconds since 1970",
    multiprocess_mode="livemax",
)
MIRROR_RECORDS = Counter("biaoshi_mirror_records", "Records sent to mirrors", ["kind"])
BULK_ROWS = Counter("biaoshi_bulk_rows", "Rows of streams decided on", ["verdict"])
QUOTAS_NEAR = Gauge(
    "biaoshi_quotas_near",
    "Prefixes that have used 80 % of a quota today",
    ["kind"],
    multiprocess_mode="livemax",
)
REFUSED = Counter("biaoshi_refused", "What a limit turned away", ["limit"])
RESTARTS = Counter("biaoshi_restarts", "Processes replaced", ["process"])


def forget_process(name: str) -> None:
    """Drop the gauges of a process that died; what it counted stays."""
    if FOLDER_VARIABLE in os.environ:
        with contextlib.suppress(OSError):
            multiprocess.mark_process_dead(name)  # type: ignore[no-untyped-call]


def render_metrics() -> tuple[bytes, str]:
    """Return the page for prometheus, of all processes, and its content type."""
    if FOLDER_VARIABLE not in os.environ:
        return generate_latest(REGISTRY), CONTENT_TYPE_PLAIN_0_0_4
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


class RequestMetrics:
    """Counts answers by opcode, response code and transport."""

    def __init__(self) -> None:
        self._counters: dict[tuple[int, int, int], Counter] = {}
        self._seconds = {
            transport: REQUEST_SECONDS.labels(name) for transport, name in TRANSPORT_NAMES.items()
        }

    def count(self, header: Header, transport: int, seconds: float) -> None:
        """Count one answer, given its header."""
        # Opcodes are strangers' numbers: the unknown ones share one entry, or memory would grow.
        opcode = header.opcode if header.opcode in _OPCODES else _UNKNOWN
        key = (opcode, header.response_code, transport)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = answer_counter(*key)
        counter.inc()
        self._seconds[transport].observe(seconds)


def answer_counter(opcode: int, code: int, transport: int) -> Counter:
    """Return what counts the answers with this opcode, response code and transport."""
    opcode_name = OpCode(opcode).name.lower() if opcode in _OPCODES else "unknown"
    code_name = ResponseCode(code).name.lower() if code in _CODES else "unknown"
    return REQUESTS.labels(opcode_name, code_name, TRANSPORT_NAMES[transport])


_OPCODES = frozenset(OpCode)
_CODES = frozenset(ResponseCode)
_UNKNOWN = -1
