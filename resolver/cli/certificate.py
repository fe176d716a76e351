"""`biaoshi certificate`: make a TLS client certificate from a handle's private key."""

import time
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from protocol.errors import ProtocolError
from registry.roles import identity_from_text
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.keys import read_private_key
from resolver.cli.output import print_json
from resolver.client_certificates import make_client_certificate
from resolver.node_files import SECRET_MODE, write_new_file

DAYS = 365


def certificate(
    key: Annotated[
        Path, typer.Argument(help="The private key, such as admin-key.bin.", show_default=False)
    ],
    identity: Annotated[
        str,
        typer.Argument(help="Whose key it is, such as 300:0.NA/88.118.5.", show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to make.  [default: KEY with .pem]"),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3_650, help="How long it is valid.")] = DAYS,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make a certificate for a node's client certificate port, signed by the key itself.

    The file has the certificate and the private key, unencrypted: curl takes it as --cert FILE,
    requests as cert="FILE". The node compares its key with the identity's HS_PUBKEY.

    Example: biaoshi certificate admin-key.bin 300:0.NA/88.118.5
    """
    path = output or key.with_suffix(".pem")
    if path.exists():
        raise CliError(f"{path} exists and is not overwritten", "give another --output")
    try:
        identity_from_text(identity)
    except ProtocolError as error:
        raise CliError(str(error), "write index:handle", ExitCode.USAGE) from None
    private_key = read_private_key(key)
    if not isinstance(private_key, RSAPrivateKey):
        raise CliError(
            f"{key} is no RSA key, and TLS serves no other kind that handles have",
            "make one with biaoshi keygen, and register its public part as HS_PUBKEY",
        )
    made = make_client_certificate(private_key, identity, days=days, now_s=time.time())
    pem = made.public_bytes(serialization.Encoding.PEM) + private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_new_file(path, pem, SECRET_MODE)
    if as_json:
        until = made.not_valid_after_utc.isoformat()
        print_json({"file": str(path), "identity": identity, "until": until})
        return
    print(f"made {path}: {identity} until {made.not_valid_after_utc.date()}; keep it as the key")
