"""Tables of packages: the catalogue, what customers have of it, what was charged and what was given back.

Days are texts (`2027-03-01`) on the customer's calendar, so that periods keep their names when clocks or
time zones change. Charges and credits are only ever added to; their unique keys are what makes a period
charged once and a call credited once, however often somebody runs them.
"""

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


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


packages: Final = Table(
    "packages",
    METADATA,
    Column("id", BigId, primary_key=True),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    _text("description"),
    Column("currency", String(3), nullable=False),
    Column("duration", Integer),
    Column("duration_unit", String(8), nullable=False),
    _amount("cost_nanos"),
    _amount("retail_nanos"),
    _amount("setup_cost_nanos"),
    _amount("setup_retail_nanos"),
    Column("frequency", String(8), nullable=False),
    Column("day", Integer, nullable=False),
    Column("minimum_days", Integer, nullable=False, server_default="0"),
    Column("free_minutes", Integer),
    _text("free_destination"),
    Column("minimum_spend_nanos", BigInteger),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    _text("notes"),
    *_stamps(),
)
_ALIVE = packages.c.archived_ms.is_(None)
Index("uq_packages_name", packages.c.name_key, unique=True, sqlite_where=_ALIVE, postgresql_where=_ALIVE)

customer_packages: Final = Table(
    "customer_packages",
    METADATA,
    Column("id", BigId, primary_key=True),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    Column("package_id", BigInteger, ForeignKey("packages.id"), nullable=False, index=True),
    Column("quantity", Integer, nullable=False),
    Column("start", String(10), nullable=False),
    Column("end", String(10)),
    Column("auto_decrement", Boolean, nullable=False),
    _text("notes_public"),
    _text("notes_private"),
    # The catalogue as it was when this was assigned.
    Column("terms", JSON, nullable=False),
    # The first day that is not part of it any more, by `end` and the duration; null: it goes on.
    Column("until_day", String(10)),
    # First day of the period that is charged next, and of the one whose spend is judged next.
    Column("next_day", String(10), nullable=False),
    Column("spend_day", String(10), nullable=False),
    # `cdrs.number` and `ledger_entries.id` up to which free minutes were given.
    Column("free_number", BigInteger, nullable=False, server_default="0"),
    Column("free_entry_id", BigInteger, nullable=False, server_default="0"),
    *_stamps(),
)
_ASSIGNED = customer_packages.c.archived_ms.is_(None)
Index("ix_customer_packages_next", customer_packages.c.next_day, sqlite_where=_ASSIGNED, postgresql_where=_ASSIGNED)

package_charges: Final = Table(
    "package_charges",
    METADATA,
    Column("id", BigId, primary_key=True),
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
    _amount("net_nanos"),
    _amount("tax_nanos"),
    _amount("cost_nanos"),
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
    Column("id", BigId, primary_key=True),
    Column("customer_package_id", BigInteger, ForeignKey("customer_packages.id"), nullable=False),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False),
    Column("period", String(10), nullable=False),
    Column("cdr_number", BigInteger, nullable=False),
    # 0, and one more each time that the call was priced anew.
    Column("step", Integer, nullable=False),
    Column("seconds", BigInteger, nullable=False),
    _amount("net_nanos"),
    _amount("tax_nanos"),
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
