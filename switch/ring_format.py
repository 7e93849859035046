"""How the ring of SIP messages lies on disk: what its writer and its readers agree upon.

A head of one page, then blocks of a mebibyte that are written one after another, round and round. A
record never crosses the end of its block, so that a reader can begin at any block. A position counts
bytes from the first block ever written: it says where a record stands and, being in the record itself,
whether what stands there is of this round. The stamp behind a record is the last of it to be written.
"""

from __future__ import annotations

import struct
from typing import Final

RING_FILE: Final = "messages.ring"
"""In the data folder."""
HEAD_BYTES: Final = 4_096
BLOCK_BYTES: Final = 1_048_576
BLOCKS_MIN: Final = 2
MAGIC: Final = b"tandem messages 1\n"

RECORD: Final = struct.Struct("<IQQBBH")
"""Length of the message, position, microseconds since the epoch, direction, length of the peer's text, listener."""
STAMP: Final = struct.Struct("<I")
STAMP_MASK: Final = 0xFFFFFFFF
AROUND: Final = RECORD.size + STAMP.size
MESSAGE_BYTES_MAX: Final = BLOCK_BYTES - AROUND - 256
"""More than any message that the switch takes; a longer one would be cut here."""

RECEIVED: Final = 0
SENT: Final = 1


def blocks_of(ring_bytes: int) -> int:
    """How many blocks a ring of that size has."""
    return max(BLOCKS_MIN, ring_bytes // BLOCK_BYTES)


def file_bytes(blocks: int) -> int:
    return HEAD_BYTES + blocks * BLOCK_BYTES
