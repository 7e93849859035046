"""Where a case stands: addresses of its own, records of its own, nothing shared with its neighbours.

Each case has a /24 of loopback addresses and a range of ids. So all cases can run at once through
one switch, and a packet or a CDR in the wrong place is seen.
"""

from __future__ import annotations

from msgspec.structs import replace

from config.settings import Timers
from switch.snapshot import Customer, Endpoint, Gateway, IngressRoute, Provider, RateCard, Record, Revision

PORT = 5060
TLS_PORT = 5061


class Place:
    """One case's addresses and ids.

    Args:
        block: second byte of every address: the run's own corner of 127.0.0.0/8.
        number: of the case, from 1; third byte, and thousands of every id.
        ports: only where `is_ipv6`: there is one loopback address, so ports tell peers apart.
    """

    def __init__(self, block: int, number: int, vendors: int, *, ipv6_ports: tuple[int, ...] = ()) -> None:
        self.number = number
        self.base = number * 1000
        self.switch = (f"127.{block}.0.1", PORT)
        self._prefix = f"127.{block}.{number}"
        self._ports = ipv6_ports
        self.vendors = [self._peer(10 + index, 1 + index) for index in range(vendors)]
        self.caller = self._peer(1, 0)
        if ipv6_ports:
            self.switch = ("::1", ipv6_ports[-1])
        self.trap = (f"{self._prefix}.99", PORT)
        """Named in foreign Routes and Request-URIs; nothing may ever come here."""
        self.stranger = (f"{self._prefix}.66", PORT)
        """An address that no endpoint has."""

    def _peer(self, last: int, index: int) -> tuple[str, int]:
        return ("::1", self._ports[index]) if self._ports else (f"{self._prefix}.{last}", PORT)

    def other(self, last: int) -> tuple[str, int]:
        """One more address of this case."""
        return (f"{self._prefix}.{last}", PORT)

    @property
    def customer(self) -> Customer:
        return Customer(
            id=self.base, name=f"Customer {self.number}", status="active", tax_ppm=200_000, debit_limit_nanos=10**15
        )

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(id=self.base, customer_id=self.base, direction="egress", host=self.caller[0])

    @property
    def route(self) -> IngressRoute:
        return IngressRoute(id=self.base, customer_id=self.base, rate_card_id=self.base, strategy="lcr")

    @property
    def sell_card(self) -> RateCard:
        return RateCard(
            id=self.base,
            name=f"sell {self.number}",
            direction="sell",
            vendor_card_ids=tuple(self.base + 1 + index for index in range(len(self.vendors))),
            revisions=(Revision(id=self.base, path="sell"),),
        )

    def buy_card(self, index: int) -> RateCard:
        return RateCard(
            id=self.base + 1 + index,
            name=f"buy {self.number}.{index}",
            direction="buy",
            provider_id=self.base + 1 + index,
            revisions=(Revision(id=self.base + 1 + index, path=f"buy{index}"),),
        )

    def provider(self, index: int) -> Provider:
        return Provider(id=self.base + 1 + index, name=f"Vendor {self.number}.{index}")

    def gateway(self, index: int) -> Gateway:
        address, port = self.vendors[index]
        return Gateway(id=self.base + 1 + index, provider_id=self.base + 1 + index, host=address, port=port)

    def records(self) -> list[Record]:
        """One customer, known by its address, whose calls may leave through every vendor of the case."""
        records: list[Record] = [self.customer, self.endpoint, self.route, self.sell_card]
        for index in range(len(self.vendors)):
            records += [self.buy_card(index), self.provider(index), self.gateway(index)]
        return records


def with_changes(records: list[Record], kind: type[Record], /, **fields: object) -> list[Record]:
    """The same records, those of that kind with other fields."""
    return [replace(record, **fields) if isinstance(record, kind) else record for record in records]


QUICK = Timers(t1_ms=100, t2_ms=800, t4_ms=1_000)
"""A fifth of RFC 3261's times, for cases that are not about the times themselves: 64*T1 is 6.4 s."""
