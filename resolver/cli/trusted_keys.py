"""Which keys the root of a chain of certificates may have."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from protocol.errors import ProtocolError
from protocol.handle import fold_handle
from protocol.json_forms import values_from_json
from protocol.types.hs_pubkey import decode_public_key
from resolver.cli.errors import CliError, ExitCode
from resolver.node_files import read_json

ROOT_KEYS_HANDLE = b"0.0/0.0"


def find_trusted(paths: Sequence[Path], bootstrap: Path | None) -> list[bytes]:
    """Return HS_PUBKEY data of the keys in files, and in a file of bootstrap handles.

    Raises:
        CliError: none is named, or one cannot be read.
        NodeFilesError: the bootstrap file is no JSON.
    """
    found = [read_public_key(path) for path in paths]
    if bootstrap is not None:
        found += _read_bootstrap(bootstrap)
    if not found:
        raise CliError(
            "no key is trusted: every chain would end at a stranger",
            "give --trusted-key FILE, or --bootstrap with Handle.Net's bootstrap_handles",
            ExitCode.USAGE,
        )
    return found


def read_public_key(path: Path) -> bytes:
    """Return the HS_PUBKEY data in a file. Raises: CliError."""
    try:
        data = path.read_bytes()
        decode_public_key(data)
    except OSError as error:
        words = f"the public key {path} cannot be read: {error.strerror}"
        raise CliError(words, "check the path") from None
    except ProtocolError as error:
        raise CliError(f"{path} is not a public key: {error}", "give HS_PUBKEY data") from None
    return data


def _read_bootstrap(path: Path) -> list[bytes]:
    """Return the keys of 0.0/0.0: the file has records, as the REST interface shows them."""
    keys = []
    for record in _records(read_json(path)):
        try:
            values = values_from_json(record["values"])
            keys += [value.data for value in values if value.type == b"HS_PUBKEY"]
            for key in keys:
                decode_public_key(key)
        except ProtocolError as error:
            raise CliError(f"{path}: 0.0/0.0: {error}", "get the file anew") from None
    if not keys:
        words = f"{path} has no HS_PUBKEY values of 0.0/0.0"
        raise CliError(words, "give Handle.Net's bootstrap_handles, or --trusted-key FILE")
    return keys


def _records(document: Any) -> Iterator[dict[str, Any]]:
    records = document.get("handles") if isinstance(document, dict) else document
    for record in records if isinstance(records, list) else ():
        if not isinstance(record, dict) or not isinstance(record.get("values"), list):
            continue
        handle = record.get("handle")
        if isinstance(handle, str) and fold_handle(handle.encode()) == ROOT_KEYS_HANDLE:
            yield record
