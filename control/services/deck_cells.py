"""Cells of a price list: text in, exact values out, or a reason that a person can act on.

Price lists repeat themselves: a million rows have some thousands of rates, names and dates. So
every kind of cell is read once and remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Generic, TypeVar
from zoneinfo import ZoneInfo

from rating.deck_format import PREFIX_DIGITS_MAX
from rating.money import MoneyError, is_digits, parse_amount
from rating.rows import WEEK_MINUTES

Value = TypeVar("Value")

REMEMBERED_MAX: Final = 200_000
PREFIXES_PER_CELL_MAX: Final = 10_000
"""What a range such as 4470-4479 may stand for."""
SECONDS_MAX: Final = 65_534
NAME_CHARACTERS_MAX: Final = 200

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES: Final = 24 * 60
_BLOCKED: Final = frozenset({"yes", "y", "true", "1", "blocked", "block", "barred", "inactive", "disabled"})
_OPEN: Final = frozenset({"", "no", "n", "false", "0", "active", "open", "allowed", "enabled"})


class CellError(ValueError):
    """What is wrong with one cell."""


class Memory(Generic[Value]):
    """A reader of cells that remembers; errors are not remembered."""

    def __init__(self, read: Callable[[str], Value]) -> None:
        self._read = read
        self._known: dict[str, Value] = {}

    def __call__(self, text: str) -> Value:
        """The cell's value.

        Raises:
            CellError: from the reader.
        """
        try:
            return self._known[text]
        except KeyError:
            pass
        value = self._read(text)
        if len(self._known) >= REMEMBERED_MAX:
            self._known.clear()
        self._known[text] = value
        return value


def read_prefixes(text: str) -> list[str]:
    """The prefixes of one cell: `44`, `+44`, and lists and ranges such as `4470-4479, 4420`."""
    cell = text.strip()
    if is_digits(cell) and not cell.startswith("00"):
        return [_checked_prefix(cell)]
    if not cell:
        raise CellError("empty")
    found: list[str] = []
    for part in cell.replace(";", ",").split(","):
        low, dash, high = part.strip().removeprefix("+").partition("-")
        low, high = low.strip(), high.strip()
        if not is_digits(low) or (dash and not is_digits(high)):
            raise CellError(f"not digits: {_shown(cell)}")
        if low.startswith("00"):
            raise CellError(f"begins with the dialling prefix 00: {_shown(cell)}; only what follows it is wanted")
        if not dash:
            found.append(_checked_prefix(low))
            continue
        if len(low) != len(high) or low > high or int(high) - int(low) >= PREFIXES_PER_CELL_MAX:
            raise CellError(f"not a range of prefixes of one length: {_shown(part.strip())}")
        found += [_checked_prefix(str(code).zfill(len(low))) for code in range(int(low), int(high) + 1)]
    return found


def _checked_prefix(digits: str) -> str:
    if len(digits) > PREFIX_DIGITS_MAX:
        raise CellError(f"more than {PREFIX_DIGITS_MAX} digits: {_shown(digits)}")
    return digits


def amount_reader(decimal: str) -> Callable[[str], int]:
    """A reader of prices in nano-units; `decimal` is the character that the decimals follow."""

    def read(text: str) -> int:
        cell = text.strip()
        if not cell:
            raise CellError("empty")
        if decimal == ",":
            if "." in cell:
                raise CellError(f"a point where decimals follow a comma: {_shown(cell)}")
            cell = cell.replace(",", ".")
        elif "," in cell:
            raise CellError(f"not a decimal amount: {_shown(cell)}; are decimals after a comma meant?")
        try:
            nanos = parse_amount(cell)
        except MoneyError as error:
            raise CellError(str(error)) from error
        if nanos < 0 or cell.startswith("-"):
            raise CellError(f"negative: {_shown(cell)}")
        return nanos

    return read


def read_name(text: str) -> str:
    """A destination's name, without blanks around it."""
    name = " ".join(text.split())
    if len(name) > NAME_CHARACTERS_MAX:
        raise CellError(f"longer than {NAME_CHARACTERS_MAX} characters")
    if not name.isprintable():
        raise CellError(f"control characters: {_shown(name)}")
    return name


def read_seconds(text: str) -> int:
    """Whole seconds, 0 to 65,534."""
    cell = text.strip()
    if not is_digits(cell) or len(cell) > 5 or int(cell) > SECONDS_MAX:
        raise CellError(f"not a number of seconds up to {SECONDS_MAX}: {_shown(cell)}")
    return int(cell)


def read_step(text: str) -> int:
    """Whole seconds of an increment, at least 1."""
    seconds = read_seconds(text)
    if seconds == 0:
        raise CellError("an increment of 0 s")
    return seconds


def read_increment(text: str) -> tuple[int, int]:
    """`30/6` (first/next; also with `-`, `+` or `:`), or one number for both."""
    cell = text.strip()
    for separator in ("/", "-", "+", ":"):
        if separator in cell:
            first, _, following = cell.partition(separator)
            return read_seconds(first), read_step(following)
    return read_step(cell), read_step(cell)


def read_blocked(text: str) -> bool:
    """Whether a destination is barred; empty is not."""
    word = text.strip().casefold()
    if word in _OPEN:
        return False
    if word in _BLOCKED:
        return True
    raise CellError(f"neither yes nor no: {_shown(word)}")


def moment_reader(date_format: str, time_zone: str) -> Callable[[str], int]:
    """A reader of moments in ms since the epoch; a date is its first moment, empty is 0 (open).

    Args:
        date_format: for `strptime`; empty: ISO 8601. A spreadsheet's own dates need none.
        time_zone: of moments that name none.
    Raises:
        ValueError: no such time zone.
    """
    try:
        zone = UTC if time_zone == "UTC" else ZoneInfo(time_zone)
    except KeyError as error:
        raise ValueError(f"no such time zone: {time_zone}") from error

    def read(text: str) -> int:
        cell = text.strip()
        if not cell:
            return 0
        try:
            is_iso = not date_format or _is_spreadsheet_date(cell)
            moment = datetime.fromisoformat(cell) if is_iso else datetime.strptime(cell, date_format)
        except ValueError as error:
            wanted = date_format or "YYYY-MM-DD, with or without a time"
            raise CellError(f"not a date of the form {wanted}: {_shown(cell)}") from error
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        at_ms = int(moment.timestamp() * 1000)
        if at_ms <= 0:
            raise CellError(f"before 1970: {_shown(cell)}")
        return at_ms

    return read


def _is_spreadsheet_date(cell: str) -> bool:
    """Whether this is how `deck_sheets.cell_text` writes a cell that was a date, and no text."""
    return len(cell) == 19 and cell[4] == cell[7] == "-" and cell[10] == "T"


def tiers_reader(read_amount: Callable[[str], int]) -> Callable[[str], tuple[tuple[int, int], ...]]:
    """A reader of `60=0.05; 600=0.04`: from 60 s on at 0.05 a minute, from 600 s on at 0.04."""

    def read(text: str) -> tuple[tuple[int, int], ...]:
        tiers: list[tuple[int, int]] = []
        for part in filter(None, map(str.strip, text.split(";"))):
            start, equals, rate = part.partition("=")
            if not equals:
                raise CellError(f"not seconds=rate: {_shown(part)}")
            tiers.append((read_step(start), read_amount(rate)))
        return tuple(sorted(tiers))

    return read


def windows_reader(read_amount: Callable[[str], int]) -> Callable[[str], tuple[tuple[int, int, int], ...]]:
    """A reader of `mon-fri 08:00-19:00=0.02; sat,sun 00:00-24:00=0.01`; past midnight is the next day."""

    def read(text: str) -> tuple[tuple[int, int, int], ...]:
        windows: list[tuple[int, int, int]] = []
        for part in filter(None, map(str.strip, text.split(";"))):
            when, equals, rate = part.partition("=")
            days, _, hours = when.strip().partition(" ")
            opens, dash, closes = hours.strip().partition("-")
            if not equals or not dash:
                raise CellError(f"not days hh:mm-hh:mm=rate: {_shown(part)}")
            nanos = read_amount(rate)
            start, end = _minute(opens), _minute(closes)
            if start == end:
                raise CellError(f"no time at all: {_shown(part)}")
            for day in _days(days):
                windows += _week_spans(day, start, end, nanos)
        return tuple(sorted(windows))

    return read


def _week_spans(day: int, start: int, end: int, nanos: int) -> list[tuple[int, int, int]]:
    begins = day * _DAY_MINUTES + start
    ends = day * _DAY_MINUTES + end + (_DAY_MINUTES if end <= start else 0)
    if ends <= WEEK_MINUTES:
        return [(begins, ends, nanos)]
    # Sunday night into Monday morning.
    return [(begins, WEEK_MINUTES, nanos), (0, ends - WEEK_MINUTES, nanos)]


def _days(text: str) -> list[int]:
    found: list[int] = []
    for part in text.casefold().split(","):
        first, dash, last = part.strip().partition("-")
        if first[:3] not in _DAYS or (dash and last[:3] not in _DAYS):
            raise CellError(f"no days of the week: {_shown(text)}")
        begin = _DAYS.index(first[:3])
        end = _DAYS.index(last[:3]) if dash else begin
        found += [day % 7 for day in range(begin, end + 1 if end >= begin else end + 8)]
    return found


def _minute(text: str) -> int:
    hours, colon, minutes = text.strip().partition(":")
    if not (colon and is_digits(hours) and is_digits(minutes) and len(hours) <= 2 and len(minutes) == 2):
        raise CellError(f"not a time of day: {_shown(text)}")
    minute = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or minute > _DAY_MINUTES:
        raise CellError(f"not a time of day: {_shown(text)}")
    return minute


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
