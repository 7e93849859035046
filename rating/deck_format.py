"""The two files of a compiled deck, as both its builder and its reader know them.

`NAME.trie` is a marisa trie of the prefixes; it gives every prefix a number. `NAME.rates` holds,
one after another (all little-endian):

    header    magic, version, counts, sizes, checksums                       128 bytes
    index     first record of prefix number i; one entry more than prefixes   4 bytes each
    records   rows by prefix number, then by validity                        64 bytes each
    extras    tiers and windows of the rows that have any
    names     destination names, each once, UTF-8

Every record ends with a CRC-32 that is seeded with its prefix number and the rows of that prefix,
so that neither a flipped bit nor a wrong index entry is ever read as a price.
"""

from __future__ import annotations

from pathlib import Path
from struct import Struct
from typing import Final

MAGIC: Final = b"TNDMDECK"
VERSION: Final = 1

HEADER: Final = Struct("<8sHHIIIIQII")
"""magic, version, record size, prefixes, rows, bytes of extras, bytes of names, bytes of the trie
file, CRC-32 of the trie file, CRC-32 of everything after the header."""
HEADER_CRC: Final = Struct("<I")
"""Follows the header: CRC-32 of its bytes."""
HEADER_BYTES: Final = 128

INDEX_ENTRY: Final = Struct("<I")
INDEX_PAIR: Final = Struct("<II")

RECORD: Final = Struct("<qqqqqIIHHHHHBx")
"""rate, connect fee, valid from, valid to, maximum cost, place of the name, place of the extras
plus 1 (0: none), first, next, minimum, grace, bytes of the name, flags."""
RECORD_CRC: Final = Struct("<I")
RECORD_WITH_CRC: Final = Struct("<qqqqqIIHHHHHBxI")
"""The two together, as a look-up reads them."""
RECORD_BYTES: Final = 64
FLAG_BLOCKED: Final = 1
SECONDS_UNSET: Final = 0xFFFF
"""Minimum or grace that the row leaves to its card."""
SECONDS_MAX: Final = 0xFFFE

EXTRAS: Final = Struct("<HHI")
"""Tiers, windows, CRC-32 of their bytes; the tiers and windows follow."""
TIER: Final = Struct("<Iq")
WINDOW: Final = Struct("<HHq")

PREFIX_DIGITS_MAX: Final = 24
NAME_BYTES_MAX: Final = 500
EXTRAS_PER_ROW_MAX: Final = 200
AMOUNT_NANOS_MAX: Final = 10**18
"""A thousand million units of the currency, per minute or per call: more is a slip of the pen."""
TIME_MS_MAX: Final = 253_402_300_800_000
"""The year 10000."""
ROWS_MAX: Final = 50_000_000


class DeckError(ValueError):
    """Rows that make no deck, or files that are none: cut off, of another version, damaged."""


def record_seed(number: int, rows: int) -> int:
    """What the checksum of a record starts from: the prefix's number and how many rows it has."""
    return (number + rows * 0x0100_0193) & 0xFFFF_FFFF


def trie_path(base: Path) -> Path:
    """The prefixes' file. The suffix is appended: `base` may hold dots."""
    return base.with_name(base.name + ".trie")


def rates_path(base: Path) -> Path:
    """The rows' file."""
    return base.with_name(base.name + ".rates")
