"""What all rows of configuration have in common: create, read, list, change and archive.

A noun is a table, the struct that a client may write (`new`), and the struct that it reads (`out`:
the same fields, with `id`, `row_version` for `If-Match`, `created_at` and `updated_at`). A change
decodes the row as it would be after it as a whole `new`, so that creating and patching go by one
set of rules.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, Generic, TypeVar

import msgspec
from sqlalchemy import Select, Table, bindparam, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from control.services.context import Change, Context
from control.services.errors import Conflict, FieldError, LostRace, NotFound, Reference, invalid
from control.services.fields import (
    ROW_ID_MAX,
    amount_nanos,
    check_name,
    moment_ms,
    moment_or_none,
    ms_moment,
    name_key,
    percent_ppm,
    percent_text,
)
from control.services.outbox import Event, emit
from control.services.pages import ListQuery, Page, filter_rows, read_page
from control.services.problems import convert
from control.store.engine import Tx
from rating.money import format_amount
from switch.snapshot import Key, Record

NewT = TypeVar("NewT", bound=msgspec.Struct)
OutT = TypeVar("OutT", bound=msgspec.Struct)

TIMERS: Final = ("first_reply_ms", "pdd_ms", "ring_ms")

_ROW: Final = "row"
"""Parameter of the statements below; no column is called so."""


# One statement each for all rows of a table: making one takes longer than the database does with it, and
# files and selections bring thousands.
@cache
def _insert(table: Table) -> ReturningInsert[Any]:
    return insert(table).returning(table)


@cache
def _update(table: Table) -> ReturningUpdate[Any]:
    return update(table).where(table.c.id == bindparam(_ROW)).returning(table)


@cache
def _select(table: Table) -> Select[Any]:
    """One row that is not archived."""
    return select(table).where(table.c.id == bindparam(_ROW), table.c.archived_ms.is_(None))


class Noun(Generic[NewT, OutT]):
    """One kind of row. Subclasses name its parts and add its rules in the `check…` hooks."""

    name: str
    table: Table
    new: type[NewT]
    out: type[OutT]
    amounts: tuple[str, ...] = ()
    """Fields that are decimal strings outside and `…_nanos` in the table."""
    moments: tuple[str, ...] = ()
    """Fields that are times outside and `…_ms` in the table."""
    fixed: tuple[str, ...] = ()
    """Fields that never change after creation: 409."""
    sorts: tuple[str, ...] = ("id", "created_at", "updated_at")
    search: tuple[str, ...] = ()
    unscheduled: tuple[str, ...] = ()
    """Fields that do something at once, and so cannot be set later."""
    event: Event | None = None
    """Emitted at each change of a row, where others may want to hear of it."""

    # --- hooks

    async def check(self, ctx: Context, change: Change, new: NewT, before: RowMapping | None) -> dict[str, Any]:
        """Refuse what breaks the noun's rules; what is returned is written beside the fields.

        `before` is the row as it was, None where it is created.
        """
        return {}

    async def references(self, tx: Tx, row: RowMapping) -> list[Reference]:
        """What would point to nothing if this row went."""
        return []

    def event_customer(self, row: RowMapping) -> int | None:
        """Whose event a change of this row is."""
        found: int | None = row.get("customer_id")
        return found

    async def archive_owned(self, change: Change, row: RowMapping) -> None:
        """Archive what belongs to the row alone and goes with it."""

    async def record(self, tx: Tx, row: RowMapping) -> Record | None:
        """The switch's record of this row; None for what calls never ask about."""
        return None

    def shown(self, row: RowMapping) -> dict[str, Any]:
        """Fields of `out` that no column has."""
        return {}

    @property
    def answer(self) -> Any:
        """What clients read: `out`, or more than it where `answers` adds what no row has."""
        return self.out

    async def answers(self, ctx: Context, rows: list[OutT]) -> list[Any]:
        """Each as `answer`. It is no part of the audit, which says what was written."""
        return list(rows)

    # --- what callers use

    async def create(self, ctx: Context, new: NewT) -> OutT:
        async with ctx.change() as change:
            return await self.create_in(ctx, change, new)

    async def create_in(self, ctx: Context, change: Change, new: NewT, **more: Any) -> OutT:
        """Create inside a change that does more than that; `more` are columns that no field gives."""
        values = {**self.columns(new), **more, **await self.check(ctx, change, new, None)}
        stamps = {"created_ms": change.now_ms, "updated_ms": change.now_ms}
        row = (await change.tx.execute(_insert(self.table), {**values, **stamps})).mappings().one()
        return await self._announce(change, "create", None, row)

    async def get(self, ctx: Context, row_id: int) -> OutT:
        async with ctx.store.read() as tx:
            return self.struct(await self.row(tx, row_id))

    async def page(self, ctx: Context, query: ListQuery) -> Page[OutT]:
        async with ctx.store.read() as tx:
            statement = self.filtered(query)
            rows, next_cursor = await read_page(tx, self.table, statement, query, self.sorts)
        return Page(items=[self.struct(row) for row in rows], next_cursor=next_cursor)

    async def update(self, ctx: Context, row_id: int, sent: dict[str, Any], expected: int | None = None) -> OutT:
        """Change the fields in `sent` and no other.

        `expected` is the version that the caller has read (`If-Match`); without it the last
        writer wins. A `row_version` among the fields does the same, as 409 instead of 412.
        """
        async with ctx.change() as change:
            return await self.update_in(ctx, change, row_id, sent, expected)

    async def update_in(
        self, ctx: Context, change: Change, row_id: int, sent: dict[str, Any], expected: int | None = None
    ) -> OutT:
        before = await self.row(change.tx, row_id)
        sent = self._checked_version(before, sent, expected)
        new = self.merged(before, sent)
        more = await self.check(ctx, change, new, before)
        values = {**self.columns(new), **more}
        if all(before[name] == value for name, value in values.items()):
            return self.struct(before)
        row = await self.write(change, before, values)
        return await self._announce(change, "update", before, row)

    async def archive(self, ctx: Context, row_id: int, expected: int | None = None) -> None:
        """Take the row out of lists and out of the switch, with what belongs to it.

        Raises:
            Conflict: something else refers to it; the references are named.
        """
        async with ctx.change() as change:
            await self.archive_in(change, row_id, expected)

    async def archive_in(self, change: Change, row_id: int, expected: int | None = None) -> None:
        row = await self.row(change.tx, row_id)
        self._checked_version(row, {}, expected)
        references = await self.references(change.tx, row)
        if references:
            raise Conflict(f"The {self.title} is in use.", references=references)
        await self.archive_owned(change, row)
        await self.write(change, row, {"archived_ms": change.now_ms})
        gone = self.struct(row)
        await change.audit("archive", self.name, row_id, before=gone)
        if self.event is not None:
            await emit(change, self.event, self._told("archive", gone, gone), customer_id=self.event_customer(row))
        record = await self.record(change.tx, row)
        if record is not None:
            change.remove.append(Key(kind=self.name, id=row_id))

    async def write(self, change: Change, before: RowMapping, values: dict[str, Any]) -> RowMapping:
        """Write columns and count the version up; the row that comes back may be archived."""
        row_id = before["id"]
        stamped = {**values, "row_version": before["row_version"] + 1, "updated_ms": change.now_ms}
        row: RowMapping = (await change.tx.execute(_update(self.table), {**stamped, _ROW: row_id})).mappings().one()
        return row

    async def row(self, tx: Tx, row_id: int) -> RowMapping:
        """One row that is not archived, or `NotFound`."""
        found: RowMapping | None = None
        if 0 < row_id <= ROW_ID_MAX:
            found = (await tx.execute(_select(self.table), {_ROW: row_id})).mappings().first()
        if found is None:
            raise NotFound(self.name, row_id)
        return found

    async def rows_of(self, tx: Tx, column: str, value: object) -> list[RowMapping]:
        alive = self.table.c.archived_ms.is_(None)
        query = select(self.table).where(self.table.c[column] == value, alive).order_by(self.table.c.id)
        return list((await tx.execute(query)).mappings())

    async def check_unique(self, tx: Tx, before: RowMapping | None, path: str, detail: str, **columns: object) -> None:
        """Refuse a value that another row has; `columns` are what must differ together."""
        query = select(self.table).where(self.table.c.archived_ms.is_(None))
        for name, value in columns.items():
            query = query.where(self.table.c[name] == value)
        if before is not None:
            query = query.where(self.table.c.id != before["id"])
        other = (await tx.execute(query.limit(1))).mappings().first()
        if other is not None:
            reference = Reference(noun=self.name, id=str(other["id"]), name=other.get("name") or "")
            raise Conflict(detail, errors=[FieldError(path, detail)], references=[reference])

    # --- rows and structs

    @property
    def title(self) -> str:
        return self.name.replace("_", " ")

    def filtered(self, query: ListQuery) -> Any:
        return filter_rows(self.table, query, self.search)

    def columns(self, new: NewT) -> dict[str, Any]:
        """The struct's fields as columns."""
        values: dict[str, Any] = {}
        for name in new.__struct_fields__:
            value = getattr(new, name)
            if name in self.amounts:
                values[f"{name}_nanos"] = None if value is None else amount_nanos(name, value)
            elif name in self.moments:
                values[f"{name}_ms"] = None if value is None else moment_ms(name, value)
            elif name == "tax_percent":
                values["tax_ppm"] = percent_ppm(name, value)
            elif name == "timers":
                values.update({timer: getattr(value, timer) for timer in TIMERS})
            elif name == "name" and "name_key" in self.table.c:
                check_name(name, value)
                values.update(name=value, name_key=name_key(value))
            elif name in self.table.c:
                plain = msgspec.to_builtins(value, str_keys=True)
                values[name] = list(plain) if isinstance(plain, tuple) else plain
        return values

    def struct(self, row: RowMapping) -> OutT:
        """The row as clients read it."""
        values = self._fields(row, self.out)
        values.update(
            id=row["id"],
            row_version=row["row_version"],
            created_at=ms_moment(row["created_ms"]),
            updated_at=ms_moment(row["updated_ms"]),
            **self.shown(row),
        )
        return msgspec.convert(values, self.out, str_keys=True)

    def merged(self, before: RowMapping, sent: dict[str, Any]) -> NewT:
        """The row with the fields of `sent` instead of its own, as a `new` that may be checked."""
        for name in self.fixed:
            if name in sent and sent[name] != self._fields(before, self.new).get(name):
                detail = f"{name} cannot be changed after creation."
                raise Conflict(detail, errors=[FieldError(name, detail)])
        values = self._fields(before, self.new)
        for name, value in sent.items():
            old = values.get(name)
            # A group of fields is patched field by field, as the row is; lists and tables are replaced.
            values[name] = {**old, **value} if name == "timers" and isinstance(value, dict) and old else value
        return convert(values, self.new)

    def _fields(self, row: RowMapping, kind: type[msgspec.Struct]) -> dict[str, Any]:
        """The columns of a row as the fields of a struct, in plain values."""
        values: dict[str, Any] = {}
        for name in kind.__struct_fields__:
            if name in self.amounts:
                nanos = row[f"{name}_nanos"]
                values[name] = None if nanos is None else format_amount(nanos)
            elif name in self.moments:
                ms = row[f"{name}_ms"]
                values[name] = moment_or_none(ms)
            elif name == "tax_percent":
                values[name] = percent_text(row["tax_ppm"])
            elif name == "timers":
                values[name] = {timer: row[timer] for timer in TIMERS}
            elif name in row:
                values[name] = row[name]
        return values

    async def _announce(self, change: Change, action: str, before: RowMapping | None, row: RowMapping) -> OutT:
        """Audit what became of a row, and hand its record to the switch."""
        out = self.struct(row)
        old = None if before is None else self.struct(before)
        await change.audit(action, self.name, row["id"], before=old, after=out)
        if self.event is not None:
            await emit(change, self.event, self._told(action, old, out), customer_id=self.event_customer(row))
        record = await self.record(change.tx, row)
        if record is not None:
            change.put.append(record)
        return out

    def _told(self, action: str, old: OutT | None, out: OutT) -> dict[str, Any]:
        """What an event says of a change: which fields, and never what stands in them but the status."""
        of_every_change = ("row_version", "updated_at")
        changed = [
            name
            for name in out.__struct_fields__
            if name not in of_every_change and (old is None or getattr(old, name) != getattr(out, name))
        ]
        told: dict[str, Any] = {"id": out.id, "action": action, "row_version": out.row_version}  # type: ignore[attr-defined]
        if "status" in out.__struct_fields__:
            told["status"] = out.status  # type: ignore[attr-defined]
        return {**told, "changed": changed}

    def _checked_version(self, row: RowMapping, sent: dict[str, Any], expected: int | None) -> dict[str, Any]:
        current = row["row_version"]
        if expected is not None and expected != current:
            raise LostRace(expected, current, is_precondition=True)
        if "row_version" not in sent:
            return sent
        read = sent["row_version"]
        if not isinstance(read, int) or isinstance(read, bool):
            raise invalid("row_version", "expected a whole number")
        if read != current:
            raise LostRace(read, current, is_precondition=False)
        return {name: value for name, value in sent.items() if name != "row_version"}
