"""A compiled deck, mapped into memory: longest prefix, then the row in force.

Opening reads one header, whatever the deck's size; the rest is paged in as calls ask for it and
shared between processes. The files never change under a name, so nothing is locked.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import marisa_trie  # type: ignore[import-not-found]

from rating.deck_build import Conflict, DeckBuilder, DeckConflicts, DeckFacts, compile_deck
from rating.deck_format import (
    EXTRAS,
    FLAG_BLOCKED,
    HEADER,
    HEADER_BYTES,
    HEADER_CRC,
    INDEX_ENTRY,
    INDEX_PAIR,
    MAGIC,
    RECORD_BYTES,
    RECORD_CRC,
    RECORD_WITH_CRC,
    SECONDS_UNSET,
    TIER,
    VERSION,
    WINDOW,
    DeckError,
    rates_path,
    record_seed,
    trie_path,
)
from rating.rows import UNSET, RateRow

__all__ = [
    "Conflict",
    "Deck",
    "DeckBuilder",
    "DeckConflicts",
    "DeckError",
    "DeckFacts",
    "RateRow",
    "compile_deck",
]

CACHED_PREFIXES_MAX: Final = 16_384
"""Decoded prefixes kept, some half a kilobyte each; a full cache is emptied, since calls concentrate on few."""

_PAYLOAD_BYTES: Final = RECORD_BYTES - RECORD_CRC.size


class Deck:
    """One revision of a rate card, opened; `Deck.open` makes them."""

    def __init__(self, base: Path, trie: marisa_trie.Trie, view: mmap.mmap, facts: tuple[int, ...]) -> None:
        self.base: Path = base
        self.damaged: int = 0
        """Look-ups refused because the row's checksum is wrong. Not 0: compile the deck again."""
        self._trie: marisa_trie.Trie = trie
        self._view: mmap.mmap = view
        prefixes, rows, extras_bytes, names_bytes, self._trie_bytes, self._trie_crc, self._body_crc = facts
        self.prefixes: int = prefixes
        self._rows: int = rows
        self._records_at: int = HEADER_BYTES + (prefixes + 1) * INDEX_ENTRY.size
        self._extras_at: int = self._records_at + rows * RECORD_BYTES
        self._names_at: int = self._extras_at + extras_bytes
        self._end: int = self._names_at + names_bytes
        self._cache: dict[int, tuple[RateRow, ...]] = {}
        """By the prefix's number in the trie."""

    @staticmethod
    def open(base: Path) -> Deck:
        """Maps `base`.trie and `base`.rates.

        Raises:
            DeckError: not a deck's files, another version's, cut off, or not of one compilation.
            OSError: missing or unreadable.
        """
        rates_file = rates_path(base)
        trie_file = trie_path(base)
        with rates_file.open("rb") as file:
            head = file.read(HEADER_BYTES)
            facts = _read_header(head, rates_file)
            view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if trie_file.stat().st_size != facts[4]:
            raise DeckError(f"{trie_file.name}: cut off, or not of the same compilation as {rates_file.name}")
        trie = marisa_trie.Trie()
        try:
            trie.mmap(str(trie_file))
        except RuntimeError as error:
            raise DeckError(f"{trie_file.name}: no trie ({error})") from error
        deck = Deck(base, trie, view, facts)
        if deck._end != len(view) or len(trie) != deck.prefixes:
            raise DeckError(f"{rates_file.name}: cut off, or not of the same compilation as {trie_file.name}")
        return deck

    def __len__(self) -> int:
        """Rows, not prefixes."""
        return self._rows

    def lookup(self, number: str, at_ms: int) -> RateRow | None:
        """The row of the longest prefix of `number` that has one in force at `at_ms`.

        A blocked row is found like any other. None too where the row found is damaged: a shorter
        prefix would be the wrong price.
        """
        found: list[tuple[str, int]] = list(self._trie.iter_prefixes_with_ids(number))
        for place in range(len(found) - 1, -1, -1):
            prefix, identity = found[place]
            rows = self._cache.get(identity)
            if rows is None:
                rows = self._rows_of(prefix, identity)
                if rows is None:
                    return None
            for row in rows:
                if row.valid_from_ms <= at_ms and (row.valid_to_ms == 0 or at_ms < row.valid_to_ms):
                    return row
        return None

    def find(self, prefix: str) -> tuple[RateRow, ...]:
        """The rows of exactly this prefix, by validity; none where it has none."""
        identity: int | None = self._trie.get(prefix)
        if identity is None:
            return ()
        return self._cache.get(identity) or self._rows_of(prefix, identity) or ()

    def rows(self, under: str = "") -> Iterator[RateRow]:
        """All rows whose prefix begins with `under`, by prefix (as text), then by validity.

        Raises:
            DeckError: a damaged row.
        """
        for rows in self.prefix_rows(under):
            yield from rows

    def prefix_rows(self, under: str = "") -> Iterator[tuple[RateRow, ...]]:
        """The same, with the rows of one prefix together."""
        for prefix, identity in self._trie.iteritems(under):
            rows = self._decode(prefix, identity)
            if rows is None:
                raise DeckError(f"{rates_path(self.base).name}: the rows of prefix {prefix} are damaged")
            yield rows

    def verify(self) -> None:
        """Reads both files to the end against their checksums.

        Raises:
            DeckError: a byte has changed since the deck was compiled.
        """
        crc = 0
        with trie_path(self.base).open("rb") as file:
            while chunk := file.read(1 << 20):
                crc = zlib.crc32(chunk, crc)
        if crc != self._trie_crc:
            raise DeckError(f"{trie_path(self.base).name}: checksum wrong")
        crc = 0
        for start in range(HEADER_BYTES, self._end, 1 << 20):
            crc = zlib.crc32(self._view[start : min(start + (1 << 20), self._end)], crc)
        if crc != self._body_crc:
            raise DeckError(f"{rates_path(self.base).name}: checksum wrong")

    def _rows_of(self, prefix: str, identity: int) -> tuple[RateRow, ...] | None:
        """Decodes and remembers the rows of a prefix that is in the trie; None where the bytes are damaged."""
        rows = self._decode(prefix, identity)
        if rows is None:
            self.damaged += 1
            return None
        if len(self._cache) >= CACHED_PREFIXES_MAX:
            self._cache.clear()
        self._cache[identity] = rows
        return rows

    def _decode(self, prefix: str, identity: int) -> tuple[RateRow, ...] | None:
        start, end = INDEX_PAIR.unpack_from(self._view, HEADER_BYTES + identity * INDEX_ENTRY.size)
        if not start < end <= self._rows:
            return None
        rows: list[RateRow] = []
        seed = record_seed(identity, end - start)
        for number in range(start, end):
            row = self._decode_record(prefix, seed, self._records_at + number * RECORD_BYTES)
            if row is None:
                return None
            rows.append(row)
        return tuple(rows)

    def _decode_record(self, prefix: str, seed: int, place: int) -> RateRow | None:
        view = self._view
        (
            rate,
            fee,
            valid_from,
            valid_to,
            cost_max,
            name_at,
            extras_at,
            first,
            step,
            minimum,
            grace,
            name_bytes,
            flags,
            crc,
        ) = RECORD_WITH_CRC.unpack_from(view, place)
        if zlib.crc32(view[place : place + _PAYLOAD_BYTES], seed) != crc:
            return None
        tiers: tuple[tuple[int, int], ...] = ()
        windows: tuple[tuple[int, int, int], ...] = ()
        if extras_at:
            extras = self._decode_extras(self._extras_at + extras_at - 1)
            if extras is None:
                return None
            tiers, windows = extras
        name_place = self._names_at + name_at
        return RateRow(
            prefix,
            view[name_place : name_place + name_bytes].decode("utf-8", "replace"),
            rate,
            first,
            step,
            fee,
            valid_from,
            valid_to,
            bool(flags & FLAG_BLOCKED),
            UNSET if minimum == SECONDS_UNSET else minimum,
            UNSET if grace == SECONDS_UNSET else grace,
            cost_max,
            tiers,
            windows,
        )

    def _decode_extras(self, place: int) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int, int], ...]] | None:
        if place + EXTRAS.size > self._names_at:
            return None
        tiers, windows, crc = EXTRAS.unpack_from(self._view, place)
        tiers_at = place + EXTRAS.size
        windows_at = tiers_at + tiers * TIER.size
        end = windows_at + windows * WINDOW.size
        packed = self._view[tiers_at:end]
        if end > self._names_at or zlib.crc32(packed) != crc:
            return None
        return (
            tuple([(from_s, rate) for from_s, rate in TIER.iter_unpack(self._view[tiers_at:windows_at])]),
            tuple([(start, stop, rate) for start, stop, rate in WINDOW.iter_unpack(self._view[windows_at:end])]),
        )


def _read_header(head: bytes, path: Path) -> tuple[int, ...]:
    if len(head) < HEADER_BYTES or head[: len(MAGIC)] != MAGIC:
        raise DeckError(f"{path.name}: not a deck")
    if HEADER_CRC.unpack_from(head, HEADER.size)[0] != zlib.crc32(head[: HEADER.size]):
        raise DeckError(f"{path.name}: header damaged")
    _, version, record_bytes, *facts = HEADER.unpack_from(head)
    if version != VERSION or record_bytes != RECORD_BYTES:
        raise DeckError(f"{path.name}: version {version}, this program reads {VERSION}")
    return tuple(facts)
