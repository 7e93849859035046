"""The rows of a price list file, CSV or spreadsheet, with the line that each stands on."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO, Final

import python_calamine

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all, now and then."""

DELIMITERS: Final = ",;\t|"
PROGRESS_ROWS: Final = 8_192
SNIFFED_BYTES: Final = 65_536
SHEET_BYTES_MAX: Final = 2_147_483_648
"""Largest spreadsheet, unpacked: a million rows take a few hundred megabytes."""

_SPREADSHEET_MAGICS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""Of XLSX and ODS (ZIP), and of the old XLS."""


class SheetError(ValueError):
    """The file cannot be read on from this line."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


class Sheet:
    """A file's rows; iterating reads it once, as a stream.

    Yields (line, cells): the line that the row begins on, counted from 1.

    Raises:
        SheetError: while iterating: bytes that are no text, quotes that never close, no spreadsheet.
    """

    def __init__(self, path: Path, encoding: str, delimiter: str, sheet_name: str, progress: Progress | None) -> None:
        self._path = path
        self._encoding = encoding
        self._sheet_name = sheet_name
        self._progress = progress
        self._bytes = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(SNIFFED_BYTES)
        self.is_spreadsheet = head.startswith(_SPREADSHEET_MAGICS)
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            self._encoding = "utf-16"
        self.delimiter = "" if self.is_spreadsheet else delimiter or sniff_delimiter(head, self._encoding)

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        rows = self._spreadsheet_rows() if self.is_spreadsheet else self._text_rows()
        yield from rows
        self._report(self._bytes)

    def _text_rows(self) -> Iterator[tuple[int, list[str]]]:
        with self._path.open("rb") as binary, _as_text(binary, self._encoding) as text:
            reader = csv.reader(text, delimiter=self.delimiter, strict=True)
            line = 0
            until_report = PROGRESS_ROWS
            try:
                for cells in reader:
                    yield line + 1, cells
                    # A quoted cell may hold line ends, so rows and lines are not the same.
                    line = reader.line_num
                    until_report -= 1
                    if until_report == 0:
                        until_report = PROGRESS_ROWS
                        self._report(binary.tell())
            except csv.Error as error:
                raise SheetError(line + 1, f"not CSV: {error}") from error
            except UnicodeError as error:
                raise SheetError(self._undecodable_line() or line + 1, f"not {self._encoding} text") from error

    def _undecodable_line(self) -> int:
        """Text is decoded some kilobytes ahead of the rows; this finds where it really broke, or 0."""
        if self._encoding == "utf-16":
            return 0
        with self._path.open("rb") as file:
            for line, content in enumerate(file, start=1):
                try:
                    content.decode(self._encoding)
                except UnicodeError:
                    return line
        return 0

    def _spreadsheet_rows(self) -> Iterator[tuple[int, list[str]]]:
        self._refuse_bombs()
        try:
            with python_calamine.load_workbook(self._path) as book:
                name = self._sheet_name or (book.sheet_names[0] if book.sheet_names else "")
                if name not in book.sheet_names:
                    raise SheetError(1, f"there is no sheet {name!r}; there are {', '.join(book.sheet_names)}")
                sheet = book.get_sheet_by_name(name)
                first_line = (sheet.start or (0, 0))[0] + 1
                height = max(sheet.height, 1)
                for number, cells in enumerate(sheet.iter_rows()):
                    yield first_line + number, [cell_text(cell) for cell in cells]
                    if number % PROGRESS_ROWS == 0:
                        self._report(self._bytes * number // height)
        except (python_calamine.CalamineError, OSError) as error:
            raise SheetError(1, f"not a spreadsheet that can be read: {error}") from error

    def _refuse_bombs(self) -> None:
        """A small ZIP can unpack to more memory than there is."""
        if not zipfile.is_zipfile(self._path):
            return
        with zipfile.ZipFile(self._path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > SHEET_BYTES_MAX:
                raise SheetError(1, f"unpacks to more than {SHEET_BYTES_MAX} bytes")

    def _report(self, done: int) -> None:
        if self._progress is not None:
            self._progress(min(done, self._bytes), self._bytes)


def sniff_delimiter(head: bytes, encoding: str) -> str:
    """The delimiter that cuts the file's first lines most alike, and into the most cells."""
    text = head.decode(encoding, "replace").removeprefix("\ufeff")
    lines = text.splitlines()[:50] if len(head) < SNIFFED_BYTES else text.splitlines()[:50][:-1]
    best = (0, 0)
    chosen = ","
    for delimiter in DELIMITERS:
        try:
            widths = [len(cells) for cells in csv.reader(lines, delimiter=delimiter) if len(cells) > 1]
        except csv.Error:
            continue
        if not widths:
            continue
        usual = max(set(widths), key=widths.count)
        score = (widths.count(usual), usual)
        if score > best:
            best = score
            chosen = delimiter
    return chosen


def cell_text(cell: object) -> str:
    """A spreadsheet's cell as the text that a person sees: 15 significant digits, no exponent."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        text = f"{Decimal(f'{cell:.15g}'):f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(cell, datetime):
        return cell.isoformat(timespec="seconds")
    if isinstance(cell, date):
        return f"{cell.isoformat()}T00:00:00"
    return "" if cell is None else str(cell)


def _as_text(binary: BinaryIO, encoding: str) -> io.TextIOWrapper:
    # A byte order mark is Excel's greeting, not part of the first column's name.
    known = "utf-8-sig" if encoding.lower().replace("_", "-") in {"utf-8", "utf8"} else encoding
    return io.TextIOWrapper(binary, known, newline="")
