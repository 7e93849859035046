"""`tandem dids …`: numbers as CSV files, out and in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from control.cli_common import (
    Connect,
    JsonOption,
    OutputOption,
    connecting,
    find_by_name,
    out,
    print_json,
    refused_file,
    write_out,
)
from control.client import ApiError

dids = typer.Typer(help="DIDs as CSV files.", no_args_is_help=True)


@dids.command("export")
@connecting
def export_dids(
    connect: Connect,
    output: OutputOption = None,
    prefix: Annotated[str, typer.Option("--prefix", help="Numbers that begin so.")] = "",
    state: Annotated[str, typer.Option("--state", help="free, allocated, assigned or cooling_off.")] = "",
    customer: Annotated[str, typer.Option("--customer", help="Customer, by name or id.")] = "",
) -> None:
    """Write DIDs as CSV, by number; the file can be imported again."""
    client = connect()
    query: dict[str, str | None] = {"prefix": prefix or None, "state": state or None}
    if customer:
        query["customer_id"] = str(find_by_name(client, "/customers", "customer", customer)["id"])
    write_out(client.download("/dids.csv", query), output)


@dids.command("import")
@connecting
def import_dids(
    connect: Connect,
    file: Annotated[Path, typer.Argument(help="CSV file, as the export has it.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the file and keep nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Create and change DIDs by a file. Every mistake is listed, and one refuses the whole file."""
    try:
        done = connect().upload("/dids.csv", file, {"dry_run": dry_run})
    except ApiError as error:
        raise refused_file(file, error, as_json) from error
    if as_json:
        print_json(done)
        return
    would = "would be " if dry_run else ""
    told = f"{done['lines']} lines: {done['created']} {would}created, {done['updated']} {would}changed"
    out.print(f"{told}, {done['unchanged']} as they are", highlight=False)
