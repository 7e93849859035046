"""Tables of what clients buy and are billed for: the catalogue, purchases, and bills, which are never edited."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text

from control.store.client_tables import of_client
from control.store.columns import flag, row_id, stamps, text_column, unique_alive
from control.store.tables import METADATA

products: Final = Table(
    "products",
    METADATA,
    row_id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    # product | service
    Column("kind", String(8), nullable=False),
    text_column("description"),
    Column("currency", String(3), nullable=False),
    Column("monthly_price_nanos", BigInteger, nullable=False),
    Column("setup_price_nanos", BigInteger, nullable=False),
    Column("notice_days", Integer, nullable=False),
    flag("enabled", default=True),
    *stamps(),
)
unique_alive("uq_products_name", products, "name_key")

# The name and the prices as they were when it was bought: the catalogue may change, this does not.
purchases: Final = Table(
    "purchases",
    METADATA,
    row_id(),
    of_client(),
    Column("product_id", BigInteger, ForeignKey("products.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("monthly_price_nanos", BigInteger, nullable=False),
    Column("setup_price_nanos", BigInteger, nullable=False),
    Column("notice_days", Integer, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("start_date", String(10), nullable=False),
    # The last day that is billed.
    Column("end_date", String(10)),
    Column("cancelled_ms", BigInteger),
    text_column("notes"),
    *stamps(),
)

# One a client and month. Lines and account are JSON as they were issued; a trigger refuses UPDATE and DELETE.
client_bills: Final = Table(
    "client_bills",
    METADATA,
    row_id(),
    of_client(index=False),
    Column("month", String(7), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("billing_ref", Text, nullable=False),
    Column("billing_ref_key", Text, nullable=False),
    Column("client_name", Text, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("first_day", String(10), nullable=False),
    Column("last_day", String(10), nullable=False),
    Column("net_nanos", BigInteger, nullable=False),
    Column("tax_ppm", BigInteger, nullable=False),
    Column("tax_nanos", BigInteger, nullable=False),
    Column("total_nanos", BigInteger, nullable=False),
    Column("lines", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("issued_ms", BigInteger, nullable=False),
)
Index("uq_client_bills_month", client_bills.c.client_id, client_bills.c.month, unique=True)
Index("uq_client_bills_number", client_bills.c.number, unique=True)
Index("ix_client_bills_billing_ref_key", client_bills.c.billing_ref_key)
