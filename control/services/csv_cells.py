"""Tables of configuration as CSV: cells that no spreadsheet runs, and that come back as they went out."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Final

from control.services.errors import FieldError, Invalid

_FORMULA: Final = re.compile(r"'*[=+\-@\t\r＝＋－＠]")
_GUARDED: Final = re.compile(r"'+[=+\-@\t\r＝＋－＠]")
_DELIMITERS: Final = (",", ";", "\t")


def guard(text: str) -> str:
    """A text that a spreadsheet takes for a text: one quote before what would be a formula.

    What begins with quotes and then a formula gets one more, so that `unguard` always finds what there was.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unguard(text: str) -> str:
    return text[1:] if _GUARDED.match(text) else text


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
