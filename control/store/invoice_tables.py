"""Tables of invoices: who is sent them, they themselves, what was paid on them, what was taken back of them.

An invoice says what the ledger holds and moves nothing. Those of a customer are a chain: each has the
entries that count before its end and that the one before has not, told by two entry ids. So an entry that
arrives late is on the next one, and none is on two.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text, text

from control.store.columns import flag, json_list, number, row_id, stamps, text_column
from control.store.tables import METADATA

# The next number of each series: moved in the transaction that gives it away, so that none is left out.
number_series: Final = Table(
    "number_series",
    METADATA,
    Column("name", String(20), primary_key=True),
    Column("next", BigInteger, nullable=False),
)

invoice_profiles: Final = Table(
    "invoice_profiles",
    METADATA,
    Column("customer_id", BigInteger, ForeignKey("customers.id"), primary_key=True, autoincrement=False),
    # never | daily | weekly | monthly
    Column("frequency", String(8), nullable=False),
    Column("day", Integer, nullable=False),
    # First day of the first period that is invoiced by itself.
    Column("since_day", String(10)),
    Column("due_days", Integer),
    flag("auto_issue", default=True),
    flag("send_mail", default=True),
    flag("auto_allocate", default=True),
    json_list("recipients"),
    text_column("billing_name"),
    text_column("billing_address"),
    text_column("tax_id"),
    text_column("reference"),
    Column("row_version", Integer, nullable=False, server_default="1"),
    Column("updated_ms", BigInteger, nullable=False),
)

invoices: Final = Table(
    "invoices",
    METADATA,
    row_id(),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    # draft | issued
    Column("status", String(8), nullable=False),
    Column("number", Text),
    Column("serial", BigInteger),
    Column("currency", String(3), nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("from_day", String(10), nullable=False),
    Column("until_day", String(10), nullable=False),
    Column("starts_ms", BigInteger, nullable=False),
    Column("ends_ms", BigInteger, nullable=False),
    # Entries up to the first were on the invoice before, those up to the second are on this one.
    Column("after_entry_id", BigInteger, nullable=False),
    Column("upto_entry_id", BigInteger, nullable=False),
    number("opening_nanos"),
    number("net_nanos"),
    number("tax_nanos"),
    number("gross_nanos"),
    # Gross, rounded to what the currency is paid in.
    number("total_nanos"),
    number("payments_nanos"),
    number("closing_nanos"),
    # Sums of credit notes and of allocations in force, moved with them.
    number("credited_nanos"),
    number("paid_nanos"),
    Column("due_days", Integer, nullable=False),
    Column("due_day", String(10)),
    Column("due_ms", BigInteger),
    Column("issued_ms", BigInteger),
    Column("issued_day", String(10)),
    Column("settled_ms", BigInteger),
    Column("overdue_ms", BigInteger),
    Column("seller", JSON, nullable=False, server_default="{}"),
    Column("buyer", JSON, nullable=False, server_default="{}"),
    text_column("created_by"),
    *stamps(),
)
_ALIVE: Final = text("archived_ms IS NULL")
_IS_DRAFT: Final = text("status = 'draft' AND archived_ms IS NULL")
_IS_ISSUED: Final = text("serial IS NOT NULL")
for _name, _columns, _where in (
    ("serial", (invoices.c.serial,), _IS_ISSUED),
    ("number", (invoices.c.number,), _IS_ISSUED),
    ("draft", (invoices.c.customer_id,), _IS_DRAFT),
    ("start", (invoices.c.customer_id, invoices.c.starts_ms), _ALIVE),
):
    Index(f"uq_invoices_{_name}", *_columns, unique=True, sqlite_where=_where, postgresql_where=_where)

invoice_lines: Final = Table(
    "invoice_lines",
    METADATA,
    row_id(),
    Column("invoice_id", BigInteger, ForeignKey("invoices.id"), nullable=False),
    Column("position", Integer, nullable=False),
    # call | package | fee | adjustment: charges. payment | credit: what was paid or credited meanwhile.
    Column("section", String(12), nullable=False),
    text_column("description"),
    text_column("prefix"),
    Column("count", BigInteger, nullable=False),
    Column("seconds", BigInteger, nullable=False),
    Column("tax_ppm", BigInteger, nullable=False),
    number("net_nanos"),
    number("tax_nanos"),
    number("gross_nanos"),
)
Index("uq_invoice_lines_position", invoice_lines.c.invoice_id, invoice_lines.c.position, unique=True)

payment_allocations: Final = Table(
    "payment_allocations",
    METADATA,
    row_id(),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    Column("payment_id", BigInteger, ForeignKey("payments.id"), nullable=False, index=True),
    Column("invoice_id", BigInteger, ForeignKey("invoices.id"), nullable=False, index=True),
    Column("amount_nanos", BigInteger, nullable=False),
    flag("is_automatic", default=False),
    text_column("created_by"),
    Column("created_ms", BigInteger, nullable=False),
    Column("released_ms", BigInteger),
    text_column("released_by"),
)

credit_notes: Final = Table(
    "credit_notes",
    METADATA,
    row_id(),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    Column("invoice_id", BigInteger, ForeignKey("invoices.id"), nullable=False, index=True),
    Column("number", Text, nullable=False),
    Column("serial", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    text_column("reason"),
    text_column("note"),
    Column("tax_ppm", BigInteger, nullable=False),
    number("net_nanos"),
    number("tax_nanos"),
    number("gross_nanos"),
    Column("entry_id", BigInteger, nullable=False),
    Column("seller", JSON, nullable=False, server_default="{}"),
    Column("buyer", JSON, nullable=False, server_default="{}"),
    Column("issued_day", String(10), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    text_column("created_by"),
)
Index("uq_credit_notes_serial", credit_notes.c.serial, unique=True)
Index("uq_credit_notes_number", credit_notes.c.number, unique=True)

# Rendered once: what was sent is what is downloaded for ever.
documents: Final = Table(
    "documents",
    METADATA,
    # invoice | credit_note
    Column("kind", String(12), primary_key=True),
    Column("document_id", BigInteger, primary_key=True, autoincrement=False),
    Column("sha256", String(64), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

document_mails: Final = Table(
    "document_mails",
    METADATA,
    row_id(),
    Column("kind", String(12), nullable=False),
    Column("document_id", BigInteger, nullable=False),
    Column("recipient", Text, nullable=False),
    # 0, and one more each time that somebody has it sent again.
    Column("round", Integer, nullable=False, server_default="0"),
    # pending | sending | sent | failed
    Column("state", String(8), nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_ms", BigInteger, nullable=False),
    text_column("error"),
    Column("created_ms", BigInteger, nullable=False),
    Column("sent_ms", BigInteger),
)
Index(
    "uq_document_mails_recipient",
    document_mails.c.kind,
    document_mails.c.document_id,
    document_mails.c.recipient,
    document_mails.c.round,
    unique=True,
)
_IS_PENDING: Final = text("state = 'pending'")
Index("ix_document_mails_pending", document_mails.c.next_ms, sqlite_where=_IS_PENDING, postgresql_where=_IS_PENDING)
