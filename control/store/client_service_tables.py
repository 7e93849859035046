"""Tables of what clients use: telephone services, people, networks, and how much of the line they took each day."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text

from control.store.client_tables import of_client
from control.store.columns import flag, json_list, row_id, stamps, text_column, unique_alive
from control.store.tables import METADATA

telephone_services: Final = Table(
    "telephone_services",
    METADATA,
    row_id(),
    of_client(index=False),
    Column("extension", String(8), nullable=False),
    text_column("name"),
    Column("did_id", BigInteger, ForeignKey("dids.id")),
    Column("sip_user_id", BigInteger, ForeignKey("sip_users.id")),
    json_list("permissions"),
    json_list("allowed_prefixes"),
    json_list("barred_prefixes"),
    flag("enabled", default=True),
    text_column("notes"),
    *stamps(),
)
unique_alive("uq_telephone_services_extension", telephone_services, "client_id", "extension")
unique_alive("uq_telephone_services_did", telephone_services, "did_id")
unique_alive("uq_telephone_services_sip_user", telephone_services, "sip_user_id")

client_users: Final = Table(
    "client_users",
    METADATA,
    row_id(),
    of_client(),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("email_key", Text, nullable=False),
    json_list("roles"),
    Column("extension", String(8)),
    flag("wifi", default=False),
    # The name that it signs in to the network by; kept while the account is off.
    Column("wifi_account", Text),
    # Argon2; empty: nobody signs in by it.
    text_column("wifi_hash"),
    Column("wifi_set_ms", BigInteger),
    flag("enabled", default=True),
    text_column("notes"),
    *stamps(),
)
unique_alive("uq_client_users_email", client_users, "email_key")
unique_alive("uq_client_users_wifi_account", client_users, "wifi_account")

networks: Final = Table(
    "networks",
    METADATA,
    row_id(),
    of_client(),
    Column("site_id", BigInteger, ForeignKey("sites.id"), nullable=False),
    Column("vlan", Integer, nullable=False),
    Column("subnet", Text, nullable=False),
    Column("gateway", Text, nullable=False),
    json_list("dns"),
    json_list("public_addresses"),
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
