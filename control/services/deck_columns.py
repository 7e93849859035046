"""Which column of a price list holds what: by the caller's mapping, or by the usual names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "prefix": (
        *("prefix", "prefixes", "code", "codes", "dialcode", "dialcodes", "dialingcode", "diallingcode", "dialprefix"),
        *("destinationprefix", "destprefix", "destinationcode", "destcode", "numberprefix", "areacode"),
    ),
    "name": (
        *("name", "destination", "destinationname", "destname", "codename", "description", "breakout", "zone"),
        *("region", "area", "country", "countryname", "carriername"),
    ),
    "rate": (
        *("rate", "price", "cost", "rateperminute", "ratepermin", "ratemin", "priceperminute", "pricepermin"),
        *("pricemin", "costperminute", "perminute", "newrate", "newprice", "sellrate", "buyrate", "sellprice"),
        *("rateusd", "rateeur", "rategbp", "priceusd", "priceeur", "pricegbp", "rateusdmin", "rateeurmin", "usdmin"),
    ),
    "increment": (
        *("increment", "increments", "billingincrement", "billingincrements", "billing", "billinginterval"),
        *("billingintervals", "interval", "intervals", "mcdpulse", "rounding", "roundingrules", "chargingincrement"),
    ),
    "first": (
        *("first", "firsts", "firstincrement", "firstinterval", "initial", "initialincrement", "initialinterval"),
        *("interval1", "initialblock", "initblock", "initialseconds", "mcd", "connectincrement"),
    ),
    "next": (
        *("next", "nexts", "nextincrement", "nextinterval", "subsequent", "subsequentincrement", "intervaln"),
        *("additionalincrement", "recurringincrement", "billingblock", "incrementalseconds", "pulse"),
    ),
    "connect_fee": (
        *("connectfee", "connectionfee", "connectcharge", "connectioncharge", "connectcost", "connectioncost"),
        *("rateconnect", "setupfee", "connect"),
    ),
    "valid_from": (
        *("validfrom", "effective", "effectivedate", "effectivefrom", "effectivedatetime", "startdate", "starts"),
        *("from", "begins", "activationdate", "validfromdate"),
    ),
    "valid_to": (
        *("validto", "validuntil", "effectiveto", "enddate", "ends", "until", "to", "expires", "expiry"),
        *("expirydate", "expirationdate", "expiredate"),
    ),
    "blocked": ("blocked", "isblocked", "block", "status"),
    "minimum": ("minimum", "minimums", "minimumduration", "minduration", "minimumtime", "mintime"),
    "grace": ("grace", "graces", "graceperiod", "gracetime", "freeseconds"),
    "max_cost": ("maxcost", "maximumcost"),
    "tiers": ("tiers", "tier"),
    "windows": ("windows", "window", "timeofweek", "timewindows"),
}
"""Every field, with the names that stand for it without being told; letters and digits alone count."""

HEADER_ROWS_MAX: Final = 30
"""Titles and addresses that may stand above the header."""

_MONEY_FIELDS: Final = ("prefix", "rate", "connect_fee")
"""Two columns that could be one of these are a question for the sender, not a guess."""


class ColumnsError(ValueError):
    """The columns cannot be told; `column` names the field."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column


def find_columns(header: Sequence[str], wanted: Mapping[str, str | int]) -> dict[str, int]:
    """The place of every field that this row, taken as the header, has.

    Args:
        wanted: fields to column names (compared like the usual names) or places from 0. A field
            that is mapped is not guessed; one mapped to an empty name is left out.
    Raises:
        ColumnsError: an unknown field, a name that is not there or there twice, a place outside the
            row, two columns that could both be the prefix, the rate or the fee.
    """
    keys = [_key(cell) for cell in header]
    found: dict[str, int] = {}
    for field, column in wanted.items():
        if field not in FIELDS:
            raise ColumnsError(field, f"there is no such field; there are {', '.join(FIELDS)}")
        if isinstance(column, int):
            if not 0 <= column < len(header):
                raise ColumnsError(field, f"there is no column {column}: the header has {len(header)}")
            found[field] = column
        elif column:
            found[field] = _only(field, column, keys)
    taken = set(found.values())
    for field, names in FIELDS.items():
        if field in wanted:
            continue
        fitting = [place for name in names for place, key in enumerate(keys) if key == name and place not in taken]
        if len(fitting) > 1 and field in _MONEY_FIELDS:
            shown = ", ".join(repr(header[place]) for place in fitting)
            raise ColumnsError(field, f"several columns could be it: {shown}; say which")
        if fitting:
            found[field] = fitting[0]
            taken.add(fitting[0])
    return found


def is_header(row: Sequence[str], wanted: Mapping[str, str | int]) -> bool:
    """Whether the row names the columns that no price list can do without, as far as names are asked for."""
    keys = {_key(cell) for cell in row}
    return all(isinstance(wanted.get(field), int) or keys & _names(field, wanted) for field in ("prefix", "rate"))


def has_places_alone(wanted: Mapping[str, str | int]) -> bool:
    """Whether prefix and rate are mapped by place, so that no header is needed."""
    return isinstance(wanted.get("prefix"), int) and isinstance(wanted.get("rate"), int)


def _names(field: str, wanted: Mapping[str, str | int]) -> set[str]:
    column = wanted.get(field)
    return {_key(column)} if isinstance(column, str) else set(FIELDS[field])


def _only(field: str, column: str, keys: list[str]) -> int:
    key = _key(column)
    places = [place for place, other in enumerate(keys) if other == key]
    if len(places) != 1:
        raise ColumnsError(field, f"the header has {len(places) or 'no'} columns named {column!r}")
    return places[0]


def _key(cell: str) -> str:
    return "".join(character for character in cell.casefold() if character.isalnum())
