"""Tables of configuration as CSV: cells that no spreadsheet runs, and that come back as they went out."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from control.services.errors import FieldError, Invalid
from control.services.problems import convert

LINES_MAX: Final = 5_000
"""Of one file: all of it is one change."""
FILE_BYTES_MAX: Final = 33_554_432
PAGE_ROWS: Final = 500
"""So many rows are read at a time for a file that goes out."""

_FORMULA: Final = re.compile(r"'*[=+\-@\t\r＝＋－＠]")
_GUARDED: Final = re.compile(r"'+[=+\-@\t\r＝＋－＠]")
_DELIMITERS: Final = (",", ";", "\t")
_FLAGS: Final = {"yes": "true", "on": "true", "no": "false", "off": "false"}


class ImportQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    dry_run: bool = False
    """Only check the file, and say what it would do."""


class ImportCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file's lines; which ones changed something is added by each kind of row."""

    lines: int
    created: int
    updated: int
    unchanged: int
    is_dry_run: bool


def import_counts(lines: int, actions: Sequence[str], query: ImportQuery) -> dict[str, Any]:
    """The fields of `ImportCounts`, by what was done (`create` or `update`) with those that changed something."""
    created = actions.count("create")
    return {
        "lines": lines,
        "created": created,
        "updated": len(actions) - created,
        "unchanged": lines - len(actions),
        "is_dry_run": query.dry_run,
    }


def guard(text: str) -> str:
    """A text that a spreadsheet takes for a text: one quote before what would be a formula.

    What begins with quotes and then a formula gets one more, so that `unguard` always finds what there was.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def _is_number(text: str) -> bool:
    return text.removeprefix("-").replace(".", "", 1).isdecimal() and text.isascii()


def unguard(text: str) -> str:
    return text[1:] if _GUARDED.match(text) else text


def cell_of(value: object) -> str:
    """A field as a cell; texts are guarded, but numbers below 0 are numbers to a spreadsheet too."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return guard(value) if isinstance(value, str) and not _is_number(value) else str(value)


def flag_in(cell: str) -> bool:
    """Raises `Invalid` for what says neither yes nor no."""
    word = cell.lower()
    return bool(convert(_FLAGS.get(word, word), bool, is_text=True))


def given_fields(kind: type[msgspec.Struct], fields: dict[str, Any]) -> list[str]:
    """Those that a line gives a new row, in the order of the struct."""
    return [name for name in kind.__struct_fields__ if fields.get(name) not in (None, "", [])]


def changed_fields(kind: type[msgspec.Struct], before: object, after: object) -> list[str]:
    return [name for name in kind.__struct_fields__ if getattr(before, name) != getattr(after, name)]


def csv_line(cells: Sequence[str]) -> bytes:
    """One line of RFC 4180, UTF-8."""
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()


class Sheet:
    """A CSV file with a header line: the columns by name, and its lines.

    Commas, semicolons or tabs between cells, as the header has them; a byte order mark and Windows'
    line ends do no harm. Lines without a cell are skipped.

    Raises:
        Invalid: not UTF-8, no header, a column twice, one that is not among `known`, or none of `needed`.
    """

    def __init__(self, data: bytes, known: Sequence[str], needed: str) -> None:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise Invalid([FieldError("file", "not UTF-8", line=line)]) from error
        header = text.split("\n", 1)[0]
        self._text = text
        self._delimiter = max(_DELIMITERS, key=header.count)
        self.columns: list[str] = []
        self._check_header(known, needed)

    def lines(self) -> Iterator[tuple[int, list[str]]]:
        """Each line's number in the file, where it begins, and its cells.

        Raises:
            Invalid: a quote that is never closed.
        """
        reader = csv.reader(io.StringIO(self._text, newline=""), delimiter=self._delimiter, strict=True)
        begins = 1
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield begins, cells
                begins = reader.line_num + 1
        except csv.Error as error:
            raise Invalid([FieldError("file", str(error), line=begins)]) from error

    def rows(self, errors: list[FieldError]) -> Iterator[tuple[int, dict[str, str]]]:
        """The lines below the header, by number, with their cells by column; one of another length goes to `errors`.

        Raises:
            Invalid: more than `LINES_MAX` lines, or a quote that is never closed.
        """
        lines = self.lines()
        next(lines)
        for count, (number, cells) in enumerate(lines, 1):
            if count > LINES_MAX:
                raise Invalid([FieldError("file", f"more than {LINES_MAX} lines", line=number)])
            if len(cells) == len(self.columns):
                yield number, dict(zip(self.columns, cells, strict=True))
            else:
                reason = f"{len(cells)} cells where the header has {len(self.columns)}"
                errors.append(FieldError("file", reason, line=number))

    def _check_header(self, known: Sequence[str], needed: str) -> None:
        line, cells = next(self.lines(), (1, []))
        self.columns = [cell.strip().lower() for cell in cells]
        found = [
            FieldError(name, "a column that is not known", line=line, column=name)
            for name in self.columns
            if name not in known
        ]
        twice = sorted({name for name in self.columns if self.columns.count(name) > 1})
        found += [FieldError(name, "a column twice", line=line, column=name) for name in twice]
        if needed not in self.columns:
            found.append(FieldError(needed, "the column is missing", line=line, column=needed))
        if found:
            raise Invalid(found)
