"""`biaoshi resolve`: look a handle up and show its values, as a table or as JSON."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from protocol.codes import OpCode
from protocol.handle import to_text
from protocol.json_forms import value_to_json
from protocol.types.hs_site import TRANSPORT_HTTP, TRANSPORT_TCP, TRANSPORT_UDP
from resolver.cli.connect import (
    Where,
    find_target,
)
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.explain import explain_handle_error
from resolver.cli.output import TRANSPORT_NAMES, print_json, print_table, value_rows
from resolver.cli.where_options import JsonOption, asks
from resolver.client import HandleError, Hop, Resolution
from resolver.client.errors import name_of


class Transport(StrEnum):
    """What carries the request."""

    UDP = "udp"
    TCP = "tcp"
    HTTP = "http"


NUMBERS = {
    Transport.UDP: TRANSPORT_UDP,
    Transport.TCP: TRANSPORT_TCP,
    Transport.HTTP: TRANSPORT_HTTP,
}


@asks()
def resolve(
    where: Where,
    handle: Annotated[str, typer.Argument(help="prefix/suffix", show_default=False)],
    type_: Annotated[
        list[str] | None, typer.Option("--type", "-t", help="Only values of this type.")
    ] = None,
    index: Annotated[
        list[int] | None, typer.Option("--index", "-i", help="Only the value at this index.")
    ] = None,
    udp: Annotated[bool, typer.Option("--udp", help="Over UDP only.")] = False,
    tcp: Annotated[bool, typer.Option("--tcp", help="Over TCP only.")] = False,
    http: Annotated[bool, typer.Option("--http", help="Over HTTP only.")] = False,
    authoritative: Annotated[
        bool, typer.Option("--auth", help="Past every cache, from the primary site.")
    ] = False,
    show_trace: Annotated[
        bool, typer.Option("--trace", help="Show each hop, its answer and its time.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Resolve a handle: UDP first, TCP and HTTP when needed.

    Example: biaoshi resolve 88.118.5/0000000001564 --node recursive --trace
    """
    transport = choose_transport(udp, tcp, http)
    try:
        with find_target(where, log_in=False).open() as client:
            resolution = client.resolve(
                handle.encode("utf-8", "surrogateescape"),
                [text.encode() for text in type_ or []],
                index or [],
                private=where.names_a_key,
                authoritative=authoritative,
                transport=transport,
            )
    except HandleError as error:
        if show_trace:
            print_trace(error.hops)
        if as_json:
            print_json({"responseCode": error.response_code or 0, "handle": handle})
        raise explain_handle_error(error, handle) from error
    if as_json:
        print_json(to_json(handle, resolution, with_trace=show_trace))
        return
    if show_trace:
        print_trace(resolution.hops)
    columns = ("index", "type", "data", "ttl", "permissions")
    print_table(handle, columns, value_rows(resolution.values), elastic="data")


def choose_transport(udp: bool, tcp: bool, http: bool) -> int | None:
    """Return the transport insisted on, or None. Raises: CliError when there are several."""
    chosen = [
        transport for transport, wanted in zip(Transport, (udp, tcp, http), strict=True) if wanted
    ]
    if len(chosen) > 1:
        raise CliError(
            f"--{' and --'.join(chosen)} exclude each other", "give one of them", ExitCode.USAGE
        )
    return NUMBERS[chosen[0]] if chosen else None


def print_trace(hops: Sequence[Hop]) -> None:
    """Print one line for every attempt made."""
    show_hops("", hops)
    print()


def show_hops(title: str, hops: Sequence[Hop]) -> None:
    """Print a table of attempts."""
    print_table(title, ("hop", "asked", "for", "answer", "ms"), hop_rows(hops), elastic="for")


def hop_rows(hops: Sequence[Hop]) -> list[tuple[str, ...]]:
    """Return the attempts as table cells."""
    return [
        (
            str(number),
            str(hop.endpoint),
            f"{operation_name(hop.opcode)} {to_text(hop.handle)}",
            hop.problem or name_of(hop.response_code),
            f"{hop.elapsed_ms:.1f}",
        )
        for number, hop in enumerate(hops, 1)
    ]


def operation_name(opcode: int) -> str:
    """Return an opcode in words: 1 -> "resolution"."""
    try:
        return OpCode(opcode).name.lower().replace("_", " ")
    except ValueError:
        return f"opcode {opcode}"


def to_json(handle: str, resolution: Resolution, *, with_trace: bool) -> dict[str, object]:
    """Return a resolution in the form of the REST interface, with its trace if asked for."""
    document: dict[str, object] = {
        "responseCode": 1,
        "handle": handle,
        "values": [value_to_json(value) for value in resolution.values],
    }
    if with_trace:
        document["trace"] = [
            {
                "address": hop.endpoint.address,
                "port": hop.endpoint.port,
                "transport": TRANSPORT_NAMES[hop.endpoint.transport],
                "operation": operation_name(hop.opcode),
                "handle": to_text(hop.handle),
                "responseCode": hop.response_code,
                "problem": hop.problem,
                "ms": round(hop.elapsed_ms, 3),
            }
            for hop in resolution.hops
        ]
    return document
