"""A disk that fills up under the whole data folder: read-only, said everywhere, and back again.

The folder lies on a small tmpfs of the test's own, with everything a node writes (store, sockets,
metrics, lock files), as it would on a machine with one disk.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.bodies import ErrorAnswer
from protocol.codes import ResponseCode
from tests.faults.rest_client import RestSession
from tests.faults.wire_client import (
    Answered,
    Connection,
    administrator,
    ask_udp,
    data_of,
    expected_data,
    look_up,
    read_answer,
    resolution,
)
from tests.nodes import Node, Tables, make_node, must_run, running, wait_until

DISK_OCTETS = 48 * 1_048_576
# Less than one more registration needs in the end, so that the store meets the bound itself.
ROOM_WHEN_FULL_OCTETS = 256 * 1_024
FREE_OCTETS_MIN = 8 * 1_048_576
REGISTRATIONS_MAX = 2_000
RECOVERY_TIMEOUT_S = 15.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_OCTETS},mode=0700", "tmpfs", str(place)]
    mounted = subprocess.run(words, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def make_small_node(disk: Path, free_octets_min: int) -> Node:
    tables: Tables = {
        "store": {"free_octets_min": free_octets_min},
        "tls": {"allow_plain_credentials_on_loopback": True},
    }
    node = make_node(disk / "node", tables=tables)
    node.log_path = disk.parent / "log.txt"  # as a system's journal, it is not on this disk
    return node


def fill(disk: Path, octets_left: int) -> Path:
    """Write ballast until about `octets_left` remain on the disk."""
    ballast = disk / "ballast"
    free = free_octets(disk)
    assert free > octets_left
    with ballast.open("wb") as file:
        for _ in range((free - octets_left) // 4_096):
            file.write(bytes(4_096))
    return ballast


def free_octets(disk: Path) -> int:
    words = ["stat", "-f", "-c", "%a %S", str(disk)]
    blocks, size = subprocess.run(words, capture_output=True, check=True).stdout.split()
    return int(blocks) * int(size)


def register(node: Node, name: str) -> Answered:
    with Connection(node.address) as connection:
        return connection.register(administrator(node), name)


def register_until_refused(node: Node) -> tuple[list[str], Answered]:
    """Register until the node says no; return what it took and how it refused."""
    taken: list[str] = []
    admin = administrator(node)
    with Connection(node.address) as connection:
        for number in range(REGISTRATIONS_MAX):
            answer = connection.register(admin, f"fill-{number}")
            if answer.code != ResponseCode.SUCCESS:
                return taken, answer
            taken.append(f"fill-{number}")
    raise AssertionError(f"{REGISTRATIONS_MAX} registrations went onto a full disk")


def processes(node: Node) -> tuple[int | None, list[int]]:
    return node.writer_pid(), node.worker_pids()


def why_read_only(node: Node) -> str:
    """What /readyz says; status 200 all the same, since look-ups go on and shall be sent here."""
    answer = node.get("/readyz")
    assert answer.status == 200, answer
    return str(answer.json["read_only"])


def check_read_only(node: Node, answer: Answered) -> None:
    """The refusal has code 7 and words; /readyz, metric and log say why."""
    assert answer.code == ResponseCode.SERVER_BACKUP
    assert isinstance(answer.body, ErrorAnswer)
    assert b"room" in (answer.body.message or b"")
    assert "room" in why_read_only(node)
    assert node.metric("biaoshi_read_only") == 1
    assert "read-only" in node.log
    assert node.get("/healthz").status == 200


def check_look_ups(node: Node, names: list[str]) -> None:
    for name in names:
        handle = b"88/" + name.encode()
        assert data_of(look_up(node.address, handle).body) == expected_data(name)
        assert read_answer(ask_udp(node.address, resolution(handle))).code == ResponseCode.SUCCESS
        assert node.get(f"/api/handles/88/{name}").json["responseCode"] == ResponseCode.SUCCESS


def check_rest_refusal(node: Node) -> None:
    with RestSession(node, administrator(node)) as session:
        answer = session.put("88/rest-refused", [{"index": 1, "type": "URL", "data": "x:"}])
    assert answer.status == 503, answer
    assert answer.json["responseCode"] == ResponseCode.SERVER_BACKUP
    assert look_up(node.address, b"88/rest-refused").code == ResponseCode.HANDLE_NOT_FOUND


def check_recovery(node: Node, ballast: Path) -> None:
    """With room again the node registers by itself, without a restart."""
    before = processes(node)
    ballast.unlink()
    wait_until(lambda: not why_read_only(node), "/readyz is content", RECOVERY_TIMEOUT_S)
    assert register(node, "after").code == ResponseCode.SUCCESS
    with RestSession(node, administrator(node)) as session:
        answer = session.put("88/rest-after", [{"index": 1, "type": "URL", "data": "x:"}])
    assert answer.status == 201, answer
    assert node.metric("biaoshi_read_only") == 0
    assert "room again" in node.log
    assert processes(node) == before


def test_full_disk_makes_the_node_read_only_until_there_is_room(small_disk: Path) -> None:
    node = make_small_node(small_disk, free_octets_min=1)
    with running(node):
        assert register(node, "early").code == ResponseCode.SUCCESS
        before = processes(node)
        ballast = fill(small_disk, ROOM_WHEN_FULL_OCTETS)
        taken, refusal = register_until_refused(node)
        refused = f"fill-{len(taken)}"
        check_read_only(node, refusal)
        assert register(node, "still-full").code == ResponseCode.SERVER_BACKUP
        assert processes(node) == before, "a full disk cost a process its life"
        check_look_ups(node, ["early", *taken[:3], *taken[-3:]])
        check_rest_refusal(node)
        for name in (refused, "still-full"):
            found = look_up(node.address, b"88/" + name.encode())
            assert found.code == ResponseCode.HANDLE_NOT_FOUND
        check_recovery(node, ballast)
        check_look_ups(node, ["early", *taken, "after"])
        assert "Traceback" not in node.log
        assert node.stop() == 0
    must_run("verify", str(node.folder))


def test_full_disk_does_not_keep_processes_from_being_replaced(small_disk: Path) -> None:
    node = make_small_node(small_disk, free_octets_min=1)
    with running(node):
        assert register(node, "early").code == ResponseCode.SUCCESS
        ballast = fill(small_disk, 0)
        registrar, (worker,) = processes(node)
        for child in node.children:
            child.kill()
        wait_until(lambda: node.worker_pids() not in ([], [worker]), "another worker listens")
        wait_until(lambda: node.writer_pid() not in (None, registrar), "another registrar writes")
        wait_until(node.listens_for_http, "the other worker takes HTTP")
        check_look_ups(node, ["early"])
        check_registers_again(node, ballast)


def test_node_starts_on_a_full_disk(small_disk: Path) -> None:
    node = make_small_node(small_disk, free_octets_min=1)
    with running(node):
        assert register(node, "early").code == ResponseCode.SUCCESS
        ballast = fill(small_disk, 0)
        node.kill()
        node.start()
        check_look_ups(node, ["early"])
        check_registers_again(node, ballast)


def check_registers_again(node: Node, ballast: Path) -> None:
    ballast.unlink()
    wait_until(
        lambda: register(node, "after").code == ResponseCode.SUCCESS,
        "it registers again",
        RECOVERY_TIMEOUT_S,
    )
    check_look_ups(node, ["early", "after"])


def test_nearly_full_disk_is_enough(small_disk: Path) -> None:
    node = make_small_node(small_disk, FREE_OCTETS_MIN)
    with running(node):
        assert register(node, "early").code == ResponseCode.SUCCESS
        ballast = fill(small_disk, FREE_OCTETS_MIN // 2)
        wait_until(lambda: why_read_only(node), "/readyz says read-only", RECOVERY_TIMEOUT_S)
        check_read_only(node, register(node, "refused"))
        # Nothing failed: there was room for the registration, and it was left alone.
        assert free_octets(small_disk) > FREE_OCTETS_MIN // 4
        check_look_ups(node, ["early"])
        check_rest_refusal(node)
        assert look_up(node.address, b"88/refused").code == ResponseCode.HANDLE_NOT_FOUND
        check_recovery(node, ballast)
        assert node.stop() == 0
    must_run("verify", str(node.folder))
