"""What a call of a given length would cost by a card, and how that comes about."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy.engine import RowMapping

from control.services.context import Context
from control.services.errors import Conflict, invalid
from control.services.fields import Moment, Percent, moment_ms, ms_moment, percent_ppm
from control.services.rate_cards import RATE_CARDS
from control.services.records import rate_card_record
from control.services.revision_history import revisions_between
from rating.decks import Deck
from rating.money import format_amount
from rating.numbers import normalise_e164
from rating.quotes import Quote, billed_seconds, price, rounded_seconds, sixtieths_at
from switch.policy.cards import tariff_of


class PriceRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    number: Annotated[str, Meta(min_length=1, max_length=64, examples=["442071234567"])]
    duration_ms: Annotated[int, Meta(ge=0, le=31_536_000_000)]
    tax_percent: Percent = "0"
    at: Moment | None = None
    """When the call comes in; left out: now."""


class PricedSide(msgspec.Struct, frozen=True, kw_only=True):
    """What a card asks for a destination."""

    card_id: int
    card: str
    revision_id: int
    prefix: str
    destination: str
    rate: str
    """A minute, at that time."""
    connect_fee: str
    first_s: int
    next_s: int
    is_blocked: bool


class Price(PricedSide, frozen=True, kw_only=True):
    currency: str
    number: str
    at: Moment
    billed_s: int
    net: str
    tax: str
    gross: str
    steps: list[str]
    """The rule in words, with this call's figures."""


async def price_call(ctx: Context, card_id: int, asked: PriceRequest) -> Price:
    """Price one answered call by the card's revision that is active at that time.

    Raises:
        NotFound: no such card.
        Invalid: not a number, or no row of the card prices it.
        Conflict: the card has no revision at that time, or its deck cannot be read.
    """
    at_ms = ctx.now_ms() if asked.at is None else moment_ms("at", asked.at)
    number = normalise_e164(asked.number) or (asked.number if asked.number.isdigit() else None)
    if number is None:
        raise invalid("number", "not a telephone number")
    async with ctx.store.read() as tx:
        card = await RATE_CARDS.row(tx, card_id)
        active = (await revisions_between(tx, at_ms, at_ms, card_id)).get(card_id, ())
    if not active:
        raise Conflict(f"The card {card['name']} has no active revision at that time.")
    try:
        deck = Deck.open(ctx.data_folder / active[-1].path)
    except (OSError, ValueError) as error:
        raise Conflict(f"The deck of revision {active[-1].id} cannot be read: {error}.") from error
    row = deck.lookup(number, at_ms)
    if row is None:
        raise invalid("number", f"no row of {card['name']} prices {number} at that time")
    quote = Quote(
        row,
        tariff_of(rate_card_record(card, active)),
        percent_ppm("tax_percent", asked.tax_percent),
        card_id,
        active[-1].id,
        at_ms,
    )
    charge = price(quote, asked.duration_ms, at_ms or 1)
    return Price(
        **priced_fields(quote, card["name"]),
        currency=card["currency"],
        number=number,
        at=ms_moment(at_ms),
        billed_s=charge.billed_s,
        net=format_amount(charge.net_nanos),
        tax=format_amount(charge.tax_nanos),
        gross=format_amount(charge.gross_nanos),
        steps=_explain(quote, asked.duration_ms, card),
    )


def priced_fields(quote: Quote, card: str) -> dict[str, Any]:
    """The fields of `PricedSide`, by the row and the time of a quote; `card` is the card's name."""
    row = quote.row
    return {
        "card_id": quote.card_id,
        "card": card,
        "revision_id": quote.revision_id,
        "prefix": row.prefix,
        "destination": row.name,
        "rate": format_amount(quote.rate_nanos),
        "connect_fee": format_amount(row.connect_fee_nanos),
        "first_s": row.first_s,
        "next_s": row.next_s,
        "is_blocked": row.is_blocked,
    }


def _explain(quote: Quote, duration_ms: int, card: RowMapping) -> list[str]:
    """Each step of `rating.quotes.price` that had something to do with this call."""
    row, tariff = quote.row, quote.tariff
    duration_s = rounded_seconds(duration_ms, tariff.duration_code)
    rate = format_amount(quote.rate_nanos)
    steps = [f"prefix {row.prefix}, {row.name}: {rate} a minute, billed {row.first_s}/{row.next_s}"]
    if row.is_blocked:
        steps.append("the row is blocked: no such call goes out")
    if row.windows and quote.rate_nanos != row.rate_nanos:
        steps.append(f"the rate is of a time-of-week window; outside it is {format_amount(row.rate_nanos)}")
    if duration_s * 1000 != duration_ms:
        steps.append(f"{duration_ms} ms are {duration_s} s, rounded {_words(card['duration_rounding'])}")
    if 0 < quote.grace_s >= duration_s:
        steps.append(f"within the grace time of {quote.grace_s} s: nothing is charged")
        return steps
    billed_s = billed_seconds(quote, duration_s)
    steps.append(f"{duration_s} s talked, {billed_s} s billed")
    if billed_s == quote.minimum_s > duration_s:
        steps.append(f"the least that is billed is {quote.minimum_s} s")
    exact = sixtieths_at(row, billed_s, quote.rate_nanos)
    parts = f"{billed_s}/60 × {rate}"
    if row.tiers:
        tiers = "; ".join(f"beyond {from_s} s {format_amount(tier)}" for from_s, tier in row.tiers)
        parts += f" ({tiers})"
    if row.connect_fee_nanos:
        parts = f"connect fee {format_amount(row.connect_fee_nanos)} + {parts}"
    steps.append(f"{parts} = {_sixtieths(exact)}")
    charge = price(quote, duration_ms, quote.at_ms or 1)
    steps.append(
        f"net {format_amount(charge.net_nanos)}, rounded {_words(card['rounding'])} to {card['decimals']} decimals"
        + (f", at most {format_amount(quote.max_cost_nanos)}" if quote.max_cost_nanos >= 0 else "")
    )
    if charge.tax_nanos:
        steps.append(f"tax {format_amount(charge.tax_nanos)}, gross {format_amount(charge.gross_nanos)}")
    return steps


def _sixtieths(exact: int) -> str:
    """An amount in sixtieths of a nano-unit as a decimal: exact, or its first nine decimals with `…`."""
    nanos, rest = divmod(exact, 60)
    return format_amount(nanos) + ("…" if rest else "")


def _words(method: Any) -> str:
    return {"up": "up", "half_up": "half up", "down": "down"}[str(method)]
