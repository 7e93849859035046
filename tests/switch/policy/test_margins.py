"""Worst margins are worked out once per pair of rows, and again when anything that counts changed."""

from __future__ import annotations

from rating.margin import expected_margin, worst_margin
from rating.quotes import Quote, Tariff
from rating.rows import RateRow
from switch.policy.margins import Margins
from tests.fakes.carrier import CENT, NOW_MS

WEEK = 7 * 24 * 60


def quote(row: RateRow, at_ms: int = NOW_MS) -> Quote:
    return Quote(row, Tariff(), 0, 1, 1, at_ms)


def test_the_answer_is_that_of_rating() -> None:
    sell = RateRow("44", "UK", 5 * CENT)
    buy = RateRow("44", "UK", 3 * CENT, 60, 60)
    margins = Margins()
    for max_s in (30, 60, 3600):
        expected = worst_margin(quote(sell), quote(buy), max_s)
        assert margins.worst(quote(sell), quote(buy), max_s) == expected
        assert margins.worst(quote(sell), quote(buy), max_s) == expected


def test_rates_of_another_hour_are_another_pair() -> None:
    sell = RateRow("44", "UK", 5 * CENT)
    buy = RateRow("44", "UK", 3 * CENT, windows=((0, 60, 90 * CENT),))
    margins = Margins()
    monday_ms = 4 * 86_400_000
    assert margins.worst(quote(sell, monday_ms), quote(buy, monday_ms), 60)[0] < 0
    later_ms = monday_ms + 3_600_000
    assert margins.worst(quote(sell, later_ms), quote(buy, later_ms), 60)[0] >= 0


def test_equal_rows_that_are_not_the_same_do_not_meet() -> None:
    margins = Margins()
    for rate in range(1, 200):
        # Rows come and go, as they do when a deck's cache is emptied: addresses are used again.
        sell = quote(RateRow("44", "UK", rate * CENT))
        buy = quote(RateRow("44", "UK", 7 * CENT))
        assert margins.worst(sell, buy, 60) == worst_margin(sell, buy, 60)


def test_expected_margins_are_known_by_the_routes_lengths_and_limit() -> None:
    sell = quote(RateRow("44", "UK", 5 * CENT))
    buy = quote(RateRow("44", "UK", 3 * CENT, 60, 60))
    margins = Margins()
    for durations in (((5, 9), (600, 1)), ((5, 1), (600, 9))):
        for max_s in (60, 3600):
            expected = expected_margin(sell, buy, durations, max_s)
            assert margins.expected(sell, buy, durations, max_s) == expected
            assert margins.expected(sell, buy, durations, max_s) == expected
    changed = Quote(buy.row, Tariff(2), 0, 1, 1, NOW_MS)
    margins.clear()
    durations = ((5, 9), (600, 1))
    assert margins.expected(sell, changed, durations, 60) == expected_margin(sell, changed, durations, 60)
