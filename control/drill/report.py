"""What a drill found, for people and for programs."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from control.drill.drill import Outcome
from control.drill.plan import Options

LISTED_MAX: Final = 20
CUT_MAX: Final = 5
"""Lines that are printed of what is wrong, and of what may be; JSON has all."""


def as_json(options: Options, outcome: Outcome) -> dict[str, Any]:
    """Everything that was found; `holds` is the verdict."""
    witness, verdict = outcome.witness, outcome.verdict
    return {
        "holds": not verdict.differences,
        "seed": options.seed,
        "seconds": outcome.seconds,
        "kills": [
            {"victim": kill.victim, "how": kill.how, "at_ms": kill.at_ms, "recovered_s": kill.recovered_s}
            for kill in witness.kills
        ],
        "calls": call_counts(outcome),
        "cdrs": dict(sorted(Counter(cdr.cause for cdr in outcome.books.cdrs).items())),
        "payments": {
            "made": len(witness.payments),
            "repeated": sum(1 for payment in witness.payments if payment.tries > 1),
        },
        "checked": verdict.checked,
        "lost": sum(1 for line in verdict.differences if "has no CDR" in line),
        "cut": verdict.cut,
        "differences": verdict.differences,
    }


def call_counts(outcome: Outcome) -> dict[str, int]:
    """Calls by what their callers saw."""
    counts: Counter[str] = Counter()
    for call in outcome.witness.calls:
        if call.is_answered:
            counts["answered"] += 1
            counts["hung up by the caller" if call.bye_sent_ms else "hung up by the other side"] += 1
        else:
            counts[f"refused with {call.status}" if call.status else "never answered"] += 1
    return {"placed": len(outcome.witness.calls), **dict(sorted(counts.items()))}


def show(options: Options, outcome: Outcome, console: Console) -> None:
    """Tables, and the verdict as the last line."""
    verdict = outcome.verdict
    _show_kills(outcome, console)
    facts = _table("Seen and compared", "what", "how many")
    for name, count in call_counts(outcome).items():
        facts.add_row(f"calls {name}", str(count))
    for cause, count in sorted(Counter(cdr.cause for cdr in outcome.books.cdrs).items()):
        facts.add_row(f"CDRs with cause {cause}", str(count))
    for name, count in sorted(verdict.checked.items()):
        facts.add_row(f"compared: {name}", str(count))
    console.print(facts)
    _list("cut by a kill, as the manual says", verdict.cut, CUT_MAX, console)
    _list("[red]wrong[/red]", verdict.differences, LISTED_MAX, console)
    lost = sum(1 for line in verdict.differences if "has no CDR" in line)
    colour = "red" if verdict.differences else "green"
    console.print(
        f"[{colour}]{len(outcome.witness.kills)} kills, {len(outcome.witness.calls)} calls, "
        f"{len(outcome.books.cdrs)} CDRs, {len(outcome.witness.payments)} payments: "
        f"lost {lost}, differences {len(verdict.differences)}[/{colour}]  "
        f"(seed {options.seed}, {outcome.seconds:.0f} s)"
    )


def _show_kills(outcome: Outcome, console: Console) -> None:
    kills = outcome.witness.kills
    if not kills:
        return
    table = _table("Kills", "killed", "times", "back after, median", "longest")
    for victim, count in Counter(kill.victim for kill in kills).most_common():
        times = [kill.recovered_s for kill in kills if kill.victim == victim and kill.recovered_s is not None]
        shown = (f"{median(times):.2f} s", f"{max(times):.2f} s") if times else ("never", "never")
        table.add_row(victim, str(count), *shown)
    console.print(table)


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left", box=None, pad_edge=False)


def _list(title: str, lines: list[str], count_max: int, console: Console) -> None:
    if lines:
        console.print(f"{title}: {len(lines)}")
    for line in lines[:count_max]:
        console.print(f"  {line}", markup=False, soft_wrap=True)
    if len(lines) > count_max:
        console.print(f"  … and {len(lines) - count_max} more; --json has all")
