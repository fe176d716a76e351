"""Which keys the root of a chain of certificates may have."""

from collections.abc import Sequence
from pathlib import Path

from protocol.claims import TRUST_ROOT
from protocol.errors import ProtocolError
from protocol.types.hs_pubkey import decode_public_key
from resolver.bootstrap_handles import BootstrapHandles
from resolver.cli.errors import CliError, ExitCode
from resolver.node_files import read_json
from resolver.trust_chains import TrustedKey


def find_trusted(paths: Sequence[Path], bootstrap: Path | None) -> list[TrustedKey]:
    """Return the keys in files, of a root anywhere, and those of 0.0/0.0 in bootstrap handles.

    Raises:
        CliError: none is named, or one cannot be read.
        NodeFilesError: the bootstrap file is no JSON.
    """
    found = [TrustedKey(read_public_key(path)) for path in paths]
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


def _read_bootstrap(path: Path) -> list[TrustedKey]:
    keys = BootstrapHandles(read_json(path)).root_keys()
    if not keys:
        words = f"{path} has no HS_PUBKEY values of 0.0/0.0"
        raise CliError(words, "give Handle.Net's bootstrap_handles, or --trusted-key FILE")
    return [TrustedKey(key, TRUST_ROOT) for key in keys]
