"""Telephone services, users with Wi-Fi, networks, broadband usage; where SIP users may call."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0272"
down_revision = ("0271", "0230")
branch_labels = None
depends_on = None

BIG = sa.BigInteger()
ID = BIG.with_variant(sa.Integer(), "sqlite")
ALIVE = sa.text("archived_ms IS NULL")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), server_default="", nullable=False)


def _list(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(), server_default="[]", nullable=False)


def _flag(name: str, default: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), server_default=sa.text(f"({default})"), nullable=False)


def _stamps() -> list[sa.Column[Any]]:
    return [
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        sa.Column("updated_ms", BIG, nullable=False),
        sa.Column("archived_ms", BIG, nullable=True),
    ]


def _refers(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=op.f(f"fk_{table}_{column}_{other}"))


def _unique(name: str, table: str, *columns: str) -> None:
    op.create_index(name, table, list(columns), unique=True, sqlite_where=ALIVE, postgresql_where=ALIVE)


def upgrade() -> None:
    op.add_column("clients", _text("country_code"))
    op.add_column("clients", _list("premium_prefixes"))
    op.add_column("sip_users", _list("call_permissions"))
    op.create_table(
        "telephone_services",
        sa.Column("id", ID, nullable=False),
        sa.Column("client_id", BIG, nullable=False),
        sa.Column("extension", sa.String(length=8), nullable=False),
        _text("name"),
        sa.Column("did_id", BIG, nullable=True),
        sa.Column("sip_user_id", BIG, nullable=True),
        _list("permissions"),
        _list("allowed_prefixes"),
        _list("barred_prefixes"),
        _flag("enabled", "true"),
        _text("notes"),
        *_stamps(),
        _refers("telephone_services", "client_id", "clients"),
        _refers("telephone_services", "did_id", "dids"),
        _refers("telephone_services", "sip_user_id", "sip_users"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_telephone_services")),
    )
    _unique("uq_telephone_services_extension", "telephone_services", "client_id", "extension")
    _unique("uq_telephone_services_did", "telephone_services", "did_id")
    _unique("uq_telephone_services_sip_user", "telephone_services", "sip_user_id")
    op.create_table(
        "client_users",
        sa.Column("id", ID, nullable=False),
        sa.Column("client_id", BIG, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_key", sa.Text(), nullable=False),
        _list("roles"),
        sa.Column("extension", sa.String(length=8), nullable=True),
        _flag("wifi", "false"),
        sa.Column("wifi_account", sa.Text(), nullable=True),
        _text("wifi_hash"),
        sa.Column("wifi_set_ms", BIG, nullable=True),
        _flag("enabled", "true"),
        _text("notes"),
        *_stamps(),
        _refers("client_users", "client_id", "clients"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_client_users")),
    )
    op.create_index(op.f("ix_client_users_client_id"), "client_users", ["client_id"], unique=False)
    _unique("uq_client_users_email", "client_users", "email_key")
    _unique("uq_client_users_wifi_account", "client_users", "wifi_account")
    op.create_table(
        "networks",
        sa.Column("id", ID, nullable=False),
        sa.Column("client_id", BIG, nullable=False),
        sa.Column("site_id", BIG, nullable=False),
        sa.Column("vlan", sa.Integer(), nullable=False),
        sa.Column("subnet", sa.Text(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        _list("dns"),
        _list("public_addresses"),
        _text("notes"),
        *_stamps(),
        _refers("networks", "client_id", "clients"),
        _refers("networks", "site_id", "sites"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_networks")),
    )
    op.create_index(op.f("ix_networks_client_id"), "networks", ["client_id"], unique=False)
    _unique("uq_networks_vlan", "networks", "site_id", "vlan")
    op.create_table(
        "broadband_days",
        sa.Column("client_id", BIG, autoincrement=False, nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("bytes_up", BIG, nullable=False),
        sa.Column("bytes_down", BIG, nullable=False),
        sa.Column("posted_ms", BIG, nullable=False),
        _refers("broadband_days", "client_id", "clients"),
        sa.PrimaryKeyConstraint("client_id", "day", name=op.f("pk_broadband_days")),
    )
    op.create_index("ix_broadband_days_day", "broadband_days", ["day"], unique=False)
