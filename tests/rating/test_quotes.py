"""The price rule, case by case, and an oracle in exact fractions; public examples are in `test_worked_examples.py`."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from math import ceil, floor
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.money import MoneyError, format_amount, parse_amount
from rating.quotes import Quote, Tariff, minute_rate_nanos, price
from rating.rows import WEEK_MINUTES, RateRow


@pytest.mark.parametrize(
    ("talk_s", "net"),
    # 20 cents to connect, 10 cents the first minute, then 5 cents a minute by the second.
    [(20, "0.3"), (60, "0.3"), (85, "0.320834")],
)
def test_the_first_minute_may_cost_more_than_the_others(talk_s: int, net: str) -> None:
    row = RateRow("10", "", parse_amount("0.1"), 60, 1, parse_amount("0.2"), tiers=((60, parse_amount("0.05")),))
    assert format_amount(price(Quote(row, Tariff(decimals=6)), talk_s * 1000, 1).net_nanos) == net


@pytest.mark.parametrize(("talk_s", "net"), [(59, "0.59"), (60, "0.6"), (61, "0.602"), (120, "0.72"), (121, "0.721")])
def test_a_tier_begins_with_the_second_after_its_start(talk_s: int, net: str) -> None:
    row = RateRow("10", "", parse_amount("0.6"), tiers=((60, parse_amount("0.12")), (120, parse_amount("0.06"))))
    assert format_amount(price(Quote(row, Tariff()), talk_s * 1000, 1).net_nanos) == net


@pytest.mark.parametrize(("talk_s", "billed_s"), [(1, 10), (9, 10), (10, 10), (11, 11), (12, 12), (25, 25)])
def test_a_minimum_is_billed_at_least(talk_s: int, billed_s: int) -> None:
    quote = Quote(RateRow("44", "", 0, minimum_s=10), Tariff(minimum_s=99))
    assert price(quote, talk_s * 1000, 1).billed_s == billed_s


@pytest.mark.parametrize(("talk_ms", "is_free"), [(0, True), (2_999, True), (3_000, True), (3_001, False)])
def test_a_call_within_its_grace_time_is_free_of_the_connect_fee_too(talk_ms: int, is_free: bool) -> None:
    quote = Quote(RateRow("44", "", 10**9, 60, 60, 10**8), Tariff(grace_s=3))
    charge = price(quote, talk_ms, 1)
    assert (charge.billed_s, charge.gross_nanos) == ((0, 0) if is_free else (60, 1_100_000_000))


def test_an_answered_call_of_no_length_costs_its_first_increment() -> None:
    quote = Quote(RateRow("44", "", 60 * 10**9, 30, 6, 1), Tariff(decimals=9, duration_rounding="down"))
    assert price(quote, 400, 1).net_nanos == 30 * 10**9 + 1
    assert price(quote, -5, 1).net_nanos == 30 * 10**9 + 1


def test_an_unanswered_call_costs_nothing() -> None:
    quote = Quote(RateRow("44", "", 10**9, 60, 60, 10**9), Tariff(minimum_s=60), 200_000)
    charge = price(quote, 50_000, 0)
    assert (charge.billed_s, charge.net_nanos, charge.tax_nanos, charge.gross_nanos) == (0, 0, 0, 0)


def test_the_row_overrides_its_card_and_a_zero_is_a_value() -> None:
    tariff = Tariff(grace_s=5, minimum_s=30, max_cost_nanos=1)
    row = RateRow("44", "", 10**9, minimum_s=0, grace_s=0, max_cost_nanos=10**12)
    charge = price(Quote(row, tariff), 3_000, 1)
    assert (charge.billed_s, charge.net_nanos) == (3, 50_000_000)
    inherited = price(Quote(RateRow("44", "", 10**9), tariff), 6_000, 1)
    assert (inherited.billed_s, inherited.net_nanos) == (30, 1)


def test_the_maximum_cost_caps_net_and_tax_comes_on_top() -> None:
    quote = Quote(RateRow("44", "", 10**9, max_cost_nanos=2 * 10**9), Tariff(), 205_000)
    charge = price(quote, 3_600_000, 1)
    assert (charge.net_nanos, charge.tax_nanos, charge.gross_nanos) == (2 * 10**9, 410_000_000, 2_410_000_000)


def test_tax_is_rounded_like_the_price() -> None:
    row = RateRow("44", "", parse_amount("0.0123"), 60, 60)
    for method, tax in (("up", "0.0026"), ("half_up", "0.0025"), ("down", "0.0025")):
        assert format_amount(price(Quote(row, Tariff(rounding=method), 205_000), 1, 1).tax_nanos) == tax


def ms(zone: str, *when: int) -> int:
    return int(datetime(*when, tzinfo=ZoneInfo(zone)).timestamp() * 1000)  # type: ignore[arg-type,misc]


OFFICE_HOURS = tuple((day * 1440 + 8 * 60, day * 1440 + 19 * 60, 40_000_000) for day in range(5))


@pytest.mark.parametrize(
    ("zone", "at_ms", "rate"),
    [
        ("UTC", ms("UTC", 2024, 1, 1, 8, 0), 40_000_000),  # a Monday
        ("UTC", ms("UTC", 2024, 1, 1, 7, 59, 59), 10_000_000),
        ("UTC", ms("UTC", 2024, 1, 1, 19, 0), 10_000_000),
        ("UTC", ms("UTC", 2024, 1, 6, 12, 0), 10_000_000),  # a Saturday
        ("Europe/Berlin", ms("Europe/Berlin", 2024, 1, 5, 18, 59, 59), 40_000_000),
        ("Europe/Berlin", ms("UTC", 2024, 1, 5, 18, 0), 10_000_000),
        # Clocks go forward on 2024-03-31 and back on 2024-10-27: 08:00 by the wall either way.
        ("Europe/Berlin", ms("UTC", 2024, 4, 1, 6, 0), 40_000_000),
        ("Europe/Berlin", ms("UTC", 2024, 10, 28, 6, 59), 10_000_000),
        ("Europe/Berlin", ms("UTC", 2024, 10, 28, 7, 0), 40_000_000),
        ("Asia/Kathmandu", ms("Asia/Kathmandu", 2024, 1, 2, 8, 0), 40_000_000),
        ("Asia/Kathmandu", ms("Asia/Kathmandu", 2024, 1, 2, 7, 59), 10_000_000),
    ],
)
def test_a_window_is_read_on_the_cards_wall_clocks(zone: str, at_ms: int, rate: int) -> None:
    row = RateRow("10", "", 10_000_000, windows=OFFICE_HOURS)
    tariff = Tariff(time_zone=zone)
    quote = Quote(row, tariff, at_ms=at_ms)
    assert quote.rate_nanos == rate
    assert minute_rate_nanos(quote, at_ms) == rate
    # The rate of the INVITE stays, whenever the answer comes.
    assert price(quote, 60_000, at_ms + 12 * 3_600_000).net_nanos == rate
    assert price(Quote(row, tariff), 60_000, at_ms).net_nanos == rate


def test_every_minute_of_the_week_has_its_number() -> None:
    tariff = Tariff()
    monday_ms = ms("UTC", 2024, 1, 1)
    assert [tariff.week_minute(monday_ms + minute * 60_000) for minute in (0, 1, WEEK_MINUTES - 1, WEEK_MINUTES)] == [
        *(0, 1, WEEK_MINUTES - 1, 0)
    ]
    assert datetime.fromtimestamp(0, UTC).weekday() * 1440 == tariff.week_minute(1)


@pytest.mark.parametrize(
    "bad", [{"decimals": 10}, {"decimals": -1}, {"rounding": "even"}, {"duration_rounding": ""}, {"grace_s": -1}]
)
def test_a_card_that_makes_no_sense_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(MoneyError):
        Tariff(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", ""])
def test_a_time_zone_that_is_none_is_a_value_error(zone: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Tariff(time_zone=zone)


@st.composite
def quotes(draw: st.DrawFn) -> Quote:
    tiers = draw(st.dictionaries(st.integers(1, 500), st.integers(0, 10**9), max_size=3))
    row = RateRow(
        "44",
        "",
        draw(st.integers(0, 10**10)),
        draw(st.integers(0, 90)),
        draw(st.integers(1, 90)),
        draw(st.integers(0, 10**9)),
        minimum_s=draw(st.integers(-1, 120)),
        grace_s=draw(st.integers(-1, 60)),
        max_cost_nanos=draw(st.integers(-1, 10**11)),
        tiers=tuple(sorted(tiers.items())),
    )
    methods = st.sampled_from(["up", "half_up", "down"])
    return Quote(row, Tariff(draw(st.integers(0, 9)), draw(methods), draw(methods), 2, 7), draw(st.integers(0, 10**6)))


def rounded(exact: Fraction, code: int) -> int:
    return ceil(exact) if code == 0 else floor(exact + Fraction(1, 2)) if code == 1 else floor(exact)


def slow_price(quote: Quote, duration_ms: int) -> tuple[int, Fraction, Fraction]:
    """The rule again: every billed second counted one by one, in exact fractions of the currency."""
    row, tariff = quote.row, quote.tariff
    talk_s = rounded(Fraction(duration_ms, 1000), tariff.duration_code)
    grace_s = tariff.grace_s if row.grace_s < 0 else row.grace_s
    if grace_s and talk_s <= grace_s:
        return 0, Fraction(0), Fraction(0)
    billed_s = row.first_s
    while billed_s < talk_s:
        billed_s += row.next_s
    billed_s = max(billed_s, tariff.minimum_s if row.minimum_s < 0 else row.minimum_s)
    exact = Fraction(row.connect_fee_nanos, 10**9)
    for second in range(billed_s):
        rates = [row.rate_nanos, *(rate for from_s, rate in row.tiers if from_s <= second)]
        exact += Fraction(rates[-1], 60 * 10**9)
    scale = 10**tariff.decimals
    net = Fraction(rounded(exact * scale, tariff.rounding_code), scale)
    if row.max_cost_nanos >= 0:
        net = min(net, Fraction(row.max_cost_nanos, 10**9))
    tax = Fraction(rounded(net * quote.tax_ppm / 10**6 * scale, tariff.rounding_code), scale)
    return billed_s, net, tax


@settings(deadline=None)
@given(quotes(), st.integers(0, 700_000))
def test_the_price_is_that_of_the_slow_rule(quote: Quote, duration_ms: int) -> None:
    charge = price(quote, duration_ms, 1)
    billed_s, net, tax = slow_price(quote, duration_ms)
    assert charge.billed_s == billed_s
    assert Fraction(charge.net_nanos, 10**9) == net
    assert Fraction(charge.tax_nanos, 10**9) == tax
    assert charge.gross_nanos == charge.net_nanos + charge.tax_nanos


@given(quotes(), st.integers(0, 700_000), st.integers(0, 100_000))
def test_a_longer_call_never_costs_less(quote: Quote, duration_ms: int, longer_ms: int) -> None:
    shorter = price(quote, duration_ms, 1)
    longer = price(quote, duration_ms + longer_ms, 1)
    assert longer.net_nanos >= shorter.net_nanos
    assert longer.tax_nanos >= shorter.tax_nanos
    assert longer.billed_s >= shorter.billed_s


@given(quotes(), st.integers(0, 700_000))
def test_every_part_of_a_charge_is_in_whole_steps_of_the_card_but_for_its_maximum(
    quote: Quote, duration_ms: int
) -> None:
    charge = price(quote, duration_ms, 1)
    step = quote.tariff.step_nanos
    assert charge.tax_nanos % step == 0
    assert charge.net_nanos % step == 0 or charge.net_nanos == quote.max_cost_nanos
    assert quote.max_cost_nanos < 0 or charge.net_nanos <= quote.max_cost_nanos
    # Tax is off by less than one step, and not by more than half of one where it is rounded to the nearest.
    off = charge.tax_nanos * 10**6 - charge.net_nanos * quote.tax_ppm
    assert -step * 10**6 < off < step * 10**6
    assert quote.tariff.rounding != "half_up" or 2 * abs(off) <= step * 10**6
    assert quote.tariff.rounding != "up" or off >= 0
    assert quote.tariff.rounding != "down" or off <= 0


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia", "Africa/Cairo"])


@st.composite
def weeks(draw: st.DrawFn) -> tuple[tuple[int, int, int], ...]:
    edges = sorted(draw(st.lists(st.integers(0, WEEK_MINUTES), min_size=2, max_size=8, unique=True)))
    return tuple((start, end, start + 1) for start, end in zip(edges[::2], edges[1::2], strict=False))


@given(weeks(), ZONES, st.integers(ms("UTC", 2000, 1, 1), ms("UTC", 2037, 12, 31)))
def test_the_rate_is_that_of_the_window_on_the_calendars_clock(
    windows: tuple[tuple[int, int, int], ...], zone: str, at_ms: int
) -> None:
    clock = datetime.fromtimestamp(at_ms // 1000, ZoneInfo(zone))
    minute = clock.weekday() * 1440 + clock.hour * 60 + clock.minute
    expected = [rate for start, end, rate in windows if start <= minute < end] or [0]
    assert Quote(RateRow("1", "", 0, windows=windows), Tariff(time_zone=zone), at_ms=at_ms).rate_nanos == expected[0]


@pytest.fixture(params=["UTC", "America/St_Johns", "Asia/Kathmandu", "Pacific/Kiritimati"])
def machine_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


def test_a_price_does_not_depend_on_the_machines_zone(machine_zone: str) -> None:
    row = RateRow("10", "", 10_000_000, windows=OFFICE_HOURS)
    for zone in ("UTC", "Europe/Berlin"):
        prices = [
            price(
                Quote(row, Tariff(time_zone=zone), at_ms=ms("UTC", 2024, 3, 29) + hour * 3_600_000), 60_000, 1
            ).net_nanos
            for hour in range(24 * 5)
        ]
        dear = [hour for hour, nanos in enumerate(prices) if nanos == 40_000_000]
        # Friday and, after the clocks went forward on Sunday, Monday and Tuesday.
        before, after = (0, 0) if zone == "UTC" else (1, 2)
        office = [*range(8 - before, 19 - before), *range(80 - after, 91 - after), *range(104 - after, 115 - after)]
        assert dear == office, machine_zone
