"""All tables. Money is in nano-units, times are milliseconds since the epoch, both 64-bit integers.

Rows of configuration are never deleted: `archived_ms` takes them out of lists and of the switch,
and their CDRs, ledger and audit keep something to point to. `row_version` counts a row's changes.
Uniqueness counts among rows that are not archived, so that a name can be used again.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
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

from control.store.columns import (
    BigId,
    flag,
    json_list,
    limits,
    number,
    row_id,
    searched,
    stamps,
    text_column,
    timers,
    unique_alive,
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


clients: Final = Table(
    "clients",
    METADATA,
    row_id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    flag("is_management", default=False),
    Column("type", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    json_list("offices"),
    Column("start_date", Text),
    Column("starts_at_ms", BigInteger),
    Column("end_date", Text),
    Column("contract_end", Text),
    Column("ends_at_ms", BigInteger),
    Column("suspend_at_ms", BigInteger),
    Column("billing_ref", Text, nullable=False),
    Column("billing_ref_key", Text, nullable=False),
    json_list("external_ids"),
    text_column("time_zone", default="UTC"),
    text_column("currency", default="USD"),
    number("tax_ppm"),
    Column("reactivate_at_ms", BigInteger),
    Column("decommission_at_ms", BigInteger),
    text_column("address"),
    text_column("country_code"),
    json_list("premium_prefixes"),
    # Between these two it is billed: from when it was active first, until it became inactive.
    Column("activated_ms", BigInteger),
    Column("ended_ms", BigInteger),
    # The next month to be billed, and when that is due; NULL where none is to come.
    Column("bill_month", String(7)),
    Column("bill_due_ms", BigInteger),
    # Steps of the wizard that are done; NULL where it was made without, or is finished.
    Column("wizard", JSON(none_as_null=True)),
    *stamps(),
)
unique_alive("uq_clients_name", clients, "name_key")
unique_alive("uq_clients_billing_ref", clients, "billing_ref_key")
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
    row_id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    Column("status", String(20), nullable=False),
    Column("penalty_until_ms", BigInteger),
    Column("currency", String(3), nullable=False),
    Column("client_id", BigInteger, ForeignKey("clients.id")),
    number("debit_limit_nanos"),
    Column("minimum_payment_nanos", BigInteger),
    Column("minimum_payment_period", String(16)),
    number("tax_ppm"),
    text_column("paypal_email"),
    text_column("website"),
    text_column("address"),
    flag("portal_access", default=False),
    *limits(),
    Column("daily_spend_limit_nanos", BigInteger),
    flag("allow_inbound_without_credit", default=False),
    *timers(),
    text_column("time_zone", default="UTC"),
    flag("trust_pai", default=False),
    json_list("allowed_headers"),
    json_list("tags"),
    text_column("notes_public"),
    text_column("notes_private"),
    *stamps(),
)
unique_alive("uq_customers_name", customers, "name_key")
unique_alive("uq_customers_client", customers, "client_id")

endpoints: Final = Table(
    "endpoints",
    METADATA,
    row_id(),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    Column("direction", String(8), nullable=False),
    Column("host", Text, nullable=False),
    Column("transport", String(4)),
    Column("port", Integer),
    *limits(),
    json_list("codecs"),
    text_column("manufacturer"),
    text_column("version"),
    text_column("dial_pattern"),
    text_column("cli_prefix"),
    text_column("tech_prefix"),
    number("strip_digits"),
    Column("bandwidth_kbps", Integer),
    text_column("force_from"),
    flag("enabled", default=True),
    *stamps(),
)
Index("ix_endpoints_host", endpoints.c.host)
searched(endpoints, "customer_id", "host", "tech_prefix", "manufacturer")

sip_users: Final = Table(
    "sip_users",
    METADATA,
    row_id(),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    Column("username", Text, nullable=False),
    Column("realm", Text, nullable=False),
    text_column("ha1_md5"),
    text_column("ha1_sha256"),
    text_column("ha1_sha512_256"),
    *limits(),
    Column("transport", String(4)),
    json_list("ip_allow_list"),
    json_list("codecs"),
    text_column("dial_pattern"),
    text_column("cli_prefix"),
    number("strip_digits"),
    text_column("force_from"),
    flag("enabled", default=True),
    # What its telephone service lets it call (`control.services.telephone_services`).
    json_list("call_permissions"),
    *stamps(),
)
unique_alive("uq_sip_users_username", sip_users, "username", "realm")
searched(sip_users, "customer_id", "username", "realm")

providers: Final = Table(
    "providers",
    METADATA,
    row_id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    flag("enabled", default=True),
    Column("currency", String(3), nullable=False),
    *limits(),
    text_column("tech_prefix"),
    Column("number_format", String(8), nullable=False),
    Column("penalty_until_ms", BigInteger),
    *timers(),
    Column("cause_table", JSON, nullable=False, server_default="{}"),
    text_column("send_pai", default="pass"),
    text_column("pai_format", default="sip"),
    text_column("privacy", default="honour"),
    json_list("allowed_headers"),
    text_column("notes"),
    *stamps(),
)
unique_alive("uq_providers_name", providers, "name_key")

gateways: Final = Table(
    "gateways",
    METADATA,
    row_id(),
    Column("provider_id", BigInteger, ForeignKey("providers.id"), nullable=False, index=True),
    text_column("name"),
    Column("host", Text, nullable=False),
    Column("port", Integer),
    Column("transport", String(4), nullable=False),
    flag("also_tcp", default=False),
    number("weight", 1),
    *limits(),
    flag("enabled", default=True),
    flag("probe", default=False),
    number("probe_interval_ms", 30_000),
    number("probe_failures_max", 3),
    number("probe_successes_min", 2),
    flag("tls_verify", default=True),
    json_list("codecs"),
    *stamps(),
)

rate_cards: Final = Table(
    "rate_cards",
    METADATA,
    row_id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    Column("direction", String(4), nullable=False),
    Column("currency", String(3), nullable=False),
    number("decimals", 4),
    text_column("rounding", default="up"),
    text_column("duration_rounding", default="up"),
    number("grace_s"),
    number("minimum_s"),
    Column("max_cost_nanos", BigInteger),
    text_column("time_zone", default="UTC"),
    Column("provider_id", BigInteger, ForeignKey("providers.id"), index=True),
    json_list("vendor_card_ids"),
    number("priority"),
    number("weight", 1),
    flag("enabled", default=True),
    text_column("notes"),
    *stamps(),
)
unique_alive("uq_rate_cards_name", rate_cards, "name_key")

revisions: Final = Table(
    "revisions",
    METADATA,
    row_id(),
    Column("card_id", BigInteger, ForeignKey("rate_cards.id"), nullable=False, index=True),
    Column("path", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    text_column("file_name"),
    text_column("sha256"),
    text_column("note"),
    Column("created_ms", BigInteger, nullable=False),
    text_column("created_by"),
)

activations: Final = Table(
    "activations",
    METADATA,
    row_id(),
    Column("card_id", BigInteger, ForeignKey("rate_cards.id"), nullable=False, index=True),
    Column("revision_id", BigInteger, ForeignKey("revisions.id"), nullable=False),
    Column("active_from_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("cancelled_ms", BigInteger),
)

ingress_routes: Final = Table(
    "ingress_routes",
    METADATA,
    row_id(),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    text_column("name"),
    Column("rate_card_id", BigInteger, ForeignKey("rate_cards.id"), nullable=False, index=True),
    text_column("tech_prefix"),
    json_list("dial_strings"),
    flag("enabled", default=True),
    number("priority"),
    *limits(),
    number("cps_buffer_s"),
    Column("max_duration_s", Integer),
    Column("capped_rate_nanos", BigInteger),
    Column("vendor_capped_rate_nanos", BigInteger),
    text_column("profit_mode", default="off"),
    flag("block_connect_fee", default=False),
    json_list("lock_cards"),
    json_list("exclude_cards"),
    text_column("strategy", default="lcr"),
    json_list("durations"),
    text_column("recording", default="off"),
    text_column("notes_public"),
    text_column("notes_private"),
    *stamps(),
)

admin_keys: Final = Table(
    "admin_keys",
    METADATA,
    row_id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("key_hash", LargeBinary, nullable=False),
    Column("hint", Text, nullable=False),
    Column("expires_at_ms", BigInteger),
    *stamps(),
)
unique_alive("uq_admin_keys_name", admin_keys, "name_key")
Index("uq_admin_keys_key_hash", admin_keys.c.key_hash, unique=True)

audit: Final = Table(
    "audit",
    METADATA,
    row_id(),
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
    text_column("decision"),
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
    row_id(),
    Column("customer_id", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("amount_nanos", BigInteger, nullable=False),
    Column("net_nanos", BigInteger),
    Column("tax_nanos", BigInteger),
    Column("at_ms", BigInteger, nullable=False),
    Column("cdr_number", BigInteger),
    Column("payment_id", BigInteger),
    Column("reversed_id", BigInteger),
    text_column("reference"),
    text_column("description"),
    text_column("note"),
    text_column("actor"),
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
    row_id(),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    Column("status", String(16), nullable=False),
    Column("total_nanos", BigInteger, nullable=False),
    text_column("description"),
    text_column("reason"),
    Column("key", Text),
    Column("entry_id", BigInteger),
    Column("reversal_id", BigInteger),
    Column("completed_ms", BigInteger),
    Column("reversed_ms", BigInteger),
    text_column("created_by"),
    *stamps(),
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
