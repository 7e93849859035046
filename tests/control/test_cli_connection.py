"""Which instance a command talks to: three options that all of them have, looked at last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from control.cli import app
from control.cli_common import CommandError

ALONE = {"run", "drill"}
"""Commands that start an instance of their own."""


def commands() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, command in typer.main.get_group(app).commands.items():
        group: dict[str, Any] | None = getattr(command, "commands", None)
        if group is not None:
            found |= {f"{name} {below}": each for below, each in group.items()}
        elif name not in ALONE:
            found[name] = command
    return found


def test_every_command_that_talks_to_an_instance_takes_its_address_key_and_settings() -> None:
    for name, command in commands().items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--url", "--key-file", "--config"} <= options, name


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["price", "Retail", "44", "1:99"], "not a duration"),
        (["cdr", "export", "--format", "xls"], "use csv, jsonl or parquet"),
    ],
)
def test_what_is_wrong_with_a_commands_own_options_is_said_before_anything_of_the_instance(
    arguments: list[str], complaint: str, tmp_path: Path
) -> None:
    result = CliRunner().invoke(app, [*arguments, "--key-file", str(tmp_path / "missing")])
    assert isinstance(result.exception, CommandError)
    assert complaint in str(result.exception)


def test_a_key_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["calls", "list", "--key-file", str(tmp_path / "missing")])
    assert str(tmp_path / "missing") in str(result.exception)
