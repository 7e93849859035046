"""That a row which a field points to is there."""

from __future__ import annotations

from sqlalchemy import Table, select
from sqlalchemy.engine import RowMapping

from control.services.errors import invalid
from control.store import tables
from control.store.engine import Tx


async def check_customer(tx: Tx, customer_id: int) -> RowMapping:
    return await require(tx, tables.customers, "customer_id", "customer", customer_id)


async def require(tx: Tx, table: Table, path: str, noun: str, row_id: int) -> RowMapping:
    """The row that a field names, or `Invalid` for the field."""
    query = select(table).where(table.c.id == row_id, table.c.archived_ms.is_(None))
    row = (await tx.execute(query)).mappings().first()
    if row is None:
        raise invalid(path, f"there is no {noun} {row_id}")
    return row
