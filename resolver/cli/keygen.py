"""`biaoshi keygen`: make a key pair, as the stock tools' key generator does."""

from pathlib import Path
from typing import Annotated

import typer

from protocol.key_files import RSA_BITS_DEFAULT, encode_private_key, generate_rsa_key
from protocol.types.hs_pubkey import encode_public_key
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.keys import ask_passphrase
from resolver.cli.output import print_json
from resolver.node_files import SECRET_MODE, write_new_file


def keygen(
    name: Annotated[
        Path, typer.Argument(help="Makes NAME-key.bin and NAME-public-key.bin.")
    ] = Path("admin"),
    bits: Annotated[int, typer.Option(min=2_048, max=8_192)] = RSA_BITS_DEFAULT,
    encrypt: Annotated[
        bool, typer.Option("--encrypt", help="Protect the private key with a passphrase.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make an RSA key pair in the file formats of the Handle tools."""
    private_path = name.with_name(f"{name.name}-key.bin")
    public_path = name.with_name(f"{name.name}-public-key.bin")
    for path in (private_path, public_path):
        if path.exists():
            raise CliError(f"{path} exists and is not overwritten", "give another NAME")
    passphrase = _choose_passphrase() if encrypt else None
    key = generate_rsa_key(bits)
    write_new_file(private_path, encode_private_key(key, passphrase), SECRET_MODE)
    write_new_file(public_path, encode_public_key(key.public_key()))
    if as_json:
        print_json({"private": str(private_path), "public": str(public_path), "bits": bits})
        return
    print(f"made {private_path} (keep it) and {public_path} (the HS_PUBKEY data)")


def _choose_passphrase() -> bytes:
    passphrase = ask_passphrase("new passphrase: ")
    if not passphrase:
        raise CliError("the passphrase is empty", "leave --encrypt out", ExitCode.USAGE)
    if passphrase != ask_passphrase("again: "):
        raise CliError("the two passphrases differ", "type the same twice", ExitCode.USAGE)
    return passphrase
