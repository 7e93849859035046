"""Ledger entries of calls: made by SQL out of the CDRs of a batch, in the batch's own transaction.

It runs for each call, so nothing of it passes through Python a row at a time. Both ways into the
store (`control.sinks`) run these statements: the numbers before, the CDRs, the entries, the balances.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import CursorResult

from control.store.engine import Tx

LAST_NUMBERS: Final = (
    "SELECT coalesce((SELECT max(number) FROM cdrs), 0), coalesce((SELECT max(id) FROM ledger_entries), 0)"
)
"""The highest CDR and the highest entry before the batch."""


def entries_statement(mark: str) -> str:
    """Entries of the CDRs after a number; a call that cost nothing moves nothing.

    What the balance moves by is the gross amount, taken from the customer.
    """
    return (
        "INSERT INTO ledger_entries (customer_id, kind, amount_nanos, net_nanos, tax_nanos, at_ms, cdr_number)"  # noqa: S608
        " SELECT customer_id, 'call', -gross_nanos, net_nanos, tax_nanos, ended_ms, number FROM cdrs"
        f" WHERE number > {mark} AND gross_nanos <> 0 ORDER BY number"
    )


def balances_statement(mark: str) -> str:
    """Balances moved by the entries after an id."""
    return (
        "INSERT INTO accounts (customer_id, balance_nanos)"  # noqa: S608
        " SELECT customer_id, CAST(SUM(amount_nanos) AS BIGINT) FROM ledger_entries"
        f" WHERE id > {mark} GROUP BY customer_id"
        " ON CONFLICT (customer_id) DO UPDATE SET balance_nanos = accounts.balance_nanos + excluded.balance_nanos"
    )


async def last_numbers(tx: Tx) -> tuple[int, int]:
    result: CursorResult[int, int] = await tx.exec_driver_sql(LAST_NUMBERS)
    number, entry_id = result.one()
    return number, entry_id


async def insert_entries(tx: Tx, number: int, entry_id: int) -> None:
    """Entries of the CDRs that came after `last_numbers` were read in the same transaction."""
    mark = "?" if tx.dialect.name == "sqlite" else "$1"
    await tx.exec_driver_sql(entries_statement(mark), (number,))
    await tx.exec_driver_sql(balances_statement(mark), (entry_id,))
