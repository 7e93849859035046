"""Tables of what clients use: telephone services, people, networks, and how much of the line they took each day."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, text

from control.store.client_tables import of_client, stamps, text_column, unique_alive
from control.store.tables import METADATA, BigId


def _list(name: str) -> Column[list[object]]:
    return Column(name, JSON, nullable=False, server_default="[]")


def _flag(name: str, default: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=text(default))


telephone_services: Final = Table(
    "telephone_services",
    METADATA,
    Column("id", BigId, primary_key=True),
    of_client(index=False),
    Column("extension", String(8), nullable=False),
    text_column("name"),
    Column("did_id", BigInteger, ForeignKey("dids.id")),
    Column("sip_user_id", BigInteger, ForeignKey("sip_users.id")),
    _list("permissions"),
    _list("allowed_prefixes"),
    _list("barred_prefixes"),
    _flag("enabled", "true"),
    text_column("notes"),
    *stamps(),
)
unique_alive("uq_telephone_services_extension", telephone_services, "client_id", "extension")
unique_alive("uq_telephone_services_did", telephone_services, "did_id")
unique_alive("uq_telephone_services_sip_user", telephone_services, "sip_user_id")

client_users: Final = Table(
    "client_users",
    METADATA,
    Column("id", BigId, primary_key=True),
    of_client(),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("email_key", Text, nullable=False),
    _list("roles"),
    Column("extension", String(8)),
    _flag("wifi", "false"),
    # The name that it signs in to the network by; kept while the account is off.
    Column("wifi_account", Text),
    # Argon2; empty: nobody signs in by it.
    text_column("wifi_hash"),
    Column("wifi_set_ms", BigInteger),
    _flag("enabled", "true"),
    text_column("notes"),
    *stamps(),
)
unique_alive("uq_client_users_email", client_users, "email_key")
unique_alive("uq_client_users_wifi_account", client_users, "wifi_account")

networks: Final = Table(
    "networks",
    METADATA,
    Column("id", BigId, primary_key=True),
    of_client(),
    Column("site_id", BigInteger, ForeignKey("sites.id"), nullable=False),
    Column("vlan", Integer, nullable=False),
    Column("subnet", Text, nullable=False),
    Column("gateway", Text, nullable=False),
    _list("dns"),
    _list("public_addresses"),
    text_column("notes"),
    *stamps(),
)
unique_alive("uq_networks_vlan", networks, "site_id", "vlan")

broadband_days: Final = Table(
    "broadband_days",
    METADATA,
    Column("client_id", BigInteger, ForeignKey("clients.id"), primary_key=True, autoincrement=False),
    Column("day", String(10), primary_key=True),
    Column("bytes_up", BigInteger, nullable=False),
    Column("bytes_down", BigInteger, nullable=False),
    Column("posted_ms", BigInteger, nullable=False),
)
Index("ix_broadband_days_day", broadband_days.c.day)
