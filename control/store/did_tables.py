"""Tables of numbers: those of ours that ring (DIDs), what they cost by the month, and ranges of internal ones."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table

from control.store.columns import flag, json_list, number, row_id, stamps, text_column
from control.store.tables import METADATA

number_blocks: Final = Table(
    "number_blocks",
    METADATA,
    row_id(),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    Column("start", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    text_column("description"),
    *stamps(),
)
Index("ix_number_blocks_start", number_blocks.c.start)

dids: Final = Table(
    "dids",
    METADATA,
    row_id(),
    # E.164 digits without a plus.
    Column("number", String(15), nullable=False),
    text_column("name"),
    text_column("description"),
    # free | allocated | assigned | cooling_off
    Column("state", String(12), nullable=False),
    json_list("destinations"),
    Column("order", String(8), nullable=False, server_default="serial"),
    Column("provider_id", BigInteger, ForeignKey("providers.id"), index=True),
    Column("provider_card_id", BigInteger, ForeignKey("rate_cards.id"), index=True),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), index=True),
    Column("customer_card_id", BigInteger, ForeignKey("rate_cards.id"), index=True),
    # In the provider's currency and in the customer's, by the month and once.
    number("cost_nanos"),
    number("retail_nanos"),
    number("setup_cost_nanos"),
    number("setup_retail_nanos"),
    Column("channels", Integer),
    flag("enabled", default=True),
    Column("allocated_at_ms", BigInteger),
    Column("assigned_at_ms", BigInteger),
    Column("released_at_ms", BigInteger),
    Column("cooling_off_until_ms", BigInteger),
    Column("last_customer_id", BigInteger),
    # The first day, on the customer's calendar, that is not charged yet; none while nobody has the number.
    Column("charge_from", String(10)),
    Column("charge_due_ms", BigInteger),
    # Its setup is still to be charged: the client of its customer has not begun.
    flag("is_setup_due", default=False),
    *stamps(),
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
    row_id(),
    Column("did_id", BigInteger, ForeignKey("dids.id"), nullable=False),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    Column("provider_id", BigInteger),
    # month | setup
    Column("kind", String(8), nullable=False),
    # Days on the customer's calendar: from the first on, before the other.
    Column("first_day", String(10), nullable=False),
    Column("until_day", String(10), nullable=False),
    number("net_nanos"),
    number("tax_nanos"),
    number("cost_nanos"),
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
