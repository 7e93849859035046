"""What can be asked for now and made later: each update of the product, by noun and action.

An operation is the service function that a route calls at once too. It is made inside somebody else's
change (`Context.within`), so that it can be tried out and taken back, and made together with the note
that it is made. Whatever it does beside its change, a mail or an answer that is shown once, is no
operation, or a field that is in `unscheduled`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

import msgspec

from control.services.context import Context
from control.services.nouns import Noun
from control.services.problems import convert
from control.store.engine import Tx

MANY: Final = 0
"""In place of a row's id: the operation itself says which rows."""

Do = Callable[[Context, int, Any, int | None], Awaitable[Any]]
"""Context, row, what was sent, and the version of `If-Match`."""
Whose = Callable[[Tx, int], Awaitable[int | None]]


async def nobodys(_tx: Tx, _row_id: int) -> int | None:
    return None


async def of_customer(_tx: Tx, row_id: int) -> int | None:
    return row_id


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    noun: str
    """As the audit names it."""
    action: str
    """`update`, `archive`, or what the audit calls the step."""
    do: Do
    body: Any = None
    """Type that `do` takes what was sent as; None: as a table of fields."""
    whose: Whose = nobodys
    """The customer that it is about; raises `NotFound` where the row is gone."""
    readable: Collection[str] | None = None
    """Fields that may be shown; the others are secrets. None: all."""
    unscheduled: tuple[str, ...] = ()
    """Fields that mean something at once alone."""

    async def make(self, ctx: Context, row_id: int, sent: dict[str, Any], expected: int | None = None) -> None:
        """Do it, inside whatever change `ctx` is within.

        Raises:
            ServiceError: as the service does.
        """
        await self.do(ctx, row_id, sent if self.body is None else convert(sent, self.body), expected)


_operations: dict[tuple[str, str], Operation] = {}


def register(operation: Operation) -> Operation:
    """Let it be found again when it is due; called for each that has a route."""
    return _operations.setdefault((operation.noun, operation.action), operation)


def find(noun: str, action: str) -> Operation | None:
    return _operations.get((noun, action))


def update_of(noun: Noun[Any, Any]) -> Operation:
    return Operation(
        noun=noun.name,
        action="update",
        do=noun.update,
        whose=_whose(noun),
        readable=noun.out.__struct_fields__,
        unscheduled=noun.unscheduled,
    )


def archive_of(noun: Noun[Any, Any]) -> Operation:
    async def archive(ctx: Context, row_id: int, _sent: Any, expected: int | None) -> None:
        await noun.archive(ctx, row_id, expected)

    return Operation(noun=noun.name, action="archive", do=archive, whose=_whose(noun))


def step_of(noun: Noun[Any, Any], action: str, do: Do, body: Any = None) -> Operation:
    """A step of one row that is neither a change of fields nor its end."""
    return Operation(noun=noun.name, action=action, do=do, body=body, whose=_whose(noun))


def many_of(
    noun: Noun[Any, Any], action: str, service: Callable[[Context, Any], Awaitable[Any]], body: Any
) -> Operation:
    """All of a selection or none of it; which rows that are is looked up when it is due."""

    async def do(ctx: Context, _row_id: int, asked: Any, _expected: int | None) -> None:
        await service(ctx, asked)

    return Operation(noun=noun.name, action=action, do=do, body=body, unscheduled=("preview",))


def _whose(noun: Noun[Any, Any]) -> Whose:
    async def whose(tx: Tx, row_id: int) -> int | None:
        row = await noun.row(tx, row_id)
        found: int | None = row_id if noun.name == "customer" else row.get("customer_id")
        return found

    return whose
