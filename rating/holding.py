"""What a call must hold, and how long it may talk for what it holds.

A price never falls as a call grows longer. So the dearest call of up to so many seconds is the
longest, and what is held pays for every length up to one exact millisecond. That one is computed
backwards through the steps of `rating.quotes.price`, each of which is undone exactly: gross, net,
unrounded charge, billed seconds, whole seconds, milliseconds.

Quotes must keep their rate (`Quote.at_ms` set, or a row without windows). Amounts are gross
nano-units of answered calls.
"""

from __future__ import annotations

from typing import Final

from rating.money import DOWN, HALF_UP, PPM, UP, round_ratio
from rating.quotes import Quote, billed_seconds, net_nanos_at, rounded_seconds
from rating.rows import RateRow

UNLIMITED_MS: Final = 1 << 60
"""Longer than any call: no length costs more than is held."""
_ENDLESS_S: Final = UNLIMITED_MS // 1000


def hold_nanos(quote: Quote, talk_s: int) -> int:
    """What a call of up to `talk_s` seconds can cost, and never under `least_nanos`."""
    gross = _gross_nanos(quote, talk_s)
    # Above zero it is at least the smallest price above zero.
    return gross if gross > 0 else least_nanos(quote)


def least_nanos(quote: Quote) -> int:
    """What the shortest call costs that costs anything: mostly its first increment. 0 where all are free."""
    free_ms = covered_ms(quote, 0)
    return 0 if free_ms == UNLIMITED_MS else more_nanos(quote, free_ms)


def covered_ms(quote: Quote, held_nanos: int) -> int:
    """The longest duration, in ms, up to which no call costs more than is held.

    Returns:
        -1 if not even a call of no length is paid for; `UNLIMITED_MS` if every length is.
    """
    if held_nanos < 0:
        return -1
    covered_s = _covered_s(quote, held_nanos)
    if covered_s < 0:
        return -1
    if covered_s >= _ENDLESS_S:
        return UNLIMITED_MS
    code = quote.tariff.duration_code
    if code == UP:
        return covered_s * 1000
    # The last millisecond that still counts as so many seconds.
    return covered_s * 1000 + (499 if code == HALF_UP else 999)


def next_total_nanos(quote: Quote, covered_until_ms: int, more_s: int) -> int:
    """The whole hold wanted for `more_s` (at least 1) beyond what is covered so far.

    It is above what is held now, unless `covered_until_ms` is `UNLIMITED_MS`.
    """
    return _gross_at_ms(quote, covered_until_ms + more_s * 1000)


def more_nanos(quote: Quote, covered_until_ms: int) -> int:
    """The least whole hold that covers more than `covered_until_ms`: one increment more."""
    return _gross_at_ms(quote, covered_until_ms + 1)


def capped(quote: Quote, held_nanos: int) -> Quote:
    """The same price, that never comes to more than what is held: it covers every length."""
    net_nanos = _net_max(quote, held_nanos)
    if quote.max_cost_nanos >= 0:
        net_nanos = min(net_nanos, quote.max_cost_nanos)
    r = quote.row.facts()
    row = RateRow(r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], net_nanos, r[12], r[13])
    return Quote(row, quote.tariff, quote.tax_ppm, quote.card_id, quote.revision_id, quote.at_ms)


def _gross_at_ms(quote: Quote, duration_ms: int) -> int:
    return _gross_nanos(quote, rounded_seconds(duration_ms, quote.tariff.duration_code))


def _gross_nanos(quote: Quote, duration_s: int) -> int:
    """The gross charge of an answered call of so many rounded seconds, as `price` has it."""
    if 0 < quote.grace_s >= duration_s:
        return 0
    return _with_tax(quote, net_nanos_at(quote, billed_seconds(quote, duration_s), quote.rate_nanos))


def _with_tax(quote: Quote, net_nanos: int) -> int:
    if quote.tax_ppm == 0:
        return net_nanos
    tariff = quote.tariff
    return net_nanos + round_ratio(net_nanos * quote.tax_ppm, PPM, tariff.step_nanos, tariff.rounding_code)


def _covered_s(quote: Quote, held_nanos: int) -> int:
    """The same as `covered_ms` in rounded seconds; `_ENDLESS_S` or more for no end."""
    if quote.max_cost_nanos >= 0 and _with_tax(quote, quote.max_cost_nanos) <= held_nanos:
        return _ENDLESS_S
    # From here on the maximum cost is dearer than what is held, so no length that is paid for meets it.
    covered_s = quote.grace_s if quote.grace_s > 0 else -1
    billed_s = _affordable_s(quote, _exact_max(quote, _net_max(quote, held_nanos)))
    row = quote.row
    if billed_s >= _ENDLESS_S:
        return _ENDLESS_S
    if billed_s < row.first_s or billed_s < quote.minimum_s:
        return covered_s
    talk_s = row.first_s + (billed_s - row.first_s) // row.next_s * row.next_s
    return talk_s if talk_s > covered_s else covered_s


def _net_max(quote: Quote, held_nanos: int) -> int:
    """The highest net charge, a multiple of the card's last decimal, that is paid for with its tax."""
    step = quote.tariff.step_nanos
    net = held_nanos * PPM // (PPM + quote.tax_ppm) // step * step
    # Tax is rounded by itself, by less than one step: so the estimate is off by a step at most.
    while net > 0 and _with_tax(quote, net) > held_nanos:
        net -= step
    while _with_tax(quote, net + step) <= held_nanos:
        net += step
    return net


def _exact_max(quote: Quote, net_nanos: int) -> int:
    """The highest unrounded charge, in sixtieths of a nano-unit, that rounds to no more than `net_nanos`."""
    unit = 60 * quote.tariff.step_nanos
    code = quote.tariff.rounding_code
    if code == DOWN:
        return 60 * net_nanos + unit - 1
    if code == HALF_UP:
        return 60 * net_nanos + (unit - 1) // 2
    return 60 * net_nanos


def _affordable_s(quote: Quote, exact: int) -> int:
    """The most billed seconds whose unrounded charge is at most `exact`; -1 if not even none are."""
    row = quote.row
    rate_nanos = quote.rate_nanos
    left = exact - row.connect_fee_nanos * 60
    if left < 0:
        return -1
    reached_s = 0
    for from_s, tier_rate_nanos in row.tiers:
        stretch = (from_s - reached_s) * rate_nanos
        if stretch > left:
            break
        left -= stretch
        reached_s = from_s
        rate_nanos = tier_rate_nanos
    if rate_nanos == 0:
        # No later tier stopped us: a stretch that costs nothing never does, so this is the last.
        return _ENDLESS_S
    return reached_s + left // rate_nanos
