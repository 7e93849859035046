"""Kinds of fields that many nouns share: their limits, their texts, and how they are stored.

A pattern here is read by Python and by whoever reads the OpenAPI document, so it sticks to what
both understand; `$(?!\\n)` is the end of the text, where a lone `$` would let a line end pass.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, available_timezones

from msgspec import Meta, Struct

from control.services.errors import invalid
from rating.money import MoneyError, format_amount, parse_amount, percent_to_ppm

ROW_ID_MAX: Final = 2**63 - 1
AMOUNT_NANOS_MAX: Final = 10**18
"""A thousand million units. Eight of them fit the store's 64 bits: sums are checked where they are made."""
LIMIT_MAX: Final = 1_000_000
YEAR_MAX: Final = 2200

_NO_CONTROLS: Final = r"^(?![\s\S]*[\x00-\x1f\x7f])"
_NO_NUL: Final = r"^(?![\s\S]*\x00)"

Id = Annotated[int, Meta(ge=1, le=ROW_ID_MAX)]
Name = Annotated[str, Meta(min_length=1, max_length=120, pattern=_NO_CONTROLS)]
Label = Annotated[str, Meta(max_length=255, pattern=_NO_CONTROLS)]
Notes = Annotated[str, Meta(max_length=10_000, pattern=_NO_NUL)]
Digits = Annotated[str, Meta(max_length=20, pattern=r"^[0-9]*$(?!\n)")]
TechPrefix = Annotated[str, Meta(max_length=20, pattern=r"^[0-9*#]*$(?!\n)")]
Amount = Annotated[
    str,
    Meta(
        max_length=40,
        pattern=r"^-?[0-9]+(\.[0-9]+)?$(?!\n)",
        description="Exact decimal, up to 9 decimals.",
        examples=["12.5"],
    ),
]
Percent = Annotated[str, Meta(max_length=12, pattern=r"^[0-9]+(\.[0-9]+)?$(?!\n)", examples=["20.5"])]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="ISO 4217", examples=["USD"])]
Channels = Annotated[int, Meta(ge=0, le=LIMIT_MAX, description="Calls at a time; null is unlimited.")]
Cps = Annotated[float, Meta(gt=0, le=LIMIT_MAX, description="New calls a second; null is unlimited.")]
Milliseconds = Annotated[int, Meta(ge=100, le=3_600_000)]
Port = Annotated[int, Meta(ge=1, le=65_535)]
Small = Annotated[int, Meta(ge=0, le=LIMIT_MAX)]
Moment = Annotated[datetime, Meta(tz=True)]
Codec = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9._/-]+$(?!\n)")]
Codecs = Annotated[tuple[Codec, ...], Meta(max_length=32)]
Transport = Literal["udp", "tcp", "tls"]
OwnHeader = Annotated[str, Meta(max_length=64, pattern=r"^[Xx]-[A-Za-z0-9!%*_+`'~.-]+$(?!\n)", examples=["X-Account"])]
OwnHeaders = Annotated[
    tuple[OwnHeader, ...],
    Meta(max_length=32, description="`X-…` headers that pass, both ways, whatever their case; others stop here."),
]


class Timers(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Each ends an attempt and tries the next vendor; null leaves it to the installation."""

    first_reply_ms: Milliseconds | None = None
    pdd_ms: Milliseconds | None = None
    ring_ms: Milliseconds | None = None


def amount_nanos(path: str, text: str) -> int:
    """An amount field as nano-units; `Invalid` names the field."""
    try:
        nanos = parse_amount(text)
    except MoneyError as error:
        raise invalid(path, str(error)) from error
    if abs(nanos) > AMOUNT_NANOS_MAX:
        raise invalid(path, f"above {format_amount(AMOUNT_NANOS_MAX)}")
    return nanos


def percent_ppm(path: str, text: str) -> int:
    try:
        ppm = percent_to_ppm(text)
    except MoneyError as error:
        raise invalid(path, str(error)) from error
    if ppm > 1_000_000:
        raise invalid(path, "above 100")
    return ppm


def percent_text(ppm: int) -> str:
    return format_amount(ppm * 100_000)


EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def moment_ms(path: str, moment: datetime) -> int:
    """A time as milliseconds since the epoch; a year that no contract reaches is a typing error."""
    if not EPOCH.year <= moment.year <= YEAR_MAX:
        raise invalid(path, f"outside the years {EPOCH.year} to {YEAR_MAX}")
    return (moment - EPOCH) // timedelta(milliseconds=1)


def ms_moment(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)


def moment_or_none(ms: int | None) -> datetime | None:
    """The same of what may not have happened."""
    return None if ms is None else ms_moment(ms)


def day_or_moment_ms(path: str, text: str | None, *, is_end: bool) -> int | None:
    """A day (`2026-11-22`) or a time (RFC 3339); of a day its start, or its end where `is_end`."""
    if text is None:
        return None
    try:
        if len(text) == len("2026-11-22"):
            day = date.fromisoformat(text)
            moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
            return moment_ms(path, moment) + (86_400_000 if is_end else 0)
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise invalid(path, "neither a day (2026-11-22) nor a time (2026-11-22T10:00:00Z)") from error
    if moment.tzinfo is None:
        raise invalid(path, "a time needs its offset from UTC")
    return moment_ms(path, moment)


def name_key(name: str) -> str:
    """What makes names equal: Unicode form, case and blanks at the ends or in a row do not."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(folded.split())


_ZONES: Final = frozenset(available_timezones())


def check_time_zone(path: str, name: str) -> None:
    # The list first: ZoneInfo takes its key for a path.
    if name not in _ZONES:
        raise invalid(path, "no such time zone; names look like Europe/London")
    ZoneInfo(name)


def check_name(path: str, name: str) -> None:
    # Neither blanks nor marks of no width (U+200B and the like) can be told from another name of the kind.
    if all(unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp") for character in name):
        raise invalid(path, "a name needs something that can be seen")
