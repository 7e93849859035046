"""`tandem invoice`: make and issue invoices, fetch their pages, and see what is open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from control.cli_common import (
    CommandError,
    Connect,
    JsonOption,
    connecting,
    find_by_name,
    out,
    print_json,
    print_table,
)

invoice = typer.Typer(help="Make, issue, fetch and list invoices.", no_args_is_help=True)


@invoice.command("create")
@connecting
def create(
    connect: Connect,
    customer: Annotated[str, typer.Argument(help="Customer, by name or id.")],
    first: Annotated[str, typer.Option("--from", help="First day; from where the last invoice ended.")] = "",
    last: Annotated[str, typer.Option("--to", help="Last day; yesterday.")] = "",
    issue: Annotated[bool, typer.Option("--issue", help="Issue it at once.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a draft of what a customer was charged in a period. It charges nothing."""
    client = connect()
    row = find_by_name(client, "/customers", "customer", customer)
    body: dict[str, Any] = {"issue": issue}
    body |= {name: day for name, day in (("from", first), ("to", last)) if day}
    _print(client.post(f"/customers/{row['id']}/invoices", body), as_json)


@invoice.command("issue")
@connecting
def issue_draft(
    connect: Connect,
    invoice_id: Annotated[int, typer.Argument(help="Of the draft.")],
    as_json: JsonOption = False,
) -> None:
    """Give a draft its number."""
    _print(connect().post(f"/invoices/{invoice_id}/issue", {}), as_json)


@invoice.command("list")
@connecting
def list_invoices(
    connect: Connect,
    customer: Annotated[str, typer.Argument(help="Customer, by name or id; all where it is left out.")] = "",
    state: Annotated[str, typer.Option("--state", help="draft, issued, partially_paid, paid or overdue.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List invoices, the youngest first."""
    client = connect()
    query: dict[str, Any] = {"state": state} if state else {}
    if customer:
        query["customer_id"] = find_by_name(client, "/customers", "customer", customer)["id"]
    rows = list(client.items("/invoices", query))
    if as_json:
        print_json(rows)
        return
    fields = ("id", "number", "customer_id", "from", "to", "state", "total", "open", "currency", "due_on")
    columns = ["id", "number", "customer", "from", "to", "state", "total", "open", "", "due"]
    print_table("", columns, [[row[field] for field in fields] for row in rows])


@invoice.command("pdf")
@connecting
def fetch(
    connect: Connect,
    invoice_id: Annotated[int, typer.Argument(help="Of an issued invoice.")],
    path: Annotated[Path, typer.Argument(help="File to write.")],
) -> None:
    """Download an invoice."""
    content = b"".join(connect().download(f"/invoices/{invoice_id}/pdf"))
    try:
        path.write_bytes(content)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from error
    out.print(f"{path}: {len(content)} bytes", markup=False)


def _print(row: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(row)
        return
    name = row["number"] or f"draft {row['id']}"
    out.print(f"{name}: {row['from']} to {row['to']}, {row['total']} {row['currency']}, {row['state']}", markup=False)
