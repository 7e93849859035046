"""What the switch writes to its journal: one tagged struct a kind of record.

The journal is the switch's only durable word; the control plane reads it into the store exactly
once. Times are milliseconds since the epoch (UTC); money is in nano-units of the card's currency.
New kinds and new fields with defaults may be added; none is ever removed or re-used.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Candidate(msgspec.Struct, frozen=True, array_like=True):
    """One vendor card that was looked at for a call, and why it was taken or left."""

    card_id: int
    provider_id: int
    outcome: str
    """`taken`, or a reason: `no_rate`, `blocked`, `capped`, `locked_out`, `excluded`, `margin`,
    `connect_fee`, `currency`, `channels`, `cps`, `unhealthy`, `disabled`, `not_reached`."""
    rate_nanos: int = 0
    margin_nanos: int = 0
    """Sell minus buy of one minute (`rate`), or of the worst billable length (`worst_case`)."""
    detail: str = ""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try at a gateway."""

    provider_id: int
    provider_name: str
    gateway_id: int
    card_id: int
    revision_id: int
    prefix: str
    rate_nanos: int
    dialled_out: str
    started_ms: int
    progress_ms: int | None = None
    answered_ms: int | None = None
    ended_ms: int
    status: int
    """The vendor's final status, or 0 where none came."""
    cause: str
    """`answered`, `cancelled`, `first_reply_timeout`, `pdd_timeout`, `ring_timeout`,
    `unreachable`, `rejected`."""
    billed_s: int = 0
    cost_nanos: int = 0


class Cdr(msgspec.Struct, frozen=True, kw_only=True):
    """A whole call, priced. One per call; attempts inside."""

    id: str
    """32 hex digits, time-ordered, drawn at the INVITE."""
    customer_id: int
    client_id: int | None
    endpoint_id: int | None
    sip_user_id: int | None
    route_id: int | None
    direction: Literal["inbound", "outbound"]
    """`outbound`: the customer sent it to us. `inbound`: it rang at the customer."""
    source: str
    """Address and port of the packet."""
    transport: str
    call_id: str
    cli_in: str
    cli_out: str
    dialled_in: str
    dialled_out: str
    """After the number pipeline: E.164 digits; each attempt has the vendor's own form."""
    invited_ms: int
    progress_ms: int | None
    answered_ms: int | None
    ended_ms: int
    pdd_ms: int | None
    duration_ms: int
    billed_s: int
    release: Literal["caller", "callee", "switch"]
    cause: str
    """A `Cause`."""
    status: int
    """What the caller was sent last for the INVITE."""
    currency: str
    card_id: int | None
    revision_id: int | None
    prefix: str
    destination: str
    """The sell row's name."""
    rate_nanos: int
    net_nanos: int
    tax_nanos: int
    gross_nanos: int
    cost_nanos: int
    margin_nanos: int
    user_agent: str
    codecs: str
    recording: str
    attempts: tuple[Attempt, ...]
    explanation: tuple[Candidate, ...]


class CallEnded(msgspec.Struct, frozen=True, tag="ended"):
    cdr: Cdr


class DeltaApplied(msgspec.Struct, frozen=True, tag="delta"):
    version: int
    at_ms: int


# The money issue adds: admitted (with its hold), answered, hold extended, credit applied.
JournalRecord = CallEnded | DeltaApplied
