"""`biaoshi import` against a running node: whole, again, through kills, with refusals."""

import gzip
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from resolver.cli.errors import ExitCode
from resolver.cli.import_rows import RowFile
from resolver.cli.main import main
from resolver.demo.products import MAPS, find_products
from tests.commands import node_environment
from tests.nodes import BIAOSHI, ROOT, Node, make_node, running, wait_until

ROWS = 60_000  # two requests; some seconds
KILL_TIMEOUT_S = 60.0

Run = Callable[..., "Printed"]


class Printed:
    """What the command left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document


@pytest.fixture(scope="module")
def folder(top_node: Node) -> str:
    return str(top_node.folder)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run_command(*words: str) -> Printed:
        capsys.readouterr()
        code = main(list(words))
        return Printed(code, *capsys.readouterr())

    return run_command


@pytest.fixture
def products(tmp_path: Path) -> Path:
    """The sample products, in a folder of their own."""
    path = tmp_path / "products.csv"
    path.write_bytes(find_products().read_bytes())
    return path


def row(name: str, text: str = "x", **more: object) -> dict[str, object]:
    data = {"format": "string", "value": text}
    return {"handle": f"88/{name}", "values": [{"index": 1, "type": "DESC", "data": data}], **more}


def write_rows(path: Path, rows: Iterator[dict[str, object]] | list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return str(path)


def read_lines(path: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


def values(node: Node, name: str) -> dict[int, Any]:
    document = node.get(f"/api/handles/88/{name}").json
    return {each["index"]: each["data"]["value"] for each in document["values"]}


def test_products_and_their_receipt(run: Run, folder: str, products: Path) -> None:
    maps = [word for each in MAPS for word in ("-m", each)]
    words = [str(products), "--handle", "{prefix}/{gtin}", "--prefix", "88", *maps]
    first = run("import", *words, "--node", folder)
    assert first.code == ExitCode.OK, first.err
    receipt = f"{products}.receipt"
    assert first.out == f"1,000 rows: 1,000 created\nreceipt: {receipt}\n"
    assert run("prefix", "list", "88", "--node", folder).out.count("88/") == 1_000

    again = run("import", *words, "--node", folder)
    assert again.out.startswith(first.out)
    assert "these rows were imported before" in again.out
    assert "--stream NAME" in again.out
    assert [path.name for path in products.parent.iterdir()].count("products.csv.receipt") == 1

    key = ["--key", f"{folder}/server-public-key.bin"]
    sent = ["--rows", str(products), "--handle", "88/{gtin}", *maps]
    verified = run("receipt", "verify", receipt, *key, *sent)
    assert verified.code == ExitCode.OK, verified.err
    products.write_bytes(products.read_bytes().replace(b"Mendiants", b"Mendicants"))
    assert run("receipt", "verify", receipt, *key, *sent).code == ExitCode.REFUSED

    named = run("import", *words, "--node", folder, "--stream", "second", "--json").document
    assert (named["stream"], named["unchanged"], named["refused"]) == ("second", 999, 1)
    assert named["receipt_file"] == str(products.with_name("products.csv.2.receipt"))


def test_ranges_are_rows_like_others(run: Run, folder: str, top_node: Node, tmp_path: Path) -> None:
    data = {"format": "string", "value": "https://example.org/{serial}"}
    lot: dict[str, object] = {
        "operation": "range",
        "stem": "88/rows.",
        "first": "0001",
        "last": "5000",
        "check": "gs1",
        "values": [{"index": 1, "type": "URL", "data": data}],
    }
    clash: dict[str, object] = {**lot, "first": "5000", "last": "6000"}
    wrong: dict[str, object] = {**lot, "first": "1", "last": "09"}
    rows: list[dict[str, object]] = [lot, row("beside-ranges"), clash, wrong]
    path = write_rows(tmp_path / "lots.ndjson", rows)
    assert RowFile(Path(path), "ndjson", None).first_handle() == b"88/rows.0001"
    words = ["--owner", "300:0.NA/88", "--node", folder, "--json"]
    told = run("import", path, *words)
    assert told.code == ExitCode.REFUSED
    assert (told.document["created"], told.document["refused"]) == (2, 2)
    refused = read_lines(told.document["refused_file"])
    assert [(line["row"], line["handle"], line["code"]) for line in refused] == [
        (3, "88/rows.5000", 101),
        (4, "88/rows.1", 102),
    ]
    assert "88/rows.0001..5000" in refused[0]["reason"]
    assert {name: refused[0][name] for name in clash if name != "values"} == {
        name: text for name, text in clash.items() if name != "values"
    }
    answer = top_node.get("/api/handles/88/rows.00017").json
    found = {each["type"]: each["data"]["value"] for each in answer["values"]}
    assert found["URL"] == "https://example.org/0001"
    assert found["HS_ADMIN"]["handle"] == "0.NA/88"

    refused[0] |= {"first": "5001"}
    mended = write_rows(tmp_path / "mended.ndjson", [refused[0], lot])
    again = run("import", mended, "--node", folder, "--json").document
    counts = {name: again[name] for name in ("created", "unchanged", "refused")}
    assert counts == {"created": 1, "unchanged": 0, "refused": 1}, "the owner was not given"
    same = run("import", path, *words, "--stream", "lots again").document
    assert (same["unchanged"], same["refused"]) == (2, 2)


def test_an_export_with_marks_gives_out_nothing_that_was_revoked(
    run: Run, folder: str, tmp_path: Path
) -> None:
    lot: dict[str, object] = {
        "operation": "range",
        "stem": "88/void.",
        "first": "01",
        "last": "20",
        "state": "revoked",
        "reason": "recalled",
        "values": [],
    }
    rows: list[dict[str, object]] = [
        lot,
        row("marked-frozen"),
        {"handle": "88/marked-frozen", "operation": "freeze", "time": "2026-11-18T11:07:40Z"},
        {**row("marked-revoked"), "state": "revoked"},
        {"handle": "88/marked-revoked", "operation": "revoke", "reason": "forged"},
    ]
    path = write_rows(tmp_path / "export.ndjson", rows)
    replacing = ["--existing", "replace"]
    for words in ([], replacing, [*replacing, "--owner", "300:0.NA/88"]):
        told = run("import", path, *words, "--node", folder, "--json")
        assert (told.code, told.document["refused"]) == (ExitCode.REFUSED, 4), told.err
        refused = read_lines(told.document["refused_file"])
        assert [line["row"] for line in refused] == [1, 3, 4, 5]
        assert all("use biaoshi load" in line["reason"] for line in refused)
        assert [line.get("state") for line in refused] == ["revoked", None, "revoked", None]
        # Taken as it is, the file of refused rows is refused again.
        again = run("import", told.document["refused_file"], "--node", folder, "--json")
        assert again.document["refused"] == 4
    by_row = run("import", path, "--by-row", "--existing", "skip", "--node", folder, "--json")
    assert (by_row.document["existed"], by_row.document["refused"]) == (1, 4)
    for name in ("void.07", "marked-revoked"):
        assert run("resolve", f"88/{name}", "--node", folder).code != ExitCode.OK


def test_refused_rows_can_be_mended_and_read_back(run: Run, folder: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    lines = [f"{number},Name {number}" for number in range(1, 131)]
    path.write_text("\n".join(["id,name", *lines, "7,twice", "", "short", ",empty"]) + "\n")
    words = [str(path), "--handle", "{prefix}/lot.{id}", "--prefix", "88", "-m", "name=DESC"]
    told = run("import", *words, "--node", folder, "--json")
    assert told.code == ExitCode.REFUSED
    assert (told.document["created"], told.document["refused"]) == (130, 3)
    refused = read_lines(told.document["refused_file"])
    assert [(line["row"], line["handle"], line["code"]) for line in refused] == [
        (131, "88/lot.7", 101),
        (132, "", 202),
        (133, "", 202),
    ]
    assert "is registered already" in refused[0]["reason"]
    assert refused[1]["reason"] == "1 cells, the header has 2"
    assert [line.get("text") for line in refused] == [None, "short", ",empty"]

    shown = run("import", *words, "--node", folder)
    assert "133 rows: 130 created, 3 refused\n  row 131 88/lot.7: refused: 88/lot.7" in shown.out
    assert f"all 3 with reasons: {path}.refused.2.ndjson" in shown.out
    skipped = run("import", *words, "--node", folder, "--existing", "skip", "--json").document
    assert (skipped["created"], skipped["existed"], skipped["refused"]) == (130, 1, 2)

    mended = tmp_path / "mended.ndjson"
    replaced = write_rows(mended, [refused[0]])
    words = [replaced, "--node", folder, "--existing", "replace", "--json"]
    assert run("import", *words).document["replaced"] == 1
    code, _, error = _unpack(run("import", *words, "--refused", replaced))
    assert code == ExitCode.USAGE
    assert f"{replaced} exists and is not overwritten" in error


def _unpack(printed: Printed) -> tuple[int, str, str]:
    return printed.code, printed.out, printed.err


def test_owners_and_operations(run: Run, folder: str, tmp_path: Path, top_node: Node) -> None:
    rows: list[dict[str, object]] = [row("own.1"), {"handle": "88/own.3"}]
    rows.append(row("own.2", operation="delete"))
    path = write_rows(tmp_path / "own.ndjson", rows)
    owners = ["--owner", "300:0.NA/88", "--owner", "301:0.NA/88"]
    told = run("import", path, *owners, "--node", folder, "--json").document
    assert (told["created"], told["refused"]) == (1, 2)
    found = values(top_node, "own.1")
    assert [found[index]["index"] for index in (100, 101)] == [300, 301]

    table = tmp_path / "own.csv"
    table.write_text("id,name,do\n1,new,replace\n4,four,\n")
    words = [str(table), "--handle", "88/own.{id}", "-m", "name=DESC", "--operation", "do"]
    told = run("import", *words, "--node", folder, "--json").document
    assert (told["replaced"], told["created"]) == (1, 1)
    assert values(top_node, "own.1") == {1: "new"}
    assert run("import", *words, "--node", folder, *owners).code == ExitCode.USAGE
    words = [*words[:-2], *owners, "--existing", "replace", "--json"]
    assert run("import", *words, "--node", folder).document["replaced"] == 2
    assert set(values(top_node, "own.4")) == {1, 100, 101}


def test_formats_and_places(run: Run, folder: str, tmp_path: Path, top_node: Node) -> None:
    packed = tmp_path / "lot.msgpack"
    packed.write_bytes(b"".join(msgpack.packb(row(f"pack.{n}")) for n in range(5)))
    squeezed = tmp_path / "lot.ndjson.gz"
    squeezed.write_bytes(gzip.compress(json.dumps(row("gz.1")).encode()))
    key = ["--admin", top_node.admin, "--key", str(top_node.admin_key), "--json"]
    server = f"127.0.0.1:{top_node.handle_port}"
    assert run("import", str(packed), "--server", server, *key).document["created"] == 5
    root = str(top_node.bootstrap)
    assert run("import", str(squeezed), "--root", root, *key).document["created"] == 1
    again = run("import", str(packed), "--node", folder, "--existing", "replace", "--json")
    assert (again.document["replaced"], again.document["unchanged"]) in [(5, 0), (0, 5)]


def test_row_by_row(run: Run, folder: str, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.ndjson", [row("row.1"), row("row.2")])
    told = run("import", path, "--node", folder, "--by-row")
    assert (told.code, told.out) == (ExitCode.OK, "2 rows: 2 registered\n")
    skipped = run("import", path, "--node", folder, "--by-row", "--existing", "skip")
    assert skipped.out == "2 rows: 2 existed\n"
    table = tmp_path / "r.csv"
    table.write_text("id\n9\n")
    words = ["--handle", "{prefix}/row.{id}", "--prefix", "88", "-m", "id=DESC", "--by-row"]
    told = run("import", str(table), *words, "--node", folder, "--owner", "300:0.NA/88")
    assert told.out == "1 rows: 1 registered\n"
    (tmp_path / "r.msgpack").write_bytes(b"")
    told = run("import", str(tmp_path / "r.msgpack"), "--by-row", "--node", folder)
    assert told.code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("name", "words", "code", "said"),
    [
        ("a.csv", (), ExitCode.USAGE, "needs to know what its columns are"),
        ("a.csv", ("--handle", "88/{no}", "-m", "id=DESC"), ExitCode.USAGE, "no column no"),
        ("a.csv", ("--handle", "88/{id}", "-m", "id"), ExitCode.USAGE, "does not map a column"),
        ("a.txt", (), ExitCode.USAGE, "does not say how its rows are written"),
        ("no.ndjson", (), ExitCode.FILES, "no.ndjson cannot be read: No such file"),
        ("a.ndjson", ("--stream", "a/b"), ExitCode.USAGE, "a key has 1 to 128"),
        (
            "a.csv",
            ("--handle", "{prefix}/{id}", "--prefix", "{", "-m", "id=DESC"),
            ExitCode.USAGE,
            "has a brace in it",
        ),
        (
            "a.csv",
            ("--handle", "88/{id}", "-m", "id=DESC", "--delimiter", "::"),
            ExitCode.USAGE,
            "is not one ASCII character",
        ),
        ("a.msgpack", (), ExitCode.REFUSED, "this is not msgpack"),
    ],
)
def test_what_cannot_begin(
    run: Run, folder: str, tmp_path: Path, name: str, words: tuple[str, ...], code: int, said: str
) -> None:
    for each in ("a.csv", "a.txt", "a.ndjson"):
        (tmp_path / each).write_text("id\n1\n")
    (tmp_path / "a.msgpack").write_bytes(b"\xc1")
    told = run("import", str(tmp_path / name), *words, "--node", folder)
    assert (told.code, said in told.err) == (code, True), told.err


def test_another_identity_is_not_believed(
    run: Run, tmp_path: Path, top_node: Node, folder: str
) -> None:
    path = write_rows(tmp_path / "a.ndjson", [row("no")])
    key = ["--admin", "300:0.NA/88.77", "--key", str(top_node.admin_key)]
    told = run("import", path, "--server", f"127.0.0.1:{top_node.handle_port}", *key)
    assert told.code == ExitCode.NOT_ALLOWED
    assert "did not believe 300:0.NA/88.77" in told.err


def test_a_node_with_a_certificate_of_its_operator(
    run: Run, tmp_path: Path, top_node: Node
) -> None:
    other = make_node(tmp_path / "other", prefix="88")
    with running(other):
        pass
    pem = other.folder / "run" / "tls.pem"
    site = json.loads((top_node.folder / "site.json").read_text())
    site["servers"][0]["publicKey"] = json.loads((other.folder / "site.json").read_text())[
        "servers"
    ][0]["publicKey"]
    assert pem.exists()
    path = write_rows(tmp_path / "a.ndjson", [row("ca.1")])
    tables = {"tls": {"certificate": str(pem), "key": str(pem)}}
    with running(make_node(tmp_path / "node", tables=tables)) as node:
        told = run("import", path, "--node", str(node.folder))
        assert told.code == ExitCode.OK, told.err
        words = ["--server", f"127.0.0.1:{node.handle_port}", "--stream", "x"]
        words += ["--admin", node.admin, "--key", str(node.admin_key)]
        told = run("import", path, *words)
        assert told.code == ExitCode.UNREACHABLE
        assert "is not made with its HS_SITE key" in told.err
        told = run("import", path, *words, "--cacert", str(pem))
        assert told.code == ExitCode.OK, told.err


class Import:
    """The command as a process of its own, which can be killed."""

    def __init__(self, path: str, node: Node) -> None:
        words = ["import", path, "--node", str(node.folder), "--json"]
        self.process = subprocess.Popen(
            [*BIAOSHI, *words],
            cwd=ROOT,
            env=node_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> Printed:
        out, err = self.process.communicate(timeout=120)
        return Printed(self.process.returncode, out, err)


def count_rows(node: Node) -> float:
    """How many rows of streams the node has decided on since it was started."""
    is_counted = b"biaoshi_bulk_rows_total{" in node.get("/metrics").body
    return node.metric("biaoshi_bulk_rows_total") if is_counted else 0


def wait_for_rows(node: Node, count: float) -> None:
    wait_until(lambda: count_rows(node) >= count, f"{count} rows are there", KILL_TIMEOUT_S)


def wait_for_quiet(node: Node) -> float:
    """Wait until what was under way is written; return how many rows that makes."""
    counts = [-1.0]

    def is_quiet() -> bool:
        counts.append(count_rows(node))
        return counts[-1] == counts[-2]

    wait_until(is_quiet, "nothing is written any more", KILL_TIMEOUT_S, pause_s=0.5)
    return counts[-1]


@pytest.fixture(scope="module")
def many(module_folder: Path) -> str:
    rows = (row(f"many.{number}") for number in range(ROWS))
    return write_rows(module_folder / "many.ndjson", rows)


def test_an_import_that_was_killed_goes_on(tmp_path: Path, many: str, run: Run) -> None:
    with running(make_node(tmp_path / "node")) as node:
        killed = Import(many, node)
        wait_for_rows(node, 1_000)
        killed.process.send_signal(signal.SIGKILL)
        assert killed.end().code == -signal.SIGKILL
        count = wait_for_quiet(node)
        interrupted = Import(many, node)
        wait_for_rows(node, count + 1)
        interrupted.process.send_signal(signal.SIGINT)
        told = interrupted.end()
        if told.code != ExitCode.OK:
            assert told.code == ExitCode.INTERRUPTED, told.err
            assert "rows of the stream many.ndjson-" in told.err
            assert "the same command goes on from there" in told.err
        check_whole(run("import", many, "--node", str(node.folder), "--json"), node)


def test_an_import_outlives_its_node(tmp_path: Path, many: str) -> None:
    with running(make_node(tmp_path / "node")) as node:
        under_way = Import(many, node)
        for count in (1_000, 1_000):  # of the metrics of each start
            wait_for_rows(node, count)
            node.kill()
            node.start()
        told = under_way.end()
        assert told.code == ExitCode.OK, told.err
        check_whole(told, node)


def check_whole(told: Printed, node: Node) -> None:
    """Every row was created once and is there, and the journal says no more than that."""
    counts = {name: told.document[name] for name in ("rows", "created", "unchanged", "refused")}
    assert counts == {"rows": ROWS, "created": ROWS, "unchanged": 0, "refused": 0}
    for number in (0, ROWS // 2, ROWS - 1):
        assert values(node, f"many.{number}") == {1: "x"}
    assert node.stop() == 0
    verified = subprocess.run(
        [*BIAOSHI, "verify", str(node.folder), "--json"],
        cwd=ROOT,
        env=node_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(verified.stdout)
    assert report["problems"] == []
