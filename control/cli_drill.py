"""`tandem drill`: proves on this machine that neither a call nor a cent is lost when processes die."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from random import SystemRandom
from typing import Annotated

import typer

from control.cli_common import CommandError, JsonOption, err, out, print_json
from control.drill.drill import run_drill
from control.drill.instance import DrillFailed
from control.drill.plan import Options
from control.drill.report import as_json as report_json
from control.drill.report import show


def drill(
    calls: Annotated[
        int, typer.Option("--calls", min=1, help="Calls to place, at least; they go on until the kills are done.")
    ] = 100,
    rate: Annotated[float, typer.Option("--rate", min=0.1, max=500.0, help="Calls a second.")] = 10.0,
    kills: Annotated[int, typer.Option("--kills", min=0, help="How often something is killed with SIGKILL.")] = 5,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Calls, payments and kills are drawn from it. Default: a new one.")
    ] = None,
    at_write: Annotated[
        int | None,
        typer.Option(
            "--at-write",
            min=1,
            help="Kill the switch in its Nth journal write, the next time in the N+1st, and so on. "
            "Needs strace to be exact; without it the kill comes just after the write.",
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", help="Drill in this folder, new or empty, and keep it. Default: a scratch one."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start a Tandem of its own, drive calls and payments through it, kill it again and again, and
    compare what callers, vendors and payers saw with its books. Exit status 0 only if all agrees."""
    if not sys.platform.startswith("linux"):
        raise CommandError("a drill needs Linux: it finds the processes that it kills by /proc", 2)
    options = Options(
        calls=calls,
        rate=rate,
        kills=kills,
        seed=SystemRandom().randrange(1_000_000) if seed is None else seed,
        at_write=at_write,
    )
    folder = _folder(keep)
    try:
        outcome = run_drill(options, folder, lambda text: err.print(text, markup=False))
    except DrillFailed as error:
        raise CommandError(f"{error} (seed {options.seed})") from error
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        print_json(report_json(options, outcome))
    else:
        show(options, outcome, out)
    if outcome.verdict.differences:
        raise typer.Exit(1)


def _folder(keep: Path | None) -> Path:
    """
    Raises:
        CommandError: the folder cannot be made, or has something in it.
    """
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="tandem-drill-"))
    try:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise CommandError(f"--keep {keep}: the folder is not empty", 2)
    except OSError as error:
        raise CommandError(f"--keep {keep}: {error.strerror}", 2) from error
    return keep.resolve()
