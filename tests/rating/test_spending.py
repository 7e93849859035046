"""Days on customers' clocks: where they are long, short, repeated or skipped."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.spending import DaySpend

HOUR_MS = 3_600_000


def utc(text: str) -> int:
    """Milliseconds since the epoch of `2024-03-31 01:00`, with seconds where there are any."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


# zone, UTC times at which a day begins and ends, its hours
DAYS: list[tuple[str, str, str, float]] = [
    ("UTC", "2024-02-29 00:00", "2024-03-01 00:00", 24),
    ("UTC", "2023-02-28 00:00", "2023-03-01 00:00", 24),
    ("UTC", "2024-12-31 00:00", "2025-01-01 00:00", 24),
    ("Europe/Berlin", "2024-03-30 23:00", "2024-03-31 22:00", 23),
    ("Europe/Berlin", "2024-10-26 22:00", "2024-10-27 23:00", 25),
    ("Europe/Berlin", "2024-02-28 23:00", "2024-02-29 23:00", 24),
    ("America/New_York", "2024-03-10 05:00", "2024-03-11 04:00", 23),
    ("America/New_York", "2024-11-03 04:00", "2024-11-04 05:00", 25),
    # Clocks go from 24:00 to 01:00: midnight is not there, and the day before is whole.
    ("America/Santiago", "2024-09-07 04:00", "2024-09-08 04:00", 24),
    ("America/Santiago", "2024-09-08 04:00", "2024-09-09 03:00", 23),
    ("Africa/Cairo", "2024-04-25 22:00", "2024-04-26 21:00", 23),
    ("Asia/Beirut", "2024-03-30 22:00", "2024-03-31 21:00", 23),
    # From 24:00 back to 23:00: the hour before midnight comes twice.
    ("America/Santiago", "2024-04-06 03:00", "2024-04-07 04:00", 25),
    ("Africa/Cairo", "2024-10-30 21:00", "2024-10-31 22:00", 25),
    ("Asia/Beirut", "2024-10-25 21:00", "2024-10-26 22:00", 25),
    ("Asia/Beirut", "2024-10-26 22:00", "2024-10-27 22:00", 24),
    # From 01:00 back to midnight, which comes twice: the day begins with the first.
    ("America/Havana", "2024-11-03 04:00", "2024-11-04 05:00", 25),
    ("Atlantic/Azores", "2024-10-27 00:00", "2024-10-28 01:00", 25),
    # From 00:01 back to 23:01 of the day before, which does not come again.
    ("America/St_Johns", "2010-11-07 02:30", "2010-11-08 03:30", 25),
    # From 23:30 to 00:30.
    ("America/Toronto", "1919-03-30 05:00", "1919-03-31 04:30", 23.5),
    # Half an hour of summer time; clocks of :45; the far ends of the date line.
    ("Australia/Lord_Howe", "2024-10-05 13:30", "2024-10-06 13:00", 23.5),
    ("Asia/Kathmandu", "2024-02-28 18:15", "2024-02-29 18:15", 24),
    ("Pacific/Kiritimati", "2023-12-31 10:00", "2024-01-01 10:00", 24),
    ("Etc/GMT+12", "2024-01-01 12:00", "2024-01-02 12:00", 24),
    # Samoa had no 30 December.
    ("Pacific/Apia", "2011-12-29 10:00", "2011-12-30 10:00", 24),
    # Casablanca keeps its clocks back over Ramadan.
    ("Africa/Casablanca", "2024-03-09 23:00", "2024-03-11 00:00", 25),
    # A leap second is not there in time since the epoch.
    ("UTC", "2016-12-31 00:00", "2017-01-01 00:00", 24),
]


@pytest.mark.parametrize(("zone", "begin", "end", "hours"), DAYS)
def test_a_day_is_as_long_as_its_clocks_say(zone: str, begin: str, end: str, hours: float) -> None:
    begin_ms, end_ms = utc(begin), utc(end)
    assert end_ms - begin_ms == hours * HOUR_MS
    spend = DaySpend(zone)
    spend.add(1, begin_ms - 1)
    assert spend.spent(begin_ms - 1) == 1
    assert spend.spent(begin_ms) == 0
    # Seen at its first moment, at its last, and now and then between.
    for offset_ms in range(0, end_ms - begin_ms, HOUR_MS // 4):
        spend.add(1, begin_ms + offset_ms)
    spend.add(1, end_ms - 1)
    assert spend.spent(end_ms - 1) == hours * 4 + 1
    assert spend.spent(end_ms) == 0


@pytest.mark.parametrize(("zone", "begin", "end", "hours"), DAYS)
def test_a_day_taken_up_in_its_middle_ends_at_the_same_moment(zone: str, begin: str, end: str, hours: float) -> None:
    begin_ms, end_ms = utc(begin), utc(end)
    for at_ms in (begin_ms, begin_ms + int(hours * HOUR_MS) // 2, end_ms - 2 * HOUR_MS, end_ms - 1):
        first = DaySpend(zone)
        first.add(5, at_ms)
        kept = DaySpend(zone, first.day, first.spent_nanos)
        assert kept.spent(end_ms - 1) == 5
        assert kept.spent(end_ms) == 0


def test_months_of_days_are_numbered_one_by_one() -> None:
    spend = DaySpend("Europe/Berlin")
    numbers = []
    for day in range(366):
        spend.add(day, utc("2024-01-01 11:00") + day * 24 * HOUR_MS)
        assert spend.spent_nanos == day
        numbers.append(spend.day)
    assert numbers == list(range(19_723, 19_723 + 366))


@pytest.mark.parametrize("back_ms", [1, 60_000, HOUR_MS, 25 * HOUR_MS, 47 * HOUR_MS])
def test_a_clock_set_back_brings_no_new_allowance(back_ms: int) -> None:
    spend = DaySpend("UTC")
    noon_ms = utc("2024-05-01 12:00")
    spend.add(7, noon_ms)
    assert spend.spent(noon_ms - back_ms) == 7
    spend.add(1, noon_ms - back_ms)
    # Back to where it was: the day is the same one.
    assert spend.spent(noon_ms) == 8
    assert spend.spent(utc("2024-05-02 00:00")) == 0


def test_asking_moves_nothing_so_the_same_charges_always_come_to_the_same() -> None:
    """A call that ended before midnight may be charged after it, and a replay asks nothing between."""
    asked, replayed = DaySpend("UTC"), DaySpend("UTC")
    asked.add(7, utc("2024-05-01 23:58"))
    assert asked.spent(utc("2024-05-02 00:01")) == 0
    asked.add(5, utc("2024-05-01 23:59"))
    replayed.add(7, utc("2024-05-01 23:58"))
    replayed.add(5, utc("2024-05-01 23:59"))
    assert (asked.day, asked.spent_nanos) == (replayed.day, replayed.spent_nanos)
    assert asked.spent(utc("2024-05-02 00:01")) == 0


def test_a_clock_that_was_years_ahead_does_not_stop_the_days() -> None:
    spend = DaySpend("UTC")
    spend.add(7, utc("2036-02-07 06:28"))
    assert spend.spent(utc("2024-05-01 12:00")) == 7
    spend.add(1, utc("2024-05-01 13:00"))
    assert spend.spent(utc("2024-05-01 23:59")) == 8
    assert spend.spent(utc("2024-05-02 00:00")) == 0


def test_a_day_kept_by_a_clock_years_ahead_does_not_either() -> None:
    spend = DaySpend("UTC", 30_000, 7)
    assert spend.spent(utc("2024-05-01 12:00")) == 7
    assert spend.spent(utc("2024-05-02 00:00")) == 0


def test_a_changed_zone_keeps_what_was_spent_until_a_later_day_begins_there() -> None:
    spend = DaySpend("Asia/Tokyo")
    spend.add(7, utc("2024-05-01 20:00"))  # 2 May there
    spend.move("UTC")  # 1 May here
    assert spend.spent(utc("2024-05-01 20:00")) == 7
    assert spend.spent(utc("2024-05-02 00:00")) == 7
    assert spend.spent(utc("2024-05-03 00:00")) == 0
    spend.add(1, utc("2024-05-03 14:59"))
    spend.move("Asia/Tokyo")
    assert spend.spent(utc("2024-05-03 14:59")) == 1
    assert spend.spent(utc("2024-05-03 15:00")) == 0


def test_a_zone_named_again_changes_nothing() -> None:
    spend = DaySpend("Asia/Tokyo")
    spend.add(7, utc("2024-05-01 20:00"))
    spend.move("Asia/Tokyo")
    assert (spend.day, spend.spent(utc("2024-05-01 20:00"))) == (19_845, 7)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", ""])
def test_a_time_zone_that_is_none_is_a_value_error(zone: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        DaySpend(zone)
    spend = DaySpend("UTC")
    with pytest.raises(ValueError, match=r"."):
        spend.move(zone)
    assert (spend.time_zone, spend.spent(0)) == ("UTC", 0)


ZONES = st.sampled_from(
    [
        *("UTC", "Europe/Berlin", "Europe/Dublin", "Atlantic/Azores", "Antarctica/Troll"),
        *("America/Santiago", "America/Asuncion", "America/Havana", "America/Nuuk", "America/St_Johns"),
        *("America/Caracas", "Africa/Cairo", "Africa/Casablanca", "Asia/Beirut", "Asia/Amman", "Asia/Gaza"),
        *("Asia/Tehran", "Asia/Kathmandu", "Asia/Pyongyang", "Australia/Lord_Howe", "Pacific/Apia"),
    ]
)


@settings(max_examples=200, deadline=None)
@given(
    ZONES,
    st.integers(utc("2004-01-01 00:00") // 60_000, utc("2034-01-01 00:00") // 60_000),
    st.lists(st.integers(1, 2_000), min_size=1, max_size=60),
    st.booleans(),
)
def test_spending_is_what_was_added_since_the_latest_date_began(
    zone: str, begin_minute: int, steps: list[int], is_restarted: bool
) -> None:
    spend = DaySpend(zone)
    at_ms = begin_minute * 60_000
    latest, expected = 0, 0
    for step in steps:
        at_ms += step * 60_000
        date = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone)).toordinal()
        if date > latest:
            latest, expected = date, 0
        if is_restarted:
            spend = DaySpend(zone, spend.day, spend.spent_nanos)
        assert spend.spent(at_ms) == expected
        spend.add(step, at_ms)
        expected += step
    assert spend.spent(at_ms) == expected
