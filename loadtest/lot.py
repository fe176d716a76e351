"""P6's other half: what a lot of consecutive serials made from a template takes on the disk."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

from loadtest.formula import make_handle
from loadtest.load import Answers
from loadtest.plan import Bench
from loadtest.registrar_client import ask, find_administrator, log_in, send_stream
from loadtest.servers import CONFIG, run_biaoshi, serving
from loadtest.startup import MeasurementError
from loadtest.stores import disk_octets
from loadtest.writable import WRITES_CONFIG, Disk, check_rows, make_writable

P6_LOT = "P6 stream of a lot from a template"
SYSTEM = "biaoshi"
FIRST_ATTRIBUTE = 2_000  # index of the first value that is an attribute
LOT_ROWS = 100_000  # serials of one lot, as enterprises make them
LOT_PIECE = 1_000  # rows sent at a time
LOT_CHECKED = 200
TEMPLATE = {
    "code": "part",
    "title": "Parts",
    "industry": "C3670",
    "attributes": [
        {"name": "serial", "type": "string", "required": True, "length": 20},
        {"name": "model", "type": "string", "required": True, "length": 40},
        {"name": "made", "type": "date", "required": True},
        {"name": "grade", "type": "enumeration", "values": ["A", "B"], "required": True},
        {"name": "page", "type": "url", "required": True},
    ],
}


def measure_lot(bench: Bench, run: int, disk: Disk) -> None:
    """Measure what a lot from a template takes; read a sample back, verify the store."""
    plan, home = bench.plan, bench.folder / f"lot-{run}"
    node = make_writable(home, plan.shape)
    prefix = plan.shape.prefix.partition("/")[0]
    handle = make_handle(plan.shape, 0)
    with serving(node, handle, plan.server_core, config=WRITES_CONFIG) as served:
        http_port = served.ports[1]
        authorization = log_in(http_port, find_administrator(node, CONFIG), tls=False)
        ask(http_port, "POST", "/api/templates", authorization, {"prefix": prefix, **TEMPLATE})
        before = disk_octets(node / "store")
        streamed = send_stream(http_port, authorization, "lot", lot_pieces(prefix))
        check_rows(streamed, LOT_ROWS)
        for number in range(0, LOT_ROWS, LOT_ROWS // LOT_CHECKED):
            check_lot_row(http_port, prefix, number)
    run_biaoshi("verify", str(node))
    octets = (disk_octets(node / "store") - before) / LOT_ROWS
    disk.octets_per_row_of_a_lot.append(octets)
    bench.keep(P6_LOT, SYSTEM, run, Answers(LOT_ROWS / streamed.seconds))
    bench.say(f"run {run}  P6 {octets:.1f} octets a row of a lot; a sample read back, verified")
    shutil.rmtree(home)


def lot_row(prefix: str, number: int) -> dict[str, Any]:
    """Return one row of the lot."""
    serial = f"{number:07d}"
    return {
        "handle": f"{prefix}/870101.M1.20261121.{serial}",
        "template": TEMPLATE["code"],
        "attributes": {
            "serial": serial,
            "model": "870101.M1",
            "made": "2026-11-21",
            "grade": "A",
            "page": f"https://example.org/870101/M1/{serial}",
        },
    }


def lot_pieces(prefix: str) -> Iterator[bytes]:
    """Yield the lot as NDJSON."""
    for start in range(0, LOT_ROWS, LOT_PIECE):
        rows = (lot_row(prefix, number) for number in range(start, start + LOT_PIECE))
        yield b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def check_lot_row(http_port: int, prefix: str, number: int) -> None:
    """Raise MeasurementError unless a row of the lot is answered as ordinary values."""
    row = lot_row(prefix, number)
    document = ask(http_port, "GET", f"/api/handles/{row['handle']}")
    found = [
        each["data"]["value"] for each in document["values"] if each["index"] >= FIRST_ATTRIBUTE
    ]
    if found != list(row["attributes"].values()):
        raise MeasurementError(f"{row['handle']} is answered with {document}")
