"""`tandem dids …`: numbers as CSV files, out and in."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from control.cli_common import CommandError, Connect, JsonOption, connecting, err, find_by_name, out, print_json
from control.client import ApiError

dids = typer.Typer(help="DIDs as CSV files.", no_args_is_help=True)


@dids.command("export")
@connecting
def export_dids(
    connect: Connect,
    output: Annotated[Path | None, typer.Option("--output", help="File; default: standard output.")] = None,
    prefix: Annotated[str, typer.Option("--prefix", help="Numbers that begin so.")] = "",
    state: Annotated[str, typer.Option("--state", help="free, allocated, assigned or cooling_off.")] = "",
    customer: Annotated[str, typer.Option("--customer", help="Customer, by name or id.")] = "",
) -> None:
    """Write DIDs as CSV, by number; the file can be imported again."""
    client = connect()
    query: dict[str, str | None] = {"prefix": prefix or None, "state": state or None}
    if customer:
        query["customer_id"] = str(find_by_name(client, "/customers", "customer", customer)["id"])
    pieces = client.download("/dids.csv", query)
    if output is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    # Beside and then renamed: whoever reads the file never sees half an export.
    partial = output.with_name(output.name + ".part")
    try:
        with partial.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        os.replace(partial, output)  # noqa: PTH105
    except OSError as error:
        raise CommandError(f"{output}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


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
        faults = error.problem.get("errors") or []
        if not faults:
            raise
        if as_json:
            print_json(error.problem)
        else:
            for each in faults:
                place = f"line {each.get('line')}, {each.get('column') or 'the line'}"
                err.print(f"{file}: {place}: {each['reason']}", markup=False)
        raise CommandError(f"{file}: {len(faults)} mistakes; nothing was changed") from error
    if as_json:
        print_json(done)
        return
    would = "would be " if dry_run else ""
    told = f"{done['lines']} lines: {done['created']} {would}created, {done['updated']} {would}changed"
    out.print(f"{told}, {done['unchanged']} as they are", highlight=False)
