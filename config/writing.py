"""Settings as a file: what a program writes that starts a Tandem of its own."""

from __future__ import annotations

import msgspec

from config.settings import Settings


def as_toml(settings: Settings) -> str:
    """Settings as a text that `config.settings.load_settings` reads back to the same."""
    fields = msgspec.to_builtins(settings)
    return "".join(f"{name} = {_value(value)}\n" for name, value in fields.items())


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_value(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return msgspec.json.encode(value).decode()
