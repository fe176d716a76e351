"""Statistics of a running node: what foreign clients ask is counted exactly, whoever answers it."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import pytest

from protocol.bodies import ResolutionRequest
from protocol.codes import MessageFlag, Permission
from protocol.value import HandleValue
from registry.days import day_of, day_to_text
from resolver.cli.administration import administered
from resolver.cli.connect import Where, find_target
from resolver.told.counts import Sources, Statistics
from tests.nodes import ADDRESS, Node, make_node, must_run, run_biaoshi, running, wait_until
from tests.resolver.office import request

LOOKUPS = 1_000  # over each transport, half of them under each prefix
PREFIXES = ("88.1", "88.2")
ROWS = 50
MISSING_EVERY = 5  # of the look-ups this part asks for what is not registered


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A running node with two prefixes and some rows under each."""
    folder: Path = tmp_path_factory.mktemp("counts")
    made = make_node(folder / "node", tables={"listen": {"addresses": [ADDRESS, "::1"]}})
    with running(made):
        for prefix in PREFIXES:
            must_run("prefix", "home", prefix, "--node", str(made.folder))
        rows = folder / "rows.ndjson"
        rows.write_text("".join(_row(number) for number in range(2 * ROWS)))
        must_run("import", str(rows), "--node", str(made.folder))
        yield made
        assert "Traceback" not in made.log, made.log_tail
        assert made.stop() == 0
        must_run("verify", str(made.folder))


def _row(number: int) -> str:
    values = [{"index": 1, "type": "URL", "data": f"https://example.org/{number}"}]
    return json.dumps({"handle": _handle(number), "values": values}) + "\n"


def _handle(number: int) -> str:
    return f"{PREFIXES[number % 2]}/x{number}"


def asked(number: int) -> str:
    """The handle of one look-up: some are in other letters, some not registered."""
    handle = _handle(number % (2 * ROWS))
    if number // 2 % MISSING_EVERY == 0:
        return handle + "-missing"
    return handle.upper() if number % 3 == 0 else handle


def message(number: int) -> bytes:
    """A look-up; every eighth has a filter, which the fast path leaves to the readable one."""
    types = (b"URL",) if number // 4 % 8 == 0 else ()
    body = ResolutionRequest(asked(number).encode(), types=types)
    return request(1, body, MessageFlag.PUBLIC_ONLY, request_id=number + 1).encode()


def ask_udp(node: Node, count: int, source: str = "127.0.0.1") -> None:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    server = ("::1" if ":" in source else ADDRESS, node.handle_port)
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((source, 0))
        sock.settimeout(10)
        for start in range(0, count, 32):
            some = range(start, min(start + 32, count))
            for number in some:
                sock.sendto(message(number), server)
            for _ in some:
                sock.recv(65_535)


def ask_tcp(node: Node, count: int) -> None:
    with socket.create_connection(node.address, timeout=10) as sock, sock.makefile("rb") as answers:
        for start in range(0, count, 50):
            some = range(start, min(start + 50, count))
            sock.sendall(b"".join(message(number) for number in some))
            for _ in some:
                head = answers.read(20)
                answers.read(int.from_bytes(head[16:], "big"))


def ask_http(node: Node, count: int) -> None:
    with closing(http.client.HTTPConnection(*node.http_address, timeout=10)) as connection:
        for number in range(count):
            query = "?type=URL" if number // 4 % 8 == 0 else ""
            connection.request("GET", f"/api/handles/{asked(number)}{query}")
            connection.getresponse().read()


def told(node: Node, prefix: str = "") -> Statistics:
    """What the node tells of two days: midnight may come while this runs."""
    today = date.fromisoformat(day_to_text(day_of(time.time())))
    with administered(Where(node=str(node.folder)), prefix) as client:
        return client.statistics(prefix, today - timedelta(days=1), today)


def queries(node: Node, prefix: str) -> tuple[int, int]:
    """Look-ups under a prefix, received and answered."""
    days = told(node, prefix).days
    return sum(day.queries.received for day in days), sum(day.queries.answered for day in days)


def wait_for_queries(node: Node, prefix: str, received: int) -> None:
    wait_until(
        lambda: queries(node, prefix)[0] >= received, f"the look-ups of {prefix} are counted", 20
    )


def sources(node: Node, prefix: str = "") -> Sources:
    with administered(Where(node=str(node.folder)), "sources") as client:
        return client.sources(prefix=prefix)


def expected(count: int, prefix: int) -> tuple[int, int]:
    numbers = [number for number in range(count) if number % 2 == prefix]
    return len(numbers), sum(not asked(number).endswith("missing") for number in numbers)


def test_every_look_up_is_counted_once(node: Node) -> None:
    ask_udp(node, LOOKUPS)
    ask_tcp(node, LOOKUPS)
    ask_http(node, LOOKUPS)
    for number, prefix in enumerate(PREFIXES):
        received, answered = (3 * each for each in expected(LOOKUPS, number))
        wait_for_queries(node, prefix, received)
        assert queries(node, prefix) == (received, answered)


def test_sources_are_counted_by_address(node: Node) -> None:
    ask_udp(node, 40, "127.0.0.2")
    ask_udp(node, 70, "127.0.0.3")
    ask_udp(node, 30, "::1")

    def counts() -> dict[str, int]:
        return {each.address: each.at_least for each in sources(node).sources}

    wait_until(lambda: counts().get("::1", 0) >= 30, "the look-ups are counted", 20)
    found = counts()
    assert (found["127.0.0.2"], found["127.0.0.3"], found["::1"]) == (40, 70, 30)
    shown = sources(node)
    assert shown.total == sum(found.values()) + shown.rest
    assert (shown.rest, shown.error_max, shown.others_at_most) == (0, 0, 0)


def test_sources_are_counted_by_prefix(node: Node) -> None:
    def counts(prefix: str) -> dict[str, int]:
        return {each.address: each.at_least for each in sources(node, prefix).sources}

    before = {prefix: counts(prefix) for prefix in PREFIXES}
    ask_udp(node, 60, "127.0.0.4")
    ask_udp(node, 40, "::1")
    ask_tcp(node, 80)
    ask_http(node, 80)
    more = {"127.0.0.4": 30, "::1": 20, "127.0.0.1": 80}
    for prefix in PREFIXES:
        total = sum(before[prefix].values()) + sum(more.values())
        wait_for_queries(node, prefix, total)
        found = counts(prefix)
        for address, asked_for in more.items():
            assert found[address] == before[prefix].get(address, 0) + asked_for
        shown = sources(node, prefix)
        assert shown.prefix == prefix
        assert shown.total == queries(node, prefix)[0] == total
        assert (shown.rest, shown.error_max, shown.others_at_most) == (0, 0, 0)
    listed = must_run("statistics", PREFIXES[0], "--sources", "--node", str(node.folder))
    assert f"{PREFIXES[0]}: " in listed
    assert "127.0.0.4" in listed


def test_registrations_are_counted_by_prefix(node: Node) -> None:
    for prefix in PREFIXES:
        found = told(node, prefix)
        assert found.is_counted
        assert (found.identifiers.rows, found.identifiers.identifiers) == (ROWS, ROWS)
        assert sum(int(day.together.added) for day in found.days) == ROWS
        assert found.days[-1].together.total == ROWS
        assert found.days[-1].prefixes.total == 0
    shown = must_run("statistics", PREFIXES[0], "--node", str(node.folder))
    assert f"now {ROWS} identifiers: {ROWS} rows, 0 in 0 ranges" in shown
    document = json.loads(must_run("statistics", "--node", str(node.folder), "--json"))
    assert document["identifiers"]["rows"] == 2 * ROWS
    listed = must_run("statistics", "--sources", "--node", str(node.folder))
    assert "the rest" in listed


def test_what_is_not_homed_here_has_one_line(node: Node) -> None:
    def elsewhere() -> int:
        return sum(day.queries_elsewhere.received for day in told(node).days)

    before = elsewhere()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        for number in range(20):
            body = ResolutionRequest(b"77.%d/x" % number)
            sock.sendto(request(1, body, request_id=number).encode(), node.address)
            sock.recv(65_535)
    wait_until(lambda: elsewhere() >= before + 20, "the look-ups are counted", 20)
    assert elsewhere() == before + 20


def test_a_challenged_look_up_is_one_that_is_answered_later(node: Node) -> None:
    prefix = PREFIXES[1]
    secret = HandleValue(1, b"NOTE", b"secret", permission=Permission.ADMIN_READ)
    with find_target(Where(node=str(node.folder)), log_in=True).open() as client:
        client.create(f"{prefix}/SECRET", [secret])
        received, answered = queries(node, prefix)
        assert client.resolve(f"{prefix}/SECRET", private=True).values[0].data == b"secret"
    wait_until(lambda: queries(node, prefix)[1] > answered, "the look-up is counted", 20)
    assert queries(node, prefix) == (received + 1, answered + 1)


def test_a_range_is_counted_by_its_identifiers(node: Node) -> None:
    prefix = PREFIXES[0]
    before, (received, answered) = told(node, prefix), queries(node, prefix)
    values = [HandleValue(1, b"URL", b"https://example.org/{serial}")]
    with administered(Where(node=str(node.folder)), prefix) as client:
        client.register_range(f"{prefix}/LOT.", "000001", "100000", values)
        client.shrink_range(f"{prefix}/LOT.000001", "000001", "060000")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        for number in range(59_991, 60_011):  # ten inside, ten behind
            body = ResolutionRequest(b"%s/LOT.%06d" % (prefix.encode(), number))
            sock.sendto(request(1, body, request_id=number).encode(), node.address)
            sock.recv(65_535)
    wait_for_queries(node, prefix, received + 20)
    assert queries(node, prefix) == (received + 20, answered + 10)
    now = told(node, prefix)
    assert (now.identifiers.ranges, now.identifiers.in_ranges) == (1, 60_000)
    assert now.identifiers.identifiers == int(before.identifiers.identifiers) + 60_000
    assert sum(int(day.ranges.added) for day in now.days) == 100_000
    assert sum(int(day.ranges.removed) for day in now.days) == 40_000


def test_strangers_see_nothing(node: Node) -> None:
    assert node.get("/api/statistics").status == 401
    assert node.get("/api/statistics/sources").status == 401
    assert node.get("/api/statistics/sources?prefix=88.1").status == 401
    assert node.get("/api/statistics/totals?prefix=88.1").status == 401


def test_bad_days_are_refused_in_words(node: Node) -> None:
    refused = run_biaoshi("statistics", "--from", "yesterday", "--node", str(node.folder))
    assert refused.returncode == 2
    assert "--from yesterday is not a day" in refused.stderr
    late = run_biaoshi(
        "statistics", "--from", "2026-02-01", "--to", "2026-01-01", "--node", str(node.folder)
    )
    assert late.returncode != 0
    assert "from (2026-02-01) is after to (2026-01-01)" in late.stderr
