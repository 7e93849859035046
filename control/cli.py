"""`tandem`: runs an installation, and talks to a running one through its API.

Every failure is one line on standard error. Exit status: 0 done, 1 it could not be done, 2 the
command or its settings were wrong.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from config.settings import SettingsError
from control.apply import Plan, Step
from control.apply_file import ApplyError, read_file
from control.cli_billing import invoice
from control.cli_calls import calls, cdr
from control.cli_common import (
    CommandError,
    Connect,
    JsonOption,
    connecting,
    err,
    out,
    print_json,
    print_table,
)
from control.cli_decks import deck, price, upload_progress
from control.cli_dids import dids
from control.cli_drill import drill
from control.cli_money import balance, doctor, pay
from control.cli_recalculate import recalculate
from control.cli_replay import replay
from control.client import ApiError
from control.supervisor import child_environment
from switch.build import build_name

app = typer.Typer(
    help="Tandem, a class-4 SIP softswitch.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(deck, name="deck")
app.add_typer(cdr, name="cdr")
app.add_typer(calls, name="calls")
app.add_typer(dids, name="dids")
app.add_typer(recalculate, name="recalculate")
app.add_typer(invoice, name="invoice")
app.command()(price)
app.command()(replay)
app.command(context_settings={"ignore_unknown_options": True})(pay)
app.command()(balance)
app.command()(doctor)
app.command()(drill)


def _version(asked: bool) -> None:
    if asked:
        try:
            release = importlib.metadata.version("tandem")
        except importlib.metadata.PackageNotFoundError:
            release = "from source"
        typer.echo(f"tandem {release} ({build_name()}), Python {sys.version.split()[0]}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Version and build, and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    config: Annotated[Path, typer.Option("--config", help="Settings (TOML).")],
    data: Annotated[
        Path | None, typer.Option("--data", help="Data folder, instead of the one in the settings.")
    ] = None,
    example: Annotated[bool, typer.Option("--example", help="Fill an empty store with the example data.")] = False,
) -> None:
    """Run both planes until SIGTERM; SIGHUP reads certificates again."""
    arguments = ["--config", str(config)]
    if data is not None:
        arguments += ["--data", str(data)]
    if example:
        arguments.append("--example")
    # In place of this process: the parent of both planes needs none of the command's libraries.
    sys.stdout.flush()
    os.execve(  # noqa: S606
        sys.executable, [sys.executable, "-P", "-m", "control.supervisor", *arguments], child_environment()
    )


@app.command()
@connecting
def apply(
    connect: Connect,
    file: Annotated[Path, typer.Argument(help="TOML of what shall exist; see config/example/example.toml.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the difference and change nothing.")] = False,
    set_passwords: Annotated[
        bool, typer.Option("--set-passwords", help="Set the file's passwords again: they cannot be compared.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring customers, vendors, cards, packages … to what a file says. Prints the difference first."""
    client = connect()
    plan = Plan(client, read_file(file), with_secrets=set_passwords)
    steps = plan.steps()
    if not as_json:
        for step in steps:
            _print_step(step)
        out.print("nothing to do" if not steps else f"{len(steps)} differences")
    if not dry_run:
        for number, step in enumerate(steps, start=1):
            try:
                with upload_progress(step.wanted.label if step.action == "load" else "") as progress:
                    plan.run(step, progress)
            except ApiError as error:
                raise CommandError(f"{step.wanted.label}: {error} ({number - 1} of {len(steps)} done)") from error
            finally:
                for note in plan.take_notes():
                    err.print(note, markup=False)
    if as_json:
        print_json({"differences": [step.as_json() for step in steps], "applied": not dry_run})
    elif steps and not dry_run:
        out.print("[green]done[/green]")


@app.command()
@connecting
def simulate(
    connect: Connect,
    dialled: Annotated[str, typer.Argument(help="Number as the customer dials it, tech prefix included.")],
    source: Annotated[str, typer.Option("--source", help="Address that the INVITE comes from.")] = "",
    username: Annotated[str, typer.Option("--user", help="SIP user, instead of an address.")] = "",
    cli: Annotated[str, typer.Option("--cli", help="Calling number.")] = "",
    transport: Annotated[str, typer.Option("--transport", help="udp, tcp or tls.")] = "udp",
    at: Annotated[str, typer.Option("--at", help="Time (RFC 3339), past or future. Default: now.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Decide a call as the switch would, and send nothing."""
    if not source and not username:
        source = "127.0.0.1"
    asked = {"dialled": dialled, "source_ip": source, "username": username, "cli": cli, "transport": transport}
    body = {name: value for name, value in {**asked, "at": at}.items() if value}
    answer = connect().post("/simulate", body)
    if as_json:
        print_json(answer)
    else:
        _print_decision(answer)


def _print_decision(answer: dict[str, Any]) -> None:
    for number, step in enumerate(answer["steps"], start=1):
        out.print(f"{number:3}. {step}", markup=False)
    if answer["is_admitted"]:
        out.print(f"[green]admitted[/green] as {answer.get('dialled_out', '')}, {answer.get('destination', '')}")
    else:
        out.print(f"[red]refused[/red] with {answer['status']}, cause {answer['cause']}")
    candidates = answer.get("candidates") or []
    if candidates:
        columns = {
            "vendor": "provider_name",
            "card": "card_name",
            "outcome": "outcome",
            "prefix": "prefix",
            "rate": "rate",
            "margin": "margin",
            "why": "detail",
        }
        print_table("", list(columns), [[each.get(field) for field in columns.values()] for each in candidates])


_MARKS: Final = {
    "create": "[green]+[/green]",
    "change": "[yellow]~[/yellow]",
    "load": "[cyan]↑[/cyan]",
    "revise": "[cyan]↑[/cyan]",
}


def _print_step(step: Step) -> None:
    out.print(f"{_MARKS[step.action]} {step.wanted.label}", soft_wrap=True)
    for name, (old, new) in step.shown().items():
        shown = f"{new}" if old is None else f"{old} → {new}"
        out.print(f"    {name}: {shown}", markup=False, soft_wrap=True)


def main() -> None:
    """Entry point of the `tandem` command."""
    try:
        app()
    except CommandError as error:
        err.print(f"tandem: {error}", markup=False)
        sys.exit(error.status)
    except (ApplyError, SettingsError) as error:
        err.print(f"tandem: {error}", markup=False)
        sys.exit(2)
    except ApiError as error:
        err.print(f"tandem: {error}", markup=False)
        sys.exit(1)
    except BrokenPipeError:
        # The reader of our output has seen enough; Python would complain once more while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
