"""`tandem pay`, `balance` and `doctor`: money in, money there, and whether all of it adds up."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Final

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
from control.client import ApiError

_COLOURS: Final = {"holds": "green", "violated": "red", "skipped": "yellow"}


@connecting
def pay(
    connect: Connect,
    customer: Annotated[str, typer.Argument(help="Customer, by name or id.")],
    amount: Annotated[str, typer.Argument(help="Exact decimal, such as 25.50; below 0 it goes back to the customer.")],
    key: Annotated[
        str, typer.Option("--key", help="Paid once under this key, however often it is asked for. Default: a new one.")
    ] = "",
    description: Annotated[str, typer.Option("--description", help="What stands behind # is for staff alone.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Needed below 0.")] = "",
    pending: Annotated[bool, typer.Option("--pending", help="It does not count until it is completed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Take a payment of a customer. Done when the next call can spend it."""
    client = connect()
    row = find_by_name(client, "/customers", "customer", customer)
    body: dict[str, Any] = {"total": amount, "description": description, "reason": reason}
    if pending:
        body["status"] = "pending"
    key = key or secrets.token_hex(8)
    try:
        payment = client.post(f"/customers/{row['id']}/payments", body, key=key)
    except ApiError as error:
        if error.status:
            raise
        # Whether it was taken is not known: under the same key it is safe to ask again.
        raise CommandError(f"{error}; to ask again without paying twice, add --key {key}") from error
    if as_json:
        print_json(payment)
        return
    name, total = row["name"], f"{payment['total']} {payment['currency']}"
    out.print(f"payment {payment['id']} of {name}: {total}, {payment['status']}", markup=False)
    if payment["status"] == "completed" and not payment["is_in_switch"]:
        out.print("[yellow]stored; the switch is away and gets it when it is back[/yellow]")


@connecting
def balance(
    connect: Connect,
    customer: Annotated[str, typer.Argument(help="Customer, by name or id; all where it is left out.")] = "",
    as_json: JsonOption = False,
) -> None:
    """What customers have: balance, what calls hold of it, what is left, what today cost."""
    client = connect()
    rows = [find_by_name(client, "/customers", "customer", customer)] if customer else list(client.items("/customers"))
    fields = ("name", "currency", "balance", "held", "available", "spent_today", "is_balance_live")
    if as_json:
        print_json([{field: row[field] for field in ("id", *fields)} for row in rows])
        return
    columns = ["customer", "", "balance", "held", "available", "spent today"]
    print_table("", columns, [[row[field] for field in fields[:-1]] for row in rows])
    if not all(row["is_balance_live"] for row in rows):
        out.print("[yellow]from the store, for the switch is away: held money is not known[/yellow]")


@connecting
def doctor(
    connect: Connect,
    as_json: JsonOption = False,
) -> None:
    """Check that money, CDRs and the switch agree. Exit status 1 where something does not."""
    client = connect()
    health = client.get("/health")
    report = client.get("/invariants")
    if as_json:
        print_json({"health": health, "invariants": report})
    else:
        for fault in health["faults"]:
            out.print(f"[red]fault    [/red]{fault}", soft_wrap=True)
        for check in report["checks"]:
            _print_check(check)
    wrong = [check["name"] for check in report["checks"] if check["state"] == "violated"]
    if wrong or health["faults"]:
        raise CommandError(", ".join([*wrong, *(["faults"] if health["faults"] else [])]) + ": see above")


def _print_check(check: dict[str, Any]) -> None:
    detail = f" ({check['detail']})" if check["detail"] else ""
    colour = _COLOURS[check["state"]]
    out.print(f"[{colour}]{check['state']:<9}[/{colour}]", end="")
    out.print(f"{check['claim']}{detail}", markup=False, soft_wrap=True)
    for violation in check["violations"]:
        out.print(f"    {violation['noun']} {violation['id']}: {violation['detail']}", markup=False, soft_wrap=True)
    if check["has_more"]:
        out.print("    … and more")
