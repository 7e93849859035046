"""A small market for simulations of money: four customers of different kinds, two vendors, prices of every sort."""

from __future__ import annotations

from random import Random

from rating.rows import RateRow
from switch.snapshot import Customer, Endpoint, Gateway, IngressRoute, Provider, RateCard, Record, Revision
from tests.fakes.carrier import CENT
from tests.fakes.world import Address

MIDNIGHT_MINUTES = tuple(day * 24 * 60 for day in range(1, 7))
"""Minutes of the week at which nights end days; the one from Sunday to Monday is left out."""

PREPAID, POSTPAID, BUFFERED, DAILY = 1, 2, 3, 4
CUSTOMERS = (PREPAID, POSTPAID, BUFFERED, DAILY)

RETAIL, WHOLESALE, BUY_CHEAP, BUY_DEAR = 1, 2, 5, 6

NUMBERS = (
    "442071234567",
    "442071234568",
    "493012345678",
    "331234567890",
    "12125550100",
    "8005551234",
    "390612345678",
    "61291234567",
)
"""To dial; the first is priced by the second."""


def sell_rows(percent: int) -> tuple[RateRow, ...]:
    """Every rule that a price can have, at so many per cent of the first price list."""
    cent = CENT * percent // 100
    return (
        RateRow("44", "by the second", 60 * cent),
        RateRow("49", "increments and a fee", 90 * cent, 30, 6, connect_fee_nanos=5 * cent),
        RateRow("33", "whole minutes after free seconds", 45 * cent, 60, 60, grace_s=6),
        RateRow("1", "a minimum and a maximum", 37 * cent + 1, 1, 7, minimum_s=12, max_cost_nanos=40 * cent),
        RateRow("800", "free", 0),
        RateRow(
            "61", "dearer after midnight", 20 * cent, windows=tuple((m, m + 60, 60 * cent) for m in MIDNIGHT_MINUTES)
        ),
        RateRow("39", "tiers", 80 * cent, 5, 5, tiers=((20, 20 * cent), (60, 120 * cent))),
    )


def buy_rows(percent: int) -> tuple[RateRow, ...]:
    cent = CENT * percent // 100
    return tuple(RateRow(prefix, "bought", 30 * cent) for prefix in ("44", "49", "33", "1", "800", "39", "61"))


SELL_ROWS: dict[int, tuple[RateRow, ...]] = {
    11: sell_rows(100),
    12: sell_rows(130),
    21: sell_rows(80),
    22: sell_rows(55),
}
"""By revision; the first two are retail."""

DECKS: dict[str, tuple[RateRow, ...]] = {
    **{f"sell{revision}": rows for revision, rows in SELL_ROWS.items()},
    "buy_cheap": buy_rows(50),
    "buy_dear": buy_rows(90),
}


def address_of(customer_id: int) -> Address:
    return (f"192.0.2.{9 + customer_id}", 5060)


def retail(revision: int) -> RateCard:
    return RateCard(
        id=RETAIL,
        name="retail",
        direction="sell",
        vendor_card_ids=(BUY_CHEAP, BUY_DEAR),
        revisions=(Revision(id=revision, path=f"sell{revision}"),),
    )


def wholesale(revision: int) -> RateCard:
    """Rounds the other way round, and gives the first seconds of every call away."""
    return RateCard(
        id=WHOLESALE,
        name="wholesale",
        direction="sell",
        decimals=6,
        rounding="half_up",
        duration_rounding="down",
        grace_s=2,
        vendor_card_ids=(BUY_CHEAP, BUY_DEAR),
        revisions=(Revision(id=revision, path=f"sell{revision}"),),
    )


def market(rng: Random) -> tuple[Record, ...]:
    """Records of one installation; limits and prices as the dice fall."""
    zone = rng.choice(("UTC", "Asia/Kathmandu", "America/New_York"))
    return (
        Customer(id=PREPAID, name="prepaid", status="active", pdd_ms=6_000, ring_ms=9_000),
        Customer(
            id=POSTPAID, name="postpaid", status="active", debit_limit_nanos=200 * CENT, channels=rng.choice((None, 3))
        ),
        Customer(id=BUFFERED, name="buffered", status="active", debit_limit_nanos=-50 * CENT, tax_ppm=200_000),
        Customer(
            id=DAILY,
            name="daily",
            status="active",
            tax_ppm=77_000,
            time_zone=zone,
            daily_spend_limit_nanos=rng.choice((40, 90)) * CENT,
        ),
        *(Endpoint(id=each, customer_id=each, direction="egress", host=address_of(each)[0]) for each in CUSTOMERS),
        IngressRoute(id=1, customer_id=PREPAID, name="a", rate_card_id=RETAIL, max_duration_s=rng.choice((None, 45))),
        IngressRoute(id=2, customer_id=POSTPAID, name="b", rate_card_id=WHOLESALE),
        IngressRoute(id=3, customer_id=BUFFERED, name="c", rate_card_id=RETAIL, channels=rng.choice((None, 2))),
        IngressRoute(id=4, customer_id=DAILY, name="d", rate_card_id=WHOLESALE, flow_speed_cps=0.3, cps_buffer_s=8),
        Provider(id=1, name="Cheapline", channels=rng.choice((None, None, 4))),
        Provider(id=2, name="Dearline"),
        Gateway(id=1, provider_id=1, host="198.51.100.1", channels=rng.choice((None, 3))),
        Gateway(id=2, provider_id=2, host="198.51.100.2", channels=rng.choice((None, None, 5))),
        retail(11),
        wholesale(21),
        RateCard(
            id=BUY_CHEAP, name="cheap", direction="buy", provider_id=1, revisions=(Revision(id=51, path="buy_cheap"),)
        ),
        RateCard(
            id=BUY_DEAR, name="dear", direction="buy", provider_id=2, revisions=(Revision(id=61, path="buy_dear"),)
        ),
    )


def opening_balances(rng: Random) -> dict[int, int]:
    return {
        PREPAID: rng.randrange(30, 400) * CENT + rng.randrange(CENT),
        POSTPAID: rng.randrange(-150, 100) * CENT,
        BUFFERED: rng.randrange(40, 300) * CENT,
        DAILY: 5_000 * CENT,
    }
