"""Reading private key files for the command line, asking for a passphrase where one is needed."""

import os
import sys
from getpass import getpass
from pathlib import Path

from protocol.errors import KeyFileError
from protocol.key_files import PrivateKey, decode_private_key, is_encrypted
from resolver.cli.errors import CliError, ExitCode

PASSPHRASE_VARIABLE = "BIAOSHI_PASSPHRASE"


def read_private_key(path: Path, passphrase: bytes | None = None) -> PrivateKey:
    """Return the private key in a file.

    The passphrase of an encrypted one, when not given, comes from BIAOSHI_PASSPHRASE or is asked
    for.

    Raises:
        CliError: no such file, not a key file, or not its passphrase.
    """
    try:
        octets = path.read_bytes()
    except OSError as error:
        raise CliError(
            f"the key {path} cannot be read: {error.strerror}",
            "give the administrator's private key, such as FOLDER/admin-key.bin",
        ) from None
    try:
        if passphrase is None and is_encrypted(octets):
            passphrase = ask_passphrase(f"passphrase of {path}: ")
        return decode_private_key(octets, passphrase)
    except KeyFileError as error:
        raise CliError(f"{path}: {error}", "check the file and its passphrase") from None


def ask_passphrase(prompt: str) -> bytes:
    """Return the passphrase from the environment or the terminal. Raises: CliError."""
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is not None:
        return given.encode("utf-8", "surrogateescape")
    if not sys.stdin.isatty():
        raise CliError(
            "the key has a passphrase and nobody can be asked for it here",
            f"set {PASSPHRASE_VARIABLE}",
            ExitCode.USAGE,
        )
    return getpass(prompt).encode()
