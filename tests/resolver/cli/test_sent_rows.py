import gzip
import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgpack
import pytest
import zstandard

from registry.receipts import START, chain
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.sent_rows import digest_files, find_kind
from resolver.rows.readers import make_reader

LINES = [
    b'{"handle":"88.118.5/A%d","values":[{"index":1,"type":"URL","data":"https://e.org/%d"}]}'
    % (number, number)
    for number in range(1_200)
]
NDJSON = b"\n".join(LINES) + b"\n"
CSV = 'id;name;state\n1;M4;\n2;"M5\nlong";x\n3;M"6;\n4;short\n\n5;螺丝;\n'.encode()
OPTIONS = {"handle": ["88.118.5/{id}"], "map": ["name=DESC:1"], "operation": [""]}
OPTIONS |= {"delimiter": [";"]}


def digest_of(rows: Sequence[bytes]) -> bytes:
    return chain(START, [hashlib.sha256(row).digest() for row in rows])


def write(folder: Path, name: str, octets: bytes) -> Path:
    path = folder / name
    path.write_bytes(octets)
    return path


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        (".ndjson", bytes),
        (".JSONL", bytes),
        (".ndjson.gz", gzip.compress),
        (".ndjson.zst", zstandard.ZstdCompressor().compress),
    ],
)
def test_ndjson(tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    path = write(tmp_path, f"lot.of.4711{suffix}", pack(NDJSON))
    assert digest_files([path], {}) == (1_200, digest_of(LINES))


def test_files_one_after_the_other(tmp_path: Path) -> None:
    one = write(tmp_path, "1.ndjson", b"\n".join(LINES[:500]))
    two = write(tmp_path, "2.ndjson", b"\n".join(LINES[500:]))
    assert digest_files([one, two], {}) == (1_200, digest_of(LINES))
    assert digest_files([two, one], {}) != (1_200, digest_of(LINES))
    assert digest_files([], {}) == (0, START)


def test_msgpack(tmp_path: Path) -> None:
    rows = [msgpack.packb({"handle": f"88/{number}", "values": []}) for number in range(300)]
    path = write(tmp_path, "lot.msgpack", b"".join(rows))
    assert digest_files([path], OPTIONS) == (300, digest_of(rows))


@pytest.mark.parametrize(
    "changed", [{}, {"operation": ["state"]}, {"handle": ["88/{name}"], "map": ["id=URL"]}]
)
def test_csv_has_the_digest_that_the_node_computes(
    tmp_path: Path, changed: dict[str, list[str]]
) -> None:
    path = write(tmp_path, "lot.csv.gz", gzip.compress(CSV))
    reader = make_reader("text/csv", OPTIONS | changed, time.time)
    rows = reader.feed(CSV) + reader.end()
    assert len(rows) == 5
    assert digest_files([path], OPTIONS | changed) == (5, chain(START, [row[3] for row in rows]))
    other = OPTIONS | changed | {"map": ["id,name=DESC"]}
    assert digest_files([path], other)[1] != digest_files([path], OPTIONS | changed)[1]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"handle": [""]}, "what its columns are"),
        ({"map": []}, "what its columns are"),
        ({"map": ["name"]}, "does not map a column"),
        ({"delimiter": [""]}, "is not one ASCII character"),
    ],
)
def test_csv_needs_the_options_that_it_was_sent_with(
    tmp_path: Path, changed: dict[str, list[str]], words: str
) -> None:
    files = [tmp_path / "none.ndjson", tmp_path / "none.csv"]
    with pytest.raises(CliError, match=words) as caught:
        digest_files(files, OPTIONS | changed)
    assert caught.value.code is ExitCode.USAGE
    assert caught.value.hint


def test_broken_rows_count(tmp_path: Path) -> None:
    rows = [LINES[0], b"nonsense", b"\xff", b"{}"]
    path = write(tmp_path, "lot.ndjson", b"\n".join(rows))
    assert digest_files([path], {}) == (4, digest_of(rows))


@pytest.mark.parametrize(
    ("name", "octets", "words"),
    [
        ("lot.ndjson.gz", b"not gzip", "this is not gzip"),
        ("lot.ndjson.gz", gzip.compress(NDJSON)[:-10], "the gzip ends too early"),
        ("lot.csv", b"id;state\n", "the file has no column name"),
        ("lot.csv", b'"a,b\n', "inside a quoted cell of the header"),
        ("lot.csv", None, "cannot be read: No such file"),
    ],
)
def test_files_that_cannot_be_read(
    tmp_path: Path, name: str, octets: bytes | None, words: str
) -> None:
    path = tmp_path / name if octets is None else write(tmp_path, name, octets)
    with pytest.raises(CliError, match=words) as caught:
        digest_files([path], OPTIONS)
    assert caught.value.code is ExitCode.FILES


@pytest.mark.parametrize(
    "name", ["lot", "lot.xlsx", "lot.gz", "lot.txt.gz", "lot.csv.gz.gz", ".gz"]
)
def test_names_that_say_nothing(name: str) -> None:
    with pytest.raises(CliError, match="does not say how its rows are written") as caught:
        find_kind(Path(name))
    assert caught.value.code is ExitCode.USAGE
