"""`biaoshi trust`: sign values, certify keys, check what is signed (HS_SIGNATURE, HS_CERT)."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from protocol.claims import (
    HS_CERT,
    HS_SIGNATURE,
    digest_values,
    reference_text,
)
from protocol.handle import to_text
from protocol.value import HandleValue
from resolver.cli.connect import (
    Where,
    find_target,
)
from resolver.cli.errors import ExitCode
from resolver.cli.explain import explain_handle_error
from resolver.cli.keys import read_private_key
from resolver.cli.output import print_json, visible
from resolver.cli.trust_values import (
    choose_values,
    key_at,
    make_claims,
    make_value,
    read_grant,
    read_links,
    read_time,
)
from resolver.cli.trusted_keys import find_trusted, read_public_key
from resolver.cli.value_texts import parse_identity
from resolver.cli.where_options import JsonOption, asks
from resolver.client import BlockingClient, HandleError
from resolver.trust_chains import ChainChecker, Checked, find_unsigned

app = typer.Typer(no_args_is_help=True, help="Sign values, certify keys, check what is signed.")

SignerOption = Annotated[
    str, typer.Option("--signer", help="Whose key it is, such as 300:0.NA/88.118.")
]
SigningKeyOption = Annotated[
    Path, typer.Option("--signing-key", help="The signer's private key.", dir_okay=False)
]
ChainOption = Annotated[
    list[str] | None,
    typer.Option(
        "--chain", help="index:handle of the signer's HS_CERT, then of that one's issuer."
    ),
]
DaysOption = Annotated[int, typer.Option("--days", help="Days it is valid.", min=1, max=36_500)]
FromOption = Annotated[
    str, typer.Option("--from", help="When it begins, as 2026-11-21T08:00:00Z.  [default: now]")
]
JsonFormOption = Annotated[
    bool, typer.Option("--json-form", help="Write the token in its JSON form, not compact.")
]
StoreOption = Annotated[
    bool, typer.Option("--store", help="Put the value into the handle; needs --admin and --key.")
]
IndexOption = Annotated[
    int,
    typer.Option("--index", help="Of the value.  [default: the signer's own, or a free one]"),
]


@app.command()
@asks()
def sign(
    where: Where,
    handle: Annotated[str, typer.Argument(help="prefix/suffix", show_default=False)],
    signer: SignerOption,
    signing_key: SigningKeyOption,
    value: Annotated[
        list[int] | None,
        typer.Option("--value", help="Index to sign.  [default: all public]", min=1),
    ] = None,
    chain: ChainOption = None,
    days: DaysOption = 365,
    begin: FromOption = "",
    json_form: JsonFormOption = False,
    index: IndexOption = 0,
    store: StoreOption = False,
    as_json: JsonOption = False,
) -> None:
    """Sign values of a handle: make its HS_SIGNATURE value, and with --store put it there.

    What is signed is what anybody may read: who checks has to see all that is signed. With --admin,
    --key and --value others may be named. A signature holds while index, type, data, permissions,
    ttl and references stay as they are.
    Example: biaoshi trust sign 88.118.5/valve-7 --signer 300:0.NA/88.118.5 --signing-key key.bin
    """
    private_key = read_private_key(signing_key)
    issuer, links = parse_identity(signer), read_links(chain)
    with _opened(where, log_in=store) as client:
        values = _resolve(client, handle, private=store or where.names_a_key)
        with_hidden = bool(value) and where.names_a_key
        shown = [each for each in values if each.is_public or with_hidden]
        chosen = choose_values(shown, value or [], handle)
        digests = digest_values(chosen)
        claims = make_claims(issuer, handle, links, days, begin, digests=digests)
        made = make_value(HS_SIGNATURE, claims, private_key, values, index, json_form=json_form)
        _finish(client if store else None, handle, made, values, as_json=as_json)


@app.command()
@asks()
def certify(
    where: Where,
    subject: Annotated[str, typer.Argument(help="Whose key: index:handle.", show_default=False)],
    signer: SignerOption,
    signing_key: SigningKeyOption,
    perm: Annotated[
        list[str],
        typer.Option(
            help="What it may sign: everything, or thisHandle:, derivedPrefixes: or "
            "handlesUnderThisPrefix: with a handle behind it; repeat for more."
        ),
    ],
    public_key: Annotated[
        Path | None,
        typer.Option(help="HS_PUBKEY file.  [default: what the subject's handle has]"),
    ] = None,
    chain: ChainOption = None,
    days: DaysOption = 365,
    begin: FromOption = "",
    json_form: JsonFormOption = False,
    index: IndexOption = 0,
    store: StoreOption = False,
    as_json: JsonOption = False,
) -> None:
    """Certify a key: make an HS_CERT value for the subject's handle, and with --store put it there.

    A root certifies itself: subject and signer are the same.
    Example: biaoshi trust certify 300:0.NA/88.118 --perm handlesUnderThisPrefix:0.NA/88.118
    --signer 300:0.NA/88 --signing-key key.bin
    """
    private_key = read_private_key(signing_key)
    reference, issuer = parse_identity(subject), parse_identity(signer)
    grants, links = tuple(map(read_grant, perm)), read_links(chain)
    handle = to_text(reference.handle)
    with _opened(where, log_in=store) as client:
        values = _resolve(client, handle, private=store or where.names_a_key)
        data = read_public_key(public_key) if public_key is not None else key_at(values, reference)
        who = reference_text(reference)
        claims = make_claims(issuer, who, links, days, begin, public_key=data, grants=grants)
        made = make_value(HS_CERT, claims, private_key, values, index, json_form=json_form)
        _finish(client if store else None, handle, made, values, as_json=as_json)


@app.command()
@asks()
def check(
    where: Where,
    handle: Annotated[str, typer.Argument(help="prefix/suffix", show_default=False)],
    trusted_key: Annotated[
        list[Path] | None,
        typer.Option(help="Public key (HS_PUBKEY file) that a root may have; repeat for more."),
    ] = None,
    bootstrap: Annotated[
        Path | None,
        typer.Option(help="Handle.Net's bootstrap_handles: the keys of 0.0/0.0 in it are trusted."),
    ] = None,
    index: Annotated[
        list[int] | None, typer.Option(help="Only the value at this index; repeat for more.")
    ] = None,
    at: Annotated[
        str, typer.Option(help="When it has to hold, as 2026-11-21T08:00:00Z.  [default: now]")
    ] = "",
    complete: Annotated[
        bool, typer.Option("--complete", help="Every value that anybody may read has to be signed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check every HS_SIGNATURE and HS_CERT of a handle, up to a root whose key is trusted.

    Says of every step what holds and what is wrong: expired, not yet valid, a value that differs or
    is gone, a signature that does not hold, a permission that lacks, a root nobody trusts; and
    which values nobody signed, for which clients of Handle.Net refuse the record.
    Exit code 0 when there is something signed and all of it holds, else 1.
    Example: biaoshi trust check 88.118.5/valve-7 --trusted-key root-public-key.bin
    """
    trusted = find_trusted(trusted_key or [], bootstrap)
    now_s = read_time(at, "--at") if at else int(time.time())
    is_private = where.names_a_key
    with _opened(where, log_in=False) as client:
        values = _resolve(client, handle, private=is_private)

        def fetch(name: bytes) -> Sequence[HandleValue]:
            try:
                return client.resolve(name).values
            except HandleError as error:
                raise LookupError(error.words) from error

        checker = ChainChecker(fetch, trusted, now_s)
        found = list(checker.check(handle.encode(), values, index or []))
    unsigned = find_unsigned(values, found)
    _show_check(handle, found, unsigned, as_json=as_json)
    if not found or not all(each.is_good for each in found) or (complete and unsigned):
        raise typer.Exit(ExitCode.REFUSED)


def _opened(where: Where, *, log_in: bool) -> BlockingClient:
    return find_target(where, log_in=log_in).open()


def _resolve(client: BlockingClient, handle: str, *, private: bool) -> tuple[HandleValue, ...]:
    try:
        return tuple(client.resolve(handle, private=private, authoritative=True).values)
    except HandleError as error:
        raise explain_handle_error(error, handle) from error


def _finish(
    client: BlockingClient | None,
    handle: str,
    value: HandleValue,
    known: Sequence[HandleValue],
    *,
    as_json: bool,
) -> None:
    """Store a value, in place of none but one of those that are known; or show it."""
    if client is not None:
        overwrite = any(each.index == value.index for each in known)
        try:
            client.add(handle, [value], overwrite=overwrite)
        except HandleError as error:
            raise explain_handle_error(error, handle) from error
    name, token = to_text(value.type), to_text(value.data)
    if as_json:
        stored = client is not None
        form = {"handle": handle, "index": value.index, "type": name, "value": token}
        print_json({**form, "stored": stored})
    elif client is not None:
        print(f"{handle}: {name} stored at index {value.index}")
    else:
        print(token)


def _show_check(
    handle: str, found: Sequence[Checked], unsigned: Sequence[int], *, as_json: bool
) -> None:
    if as_json:
        signed = [_form_of(each) for each in found]
        print_json({"handle": handle, "signed": signed, "unsigned": list(unsigned)})
        return
    if not found:
        print(f"{handle}: nothing in it is signed (no HS_SIGNATURE, no HS_CERT)")
    for each in found:
        print(f"{to_text(each.type)} at index {each.index}: {'good' if each.is_good else 'BAD'}")
        for number, link in enumerate(each.links, 1):
            print(visible(f"  {number}. {link.name}"))
            for note in link.notes:
                print(visible(f"     {note}"))
            for problem in link.problems:
                print(visible(f"     WRONG: {problem}"))
    if any(each.type == HS_SIGNATURE for each in found):
        lacking = f"not signed by anything that holds: index {', '.join(map(str, unsigned))}"
        print(f"{handle}: {lacking if unsigned else 'every value anybody may read is signed'}")


def _form_of(checked: Checked) -> dict[str, Any]:
    return {
        "index": checked.index,
        "type": to_text(checked.type),
        "good": checked.is_good,
        "verified": list(checked.verified),
        "steps": [
            {"name": link.name, "notes": link.notes, "problems": link.problems}
            for link in checked.links
        ],
    }
