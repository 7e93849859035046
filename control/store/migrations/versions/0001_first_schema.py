"""The first schema, with the rows that a store always has."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "admin_keys",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("archived_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_admin_keys")),
    )
    op.create_index("uq_admin_keys_key_hash", "admin_keys", ["key_hash"], unique=True)
    op.create_index(
        "uq_admin_keys_name",
        "admin_keys",
        ["name_key"],
        unique=True,
        sqlite_where=sa.text("archived_ms IS NULL"),
        postgresql_where=sa.text("archived_ms IS NULL"),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor_kind", sa.String(length=16), nullable=False),
        sa.Column("actor_id", sa.BigInteger(), nullable=True),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("noun", sa.String(length=32), nullable=False),
        sa.Column("noun_id", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_noun", "audit", ["noun", "noun_id"], unique=False)
    op.create_table(
        "cdrs",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.BigInteger(), nullable=True),
        sa.Column("endpoint_id", sa.BigInteger(), nullable=True),
        sa.Column("sip_user_id", sa.BigInteger(), nullable=True),
        sa.Column("route_id", sa.BigInteger(), nullable=True),
        sa.Column("provider_id", sa.BigInteger(), nullable=True),
        sa.Column("gateway_id", sa.BigInteger(), nullable=True),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("transport", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("cli_in", sa.Text(), nullable=False),
        sa.Column("cli_out", sa.Text(), nullable=False),
        sa.Column("dialled_in", sa.Text(), nullable=False),
        sa.Column("dialled_out", sa.Text(), nullable=False),
        sa.Column("invited_ms", sa.BigInteger(), nullable=False),
        sa.Column("progress_ms", sa.BigInteger(), nullable=True),
        sa.Column("answered_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_ms", sa.BigInteger(), nullable=False),
        sa.Column("pdd_ms", sa.BigInteger(), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("billed_s", sa.BigInteger(), nullable=False),
        sa.Column("release", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("card_id", sa.BigInteger(), nullable=True),
        sa.Column("revision_id", sa.BigInteger(), nullable=True),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("rate_nanos", sa.BigInteger(), nullable=False),
        sa.Column("net_nanos", sa.BigInteger(), nullable=False),
        sa.Column("tax_nanos", sa.BigInteger(), nullable=False),
        sa.Column("gross_nanos", sa.BigInteger(), nullable=False),
        sa.Column("cost_nanos", sa.BigInteger(), nullable=False),
        sa.Column("margin_nanos", sa.BigInteger(), nullable=False),
        sa.Column("user_agent", sa.Text(), nullable=False),
        sa.Column("codecs", sa.Text(), nullable=False),
        sa.Column("recording", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Text(), nullable=False),
        sa.Column("explanation", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_cdrs")),
    )
    op.create_index("ix_cdrs_customer_invited", "cdrs", ["customer_id", "invited_ms"], unique=False)
    op.create_index("ix_cdrs_invited", "cdrs", ["invited_ms"], unique=False)
    op.create_index("uq_cdrs_id", "cdrs", ["id"], unique=True)
    op.create_table(
        "clients",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("is_management", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("offices", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("start_date", sa.Text(), nullable=True),
        sa.Column("starts_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("end_date", sa.Text(), nullable=True),
        sa.Column("contract_end", sa.Text(), nullable=True),
        sa.Column("ends_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("suspend_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("billing_ref", sa.Text(), nullable=False),
        sa.Column("billing_ref_key", sa.Text(), nullable=False),
        sa.Column("external_ids", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("archived_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clients")),
    )
    op.create_index(
        "uq_clients_billing_ref",
        "clients",
        ["billing_ref_key"],
        unique=True,
        sqlite_where=sa.text("archived_ms IS NULL"),
        postgresql_where=sa.text("archived_ms IS NULL"),
    )
    op.create_index(
        "uq_clients_management",
        "clients",
        ["is_management"],
        unique=True,
        sqlite_where=sa.text("is_management"),
        postgresql_where=sa.text("is_management"),
    )
    op.create_index(
        "uq_clients_name",
        "clients",
        ["name_key"],
        unique=True,
        sqlite_where=sa.text("archived_ms IS NULL"),
        postgresql_where=sa.text("archived_ms IS NULL"),
    )
    op.create_table(
        "ingest_position",
        sa.Column("journal", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("journal", name=op.f("pk_ingest_position")),
    )
    op.create_table(
        "providers",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("(true)"), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("channels", sa.Integer(), nullable=True),
        sa.Column("flow_speed_cps", sa.Float(), nullable=True),
        sa.Column("tech_prefix", sa.Text(), server_default="", nullable=False),
        sa.Column("number_format", sa.String(length=8), nullable=False),
        sa.Column("first_reply_ms", sa.Integer(), nullable=True),
        sa.Column("pdd_ms", sa.Integer(), nullable=True),
        sa.Column("ring_ms", sa.Integer(), nullable=True),
        sa.Column("cause_table", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("notes", sa.Text(), server_default="", nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("archived_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_providers")),
    )
    op.create_index(
        "uq_providers_name",
        "providers",
        ["name_key"],
        unique=True,
        sqlite_where=sa.text("archived_ms IS NULL"),
        postgresql_where=sa.text("archived_ms IS NULL"),
    )
    op.create_table(
        "snapshot_version",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshot_version")),
    )
    op.create_table(
        "customers",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("penalty_until_ms", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("client_id", sa.BigInteger(), nullable=True),
        sa.Column("debit_limit_nanos", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("minimum_payment_nanos", sa.BigInteger(), nullable=True),
        sa.Column("minimum_payment_period", sa.String(length=16), nullable=True),
        sa.Column("tax_ppm", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("paypal_email", sa.Text(), server_default="", nullable=False),
        sa.Column("website", sa.Text(), server_default="", nullable=False),
        sa.Column("address", sa.Text(), server_default="", nullable=False),
        sa.Column("portal_access", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("channels", sa.Integer(), nullable=True),
        sa.Column("flow_speed_cps", sa.Float(), nullable=True),
        sa.Column("daily_spend_limit_nanos", sa.BigInteger(), nullable=True),
        sa.Column("allow_inbound_without_credit", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("first_reply_ms", sa.Integer(), nullable=True),
        sa.Column("pdd_ms", sa.Integer(), nullable=True),
        sa.Column("ring_ms", sa.Integer(), nullable=True),
        sa.Column("time_zone", sa.Text(), server_default="UTC", nullable=False),
        sa.Column("tags", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("notes_public", sa.Text(), server_default="", nullable=False),
        sa.Column("notes_private", sa.Text(), server_default="", nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("archived_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name=op.f("fk_customers_client_id_clients")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customers")),
    )
    op.create_index(
        "uq_customers_client",
        "customers",
        ["client_id"],
        unique=True,
        sqlite_where=sa.text("archived_ms IS NULL"),
        postgresql_where=sa.text("archived_ms IS NULL"),
    )
    op.create_index(
        "uq_customers_name",
        "customers",
        ["name_key"],
        unique=True,
        sqlite_where=sa.text("archived_ms IS NULL"),
        postgresql_where=sa.text("archived_ms IS NULL"),
    )
    op.create_table(
        "gateways",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("provider_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=True),
        sa.Column("transport", sa.String(length=4), nullable=False),
        sa.Column("also_tcp", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("weight", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("channels", sa.Integer(), nullable=True),
        sa.Column("flow_speed_cps", sa.Float(), nullable=True),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("(true)"), nullable=False),
        sa.Column("probe", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("probe_interval_ms", sa.BigInteger(), server_default="30000", nullable=False),
        sa.Column("probe_failures_max", sa.BigInteger(), server_default="3", nullable=False),
        sa.Column("probe_successes_min", sa.BigInteger(), server_default="2", nullable=False),
        sa.Column("tls_verify", sa.Boolean(), server_default=sa.text("(true)"), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("archived_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["provider_id"], ["providers.id"], name=op.f("fk_gateways_provider_id_providers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateways")),
    )
    op.create_index(op.f("ix_gateways_provider_id"), "gateways", ["provider_id"], unique=False)
    op.create_table(
        "rate_cards",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("direction", sa.String(length=4), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("decimals", sa.BigInteger(), server_default="4", nullable=False),
        sa.Column("rounding", sa.Text(), server_default="up", nullable=False),
        sa.Column("duration_rounding", sa.Text(), server_default="up", nullable=False),
        sa.Column("grace_s", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("minimum_s", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("max_cost_nanos", sa.BigInteger(), nullable=True),
        sa.Column("time_zone", sa.Text(), server_default="UTC", nullable=False),
        sa.Column("provider_id", sa.BigInteger(), nullable=True),
        sa.Column("vendor_card_ids", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("priority", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("weight", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("(true)"), nullable=False),
        sa.Column("notes", sa.Text(), server_default="", nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("archived_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["provider_id"], ["providers.id"], name=op.f("fk_rate_cards_provider_id_providers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rate_cards")),
    )
    op.create_index(op.f("ix_rate_cards_provider_id"), "rate_cards", ["provider_id"], unique=False)
    op.create_index(
        "uq_rate_cards_name",
        "rate_cards",
        ["name_key"],
        unique=True,
        sqlite_where=sa.text("archived_ms IS NULL"),
        postgresql_where=sa.text("archived_ms IS NULL"),
    )
    op.create_table(
        "endpoints",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("direction", sa.String(length=8), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("transport", sa.String(length=4), nullable=True),
        sa.Column("port", sa.Integer(), nullable=True),
        sa.Column("channels", sa.Integer(), nullable=True),
        sa.Column("flow_speed_cps", sa.Float(), nullable=True),
        sa.Column("codecs", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("manufacturer", sa.Text(), server_default="", nullable=False),
        sa.Column("version", sa.Text(), server_default="", nullable=False),
        sa.Column("dial_pattern", sa.Text(), server_default="", nullable=False),
        sa.Column("cli_prefix", sa.Text(), server_default="", nullable=False),
        sa.Column("tech_prefix", sa.Text(), server_default="", nullable=False),
        sa.Column("strip_digits", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bandwidth_kbps", sa.Integer(), nullable=True),
        sa.Column("force_from", sa.Text(), server_default="", nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("(true)"), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("archived_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_endpoints_customer_id_customers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_endpoints")),
    )
    op.create_index(op.f("ix_endpoints_customer_id"), "endpoints", ["customer_id"], unique=False)
    op.create_index("ix_endpoints_host", "endpoints", ["host"], unique=False)
    op.create_table(
        "ingress_routes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("rate_card_id", sa.BigInteger(), nullable=False),
        sa.Column("tech_prefix", sa.Text(), server_default="", nullable=False),
        sa.Column("dial_strings", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("(true)"), nullable=False),
        sa.Column("priority", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("channels", sa.Integer(), nullable=True),
        sa.Column("flow_speed_cps", sa.Float(), nullable=True),
        sa.Column("cps_buffer_s", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("max_duration_s", sa.Integer(), nullable=True),
        sa.Column("capped_rate_nanos", sa.BigInteger(), nullable=True),
        sa.Column("vendor_capped_rate_nanos", sa.BigInteger(), nullable=True),
        sa.Column("profit_mode", sa.Text(), server_default="off", nullable=False),
        sa.Column("block_connect_fee", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("lock_cards", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("exclude_cards", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("strategy", sa.Text(), server_default="lcr", nullable=False),
        sa.Column("recording", sa.Text(), server_default="off", nullable=False),
        sa.Column("notes_public", sa.Text(), server_default="", nullable=False),
        sa.Column("notes_private", sa.Text(), server_default="", nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("archived_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customers.id"], name=op.f("fk_ingress_routes_customer_id_customers")
        ),
        sa.ForeignKeyConstraint(
            ["rate_card_id"], ["rate_cards.id"], name=op.f("fk_ingress_routes_rate_card_id_rate_cards")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingress_routes")),
    )
    op.create_index(op.f("ix_ingress_routes_customer_id"), "ingress_routes", ["customer_id"], unique=False)
    op.create_index(op.f("ix_ingress_routes_rate_card_id"), "ingress_routes", ["rate_card_id"], unique=False)
    op.create_table(
        "revisions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("card_id", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("file_name", sa.Text(), server_default="", nullable=False),
        sa.Column("sha256", sa.Text(), server_default="", nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["card_id"], ["rate_cards.id"], name=op.f("fk_revisions_card_id_rate_cards")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revisions")),
    )
    op.create_index(op.f("ix_revisions_card_id"), "revisions", ["card_id"], unique=False)
    op.create_table(
        "sip_users",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("realm", sa.Text(), nullable=False),
        sa.Column("ha1_md5", sa.Text(), server_default="", nullable=False),
        sa.Column("ha1_sha256", sa.Text(), server_default="", nullable=False),
        sa.Column("ha1_sha512_256", sa.Text(), server_default="", nullable=False),
        sa.Column("channels", sa.Integer(), nullable=True),
        sa.Column("flow_speed_cps", sa.Float(), nullable=True),
        sa.Column("transport", sa.String(length=4), nullable=True),
        sa.Column("ip_allow_list", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("codecs", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("dial_pattern", sa.Text(), server_default="", nullable=False),
        sa.Column("cli_prefix", sa.Text(), server_default="", nullable=False),
        sa.Column("strip_digits", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("force_from", sa.Text(), server_default="", nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("(true)"), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("archived_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_sip_users_customer_id_customers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sip_users")),
    )
    op.create_index(op.f("ix_sip_users_customer_id"), "sip_users", ["customer_id"], unique=False)
    op.create_index(
        "uq_sip_users_username",
        "sip_users",
        ["username", "realm"],
        unique=True,
        sqlite_where=sa.text("archived_ms IS NULL"),
        postgresql_where=sa.text("archived_ms IS NULL"),
    )
    op.create_table(
        "activations",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("card_id", sa.BigInteger(), nullable=False),
        sa.Column("revision_id", sa.BigInteger(), nullable=False),
        sa.Column("active_from_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("cancelled_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["card_id"], ["rate_cards.id"], name=op.f("fk_activations_card_id_rate_cards")),
        sa.ForeignKeyConstraint(["revision_id"], ["revisions.id"], name=op.f("fk_activations_revision_id_revisions")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activations")),
    )
    op.create_index(op.f("ix_activations_card_id"), "activations", ["card_id"], unique=False)
    op.execute("INSERT INTO snapshot_version (id, version) VALUES (1, 1)")
    now_ms = int(time.time() * 1000)
    op.execute(
        sa.text(
            "INSERT INTO clients (name, name_key, is_management, type, status, billing_ref, billing_ref_key,"
            " created_ms, updated_ms) VALUES ('Management', 'management', true, 'residential', 'active',"
            " 'MANAGEMENT', 'management', :now, :now)"
        ).bindparams(now=now_ms)
    )
    # Nobody edits the audit trail, not even our own code by mistake.
    if op.get_context().dialect.name == "sqlite":
        for action in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_refuses_{action.lower()} BEFORE {action} ON audit"
                " BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END"
            )
    else:
        op.execute(
            "CREATE FUNCTION refuse_audit_edit() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$"
        )
        op.execute(
            "CREATE TRIGGER audit_refuses_edits BEFORE UPDATE OR DELETE ON audit"
            " FOR EACH ROW EXECUTE FUNCTION refuse_audit_edit()"
        )
