"""Tables of packages: the catalogue, what customers have of it, what was charged and what was given back.

Days are texts (`2027-03-01`) on the customer's calendar, so that periods keep their names when clocks or
time zones change. Charges and credits are only ever added to; their unique keys are what makes a period
charged once and a call credited once, however often somebody runs them.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text

from control.store.columns import flag, number, row_id, stamps, text_column
from control.store.tables import METADATA

packages: Final = Table(
    "packages",
    METADATA,
    row_id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    text_column("description"),
    Column("currency", String(3), nullable=False),
    Column("duration", Integer),
    Column("duration_unit", String(8), nullable=False),
    number("cost_nanos"),
    number("retail_nanos"),
    number("setup_cost_nanos"),
    number("setup_retail_nanos"),
    Column("frequency", String(8), nullable=False),
    Column("day", Integer, nullable=False),
    Column("minimum_days", Integer, nullable=False, server_default="0"),
    Column("free_minutes", Integer),
    text_column("free_destination"),
    Column("minimum_spend_nanos", BigInteger),
    flag("enabled", default=True),
    text_column("notes"),
    *stamps(),
)
_ALIVE = packages.c.archived_ms.is_(None)
Index("uq_packages_name", packages.c.name_key, unique=True, sqlite_where=_ALIVE, postgresql_where=_ALIVE)

customer_packages: Final = Table(
    "customer_packages",
    METADATA,
    row_id(),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    Column("package_id", BigInteger, ForeignKey("packages.id"), nullable=False, index=True),
    Column("quantity", Integer, nullable=False),
    Column("start", String(10), nullable=False),
    Column("end", String(10)),
    Column("auto_decrement", Boolean, nullable=False),
    text_column("notes_public"),
    text_column("notes_private"),
    # The catalogue as it was when this was assigned.
    Column("terms", JSON, nullable=False),
    # The first day that is not part of it any more, by `end` and the duration; null: it goes on.
    Column("until_day", String(10)),
    # First day of the period that is charged next, and of the one whose spend is judged next.
    Column("next_day", String(10), nullable=False),
    Column("spend_day", String(10), nullable=False),
    # `cdrs.number` and `ledger_entries.id` up to which free minutes were given.
    number("free_number"),
    number("free_entry_id"),
    *stamps(),
)
_ASSIGNED = customer_packages.c.archived_ms.is_(None)
Index("ix_customer_packages_next", customer_packages.c.next_day, sqlite_where=_ASSIGNED, postgresql_where=_ASSIGNED)

package_charges: Final = Table(
    "package_charges",
    METADATA,
    row_id(),
    Column("customer_package_id", BigInteger, ForeignKey("customer_packages.id"), nullable=False),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    # setup | period | spend
    Column("kind", String(8), nullable=False),
    # First day of the whole period, and of the part that is charged.
    Column("period", String(10), nullable=False),
    Column("first_day", String(10), nullable=False),
    Column("until_day", String(10), nullable=False),
    # 0, and one more for each correction because the end was moved.
    Column("step", Integer, nullable=False),
    Column("quantity", Integer, nullable=False),
    number("net_nanos"),
    number("tax_nanos"),
    number("cost_nanos"),
    Column("entry_id", BigInteger),
    Column("created_ms", BigInteger, nullable=False),
)
Index(
    "uq_package_charges_period",
    package_charges.c.customer_package_id,
    package_charges.c.kind,
    package_charges.c.period,
    package_charges.c.step,
    unique=True,
)

package_credits: Final = Table(
    "package_credits",
    METADATA,
    row_id(),
    Column("customer_package_id", BigInteger, ForeignKey("customer_packages.id"), nullable=False),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False),
    Column("period", String(10), nullable=False),
    Column("cdr_number", BigInteger, nullable=False),
    # 0, and one more each time that the call was priced anew.
    Column("step", Integer, nullable=False),
    Column("seconds", BigInteger, nullable=False),
    number("net_nanos"),
    number("tax_nanos"),
    Column("entry_id", BigInteger),
    Column("created_ms", BigInteger, nullable=False),
)
Index(
    "uq_package_credits_call",
    package_credits.c.customer_package_id,
    package_credits.c.cdr_number,
    package_credits.c.step,
    unique=True,
)
Index("ix_package_credits_cdr", package_credits.c.cdr_number)
Index("ix_package_credits_period", package_credits.c.customer_package_id, package_credits.c.period)
