"""`tandem recalculate …`: price calls anew, look at it, book it, take it back."""

from __future__ import annotations

import time
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
from control.client import ApiClient

recalculate = typer.Typer(help="Price calls anew: preview, apply, undo.", no_args_is_help=True)

RunArgument = Annotated[int, typer.Argument(help="Recalculation, as `recalculate list` shows it.")]
LimitOption = Annotated[int, typer.Option("--limit", help="Calls shown; the totals are of all.")]
WAIT_S: Final = 0.5
"""Between two looks at one that takes a while."""


@recalculate.command()
@connecting
def preview(
    connect: Connect,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the ledger.")],
    day: Annotated[str, typer.Option("--day", help="Day of the INVITEs in each customer's zone (2026-11-22).")] = "",
    since: Annotated[str, typer.Option("--from", help="First INVITE time (RFC 3339), inclusive.")] = "",
    until: Annotated[str, typer.Option("--to", help="Last INVITE time (RFC 3339), exclusive.")] = "",
    customer: Annotated[str, typer.Option("--customer", help="Only this customer's calls, by name or id.")] = "",
    route: Annotated[int | None, typer.Option("--route", help="Only calls of this ingress route.")] = None,
    card: Annotated[str, typer.Option("--card", help="Only calls sold by this card, by name or id.")] = "",
    prefix: Annotated[str, typer.Option("--prefix", help="Only numbers that begin so.")] = "",
    vendor: Annotated[str, typer.Option("--vendor", help="Only calls that ended at this vendor.")] = "",
    cause: Annotated[
        list[str] | None, typer.Option("--cause", help="Only calls that ended so; can be repeated.")
    ] = None,
    max_duration: Annotated[
        int | None, typer.Option("--max-duration", help="Calls that a timer ended count as so many seconds at most.")
    ] = None,
    by_card: Annotated[str, typer.Option("--by-card", help="Price by this card.")] = "",
    by_revision: Annotated[int | None, typer.Option("--by-revision", help="Price by this revision.")] = None,
    buy: Annotated[bool, typer.Option("--buy", help="With --max-duration: what vendors are paid.")] = False,
    limit: LimitOption = 20,
    as_json: JsonOption = False,
) -> None:
    """Show what calls would cost by another rule; books nothing."""
    client = connect()
    filters: dict[str, Any] = {
        "day": day or None,
        "from": since or None,
        "to": until or None,
        "customer_id": _id_of(client, "/customers", "customer", customer),
        "route_id": route,
        "card_id": _id_of(client, "/rate-cards", "rate card", card),
        "prefix": prefix or None,
        "provider_id": _id_of(client, "/providers", "vendor", vendor),
        "causes": cause or None,
    }
    rule: dict[str, Any] = {
        "max_duration_s": max_duration,
        "card_id": _id_of(client, "/rate-cards", "rate card", by_card),
        "revision_id": by_revision,
        "side": "buy" if buy else None,
    }
    made = client.post("/recalculations", {"filters": filters, "rule": rule, "reason": reason})
    _print(client, _finished(client, made), limit, as_json=as_json)


@recalculate.command()
@connecting
def apply(connect: Connect, run: RunArgument, limit: LimitOption = 0, as_json: JsonOption = False) -> None:
    """Book what was previewed: an adjustment for each call that changes."""
    client = connect()
    _print(client, _finished(client, client.post(f"/recalculations/{run}/apply")), limit, as_json=as_json)


@recalculate.command()
@connecting
def undo(
    connect: Connect,
    run: RunArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the ledger.")] = "",
    limit: LimitOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Take an applied one back, by adjustments the other way."""
    client = connect()
    made = client.post(f"/recalculations/{run}/undo", {"reason": reason})
    _print(client, _finished(client, made), limit, as_json=as_json)


@recalculate.command()
@connecting
def show(connect: Connect, run: RunArgument, limit: LimitOption = 20, as_json: JsonOption = False) -> None:
    """One recalculation: its totals by customer and its first calls."""
    client = connect()
    _print(client, client.get(f"/recalculations/{run}"), limit, as_json=as_json)


@recalculate.command("list")
@connecting
def list_all(connect: Connect, as_json: JsonOption = False) -> None:
    """All recalculations, the youngest first."""
    client = connect()
    found = list(client.items("/recalculations"))
    if as_json:
        print_json(found)
        return
    fields = ("id", "state", "kind", "changed", "created_by", "created_at", "reason")
    print_table("", list(fields), [[run[name] for name in fields] for run in found])


@recalculate.command()
@connecting
def drop(connect: Connect, run: RunArgument) -> None:
    """Forget a preview."""
    client = connect()
    client.delete(f"/recalculations/{run}")
    out.print(f"recalculation {run} is dropped")


def _id_of(client: ApiClient, path: str, noun: str, name: str) -> int | None:
    return int(find_by_name(client, path, noun, name)["id"]) if name else None


def _finished(client: ApiClient, run: dict[str, Any]) -> dict[str, Any]:
    """The same when all its steps are done: a large one takes longer than a request."""
    while run["state"] in ("computing", "applying"):
        if run["error"]:
            raise CommandError(f"recalculation {run['id']} is held up: {run['error']}")
        time.sleep(WAIT_S)
        run = client.get(f"/recalculations/{run['id']}")
    return run


def _print(client: ApiClient, run: dict[str, Any], limit: int, *, as_json: bool) -> None:
    number = run["id"]
    if as_json:
        print_json(run)
        return
    out.print(f"recalculation {number}: {run['state']}, {run['calls']} calls looked at, {run['changed']} change")
    columns = {"customer": "customer", "side": "side", "calls": "calls", "before": "before", "after": "after"}
    rows = [[total[field] for field in columns.values()] + [_signed(total)] for total in run["totals"]]
    if rows:
        print_table("", [*columns, "difference"], rows)
    if run["problems"]:
        named = ", ".join(f"{count} {problem}" for problem, count in run["problems"].items())
        out.print(f"[yellow]cannot be priced and stay as they are:[/yellow] {named}")
    if run["error"]:
        out.print(f"[red]{run['state']}[/red]: {run['error']}")
    if limit and (rows or run["problems"]):
        _print_lines(client, number, limit)
    if run["state"] == "previewed" and run["changed"]:
        out.print(f"nothing is booked yet: tandem recalculate apply {number}")


def _print_lines(client: ApiClient, number: int, limit: int) -> None:
    page = client.get(f"/recalculations/{number}/lines", {"limit": min(limit, 500)})
    rows = [
        [
            line["cdr_id"],
            line["side"],
            line["before"]["duration_ms"],
            line["before"]["gross"],
            line["after"]["gross"],
            line["problem"] or _signed(line),
        ]
        for line in page["items"]
    ]
    print_table("", ["call", "side", "ms", "before", "after", "difference"], rows)
    if page["next_cursor"]:
        out.print("… and more (--limit)")


def _signed(row: dict[str, Any]) -> str:
    difference = str(row["difference"])
    sign = "" if difference.startswith("-") or difference == "0" else "+"
    return f"{sign}{difference} {row['currency']}"
