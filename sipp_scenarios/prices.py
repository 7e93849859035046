"""The price lists of the cases, as text, and what a call must cost by them.

Worked out with `decimal` from the text, apart from everything in `rating`: a mistake there must not
be made here again.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import NamedTuple

from rating.deck_build import compile_deck
from rating.money import parse_amount
from rating.quotes import RateRow

NANOS = Decimal(10) ** 9
STEP = Decimal("0.0001")
"""Four decimals, up: what cards round to unless they say otherwise."""


class Price(NamedTuple):
    """One row: amounts in currency units as text, increments in seconds."""

    prefix: str
    name: str
    rate: str
    first_s: int = 1
    next_s: int = 1
    connect_fee: str = "0"


class Charge(NamedTuple):
    billed_s: int
    net: Decimal
    tax: Decimal

    @property
    def gross(self) -> Decimal:
        return self.net + self.tax


SELL = (
    Price("1", "United States", "0.0137", 6, 6),
    Price("1212", "New York", "0.0171", 30, 6, "0.0025"),
    Price("44", "United Kingdom", "0.0213", 1, 1),
    Price("4420", "London", "0.019333333", 1, 1, "0.001"),
    Price("4477", "United Kingdom mobile", "0.0911", 60, 60),
    Price("49", "Germany", "0.0155", 30, 6),
)
"""What customers pay. No row for 33 (France): that number cannot be priced."""

BUY = (
    (Price("1", "US", "0.0061", 6, 6), Price("44", "UK", "0.0107"), Price("49", "DE", "0.0071", 1, 1, "0.0005")),
    (Price("1", "US", "0.0068", 1, 1), Price("44", "UK", "0.0119"), Price("49", "DE", "0.0083")),
    (Price("1", "US", "0.0074", 1, 1), Price("44", "UK", "0.0127"), Price("49", "DE", "0.0091")),
)
"""What the first, second and third vendor of a case ask: dearer one by one, so that least cost goes in this order."""

DEAR = tuple(price._replace(rate="0.5") for price in SELL)
"""A vendor that nobody earns anything with."""

TAX = Decimal("0.2")
"""Of every customer here, unless a case says otherwise."""


def find(prices: tuple[Price, ...], number: str) -> Price:
    """The row with the longest prefix of that number."""
    return max((price for price in prices if number.startswith(price.prefix)), key=lambda price: len(price.prefix))


def charge(price: Price, duration_ms: int, tax: Decimal) -> Charge:
    """An answered call's price: seconds and increments round up, money rounds up to four decimals."""
    seconds = -(-duration_ms // 1000)
    steps = max(0, -(-(seconds - price.first_s) // price.next_s))
    billed_s = price.first_s + steps * price.next_s
    net = (Decimal(price.connect_fee) + Decimal(billed_s) * Decimal(price.rate) / 60).quantize(STEP, ROUND_CEILING)
    return Charge(billed_s, net, (net * tax).quantize(STEP, ROUND_CEILING))


def nanos(amount: Decimal) -> int:
    return int(amount * NANOS)


def rows(prices: tuple[Price, ...]) -> list[RateRow]:
    """As a deck is compiled from."""
    return [
        RateRow(
            price.prefix,
            price.name,
            parse_amount(price.rate),
            price.first_s,
            price.next_s,
            parse_amount(price.connect_fee),
        )
        for price in prices
    ]


def compile_decks(folder: Path) -> None:
    """The price lists, beside the snapshot that names them."""
    folder.mkdir(parents=True, exist_ok=True)
    compile_deck(rows(SELL), folder / "sell")
    compile_deck(rows(DEAR), folder / "dear")
    for index, buy in enumerate(BUY):
        compile_deck(rows(buy), folder / f"buy{index}")
