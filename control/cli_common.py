"""What the commands share: which Tandem they talk to, how they print, how they fail."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from config.settings import SettingsError, data_folder, load_settings
from control.client import ApiClient, ApiError
from control.places import KEY_FILE, URL_FILE

CONFIG_PLACES: Final = ("tandem.toml", "/etc/tandem/tandem.toml", "config/example/tandem.toml")
"""Where settings are looked for when no `--config` says."""
out = Console(highlight=False, soft_wrap=False)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_UrlOption = Annotated[
    str, typer.Option("--url", envvar="TANDEM_URL", help="API of the instance. Default: by its settings.")
]
_KeyFileOption = Annotated[
    Path | None,
    typer.Option(
        "--key-file", envvar="TANDEM_KEY_FILE", help="File with the bearer key. Default: admin.key in the data folder."
    ),
]
_ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", envvar="TANDEM_CONFIG", help="Settings of the instance that is talked to."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
OutputOption = Annotated[Path | None, typer.Option("--output", help="File; default: standard output.")]


class CommandError(Exception):
    """One line for standard error; `status` is the exit status."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


Connect = Callable[[], ApiClient]
"""A client of the instance that the options name; `CommandError` where its key or settings cannot be read."""


def connecting(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options `--url`, `--key-file` and `--config`, and what they name as its first argument.

    That is a `Connect`, called when the command has looked at its own options: what is wrong with
    those is said first.
    """

    @functools.wraps(command)
    def run(*, url: str, key_file: Path | None, config: Path | None, **options: Any) -> None:
        command(functools.partial(_connect, url, key_file, config), **options)

    kinds = get_type_hints(command, include_extras=True)
    own = list(inspect.signature(command).parameters.values())[1:]
    added = [
        inspect.Parameter("url", inspect.Parameter.KEYWORD_ONLY, default="", annotation=_UrlOption),
        inspect.Parameter("key_file", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_KeyFileOption),
        inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_ConfigOption),
    ]
    parameters = [each.replace(annotation=kinds[each.name]) for each in own] + added
    # What typer makes options of.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _connect(url: str, key_file: Path | None, config: Path | None) -> ApiClient:
    """A client of the instance that the options, or the settings file, name.

    Raises:
        CommandError: the key cannot be read, or the settings cannot.
    """
    data, settings_url = _from_settings(config)
    if not url:
        written = data / URL_FILE
        url = written.read_text().strip() if written.is_file() else settings_url
    path = key_file if key_file is not None else data / KEY_FILE
    try:
        key = path.read_text().strip()
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}; give the key's file with --key-file") from error
    try:
        return ApiClient(url, key)
    except ApiError as error:
        raise CommandError(str(error), 2) from error


def _from_settings(config: Path | None) -> tuple[Path, str]:
    """Data folder and API address by the settings file, or the defaults where there is none."""
    path = config or next((Path(place) for place in CONFIG_PLACES if Path(place).is_file()), None)
    if path is None:
        return Path("data"), "http://127.0.0.1:8080"
    try:
        settings = load_settings(path)
    except SettingsError as error:
        raise CommandError(str(error), 2) from error
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.api.host, settings.api.host)  # noqa: S104
    return data_folder(settings, path), f"http://{f'[{host}]' if ':' in host else host}:{settings.api.port}"


def print_json(value: Any) -> None:
    """Standard output, whole, as JSON that other programs read."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def print_table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    out.print(table)


def write_out(pieces: Iterable[bytes], output: Path | None) -> None:
    """A download, to a file or to standard output.

    Raises:
        CommandError: the file cannot be written.
    """
    if output is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    # Beside and then renamed: whoever reads the file never sees half of it.
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


def refused_file(file: Path, error: ApiError, as_json: bool) -> CommandError | ApiError:
    """What a command raises whose file was refused; every mistake in it is printed, by its place."""
    faults: list[dict[str, Any]] = error.problem.get("errors") or []
    if not faults:
        return error
    if as_json:
        print_json(error.problem)
    else:
        for fault in faults:
            err.print(f"{file}: {_place(fault)}{fault.get('reason')}", markup=False)
    return CommandError(f"{file}: {len(faults)} mistakes; nothing was changed")


def _place(fault: dict[str, Any]) -> str:
    """`line 17, rate: ` of one mistake."""
    line = fault.get("line")
    if line is None:
        return f"{fault['path']}: " if fault.get("path") else ""
    column = fault.get("column")
    return f"line {line}{', ' + str(column) if column else ''}: "


def find_by_name(client: ApiClient, path: str, noun: str, name: str) -> dict[str, Any]:
    """One row by its name, or by its id where `name` is a number and nothing has that name.

    Raises:
        CommandError: there is none.
    """
    rows = list(client.items(path))
    for row in rows:
        if row["name"] == name:
            return row
    for row in rows:
        if str(row["id"]) == name:
            return row
    known = ", ".join(sorted(str(row["name"]) for row in rows)[:10])
    raise CommandError(f'there is no {noun} "{name}"' + (f"; there are: {known}" if known else ""))


def is_terminal() -> bool:
    """Whether somebody watches: progress goes to standard error, so that output can be piped."""
    return err.is_terminal and "NO_PROGRESS" not in os.environ
