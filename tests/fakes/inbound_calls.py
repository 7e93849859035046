"""A carrier whose provider brings calls to a customer's number."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rating.rows import RateRow
from switch.records import Cdr
from switch.snapshot import Customer, Did, DidDestination, Endpoint, Gateway, RateCard, Record, Revision
from tests.fakes.carrier import CENT, DEFAULT_RECORDS, with_
from tests.fakes.world import Caller, Vendor, World

DID = "442079460100"
BRINGS = ("198.51.100.9", 5060)
PBX = ("192.0.2.20", 5060)
PBX_2 = ("192.0.2.21", 5060)
DID_SELL = 21
DID_BUY = 22
MINUTE = 2 * CENT
COST = 1 * CENT

ENDPOINT = DidDestination("endpoint", 20)
ENDPOINT_2 = DidDestination("endpoint", 21)
USER = DidDestination("sip_user", 1)

INBOUND_RECORDS: tuple[Record, ...] = (
    *DEFAULT_RECORDS,
    Gateway(id=9, provider_id=1, host=BRINGS[0], weight=0),
    Endpoint(id=20, customer_id=1, direction="ingress", host=PBX[0]),
    Endpoint(id=21, customer_id=1, direction="ingress", host=PBX_2[0]),
    RateCard(id=DID_SELL, name="numbers", direction="sell", revisions=(Revision(id=31, path="did_sell"),)),
    RateCard(
        id=DID_BUY, name="numbers in", direction="buy", provider_id=1, revisions=(Revision(id=32, path="did_buy"),)
    ),
    Did(
        id=5,
        number=DID,
        customer_id=1,
        customer_card_id=DID_SELL,
        provider_card_id=DID_BUY,
        destinations=(ENDPOINT,),
    ),
)
DECKS: dict[str, tuple[RateRow, ...]] = {
    "did_sell": (RateRow("44", "Number", MINUTE),),
    "did_buy": (RateRow("44", "Number", COST),),
}


def did_records(records: Iterable[Record] = INBOUND_RECORDS, **changes: object) -> tuple[Record, ...]:
    """The records with the number changed."""
    return with_(records, Did, 5, **changes)


def customer_records(**changes: object) -> tuple[Record, ...]:
    return with_(INBOUND_RECORDS, Customer, 1, **changes)


class InboundWorld(World):
    """A provider's switch that calls, and two phone systems of the customer's."""

    def __init__(self, folder: Path, records: Iterable[Record] = INBOUND_RECORDS, **arguments: object) -> None:
        decks = {**DECKS, **arguments.pop("decks", {})}  # type: ignore[dict-item]
        super().__init__(folder, records=records, decks=decks, **arguments)  # type: ignore[arg-type]
        self.carrier = Caller(self, BRINGS)
        self.pbx = Vendor(self, PBX, "pbx")
        self.pbx_2 = Vendor(self, PBX_2, "pbx2")

    def ring(self, number: str = DID, **arguments: object) -> None:
        self.carrier.invite(number, **arguments)  # type: ignore[arg-type]
        self.run_for(0.1)

    def talk_inbound(self, seconds: float = 60.0) -> Cdr:
        """A whole call to the number, answered and hung up by the carrier."""
        self.ring()
        self.carrier.ack()
        self.run_for(seconds)
        self.carrier.bye()
        self.run_for(1)
        return self.cdrs[-1]
