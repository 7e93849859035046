"""Sums of all customers together: all sums are made anew, in the background."""

from __future__ import annotations

from alembic import op

revision = "0242"
down_revision = "0241"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("call_rollups", "prefix_rollups", "provider_rollups"):
        op.execute(f"DELETE FROM {table}")  # noqa: S608
    op.execute(
        "UPDATE rollup_state SET cursor_number = 0, folded_ms = 0,"
        " upto_number = (SELECT COALESCE(MAX(number), 0) FROM cdrs)"
    )
