"""The least margin and the losing lengths, against pricing every length there is."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.margin import expected_margin, losing_durations, worst_margin
from rating.money import parse_amount
from rating.quotes import Quote, Tariff, price
from rating.rows import RateRow

MAX_S = st.integers(1, 400)
ROUNDINGS = st.sampled_from(["up", "half_up", "down"])
AMOUNTS = st.one_of(st.integers(0, 300_000_000), st.sampled_from([0, 10_000_000, 12_000_000, 60_000_000]))


@st.composite
def quotes(draw: st.DrawFn) -> Quote:
    starts = draw(st.lists(st.integers(1, 300), max_size=2, unique=True))
    row = RateRow(
        "44",
        "UK",
        draw(AMOUNTS),
        draw(st.sampled_from([0, 1, 6, 30, 60, 61])),
        draw(st.sampled_from([1, 6, 7, 10, 60])),
        draw(st.sampled_from([0, 0, 1_000_000, 12_345_678])),
        grace_s=draw(st.sampled_from([-1, 0, 3, 70])),
        minimum_s=draw(st.sampled_from([-1, 0, 10, 100])),
        max_cost_nanos=draw(st.sampled_from([-1, -1, 0, 50_000_000, 123_456_789])),
        tiers=tuple((start, draw(AMOUNTS)) for start in sorted(starts)),
    )
    tariff = Tariff(draw(st.sampled_from([2, 4, 6, 9])), draw(ROUNDINGS), draw(ROUNDINGS))
    return Quote(row, tariff)


def margins_by_length(sell: Quote, buy: Quote, max_s: int) -> list[int]:
    """Index n: the least margin of calls longer than n seconds and up to n + 1, tried every quarter second."""
    return [
        min(
            price(sell, length_ms, 1).net_nanos - price(buy, length_ms, 1).net_nanos
            for length_ms in (1000 * whole_s + 1, 1000 * whole_s + 250, 1000 * whole_s + 500, 1000 * whole_s + 1000)
        )
        for whole_s in range(max_s)
    ]


@settings(max_examples=150, deadline=None)
@given(quotes(), quotes(), MAX_S)
def test_worst_margin_is_the_least_of_all_lengths_priced_one_by_one(sell: Quote, buy: Quote, max_s: int) -> None:
    margins = margins_by_length(sell, buy, max_s)
    least, at_s = worst_margin(sell, buy, max_s)
    assert least == min(margins)
    assert margins[at_s - 1] == least


@settings(max_examples=150, deadline=None)
@given(quotes(), quotes(), MAX_S)
def test_losing_durations_are_the_lengths_that_lose_one_by_one(sell: Quote, buy: Quote, max_s: int) -> None:
    ranges = losing_durations(sell, buy, max_s)
    losing = [length for start, end in ranges for length in range(start, end + 1)]
    assert losing == [index + 1 for index, margin in enumerate(margins_by_length(sell, buy, max_s)) if margin < 0]
    # Ranges are apart: neighbours would be one range.
    assert all(earlier[1] + 1 < later[0] for earlier, later in pairwise(ranges))


LENGTHS = st.lists(st.tuples(st.integers(1, 400), st.integers(1, 1_000)), min_size=1, max_size=32).map(tuple)


@settings(max_examples=150, deadline=None)
@given(quotes(), quotes(), LENGTHS, MAX_S)
def test_expected_margin_is_the_mean_of_calls_priced_one_by_one(
    sell: Quote, buy: Quote, durations: tuple[tuple[int, int], ...], max_s: int
) -> None:
    earned = [
        price(sell, min(length, max_s) * 1000, 1).net_nanos - price(buy, min(length, max_s) * 1000, 1).net_nanos
        for length, calls in durations
        for _ in range(calls)
    ]
    mean = expected_margin(sell, buy, durations, max_s)
    assert mean == sum(earned) // len(earned)
    assert (mean < 0) is (sum(earned) < 0)
    # Nothing is expected that could not be.
    assert worst_margin(sell, buy, max_s)[0] <= mean


def test_one_nano_lost_over_all_calls_is_a_loss_expected() -> None:
    sell, buy = quote_of("0.06", 1, 1, Tariff(9)), quote_of("0.06", 1, 1, Tariff(9))
    dearer = Quote(RateRow("44", "", parse_amount("0.06"), 1, 1, connect_fee_nanos=1), Tariff(9))
    assert expected_margin(sell, buy, ((60, 1_000_000),)) == 0
    assert expected_margin(dearer, buy, ((60, 1),)) == 1
    # A thousandth of a nano-unit a call, rounded down: a loss stays one.
    first = Quote(RateRow("44", "", parse_amount("0.06"), 1, 1, tiers=((60, 0),)), Tariff(9, "down"))
    assert expected_margin(first, buy, ((60, 999), (61, 1))) == -1_000
    assert expected_margin(sell, dearer, ((60, 1),)) == -1


def quote_of(rate: str, first_s: int, next_s: int, tariff: Tariff | None = None) -> Quote:
    return Quote(RateRow("44", "", parse_amount(rate), first_s, next_s), tariff or Tariff())


def test_a_higher_rate_in_finer_increments_loses_money() -> None:
    """ConnexCS documentation, Billing Basics: sold at 0.006 1/1, bought at 0.005 60/60; 7 s lose 0.0043."""
    sell = quote_of("0.006", 1, 1, Tariff(4, duration_rounding="down"))
    buy = quote_of("0.005", 60, 60, Tariff(3))
    assert price(sell, 7_000, 1).net_nanos - price(buy, 7_000, 1).net_nanos == -parse_amount("0.0043")
    assert worst_margin(sell, buy, 14_400)[0] == -parse_amount("0.0049")
    assert losing_durations(sell, buy, 14_400)[0] == (1, 50)
    assert worst_margin(quote_of("0.006", 60, 60), buy, 14_400) == (parse_amount("0.001"), 1)


@pytest.mark.parametrize(
    ("sell", "buy"),
    [
        (quote_of("0.010234567", 1, 1), quote_of("0.010234566", 1, 1)),
        (quote_of("0.010234567", 1, 1, Tariff(4)), quote_of("0.010234567", 1, 1, Tariff(6))),
        (quote_of("0.0083", 1, 1), quote_of("0.01", 60, 60)),
        (quote_of("0.0123", 30, 6), quote_of("0.0119", 60, 7)),
        (quote_of("0.0123", 60, 60, Tariff(5, "half_up")), quote_of("0.0122", 1, 59, Tariff(2, "down"))),
    ],
)
def test_four_hours_are_searched_like_four_minutes(sell: Quote, buy: Quote) -> None:
    margins = [price(sell, s * 1000, 1).net_nanos - price(buy, s * 1000, 1).net_nanos for s in range(1, 14_401)]
    least, at_s = worst_margin(sell, buy, 14_400)
    assert least == min(margins) == margins[at_s - 1]
    assert worst_margin(sell, buy, 14_400) == (least, at_s)
