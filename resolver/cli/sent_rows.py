"""The digest of all rows of files that were sent, computed as the node did it.

The name of a file says what is in it: `.ndjson`, `.jsonl`, `.csv` or `.msgpack`, with `.gz` or
`.zst` after it where the whole is compressed. The digest of a row of CSV is also over what its
columns mean, so the options that it was sent with are needed again.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from registry.receipts import START, chain
from registry.stream_rows import PackedRow
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.value_texts import usage_errors
from resolver.rows.content_coding import make_decoder
from resolver.rows.errors import RowsError
from resolver.rows.readers import Reader, make_reader

PIECE_OCTETS = 262_144
CSV = "text/csv"

_CODINGS = {".gz": "gzip", ".zst": "zstd"}
_MEDIA_TYPES = {
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
    ".csv": CSV,
    ".msgpack": "application/msgpack",
}


def digest_files(
    files: Iterable[Path], csv_options: Mapping[str, Sequence[str]]
) -> tuple[int, bytes]:
    """Return how many rows the files hold together, and the digest of all of them.

    Args:
        files: in the order in which they were sent, each as a whole request.
        csv_options: handle, map, operation, delimiter; looked at where a file is CSV.

    Raises:
        CliError: a file that cannot be read, or whose name does not say what it holds, or CSV
            without the options that say what its columns are.
    """
    opened = [(file, *_open(file, csv_options)) for file in files]
    count, digest = 0, START
    for file, coding, reader in opened:
        for rows in read_rows(file, coding, reader):
            count += len(rows)
            digest = chain(digest, [each for _, _, _, each in rows])
    return count, digest


def _open(file: Path, csv_options: Mapping[str, Sequence[str]]) -> tuple[str, Reader]:
    """Return a file's content coding, and a reader for it. Raises: CliError."""
    coding, media_type = find_kind(file)
    with usage_errors():
        options = csv_options if media_type == CSV else {}
        return coding, make_reader(media_type, options, time.time)


def read_rows(file: Path, coding: str, reader: Reader) -> Iterator[list[PackedRow]]:
    """Yield the rows of a file, some at a time. Raises: CliError."""
    try:
        for piece in _pieces(file, coding):
            yield reader.feed(piece)
        yield reader.end()
    except OSError as error:
        raise CliError(f"{file} cannot be read: {error.strerror}", "check the path") from None
    except RowsError as error:
        hint = "give the file that was sent, whole; for CSV with the options it was sent with"
        raise CliError(f"{file}: {error.what}", hint) from None


def _pieces(file: Path, coding: str) -> Iterator[bytes]:
    decoder = make_decoder(coding)
    with file.open("rb") as source:
        while piece := source.read(PIECE_OCTETS):
            yield from decoder.decode(piece)
    decoder.end()


def find_kind(file: Path) -> tuple[str, str]:
    """Return (content coding or "", media type) that a file's name says. Raises: CliError."""
    before, last = ["", "", *(suffix.lower() for suffix in file.suffixes)][-2:]
    coding = _CODINGS.get(last, "")
    media_type = _MEDIA_TYPES.get(before if coding else last)
    if media_type is None:
        raise CliError(
            f"the name of {file} does not say how its rows are written",
            f"it has to end in {', '.join(_MEDIA_TYPES)}, or one of these with .gz or .zst",
            ExitCode.USAGE,
        )
    return coding, media_type
