"""Alembic's entry: runs on the connection that `control.store.migrate` hands over."""

from __future__ import annotations

from alembic import context

from control.store import (  # noqa: F401  they join METADATA
    alert_tables,
    cli_rule_tables,
    client_bill_tables,
    client_service_tables,
    client_tables,
    contact_tables,
    contract_tables,
    did_tables,
    invoice_tables,
    minimum_payment_tables,
    outbox_tables,
    package_tables,
    recalculation_tables,
    rollup_tables,
    scheduled_change_tables,
)
from control.store.tables import METADATA

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=METADATA,
    # SQLite alters a table by copying it.
    render_as_batch=True,
    # The caller's transaction holds all steps: a schema is there whole or not at all.
    transaction_per_migration=False,
)
context.run_migrations()
