"""Tables of numbers: those of ours that ring (DIDs), what they cost by the month, and ranges of internal ones."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, text

from control.store.tables import METADATA, BigId


def _stamps() -> list[Column[Any]]:
    return [
        Column("row_version", Integer, nullable=False, server_default="1"),
        Column("created_ms", BigInteger, nullable=False),
        Column("updated_ms", BigInteger, nullable=False),
        Column("archived_ms", BigInteger),
    ]


def _amount(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


number_blocks: Final = Table(
    "number_blocks",
    METADATA,
    Column("id", BigId, primary_key=True),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    Column("start", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    *_stamps(),
)
Index("ix_number_blocks_start", number_blocks.c.start)

dids: Final = Table(
    "dids",
    METADATA,
    Column("id", BigId, primary_key=True),
    # E.164 digits without a plus.
    Column("number", String(15), nullable=False),
    Column("name", Text, nullable=False, server_default=""),
    Column("description", Text, nullable=False, server_default=""),
    # free | allocated | assigned | cooling_off
    Column("state", String(12), nullable=False),
    Column("destinations", JSON, nullable=False, server_default="[]"),
    Column("order", String(8), nullable=False, server_default="serial"),
    Column("provider_id", BigInteger, ForeignKey("providers.id"), index=True),
    Column("provider_card_id", BigInteger, ForeignKey("rate_cards.id"), index=True),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), index=True),
    Column("customer_card_id", BigInteger, ForeignKey("rate_cards.id"), index=True),
    # In the provider's currency and in the customer's, by the month and once.
    _amount("cost_nanos"),
    _amount("retail_nanos"),
    _amount("setup_cost_nanos"),
    _amount("setup_retail_nanos"),
    Column("channels", Integer),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("allocated_at_ms", BigInteger),
    Column("assigned_at_ms", BigInteger),
    Column("released_at_ms", BigInteger),
    Column("cooling_off_until_ms", BigInteger),
    Column("last_customer_id", BigInteger),
    # The first day, on the customer's calendar, that is not charged yet; none while nobody has the number.
    Column("charge_from", String(10)),
    Column("charge_due_ms", BigInteger),
    # Its setup is still to be charged: the client of its customer has not begun.
    Column("is_setup_due", Boolean, nullable=False, server_default=text("false")),
    *_stamps(),
)
_ALIVE = dids.c.archived_ms.is_(None)
Index("uq_dids_number", dids.c.number, unique=True, sqlite_where=_ALIVE, postgresql_where=_ALIVE)
_IS_DUE = dids.c.charge_due_ms.is_not(None)
Index("ix_dids_charge_due", dids.c.charge_due_ms, sqlite_where=_IS_DUE, postgresql_where=_IS_DUE)
_IS_COOLING = dids.c.cooling_off_until_ms.is_not(None)
Index("ix_dids_cooling_off", dids.c.cooling_off_until_ms, sqlite_where=_IS_COOLING, postgresql_where=_IS_COOLING)

# One row a DID, customer and period that was charged: what keeps a period from being charged twice.
did_charges: Final = Table(
    "did_charges",
    METADATA,
    Column("id", BigId, primary_key=True),
    Column("did_id", BigInteger, ForeignKey("dids.id"), nullable=False),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    Column("provider_id", BigInteger),
    # month | setup
    Column("kind", String(8), nullable=False),
    # Days on the customer's calendar: from the first on, before the other.
    Column("first_day", String(10), nullable=False),
    Column("until_day", String(10), nullable=False),
    _amount("net_nanos"),
    _amount("tax_nanos"),
    _amount("cost_nanos"),
    # Of the ledger; none where nothing was to be paid.
    Column("entry_id", BigInteger),
    Column("at_ms", BigInteger, nullable=False),
)
Index(
    "uq_did_charges_period",
    did_charges.c.did_id,
    did_charges.c.customer_id,
    did_charges.c.kind,
    did_charges.c.first_day,
    unique=True,
)
