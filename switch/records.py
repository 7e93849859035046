"""What the switch writes to its journal: one tagged struct a kind of record.

The journal is the switch's only durable word; the control plane reads it into the store exactly
once. Times are milliseconds since the epoch (UTC); money is in nano-units of the card's currency.
New kinds may be added, and new fields with defaults at the end of a kind; none is ever removed or
re-used.

`gc=False`: values alone cannot make a cycle, and what the collector need not know of is made and
freed in less time.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from switch.flow import Flow
from switch.snapshot import Delta


class Candidate(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One vendor card that was looked at for a call, and why it was taken or left."""

    card_id: int
    provider_id: int
    outcome: str
    """`taken`, or a reason: `no_rate`, `blocked`, `capped`, `locked_out`, `excluded`, `margin`,
    `connect_fee`, `currency`, `channels`, `cps`, `codecs`, `unhealthy`, `disabled`, `not_reached`."""
    rate_nanos: int = 0
    margin_nanos: int = 0
    """Sell minus buy of one minute (`rate`), of the worst billable length (`worst_case`), or the mean
    of the route's own lengths (`expected`)."""
    detail: str = ""


class Attempt(msgspec.Struct, frozen=True, gc=False, kw_only=True):
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
    `unreachable`, `rejected`; `delivered`: what an inbound call cost that went out again."""
    billed_s: int = 0
    cost_nanos: int = 0
    destination: str = ""
    """Inbound calls: what rang, `endpoint 3`, `sip_user 5 sip:…`, `sip:…` or `number 4420…`. Provider and
    gateway are those that brought the call, but where it went out to a number."""


class Cdr(msgspec.Struct, frozen=True, gc=False, kw_only=True, array_like=True):
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
    decision: str = ""
    """In words: which rule about the calling number decided and how, or why the call was refused."""
    did_id: int | None = None
    """Of inbound calls: the number that was called."""


RowFacts = tuple[
    str,
    str,
    int,
    int,
    int,
    int,
    int,
    int,
    bool,
    int,
    int,
    int,
    tuple[tuple[int, int], ...],
    tuple[tuple[int, int, int], ...],
]
"""`rating.rows.RateRow.facts()`: every argument of its constructor, in order."""

TariffFacts = tuple[int, str, str, int, int, int | None, str]
"""`rating.quotes.Tariff.facts()`: every argument of its constructor, in order."""


class QuoteFacts(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A price as the call began with it: no later change of cards or decks can touch it."""

    row: RowFacts
    tariff: TariffFacts
    tax_ppm: int
    card_id: int
    revision_id: int
    at_ms: int


class DidFacts(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What makes a call an inbound one."""

    id: int
    provider_id: int
    """Who brought it."""
    provider_name: str
    gateway_id: int
    number: str
    buy: QuoteFacts
    """What it costs us, whoever answers."""
    rings_without_credit: bool = False
    """Where its money ends it goes on, and costs no more than it held."""


class Admitted(msgspec.Struct, frozen=True, gc=False, kw_only=True, array_like=True, tag="admitted"):
    """A call was let in and holds money; written before its first INVITE leaves.

    Moments called `…_at` are monotonic seconds of the boot that the last `Checkpoint` names; the
    wall clock of the call is `…_at + wall_offset_s`, whatever happens to the clock later.
    """

    id: str
    customer_id: int
    client_id: int | None
    endpoint_id: int | None
    sip_user_id: int | None
    route_id: int | None
    """None: inbound."""
    source: Flow
    transport: str
    call_id: str
    cli_in: str
    cli_out: str
    dialled_in: str
    dialled_out: str
    invited_at: float
    wall_offset_s: float
    currency: str
    sell: QuoteFacts
    user_agent: str
    is_challenged: bool
    max_duration_s: int
    """The longest that it may talk: of its route, or of the switch."""
    held_nanos: int
    invite: bytes
    """As received, so that its caller can still be answered after a restart; empty once answered."""
    decision: str = ""
    """What rules did to it, in words."""
    did: DidFacts | None = None
    """None: outbound."""


class LegState(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One peer's dialog (`switch.call.leg.Leg`, RFC 3261 §12)."""

    call_id: bytes
    remote_value: bytes
    remote_tag: bytes
    local_value: bytes
    local_tag: bytes
    heard_from: Flow
    remote_target: bytes
    route_set: list[bytes]
    remote_cseq: int
    local_cseq: int


class SessionState(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Session timer that was agreed upon (RFC 4028)."""

    interval_s: int
    """0: none was."""
    refresher: str = ""
    """`caller`, `callee` or `switch`."""


class Answered(msgspec.Struct, frozen=True, gc=False, kw_only=True, array_like=True, tag="answered"):
    """The callee has answered; written before the 200 leaves for the caller."""

    id: str
    progress_at: float
    answered_at: float
    status: int
    ingress: LegState
    egress: LegState
    invite_cseq: int
    reply_flow: Flow
    """Where responses to the caller's INVITE go."""
    swap: tuple[bytes, bytes] | None
    """From as the caller and as the callee know it, where the number was changed on the way."""
    codecs: str
    attempts: tuple[Attempt, ...]
    """Those that failed before."""
    attempt: Attempt
    """The one that was answered; it ends and costs when the call does."""
    buy: QuoteFacts
    explanation: tuple[Candidate, ...]
    session: SessionState = SessionState(0)


class Extended(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="extended"):
    """A call's hold has grown."""

    id: str
    held_nanos: int
    """The whole hold."""


class Kept(msgspec.Struct, frozen=True, array_like=True, tag="kept"):
    """A live call as it is now, written again so that the segment which it began in may go."""

    admitted: Admitted
    answered: Answered | None
    held_nanos: int
    alive_at: float = 0.0
    """Of a restored call that was not heard of on both sides since: when it was last known to be up. 0.0: it
    is up as of this record, and for as long as records go on."""


class Beat(msgspec.Struct, frozen=True, array_like=True, tag="beat"):
    """Once a second while calls are up: so long, at least, they were."""

    at: float


class Credited(msgspec.Struct, frozen=True, array_like=True, tag="credited"):
    """An entry of the store's ledger that no call made is in a balance: payment, fee, adjustment …"""

    entry_id: int
    """Ids rise: what is not above the highest one so far is in already."""
    customer_id: int
    amount_nanos: int


class AccountState(msgspec.Struct, frozen=True, array_like=True):
    customer_id: int
    balance_nanos: int
    spent_day: int = 0
    """Day that `spent_nanos` counts, as days since the epoch in the customer's time zone."""
    spent_nanos: int = 0


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="checkpoint"):
    """All balances as of this record: the first of most segments. A replay begins at one of these."""

    at_ms: int
    boot_id: str
    """Whose monotonic clock the moments behind it are read from."""
    entry_id: int
    """Highest ledger entry that is in the balances."""
    accounts: tuple[AccountState, ...]
    oldest_segment: int
    """Number of the oldest segment that live calls of this moment still have records in; 0: any may."""
    has_balances: bool = True
    """False: the switch has been given none yet, and `accounts` says nothing."""
    live: tuple[str, ...] | None = None
    """Ids of the live calls, so that one whose end cannot be read is not taken for live; None: not told."""


class CallEnded(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="ended"):
    """A call is over; its hold is settled for the CDR's `gross_nanos`."""

    cdr: Cdr


class DeltaApplied(msgspec.Struct, frozen=True, array_like=True, tag="delta"):
    """The configuration is at another version."""

    version: int
    at_ms: int
    delta: Delta | None = None
    """What changed, for a start before the saved configuration has it; None: a whole snapshot came,
    or more than a record should hold."""


JournalRecord = CallEnded | DeltaApplied | Admitted | Answered | Extended | Kept | Beat | Credited | Checkpoint
