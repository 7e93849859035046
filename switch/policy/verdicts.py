"""What goes into a decision and what comes out of it.

Plain classes, since one of each is made for every INVITE: compiled they cost a tenth of a struct
(and nothing here travels; CDRs take the fields they want).
"""

from __future__ import annotations

from typing import Final

from rating.quotes import Quote
from switch.policy.callers import Caller
from switch.policy.cards import LoadedCard
from switch.policy.causes import Cause
from switch.records import Candidate
from switch.snapshot import Client, Customer, Endpoint, IngressRoute, Provider, SipUser
from switch.wire.identity import asserted_number
from switch.wire.message import Request
from switch.wire.sdp import CodecList, codec_kbps, description, kbps_of

MAX_DURATION_S: Final = 14_400
OFFERLESS_KBPS: Final = codec_kbps(b"pcma")


class Facts:
    """One INVITE as policy sees it.

    Args:
        source_ip: the packet's own source; nothing that a header says.
        transport: `udp`, `tcp` or `tls`.
        dialled: user part of the Request-URI, unescaped.
        cli: the calling number, user part.
        now_ms: wall clock, for prices and dates.
        now_s: monotonic clock, for rates and rests.
        user: who answered the digest challenge rightly; None: identify by address.
        kbps: what the offered codecs take at most; 0: what the INVITE says.
        max_duration_s: the switch's own limit, for calls that no route limits.
        invite: read only where a rule asks for more of it.
    """

    def __init__(
        self,
        source_ip: str,
        transport: str,
        dialled: str,
        cli: str,
        now_ms: int,
        now_s: float,
        user: SipUser | None = None,
        kbps: int = 0,
        max_duration_s: int = MAX_DURATION_S,
        invite: Request | None = None,
    ) -> None:
        self.source_ip: str = source_ip
        self.transport: str = transport
        self.dialled: str = dialled
        self.cli: str = cli
        self.now_ms: int = now_ms
        self.now_s: float = now_s
        self.user: SipUser | None = user
        self.kbps: int = kbps
        self.max_duration_s: int = max_duration_s
        self.caller: Caller | None = None
        """Who calls, where that is known already: an inbound call that goes out again."""
        self.invite: Request | None = invite
        self.asserted: str = ""
        """The number that is asserted, where no INVITE says it."""
        self.sdp: bytes = b""
        """What is offered, where no INVITE says it."""

    def offer(self) -> bytes:
        """The session description that is offered; empty where there is none that can be read."""
        invite = self.invite
        if invite is None:
            return self.sdp
        return description(invite)

    def kbps_by(self, allowed: CodecList | None) -> int:
        """What the call takes at most with these codecs; as by G.711 where the callee is to make the offer.

        0: without an INVITE nobody can say.
        """
        if self.kbps:
            return self.kbps
        offer = self.offer()
        if self.invite is None and not offer:
            return 0
        return kbps_of(offer, allowed) if offer else OFFERLESS_KBPS

    def pai(self) -> str:
        """The number that P-Asserted-Identity gives; empty where there is none, or none that can be read."""
        invite = self.invite
        return self.asserted if invite is None else asserted_number(invite)


class Option:
    """One vendor card that the call may leave through."""

    def __init__(self, card: LoadedCard, provider: Provider, quote: Quote, rate_nanos: int, margin_nanos: int) -> None:
        self.card: LoadedCard = card
        self.provider: Provider = provider
        self.quote: Quote = quote
        self.rate_nanos: int = rate_nanos
        """Price of a minute now: what `lcr` sorts by."""
        self.margin_nanos: int = margin_nanos


class Plan:
    """The call is let in: to whom it may go, in which order, and what it occupies meanwhile."""

    def __init__(
        self,
        customer: Customer,
        client: Client | None,
        endpoint: Endpoint | None,
        user: SipUser | None,
        route: IngressRoute,
        sell: Quote,
        sell_card: LoadedCard,
        dialled_out: str,
        cli_out: str,
        options: list[Option],
        explanation: list[Candidate],
        keys: list[int],
        steps: list[str],
    ) -> None:
        self.customer: Customer = customer
        self.client: Client | None = client
        self.endpoint: Endpoint | None = endpoint
        self.user: SipUser | None = user
        self.route: IngressRoute = route
        self.sell: Quote = sell
        self.sell_card: LoadedCard = sell_card
        self.dialled_out: str = dialled_out
        """E.164 digits; `number_for` gives each vendor's form."""
        self.cli_out: str = cli_out
        self.options: list[Option] = options
        self.explanation: list[Candidate] = explanation
        """`explanation[i]` is about `options[i]`, as `not_reached` until the engine says otherwise;
        behind them stand those that were skipped."""
        self.codecs: CodecList | None = None
        """What the endpoint or user may use; None: any."""
        self.kbps_max: int | None = None
        """What all calls of the endpoint may take together; None: unlimited."""
        self.kbps: int = 0
        """What this call may take at most; 0 where nothing limits it."""
        self.decision: str = ""
        """What rules did to the call, in words, for the CDR."""
        self.keys: list[int] = keys
        """Layer keys that the call occupies from now to its end: endpoint or user, customer,
        route, instance. Each attempt adds those of its provider and gateway."""
        self.steps: list[str] = steps
        """In words; filled for simulations only."""
        self.max_duration_ms: int | None = None if route.max_duration_s is None else route.max_duration_s * 1000
        self.first_reply_ms: int | None = customer.first_reply_ms
        self.pdd_ms: int | None = customer.pdd_ms
        self.ring_ms: int | None = customer.ring_ms


class Reject:
    """The call is refused; what was known by then stands beside the cause, for the CDR."""

    def __init__(self, cause: Cause, detail: str, steps: list[str]) -> None:
        self.cause: Cause = cause
        self.detail: str = detail
        """For the CDR and the log, never for the caller."""
        self.customer: Customer | None = None
        """None: a stranger, who gets no CDR."""
        self.customer_id: int | None = None
        self.client_id: int | None = None
        self.endpoint_id: int | None = None
        self.user_id: int | None = None
        self.route_id: int | None = None
        self.did_id: int | None = None
        """Set: an inbound call."""
        self.dialled_out: str = ""
        self.cli_out: str = ""
        self.sell: Quote | None = None
        self.sell_card: LoadedCard | None = None
        self.explanation: list[Candidate] = []
        self.retry_in_s: float = 0.0
        """Not 0: the route's call rate refused it, and its `cps_buffer_s` lets the INVITE be held
        this long and decided again."""
        self.patience_s: float = 0.0
        """How long it may be held in all."""
        self.steps: list[str] = steps


class Skip:
    """No gateway of a vendor can take the call now; `reason` is an outcome of `Candidate`."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason: str = reason
        self.detail: str = detail
