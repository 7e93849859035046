"""Compiles rate rows into the two files that the switch maps (`rating.deck_format`).

Rows may come in any order. They are packed as they arrive, so that a million of them cost some
hundred bytes each and no more, and put into the trie's order at the end.
"""

from __future__ import annotations

import os
import zlib
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import marisa_trie  # type: ignore[import-not-found]

from rating.deck_format import (
    AMOUNT_NANOS_MAX,
    EXTRAS,
    EXTRAS_PER_ROW_MAX,
    FLAG_BLOCKED,
    HEADER,
    HEADER_BYTES,
    HEADER_CRC,
    MAGIC,
    NAME_BYTES_MAX,
    PREFIX_DIGITS_MAX,
    RECORD,
    RECORD_BYTES,
    RECORD_CRC,
    ROWS_MAX,
    SECONDS_MAX,
    SECONDS_UNSET,
    TIER,
    TIME_MS_MAX,
    VERSION,
    WINDOW,
    DeckError,
    rates_path,
    record_seed,
    trie_path,
)
from rating.rows import UNSET, WEEK_MINUTES, RateRow

_PAYLOAD_BYTES: Final = RECORD_BYTES - RECORD_CRC.size
_CONFLICTS_MAX: Final = 1_000
_COPY_ROWS: Final = 16_384
"""Records put in order at a time; what is held in memory besides the packed rows."""


class DeckFacts:
    """What was written: `count` rows of `prefixes` different prefixes, `bytes_written` on disk."""

    __slots__ = ("bytes_written", "count", "prefixes")

    def __init__(self, count: int, prefixes: int, bytes_written: int) -> None:
        self.count: int = count
        self.prefixes: int = prefixes
        self.bytes_written: int = bytes_written


class Conflict:
    """Two rows of one prefix that are in force at once; `first` and `second` count rows from 0, as they were given."""

    __slots__ = ("first", "is_duplicate", "prefix", "second")

    def __init__(self, prefix: str, first: int, second: int, is_duplicate: bool) -> None:
        self.prefix: str = prefix
        self.first: int = first
        self.second: int = second
        self.is_duplicate: bool = is_duplicate
        """The same dates, where otherwise dates overlap."""


class DeckConflicts(DeckError):
    """Rows that contradict each other; `conflicts` names them, up to a thousand."""

    def __init__(self, conflicts: list[Conflict]) -> None:
        one = conflicts[0]
        kind = "is there twice" if one.is_duplicate else "has overlapping dates"
        super().__init__(f"prefix {one.prefix} {kind}: rows {one.first + 1} and {one.second + 1}")
        self.conflicts: list[Conflict] = conflicts


def compile_deck(rows: Iterable[RateRow], base: Path) -> DeckFacts:
    """Writes `base`.trie and `base`.rates: both whole, or nothing.

    Raises:
        DeckError: a row that no deck holds; `DeckConflicts` for rows that contradict each other.
        OSError: the disk's own.
    """
    builder = DeckBuilder()
    for row in rows:
        builder.add(row)
    return builder.write(base)


class DeckBuilder:
    """Takes rows one by one, and writes the deck."""

    def __init__(self) -> None:
        self._prefixes: list[str] = []
        self._records: bytearray = bytearray()
        self._extras: bytearray = bytearray()
        self._names: bytearray = bytearray()
        self._name_places: dict[str, tuple[int, int]] = {}
        self._arrangement: tuple[marisa_trie.Trie, list[int], array[int]] | None = None

    def __len__(self) -> int:
        return len(self._prefixes)

    def add(self, row: RateRow) -> None:
        """Packs one row.

        Raises:
            DeckError: a value that the deck cannot hold; nothing was added.
        """
        reason = row_fault(row)
        if reason:
            raise DeckError(reason)
        if len(self._prefixes) >= ROWS_MAX:
            raise DeckError(f"more than {ROWS_MAX} rows")
        place = self._name_places.get(row.name)
        if place is None:
            encoded = row.name.encode()
            place = (len(self._names), len(encoded))
            self._names += encoded
            self._name_places[row.name] = place
        name_at, name_bytes = place
        self._records += RECORD.pack(
            row.rate_nanos,
            row.connect_fee_nanos,
            row.valid_from_ms,
            row.valid_to_ms,
            row.max_cost_nanos,
            name_at,
            self._add_extras(row) if row.tiers or row.windows else 0,
            row.first_s,
            row.next_s,
            SECONDS_UNSET if row.minimum_s == UNSET else row.minimum_s,
            SECONDS_UNSET if row.grace_s == UNSET else row.grace_s,
            name_bytes,
            FLAG_BLOCKED if row.is_blocked else 0,
        )
        self._prefixes.append(row.prefix)
        self._arrangement = None

    def _add_extras(self, row: RateRow) -> int:
        place = len(self._extras) + 1
        packed = b"".join([TIER.pack(from_s, rate) for from_s, rate in row.tiers])
        packed += b"".join([WINDOW.pack(start, end, rate) for start, end, rate in row.windows])
        self._extras += EXTRAS.pack(len(row.tiers), len(row.windows), zlib.crc32(packed)) + packed
        return place

    def conflicts(self) -> list[Conflict]:
        """Rows of one prefix that are in force at once, up to a thousand pairs."""
        return self._find_conflicts(self._arranged()[1])

    def write(self, base: Path) -> DeckFacts:
        """Writes both files; see `compile_deck`."""
        trie, order, numbers = self._arranged()
        conflicts = self._find_conflicts(order)
        if conflicts:
            raise DeckConflicts(conflicts)
        trie_file = trie_path(base)
        rates_file = rates_path(base)
        trie_part = trie_file.with_name(trie_file.name + ".part")
        rates_part = rates_file.with_name(rates_file.name + ".part")
        try:
            trie_bytes, trie_crc = _write_trie(trie, trie_part)
            rates_bytes = self._write_rates(rates_part, order, numbers, len(trie), trie_bytes, trie_crc)
            # The rows' file comes last: a deck without it does not open.
            trie_part.replace(trie_file)
            rates_part.replace(rates_file)
        finally:
            trie_part.unlink(missing_ok=True)
            rates_part.unlink(missing_ok=True)
        _sync_folder(base.parent)
        return DeckFacts(len(self._prefixes), len(trie), trie_bytes + rates_bytes)

    def _arranged(self) -> tuple[marisa_trie.Trie, list[int], array[int]]:
        """The trie, the rows in its order, and every row's prefix number; kept until a row is added."""
        if self._arrangement is None:
            # Label order makes iteration run by prefix, which listing and comparing decks live on.
            trie = marisa_trie.Trie(self._prefixes, order=marisa_trie.LABEL_ORDER)
            order, numbers = self._order(trie)
            self._arrangement = (trie, order, numbers)
        return self._arrangement

    def _order(self, trie: marisa_trie.Trie) -> tuple[list[int], array[int]]:
        """Rows by prefix number, then validity; and every row's prefix number."""
        numbers: array[int] = array("I", [trie[prefix] for prefix in self._prefixes])
        counts = bytearray(len(trie))
        for number in numbers:
            if counts[number] < 2:
                counts[number] += 1
        if 2 not in counts:
            # One row a prefix, as most decks have it: counting sort.
            order = [0] * len(numbers)
            for row, number in enumerate(numbers):
                order[number] = row
            return order, numbers
        starts = [self._dates(row)[0] for row in range(len(numbers))]
        keyed = [(numbers[row], starts[row], row) for row in range(len(numbers))]
        keyed.sort()
        return [row for _, _, row in keyed], numbers

    def _dates(self, row: int) -> tuple[int, int]:
        values = RECORD.unpack_from(self._records, row * _PAYLOAD_BYTES)
        return values[2], values[3]

    def _find_conflicts(self, order: list[int]) -> list[Conflict]:
        found: list[Conflict] = []
        prefixes = self._prefixes
        for place in range(1, len(order)):
            earlier = order[place - 1]
            later = order[place]
            if prefixes[earlier] != prefixes[later]:
                continue
            earlier_from, earlier_to = self._dates(earlier)
            later_from, later_to = self._dates(later)
            if earlier_to and earlier_to <= later_from:
                continue
            is_duplicate = earlier_from == later_from and earlier_to == later_to
            found.append(Conflict(prefixes[later], min(earlier, later), max(earlier, later), is_duplicate))
            if len(found) >= _CONFLICTS_MAX:
                break
        return found

    def _write_rates(
        self, path: Path, order: list[int], numbers: array[int], prefixes: int, trie_bytes: int, trie_crc: int
    ) -> int:
        index: array[int] = array("I", bytes(4 * (prefixes + 1)))
        for number in numbers:
            index[number + 1] += 1
        for number in range(prefixes):
            index[number + 1] += index[number]
        if index.itemsize != 4:  # pragma: no cover
            raise DeckError("this machine's unsigned int has not 32 bits")
        with path.open("wb") as file:
            file.write(bytes(HEADER_BYTES))
            body = index.tobytes()
            crc = zlib.crc32(body)
            file.write(body)
            records = memoryview(self._records)
            for start in range(0, len(order), _COPY_ROWS):
                parts: list[bytes] = []
                for row in order[start : start + _COPY_ROWS]:
                    payload = bytes(records[row * _PAYLOAD_BYTES : (row + 1) * _PAYLOAD_BYTES])
                    parts.append(payload)
                    number = numbers[row]
                    seed = record_seed(number, index[number + 1] - index[number])
                    parts.append(RECORD_CRC.pack(zlib.crc32(payload, seed)))
                body = b"".join(parts)
                crc = zlib.crc32(body, crc)
                file.write(body)
            records.release()
            for pool in (self._extras, self._names):
                crc = zlib.crc32(pool, crc)
                file.write(pool)
            size = file.tell()
            header = HEADER.pack(
                MAGIC,
                VERSION,
                RECORD_BYTES,
                prefixes,
                len(order),
                len(self._extras),
                len(self._names),
                trie_bytes,
                trie_crc,
                crc,
            )
            file.seek(0)
            file.write(header + HEADER_CRC.pack(zlib.crc32(header)))
            file.flush()
            os.fsync(file.fileno())
        return size


def row_fault(row: RateRow) -> str:
    """Why no deck holds this row; empty where one does."""
    prefix = row.prefix
    if not prefix.isdigit() or not prefix.isascii():
        return "prefix: digits only" if prefix else "prefix: empty"
    if len(prefix) > PREFIX_DIGITS_MAX:
        return f"prefix: more than {PREFIX_DIGITS_MAX} digits"
    if not 0 <= row.rate_nanos <= AMOUNT_NANOS_MAX:
        return "rate: negative" if row.rate_nanos < 0 else "rate: too large"
    if not 0 <= row.connect_fee_nanos <= AMOUNT_NANOS_MAX:
        return "connect_fee: negative" if row.connect_fee_nanos < 0 else "connect_fee: too large"
    if not UNSET <= row.max_cost_nanos <= AMOUNT_NANOS_MAX:
        return "max_cost: negative" if row.max_cost_nanos < 0 else "max_cost: too large"
    if not 0 <= row.first_s <= SECONDS_MAX:
        return f"first_s: outside 0..{SECONDS_MAX}"
    if not 1 <= row.next_s <= SECONDS_MAX:
        return f"next_s: outside 1..{SECONDS_MAX}"
    if not UNSET <= row.minimum_s <= SECONDS_MAX:
        return f"minimum_s: outside 0..{SECONDS_MAX}"
    if not UNSET <= row.grace_s <= SECONDS_MAX:
        return f"grace_s: outside 0..{SECONDS_MAX}"
    if not 0 <= row.valid_from_ms <= TIME_MS_MAX:
        return "valid_from: outside the years 1970 to 9999"
    if not 0 <= row.valid_to_ms <= TIME_MS_MAX:
        return "valid_to: outside the years 1970 to 9999"
    if row.valid_to_ms and row.valid_to_ms <= row.valid_from_ms:
        return "valid_to: not after valid_from"
    if len(row.name) > NAME_BYTES_MAX // 4 and len(row.name.encode()) > NAME_BYTES_MAX:
        return f"name: more than {NAME_BYTES_MAX} bytes"
    if row.tiers or row.windows:
        return _extras_fault(row)
    return ""


def _extras_fault(row: RateRow) -> str:
    if len(row.tiers) + len(row.windows) > EXTRAS_PER_ROW_MAX:
        return f"tiers, windows: more than {EXTRAS_PER_ROW_MAX}"
    before = 0
    for from_s, rate in row.tiers:
        if not before < from_s <= 0xFFFF_FFFF:
            return "tiers: not in ascending order from above 0 s"
        if not 0 <= rate <= AMOUNT_NANOS_MAX:
            return "tiers: rate negative or too large"
        before = from_s
    end_before = 0
    for start, end, rate in row.windows:
        if not end_before <= start < end <= WEEK_MINUTES:
            return "windows: overlapping, out of order, or outside the week"
        if not 0 <= rate <= AMOUNT_NANOS_MAX:
            return "windows: rate negative or too large"
        end_before = end
    return ""


def _write_trie(trie: marisa_trie.Trie, path: Path) -> tuple[int, int]:
    """Writes and syncs the prefixes' file; gives its size and CRC-32."""
    data = trie.tobytes()
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return len(data), zlib.crc32(data)


def _sync_folder(folder: Path) -> None:
    """Makes the renames last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
