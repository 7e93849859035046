"""`tandem replay`: what calls of the past would have brought under other prices, routes or limits."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

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
)
from control.client import ApiClient

LOOK_S: Final = 0.3
ALL: Final = "*"


@connecting
def replay(
    connect: Connect,
    since: Annotated[str, typer.Option("--from", help="First INVITE time (RFC 3339), inclusive.")],
    until: Annotated[str, typer.Option("--to", help="Last INVITE time (RFC 3339), exclusive.")],
    deck: Annotated[
        list[str] | None, typer.Option("--deck", help="CARD=REVISION that prices all calls; more than once for more.")
    ] = None,
    strategy: Annotated[
        list[str] | None, typer.Option("--strategy", help="ROUTE=lcr, or lcr for every route; also the next three.")
    ] = None,
    profit_mode: Annotated[list[str] | None, typer.Option("--profit-mode", help="ROUTE=worst_case.")] = None,
    capped_rate: Annotated[
        list[str] | None, typer.Option("--capped-rate", help="ROUTE=0.05: dearer destinations are refused; none lifts.")
    ] = None,
    vendor_capped_rate: Annotated[
        list[str] | None, typer.Option("--vendor-capped-rate", help="ROUTE=0.05: dearer vendors are skipped.")
    ] = None,
    customer: Annotated[str, typer.Option("--customer", help="Customer, by name or id. Default: all.")] = "",
    table: Annotated[Path | None, typer.Option("--csv", help="Write every destination to this file.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="Destinations shown.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Decide and price calls of the past anew, and show what would have been different.

    Prices are those of each call's time but for the decks proposed; everything else is the
    configuration of now. What the moment decided (call rates, channels, money, gateways that were
    down) stays as it was.
    """
    client = connect()
    body: dict[str, Any] = {"from": since, "to": until}
    if customer:
        body["customer_id"] = find_by_name(client, "/customers", "customer", customer)["id"]
    body["decks"] = [_deck(client, text) for text in deck or []]
    proposals = (
        ("strategy", strategy),
        ("profit_mode", profit_mode),
        ("capped_rate", capped_rate),
        ("vendor_capped_rate", vendor_capped_rate),
    )
    body["routes"] = [_route(client, field, text) for field, texts in proposals for text in texts or []]
    run = _wait(client, client.post("/replays", body))
    if run["state"] != "done":
        raise CommandError(f"replay {run['id']} {run['state']}" + (f": {run['error']}" if run["error"] else ""))
    if table is not None:
        _download(client, run["id"], table)
    if as_json:
        print_json(run["result"])
    else:
        _print_result(run["result"], limit)


def _deck(client: ApiClient, text: str) -> dict[str, Any]:
    card, equals, revision = text.rpartition("=")
    if not equals or not revision.isdecimal():
        raise CommandError(f"--deck {text}: write CARD=REVISION", 2)
    return {"card_id": find_by_name(client, "/rate-cards", "rate card", card)["id"], "revision_id": int(revision)}


def _route(client: ApiClient, field: str, text: str) -> dict[str, Any]:
    """`ROUTE=value`, or a value alone for every route."""
    name, _, value = text.rpartition("=")
    if not value:
        raise CommandError(f"--{field.replace('_', '-')} {text}: write ROUTE=VALUE, or VALUE for every route", 2)
    found: dict[str, Any] = {field: None if value == "none" and field.endswith("rate") else value}
    if name not in ("", ALL):
        found["route_id"] = find_by_name(client, "/ingress-routes", "ingress route", name)["id"]
    return found


def _wait(client: ApiClient, run: dict[str, Any]) -> dict[str, Any]:
    """Watch a replay to its end; who stops watching stops it."""
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not is_terminal()) as bar:
        task = bar.add_task("", total=run["calls_total"] or None)
        try:
            return _watch(client, run, lambda done: bar.update(task, completed=done))
        except KeyboardInterrupt:
            client.post(f"/replays/{run['id']}/cancel")
            raise CommandError(f"replay {run['id']} cancelled") from None


def _watch(client: ApiClient, run: dict[str, Any], note: Callable[[int], None]) -> dict[str, Any]:
    while run["state"] in ("waiting", "running"):
        time.sleep(LOOK_S)
        run = client.get(f"/replays/{run['id']}")
        note(run["calls_done"])
    return run


def _download(client: ApiClient, run_id: int, file: Path) -> None:
    # Beside and then renamed: whoever reads the file never sees half of it.
    partial = file.with_name(file.name + ".part")
    try:
        with partial.open("wb") as stream:
            for piece in client.download(f"/replays/{run_id}/destinations.csv"):
                stream.write(piece)
        os.replace(partial, file)  # noqa: PTH105
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def _print_result(result: dict[str, Any], limit: int) -> None:
    kept = f", {result['kept']} left as the moment had decided them" if result["kept"] else ""
    out.print(f"{result['calls']} calls, {result['changed']} of them otherwise{kept}", markup=False)
    sides: list[list[Any]] = []
    for total in result["totals"]:
        for side in ("before", "after"):
            sums = total[side]
            sides.append([total["currency"], side, *(sums[name] for name in _SUMS)])
        money = total["difference"]
        sides.append(["", "difference", "", "", "", *(money[name] for name in ("charge", "cost", "profit"))])
    if sides:
        print_table("", ["", "", "admitted", "answered", "talk s", "charge", "cost", "profit"], sides)
    causes = sorted({*result["refused_before"], *result["refused_after"]})
    if causes:
        counts = [[c, result["refused_before"].get(c, 0), result["refused_after"].get(c, 0)] for c in causes]
        print_table("", ["refused", "before", "after"], counts)
    if result["moves"]:
        rows = [[move["from_provider"] or "—", move["to_provider"] or "—", move["calls"]] for move in result["moves"]]
        print_table("", ["went to", "would go to", "calls"], rows)
    changed = [each for each in result["destinations"] if each["changed"]]
    if changed:
        print_table(
            "",
            ["prefix", "destination", "calls", "changed", "profit before", "after", "difference"],
            [_destination_row(each) for each in changed[:limit]],
        )
    left_out = len(changed) - limit + result["destinations_more"]
    if left_out > 0:
        out.print(f"… and {left_out} destinations more (--csv)")
    for note in result["notes"]:
        err.print(f"tandem: {note}", markup=False)


_SUMS: Final = ("admitted", "answered", "talk_s", "charge", "cost", "profit")


def _destination_row(each: dict[str, Any]) -> list[Any]:
    return [
        each["prefix"],
        each["destination"],
        each["calls"],
        each["changed"],
        each["before"]["profit"],
        each["after"]["profit"],
        each["difference"]["profit"],
    ]
