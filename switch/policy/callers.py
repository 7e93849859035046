"""Who may call, with what must not be worked out again for every call.

Built once per record: compiled patterns, layer keys, and the limits that the record sets. A
customer's own record lives in one `Account` that its endpoints and users share, so that changing
the customer rebuilds none of them.
"""

from __future__ import annotations

from rating.numbers import DialPattern
from switch.policy.blocks import Blocks
from switch.policy.cli_rules import CliRules
from switch.policy.dial_strings import DialStrings
from switch.policy.live import CUSTOMER, ENDPOINT, ROUTE, USER, layer_key
from switch.policy.permissions import Permissions
from switch.snapshot import Client, Customer, Endpoint, IngressRoute, SipUser
from switch.wire.sdp import CodecList, codec_list


class Account:
    """A customer and the client that owns it. Both change in place; calls keep the records."""

    def __init__(self, customer_id: int) -> None:
        self.customer: Customer | None = None
        """None: an endpoint or user names a customer that is not there."""
        self.client: Client | None = None
        self.customer_id: int = customer_id
        self.key: int = layer_key(CUSTOMER, customer_id)
        self.rates: list[tuple[int, float]] = []
        """Layer key and calls per second, where limited: at most one element."""
        self.caps: list[tuple[int, int]] = []
        """Layer key and channels, where limited: at most one element."""
        self.cli_rules: CliRules | None = None
        """None: there are none, and every calling number passes."""

    def set_customer(self, customer: Customer | None) -> None:
        self.customer = customer
        self.rates = [] if customer is None else _rates(self.key, customer.flow_speed_cps)
        self.caps = [] if customer is None else _caps(self.key, customer.channels)


class Caller:
    """An endpoint or a SIP user: one of the two is set."""

    def __init__(
        self,
        endpoint: Endpoint | None,
        user: SipUser | None,
        account: Account,
        pattern: DialPattern | None,
        allowed: Blocks | None,
    ) -> None:
        record = endpoint if endpoint is not None else user
        assert record is not None
        self.endpoint: Endpoint | None = endpoint
        self.user: SipUser | None = user
        self.account: Account = account
        self.record_id: int = record.id
        self.customer_id: int = record.customer_id
        self.is_enabled: bool = record.enabled
        self.transport: str | None = record.transport
        self.tech_prefix: str = endpoint.tech_prefix if endpoint is not None else ""
        self.strip_digits: int = record.strip_digits
        self.pattern: DialPattern | None = pattern
        """None: E.164 in its usual spellings."""
        self.allowed: Blocks | None = allowed
        """Users: addresses that the user may call from; None is any."""
        self.cli_prefix: str = record.cli_prefix
        self.force_from: str = record.force_from
        self.key: int = layer_key(ENDPOINT if endpoint is not None else USER, record.id)
        self.rates: list[tuple[int, float]] = _rates(self.key, record.flow_speed_cps)
        self.caps: list[tuple[int, int]] = _caps(self.key, record.channels)
        self.permissions: Permissions | None = None
        """Users: what they may call; None is everything."""
        if user is not None and user.call_permissions:
            self.permissions = Permissions(user.call_permissions)
        self.kbps_max: int | None = endpoint.bandwidth_kbps if endpoint is not None else None
        self.codecs: CodecList | None = codec_list(record.codecs)
        """None: any."""
        self.watches_media: bool = self.codecs is not None or self.kbps_max is not None
        """Whether what an INVITE offers has to be looked at."""

    def takes(self, transport: str, dialled: str) -> bool:
        """Whether a call that came from this endpoint's address is this endpoint's."""
        return (
            dialled.startswith(self.tech_prefix)
            and (self.transport is None or self.transport == transport)
            and self.account.customer is not None
        )

    def cli_out(self, cli: str) -> str:
        """The calling number as vendors see it: forced, or with the prefix before its digits."""
        if self.force_from:
            return self.force_from
        if self.cli_prefix:
            digits = cli.removeprefix("+")
            # What is no number (`anonymous`) stays what it is.
            if digits[:1].isdigit():
                return self.cli_prefix + digits
        return cli


class LoadedRoute:
    """An ingress route with its dial strings compiled."""

    def __init__(self, record: IngressRoute, dial: DialStrings) -> None:
        self.record: IngressRoute = record
        self.id: int = record.id
        self.rate_card_id: int = record.rate_card_id
        self.strategy: str = record.strategy
        self.profit_mode: str = record.profit_mode
        self.blocks_connect_fee: bool = record.block_connect_fee
        self.durations: tuple[tuple[int, int], ...] = record.durations
        self.max_duration_s: int | None = record.max_duration_s
        self.capped_rate_nanos: int | None = record.capped_rate_nanos
        self.vendor_capped_rate_nanos: int | None = record.vendor_capped_rate_nanos
        self.dial: DialStrings = dial
        self.tech_prefix: str = record.tech_prefix
        self.locked: frozenset[int] = frozenset(record.lock_cards)
        self.excluded: frozenset[int] = frozenset(record.exclude_cards)
        self.key: int = layer_key(ROUTE, record.id)
        self.rates: list[tuple[int, float]] = _rates(self.key, record.flow_speed_cps)
        self.caps: list[tuple[int, int]] = _caps(self.key, record.channels)


def route_precedence(route: LoadedRoute) -> tuple[int, int, int]:
    """Longest tech prefix, then priority (lower first), then id."""
    return (-len(route.tech_prefix), route.record.priority, route.record.id)


def _rates(key: int, rate: float | None) -> list[tuple[int, float]]:
    return [] if rate is None else [(key, rate)]


def _caps(key: int, channels: int | None) -> list[tuple[int, int]]:
    return [] if channels is None else [(key, channels)]
