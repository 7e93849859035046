"""Clients with an address: of a virtual one, where letters to it go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0273"
down_revision = "0272"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("clients", sa.Column("address", sa.Text(), server_default="", nullable=False))
