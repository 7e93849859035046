"""Sites, offices and occupancies; clients with a time zone, a currency, more dates and the wizard's steps."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0270"
down_revision = "0101"
branch_labels = None
depends_on = None

BIG = sa.BigInteger()
ID = BIG.with_variant(sa.Integer(), "sqlite")
ALIVE = sa.text("archived_ms IS NULL")


def _text(name: str, default: str = "") -> sa.Column[str]:
    return sa.Column(name, sa.Text(), server_default=default, nullable=False)


def _stamps() -> list[sa.Column[int]]:
    return [
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        sa.Column("updated_ms", BIG, nullable=False),
        sa.Column("archived_ms", BIG, nullable=True),
    ]


def upgrade() -> None:
    for column in (
        _text("time_zone", "UTC"),
        _text("currency", "USD"),
        sa.Column("tax_ppm", BIG, server_default="0", nullable=False),
        sa.Column("reactivate_at_ms", BIG, nullable=True),
        sa.Column("decommission_at_ms", BIG, nullable=True),
        sa.Column("activated_ms", BIG, nullable=True),
        sa.Column("ended_ms", BIG, nullable=True),
        sa.Column("wizard", sa.JSON(), nullable=True),
    ):
        op.add_column("clients", column)
    # Nothing was billed until now: a client that is active begins to be with this release.
    op.execute(
        "UPDATE clients SET activated_ms = updated_ms WHERE status IN ('active', 'suspended') AND NOT is_management"
    )
    op.execute("UPDATE clients SET ended_ms = updated_ms WHERE status = 'inactive'")
    op.create_table(
        "sites",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        _text("address"),
        _text("time_zone", "UTC"),
        _text("notes"),
        *_stamps(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sites")),
    )
    op.create_index("uq_sites_name", "sites", ["name_key"], unique=True, sqlite_where=ALIVE, postgresql_where=ALIVE)
    op.create_table(
        "offices",
        sa.Column("id", ID, nullable=False),
        sa.Column("site_id", BIG, nullable=False),
        sa.Column("room", sa.Text(), nullable=False),
        sa.Column("room_key", sa.Text(), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=False),
        _text("notes"),
        *_stamps(),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_offices_site_id_sites")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_offices")),
    )
    op.create_index(op.f("ix_offices_site_id"), "offices", ["site_id"], unique=False)
    op.create_index(
        "uq_offices_room", "offices", ["site_id", "room_key"], unique=True, sqlite_where=ALIVE, postgresql_where=ALIVE
    )
    op.create_table(
        "occupancies",
        sa.Column("id", ID, nullable=False),
        sa.Column("client_id", BIG, nullable=False),
        sa.Column("office_id", BIG, nullable=False),
        sa.Column("start_date", sa.String(length=10), nullable=False),
        sa.Column("end_date", sa.String(length=10), nullable=True),
        sa.Column("until", sa.String(length=10), nullable=False),
        _text("notes"),
        *_stamps(),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name=op.f("fk_occupancies_client_id_clients")),
        sa.ForeignKeyConstraint(["office_id"], ["offices.id"], name=op.f("fk_occupancies_office_id_offices")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_occupancies")),
    )
    op.create_index(op.f("ix_occupancies_client_id"), "occupancies", ["client_id"], unique=False)
    op.create_index("ix_occupancies_office", "occupancies", ["office_id", "start_date"], unique=False)
