"""Borders of periods, and shares of them: tables of months' ends, leap days and clocks that are set."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.services.periods import (
    FIRST_DAY,
    LAST_DAY,
    Frequency,
    Period,
    Rule,
    day_at,
    day_start_ms,
    next_period,
    period_at,
    period_of,
    periods_between,
    share_nanos,
    within,
)

UNIT = 10**9
HOUR_MS = 3_600_000


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def period(first: str, until: str) -> Period:
    return Period(date.fromisoformat(first), date.fromisoformat(until))


@pytest.mark.parametrize(
    ("frequency", "day", "asked", "first", "until"),
    [
        ("daily", 1, "2028-02-29", "2028-02-29", "2028-03-01"),
        ("daily", 1, "2027-12-31", "2027-12-31", "2028-01-01"),
        # 2027-01-15 is a Friday.
        ("weekly", 1, "2027-01-15", "2027-01-11", "2027-01-18"),
        ("weekly", 5, "2027-01-15", "2027-01-15", "2027-01-22"),
        ("weekly", 6, "2027-01-15", "2027-01-09", "2027-01-16"),
        ("weekly", 7, "2027-01-03", "2027-01-03", "2027-01-10"),
        ("monthly", 1, "2027-02-28", "2027-02-01", "2027-03-01"),
        ("monthly", 1, "2028-02-29", "2028-02-01", "2028-03-01"),
        ("monthly", 15, "2027-01-14", "2026-12-15", "2027-01-15"),
        ("monthly", 15, "2027-01-15", "2027-01-15", "2027-02-15"),
        ("monthly", 31, "2027-01-30", "2026-12-31", "2027-01-31"),
        ("monthly", 31, "2027-01-31", "2027-01-31", "2027-02-28"),
        ("monthly", 31, "2027-02-28", "2027-02-28", "2027-03-31"),
        ("monthly", 31, "2027-04-30", "2027-04-30", "2027-05-31"),
        ("monthly", 30, "2028-02-28", "2028-01-30", "2028-02-29"),
        ("monthly", 30, "2028-02-29", "2028-02-29", "2028-03-30"),
        ("monthly", 29, "2027-02-28", "2027-02-28", "2027-03-29"),
        ("monthly", 29, "2028-02-28", "2028-01-29", "2028-02-29"),
        ("monthly", 15, "2027-12-20", "2027-12-15", "2028-01-15"),
    ],
)
def test_a_day_lies_in_the_period_that_began_last(
    frequency: Frequency, day: int, asked: str, first: str, until: str
) -> None:
    assert period_of(Rule(frequency, day), date.fromisoformat(asked)) == period(first, until)


def test_once_is_one_period_that_nothing_follows() -> None:
    once = period_of(Rule("once"), date(2027, 1, 15))
    assert once == Period(FIRST_DAY, LAST_DAY)
    assert next_period(Rule("once"), once) is None


_RULES = st.one_of(
    st.just(Rule("daily")),
    st.builds(Rule, st.just("weekly"), st.integers(1, 7)),
    st.builds(Rule, st.just("monthly"), st.integers(1, 31)),
)
_DAYS = st.dates(date(1999, 1, 1), date(2101, 1, 1))


@given(_RULES, _DAYS)
def test_periods_follow_each_other_without_gap_or_overlap(rule: Rule, day: date) -> None:
    now = period_of(rule, day)
    assert now.first <= day <= now.last
    assert period_of(rule, now.first) == period_of(rule, now.last) == now
    after = next_period(rule, now)
    assert after is not None
    assert after.first == now.until
    assert now.days in {"daily": {1}, "weekly": {7}, "monthly": {28, 29, 30, 31}}[rule.frequency]


@given(_RULES, _DAYS, st.integers(0, 200))
def test_periods_between_two_days_cover_each_day_once(rule: Rule, first: date, count: int) -> None:
    until = first + timedelta(days=count)
    found = list(periods_between(rule, first, until))
    assert all(one.until == other.first for one, other in pairwise(found))
    parts = [within(each, first, until) for each in found]
    assert sum(part.days for part in parts if part) == count
    assert None not in parts


@pytest.mark.parametrize(
    ("day", "zone", "start"),
    [
        ("2027-01-15", "UTC", "2027-01-15T00:00:00+00:00"),
        ("2027-01-15", "America/New_York", "2027-01-15T00:00:00-05:00"),
        # Clocks are set in the night of the 28th, after midnight: the day has 23 hours.
        ("2027-03-28", "Europe/London", "2027-03-28T00:00:00+00:00"),
        ("2027-03-29", "Europe/London", "2027-03-29T00:00:00+01:00"),
        ("2027-10-31", "Europe/London", "2027-10-31T00:00:00+01:00"),
        ("2027-11-01", "Europe/London", "2027-11-01T00:00:00+00:00"),
        # Midnight is skipped: the day begins at one.
        ("2027-03-28", "Asia/Beirut", "2027-03-28T01:00:00+03:00"),
        # Midnight comes twice: the day begins with the first.
        ("2027-11-07", "America/Havana", "2027-11-07T00:00:00-04:00"),
        # Half an hour of daylight saving.
        ("2027-04-05", "Australia/Lord_Howe", "2027-04-05T00:00:00+10:30"),
        # Samoa had no 30 December 2011.
        ("2011-12-30", "Pacific/Apia", "2011-12-31T00:00:00+14:00"),
        ("2011-12-31", "Pacific/Apia", "2011-12-31T00:00:00+14:00"),
        ("2012-01-01", "Pacific/Apia", "2012-01-01T00:00:00+14:00"),
    ],
)
def test_a_day_begins_at_midnight_of_its_zone_or_at_the_moment_that_skips_it(day: str, zone: str, start: str) -> None:
    assert day_start_ms(date.fromisoformat(day), zone) == at(start)


@pytest.mark.parametrize(
    ("rule", "zone", "now", "first"),
    [
        (Rule("monthly"), "America/New_York", "2027-03-01T04:59:59+00:00", "2027-02-01"),
        (Rule("monthly"), "America/New_York", "2027-03-01T05:00:00+00:00", "2027-03-01"),
        (Rule("monthly"), "Asia/Tokyo", "2027-02-28T15:00:00+00:00", "2027-03-01"),
        (Rule("daily"), "Europe/London", "2027-03-28T22:59:59+00:00", "2027-03-28"),
        (Rule("daily"), "Europe/London", "2027-03-28T23:00:00+00:00", "2027-03-29"),
        (Rule("weekly", 7), "Asia/Beirut", "2027-03-27T21:59:59+00:00", "2027-03-21"),
        (Rule("weekly", 7), "Asia/Beirut", "2027-03-27T22:00:00+00:00", "2027-03-28"),
    ],
)
def test_a_moment_lies_in_the_period_of_its_zones_day(rule: Rule, zone: str, now: str, first: str) -> None:
    assert period_at(rule, at(now), zone).first == date.fromisoformat(first)


@given(
    st.sampled_from(["UTC", "Europe/London", "Asia/Beirut", "America/Havana", "Pacific/Apia", "Australia/Lord_Howe"]),
    st.integers(at("2011-12-01T00:00:00+00:00"), at("2040-01-01T00:00:00+00:00")),
    _RULES,
)
def test_every_moment_lies_between_the_borders_of_its_period(zone: str, now_ms: int, rule: Rule) -> None:
    now = period_at(rule, now_ms, zone)
    assert now.start_ms(zone) <= now_ms < now.end_ms(zone)
    assert day_at(now.start_ms(zone), zone) == now.first or zone == "Pacific/Apia"


def test_a_month_with_a_change_of_clocks_is_an_hour_shorter_or_longer_and_costs_the_same() -> None:
    march, october = period("2027-03-01", "2027-04-01"), period("2027-10-01", "2027-11-01")
    for month, hours in ((march, 31 * 24 - 1), (october, 31 * 24 + 1)):
        assert month.end_ms("Europe/London") - month.start_ms("Europe/London") == hours * HOUR_MS
        half = Period(month.first, month.first + timedelta(days=15))
        assert share_nanos(31 * UNIT, Rule("monthly"), month, half) == 15 * UNIT


@pytest.mark.parametrize(
    ("rule", "whole", "part", "amount", "decimals", "share"),
    [
        # A whole period costs its very price, however many decimals that has.
        (Rule("monthly"), ("2027-02-01", "2027-03-01"), ("2027-02-01", "2027-03-01"), 1_234_567_891, 2, 1_234_567_891),
        (Rule("monthly"), ("2027-02-01", "2027-03-01"), ("2027-02-15", "2027-03-01"), 10 * UNIT, 2, 5 * UNIT),
        (Rule("monthly"), ("2028-02-01", "2028-03-01"), ("2028-02-29", "2028-03-01"), 29 * UNIT, 2, UNIT),
        # 10 · 10/31 = 3.2258…
        (Rule("monthly"), ("2027-01-01", "2027-02-01"), ("2027-01-22", "2027-02-01"), 10 * UNIT, 2, 3_230_000_000),
        (Rule("monthly"), ("2027-01-01", "2027-02-01"), ("2027-01-22", "2027-02-01"), 10 * UNIT, 4, 3_225_800_000),
        (Rule("monthly"), ("2027-01-01", "2027-02-01"), ("2027-01-22", "2027-02-01"), 10 * UNIT, 0, 3 * UNIT),
        # Halves go away from 0: 0.25 · 1/2 to one decimal.
        (Rule("monthly"), ("2027-02-01", "2027-03-01"), ("2027-02-15", "2027-03-01"), UNIT // 2, 1, 300_000_000),
        (Rule("monthly"), ("2027-02-01", "2027-03-01"), ("2027-02-15", "2027-03-01"), -UNIT // 2, 1, -300_000_000),
        (Rule("weekly", 3), ("2027-01-13", "2027-01-20"), ("2027-01-15", "2027-01-16"), 7 * UNIT, 2, UNIT),
    ],
)
def test_a_part_costs_its_share_of_days_rounded_once(
    rule: Rule, whole: tuple[str, str], part: tuple[str, str], amount: int, decimals: int, share: int
) -> None:
    assert share_nanos(amount, rule, period(*whole), period(*part), decimals=decimals) == share


def test_once_is_never_cut() -> None:
    rule = Rule("once")
    whole = period_of(rule, date(2027, 1, 15))
    part = within(whole, date(2027, 1, 15), date(2027, 1, 16))
    assert part is not None
    assert share_nanos(7 * UNIT, rule, whole, part) == 7 * UNIT


@given(_RULES, _DAYS, st.integers(0, 30), st.integers(-(10**15), 10**15), st.integers(0, 4))
def test_two_parts_of_a_period_cost_the_whole_but_for_one_rounding_each(
    rule: Rule, day: date, cut: int, amount: int, decimals: int
) -> None:
    whole = period_of(rule, day)
    border = min(whole.first + timedelta(days=cut), whole.until)
    parts = [part for part in (within(whole, whole.first, border), within(whole, border, None)) if part]
    shares = [share_nanos(amount, rule, whole, part, decimals=decimals) for part in parts]
    assert abs(sum(shares) - amount) <= (0 if len(parts) == 1 else 10 ** (9 - decimals))
    assert all(share * amount >= 0 and abs(share) <= abs(amount) + 10 ** (9 - decimals) for share in shares)
