"""All tables. Money is in nano-units, times are milliseconds since the epoch, both 64-bit integers.

Rows of configuration are never deleted: `archived_ms` takes them out of lists and of the switch,
and their CDRs, ledger and audit keep something to point to. `row_version` counts a row's changes.
Uniqueness counts among rows that are not archived, so that a name can be used again.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only where the key's type is spelt INTEGER; it is 64 bits wide there too.
BigId: Final = BigInteger().with_variant(Integer, "sqlite")


def _id() -> Column[int]:
    return Column("id", BigId, primary_key=True)


def _stamps() -> list[Column[Any]]:
    return [
        Column("row_version", Integer, nullable=False, server_default="1"),
        Column("created_ms", BigInteger, nullable=False),
        Column("updated_ms", BigInteger, nullable=False),
        Column("archived_ms", BigInteger),
    ]


def _limits() -> list[Column[Any]]:
    return [Column("channels", Integer), Column("flow_speed_cps", Float)]


def _timers() -> list[Column[Any]]:
    return [Column("first_reply_ms", Integer), Column("pdd_ms", Integer), Column("ring_ms", Integer)]


def _text(name: str, *, default: str = "") -> Column[str]:
    return Column(name, Text, nullable=False, server_default=default)


def _flag(name: str, *, default: bool) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=text("true" if default else "false"))


def _list(name: str) -> Column[Any]:
    return Column(name, JSON, nullable=False, server_default="[]")


def _number(name: str, default: int) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=str(default))


def _unique_alive(name: str, table: Table, *columns: str) -> Index:
    alive = table.c.archived_ms.is_(None)
    return Index(name, *(table.c[c] for c in columns), unique=True, sqlite_where=alive, postgresql_where=alive)


def _searched(table: Table, *columns: str) -> None:
    """All that a search looks at, so that it need not look at the rows: there may be very many."""
    alive = table.c.archived_ms.is_(None)
    # SQLite takes an index for enough only where the condition's own column is in it too.
    parts = [table.c[c] for c in (*columns, "archived_ms")]
    Index(f"ix_{table.name}_searched", *parts, sqlite_where=alive, postgresql_where=alive)


clients: Final = Table(
    "clients",
    METADATA,
    _id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    _flag("is_management", default=False),
    Column("type", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    _list("offices"),
    Column("start_date", Text),
    Column("starts_at_ms", BigInteger),
    Column("end_date", Text),
    Column("contract_end", Text),
    Column("ends_at_ms", BigInteger),
    Column("suspend_at_ms", BigInteger),
    Column("billing_ref", Text, nullable=False),
    Column("billing_ref_key", Text, nullable=False),
    _list("external_ids"),
    _text("time_zone", default="UTC"),
    _text("currency", default="USD"),
    _number("tax_ppm", 0),
    Column("reactivate_at_ms", BigInteger),
    Column("decommission_at_ms", BigInteger),
    _text("address"),
    _text("country_code"),
    _list("premium_prefixes"),
    # Between these two it is billed: from when it was active first, until it became inactive.
    Column("activated_ms", BigInteger),
    Column("ended_ms", BigInteger),
    # The next month to be billed, and when that is due; NULL where none is to come.
    Column("bill_month", String(7)),
    Column("bill_due_ms", BigInteger),
    # Steps of the wizard that are done; NULL where it was made without, or is finished.
    Column("wizard", JSON(none_as_null=True)),
    *_stamps(),
)
_unique_alive("uq_clients_name", clients, "name_key")
_unique_alive("uq_clients_billing_ref", clients, "billing_ref_key")
Index(
    "uq_clients_management",
    clients.c.is_management,
    unique=True,
    sqlite_where=text("is_management"),
    postgresql_where=text("is_management"),
)

customers: Final = Table(
    "customers",
    METADATA,
    _id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    Column("status", String(20), nullable=False),
    Column("penalty_until_ms", BigInteger),
    Column("currency", String(3), nullable=False),
    Column("client_id", BigInteger, ForeignKey("clients.id")),
    _number("debit_limit_nanos", 0),
    Column("minimum_payment_nanos", BigInteger),
    Column("minimum_payment_period", String(16)),
    _number("tax_ppm", 0),
    _text("paypal_email"),
    _text("website"),
    _text("address"),
    _flag("portal_access", default=False),
    *_limits(),
    Column("daily_spend_limit_nanos", BigInteger),
    _flag("allow_inbound_without_credit", default=False),
    *_timers(),
    _text("time_zone", default="UTC"),
    _flag("trust_pai", default=False),
    _list("allowed_headers"),
    _list("tags"),
    _text("notes_public"),
    _text("notes_private"),
    *_stamps(),
)
_unique_alive("uq_customers_name", customers, "name_key")
_unique_alive("uq_customers_client", customers, "client_id")

endpoints: Final = Table(
    "endpoints",
    METADATA,
    _id(),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    Column("direction", String(8), nullable=False),
    Column("host", Text, nullable=False),
    Column("transport", String(4)),
    Column("port", Integer),
    *_limits(),
    _list("codecs"),
    _text("manufacturer"),
    _text("version"),
    _text("dial_pattern"),
    _text("cli_prefix"),
    _text("tech_prefix"),
    _number("strip_digits", 0),
    Column("bandwidth_kbps", Integer),
    _text("force_from"),
    _flag("enabled", default=True),
    *_stamps(),
)
Index("ix_endpoints_host", endpoints.c.host)
_searched(endpoints, "customer_id", "host", "tech_prefix", "manufacturer")

sip_users: Final = Table(
    "sip_users",
    METADATA,
    _id(),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    Column("username", Text, nullable=False),
    Column("realm", Text, nullable=False),
    _text("ha1_md5"),
    _text("ha1_sha256"),
    _text("ha1_sha512_256"),
    *_limits(),
    Column("transport", String(4)),
    _list("ip_allow_list"),
    _list("codecs"),
    _text("dial_pattern"),
    _text("cli_prefix"),
    _number("strip_digits", 0),
    _text("force_from"),
    _flag("enabled", default=True),
    # What its telephone service lets it call (`control.services.telephone_services`).
    _list("call_permissions"),
    *_stamps(),
)
_unique_alive("uq_sip_users_username", sip_users, "username", "realm")
_searched(sip_users, "customer_id", "username", "realm")

providers: Final = Table(
    "providers",
    METADATA,
    _id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    _flag("enabled", default=True),
    Column("currency", String(3), nullable=False),
    *_limits(),
    _text("tech_prefix"),
    Column("number_format", String(8), nullable=False),
    *_timers(),
    Column("cause_table", JSON, nullable=False, server_default="{}"),
    _text("send_pai", default="pass"),
    _text("pai_format", default="sip"),
    _text("privacy", default="honour"),
    _list("allowed_headers"),
    _text("notes"),
    *_stamps(),
)
_unique_alive("uq_providers_name", providers, "name_key")

gateways: Final = Table(
    "gateways",
    METADATA,
    _id(),
    Column("provider_id", BigInteger, ForeignKey("providers.id"), nullable=False, index=True),
    _text("name"),
    Column("host", Text, nullable=False),
    Column("port", Integer),
    Column("transport", String(4), nullable=False),
    _flag("also_tcp", default=False),
    _number("weight", 1),
    *_limits(),
    _flag("enabled", default=True),
    _flag("probe", default=False),
    _number("probe_interval_ms", 30_000),
    _number("probe_failures_max", 3),
    _number("probe_successes_min", 2),
    _flag("tls_verify", default=True),
    _list("codecs"),
    *_stamps(),
)

rate_cards: Final = Table(
    "rate_cards",
    METADATA,
    _id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    Column("direction", String(4), nullable=False),
    Column("currency", String(3), nullable=False),
    _number("decimals", 4),
    _text("rounding", default="up"),
    _text("duration_rounding", default="up"),
    _number("grace_s", 0),
    _number("minimum_s", 0),
    Column("max_cost_nanos", BigInteger),
    _text("time_zone", default="UTC"),
    Column("provider_id", BigInteger, ForeignKey("providers.id"), index=True),
    _list("vendor_card_ids"),
    _number("priority", 0),
    _number("weight", 1),
    _flag("enabled", default=True),
    _text("notes"),
    *_stamps(),
)
_unique_alive("uq_rate_cards_name", rate_cards, "name_key")

revisions: Final = Table(
    "revisions",
    METADATA,
    _id(),
    Column("card_id", BigInteger, ForeignKey("rate_cards.id"), nullable=False, index=True),
    Column("path", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    _text("file_name"),
    _text("sha256"),
    _text("note"),
    Column("created_ms", BigInteger, nullable=False),
    _text("created_by"),
)

activations: Final = Table(
    "activations",
    METADATA,
    _id(),
    Column("card_id", BigInteger, ForeignKey("rate_cards.id"), nullable=False, index=True),
    Column("revision_id", BigInteger, ForeignKey("revisions.id"), nullable=False),
    Column("active_from_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("cancelled_ms", BigInteger),
)

ingress_routes: Final = Table(
    "ingress_routes",
    METADATA,
    _id(),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    _text("name"),
    Column("rate_card_id", BigInteger, ForeignKey("rate_cards.id"), nullable=False, index=True),
    _text("tech_prefix"),
    _list("dial_strings"),
    _flag("enabled", default=True),
    _number("priority", 0),
    *_limits(),
    _number("cps_buffer_s", 0),
    Column("max_duration_s", Integer),
    Column("capped_rate_nanos", BigInteger),
    Column("vendor_capped_rate_nanos", BigInteger),
    _text("profit_mode", default="off"),
    _flag("block_connect_fee", default=False),
    _list("lock_cards"),
    _list("exclude_cards"),
    _text("strategy", default="lcr"),
    _list("durations"),
    _text("recording", default="off"),
    _text("notes_public"),
    _text("notes_private"),
    *_stamps(),
)

admin_keys: Final = Table(
    "admin_keys",
    METADATA,
    _id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("key_hash", LargeBinary, nullable=False),
    Column("hint", Text, nullable=False),
    Column("expires_at_ms", BigInteger),
    *_stamps(),
)
_unique_alive("uq_admin_keys_name", admin_keys, "name_key")
Index("uq_admin_keys_key_hash", admin_keys.c.key_hash, unique=True)

audit: Final = Table(
    "audit",
    METADATA,
    _id(),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor_kind", String(16), nullable=False),
    Column("actor_id", BigInteger),
    Column("actor_name", Text, nullable=False),
    Column("action", String(32), nullable=False),
    Column("noun", String(32), nullable=False),
    Column("noun_id", Text, nullable=False),
    Column("before", Text),
    Column("after", Text),
)
Index("ix_audit_noun", audit.c.noun, audit.c.noun_id)

snapshot_version: Final = Table(
    "snapshot_version",
    METADATA,
    Column("id", Integer, CheckConstraint("id = 1", name="one_row"), primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
)

ingest_position: Final = Table(
    "ingest_position",
    METADATA,
    Column("journal", String(64), primary_key=True),
    Column("sequence", BigInteger, nullable=False),
)

# `number` is the order of arrival in the store, which exports follow; `id` is the call's own name.
# Few indexes, since each costs every call: lists walk back by time, of all or of one customer.
# Attempts and explanation stand last, so that a search that skips a row does not read them.
cdrs: Final = Table(
    "cdrs",
    METADATA,
    Column("number", BigId, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("id", String(32), nullable=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("client_id", BigInteger),
    Column("endpoint_id", BigInteger),
    Column("sip_user_id", BigInteger),
    Column("route_id", BigInteger),
    Column("provider_id", BigInteger),
    Column("gateway_id", BigInteger),
    Column("direction", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("transport", Text, nullable=False),
    Column("call_id", Text, nullable=False),
    Column("cli_in", Text, nullable=False),
    Column("cli_out", Text, nullable=False),
    Column("dialled_in", Text, nullable=False),
    Column("dialled_out", Text, nullable=False),
    Column("invited_ms", BigInteger, nullable=False),
    Column("progress_ms", BigInteger),
    Column("answered_ms", BigInteger),
    Column("ended_ms", BigInteger, nullable=False),
    Column("pdd_ms", BigInteger),
    Column("duration_ms", BigInteger, nullable=False),
    Column("billed_s", BigInteger, nullable=False),
    Column("release", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("currency", Text, nullable=False),
    Column("card_id", BigInteger),
    Column("revision_id", BigInteger),
    Column("prefix", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("rate_nanos", BigInteger, nullable=False),
    Column("net_nanos", BigInteger, nullable=False),
    Column("tax_nanos", BigInteger, nullable=False),
    Column("gross_nanos", BigInteger, nullable=False),
    Column("cost_nanos", BigInteger, nullable=False),
    Column("margin_nanos", BigInteger, nullable=False),
    Column("user_agent", Text, nullable=False),
    Column("codecs", Text, nullable=False),
    Column("recording", Text, nullable=False),
    Column("attempts", Text, nullable=False),
    Column("explanation", Text, nullable=False),
    _text("decision"),
    Column("did_id", BigInteger),
)
Index("uq_cdrs_id", cdrs.c.id, unique=True)
Index("ix_cdrs_invited", cdrs.c.invited_ms)
Index("ix_cdrs_customer_invited", cdrs.c.customer_id, cdrs.c.invited_ms)
_IS_INBOUND: Final = text("did_id IS NOT NULL")
Index(
    "ix_cdrs_did_invited",
    cdrs.c.did_id,
    cdrs.c.invited_ms,
    sqlite_where=_IS_INBOUND,
    postgresql_where=_IS_INBOUND,
)

# The money of all customers, only ever added to: a trigger refuses UPDATE and DELETE. AUTOINCREMENT, so
# that ids can be made to begin above those that a switch has seen (`control.feed`).
ledger_entries: Final = Table(
    "ledger_entries",
    METADATA,
    _id(),
    Column("customer_id", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("amount_nanos", BigInteger, nullable=False),
    Column("net_nanos", BigInteger),
    Column("tax_nanos", BigInteger),
    Column("at_ms", BigInteger, nullable=False),
    Column("cdr_number", BigInteger),
    Column("payment_id", BigInteger),
    Column("reversed_id", BigInteger),
    _text("reference"),
    _text("description"),
    _text("note"),
    _text("actor"),
    sqlite_autoincrement=True,
)
# All that sums and statements read, so that neither looks at the rows: one index of two that a call pays for.
Index(
    "ix_ledger_entries_customer_at",
    ledger_entries.c.customer_id,
    ledger_entries.c.at_ms,
    ledger_entries.c.id,
    ledger_entries.c.amount_nanos,
)
_IS_CALL: Final = text("kind = 'call'")
_IS_BOOKED: Final = text("kind <> 'call'")
Index(
    "uq_ledger_entries_call",
    ledger_entries.c.cdr_number,
    unique=True,
    sqlite_where=_IS_CALL,
    postgresql_where=_IS_CALL,
)
for _name, _columns in (
    ("id", (ledger_entries.c.id,)),
    ("customer_at", (ledger_entries.c.customer_id, ledger_entries.c.at_ms, ledger_entries.c.id)),
    ("cdr", (ledger_entries.c.cdr_number,)),
):
    Index(f"ix_ledger_entries_booked_{_name}", *_columns, sqlite_where=_IS_BOOKED, postgresql_where=_IS_BOOKED)
Index(
    "uq_ledger_entries_reversed",
    ledger_entries.c.reversed_id,
    unique=True,
    sqlite_where=text("reversed_id IS NOT NULL"),
    postgresql_where=text("reversed_id IS NOT NULL"),
)

# What the entries of a customer add up to, moved in the transaction that makes them. SQLite turns a sum
# over 64 bits into a float by itself: the limit refuses what comes near.
accounts: Final = Table(
    "accounts",
    METADATA,
    Column("customer_id", BigInteger, primary_key=True, autoincrement=False),
    Column(
        "balance_nanos",
        BigInteger,
        CheckConstraint("balance_nanos BETWEEN -9000000000000000000 AND 9000000000000000000", name="in_range"),
        nullable=False,
    ),
)

payments: Final = Table(
    "payments",
    METADATA,
    _id(),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    Column("status", String(16), nullable=False),
    Column("total_nanos", BigInteger, nullable=False),
    _text("description"),
    _text("reason"),
    Column("key", Text),
    Column("entry_id", BigInteger),
    Column("reversal_id", BigInteger),
    Column("completed_ms", BigInteger),
    Column("reversed_ms", BigInteger),
    _text("created_by"),
    *_stamps(),
)
Index(
    "uq_payments_key",
    payments.c.customer_id,
    payments.c.key,
    unique=True,
    sqlite_where=text("key IS NOT NULL"),
    postgresql_where=text("key IS NOT NULL"),
)

# What was asked under a key, and what was answered: written with what the request did, so that a repeat
# is answered the same after any restart.
idempotency_keys: Final = Table(
    "idempotency_keys",
    METADATA,
    Column("customer_id", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("request", LargeBinary, nullable=False),
    Column("entry_id", BigInteger),
    Column("status", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Column("location", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)
