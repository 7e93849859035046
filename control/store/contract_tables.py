"""Tables of vendors' contracts: what was agreed on, in revisions that nobody edits, and the signed copies."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text

from control.store.columns import row_id, stamps, text_column
from control.store.tables import METADATA

contracts: Final = Table(
    "contracts",
    METADATA,
    row_id(),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    Column("provider_id", BigInteger, ForeignKey("providers.id"), index=True),
    Column("title", Text, nullable=False),
    text_column("reference"),
    Column("required_by", String(10)),
    text_column("notes"),
    # Of the last revision: draft | sent | signed, and its last day.
    Column("stage", String(8), nullable=False),
    Column("ends", String(10)),
    Column("revisions", Integer, nullable=False, server_default="0"),
    *stamps(),
)

contract_revisions: Final = Table(
    "contract_revisions",
    METADATA,
    row_id(),
    Column("contract_id", BigInteger, ForeignKey("contracts.id"), nullable=False),
    # 1, 2, 3 … within its contract.
    Column("number", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("starts", String(10)),
    Column("ends", String(10)),
    Column("rate_card_id", BigInteger, ForeignKey("rate_cards.id")),
    text_column("created_by"),
    Column("created_ms", BigInteger, nullable=False),
    # What happened to it since; its words stay.
    Column("sent_ms", BigInteger),
    Column("signed_ms", BigInteger),
)
Index("uq_contract_revisions_number", contract_revisions.c.contract_id, contract_revisions.c.number, unique=True)

contract_files: Final = Table(
    "contract_files",
    METADATA,
    Column("revision_id", BigInteger, ForeignKey("contract_revisions.id"), primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("content", LargeBinary, nullable=False),
    text_column("signed_by"),
    Column("signed_on", String(10), nullable=False),
    text_column("uploaded_by"),
    Column("uploaded_ms", BigInteger, nullable=False),
)
