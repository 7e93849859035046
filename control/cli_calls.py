"""`tandem cdr …` and `tandem calls …`: calls that were, and calls that are."""

from __future__ import annotations

from typing import Annotated

import typer

from control.cli_common import (
    CommandError,
    Connect,
    JsonOption,
    OutputOption,
    connecting,
    find_by_name,
    out,
    print_json,
    print_table,
    write_out,
)

cdr = typer.Typer(help="Call detail records.", no_args_is_help=True)
calls = typer.Typer(help="Live calls: list, end one.", no_args_is_help=True)

FORMATS = {"csv": "/cdrs.csv", "jsonl": "/cdrs.jsonl", "parquet": "/cdrs.parquet"}


@cdr.callback()
def _cdr_group() -> None:
    pass


@cdr.command("export")
@connecting
def export_cdrs(
    connect: Connect,
    as_format: Annotated[str, typer.Option("--format", help="csv, jsonl (JSON lines) or parquet.")] = "csv",
    output: OutputOption = None,
    since: Annotated[str, typer.Option("--from", help="INVITEs from this time (RFC 3339), day or month on.")] = "",
    until: Annotated[str, typer.Option("--to", help="… and before this one, or through this day or month.")] = "",
    customer: Annotated[str, typer.Option("--customer", help="Customer, by name or id.")] = "",
    cause: Annotated[str, typer.Option("--cause", help="Cause, such as normal, no_sell_rate or no_margin.")] = "",
    skipped: Annotated[
        str, typer.Option("--skipped", help="Calls with a vendor passed over for this reason, such as margin.")
    ] = "",
    time_zone: Annotated[
        str, typer.Option("--time-zone", help="Times in this zone, or `customer` with --customer. Default: UTC.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl.")] = False,
) -> None:
    """Write CDRs as CSV, JSON lines or Parquet, oldest first."""
    path = FORMATS.get("jsonl" if as_json else as_format)
    if path is None:
        raise CommandError(f"--format {as_format}: use csv, jsonl or parquet", 2)
    client = connect()
    query = {"from": since or None, "to": until or None, "cause": cause or None, "skipped": skipped or None}
    query["time_zone"] = time_zone or None
    if customer:
        query["customer_id"] = str(find_by_name(client, "/customers", "customer", customer)["id"])
    write_out(client.download(path, query), output)


@calls.command("list")
@connecting
def list_calls(
    connect: Connect,
    customer: Annotated[str, typer.Option("--customer", help="Customer, by name or id.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Calls that are up or being set up now."""
    client = connect()
    query = None
    if customer:
        query = {"customer_id": find_by_name(client, "/customers", "customer", customer)["id"]}
    found = list(client.items("/calls", query))
    if as_json:
        print_json(found)
        return
    fields = ("cdr_id", "state", "cli", "dialled", "source", "duration_ms")
    print_table(
        "", ["call", "state", "from", "to", "source", "ms"], [[row.get(name) for name in fields] for row in found]
    )


@calls.command("end")
@connecting
def end_call(
    connect: Connect,
    call: Annotated[str, typer.Argument(help="CDR id of the call, as `calls list` shows it.")],
    as_json: JsonOption = False,
) -> None:
    """End a live call: BYE both ways, or its refusal while it rings."""
    answer = connect().post(f"/calls/{call}/end")
    if as_json:
        print_json(answer)
    else:
        out.print(f"{call} is being ended", markup=False)
