"""A file of `tandem apply`, read: what it asks for, in the order in which it can be made.

A secret need not stand in it: `{ env = "NAME" }` and `{ file = "path" }` say where it is, are read when it
is needed, and what they hold is never printed.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from control.apply_kinds import CONTRACTS, DIDS, KINDS, MONEY, ORDER, RATE_CARDS, WEBHOOKS, Kind
from rating.numbers import normalise_e164

Fields = dict[str, Any]

REVISION_FIELDS = ("text", "starts", "ends", "rate_card")
"""Of a contract's last revision; another one is made where they differ."""


class ApplyError(Exception):
    """The file cannot be applied; the text names the place in it."""


class Elsewhere(msgspec.Struct, frozen=True):
    """A value that the file only points to."""

    place: str
    """In the file: `customers."Acme".sip_users."alice".password`."""
    env: str = ""
    file: Path | None = None

    def read(self) -> str:
        """What it points to.

        Raises:
            ApplyError: it is not set, or cannot be read.
        """
        if self.file is None:
            found = os.environ.get(self.env, "")
            if not found:
                raise ApplyError(f"{self.place}: {self.env} is not set in the environment")
            return found
        try:
            text = self.file.read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ApplyError(f"{self.place}: {self.file}: {getattr(error, 'strerror', error)}") from error
        if not text:
            raise ApplyError(f"{self.place}: {self.file} is empty")
        return text

    def __str__(self) -> str:
        return f"(from {self.env or self.file})"


class Wanted(msgspec.Struct):
    """One thing that the file describes."""

    kind: Kind
    label: str
    """How it is shown: `customer Acme Voice`."""
    fields: Fields
    """As written, key fields included, references still by name."""
    deck: Path | None = None
    revision: Fields | None = None
    """Of a contract: `REVISION_FIELDS`."""
    secret_file: Path | None = None
    """Of a webhook: where its secret is written when it is made."""
    parent: Wanted | None = None
    id: int | None = None
    """Of the one that exists; set when it is made."""


def read_file(path: Path) -> list[Wanted]:
    """What a file asks for, in the order in which it can be made.

    Raises:
        ApplyError: not readable, not TOML, or not of the shape that `config/example/example.toml` shows.
    """
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise ApplyError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ApplyError(f"{path}: {error}") from error
    unknown = sorted(set(content) - {kind.table for kind in KINDS})
    if unknown:
        raise ApplyError(f"{path}: {unknown[0]}: not known here; use {', '.join(kind.table for kind in KINDS)}")
    found: list[Wanted] = []
    try:
        for kind in KINDS:
            found += _wanted(kind, content.get(kind.table, {}), None, path.parent, kind.table)
    except ApplyError as error:
        raise ApplyError(f"{path}: {error}") from error
    # A sell card names the buy cards that its calls may leave through.
    found.sort(key=lambda each: each.kind.table == "rate_cards" and "vendor_cards" in each.fields)
    found.sort(key=_turn)
    return found


def _turn(wanted: Wanted) -> int:
    table = wanted.kind.table
    return ORDER.index(table if table in ORDER else (wanted.parent or wanted).kind.table)


def _wanted(kind: Kind, written: Any, parent: Wanted | None, folder: Path, place: str) -> Iterator[Wanted]:
    named: list[tuple[str, str, Any]]
    if kind.is_list:
        if not isinstance(written, list):
            raise ApplyError(f"{place}: write [[{place}]] for each")
        named = [(f"{place}[{index}]", "", item) for index, item in enumerate(written)]
    else:
        if not isinstance(written, dict):
            raise ApplyError(f'{place}: write [{place}."its name"] for each')
        named = [(f'{place}."{name}"', name, item) for name, item in written.items()]
    for here, name, item in named:
        if not isinstance(item, dict):
            raise ApplyError(f"{here}: a table is wanted")
        fields = dict(kind.defaults) | {kind.key[0]: name} if not kind.is_list else dict(kind.defaults)
        children = {child.table: item.pop(child.table, {} if not child.is_list else []) for child in kind.children}
        deck = item.pop("deck", None) if kind is RATE_CARDS else None
        revision = _revision(item, folder, here) if kind is CONTRACTS else None
        secret_file = item.pop("secret_file", None) if kind is WEBHOOKS else None
        fields.update({field: _value(field, value, folder, f"{here}.{field}") for field, value in item.items()})
        if kind is DIDS:
            fields["number"] = normalise_e164(name)
            if fields["number"] is None:
                raise ApplyError(f"{here}: no E.164 number")
        for field in kind.key:
            if field not in fields:
                raise ApplyError(f"{here}: {field} is missing")
            if isinstance(fields[field], Elsewhere):
                raise ApplyError(f"{here}: {field} must stand in the file: it tells one from another")
        own = name or " ".join(str(fields[field]) for field in kind.key if fields[field] not in ("", None))
        label = f"{kind.noun} {own}" + (f" of {parent.label}" if parent is not None else "")
        this = Wanted(kind=kind, label=label, fields=fields, parent=parent, revision=revision)
        if deck is not None:
            this.deck = (folder / str(deck)).resolve()
            if not this.deck.is_file():
                raise ApplyError(f"{here}.deck: there is no file {this.deck}")
        if secret_file is not None:
            this.secret_file = (folder / str(secret_file)).resolve()
        yield this
        for child in kind.children:
            yield from _wanted(child, children[child.table], this, folder, f"{here}.{child.table}")


def _value(field: str, value: Any, folder: Path, place: str) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if field in MONEY and isinstance(value, float):
        raise ApplyError(f'{place}: write it as "{value}": amounts are exact')
    if field in MONEY and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, dict) and len(value) == 1 and value.keys() <= {"env", "file"}:
        ((kind, name),) = value.items()
        if not isinstance(name, str) or not name:
            raise ApplyError(f"{place}.{kind}: a name is wanted")
        return Elsewhere(place, env=name) if kind == "env" else Elsewhere(place, file=(folder / name).resolve())
    return value


def _revision(item: Fields, folder: Path, place: str) -> Fields | None:
    """What a contract says: taken out of its table, which has what may change without another revision."""
    text_file = item.pop("text_file", None)
    found = {name: _value(name, item.pop(name), folder, f"{place}.{name}") for name in REVISION_FIELDS if name in item}
    if text_file is not None:
        if "text" in found:
            raise ApplyError(f"{place}: either text or text_file")
        found["text"] = Elsewhere(f"{place}.text_file", file=(folder / str(text_file)).resolve()).read()
    if found and not isinstance(found.get("text"), str):
        raise ApplyError(f"{place}: text or text_file is missing")
    return found or None
