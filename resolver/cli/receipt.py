"""`biaoshi receipt`: read the receipt of a registration stream, and find out whether it is true.

What is checked, in this order; without the signature nothing else would prove anything:

     signature   the node's key signed it               --key, --site, --node, --server
     receipt     what was signed is a receipt
     rows        the files that were sent have as many   --rows
     digest      and they are these rows in this order   --rows
     node        the node, asked, knows its signature,   --node, --server
                 keeps the same stream, and the frames of its journal are there

What a row of CSV says depends on what its columns are, so these are compared with it: --handle,
--map, --operation, --delimiter, --template and --attribute as they were sent.
"""

import asyncio
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from protocol import jws
from protocol.errors import DecodeError, ProtocolError
from protocol.types.hs_site import HsSite
from registry.receipts import Receipt, ReceiptError, from_payload, to_payload
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.output import print_json, print_table
from resolver.cli.receipt_keys import NamedKey, find_asked, find_keys
from resolver.cli.where_options import JsonOption

# A receipt, or the document of the REST interface with the receipt in it.
DOCUMENT_OCTETS_MAX = 4 * jws.TOKEN_OCTETS_MAX
STANDARD_INPUT = "-"

app = typer.Typer(help="Receipts of registration streams: read, verify.", no_args_is_help=True)

FileArgument = Annotated[
    Path,
    typer.Argument(
        help="The receipt, or the node's answer with it; - is standard input.",
        show_default=False,
        dir_okay=False,
        allow_dash=True,
    ),
]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at, and what was found; `holds` is None where nobody can tell any more."""

    name: str
    holds: bool | None
    words: str


@app.command()
def show(file: FileArgument, as_json: JsonOption = False) -> None:
    """Print what a receipt says, without asking whether it is true."""
    try:
        header, payload = jws.peek(_read_token(file))
        receipt = from_payload(payload)
    except (DecodeError, ReceiptError) as error:
        raise CliError(f"{file} is not a receipt: {error}", _HINT) from None
    if as_json:
        signed = {"algorithm": header.algorithm, "keyId": header.key_id}
        print_json({"verified": False, **signed, "receipt": _to_json(receipt)})
        return
    _print_receipt(receipt)
    print("\nnot verified: biaoshi receipt verify says whether it is true")


@app.command()
def verify(
    file: FileArgument,
    key: Annotated[
        Path | None,
        typer.Option(help="Public key of the node: its server-public-key.bin.", dir_okay=False),
    ] = None,
    site: Annotated[
        Path | None,
        typer.Option(
            help="Site of the node with its keys: site.json, bootstrap.json.", dir_okay=False
        ),
    ] = None,
    rows: Annotated[
        list[Path] | None,
        typer.Option(help="What was sent, compared row by row; repeat in the order of sending."),
    ] = None,
    handle: Annotated[
        str, typer.Option(help="CSV: the handle as it was sent, such as '88.118.5/{gtin}'.")
    ] = "",
    column_map: Annotated[
        list[str] | None,
        typer.Option("--map", "-m", help="CSV: COLUMN[,COLUMN...]=TYPE[:INDEX]; repeat for more."),
    ] = None,
    operation: Annotated[
        str, typer.Option(help="CSV: the column that says create, replace or delete.")
    ] = "",
    delimiter: Annotated[str, typer.Option(help="CSV: what separates the cells.")] = ",",
    template: Annotated[
        str, typer.Option(help="CSV: what rows were made from, CODE or CODE@VERSION.")
    ] = "",
    attribute: Annotated[
        list[str] | None, typer.Option(help="CSV: COLUMN[:NAME]; repeat for more.")
    ] = None,
    node: Annotated[
        str, typer.Option(help="Also ask the node whose data folder that is; its key counts.")
    ] = "",
    server: Annotated[
        str, typer.Option(help="Also ask the node at ADDRESS:PORT, port of the Handle protocol.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Check that the node signed a receipt, and with --rows that it is of these rows.

    With --node or --server the node is asked too: whether it still has the stream, and the frames
    of its journal. Else nobody is. Exit code 1 when something differs.
    CSV is compared together with --handle, --map, --operation, --delimiter, --template and
    --attribute as they were sent.
    Example: biaoshi receipt verify lot.receipt --key server-public-key.bin --rows lot.ndjson.gz
    """
    asked = find_asked(node, server)
    keys = find_keys(key, site, asked, node)
    token = _read_token(file)
    checks, receipt = _check_token(token, keys)
    if receipt is not None and rows:
        csv_options = {
            "handle": [handle],
            "map": column_map or [],
            "operation": [operation],
            "delimiter": [delimiter],
            "template": [template],
            "attribute": attribute or [],
        }
        checks += _check_rows(receipt, rows, csv_options)
    if receipt is not None and asked is not None:
        checks += _ask_node(asked, token)
    _report(checks, receipt, as_json=as_json)
    if any(check.holds is False for check in checks):
        raise typer.Exit(ExitCode.REFUSED)


_HINT = (
    "give what the node answered once the stream had ended, in a file or, with -, on standard input"
)


def _read_token(file: Path) -> str:
    """Return the token in a file, bare or in the node's answer. Raises: CliError."""
    try:
        octets = _read_end(file).strip()
    except OSError as error:
        raise CliError(f"{file} cannot be read: {error.strerror}", "check the path") from None
    last_line = octets.rpartition(b"\n")[2]
    try:
        if last_line.startswith(b"{"):  # one document, or verdicts and then the stream
            token = _find_receipt(last_line)
        elif octets.startswith(b"{"):
            token = _find_receipt(octets)
        else:
            token = octets.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CliError(f"{file} holds no receipt: {error}", _HINT) from None
    if not token:
        raise CliError(f"{file} holds no receipt", _HINT)
    return token


def _read_end(file: Path) -> bytes:
    """Return the last DOCUMENT_OCTETS_MAX octets: verdicts may stand before, any number."""
    octets = b""
    with (
        nullcontext(sys.stdin.buffer) if str(file) == STANDARD_INPUT else file.open("rb") as source
    ):
        while piece := source.read(DOCUMENT_OCTETS_MAX):
            octets = (octets + piece)[-DOCUMENT_OCTETS_MAX:]
    return octets


class _Answer(msgspec.Struct):
    receipt: str | None = None


def _find_receipt(octets: bytes) -> str:
    return msgspec.json.decode(octets, type=_Answer).receipt or ""


def _ask_node(site: HsSite, token: str) -> list[Check]:
    from resolver.client.receipts import check_receipt  # an HTTP client, which others need not

    found = asyncio.run(check_receipt(site, token))
    return [Check(f"node, {name}", holds, words) for name, holds, words in found]


def _check_token(token: str, keys: Sequence[NamedKey]) -> tuple[list[Check], Receipt | None]:
    """Return what the token itself shows, and the receipt when all of that holds."""
    signature, payload = _check_signature(token, keys)
    if payload is None:
        return [signature], None
    try:
        return [signature], from_payload(payload)
    except ReceiptError as error:
        return [signature, Check("receipt", False, str(error))], None


def _check_signature(token: str, keys: Sequence[NamedKey]) -> tuple[Check, bytes | None]:
    reasons = []
    for named in keys:
        try:
            payload = jws.verify(token, named.key)
        except ProtocolError as error:
            reasons.append(str(error))
        else:
            return Check("signature", True, f"holds under the key of {named.name}"), payload
    words = "; ".join(sorted(set(reasons)))
    if len(keys) > 1:
        words = f"holds under none of {len(keys)} keys: {words}"
    return Check("signature", False, words), None


def _check_rows(
    receipt: Receipt, files: Iterable[Path], csv_options: Mapping[str, Sequence[str]]
) -> list[Check]:
    from resolver.cli.sent_rows import digest_files  # the readers, which a signature needs not

    count, digest = digest_files(files, csv_options)
    same_count, same_digest = count == receipt.rows, digest == receipt.digest
    words = f"{count:,} in the files" + ("" if same_count else f", {receipt.rows:,} in the receipt")
    return [
        Check("rows", same_count, words),
        Check(
            "digest",
            same_digest,
            "the rows in the files are those of the receipt"
            if same_digest
            else "the files hold other rows than the receipt, or the same in another order",
        ),
    ]


def _report(checks: Sequence[Check], receipt: Receipt | None, *, as_json: bool) -> None:
    failed = [check.name for check in checks if check.holds is False]
    if as_json:
        shown = None if receipt is None else _to_json(receipt)
        print_json({"verified": not failed, "checks": checks, "receipt": shown})
        return
    if receipt is not None:
        _print_receipt(receipt)
        print()
    for check in checks:
        if check.holds:
            print(f"{check.name}: {check.words}")
        elif check.holds is None:
            print(f"{check.name}: not known: {check.words}")
        else:
            print(f"problem: {check.name}: {check.words}", file=sys.stderr)
    if receipt is not None and not any(check.name == "rows" for check in checks):
        print("rows: not compared; --rows FILE compares them with what was sent")
    print(f"does not verify: {', '.join(failed)}" if failed else "verified")


def _to_json(receipt: Receipt) -> object:
    document: object = msgspec.json.decode(to_payload(receipt))
    return document


def _print_receipt(receipt: Receipt) -> None:
    counts = ("created", "replaced", "deleted", "unchanged", "refused")
    words = ", ".join(
        f"{getattr(receipt, name):,} {name}" for name in counts if getattr(receipt, name)
    )
    frames = f"frames {receipt.first_sequence} to {receipt.last_sequence}"
    lines = [
        ("stream", receipt.key),
        ("of", receipt.identity),
        ("node", receipt.node),
        ("time", f"{receipt.begun} to {receipt.ended}"),
        ("rows", f"{receipt.rows:,}" + (f": {words}" if words else "")),
        ("journal", frames if receipt.last_sequence else "nothing was written"),
        ("digest", receipt.digest.hex()),
    ]
    print_table("", ("member", "the receipt says"), lines, elastic="the receipt says")
