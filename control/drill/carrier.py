"""The small carrier of a drill: four customers, two vendors, and price lists with awkward increments."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from rating.money import parse_amount
from rating.quotes import Charge, Quote, Tariff, price
from rating.rows import RateRow

HOST: Final = "127.0.0.1"


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """What one prefix is sold and bought for: (rate a minute, first_s, next_s, connect fee)."""

    prefix: str
    name: str
    sell: tuple[str, int, int, str]
    buys: tuple[tuple[str, int, int, str], tuple[str, int, int, str]]


DESTINATIONS: Final = (
    Destination(
        prefix="4420",
        name="United Kingdom, London",
        sell=("0.0098", 30, 6, "0"),
        buys=(("0.0061", 1, 1, "0"), ("0.0068", 6, 6, "0")),
    ),
    Destination(
        prefix="331",
        name="France, Paris",
        sell=("0.019333333", 7, 13, "0.0025"),
        buys=(("0.0107", 1, 1, "0.001"), ("0.0119", 1, 1, "0")),
    ),
    Destination(
        prefix="447",
        name="United Kingdom, mobile",
        sell=("0.0911", 60, 60, "0"),
        buys=(("0.0218", 1, 1, "0"), ("0.0261", 60, 1, "0")),
    ),
    Destination(
        prefix="8816",
        name="Satellite",
        sell=("6.1", 1, 1, "0.05"),
        buys=(("3.3", 1, 1, "0"), ("3.7", 2, 1, "0.01")),
    ),
    Destination(
        prefix="239",
        name="Sao Tome",
        sell=("2.7", 3, 1, "0"),
        buys=(("1.1", 1, 1, "0"), ("1.3", 3, 3, "0")),
    ),
)
"""The two dear ones run through a small credit within seconds."""
CHEAP: Final = frozenset({"4420", "331", "447"})
DEAR: Final = frozenset({"8816", "239"})


class CustomerPlan(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    tech_prefix: str
    """Customers share one address and are told apart by this."""
    debit_limit: str
    tax_percent: str
    opening: str
    """Paid before the first call."""
    payment: str
    """Paid now and then while calls run."""
    dials: frozenset[str]
    share: int
    """Of the calls."""

    @property
    def tax_ppm(self) -> int:
        return parse_amount(self.tax_percent) // 100_000

    @property
    def debit_limit_nanos(self) -> int:
        return parse_amount(self.debit_limit)


CUSTOMERS: Final = (
    CustomerPlan(
        name="Prepaid, little credit",
        tech_prefix="9101",
        debit_limit="0",
        tax_percent="20",
        opening="1.5",
        payment="0.700000001",
        dials=DEAR,
        share=3,
    ),
    CustomerPlan(
        name="Prepaid, enough credit",
        tech_prefix="9102",
        debit_limit="0",
        tax_percent="7.5",
        opening="5000",
        payment="12.34",
        dials=CHEAP | DEAR,
        share=3,
    ),
    CustomerPlan(
        name="Postpaid",
        tech_prefix="9103",
        debit_limit="2000",
        tax_percent="0",
        opening="0.000000001",
        payment="3.99",
        dials=CHEAP | DEAR,
        share=2,
    ),
    CustomerPlan(
        name="Prepaid, with a buffer",
        tech_prefix="9104",
        debit_limit="-5",
        tax_percent="19",
        opening="8",
        payment="1.11",
        dials=CHEAP | DEAR,
        share=2,
    ),
)
VENDORS: Final = ("Meridian", "Northgate")
SELL_CARD: Final = "Sell"
TARIFF: Final = Tariff()
"""What cards do unless they say otherwise; the drill's say nothing."""


def buy_card(vendor: str) -> str:
    return f"{vendor} buy"


def row(destination: Destination, prices: tuple[str, int, int, str]) -> RateRow:
    rate, first_s, next_s, fee = prices
    return RateRow(destination.prefix, destination.name, parse_amount(rate), first_s, next_s, parse_amount(fee))


def destination_of(number: str) -> Destination:
    """By longest prefix.

    Raises:
        ValueError: none of ours.
    """
    found = [each for each in DESTINATIONS if number.startswith(each.prefix)]
    if not found:
        raise ValueError(f"{number}: no destination of the drill")
    return max(found, key=lambda each: len(each.prefix))


def sold(number: str, customer: CustomerPlan, duration_ms: int, answered_ms: int) -> Charge:
    """What an answered call of that length must cost its customer."""
    destination = destination_of(number)
    return price(Quote(row(destination, destination.sell), TARIFF, customer.tax_ppm), duration_ms, answered_ms)


def bought(number: str, vendor: str, duration_ms: int, answered_ms: int) -> Charge:
    """What it must cost us at that vendor."""
    destination = destination_of(number)
    prices = destination.buys[VENDORS.index(vendor)]
    return price(Quote(row(destination, prices), TARIFF), duration_ms, answered_ms)


def write_carrier(folder: Path, vendor_ports: tuple[int, ...]) -> Path:
    """The carrier as `tandem apply` reads it, with its price lists beside; the path of the file."""
    _write_list(folder / "sell.csv", [(each, each.sell) for each in DESTINATIONS])
    lines: list[str] = []
    for index, (vendor, port) in enumerate(zip(VENDORS, vendor_ports, strict=True)):
        _write_list(folder / f"buy{index}.csv", [(each, each.buys[index]) for each in DESTINATIONS])
        lines += [
            f'[providers."{vendor}"]',
            f'[[providers."{vendor}".gateways]]',
            f'host = "{HOST}"',
            f"port = {port}",
            f'[rate_cards."{buy_card(vendor)}"]',
            'direction = "buy"',
            f'provider = "{vendor}"',
            f'deck = "buy{index}.csv"',
        ]
    names = ", ".join(f'"{buy_card(vendor)}"' for vendor in VENDORS)
    lines += [f'[rate_cards."{SELL_CARD}"]', 'direction = "sell"', f"vendor_cards = [{names}]", 'deck = "sell.csv"']
    for customer in CUSTOMERS:
        lines += [
            f'[customers."{customer.name}"]',
            'status = "active"',
            f'debit_limit = "{customer.debit_limit}"',
            f'tax_percent = "{customer.tax_percent}"',
            f'[[customers."{customer.name}".endpoints]]',
            f'host = "{HOST}"',
            f'tech_prefix = "{customer.tech_prefix}"',
            f'[customers."{customer.name}".ingress_routes."Drill"]',
            f'rate_card = "{SELL_CARD}"',
        ]
    path = folder / "carrier.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def _write_list(path: Path, rows: list[tuple[Destination, tuple[str, int, int, str]]]) -> None:
    lines = ["prefix,name,rate,first_s,next_s,connect_fee"]
    for destination, (rate, first_s, next_s, fee) in rows:
        lines.append(f'{destination.prefix},"{destination.name}",{rate},{first_s},{next_s},{fee}')
    path.write_text("\n".join(lines) + "\n")
