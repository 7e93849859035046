"""What travels over the Unix socket between switch and control: one tagged struct a frame.

A frame is a 4-byte big-endian length and a msgpack body. The control plane connects; the switch
listens on `switch.sock` in the data folder. Every request carries an `id` that its reply repeats.
"""

from __future__ import annotations

import msgspec

from switch.outputs import Alarm, GatewayHealth
from switch.records import Attempt, Candidate
from switch.snapshot import Delta, Snapshot


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """The switch's first frame on each connection."""

    snapshot_version: int
    """0: it has none and refuses calls until one comes."""
    started_ms: int
    is_compiled: bool
    journal_sequence: int
    entry_id: int | None = None
    """Highest ledger entry in its balances; None: it has no balances yet (`PutBalances`)."""


class PutSnapshot(msgspec.Struct, frozen=True, kw_only=True, tag="put_snapshot"):
    id: int
    snapshot: Snapshot


class PutDelta(msgspec.Struct, frozen=True, kw_only=True, tag="put_delta"):
    id: int
    delta: Delta


class ListCalls(msgspec.Struct, frozen=True, kw_only=True, tag="list_calls"):
    id: int
    customer_id: int | None = None
    with_waiting: bool = False
    """INVITEs too that wait for their route's call rate: they are no calls yet and occupy nothing."""


class ReadCall(msgspec.Struct, frozen=True, kw_only=True, tag="read_call"):
    """Ask how a live call was decided and what became of its attempts so far."""

    id: int
    cdr_id: str


class EndCall(msgspec.Struct, frozen=True, kw_only=True, tag="end_call"):
    id: int
    cdr_id: str
    by: str


class Simulate(msgspec.Struct, frozen=True, kw_only=True, tag="simulate"):
    """Decide a call as if its INVITE came now (or `at_ms`), and send nothing."""

    id: int
    dialled: str
    cli: str = ""
    source_ip: str = ""
    transport: str = "udp"
    username: str = ""
    at_ms: int | None = None
    pai: str = ""
    """The number in P-Asserted-Identity."""
    is_private: bool = False
    """The caller asks not to be shown (RFC 3323)."""
    codecs: tuple[str, ...] = ()
    """What the INVITE offers; none: nothing is said about codecs."""


class ReadStats(msgspec.Struct, frozen=True, kw_only=True, tag="read_stats"):
    id: int


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What the store's ledger has and no call has made."""

    id: int
    customer_id: int
    amount_nanos: int


class BookEntries(msgspec.Struct, frozen=True, kw_only=True, tag="book_entries"):
    """Bring entries into the balances; answered once they are in the journal.

    Ids ascend; an entry whose id is not above the highest one booked so far is passed over, so
    sending again does no harm, and no entry may be sent before one of a lower id.
    """

    id: int
    entries: tuple[Entry, ...]


class PutBalances(msgspec.Struct, frozen=True, kw_only=True, tag="put_balances"):
    """Balances for a switch that has none (`Hello.entry_id` is None); refused by one that has."""

    id: int
    entry_id: int
    """Highest ledger entry in them."""
    balances: dict[int, int]
    """Nano-units by customer; customers left out begin at 0."""


class ReadAccounts(msgspec.Struct, frozen=True, kw_only=True, tag="read_accounts"):
    """Ask for accounts as the switch has them; None: all."""

    id: int
    customer_ids: tuple[int, ...] | None = None


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One of `ReadAccounts`' result, a list."""

    customer_id: int
    balance_nanos: int
    held_nanos: int
    available_nanos: int
    """Balance + debit limit - held: what new calls may still hold."""
    spent_today_nanos: int
    """By calls that ended today in the customer's time zone."""
    holds: int
    """Live calls that hold money."""


class ListRegistrations(msgspec.Struct, frozen=True, kw_only=True, tag="list_registrations"):
    id: int
    sip_user_id: int


class RemoveRegistration(msgspec.Struct, frozen=True, kw_only=True, tag="remove_registration"):
    """End one contact of a user; the result says whether there was such a one."""

    id: int
    sip_user_id: int
    registration_id: str


class RegistrationRow(msgspec.Struct, frozen=True, kw_only=True):
    """One of `ListRegistrations`' result, a list."""

    id: str
    contact: str
    source: str
    """Where its calls go: address and port that its REGISTER came from."""
    transport: str
    user_agent: str
    path: str
    q: int
    """In thousandths."""
    registered_ms: int
    expires_ms: int
    answered_ms: int | None = None
    """When it last answered a ping; None: it was not asked, or never answered."""
    is_reachable: bool = True
    """False: it answered pings and has stopped."""


class ReadLoad(msgspec.Struct, frozen=True, kw_only=True, tag="read_load"):
    """Ask how busy it is; counts of what has begun start anew with each answer, so one may ask."""

    id: int


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """`ReadLoad`'s result. Each pair is calls that are up, and calls let in since the answer before."""

    since_s: float
    total: tuple[int, int] = (0, 0)
    customers: dict[int, tuple[int, int]] = {}
    providers: dict[int, tuple[int, int]] = {}
    """Attempts, instead of calls."""


class JournalIngested(msgspec.Struct, frozen=True, kw_only=True, tag="journal_ingested"):
    """Everything up to `sequence` is in the store: segments that end before it may go."""

    sequence: int


class Reply(msgspec.Struct, frozen=True, kw_only=True, tag="reply"):
    id: int
    error: str = ""
    """Empty: it was done. Else why not; `result` is empty then."""
    result: msgspec.Raw = msgspec.Raw(b"\xc0")
    """msgpack of the request's own result type; nil where there is none."""


class CallFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a live call in the same words here and in the API."""

    cdr_id: str
    customer_id: int
    route_id: int | None
    endpoint_id: int | None
    sip_user_id: int | None
    provider_id: int | None
    gateway_id: int | None
    call_id: str
    cli: str
    dialled: str
    source: str
    state: str
    """`trying`, `ringing`, `answered`, `ending`; `waiting` where that is asked for."""
    duration_ms: int
    direction: str = "outbound"
    """`inbound`: it rings at the customer."""


class LiveCall(CallFacts, frozen=True, kw_only=True):
    """One row of `ListCalls`' result, a list."""

    invited_ms: int
    answered_ms: int | None
    held_nanos: int = 0
    spent_nanos: int = 0


class CallDecision(msgspec.Struct, frozen=True, kw_only=True):
    """`ReadCall`'s result; nil where no such call is up. One that waits has no price yet."""

    call: LiveCall
    client_id: int | None
    decision: str = ""
    did_id: int | None = None
    cli_in: str
    cli_out: str
    dialled_in: str
    dialled_out: str
    transport: str
    currency: str
    card_id: int | None
    revision_id: int | None
    prefix: str
    destination: str
    rate_nanos: int
    candidates: tuple[Candidate, ...]
    attempts: tuple[Attempt, ...]


class SimulatedCandidate(msgspec.Struct, frozen=True, kw_only=True):
    card_id: int
    card_name: str
    provider_id: int
    provider_name: str
    outcome: str
    detail: str = ""
    prefix: str = ""
    rate_nanos: int = 0
    connect_fee_nanos: int = 0
    first_s: int = 1
    next_s: int = 1
    margin_nanos: int = 0
    dialled_out: str = ""
    gateway_id: int | None = None


class Simulated(msgspec.Struct, frozen=True, kw_only=True):
    """`Simulate`'s result: the whole decision."""

    is_admitted: bool
    status: int
    """What the caller would be sent; 0 while admitted."""
    cause: str
    steps: list[str]
    """Each step of the pipeline in words, in order."""
    customer_id: int | None = None
    endpoint_id: int | None = None
    sip_user_id: int | None = None
    route_id: int | None = None
    dialled_out: str = ""
    cli_out: str = ""
    sell_card_id: int | None = None
    sell_revision_id: int | None = None
    sell_prefix: str = ""
    sell_rate_nanos: int = 0
    destination: str = ""
    candidates: list[SimulatedCandidate] = []


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """`ReadStats`' result."""

    counters: dict[str, int]
    """Names are metric names without the `tandem_` prefix; monotonic since the start."""
    gauges: dict[str, float]
    gateways: list[GatewayHealth]


Request = (
    PutSnapshot
    | PutDelta
    | ListCalls
    | ReadCall
    | EndCall
    | Simulate
    | ReadStats
    | BookEntries
    | PutBalances
    | ReadAccounts
    | ListRegistrations
    | RemoveRegistration
    | ReadLoad
    | JournalIngested
)
Answer = Hello | Reply | GatewayHealth | Alarm
