"""What is only ever added to refuses edits on PostgreSQL as it does on SQLite: by the same kind of error, and whole."""

from __future__ import annotations

from alembic import op

revision = "0005_postgresql"
down_revision = "0004"
branch_labels = None
depends_on = None

REFUSALS = {
    "audit": ("refuse_audit_edit", "the audit trail is append-only"),
    "ledger_entries": ("refuse_ledger_edit", "the ledger is append-only"),
}


def upgrade() -> None:
    if op.get_context().dialect.name == "sqlite":
        return
    for table, (function, reason) in REFUSALS.items():
        op.execute(
            f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN RAISE EXCEPTION '{reason}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
        # Row triggers do not see a TRUNCATE, which empties the table at once.
        op.execute(
            f"CREATE TRIGGER {table}_refuses_truncate BEFORE TRUNCATE ON {table}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
        )
