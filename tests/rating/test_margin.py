"""The least margin and the losing lengths, against pricing every length there is."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from rating.margin import losing_durations, worst_margin
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


@settings(max_examples=300, deadline=None)
@given(quotes(), quotes(), MAX_S)
def test_worst_margin_is_the_least_of_all_lengths_priced_one_by_one(sell: Quote, buy: Quote, max_s: int) -> None:
    margins = margins_by_length(sell, buy, max_s)
    least, at_s = worst_margin(sell, buy, max_s)
    assert least == min(margins)
    assert margins[at_s - 1] == least


@settings(max_examples=300, deadline=None)
@given(quotes(), quotes(), MAX_S)
def test_losing_durations_are_the_lengths_that_lose_one_by_one(sell: Quote, buy: Quote, max_s: int) -> None:
    ranges = losing_durations(sell, buy, max_s)
    losing = [length for start, end in ranges for length in range(start, end + 1)]
    assert losing == [index + 1 for index, margin in enumerate(margins_by_length(sell, buy, max_s)) if margin < 0]
    # Ranges are apart: neighbours would be one range.
    assert all(earlier[1] + 1 < later[0] for earlier, later in pairwise(ranges))
