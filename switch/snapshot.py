"""Configuration as the switch sees it: frozen records keyed by id, whole snapshots and deltas.

The control plane builds these records from its store and sends a whole `Snapshot` first and
`Delta`s after. Every record carries what a call needs and nothing else. Money is in nano-units,
times are milliseconds since the epoch (UTC), limits of `None` mean unlimited. Statuses are the
strings of the API, so that a record reads like the resource it came from.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Customer(msgspec.Struct, frozen=True, kw_only=True, tag="customer"):
    id: int
    name: str
    status: Literal["pending_approval", "active", "inactive", "penalty"]
    currency: str = "USD"
    client_id: int | None = None
    penalty_until_ms: int | None = None
    debit_limit_nanos: int = 0
    tax_ppm: int = 0
    """Tax in parts per million: 20 % is 200,000."""
    channels: int | None = None
    flow_speed_cps: float | None = None
    daily_spend_limit_nanos: int | None = None
    allow_inbound_without_credit: bool = False
    first_reply_ms: int | None = None
    pdd_ms: int | None = None
    ring_ms: int | None = None
    time_zone: str = "UTC"
    trust_pai: bool = False
    """Its P-Asserted-Identity says who is calling; else none of it goes on."""
    allowed_headers: tuple[str, ...] = ()
    """Names of `X-…` headers that pass between it and vendors."""


class Client(msgspec.Struct, frozen=True, kw_only=True, tag="client"):
    id: int
    name: str
    status: Literal["new", "scheduled", "active", "suspended", "inactive"]
    starts_at_ms: int | None = None
    """A `scheduled` client counts as `active` from here on, even with the control plane away."""
    ends_at_ms: int | None = None
    """An `active` or `suspended` client counts as `inactive` from here on."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, tag="endpoint"):
    id: int
    customer_id: int
    direction: Literal["egress", "ingress"]
    """Seen from the customer's switch: `egress` sends calls to us, `ingress` receives them."""
    host: str
    """An address or a CIDR block; a name only where the endpoint receives calls."""
    transport: Literal["udp", "tcp", "tls"] | None = None
    """None: any."""
    port: int | None = None
    channels: int | None = None
    flow_speed_cps: float | None = None
    codecs: tuple[str, ...] = ()
    dial_pattern: str = ""
    """Empty: E.164 with its usual spellings (`rating.numbers`)."""
    cli_prefix: str = ""
    tech_prefix: str = ""
    strip_digits: int = 0
    bandwidth_kbps: int | None = None
    force_from: str = ""
    enabled: bool = True


class SipUser(msgspec.Struct, frozen=True, kw_only=True, tag="sip_user"):
    id: int
    customer_id: int
    username: str
    realm: str
    ha1_md5: str = ""
    """Lower-case hex of H(user:realm:password); empty where the account refuses the algorithm."""
    ha1_sha256: str = ""
    ha1_sha512_256: str = ""
    channels: int | None = None
    flow_speed_cps: float | None = None
    transport: Literal["udp", "tcp", "tls"] | None = None
    ip_allow_list: tuple[str, ...] = ()
    codecs: tuple[str, ...] = ()
    dial_pattern: str = ""
    cli_prefix: str = ""
    strip_digits: int = 0
    force_from: str = ""
    enabled: bool = True
    call_permissions: tuple[tuple[str, bool], ...] = ()
    """Beginnings of numbers and whether they may be called: the longest that fits decides. None: all may."""


class IngressRoute(msgspec.Struct, frozen=True, kw_only=True, tag="ingress_route"):
    id: int
    customer_id: int
    name: str = ""
    rate_card_id: int
    tech_prefix: str = ""
    dial_strings: tuple[str, ...] = ()
    """Digits only is a prefix, anything else an RE2 expression; any passes; none: everything."""
    enabled: bool = True
    priority: int = 0
    """Lower goes first."""
    channels: int | None = None
    flow_speed_cps: float | None = None
    cps_buffer_s: int = 0
    max_duration_s: int | None = None
    capped_rate_nanos: int | None = None
    vendor_capped_rate_nanos: int | None = None
    profit_mode: Literal["off", "rate", "worst_case", "expected"] = "off"
    block_connect_fee: bool = False
    lock_cards: tuple[int, ...] = ()
    exclude_cards: tuple[int, ...] = ()
    strategy: Literal["lcr", "priority", "weighted", "round_robin"] = "lcr"
    durations: tuple[tuple[int, int], ...] = ()
    """How long its answered calls were of late, for `profit_mode` `expected`: seconds and calls, ascending.
    Empty while there are too few to judge by."""


class Provider(msgspec.Struct, frozen=True, kw_only=True, tag="provider"):
    id: int
    name: str
    enabled: bool = True
    currency: str = "USD"
    channels: int | None = None
    flow_speed_cps: float | None = None
    tech_prefix: str = ""
    number_format: Literal["e164", "plus", "00", "011"] = "e164"
    """How the number leaves: bare digits, or with the prefix named."""
    first_reply_ms: int | None = None
    pdd_ms: int | None = None
    ring_ms: int | None = None
    cause_table: dict[int, Literal["next", "stop"]] = {}
    """SIP status to what follows it, over the defaults of SPEC: try the next vendor, or stop."""
    send_pai: Literal["never", "pass", "always"] = "pass"
    """P-Asserted-Identity to it: none, that of customers who are trusted, or one for each number."""
    pai_format: Literal["sip", "tel"] = "sip"
    """Of those that we write."""
    privacy: Literal["honour", "pass"] = "honour"
    """Callers who ask for privacy: shown to it as anonymous, or with their request, which it has to honour."""
    allowed_headers: tuple[str, ...] = ()
    """Names of `X-…` headers that pass between it and customers."""
    penalty_until_ms: int | None = None
    """No call goes to it before then."""


class Gateway(msgspec.Struct, frozen=True, kw_only=True, tag="gateway"):
    id: int
    provider_id: int
    host: str
    """An address literal, or a name that is resolved ahead of calls (RFC 3263)."""
    port: int | None = None
    transport: Literal["udp", "tcp", "tls"] = "udp"
    also_tcp: bool = False
    """A UDP gateway that takes TCP too: requests over 1,300 bytes go that way (RFC 3261 §18.1.1)."""
    weight: int = 1
    channels: int | None = None
    flow_speed_cps: float | None = None
    enabled: bool = True
    probe: bool = False
    """OPTIONS probing; a gateway that is not probed is judged by its calls' Retry-After alone."""
    probe_interval_ms: int = 30_000
    probe_failures_max: int = 3
    probe_successes_min: int = 2
    tls_verify: bool = True
    codecs: tuple[str, ...] = ()
    """Those that it takes; none: any."""


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """One compiled revision of a rate card; `path` names its deck without suffix (`rating.decks`)."""

    id: int
    path: str
    active_from_ms: int = 0


class RateCard(msgspec.Struct, frozen=True, kw_only=True, tag="rate_card"):
    id: int
    name: str
    direction: Literal["sell", "buy"]
    currency: str = "USD"
    decimals: int = 4
    rounding: Literal["up", "half_up", "down"] = "up"
    duration_rounding: Literal["up", "half_up", "down"] = "up"
    grace_s: int = 0
    minimum_s: int = 0
    max_cost_nanos: int | None = None
    time_zone: str = "UTC"
    """Where time-of-week windows of its rows are read."""
    provider_id: int | None = None
    """Buy cards: whose prices these are."""
    vendor_card_ids: tuple[int, ...] = ()
    """Sell cards: buy cards that calls sold by this card may leave through."""
    priority: int = 0
    weight: int = 1
    """Of a buy card, for the strategies of those names."""
    enabled: bool = True
    revisions: tuple[Revision, ...] = ()
    """The active one and those scheduled, by `active_from_ms`; the last that has begun counts."""


class DidDestination(msgspec.Struct, frozen=True):
    """Where a number rings."""

    kind: Literal["endpoint", "sip_user", "uri", "number"]
    id: int | None = None
    """Of the endpoint (`direction` `ingress`) or the SIP user."""
    value: str = ""
    """The SIP URI, or the external number in E.164 digits."""


class Did(msgspec.Struct, frozen=True, kw_only=True, tag="did"):
    """A number of ours: calls to it from a provider's gateway are inbound calls of its customer."""

    id: int
    number: str
    """E.164 digits."""
    customer_id: int | None = None
    """None: nobody has it, and it does not ring."""
    provider_id: int | None = None
    """Whose gateways it is called through; None: those of any enabled provider."""
    customer_card_id: int | None = None
    """The sell card that prices its calls; None: they cost the customer nothing."""
    provider_card_id: int | None = None
    """The buy card that says what its calls cost us; None: nothing."""
    destinations: tuple[DidDestination, ...] = ()
    order: Literal["serial", "random"] = "serial"
    channels: int | None = None
    enabled: bool = True


class CliRule(msgspec.Struct, frozen=True, kw_only=True, tag="cli_rule"):
    """One rule of a customer's about calling numbers (`switch.policy.cli_rules`)."""

    id: int
    customer_id: int
    position: int = 0
    """Lower is asked first; of equal ones the lower id."""
    match: str = ""
    """Digits are a prefix, anything else an RE2 expression; empty: every number. So the next two."""
    pai_match: str = ""
    """Of the number in P-Asserted-Identity; where there is none it is empty."""
    dialled_match: str = ""
    action: Literal["allow", "deny", "rewrite", "force"]
    to: str = ""
    """Of `rewrite` and `force`: the number to send; `\\1` or `$1` is a group of `match`."""
    enabled: bool = True


Record = Customer | Client | Endpoint | SipUser | IngressRoute | Provider | Gateway | RateCard | Did | CliRule


class Key(msgspec.Struct, frozen=True):
    """Names a record: `kind` is its tag."""

    kind: str
    id: int


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    records: tuple[Record, ...] = ()
    balances: dict[int, int] | None = None
    """Nano-units by customer, for a switch that runs on a file alone and has no balances yet."""


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """What changed since `version - 1`: put replaces or adds whole records."""

    version: int
    put: tuple[Record, ...] = ()
    remove: tuple[Key, ...] = ()
