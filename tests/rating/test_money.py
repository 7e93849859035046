"""Exact money: every decimal string is kept to the last digit or refused."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.money import (
    NANOS,
    MoneyError,
    ceil_div,
    format_amount,
    parse_amount,
    percent_to_ppm,
    round_nanos,
    round_ratio,
    rounding_code,
)

AMOUNTS = st.integers(-(10**27), 10**27)
METHODS = st.sampled_from(["up", "half_up", "down"])


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("0", 0),
        ("-0", 0),
        ("0.0123", 12_300_000),
        (".5", 500_000_000),
        ("+1.5", 1_500_000_000),
        ("-2", -2 * NANOS),
        ("0.000000001", 1),
        ("1234567890123456789.123456789", 1234567890123456789_123456789),
        ("007.10", 7_100_000_000),
    ],
)
def test_a_plain_decimal_is_taken_exactly(text: str, nanos: int) -> None:
    assert parse_amount(text) == nanos


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "+", "-", ".", "1.", "--1", "+-1", "1 ", " 1", "1\n", "1_000", "1,5", "1,000.00", "$1", "0x10"),
        *("NaN", "nan", "Infinity", "-inf", "1e5", "1E-5", "1e400", "½", "²", "١٢", "１２", "0.١"),
        *("0.0000000001", "0.1000000000", "1" * 29, "1" * 20 + "." + "1" * 9),
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(MoneyError):
        parse_amount(text)


@given(AMOUNTS)
def test_money_survives_the_way_to_text_and_back(nanos: int) -> None:
    text = format_amount(nanos)
    assert parse_amount(text) == nanos
    assert "e" not in text.lower()
    assert Decimal(text) * NANOS == nanos
    assert "." not in text or not text.endswith("0")


@given(st.text(max_size=40))
def test_any_text_is_an_exact_amount_or_a_money_error(text: str) -> None:
    try:
        nanos = parse_amount(text)
    except MoneyError:
        return
    assert Fraction(text) * NANOS == nanos


@pytest.mark.parametrize(
    ("nanos", "decimals", "method", "rounded"),
    [
        (12_345_678_901, 4, "up", 12_345_700_000),
        (12_345_678_901, 4, "down", 12_345_600_000),
        (12_345_650_000, 4, "half_up", 12_345_700_000),
        (12_345_649_999, 4, "half_up", 12_345_600_000),
        (1, 0, "up", NANOS),
        (1, 9, "up", 1),
        (0, 4, "up", 0),
        (-12_345_678_901, 4, "up", -12_345_700_000),
        (-12_345_650_000, 4, "half_up", -12_345_700_000),
    ],
)
def test_rounding_goes_where_its_name_says(nanos: int, decimals: int, method: str, rounded: int) -> None:
    assert round_nanos(nanos, decimals, method) == rounded


@given(AMOUNTS, st.integers(0, 9), METHODS)
def test_a_charge_and_its_reversal_round_alike(nanos: int, decimals: int, method: str) -> None:
    assert round_nanos(-nanos, decimals, method) == -round_nanos(nanos, decimals, method)


@given(AMOUNTS, st.integers(0, 9), METHODS)
def test_rounding_moves_less_than_one_step_and_lands_on_one(nanos: int, decimals: int, method: str) -> None:
    step = 10 ** (9 - decimals)
    rounded = round_nanos(nanos, decimals, method)
    assert rounded % step == 0
    assert abs(rounded - nanos) < step
    assert round_nanos(rounded, decimals, method) == rounded
    if method == "half_up":
        assert 2 * abs(rounded - nanos) <= step


@given(st.integers(0, 10**20), st.integers(1, 10**6), st.sampled_from([1, 10, 10**5, 10**9]), METHODS)
def test_a_ratio_is_rounded_once(numerator: int, denominator: int, step: int, method: str) -> None:
    exact = Fraction(numerator, denominator * step)
    whole = exact.numerator // exact.denominator
    rest = exact - whole
    up = (method == "up" and rest > 0) or (method == "half_up" and rest >= Fraction(1, 2))
    assert round_ratio(numerator, denominator, step, rounding_code(method)) == (whole + up) * step


@pytest.mark.parametrize(("decimals", "method"), [(-1, "up"), (10, "up"), (4, "half_down"), (4, "")])
def test_roundings_that_do_not_exist_are_refused(decimals: int, method: str) -> None:
    with pytest.raises(MoneyError):
        round_nanos(1, decimals, method)


@pytest.mark.parametrize(("text", "ppm"), [("20.5", 205_000), ("0", 0), ("7.7", 77_000), ("100", 10**6), ("0.0001", 1)])
def test_percentages_become_parts_per_million(text: str, ppm: int) -> None:
    assert percent_to_ppm(text) == ppm


@pytest.mark.parametrize("text", ["0.00001", "20%", "NaN", ""])
def test_percentages_that_are_not_exact_are_refused(text: str) -> None:
    with pytest.raises(MoneyError):
        percent_to_ppm(text)


@given(st.integers(-(10**12), 10**12), st.integers(1, 10**6))
def test_ceil_div_is_the_ceiling(a: int, b: int) -> None:
    quotient = ceil_div(a, b)
    assert (quotient - 1) * b < a <= quotient * b
