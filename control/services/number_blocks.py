"""Internal number blocks: ranges of numeric SIP user names that a customer has for itself.

No two blocks of the installation share a number. Where a customer has a block, its users whose names
are digits have theirs inside one; nobody else's user may have a name inside it. Names with letters are
free. A name is the number written plainly: `0100` is in no block, for it would be another name for 100.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from sqlalchemy import and_, func, or_, select
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.errors import Conflict, FieldError, Reference
from control.services.fields import Id, Label, Moment
from control.services.nouns import Noun
from control.services.owners import check_customer
from control.services.pages import ListQuery
from control.store import tables
from control.store.did_tables import number_blocks
from control.store.engine import Tx
from rating.money import is_digits

NUMBER_MAX: Final = 10**15 - 1
NAMED_MAX: Final = 100
"""References of one refusal."""

Start = Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
Size = Annotated[int, Meta(ge=1, le=10**9)]


class NumberBlockNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer_id: Id
    start: Start
    """The first number."""
    size: Size
    """How many numbers, the first one counted."""
    description: Label = ""


class NumberBlock(NumberBlockNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment
    end: int
    """The last number."""


class NumberBlockQuery(ListQuery, frozen=True, kw_only=True):
    customer_id: Id | None = None


class NumberBlocks(Noun[NumberBlockNew, NumberBlock]):
    name = "internal_number_block"
    table = number_blocks
    new = NumberBlockNew
    out = NumberBlock
    fixed = ("customer_id",)
    sorts = ("start", "id", "customer_id", "created_at", "updated_at")
    search = ("description",)

    async def check(
        self, ctx: Context, change: Change, new: NumberBlockNew, before: RowMapping | None
    ) -> dict[str, Any]:
        await check_customer(change.tx, new.customer_id)
        end = new.start + new.size - 1
        if end > NUMBER_MAX:
            detail = f"The block would end at {end}, beyond {NUMBER_MAX}."
            raise Conflict(detail, errors=[FieldError("size", detail)])
        await self._check_overlap(change.tx, new, end, before)
        blocks = [
            block
            for block in await self.rows_of(change.tx, "customer_id", new.customer_id)
            if before is None or block["id"] != before["id"]
        ]
        ranges = [(new.start, end), *((block["start"], _last(block)) for block in blocks)]
        users = [user for user in await _users_of(change.tx, new.customer_id) if is_digits(user["username"])]
        outside = [user for user in users if not _is_inside(user["username"], ranges)]
        if outside:
            names = f"{len(outside)} numeric SIP user names of the customer"
            raise _refusal(f"{names} would be outside its blocks.", "size", outside)
        between = await _users_between(change.tx, new.start, end)
        foreign = [user for user in between if user["customer_id"] != new.customer_id]
        if foreign:
            raise _refusal(f"{len(foreign)} SIP users of other customers have such names.", "start", foreign)
        return {}

    async def references(self, tx: Tx, row: RowMapping) -> list[Reference]:
        # Whoever is inside a block of a customer is the customer's own.
        return [_reference(user) for user in await _users_between(tx, row["start"], _last(row))][:NAMED_MAX]

    def shown(self, row: RowMapping) -> dict[str, Any]:
        return {"end": _last(row)}

    async def _check_overlap(self, tx: Tx, new: NumberBlockNew, end: int, before: RowMapping | None) -> None:
        customers, c = tables.customers, self.table.c
        query = (
            select(self.table, customers.c.name)
            .join(customers, customers.c.id == c.customer_id)
            .where(c.archived_ms.is_(None), c.start <= end, c.start + c.size > new.start)
            .order_by(c.start)
        )
        if before is not None:
            query = query.where(c.id != before["id"])
        other = (await tx.execute(query.limit(1))).mappings().first()
        if other is None:
            return
        detail = f"{_range_text(other)} is a block of {other['name']} already."
        raise Conflict(
            detail,
            errors=[FieldError("start", detail)],
            references=[
                Reference(self.name, str(other["id"]), _range_text(other)),
                Reference("customer", str(other["customer_id"]), other["name"]),
            ],
        )


NUMBER_BLOCKS: Final = NumberBlocks()


async def check_user_name(tx: Tx, customer_id: int, username: str) -> None:
    """Refuse a numeric SIP user name that its customer's blocks do not have, or that another customer's do.

    Raises:
        Conflict: it names the block, or the blocks.
    """
    if not is_digits(username):
        return
    customers, c = tables.customers, number_blocks.c
    blocks = (
        select(number_blocks, customers.c.name)
        .join(customers, customers.c.id == c.customer_id)
        .where(c.archived_ms.is_(None))
    )
    number = _number(username)
    if number is not None:
        taken = blocks.where(c.start <= number, c.start + c.size > number)
        block = (await tx.execute(taken)).mappings().first()
        if block is not None:
            if block["customer_id"] == customer_id:
                return
            raise _outside(f"{username} is in a block of customer {block['name']}.", [block])
    own = list((await tx.execute(blocks.where(c.customer_id == customer_id).order_by(c.start))).mappings())
    if own:
        ranges = ", ".join(_range_text(block) for block in own[:10])
        raise _outside(f"{username} is outside the customer's number blocks ({ranges}).", own)


async def _users_of(tx: Tx, customer_id: int) -> list[RowMapping]:
    users = tables.sip_users
    query = select(users).where(users.c.customer_id == customer_id, users.c.archived_ms.is_(None))
    return list((await tx.execute(query.order_by(users.c.id))).mappings())


async def _users_between(tx: Tx, first: int, last: int) -> list[RowMapping]:
    """SIP users whose names are these numbers."""
    users = tables.sip_users
    name = users.c.username
    # Among digits of one length the order of texts is that of numbers, and both databases compare texts.
    parts = [
        and_(
            func.length(name) == length,
            name >= str(max(first, 10 ** (length - 1))),
            name <= str(min(last, 10**length - 1)),
        )
        for length in range(len(str(first)), len(str(last)) + 1)
    ]
    query = select(users).where(users.c.archived_ms.is_(None), or_(*parts)).order_by(users.c.id)
    return [row for row in (await tx.execute(query)).mappings() if is_digits(row["username"])]


def _number(username: str) -> int | None:
    """What a numeric name stands for; None where no block can have it."""
    is_plain = is_digits(username) and username[0] != "0" and len(username) <= len(str(NUMBER_MAX))
    return int(username) if is_plain else None


def _is_inside(username: str, ranges: list[tuple[int, int]]) -> bool:
    number = _number(username)
    return number is not None and any(first <= number <= last for first, last in ranges)


def _last(block: RowMapping) -> int:
    return int(block["start"] + block["size"] - 1)


def _range_text(block: RowMapping) -> str:
    return f"{block['start']}-{_last(block)}"


def _reference(user: RowMapping) -> Reference:
    return Reference("sip_user", str(user["id"]), user["username"])


def _refusal(detail: str, path: str, users: list[RowMapping]) -> Conflict:
    references = [_reference(user) for user in users[:NAMED_MAX]]
    return Conflict(detail, errors=[FieldError(path, detail)], references=references)


def _outside(detail: str, blocks: list[RowMapping]) -> Conflict:
    references = [
        Reference("internal_number_block", str(block["id"]), _range_text(block)) for block in blocks[:NAMED_MAX]
    ]
    return Conflict(detail, errors=[FieldError("username", detail)], references=references)
