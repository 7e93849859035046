"""Price lists into compiled decks: every bad row by line and reason, or the whole file; nothing between.

A pure function over files: it knows no store and no HTTP. `import_deck` without a base is the dry
run. A million rows take seconds, in a few hundred megabytes, and tell how far they are.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from control.services.deck_cells import (
    CellError,
    Memory,
    amount_reader,
    moment_reader,
    read_blocked,
    read_increment,
    read_name,
    read_prefixes,
    read_seconds,
    read_step,
    tiers_reader,
    windows_reader,
)
from control.services.deck_columns import (
    FIELDS,
    HEADER_ROWS_MAX,
    ColumnsError,
    find_columns,
    has_places_alone,
    is_header,
)
from control.services.deck_diff import DeckDiff, RowChange, diff_decks
from control.services.deck_sheets import Progress, Sheet, SheetError
from rating.decks import Conflict, DeckBuilder, DeckError
from rating.rows import UNSET, RateRow

__all__ = [
    "FIELDS",
    "DeckDiff",
    "ImportOptions",
    "ImportReport",
    "Progress",
    "RowChange",
    "RowError",
    "diff_decks",
    "import_deck",
]

ERRORS_MAX: Final = 1_000
"""Bad rows that a report lists; all are counted."""
ROWS_MAX: Final = 5_000_000
"""Of one price list, some 240 bytes of memory each: a file beyond it is no price list."""


class ImportOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    columns: dict[str, str | int] = {}
    """Field to the header's name of its column, or its place from 0; what is left out is found by
    its usual names, an empty name leaves the field out."""
    first_s: int = 1
    next_s: int = 1
    """Increments of rows that name none."""
    decimal: Literal[".", ","] = "."
    date_format: str = ""
    """For `strptime`, such as `%d/%m/%Y`; empty: ISO 8601."""
    time_zone: str = "UTC"
    """Of dates that name none."""
    encoding: Literal[
        "utf-8", "utf-16", "windows-1250", "windows-1251", "windows-1252", "iso-8859-1", "iso-8859-15"
    ] = "utf-8"
    """UTF-16 is known by its mark."""
    delimiter: Literal["", ",", ";", "\t", "|"] = ""
    """Empty: found out."""
    sheet: str = ""
    """Of a spreadsheet; empty: the first."""


class RowError(msgspec.Struct, frozen=True):
    line: int
    """In the file, from 1; 0 where it is about the file as a whole."""
    column: str
    """The field, as in `FIELDS`; empty where it is about the row."""
    reason: str


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    rows: int
    """Rows of the deck (a cell that lists several prefixes makes as many rows)."""
    prefixes: int
    """Different ones; 0 until compiled."""
    errors: list[RowError]
    """By line; at most `ERRORS_MAX`."""
    errors_total: int
    written: bool
    """Whether the deck's files are there now; never after an error or a dry run."""
    columns: dict[str, str]
    """Field to the header of the column that it was read from."""
    columns_ignored: list[str]
    delimiter: str
    """Empty of a spreadsheet."""


def import_deck(
    source: Path, base: Path | None, options: ImportOptions | None = None, progress: Progress | None = None
) -> ImportReport:
    """Read a price list and compile it into `base`.trie and `base`.rates; without a base only check it.

    All bad rows are reported; with one or more nothing is written, and a deck that was there stays.

    Args:
        progress: called with bytes read and bytes in all; the compiling after it is not counted.
    Raises:
        OSError: the file cannot be read, the deck not written.
        ValueError: a time zone that does not exist.
    """
    reading = _Reading(options or ImportOptions())
    sheet = Sheet(source, reading.options.encoding, reading.options.delimiter, reading.options.sheet, progress)
    try:
        reading.read(sheet)
    except SheetError as error:
        reading.refuse(error.line, "", str(error))
    return reading.finish(base, sheet.delimiter)


class _Reading:
    """One file on its way into a deck."""

    def __init__(self, options: ImportOptions) -> None:
        self.options = options
        self._builder = DeckBuilder()
        self._lines: array[int] = array("I")
        """Of each row in the builder."""
        self._errors: list[RowError] = []
        self._errors_total = 0
        self._columns: dict[str, str] = {}
        self._ignored: list[str] = []

    def read(self, sheet: Sheet) -> None:
        header: list[str] | None = None
        parse: _RowParser | None = None
        seen = 0
        for line, cells in sheet:
            if parse is not None:
                parse(line, cells)
                continue
            if not any(map(str.strip, cells)):
                continue
            seen += 1
            if is_header(cells, self.options.columns):
                header = cells
                try:
                    places = find_columns(cells, self.options.columns)
                except ColumnsError as error:
                    self.refuse(line, error.column, str(error))
                    return
                parse = self._parser(cells, places)
                # Mapped by place the first row may be a header, or already a price.
                if has_places_alone(self.options.columns) and _has_price(cells, places):
                    parse(line, cells)
            elif seen >= HEADER_ROWS_MAX:
                break
        if header is None:
            self.refuse(0, "", "no header with a prefix and a rate found: name the columns")
        elif not len(self._builder) and not self._errors_total:
            self.refuse(0, "", "there is no row in it")

    def refuse(self, line: int, column: str, reason: str) -> None:
        self._errors_total += 1
        if len(self._errors) < ERRORS_MAX:
            self._errors.append(RowError(line, column, reason))

    def add(self, line: int, row: RateRow) -> None:
        """Takes a row, or its fault.

        Raises:
            SheetError: the file has more rows than any price list.
        """
        if len(self._lines) >= ROWS_MAX:
            raise SheetError(line, f"more than {ROWS_MAX} rows")
        try:
            self._builder.add(row)
        except DeckError as error:
            column, _, reason = str(error).partition(": ")
            self.refuse(line, column, reason)
            return
        self._lines.append(line)

    def finish(self, base: Path | None, delimiter: str) -> ImportReport:
        for conflict in self._builder.conflicts():
            self._refuse_conflict(conflict)
        prefixes = 0
        if base is not None and not self._errors_total:
            prefixes = self._builder.write(base).prefixes
        return ImportReport(
            rows=len(self._builder),
            prefixes=prefixes,
            errors=sorted(self._errors, key=lambda error: error.line),
            errors_total=self._errors_total,
            written=base is not None and not self._errors_total,
            columns=self._columns,
            columns_ignored=self._ignored,
            delimiter=delimiter,
        )

    def _refuse_conflict(self, conflict: Conflict) -> None:
        first, second = sorted((self._lines[conflict.first], self._lines[conflict.second]))
        if conflict.is_duplicate:
            self.refuse(second, "prefix", f"{conflict.prefix} stands on line {first} already")
        else:
            self.refuse(second, "valid_from", f"{conflict.prefix} has dates that overlap those of line {first}")

    def _parser(self, header: Sequence[str], places: Mapping[str, int]) -> _RowParser:
        # A header mapped by place may be longer than it says; shown as it stands.
        self._columns = {field: header[place].strip() for field, place in places.items()}
        used = set(places.values())
        self._ignored = [cell.strip() for place, cell in enumerate(header) if place not in used and cell.strip()]
        return _RowParser(self, self.options, places, len(header))


class _RowParser:
    """Cells of one row into `RateRow`s."""

    def __init__(self, reading: _Reading, options: ImportOptions, places: Mapping[str, int], width: int) -> None:
        self._reading = reading
        self._width = width
        self._widest = max(places.values()) + 1
        self._prefix_at = places["prefix"]
        self._increment_at = places.get("increment", -1)
        self._increment = Memory(read_increment)
        self._usual = [value for _, value in _defaults(options)]
        self._readers = [
            (place, field, places[field], Memory(read))
            for place, (field, read) in enumerate(_readers(options))
            if field in places
        ]

    def __call__(self, line: int, cells: list[str]) -> None:
        if len(cells) < self._widest:
            if not any(map(str.strip, cells)):
                return
            cells = cells + [""] * (self._widest - len(cells))
        elif len(cells) > self._width and any(map(str.strip, cells[self._width :])):
            # One cell too many is mostly a name with a delimiter in it, and everything after it shifted.
            self._reading.refuse(line, "", f"{len(cells)} cells where the header has {self._width}")
            return
        values = self._usual.copy()
        is_good = True
        field = "increment"
        try:
            if self._increment_at >= 0 and (cell := cells[self._increment_at]):
                values[_FIRST], values[_NEXT] = self._increment(cell)
        except CellError as error:
            is_good = self._refuse(line, field, error, cells)
        for place, field, column, read in self._readers:
            cell = cells[column]
            if cell or place == _RATE:
                try:
                    values[place] = read(cell)
                except CellError as error:
                    is_good = self._refuse(line, field, error, cells)
        cell = cells[self._prefix_at]
        try:
            prefixes = [cell] if cell.isdigit() and cell.isascii() and cell[0] != "0" else read_prefixes(cell)
        except CellError as error:
            is_good = self._refuse(line, "prefix", error, cells)
        if is_good:
            for prefix in prefixes:
                self._reading.add(line, RateRow(prefix, *values))  # type: ignore[arg-type]

    def _refuse(self, line: int, field: str, error: CellError, cells: list[str]) -> bool:
        """Notes a fault; a row of blanks has none."""
        if any(map(str.strip, cells)):
            self._reading.refuse(line, field, str(error))
        return False


# Places of values in `RateRow`'s constructor, the prefix left out.
_RATE: Final = 1
_FIRST: Final = 2
_NEXT: Final = 3


def _defaults(options: ImportOptions) -> list[tuple[str, object]]:
    """What an empty cell or a missing column means, in the order of `RateRow`'s constructor."""
    return [
        ("name", ""),
        ("rate", None),
        ("first", options.first_s),
        ("next", options.next_s),
        ("connect_fee", 0),
        ("valid_from", 0),
        ("valid_to", 0),
        ("blocked", False),
        ("minimum", UNSET),
        ("grace", UNSET),
        ("max_cost", UNSET),
        ("tiers", ()),
        ("windows", ()),
    ]


def _readers(options: ImportOptions) -> list[tuple[str, Callable[[str], object]]]:
    """Who reads which field, in the same order."""
    amount = amount_reader(options.decimal)
    moment = moment_reader(options.date_format, options.time_zone)
    read: dict[str, Callable[[str], object]] = {
        "name": read_name,
        "rate": amount,
        "first": read_seconds,
        "next": read_step,
        "connect_fee": amount,
        "valid_from": moment,
        "valid_to": moment,
        "blocked": read_blocked,
        "minimum": read_seconds,
        "grace": read_seconds,
        "max_cost": amount,
        "tiers": tiers_reader(amount),
        "windows": windows_reader(amount),
    }
    return [(field, read[field]) for field, _ in _defaults(options)]


def _has_price(cells: Sequence[str], places: Mapping[str, int]) -> bool:
    """Whether a first row, mapped by place, is a row already and no header."""
    return any(character.isdigit() for character in cells[places["prefix"]])
