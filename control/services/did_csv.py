"""DIDs as a CSV file, out and in: what goes out comes back in and changes nothing.

A line creates the DID of its number, or changes it: columns that the file does not have stay as they
are, an empty cell empties a field that may be empty and leaves the others alone. Customers, providers
and cards stand by name. A customer where there is none yet allocates the number, and assigns it where
it has a destination; a number that has a customer keeps it. Every mistake is told, one refuses the file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final, Literal, get_type_hints

import msgspec
from sqlalchemy import Table, select
from sqlalchemy.engine import RowMapping

from control.services import did_charges
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
from control.services.did_destinations import Places, destinations_text, user_names
from control.services.did_fields import AMOUNTS, Did, DidFields, DidFilter, DidNew, DidQuery
from control.services.did_life import Allocate, Assign, allocate_in, assign_in
from control.services.dids import DIDS, with_digits
from control.services.errors import Conflict, FieldError, Invalid, invalid
from control.services.fields import amount_nanos, name_key
from control.services.memos import remembering
from control.services.problems import convert
from control.store import tables
from control.store.engine import Tx
from rating.numbers import normalise_e164

NAMED: Final[dict[str, Table]] = {
    "provider": tables.providers,
    "provider_card": tables.rate_cards,
    "customer": tables.customers,
    "customer_card": tables.rate_cards,
}
"""Columns that hold a name, of fields that hold an id."""
_INFORMATION: Final = (
    "state",
    "assigned_at",
    "cooling_off_until",
    "next_charge_on",
    "created_at",
    "updated_at",
)
"""Columns that go out, and are passed over coming in."""
COLUMNS: Final = (*(name.removesuffix("_id") for name in DidFields.__struct_fields__), *_INFORMATION)

_TYPES: Final[dict[str, Any]] = get_type_hints(DidFields, include_extras=True)
_TEXTS: Final = ("name", "description")
_NEEDS: Final = {"customer_card": "customer", "destinations": "customer", "provider_card": "provider"}
"""Columns that mean nothing where another one is bad."""
_PLACEHOLDER: Final = "999999999999999"
"""Stands for a bad number while the rest of its line is checked."""


class DidLine(msgspec.Struct, frozen=True, kw_only=True):
    line: int
    id: int | None
    """None of one that a dry run would create."""
    number: str
    action: Literal["create", "update"]
    state: str
    """After it."""
    fields: list[str]
    """That change; of a new one, those that the line gives."""


class DidImported(ImportCounts, frozen=True, kw_only=True):
    changes: list[DidLine]


async def csv_lines(ctx: Context, query: DidFilter) -> AsyncIterator[bytes]:
    """The header, then a line for each DID that matches, by number."""
    yield csv_line(COLUMNS)
    c = DIDS.table.c
    statement = DIDS.filtered(with_digits(DidQuery(**msgspec.structs.asdict(query)))).order_by(c.number)
    after = ""
    while True:
        async with ctx.store.read() as tx:
            rows = list((await tx.execute(statement.where(c.number > after).limit(PAGE_ROWS))).mappings())
            dids = [DIDS.struct(row) for row in rows]
            names = {column: await _names(tx, column, dids) for column in NAMED}
            users = await user_names(tx, {each.id for did in dids for each in did.destinations if each.id is not None})
        if dids:
            yield b"".join(csv_line(_cells(did, names, users)) for did in dids)
        if len(dids) < PAGE_ROWS:
            return
        after = dids[-1].number


async def load(ctx: Context, data: bytes, query: ImportQuery) -> DidImported:
    """Create and change DIDs by a file.

    Raises:
        Invalid: every mistake of every line, by its number and column; nothing was changed.
    """
    sheet = Sheet(data, COLUMNS, "number")
    errors: list[FieldError] = []
    done: list[DidLine] = []
    async with ctx.change(is_trial=query.dry_run) as change:
        lines = _read(sheet, await _ids(change.tx, sheet.columns), errors)
        loader = _Loader(ctx, change, await _rows(change.tx, lines))
        with remembering(change):
            async with did_charges.together(change):
                for line in lines:
                    made = await loader.load(line)
                    errors += line.errors
                    if made is not None:
                        done.append(msgspec.structs.replace(made, id=None) if _is_new(query, made) else made)
        if errors:
            errors.sort(key=lambda error: error.line or 0)
            raise Invalid(errors)
    return DidImported(**import_counts(len(lines), [each.action for each in done], query), changes=done)


def _is_new(query: ImportQuery, made: DidLine) -> bool:
    return query.dry_run and made.action == "create"


class _Line:
    """A line of the file: what it says, and what is wrong with it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.fields: dict[str, Any] = {}
        """As JSON would have them; what an empty cell leaves alone is left out."""
        self.destinations: str | None = None
        """The cell, until it is known whose endpoints and users it names."""
        self.errors: list[FieldError] = []

    def add(self, path: str, reason: str) -> None:
        column = _column(path)
        self.errors.append(FieldError(column, reason, line=self.number, column=column))

    @property
    def bad(self) -> set[str]:
        return {error.column for error in self.errors}


class _Loader:
    """Brings lines about within one change."""

    def __init__(self, ctx: Context, change: Change, rows: dict[str, RowMapping]) -> None:
        self._ctx = ctx
        self._change = change
        self._rows = rows
        self._places = Places(change.tx)

    async def load(self, line: _Line) -> DidLine | None:
        """What became of a line; None where the DID is so already, or the line is bad."""
        before = self._rows.get(line.fields.get("number", ""))
        owner_id = line.fields.get("customer_id") or (None if before is None else before["customer_id"])
        if line.destinations is not None and "customer" not in line.bad:
            try:
                line.fields["destinations"] = await self._places.read(line.destinations, owner_id)
            except Invalid as error:
                line.add("destinations", error.errors[0].reason)
        try:
            if line.errors:
                await self._check(line, before)
                return None
            return await (self._create(line) if before is None else self._change_one(line, before))
        except (Invalid, Conflict) as error:
            bad = line.bad
            for each in error.errors or [FieldError("number", str(error))]:
                column = "customer" if each.path == "state" else each.path
                if not line.errors or not bad & {_column(column), _NEEDS.get(_column(column), "")}:
                    line.add(column, each.reason)
            return None

    async def _check(self, line: _Line, before: RowMapping | None) -> None:
        """Find what else is wrong with a line that has a bad cell, which counts as not given."""
        fields = {"number": _PLACEHOLDER, **line.fields}
        if before is None:
            await DIDS.checked(self._change, convert(fields, DidNew), "free", None)
        else:
            await DIDS.checked(self._change, DIDS.merged(before, fields), before["state"], before)

    async def _create(self, line: _Line) -> DidLine:
        made = await DIDS.create_in(self._ctx, self._change, convert(line.fields, DidNew))
        return _done(line, made, "create", given_fields(DidFields, line.fields))

    async def _change_one(self, line: _Line, before: RowMapping) -> DidLine | None:
        sent = dict(line.fields)
        customer_id = sent.pop("customer_id", None)
        row = before
        is_handed_over = customer_id is not None and before["customer_id"] is None
        if is_handed_over:
            row = await allocate_in(self._change, row, Allocate(customer_id=customer_id))
        elif customer_id is not None and before["customer_id"] != customer_id:
            raise invalid("customer_id", f"{before['number']} is {before['state']} to another customer")
        await DIDS.update_in(self._ctx, self._change, row["id"], sent)
        row = await DIDS.row(self._change.tx, row["id"])
        if is_handed_over and row["destinations"]:
            row = await assign_in(self._change, row, Assign())
        if row["row_version"] == before["row_version"]:
            return None
        new = DIDS.struct(row)
        return _done(line, new, "update", changed_fields(DidFields, DIDS.struct(before), new))


def _done(line: _Line, did: Did, action: Literal["create", "update"], fields: list[str]) -> DidLine:
    return DidLine(line=line.number, id=did.id, number=did.number, action=action, state=did.state, fields=fields)


def _column(path: str) -> str:
    return path.partition("[")[0].partition(".")[0].removesuffix("_id")


def _read(sheet: Sheet, ids: dict[str, dict[str, int]], errors: list[FieldError]) -> list[_Line]:
    """The lines with whatever is wrong with their cells; what is wrong with the file goes to `errors`."""
    found: list[_Line] = []
    first_of: dict[str, int] = {}
    for number, cells in sheet.rows(errors):
        line = _Line(number)
        for column, cell in cells.items():
            if column not in _INFORMATION:
                _read_cell(line, column, unguard(cell), ids)
        digits = line.fields.get("number", "")
        if digits in first_of:
            line.add("number", f"the same number as on line {first_of[digits]}")
            # What else it says is held against no row: the first line may have made it.
            del line.fields["number"]
        elif digits:
            first_of[digits] = number
        found.append(line)
    return found


def _read_cell(line: _Line, column: str, cell: str, ids: dict[str, dict[str, int]]) -> None:
    text = cell if column in _TEXTS else cell.strip()
    field = f"{column}_id" if column in NAMED else column
    try:
        if column == "number":
            digits = normalise_e164(text)
            if digits is None:
                raise invalid("number", "no E.164 number: 7 to 15 digits with the country's code first")
            line.fields["number"] = digits
        elif column == "destinations":
            line.destinations = text
        elif column in NAMED:
            if text and name_key(text) not in ids[column]:
                raise invalid(field, f"there is no {column.replace('_', ' ').replace('card', 'rate card')} {text}")
            if text or column != "customer":
                line.fields[field] = ids[column][name_key(text)] if text else None
        elif column in _TEXTS:
            line.fields[column] = convert(text, _TYPES[column])
        elif text:
            line.fields[column] = _plain(column, text)
        elif column == "channels":
            line.fields[column] = None
    except Invalid as error:
        line.add(field, error.errors[0].reason)


def _plain(column: str, text: str) -> Any:
    if column == "enabled":
        return flag_in(text)
    value = convert(text, _TYPES[column], is_text=column == "channels")
    if column in AMOUNTS:
        amount_nanos(column, text)
    return value


async def _rows(tx: Tx, lines: list[_Line]) -> dict[str, RowMapping]:
    """The DIDs that are there, by number."""
    numbers = [line.fields["number"] for line in lines if "number" in line.fields]
    found: dict[str, RowMapping] = {}
    for at in range(0, len(numbers), PAGE_ROWS):
        c = DIDS.table.c
        query = select(DIDS.table).where(c.archived_ms.is_(None), c.number.in_(numbers[at : at + PAGE_ROWS]))
        found.update({row["number"]: row for row in (await tx.execute(query)).mappings()})
    return found


async def _ids(tx: Tx, columns: list[str]) -> dict[str, dict[str, int]]:
    """Ids by name, of each column that holds names."""
    found: dict[str, dict[str, int]] = {}
    for column, table in NAMED.items():
        if column in columns:
            query = select(table.c.name_key, table.c.id).where(table.c.archived_ms.is_(None))
            found[column] = {key: row_id for key, row_id in await tx.execute(query)}  # noqa: C416  rows are no pairs
    return found


async def _names(tx: Tx, column: str, dids: list[Did]) -> dict[int, str]:
    table = NAMED[column]
    ids = sorted({row_id for did in dids if (row_id := getattr(did, f"{column}_id")) is not None})
    query = select(table.c.id, table.c.name).where(table.c.id.in_(ids))
    return {row_id: name for row_id, name in await tx.execute(query)}  # noqa: C416  rows are no pairs to dict()


def _cells(did: Did, names: dict[str, dict[int, str]], users: dict[int, str]) -> list[str]:
    cells: list[str] = []
    for column in COLUMNS:
        if column == "destinations":
            cells.append(guard(destinations_text(did.destinations, users)))
        elif column in NAMED:
            row_id = getattr(did, f"{column}_id")
            cells.append("" if row_id is None else guard(names[column][row_id]))
        else:
            cells.append(cell_of(getattr(did, column)))
    return cells
