"""Holds against pricing every length there is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.holding import UNLIMITED_MS, covered_ms, hold_nanos, least_nanos, more_nanos, next_total_nanos
from rating.money import parse_amount
from rating.quotes import Quote, Tariff, price
from rating.rows import RateRow

ROUNDINGS = st.sampled_from(["up", "half_up", "down"])
AMOUNTS = st.one_of(st.integers(0, 3 * 10**8), st.sampled_from([0, 0, 1, 10**7, 6 * 10**7, 10**12]))
TAXES = st.sampled_from([0, 0, 1, 205_000, 999_999, 1_000_000, 2_500_000])


@st.composite
def quotes(draw: st.DrawFn) -> Quote:
    tiers = draw(st.dictionaries(st.integers(1, 400), AMOUNTS, max_size=3))
    row = RateRow(
        "44",
        "UK",
        draw(AMOUNTS),
        draw(st.sampled_from([0, 1, 6, 30, 60, 61])),
        draw(st.sampled_from([1, 6, 7, 30, 60])),
        draw(st.sampled_from([0, 0, 1, 10**6, 12_345_678])),
        grace_s=draw(st.sampled_from([-1, 0, 1, 5, 60, 75])),
        minimum_s=draw(st.sampled_from([-1, 0, 10, 60, 100])),
        max_cost_nanos=draw(st.sampled_from([-1, -1, 0, 50_000_000, 123_456_789])),
        tiers=tuple(sorted(tiers.items())),
    )
    return Quote(row, Tariff(draw(st.integers(0, 9)), draw(ROUNDINGS), draw(ROUNDINGS)), draw(TAXES), at_ms=1)


def gross(quote: Quote, duration_ms: int) -> int:
    return price(quote, duration_ms, 1).gross_nanos


@settings(max_examples=400, deadline=None)
@given(quotes(), st.data())
def test_what_is_held_pays_for_every_length_covered_and_for_none_beyond(quote: Quote, data: st.DataObject) -> None:
    some = data.draw(st.integers(0, 1_000_000))
    held = data.draw(st.one_of(st.integers(0, 10**9), st.just(gross(quote, some)), st.just(gross(quote, some) - 1)))
    covered = covered_ms(quote, held)
    for duration_ms in range(0, min(covered, 10**6), 500):
        assert gross(quote, duration_ms) <= held, duration_ms
    if covered >= 0:
        assert gross(quote, covered) <= held
    if covered == UNLIMITED_MS:
        assert gross(quote, 10**15) <= held
    else:
        assert gross(quote, covered + 1) > held


@settings(deadline=None)
@given(quotes(), st.integers(0, 1200))
def test_a_hold_is_the_dearest_of_all_lengths_up_to_it(quote: Quote, talk_s: int) -> None:
    dearest = max(gross(quote, duration_ms) for duration_ms in range(0, talk_s * 1000 + 1, 500))
    assert hold_nanos(quote, talk_s) == max(dearest, least_nanos(quote))


@settings(deadline=None)
@given(quotes())
def test_the_least_is_the_first_price_above_nothing(quote: Quote) -> None:
    least = least_nanos(quote)
    paid = [cost for cost in (gross(quote, duration_ms) for duration_ms in range(0, 700_001, 500)) if cost > 0]
    if paid:
        assert least == paid[0]
    if least == 0:
        assert covered_ms(quote, 0) == UNLIMITED_MS
    else:
        assert covered_ms(quote, least - 1) < covered_ms(quote, least)
        assert covered_ms(quote, least - 1) == covered_ms(quote, 0)


@given(quotes(), st.integers(0, 100_000))
def test_a_hold_for_so_many_seconds_covers_them(quote: Quote, talk_s: int) -> None:
    assert covered_ms(quote, hold_nanos(quote, talk_s)) >= talk_s * 1000


@given(quotes(), st.integers(0, 10**10), st.integers(0, 10**10))
def test_more_money_never_covers_less(quote: Quote, held: int, more: int) -> None:
    assert covered_ms(quote, held + more) >= covered_ms(quote, held)


@given(quotes(), st.integers(0, 100_000), st.integers(0, 1000))
def test_more_talk_never_holds_less(quote: Quote, talk_s: int, more_s: int) -> None:
    assert hold_nanos(quote, talk_s + more_s) >= hold_nanos(quote, talk_s)


@given(quotes(), st.integers(0, 10**10))
def test_what_the_covered_time_costs_covers_the_same_time(quote: Quote, held: int) -> None:
    covered = covered_ms(quote, held)
    if 0 <= covered < UNLIMITED_MS:
        assert covered_ms(quote, gross(quote, covered)) == covered


@given(quotes(), st.integers(0, 10**10), st.integers(1, 900))
def test_an_extension_asks_for_more_than_is_held_and_covers_what_it_asks_for(
    quote: Quote, held: int, more_s: int
) -> None:
    covered = covered_ms(quote, held)
    if covered == UNLIMITED_MS:
        return
    least, wanted = more_nanos(quote, covered), next_total_nanos(quote, covered, more_s)
    assert held < least <= wanted
    assert covered_ms(quote, wanted) >= covered + more_s * 1000
    # The least is the least: one nano-unit under it covers nothing more.
    assert covered_ms(quote, least - 1) == covered < covered_ms(quote, least)


def quote_of(
    rate: str, first_s: int, next_s: int, tariff: Tariff | None = None, minimum_s: int = 0, max_cost_nanos: int = -1
) -> Quote:
    row = RateRow("44", "", parse_amount(rate), first_s, next_s, minimum_s=minimum_s, max_cost_nanos=max_cost_nanos)
    return Quote(row, tariff or Tariff(), at_ms=1)


@pytest.mark.parametrize(("duration_rounding", "until_ms"), [("up", 36_000), ("half_up", 36_499), ("down", 36_999)])
def test_the_last_millisecond_is_that_of_the_cards_rounding(duration_rounding: str, until_ms: int) -> None:
    quote = quote_of("0.6", 30, 6, Tariff(4, duration_rounding=duration_rounding))
    assert covered_ms(quote, parse_amount("0.4199")) == until_ms
    assert covered_ms(quote, parse_amount("0.42")) == until_ms + 6000
    assert covered_ms(quote, parse_amount("0.2999")) == -1


def test_grace_time_is_covered_by_nothing_held_and_the_least_is_what_follows() -> None:
    quote = quote_of("0.6", 30, 6, Tariff(grace_s=40))
    assert covered_ms(quote, 0) == 40_000
    assert least_nanos(quote) == hold_nanos(quote, 10) == parse_amount("0.42")
    assert covered_ms(quote, parse_amount("0.42")) == 42_000


def test_a_free_first_minute_holds_for_the_second() -> None:
    quote = Quote(RateRow("44", "", 0, 1, 1, tiers=((60, parse_amount("0.6")),)), Tariff(), at_ms=1)
    assert covered_ms(quote, 0) == 60_000
    assert hold_nanos(quote, 30) == least_nanos(quote) == parse_amount("0.01")


def test_a_minimum_is_one_piece() -> None:
    quote = quote_of("0.6", 1, 1, minimum_s=20)
    assert least_nanos(quote) == parse_amount("0.2")
    assert covered_ms(quote, parse_amount("0.1999")) == -1
    assert covered_ms(quote, parse_amount("0.2")) == 20_000
    assert more_nanos(quote, 20_000) == parse_amount("0.21")


def test_a_connect_fee_alone_is_the_least_where_no_increment_comes_first() -> None:
    row = RateRow("44", "", parse_amount("0.6"), 0, 1, parse_amount("0.05"))
    quote = Quote(row, Tariff(), at_ms=1)
    assert covered_ms(quote, 0) == -1
    assert more_nanos(quote, -1) == least_nanos(quote) == parse_amount("0.05")
    assert covered_ms(quote, parse_amount("0.05")) == 0
    assert more_nanos(quote, 0) == parse_amount("0.06")


@pytest.mark.parametrize("held", ["2", "2.0001", "9999"])
def test_nothing_costs_more_than_the_maximum(held: str) -> None:
    quote = quote_of("0.6", 60, 60, max_cost_nanos=2 * 10**9)
    assert covered_ms(quote, parse_amount(held)) == UNLIMITED_MS
    assert covered_ms(quote, parse_amount("1.9999")) == 180_000


def test_a_free_destination_needs_nothing_held() -> None:
    quote = quote_of("0", 60, 60)
    assert (least_nanos(quote), hold_nanos(quote, 3600), covered_ms(quote, 0)) == (0, 0, UNLIMITED_MS)
    assert covered_ms(quote, -1) == -1


def test_all_the_money_in_the_world_is_no_overflow() -> None:
    quote = quote_of("0.000000001", 1, 1, Tariff(9, "down"))
    assert covered_ms(quote, 10**28) == UNLIMITED_MS
    assert hold_nanos(quote_of("999999999", 3600, 3600), 10**9) > 0
