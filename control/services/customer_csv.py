"""Customers as a CSV file, out and in: what goes out comes back in and changes nothing.

A line creates the customer of its name, or changes it: columns that the file does not have stay as
they are. An empty cell empties a field that may be empty, and leaves the others alone. One bad
line refuses the whole file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final, Literal, get_type_hints

import msgspec
from sqlalchemy import select

from control.services.context import Change, Context
from control.services.csv_cells import (
    PAGE_ROWS,
    ImportCounts,
    ImportQuery,
    Sheet,
    cell_of,
    changed_fields,
    csv_line,
    flag_in,
    given_fields,
    guard,
    import_counts,
    unguard,
)
from control.services.customers import CUSTOMERS, Customer, CustomerFilter, CustomerNew, CustomerQuery, Tag
from control.services.errors import Conflict, FieldError, Invalid
from control.services.fields import OwnHeaders, Timers, amount_nanos, name_key
from control.services.nouns import TIMERS
from control.services.problems import convert

_TIMES: Final = ("created_at", "updated_at")
COLUMNS: Final = (
    "id",
    *(field for name in CustomerNew.__struct_fields__ for field in (TIMERS if name == "timers" else (name,))),
    *_TIMES,
)
"""Of the file that goes out. `id` coming in must be that of the name; `created_at` and `updated_at` are passed over."""

_TYPES: Final[dict[str, Any]] = {
    **get_type_hints(CustomerNew, include_extras=True),
    **get_type_hints(Timers, include_extras=True),
}
_PLAIN: Final = ("channels", "flow_speed_cps", "client_id", "penalty_until", *TIMERS)
"""Fields that are numbers or times in JSON; an empty cell is null."""
_FLAGS: Final = ("portal_access", "allow_inbound_without_credit", "trust_pai")
_NULLABLE: Final = ("minimum_payment", "minimum_payment_period", "daily_spend_limit")
_TEXTS: Final = ("paypal_email", "website", "address", "notes_public", "notes_private")


class LineDone(msgspec.Struct, frozen=True, kw_only=True):
    line: int
    id: int | None
    """None of one that a dry run would create."""
    name: str
    action: Literal["create", "update"]
    fields: list[str]
    """That change; of a new one, those that the line gives."""


class Imported(ImportCounts, frozen=True, kw_only=True):
    changes: list[LineDone]


async def csv_lines(ctx: Context, query: CustomerFilter) -> AsyncIterator[bytes]:
    """The header, then a line for each customer that matches, by name."""
    yield csv_line(COLUMNS)
    c = CUSTOMERS.table.c
    statement = CUSTOMERS.filtered(CustomerQuery(**msgspec.structs.asdict(query))).order_by(c.name_key)
    after = ""
    while True:
        async with ctx.store.read() as tx:
            page = statement.where(c.name_key > after).limit(PAGE_ROWS)
            rows = list((await tx.execute(page)).mappings())
        if rows:
            yield b"".join(csv_line(_cells(CUSTOMERS.struct(row))) for row in rows)
        if len(rows) < PAGE_ROWS:
            return
        after = rows[-1]["name_key"]


async def load(ctx: Context, data: bytes, query: ImportQuery) -> Imported:
    """Create and change customers by a file.

    Raises:
        Invalid: every mistake of every line, by its number and column; nothing was changed.
    """
    sheet = Sheet(data, COLUMNS, "name")
    read, errors = _read(sheet)
    done: list[LineDone] = []
    async with ctx.change(is_trial=query.dry_run) as change:
        ids = await _ids_by_name(change)
        for line in read:
            try:
                made = await _apply(ctx, change, line, ids, query.dry_run)
            except (Invalid, Conflict) as error:
                found = error.errors or [FieldError("name", str(error))]
                errors += [_on_line(line.number, each.path, each.reason) for each in found]
                continue
            if made is not None:
                done.append(made)
        if errors:
            errors.sort(key=lambda error: error.line or 0)
            raise Invalid(errors)
    return Imported(**import_counts(len(read), [each.action for each in done], query), changes=done)


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    fields: dict[str, Any]
    """As JSON would have them; what an empty cell leaves alone is left out."""
    id: int | None


def _read(sheet: Sheet) -> tuple[list[_Line], list[FieldError]]:
    """The lines whose cells are all good, and what is wrong with the others."""
    read: list[_Line] = []
    errors: list[FieldError] = []
    first_of: dict[str, int] = {}
    for number, cells in sheet.rows(errors):
        line, found = _read_line(number, cells)
        key = name_key(str(line.fields.get("name", "")))
        if key in first_of:
            found.append(_on_line(number, "name", f"the same name as on line {first_of[key]}"))
        elif key:
            first_of[key] = number
        if found:
            errors += found
        else:
            read.append(line)
    return read, errors


def _read_line(number: int, cells: dict[str, str]) -> tuple[_Line, list[FieldError]]:
    fields: dict[str, Any] = {}
    errors: list[FieldError] = []
    row_id = None
    for name, cell in cells.items():
        try:
            if name == "id":
                row_id = convert(cell.strip(), int, is_text=True) if cell.strip() else None
            elif name not in _TIMES:
                value = _value(name, cell)
                if value is not msgspec.UNSET:
                    fields[name] = value
        except Invalid as error:
            errors += [_on_line(number, name, each.reason) for each in error.errors]
    if not cells["name"].strip():
        errors.append(_on_line(number, "name", "empty"))
    timers = {name: fields.pop(name) for name in TIMERS if name in fields}
    if timers:
        fields["timers"] = timers
    return _Line(number=number, fields=fields, id=row_id), errors


def _value(name: str, cell: str) -> Any:
    """A cell as the field's JSON, checked by the field's own type; UNSET: the cell leaves it alone."""
    text = unguard(cell)
    plain = text.strip()
    value: Any
    if name == "tags":
        return msgspec.to_builtins(convert(_split_tags(text), tuple[Tag, ...]))
    if name == "allowed_headers":
        return msgspec.to_builtins(convert(_split_tags(text), OwnHeaders))
    if name in _TEXTS:
        value = convert(text, _TYPES[name])
    elif not plain:
        return None if name in _PLAIN or name in _NULLABLE else msgspec.UNSET
    elif name in _PLAIN:
        value = convert(plain, _TYPES[name], is_text=True)
    elif name in _FLAGS:
        value = flag_in(plain)
    else:
        value = convert(plain, _TYPES[name])
    if name in CUSTOMERS.amounts:
        amount_nanos(name, plain)
    return msgspec.to_builtins(value)


async def _ids_by_name(change: Change) -> dict[str, int]:
    c = CUSTOMERS.table.c
    found = await change.tx.execute(select(c.name_key, c.id).where(c.archived_ms.is_(None)))
    return {key: row_id for key, row_id in found}  # noqa: C416  rows are no pairs to dict()


async def _apply(ctx: Context, change: Change, line: _Line, ids: dict[str, int], is_dry_run: bool) -> LineDone | None:
    """What became of a line; None where the customer is so already."""
    row_id = ids.get(name_key(line.fields["name"]))
    if line.id is not None and line.id != row_id:
        raise Invalid([FieldError("id", f"customer {line.id} does not have this name")])
    if row_id is None:
        made = await CUSTOMERS.create_in(ctx, change, convert(line.fields, CustomerNew))
        shown_id = None if is_dry_run else made.id
        fields = given_fields(CustomerNew, line.fields)
        return LineDone(line=line.number, id=shown_id, name=made.name, action="create", fields=fields)
    before = CUSTOMERS.struct(await CUSTOMERS.row(change.tx, row_id))
    # Blanks around a name are a file's more often than a customer's.
    sent = {**line.fields, "name": before.name} if before.name.strip() == line.fields["name"] else line.fields
    after = await CUSTOMERS.update_in(ctx, change, row_id, sent)
    if after.row_version == before.row_version:
        return None
    fields = changed_fields(CustomerNew, before, after)
    return LineDone(line=line.number, id=row_id, name=after.name, action="update", fields=fields)


def _on_line(number: int, path: str, reason: str) -> FieldError:
    return FieldError(path, reason, line=number, column=path.removeprefix("timers."))


def _cells(customer: Customer) -> list[str]:
    return [_cell(getattr(customer.timers if name in TIMERS else customer, name)) for name in COLUMNS]


def _cell(value: object) -> str:
    return guard(_join_tags(value)) if isinstance(value, tuple) else cell_of(value)


def _join_tags(tags: tuple[str, ...]) -> str:
    """`gold; uk`; as JSON where a tag has what would be cut or lost."""
    text = "; ".join(tags)
    return text if _split_tags(text) == list(tags) else msgspec.json.encode(tags).decode()


def _split_tags(text: str) -> list[Any]:
    if text.startswith("["):
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(text, type=list[str])
    return [tag.strip() for tag in text.split(";") if tag.strip()]
