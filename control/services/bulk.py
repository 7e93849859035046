"""The same step for many rows of one noun: all of a selection, or none of it.

A preview does the whole of it in a transaction that is then given up, so that it says what would
happen, refusals included.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Final

import msgspec
from sqlalchemy import Select
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.errors import Conflict, FieldError, Invalid, Reference, invalid
from control.services.nouns import Noun

ROWS_MAX: Final = 5_000
"""A change holds the store's only writer; so many rows take some ten seconds, for which CDRs wait in the journal."""
NAMED_MAX: Final = 100
"""Rows that an answer names; a preview is for looking at."""

Act = Callable[[Change, RowMapping], Awaitable[bool]]
"""What is done with one row; whether it changed."""
Around = Callable[[Change], AbstractAsyncContextManager[None]]


def nothing_around(_change: Change) -> AbstractAsyncContextManager[None]:
    return nullcontext()


class Selected(msgspec.Struct, frozen=True, kw_only=True):
    """Rows by id, or by the noun's own filter: one of the two."""

    noun: Noun[Any, Any]
    plural: str
    """How refusals name the rows: `customers`."""
    label: str
    """Column that names a row."""
    ids: tuple[int, ...] | None
    statement: Select[Any] | None
    """Of the filter."""
    every: Select[Any]
    """Of rows that may be named by id."""
    expected: int | None
    is_preview: bool
    place: str = ""
    """Where in the request stands what `act` complains of: `patch`."""


class Outcome(msgspec.Struct):
    matched: int = 0
    changed: int = 0
    named: list[RowMapping] = []
    """The first of those that change, as they were."""


async def each(ctx: Context, asked: Selected, act: Act, around: Around = nothing_around) -> Outcome:
    """Do it with every row of the selection, inside a block that may do part of it for all together.

    Raises:
        Conflict: some rows refuse it; they are named, and none is changed.
        Invalid: no row takes it, or the selection names rows that are not there.
    """
    done = Outcome()
    async with ctx.change(is_trial=asked.is_preview) as change:
        rows = await _rows(change, asked)
        done.matched = len(rows)
        if asked.expected is not None and done.matched != asked.expected:
            detail = f"The selection has {done.matched} {asked.plural} by now, and not {asked.expected}."
            raise Conflict(detail)
        refused: list[tuple[RowMapping, Conflict]] = []
        async with around(change):
            for row in rows:
                try:
                    is_changed = await act(change, row)
                except Conflict as error:
                    refused.append((row, error))
                    continue
                except Invalid as error:
                    where = [msgspec.structs.replace(one, path=_at(asked, one.path)) for one in error.errors]
                    raise Invalid(where) from error
                done.changed += is_changed
                if is_changed and len(done.named) < NAMED_MAX:
                    done.named.append(row)
        if refused:
            raise _refusal(asked, refused, done.matched)
    return done


async def _rows(change: Change, asked: Selected) -> list[RowMapping]:
    if (asked.ids is None) == (asked.statement is None):
        raise invalid("ids", "either ids or a filter")
    c = asked.noun.table.c
    if asked.statement is not None:
        limited = asked.statement.order_by(c.id).limit(ROWS_MAX + 1)
        rows = list((await change.tx.execute(limited)).mappings())
        if len(rows) > ROWS_MAX:
            raise invalid("filter", f"more than {ROWS_MAX} {asked.plural}")
        return rows
    found: dict[int, RowMapping] = {}
    wanted = list(dict.fromkeys(asked.ids or ()))
    # A statement takes some thousand parameters on either database.
    for at in range(0, len(wanted), 500):
        part = asked.every.where(c.id.in_(wanted[at : at + 500]))
        found.update({row["id"]: row for row in (await change.tx.execute(part)).mappings()})
    missing = [
        FieldError(f"ids[{index}]", f"there is no {asked.noun.title} {row_id}")
        for index, row_id in enumerate(asked.ids or ())
        if row_id not in found
    ]
    if missing:
        raise Invalid(missing)
    return [found[row_id] for row_id in wanted]


def _refusal(asked: Selected, refused: list[tuple[RowMapping, Conflict]], matched: int) -> Conflict:
    errors: list[FieldError] = []
    references: list[Reference] = []
    for row, error in refused[:NAMED_MAX]:
        name = row[asked.label]
        errors.append(FieldError(_at(asked, error.errors[0].path) if error.errors else "", f"{name}: {error}"))
        references += [Reference(noun=asked.noun.name, id=str(row["id"]), name=name), *error.references]
    detail = f"{len(refused)} of {matched} {asked.plural} stand in the way; nothing was changed."
    return Conflict(detail, errors=errors, references=references)


def _at(asked: Selected, path: str) -> str:
    return f"{asked.place}.{path}" if asked.place else path
