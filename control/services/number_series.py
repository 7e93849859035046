"""Numbers without gaps: each is drawn in the transaction that uses it, and goes back with it where that fails."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import insert, update

from control.services.context import Change
from control.store.invoice_tables import number_series

Series = Literal["invoice", "credit_note"]


async def draw(change: Change, series: Series, prefix: str, digits: int) -> tuple[int, str]:
    """The next number of a series, and how it is written.

    Changes are made one at a time (`context.lock_changes`), so the numbers are in the order of the commits.
    """
    c = number_series.c
    taken = update(number_series).where(c.name == series).values(next=c.next + 1).returning(c.next)
    following = (await change.tx.execute(taken)).scalar_one_or_none()
    if following is None:
        await change.tx.execute(insert(number_series).values(name=series, next=2))
        following = 2
    serial = following - 1
    return serial, f"{prefix}{serial:0{digits}d}"
