"""What a file of `tandem apply` can hold: tables, what tells their rows apart, and what their fields mean."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

MONEY: Final = frozenset(
    {"debit_limit", "minimum_payment", "daily_spend_limit", "capped_rate", "vendor_capped_rate", "max_cost"}
    | {"tax_percent", "total", "cost", "retail", "setup_cost", "setup_retail", "minimum_spend"}
    | {"monthly_price", "setup_price", "threshold", "reset_threshold"}
)
"""Decimal strings: `100` and `100.00` are the same."""
GROUPS: Final = frozenset({"timers"})
"""Tables whose fields are changed one by one, as the fields of the thing itself are."""
SETS: Final = frozenset({"events", "permissions"})
"""Lists whose order means nothing."""
SECRETS: Final = frozenset({"password"})
"""Written when a thing is created; the API never shows them, so they cannot be compared."""
ONCE: Final = frozenset({"generate_password"})
"""Done when a thing is created; no field that it has afterwards."""
REFERENCES: Final = {
    "client": ("client_id", "clients"),
    "provider": ("provider_id", "providers"),
    "provider_card": ("provider_card_id", "rate_cards"),
    "customer": ("customer_id", "customers"),
    "customer_card": ("customer_card_id", "rate_cards"),
    "rate_card": ("rate_card_id", "rate_cards"),
    "package": ("package_id", "packages"),
    "product": ("product_id", "products"),
}
REFERENCE_LISTS: Final = {
    "vendor_cards": "vendor_card_ids",
    "lock_cards": "lock_cards",
    "exclude_cards": "exclude_cards",
}


class Lookup(NamedTuple):
    """A reference to something of which there may be very many: the one is asked for."""

    field: str
    table: str
    path: str
    key: str
    shown: str
    """Where the row that refers to it shows its name."""


LOOKUPS: Final = {
    "sip_user": Lookup("sip_user_id", "sip_users", "/sip-users", "username", "sip_username"),
    "did": Lookup("did_id", "dids", "/dids", "number", "number"),
}


class Kind(msgspec.Struct, frozen=True):
    """One table of the file: where the API keeps its like, and what tells one from another."""

    table: str
    noun: str
    path: str
    """Of the list, below the parent's own path where there is one."""
    key: tuple[str, ...] = ("name",)
    """Fields that identify one; an endpoint has no name, so its address does."""
    defaults: dict[str, Any] = {}
    """What key fields are where the file leaves them out."""
    is_list: bool = False
    """Written as `[[…]]`: no name stands in the heading."""
    children: tuple[Kind, ...] = ()
    found_by: str = ""
    """The list's parameter that finds one by its first key, where there may be very many."""
    only: dict[str, Any] = {}
    """What the API's list shows of those that this table is about."""
    fixed: tuple[str, ...] = ()
    """Fields that never change: a file that has them otherwise is refused."""
    advice: str = ""
    """What to do instead."""
    paid_for: tuple[str, ...] = ()
    """What is bought (a reference), its first day and its last. Another first day is another purchase: beside one
    that runs and that the file does not have, it is refused. Dates move with a client's start, or are mistyped."""


ENDPOINTS: Final = Kind(
    table="endpoints",
    noun="endpoint",
    path="endpoints",
    key=("direction", "host", "tech_prefix", "transport", "port"),
    defaults={"direction": "egress", "tech_prefix": "", "transport": None, "port": None},
    is_list=True,
)
SIP_USERS: Final = Kind(table="sip_users", noun="sip user", path="sip-users", key=("username",))
NUMBER_BLOCKS: Final = Kind(
    table="internal_number_blocks",
    noun="internal number block",
    path="internal-number-blocks",
    key=("start",),
    is_list=True,
)
INGRESS_ROUTES: Final = Kind(table="ingress_routes", noun="ingress route", path="ingress-routes")
CLI_RULES: Final = Kind(
    table="cli_rules",
    noun="CLI rule",
    path="cli-rules",
    key=("action", "match", "pai_match", "dialled_match", "to"),
    defaults={"match": "", "pai_match": "", "dialled_match": "", "to": ""},
    is_list=True,
)
"""In the order of the file where they are made; later ones go behind those that are there."""
PAYMENTS: Final = Kind(table="payments", noun="payment", path="payments", key=("key",), is_list=True, found_by="key")
"""Made under their key as `Idempotency-Key`."""
CONTACTS: Final = Kind(table="contacts", noun="contact", path="contacts", key=("email",))
CUSTOMER_PACKAGES: Final = Kind(
    table="customer_packages",
    noun="package",
    path="customer-packages",
    key=("package", "start"),
    is_list=True,
    paid_for=("package", "start", "end"),
)
CONTRACTS: Final = Kind(table="contracts", noun="contract", path="contracts", key=("title",))
ALERTS: Final = Kind(table="alerts", noun="alert", path="alerts")
PURCHASES: Final = Kind(
    table="purchases",
    noun="purchase",
    path="purchases",
    key=("product", "start_date"),
    is_list=True,
    fixed=("quantity", "end_date"),
    advice="a purchase is cancelled, and another one made",
    paid_for=("product", "start_date", "end_date"),
)
TELEPHONE_SERVICES: Final = Kind(
    table="telephone_services", noun="telephone service", path="telephone-services", key=("extension",)
)
GATEWAYS: Final = Kind(
    table="gateways",
    noun="gateway",
    path="gateways",
    key=("host", "port", "transport"),
    defaults={"port": None, "transport": "udp"},
    is_list=True,
)
RATE_CARDS: Final = Kind(table="rate_cards", noun="rate card", path="/rate-cards")
WEBHOOKS: Final = Kind(
    table="webhooks",
    noun="webhook",
    path="/webhooks",
    fixed=("customer",),
    advice="it is archived, and another one made",
)
DIDS: Final = Kind(table="dids", noun="DID", path="/dids", key=("number",), found_by="number")
ALL_ALERTS: Final = Kind(table="alerts", noun="alert", path="/alerts", only={"customer_id": None})
"""Of the whole installation."""
KINDS: Final = (
    Kind(table="clients", noun="client", path="/clients", children=(PURCHASES, TELEPHONE_SERVICES)),
    Kind(
        table="products",
        noun="product",
        path="/products",
        fixed=("currency", "kind"),
        advice="it is taken off sale (`enabled = false`), and another one made",
    ),
    Kind(table="providers", noun="provider", path="/providers", children=(GATEWAYS,)),
    RATE_CARDS,
    Kind(
        table="packages",
        noun="package",
        path="/packages",
        fixed=("currency",),
        advice="it is taken off sale (`enabled = false`), and another one made",
    ),
    Kind(
        table="customers",
        noun="customer",
        path="/customers",
        children=(
            *(ENDPOINTS, NUMBER_BLOCKS, SIP_USERS, INGRESS_ROUTES, CLI_RULES, PAYMENTS),
            *(CONTACTS, CUSTOMER_PACKAGES, CONTRACTS, ALERTS),
        ),
    ),
    DIDS,
    WEBHOOKS,
    ALL_ALERTS,
)
ORDER: Final = (
    *("clients", "products", "purchases", "providers", "rate_cards", "packages", "customers"),
    *("dids", "telephone_services", "webhooks", "alerts"),
)
"""In which they can be made: what is referred to comes first. Tables that are not here come with their parents."""
