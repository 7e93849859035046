"""What a month costs: whole months exactly, parts by their days, each line rounded once."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.services.client_bill_lines import lines_of, totals_of
from control.services.client_rules import MONTHLY, month_named
from control.services.periods import Period, next_period

CENT = 10_000_000
ALWAYS = Period(date(2020, 1, 1), date.max)


def bought(
    start: str, end: str | None = None, *, cents: int = 31_00, setup: int = 0, quantity: int = 1
) -> dict[str, Any]:
    prices = {"monthly_price_nanos": cents * CENT, "setup_price_nanos": setup * CENT}
    return {"id": 1, "name": "Desk", "quantity": quantity, "start_date": start, "end_date": end, **prices}


def nets(row: dict[str, Any], month: str, life: Period = ALWAYS, decimals: int = 2) -> list[tuple[str, int, int]]:
    lines = lines_of([row], month_named(month), life, decimals)
    return [(line.kind, line.days, line.net_nanos // CENT) for line in lines]


@pytest.mark.parametrize(
    ("start", "end", "month", "days", "cents"),
    [
        ("2027-01-01", None, "2027-01", 31, 31_00),
        ("2027-01-31", None, "2027-01", 1, 1_00),
        ("2027-01-01", "2027-01-01", "2027-01", 1, 1_00),
        ("2027-01-31", None, "2027-02", 28, 31_00),
        # 31.00 * 1 / 28 = 1.10714…, / 29 = 1.06896…, / 30 = 1.0333…
        ("2027-02-28", None, "2027-02", 1, 1_11),
        ("2028-02-29", None, "2028-02", 1, 1_07),
        ("2028-02-01", "2028-02-28", "2028-02", 28, 29_93),
        ("2027-04-30", None, "2027-04", 1, 1_03),
        ("2027-12-31", "2028-01-01", "2027-12", 1, 1_00),
        ("2027-12-31", "2028-01-01", "2028-01", 1, 1_00),
    ],
)
def test_a_month_costs_its_days_share(start: str, end: str | None, month: str, days: int, cents: int) -> None:
    assert nets(bought(start, end), month) == [("monthly", days, cents)]


def test_nothing_is_billed_outside_of_what_was_bought() -> None:
    row = bought("2027-02-10", "2027-03-05")
    assert nets(row, "2027-01") == nets(row, "2027-04") == []


def test_the_setup_price_comes_once_in_the_month_of_the_first_day_that_counts() -> None:
    row = bought("2027-01-20", setup=50_00, quantity=3)
    assert nets(row, "2027-01") == [("setup", 1, 150_00), ("monthly", 12, 36_00)]
    assert nets(row, "2027-02") == [("monthly", 28, 93_00)]
    # Bought while the client was new: it counts from the day that the client became active.
    life = Period(date(2027, 2, 3), date.max)
    assert nets(row, "2027-01", life) == []
    assert nets(row, "2027-02", life)[0] == ("setup", 1, 150_00)


def test_what_lies_outside_of_the_clients_life_is_not_billed() -> None:
    life = Period(date(2027, 1, 11), date(2027, 1, 21))
    assert nets(bought("2026-01-01"), "2027-01", life) == [("monthly", 10, 10_00)]
    assert nets(bought("2026-01-01"), "2027-02", life) == []


def test_yen_have_no_decimals_and_dinars_three() -> None:
    row = bought("2027-01-21", cents=1_000_00)
    assert lines_of([row], month_named("2027-01"), ALWAYS, 0)[0].net_nanos == 355 * 10**9
    assert lines_of([row], month_named("2027-01"), ALWAYS, 3)[0].net_nanos == 354_839 * 10**6


def test_tax_is_rounded_once_on_the_sum() -> None:
    lines = lines_of([bought("2027-01-01", cents=3), bought("2027-01-01", cents=2)], month_named("2027-01"), ALWAYS, 2)
    totals = totals_of(lines, 200_000, 2)
    assert (totals.net_nanos, totals.tax_nanos, totals.total_nanos) == (5 * CENT, 1 * CENT, 6 * CENT)


@given(
    start=st.dates(date(2023, 1, 1), date(2029, 1, 1)),
    days=st.integers(1, 900),
    cents=st.integers(0, 10**7),
    quantity=st.integers(1, 1_000),
)
def test_over_its_whole_life_every_day_is_billed_once(start: date, days: int, cents: int, quantity: int) -> None:
    last = start + timedelta(days=days - 1)
    row = bought(start.isoformat(), last.isoformat(), cents=cents, setup=1, quantity=quantity)
    month: Period | None = month_named("2022-12")
    counted = setups = 0
    while month is not None and month.first <= last:
        lines = lines_of([row], month, ALWAYS, 2)
        for line in lines:
            if line.kind == "setup":
                setups += 1
                continue
            counted += line.days
            price = quantity * cents * CENT
            exact = price * line.days
            assert abs(line.net_nanos * line.month_days - exact) * 2 <= CENT * line.month_days
            assert line.net_nanos == price or line.days < line.month_days
        month = next_period(MONTHLY, month)
    assert setups == 1
    assert counted == (days if cents else 0)
