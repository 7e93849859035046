"""`tandem deck …` and `tandem price`: price lists on the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from control.cli_common import (
    CommandError,
    Connect,
    JsonOption,
    connecting,
    err,
    find_by_name,
    is_terminal,
    out,
    print_json,
    print_table,
    refused_file,
)
from control.client import ApiError

deck = typer.Typer(help="Rate decks: import, compare, activate.", no_args_is_help=True)

CardArgument = Annotated[str, typer.Argument(help="Rate card, by name or id.")]
AtOption = Annotated[str, typer.Option("--at", help="Time (RFC 3339). Default: now.")]


@deck.command("import")
@connecting
def import_deck(
    connect: Connect,
    card: CardArgument,
    file: Annotated[Path, typer.Argument(help="CSV price list.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the file and keep nothing.")] = False,
    activate: Annotated[bool, typer.Option("--activate", help="Put it in force when it is in.")] = False,
    activate_at: Annotated[str, typer.Option("--activate-at", help="Put it in force at a time (RFC 3339).")] = "",
    as_json: JsonOption = False,
) -> None:
    """Load a price list as a new revision of a card. One bad row refuses the whole file."""
    client = connect()
    row = find_by_name(client, "/rate-cards", "rate card", card)
    query = {
        "file_name": file.name,
        "dry_run": dry_run,
        "activate": activate and not activate_at,
        "activate_at": activate_at or None,
    }
    try:
        with upload_progress(f"{file.name} → {row['name']}") as progress:
            answer = client.upload(f"/rate-cards/{row['id']}/revisions", file, query, progress)
    except ApiError as error:
        raise refused_file(file, error, as_json) from error
    if as_json:
        print_json(answer)
        return
    what = "would be loaded" if dry_run else f"loaded as revision {answer['revision']['id']}"
    out.print(f"{answer['rows']} rows {what} of {row['name']}", markup=False)


@deck.command("diff")
@connecting
def diff_decks(
    connect: Connect,
    card: CardArgument,
    new: Annotated[str, typer.Argument(help="Revision, or a CSV file.")],
    old: Annotated[str, typer.Argument(help="Revision that it is compared with. Default: the active one.")] = "",
    limit: Annotated[int, typer.Option("--limit", help="Rows shown; the counts are of all.")] = 50,
    at: Annotated[
        str, typer.Option("--at", help="Time (RFC 3339) whose prices are held against each other. Default: now.")
    ] = "",
    losses: Annotated[
        bool, typer.Option("--losses/--no-losses", help="Show which destinations would lose money, and where.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Show what a revision, or a file, would change: rates, prefixes, and which destinations would lose money.

    A buy card is held against the sell cards whose calls may leave through it, a sell card against
    the buy cards that it names.
    """
    client = connect()
    row = find_by_name(client, "/rate-cards", "rate card", card)
    base = f"/rate-cards/{row['id']}/revisions"
    if Path(new).is_file():
        with upload_progress(f"{new} → {row['name']}") as progress:
            query = {"dry_run": True, "diff": True, "losses": losses, "losses_at": at or None, "against": old or None}
            loaded = client.upload(base, Path(new), query, progress)
        answer, found = loaded["diff"], loaded["losses"]
    else:
        answer = client.get(f"{base}/{new}/diff", {"against": old or None})
        found = (
            client.get(f"{base}/{new}/losses", {"limit": min(max(limit, 1), 1_000), "at": at or None})
            if losses
            else None
        )
    if as_json:
        print_json({**answer, "losses": found} if losses else answer)
        return
    _print_diff(answer, limit)
    if found is not None:
        _print_losses(found, limit)


@deck.command("activate")
@connecting
def activate_deck(
    connect: Connect,
    card: CardArgument,
    revision: Annotated[int, typer.Argument(help="Revision; an earlier one rolls back.")],
    at: AtOption = "",
    as_json: JsonOption = False,
) -> None:
    """Put a revision in force, now or at a time."""
    client = connect()
    row = find_by_name(client, "/rate-cards", "rate card", card)
    body = {"at": at} if at else {}
    answer = client.post(f"/rate-cards/{row['id']}/revisions/{revision}/activate", body)
    if as_json:
        print_json(answer)
    else:
        out.print(f"revision {revision} of {row['name']} is in force {'from ' + at if at else 'now'}", markup=False)


@connecting
def price(
    connect: Connect,
    card: CardArgument,
    number: Annotated[str, typer.Argument(help="Number in E.164 form.")],
    duration: Annotated[str, typer.Argument(help="Talk time: seconds (95, 30.5) or m:ss.")],
    tax_percent: Annotated[str, typer.Option("--tax", help="Tax in per cent.")] = "0",
    at: AtOption = "",
    as_json: JsonOption = False,
) -> None:
    """Price a call by a card, and explain the charge step by step."""
    body: dict[str, Any] = {"number": number, "duration_ms": parse_duration_ms(duration), "tax_percent": tax_percent}
    client = connect()
    row = find_by_name(client, "/rate-cards", "rate card", card)
    if at:
        body["at"] = at
    answer = client.post(f"/rate-cards/{row['id']}/price", body)
    if as_json:
        print_json(answer)
        return
    for step in answer["steps"]:
        out.print(step, markup=False)
    out.print(f"[bold]{answer['gross']} {answer['currency']}[/bold]")


def parse_duration_ms(text: str) -> int:
    """`95`, `30.5` or `1:35` as milliseconds, exactly.

    Raises:
        CommandError: it is none of these.
    """
    minutes, colon, rest = text.rpartition(":")
    whole, _, part = rest.partition(".")
    is_good = whole.isdecimal() and (part or "0").isdecimal() and len(part) <= 3 and text.isascii()
    if not is_good or (colon and not (minutes.isdecimal() and int(whole) < 60)):
        raise CommandError(f"{text}: not a duration; write 95, 30.5 or 1:35", 2)
    return (int(minutes or 0) * 60 + int(whole)) * 1000 + int(part.ljust(3, "0") if part else 0)


@contextmanager
def upload_progress(label: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on standard error while somebody watches; an empty label shows none."""
    if not label or not is_terminal():
        yield None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(label, total=None)

        def note(sent: int, total: int) -> None:
            # When all is sent the other side still compiles: the clock and the spinner go on.
            bar.update(
                task, completed=sent, total=total, description=f"{label}{', compiling' if sent == total else ''}"
            )

        yield note


def _print_diff(answer: dict[str, Any], limit: int) -> None:
    counts: dict[str, int] = answer["counts"]
    out.print(", ".join(f"{count} {name}" for name, count in counts.items() if count) or "both are empty", markup=False)
    rows: list[list[Any]] = []
    for kind in counts:
        for change in answer.get(kind) or []:
            rows.append([kind, change["prefix"], change["name"], change["old"], change["new"]])
    if rows:
        print_table("", ["", "prefix", "destination", "was", "becomes"], rows[:limit])
    if len(rows) > limit:
        out.print(f"… and {len(rows) - limit} more (--limit)")


def _print_losses(answer: dict[str, Any], limit: int) -> None:
    if answer["prices_change"]:
        dates = ", ".join(answer["prices_change"][:5]) + (", …" if len(answer["prices_change"]) > 5 else "")
        out.print(f"prices change at {dates}; --at compares those of then", markup=False)
    for names in answer["not_compared"]:
        out.print(f"too many rows: {names} was not compared", markup=False)
    if not answer["compared"]:
        out.print("no card that it is tied to prices the same numbers: nothing to lose to")
        return
    if not answer["losing"]:
        out.print(f"no destination loses money, of {answer['compared']} with a price on both sides")
        return
    out.print(
        f"{answer['losing']} of {answer['compared']} destinations can lose money, {answer['newly_losing']} of them anew"
    )
    shown = answer["items"][:limit]
    print_table(
        "",
        ["", "prefix", "destination", "sold by", "rate", "bought by", "rate", "lengths", "worst", "mean"],
        [_loss_row(loss) for loss in shown],
    )
    if answer["losing"] > len(shown):
        out.print(f"… and {answer['losing'] - len(shown)} more (--limit)")


def _loss_row(loss: dict[str, Any]) -> list[Any]:
    lengths = ", ".join(f"{each['from_s']}–{each['to_s']}" for each in loss["losing"][:3])
    if sum(each["to_s"] - each["from_s"] + 1 for each in loss["losing"][:3]) < loss["losing_lengths"]:
        lengths += " …"
    means = ", ".join(f"{each['name'] or each['route_id']} {each['margin']}" for each in loss["expected"][:3])
    return [
        "new" if loss["is_new"] else "",
        loss["prefix"],
        loss["destination"],
        loss["sell_card"],
        loss["sell_rate"],
        loss["buy_card"],
        loss["buy_rate"],
        f"{lengths} s",
        f"{loss['worst_margin']} at {loss['worst_at_s']} s",
        means,
    ]
