"""Sums of calls by step and group, as the database adds them up from minutes and quarters of an hour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import ColumnElement, Select, Table, case, func, literal, literal_column, select

from control.services.errors import invalid
from control.services.time_slots import UNITS, Piece, Slot, Step, pieces, slot_of
from control.store import tables
from control.store.engine import Tx
from control.store.rollup_tables import (
    SUMS,
    load_peaks,
)

ROWS_MAX: Final = 20_000
"""Of one answer."""
_BY_SLOT: Final[tuple[ColumnElement[Any], ...]] = (literal_column("piece"), literal_column("slot"))
"""By their names: an expression with parameters is not the same one twice to PostgreSQL."""
Key = tuple[Slot, str | None, str]
"""Step, group and currency."""


class Asked(msgspec.Struct, frozen=True):
    """A query with all that it leaves open filled in."""

    table: Table
    column: ColumnElement[Any] | None
    where: tuple[ColumnElement[bool], ...]
    owner: tuple[Literal["customer", "provider"], int] | None
    """Whose peaks go with the rows; id 0 is all."""
    step: Step | None
    start_ms: int
    end_ms: int
    time_zone: str


async def is_complete(tx: Tx) -> bool:
    state = tables.METADATA.tables["rollup_state"].c
    return bool((await tx.execute(select(state.cursor_number >= state.upto_number))).scalar_one())


def _within(query: Select[Any], asked: Asked) -> Select[Any]:
    table = asked.table
    owner = table.primary_key.columns[0]
    owners = tables.providers.c.id if owner.name == "provider_id" else tables.customers.c.id
    # Rows stand by owner and then by time: owner after owner, each begins where it should.
    query = query.select_from(table).where(table.c.at_ms >= asked.start_ms, table.c.at_ms < asked.end_ms, *asked.where)
    if any(owner is part for condition in asked.where for part in condition.get_children()):
        return query
    return query.where(owner.in_(select(owners)))


async def read_rows(tx: Tx, asked: Asked, limit: int) -> tuple[dict[Key, dict[str, Any]], bool]:
    """Sums of the groups with the most attempts, and whether there are more than `limit` of them.

    Raises:
        Invalid: more rows than one answer holds.
    """
    where, is_cut = asked.where, False
    if asked.column is not None:
        most = func.sum(asked.table.c.attempts)
        query = _within(select(asked.column, most), asked).group_by(asked.column).order_by(most.desc(), asked.column)
        keys = [row[0] for row in await tx.execute(query.limit(limit + 1))]
        is_cut = len(keys) > limit
        where = (*where, asked.column.in_(keys[:limit]))
    found = await read_sums(tx, msgspec.structs.replace(asked, where=where))
    if len(found) > ROWS_MAX:
        raise invalid("limit", f"more than {ROWS_MAX} rows; ask for fewer groups or for longer steps")
    return found, is_cut


async def read_sums(tx: Tx, asked: Asked) -> dict[Key, dict[str, Any]]:
    """Sums by step, group and currency; `codes` are attempts by status."""
    table = asked.table
    found_pieces = pieces(asked.time_zone, asked.start_ms, asked.end_ms)
    piece, number = _slot_columns(table.c.at_ms, asked, found_pieces)
    names = SUMS[table.name]
    status = table.c.status if "status" in table.c else literal(None)
    group = literal(None) if asked.column is None else asked.column
    keys = [piece.label("piece"), number.label("slot"), group.label("grouped"), table.c.currency, status.label("code")]
    query = _within(select(*keys, *(func.sum(table.c[name]).label(name) for name in names)), asked)
    grouped = [*_BY_SLOT, *(part for part in (asked.column, table.c.currency) if part is not None)]
    if "status" in table.c:
        grouped.append(table.c.status)
    found: dict[Key, dict[str, Any]] = {}
    slots: dict[tuple[int, int], Slot] = {}
    for row in (await tx.execute(query.group_by(*grouped))).mappings():
        place = (int(row["piece"]), int(row["slot"]))
        if place not in slots:
            slots[place] = _slot(asked, found_pieces[place[0]], place[1])
        key = (slots[place], None if row["grouped"] is None else str(row["grouped"]), row["currency"])
        sums = found.setdefault(key, {**dict.fromkeys(names, 0), "codes": {}})
        for name in names:
            sums[name] += int(row[name])
        if row["code"] is not None and row["attempts"]:
            sums["codes"][str(row["code"])] = sums["codes"].get(str(row["code"]), 0) + int(row["attempts"])
    return found


def _slot_columns(
    at: ColumnElement[Any], asked: Asked, found: Sequence[Piece]
) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Which piece of time a row is in, and which step of it, for the database to group by."""
    if asked.step is None:
        return literal(0), literal(0)
    unit = UNITS[asked.step]
    place: ColumnElement[Any] = literal(0)
    offset: ColumnElement[Any] = literal(found[0].offset_ms)
    if len(found) > 1:
        later = list(enumerate(found))[:0:-1]
        place = case(*((at >= piece.start_ms, literal(n)) for n, piece in later), else_=place)
        offset = case(*((at >= piece.start_ms, literal(piece.offset_ms)) for _, piece in later), else_=offset)
    return place, (at + offset) // literal(unit)


def _slot(asked: Asked, piece: Piece, number: int) -> Slot:
    if asked.step is None:
        return Slot(asked.start_ms, asked.end_ms)
    return slot_of(asked.step, asked.time_zone, piece, number, asked.start_ms, asked.end_ms)


async def read_peaks(
    tx: Tx, asked: Asked, found: dict[Key, dict[str, Any]]
) -> dict[tuple[Slot, str | None], tuple[int, int]]:
    """Most channels and CPS of each row that has somebody who was watched."""
    if asked.owner is None or not found:
        return {}
    c = load_peaks.c
    owner, owner_id = asked.owner
    found_pieces = pieces(asked.time_zone, asked.start_ms, asked.end_ms)
    piece, number = _slot_columns(c.at_ms, asked, found_pieces)
    ids = [owner_id] if asked.column is None else sorted({int(key or 0) for _, key, _ in found})
    statement = select(
        *(piece.label("piece"), number.label("slot"), c.owner_id),
        *(func.max(c.channels).label("channels"), func.max(c.cps).label("cps")),
    ).where(c.owner == owner, c.owner_id.in_(ids), c.at_ms >= asked.start_ms, c.at_ms < asked.end_ms)
    peaks: dict[tuple[Slot, str | None], tuple[int, int]] = {}
    for row in (await tx.execute(statement.group_by(*_BY_SLOT, c.owner_id))).mappings():
        slot = _slot(asked, found_pieces[int(row["piece"])], int(row["slot"]))
        place = (slot, None if asked.column is None else str(row["owner_id"]))
        channels, cps = peaks.get(place, (0, 0))
        peaks[place] = max(channels, row["channels"]), max(cps, row["cps"])
    return peaks
