"""A node's configuration: one TOML file, read whole, all mistakes reported at once.

Every table of the file is one struct below, every key one field with its default, its unit in its
name and its bounds in its type. `read_struct` goes through a table key by key, so that one mistake
does not hide the next; a key that no field bears is a mistake too, since a misspelt limit would
otherwise be no limit. `deploy/config/biaoshi.example.toml` shows every key with its default.
"""

import difflib
import ipaddress
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from protocol.errors import ProtocolError
from registry.roles import identity_from_text

Port = Annotated[int, Meta(ge=1, le=65_535)]
Count = Annotated[int, Meta(ge=1, le=10_000_000)]
Octets = Annotated[int, Meta(ge=1)]
Seconds = Annotated[int, Meta(ge=1, le=31_536_000)]
Milliseconds = Annotated[int, Meta(ge=1, le=600_000)]


class NodeRole(StrEnum):
    """What a node is in the hierarchy."""

    TOP = "top"
    SECONDARY = "secondary"
    ENTERPRISE = "enterprise"
    RECURSIVE = "recursive"

    @property
    def registers(self) -> bool:
        """Say whether a node of this role holds records of its own."""
        return self is not NodeRole.RECURSIVE


class ListenConfig(Struct, frozen=True, kw_only=True):
    """Where the node listens. Every worker binds all of it with SO_REUSEPORT."""

    addresses: tuple[str, ...] = ("127.0.0.1",)
    handle_port: Port = 2641
    http_port: Port = 8000
    trusted_proxies: tuple[str, ...] = ()
    proxy_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    client_certificate_port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    """Where TLS clients may show a certificate, 0: nowhere."""


class ProcessConfig(Struct, frozen=True, kw_only=True):
    """Processes and threads."""

    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    crypto_threads: Annotated[int, Meta(ge=1, le=64)] = 2
    stop_timeout_s: Seconds = 10


class TlsConfig(Struct, frozen=True, kw_only=True):
    """The certificate of the HTTPS port; empty paths mean one made from the server's key."""

    certificate: str = ""
    key: str = ""
    allow_plain_credentials_on_loopback: bool = False


class UpstreamConfig(Struct, frozen=True, kw_only=True):
    """How other nodes are asked."""

    bootstrap: str = "bootstrap.json"
    udp_timeouts_ms: tuple[Milliseconds, ...] = (500, 1_000, 1_500)
    stream_timeout_ms: Milliseconds = 5_000
    foreign_timeout_ms: Milliseconds = 3_000
    foreign_ttl_s: Seconds = 300
    in_flight_max: Count = 1_024


class RecursionConfig(Struct, frozen=True, kw_only=True):
    """The recursive role's walk and cache."""

    hops_max: Annotated[int, Meta(ge=1, le=40)] = 40
    depth_max: Annotated[int, Meta(ge=1, le=20)] = 20
    cache_octets: Octets = 1_073_741_824
    cache_entries_max: Count = 1_000_000
    memory_entries_max: Count = 4_096
    ttl_max_s: Seconds = 86_400
    negative_ttl_s: Seconds = 60
    stale_max_s: Seconds = 86_400
    walks_max: Count = 4_096


class RolesConfig(Struct, frozen=True, kw_only=True):
    """Who may operate the node, by handle identity."""

    administrators: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    bulk_clients: tuple[str, ...] = ()
    allow_prefix_administrators: bool = True
    allow_list_handles: bool = True


class StoreConfig(Struct, frozen=True, kw_only=True):
    """The LMDB store. The map only reserves addresses: growing it under readers fails."""

    map_octets: Octets = 1_099_511_627_776
    free_octets_min: Octets = 268_435_456


class CommitConfig(Struct, frozen=True, kw_only=True):
    """Group commit: what arrives within the window is one transaction and one fsync."""

    window_ms: Annotated[int, Meta(ge=0, le=1_000)] = 2
    operations_max: Annotated[int, Meta(ge=1, le=4_096)] = 256
    queue_max: Count = 8_192


class StreamsConfig(Struct, frozen=True, kw_only=True):
    """Streams of registrations."""

    kept_s: Seconds = 7_776_000
    """How long verdicts and receipt of a stream are kept after its end: 90 days."""


SITE_AS_FILE = "sources"  # what mirrors of Handle.Net call a site that they have as a file


class MirrorsConfig(Struct, frozen=True, kw_only=True):
    """Nodes and servers that keep a copy of this one; who may is in `roles.peers`."""

    allow_unencrypted: bool = False
    """Whether values, secret keys among them, may cross the network in clear: old mirrors."""
    name: str = SITE_AS_FILE
    """How mirrors that pull the logs of all sources name this site: see the example."""


class FollowConfig(Struct, frozen=True, kw_only=True):
    """A primary of which this node is a mirror; with an empty `site` it is none."""

    site: str = ""
    """The primary's site.json; a relative path starts at the data folder."""
    identity: str = ""
    key: str = ""
    poll_s: Seconds = 60
    silence_timeout_s: Seconds = 60


class LimitsConfig(Struct, frozen=True, kw_only=True):
    """Everything a stranger can make this node hold or wait for. Per worker unless said."""

    connections_max: Count = 8_192
    connections_per_address_max: Count = 1_024
    idle_timeout_s: Seconds = 300
    message_timeout_s: Seconds = 30
    write_timeout_s: Seconds = 60
    pipelined_max: Count = 128
    write_buffer_octets: Octets = 1_048_576
    incomplete_messages_max: Count = 4_096
    incomplete_messages_per_address_max: Count = 64
    incomplete_octets_max: Octets = 16_777_216
    incomplete_timeout_s: Seconds = 5
    http_head_timeout_s: Seconds = 10
    http_body_timeout_s: Seconds = 60
    http_headers_max: Count = 64
    http_head_octets_max: Octets = 16_384
    http_body_octets_max: Octets = 1_048_576
    tls_handshake_timeout_s: Seconds = 10
    handed_on_max: Count = 4_096
    challenges_max: Count = 65_536
    challenges_per_address_max: Count = 4_096
    challenge_octets_max: Octets = 67_108_864
    challenge_octets_per_address_max: Octets = 16_777_216
    challenge_timeout_s: Seconds = 60
    sessions_max: Count = 16_384
    sessions_per_address_max: Count = 1_024
    session_timeout_s: Seconds = 86_400
    foreign_keys_max: Count = 16_384
    foreign_key_checks_max: Count = 16
    foreign_key_check_s: Seconds = 60
    pbkdf2_rounds_max: Count = 100_000
    verifications_max: Count = 512
    aliases_followed_max: Count = 10
    locations_octets_max: Octets = 65_536
    slow_acts_max: Count = 32
    slow_acts_per_address_max: Count = 8
    open_streams_per_identity_max: Count = 1_000
    streams_per_identity_max: Count = 100_000
    stream_ratio_max: Count = 250
    stream_ratio_free_octets: Octets = 16_777_216
    mirrors_max: Count = 4
    prefix_sources_max: Count = 200_000
    list_steps_max: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 5_000_000
    list_after_rows_max: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 100_000


class LogConfig(Struct, frozen=True, kw_only=True):
    """What is logged and how. Lines go to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"
    repeat_after_s: Seconds = 60


class MetricsConfig(Struct, frozen=True, kw_only=True):
    """Which addresses may read /metrics."""

    allow: tuple[str, ...] = ("127.0.0.0/8", "::1/128")


class Config(Struct, frozen=True, kw_only=True):
    """The whole configuration. `data_dir` is absolute once `load_config` has read it."""

    role: NodeRole
    data_dir: str = "."
    case_sensitive: bool = False
    listen: ListenConfig = ListenConfig()
    process: ProcessConfig = ProcessConfig()
    tls: TlsConfig = TlsConfig()
    upstream: UpstreamConfig = UpstreamConfig()
    recursion: RecursionConfig = RecursionConfig()
    roles: RolesConfig = RolesConfig()
    store: StoreConfig = StoreConfig()
    commit: CommitConfig = CommitConfig()
    streams: StreamsConfig = StreamsConfig()
    mirrors: MirrorsConfig = MirrorsConfig()
    follow: FollowConfig = FollowConfig()
    limits: LimitsConfig = LimitsConfig()
    log: LogConfig = LogConfig()
    metrics: MetricsConfig = MetricsConfig()

    @property
    def folder(self) -> Path:
        """The data folder."""
        return Path(self.data_dir)

    @property
    def store_folder(self) -> Path:
        """The LMDB store of the node's own records."""
        return self.folder / "store"

    @property
    def cache_folder(self) -> Path:
        """The LMDB cache of the recursive role."""
        return self.folder / "cache"

    @property
    def run_folder(self) -> Path:
        """What exists only while the node runs: sockets, pid file, metrics."""
        return self.folder / "run"

    @property
    def link_path(self) -> Path:
        """The Unix socket on which the registrar or keeper serves the workers."""
        return self.run_folder / "link.sock"

    @property
    def metrics_folder(self) -> Path:
        """The files through which the processes share their metrics."""
        return self.run_folder / "metrics"

    @property
    def bootstrap_path(self) -> Path:
        """The file with the sites of the root."""
        return self.folder / self.upstream.bootstrap


class ConfigError(Exception):
    """A configuration that cannot be used; `problems` has one sentence for every mistake."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


StructType = TypeVar("StructType", bound=Struct)


def load_config(path: Path) -> Config:
    """Read a configuration file.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or has mistakes, all of them listed.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError([f"{path} cannot be read: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path} is not TOML: {error}"]) from None
    return config_from_table(table, path.resolve().parent)


def config_from_table(table: Mapping[str, Any], folder: Path) -> Config:
    """Make a configuration from a parsed TOML table; `folder` is where relative paths start.

    Raises:
        ConfigError: with every mistake.
    """
    problems: list[str] = []
    config = read_struct(Config, table, "", problems)
    # Without a usable role there is none: any will do to look for what else is wrong.
    rest = config or read_struct(Config, {**table, "role": NodeRole.TOP.value}, "", [])
    if rest is not None:
        problems.extend(_contradictions(rest))
    if problems or config is None:
        raise ConfigError(problems)
    return msgspec.structs.replace(config, data_dir=str((folder / config.data_dir).resolve()))


def read_struct(
    kind: type[StructType], table: Mapping[str, Any], path: str, problems: list[str]
) -> StructType | None:
    """Read one table into a struct, adding a sentence to `problems` for every mistake.

    A mistaken field has its default here, so that what else is wrong can be told at the same time.
    Returns None when a field that has no default is missing or mistaken.
    """
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    known: dict[str, Any] = {}
    for key, value in table.items():
        where = f"{path}{key}"
        if key not in fields:
            problems.append(_unknown_key(where, key, list(fields)))
            continue
        read = _read_field(fields[key].type, value, where, problems)
        if read is not None:
            known[key] = read
    problems.extend(
        f"{path}{name} is missing: {_expectation(field.type)}"
        for name, field in fields.items()
        if field.required and name not in table
    )
    is_whole = all(name in known for name, field in fields.items() if field.required)
    return kind(**known) if is_whole else None


def _read_field(kind: Any, value: Any, where: str, problems: list[str]) -> Any:
    if isinstance(kind, type) and issubclass(kind, Struct):
        if isinstance(value, dict):
            return read_struct(kind, value, f"{where}.", problems)
        problems.append(f"{where} is {value!r}: write it as a table, [{where}]")
        return None
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        words = str(error).replace("`", "").lower()
        if _choices(kind):
            words = _expectation(kind)
        problems.append(f"{where} is {value!r}: {words}")
        return None


def _unknown_key(where: str, key: str, names: list[str]) -> str:
    near = difflib.get_close_matches(key, names, n=1)
    advice = f"did you mean {near[0]}?" if near else f"known here are {', '.join(sorted(names))}"
    return f"{where} is not a known key: {advice}"


def _expectation(kind: Any) -> str:
    return f"set it to one of {', '.join(choices)}" if (choices := _choices(kind)) else "set it"


def _choices(kind: Any) -> list[str]:
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return [each.value for each in kind]
    return list(get_args(kind)) if get_origin(kind) is Literal else []


def _contradictions(config: Config) -> Iterator[str]:
    yield from _bad_addresses(config)
    for name in ("administrators", "operators", "reviewers", "peers", "bulk_clients"):
        for identity in getattr(config.roles, name):
            try:
                identity_from_text(identity)
            except ProtocolError as error:
                yield f"roles.{name}: {error}"
    yield from _bad_follow(config)
    yield from _bad_mirrors(config)
    if config.listen.handle_port == config.listen.http_port:
        yield f"listen.http_port is {config.listen.http_port}, as handle_port is: choose another"
    port = config.listen.client_certificate_port
    if port in (config.listen.handle_port, config.listen.http_port):
        yield f"listen.client_certificate_port is {port}, as another port is: choose another, or 0"
    if bool(config.tls.certificate) != bool(config.tls.key):
        yield "tls.certificate and tls.key go together: set both or leave both empty"
    if not config.upstream.udp_timeouts_ms:
        yield "upstream.udp_timeouts_ms is empty: give the wait before each repetition in ms"
    for narrow, wide in _NARROW_AND_WIDE:
        if getattr(config.limits, narrow) > getattr(config.limits, wide):
            yield f"limits.{narrow} is larger than limits.{wide}: make it at most as large"


def _bad_follow(config: Config) -> Iterator[str]:
    follow = config.follow
    given = [bool(each) for each in (follow.site, follow.identity, follow.key)]
    if any(given) and not all(given):
        yield "follow.site, follow.identity and follow.key go together: set all or none"
    if follow.site and not config.role.registers:
        yield "follow.site is set and role is recursive, which keeps no records: choose another"
    if follow.identity:
        try:
            identity_from_text(follow.identity)
        except ProtocolError as error:
            yield f"follow.identity: {error}"


def _bad_mirrors(config: Config) -> Iterator[str]:
    if config.mirrors.name == SITE_AS_FILE:
        return
    try:
        identity_from_text(config.mirrors.name)
    except ProtocolError:
        words = f'"{SITE_AS_FILE}", or the HS_SITE value that mirrors read, such as "3:0.NA/88.118"'
        yield f"mirrors.name is {config.mirrors.name!r}: write {words}"


_NARROW_AND_WIDE = (
    ("connections_per_address_max", "connections_max"),
    ("incomplete_messages_per_address_max", "incomplete_messages_max"),
    ("challenges_per_address_max", "challenges_max"),
    ("challenge_octets_per_address_max", "challenge_octets_max"),
    ("sessions_per_address_max", "sessions_max"),
    ("slow_acts_per_address_max", "slow_acts_max"),
    ("open_streams_per_identity_max", "streams_per_identity_max"),
)


def _bad_addresses(config: Config) -> Iterator[str]:
    if not config.listen.addresses:
        yield 'listen.addresses is empty: give at least one, such as "127.0.0.1" or "::"'
    for address in config.listen.addresses:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            yield f"listen.addresses has {address!r}: write an IPv4 or IPv6 address"
    yield from _bad_networks("metrics.allow", config.metrics.allow)
    yield from _bad_networks("listen.trusted_proxies", config.listen.trusted_proxies)
    for network in config.listen.trusted_proxies:
        if network.endswith("/0"):
            yield (
                f"listen.trusted_proxies has {network!r}: then anybody could say to be anybody, "
                "write the addresses of your proxies"
            )


def _bad_networks(where: str, networks: Iterable[str]) -> Iterator[str]:
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            yield f"{where} has {network!r}: {_network_advice(network)}"


def _network_advice(network: str) -> str:
    try:
        return f"it is one address of a network, write {ipaddress.ip_network(network, False)}"
    except ValueError:
        return "write an IPv4 or IPv6 network, such as 127.0.0.0/8 or ::1/128"
