"""The ledger: what moved each customer's balance, in entries that nobody edits.

A balance is the sum of its entries. Calls' entries come with their CDRs (`control.sinks`); all
others are appended here, within a change, and are in the switch's balance before the change ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec
from sqlalchemy import bindparam, insert, select, text
from sqlalchemy.engine import RowMapping

from control.services.context import Change
from control.services.errors import Conflict, NotFound, Reference
from control.store import tables
from control.store.engine import Tx
from rating.money import format_amount
from switch.frames import Entry

Kind = Literal["payment", "call", "tax", "package", "fee", "adjustment", "reversal"]
BookedKind = Literal["payment", "tax", "package", "fee", "adjustment", "reversal"]
"""Of entries that begin in the store."""

BALANCE_NANOS_MAX: Final = 8 * 10**18
"""Beyond, sums of further entries might not fit the store's 64 bits."""

_MOVE: Final = text(
    "INSERT INTO accounts (customer_id, balance_nanos) VALUES (:customer_id, :amount_nanos)"
    " ON CONFLICT (customer_id) DO UPDATE SET balance_nanos = accounts.balance_nanos + excluded.balance_nanos"
).bindparams(bindparam("customer_id"), bindparam("amount_nanos"))


class EntryNew(msgspec.Struct, frozen=True, kw_only=True):
    """One entry to be appended; see `append` for its fields."""

    customer_id: int
    kind: BookedKind
    amount_nanos: int
    net_nanos: int | None = None
    tax_nanos: int | None = None
    at_ms: int | None = None
    description: str = ""
    note: str = ""
    cdr_number: int | None = None
    payment_id: int | None = None
    reversed_id: int | None = None
    reference: str = ""


async def append(
    change: Change,
    *,
    customer_id: int,
    kind: BookedKind,
    amount_nanos: int,
    net_nanos: int | None = None,
    tax_nanos: int | None = None,
    at_ms: int | None = None,
    description: str = "",
    note: str = "",
    cdr_number: int | None = None,
    payment_id: int | None = None,
    reversed_id: int | None = None,
    reference: str = "",
) -> int:
    """Add one entry and move the balance by it; the switch has it when the change's block has ended.

    Args:
        amount_nanos: what the balance moves by: below zero takes money from the customer.
        at_ms: when it counts for statements; now where it is left out.
        description: shown to the customer; `note` to staff alone.
        cdr_number: of the CDR that it corrects (`cdrs.number`).
        reversed_id: of the entry that this one takes back; an entry is taken back once.
        reference: whatever else names its origin: a package's period, a recalculation.
    Returns:
        The entry's id; ids rise in the order of commits.
    Raises:
        Conflict: the balance would pass what the store can count.
    """
    entry = EntryNew(
        customer_id=customer_id,
        kind=kind,
        amount_nanos=amount_nanos,
        net_nanos=net_nanos,
        tax_nanos=tax_nanos,
        at_ms=at_ms,
        description=description,
        note=note,
        cdr_number=cdr_number,
        payment_id=payment_id,
        reversed_id=reversed_id,
        reference=reference,
    )
    return (await append_all(change, [entry]))[0]


async def append_all(change: Change, entries: Sequence[EntryNew]) -> list[int]:
    """The same for many at once, at a fraction of the cost of each; their ids, in their order."""
    if not entries:
        return []
    moved: dict[int, int] = {}
    for entry in entries:
        moved[entry.customer_id] = moved.get(entry.customer_id, 0) + entry.amount_nanos
    for customer_id, amount_nanos in moved.items():
        after = await balance_of(change.tx, customer_id) + amount_nanos
        if abs(after) > BALANCE_NANOS_MAX:
            raise Conflict(f"The balance would be {format_amount(after)}: beyond what can be counted.")
    table = tables.ledger_entries
    rows = [
        {
            **msgspec.structs.asdict(entry),
            "at_ms": change.now_ms if entry.at_ms is None else entry.at_ms,
            "actor": change.actor.name,
        }
        for entry in entries
    ]
    made = await change.tx.execute(insert(table).returning(table.c.id, sort_by_parameter_order=True), rows)
    ids = list(made.scalars())
    await change.tx.execute(
        _MOVE, [{"customer_id": customer_id, "amount_nanos": amount} for customer_id, amount in moved.items()]
    )
    for entry_id, entry in zip(ids, entries, strict=True):
        change.entries.append(Entry(entry_id, entry.customer_id, entry.amount_nanos))
    return ids


async def reverse(change: Change, entry_id: int, *, description: str = "", note: str = "") -> int:
    """Take an entry back by another one of the opposite amount; the new entry's id.

    Raises:
        NotFound: there is no such entry.
        Conflict: it was taken back before, is a reversal itself, or is a call's, which
            an adjustment corrects.
    """
    row = await entry_row(change.tx, entry_id)
    if row["kind"] in ("call", "reversal"):
        raise Conflict(f"A {row['kind']} is not taken back; an adjustment corrects it.")
    entries = tables.ledger_entries
    taken_back = select(entries.c.id).where(entries.c.reversed_id == entry_id)
    other = (await change.tx.execute(taken_back)).scalar_one_or_none()
    if other is not None:
        references = [Reference(noun="ledger_entry", id=str(other))]
        raise Conflict("It was taken back before.", references=references)
    return await append(
        change,
        customer_id=row["customer_id"],
        kind="reversal",
        amount_nanos=-row["amount_nanos"],
        net_nanos=None if row["net_nanos"] is None else -row["net_nanos"],
        tax_nanos=None if row["tax_nanos"] is None else -row["tax_nanos"],
        description=description,
        note=note,
        cdr_number=row["cdr_number"],
        payment_id=row["payment_id"],
        reversed_id=entry_id,
        reference=row["reference"],
    )


async def balance_of(tx: Tx, customer_id: int) -> int:
    """Nano-units, as the store has them: calls that were not read from the journal yet are missing."""
    accounts = tables.accounts
    query = select(accounts.c.balance_nanos).where(accounts.c.customer_id == customer_id)
    return (await tx.execute(query)).scalar_one_or_none() or 0


async def entry_row(tx: Tx, entry_id: int) -> RowMapping:
    query = select(tables.ledger_entries).where(tables.ledger_entries.c.id == entry_id)
    row = (await tx.execute(query)).mappings().first()
    if row is None:
        raise NotFound("ledger_entry", entry_id)
    return row
