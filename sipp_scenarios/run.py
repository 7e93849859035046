"""Plays the cases through a fresh switch and checks what came of each.

    python sipp_scenarios/run.py [NAME…] [--keep] [--list]

All cases run at once, each in its own corner of 127.0.0.0/8; those about RFC 3261's own times use
the defaults, the others timers five times as fast. Exit code 1 when anything is not as it should be.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from config.settings import Timers
from sipp_scenarios.cases import CASES
from sipp_scenarios.places import QUICK
from sipp_scenarios.stage import Result, Stage
from sipp_scenarios.traps import free_loopback_block


async def play(names: list[str], folder: Path) -> dict[str, Result]:
    """Plays these cases; results by name."""
    chosen = [(number, case) for number, case in enumerate(CASES, 1) if case.name in names]
    results = {case.name: Result(case) for _, case in chosen}
    block = free_loopback_block()
    stages = []
    for subfolder, host, timers, needs_default in (
        ("quick", f"127.{block}.0.1", QUICK, False),
        ("default", f"127.{block}.0.2", Timers(), True),
    ):
        cases = [(number, case) for number, case in chosen if case.needs_default_timers == needs_default]
        if cases:
            (folder / subfolder).mkdir(parents=True)
            stages.append(Stage(folder / subfolder, block, cases, timers, host))
    await asyncio.gather(*(stage.play(results) for stage in stages))
    return results


def show(results: dict[str, Result], console: Console) -> None:
    table = Table("case", "seconds", "CDRs", "result", title="SIPp scenarios")
    for name, result in results.items():
        verdict = "[yellow]skipped: " + result.skipped if result.skipped else "[green]ok"
        if result.faults:
            verdict = "[red]" + "\n".join(fault.replace("[", "\\[") for fault in result.faults)
        count = str(len(result.played.cdrs)) if result.played else "-"
        table.add_row(name, f"{result.took_s:.1f}", count, verdict)
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", metavar="NAME", help="cases to play; none: all of them")
    parser.add_argument("--keep", action="store_true", help="leave logs and traces, and say where")
    parser.add_argument("--list", action="store_true", help="name the cases and stop")
    arguments = parser.parse_args()
    console = Console()
    known = [case.name for case in CASES]
    if arguments.list:
        for case in CASES:
            console.print(f"[bold]{case.name}[/bold]  {case.what}")
        return 0
    if unknown := [name for name in arguments.names if name not in known]:
        console.print(f"no such case: {', '.join(unknown)} (--list names them)")
        return 2
    folder = Path(tempfile.mkdtemp(prefix="tandem-sipp-"))
    try:
        results = asyncio.run(play(arguments.names or known, folder))
    finally:
        if arguments.keep:
            console.print(f"logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    show(results, console)
    failed = [name for name, result in results.items() if result.faults]
    console.print(f"{len(results) - len(failed)} of {len(results)} as they should be")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
