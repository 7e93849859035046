"""Which period of a customer's minimum payment runs now: one row a customer that has such a rule and is active."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, String, Table, Text

from control.store.tables import METADATA

minimum_payment_periods: Final = Table(
    "minimum_payment_periods",
    METADATA,
    Column("customer_id", BigInteger, ForeignKey("customers.id"), primary_key=True, autoincrement=False),
    # As they were when the period began: with others it begins anew.
    Column("kind", String(16), nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("starts_ms", BigInteger, nullable=False),
    Column("ends_ms", BigInteger, nullable=False),
)
