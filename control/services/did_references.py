"""Which DIDs point to a row: what rings, sells, buys or brings them does not go from under them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from control.services.errors import Reference
from control.store.did_tables import dids
from control.store.engine import Tx

NAMED_MAX: Final = 100
"""References of one refusal."""


async def dids_with(tx: Tx, column: str, row_id: int) -> list[Reference]:
    """DIDs with this provider or card."""
    query = select(dids.c.id, dids.c.number).where(dids.c[column] == row_id, dids.c.archived_ms.is_(None))
    found = await tx.execute(query.order_by(dids.c.id).limit(NAMED_MAX))
    return [Reference("did", str(did_id), number) for did_id, number in found]


async def dids_ringing(tx: Tx, kind: str, row: RowMapping) -> list[Reference]:
    """DIDs that ring this endpoint or SIP user: they are its customer's own."""
    query = select(dids).where(dids.c.customer_id == row["customer_id"], dids.c.archived_ms.is_(None))
    # Destinations are JSON, which SQLite and PostgreSQL search in different words: a customer's are few enough.
    return [
        Reference("did", str(did["id"]), did["number"])
        for did in (await tx.execute(query.order_by(dids.c.id))).mappings()
        if any(each["kind"] == kind and each["id"] == row["id"] for each in did["destinations"])
    ][:NAMED_MAX]
