"""Reads the ring of SIP messages while the switch writes on: what was said under some Call-IDs, in its order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from switch.ring_format import (
    BLOCK_BYTES,
    HEAD_BYTES,
    MAGIC,
    RECORD,
    STAMP,
    STAMP_MASK,
    file_bytes,
)
from switch.wire.errors import ParseError
from switch.wire.limits import Limits
from switch.wire.message import parse_message

FOUND_MAX: Final = 2_000
"""Messages of one call that are read: retransmissions to a dead peer come to some dozens."""
_LIMITS: Final = Limits(BLOCK_BYTES, 10_000, BLOCK_BYTES, 1_000, BLOCK_BYTES)
"""What is in the ring has passed the limits of its time."""


class Kept(msgspec.Struct, frozen=True):
    """A message as it went over the wire."""

    at_us: int
    direction: int
    """`RECEIVED` or `SENT`."""
    listener: int
    peer: str
    data: bytes


class RingFile:
    """A ring on disk, opened for one reading.

    Raises:
        OSError: there is none, or it cannot be read.
        ValueError: the file is no ring.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            head = os.pread(self._file, 64, 0)
            number = head[len(MAGIC) :].partition(b"\n")[0]
            if not head.startswith(MAGIC) or not number.isdigit():
                raise ValueError(f"{path}: not a ring of messages")
            self.blocks = int(number)
            if os.fstat(self._file).st_size != file_bytes(self.blocks):
                raise ValueError(f"{path}: cut short")
        except BaseException:
            os.close(self._file)
            raise

    def close(self) -> None:
        os.close(self._file)

    def oldest_us(self) -> int | None:
        """When the oldest message was there that is still kept; None: there is none."""
        times = [began_us for _, _, began_us in self._written()]
        return min(times, default=None)

    def find(self, call_ids: Sequence[bytes], from_us: int, to_us: int) -> list[Kept]:
        """Messages with one of these Call-IDs, received or sent in that time, in the order in which they were."""
        found: list[Kept] = []
        written = self._written()
        for index, (block, slot, began_us) in enumerate(written):
            ended_us = written[index + 1][2] if index + 1 < len(written) else to_us
            if began_us > to_us or ended_us < from_us:
                continue
            for kept in self._records(block, slot, call_ids):
                if from_us <= kept.at_us <= to_us and is_of(kept.data, call_ids):
                    found.append(kept)
                    if len(found) >= FOUND_MAX:
                        return found
        return found

    def _written(self) -> list[tuple[int, int, int]]:
        """Blocks that hold something: number, slot, microseconds of the first record; the oldest first."""
        found = []
        for slot in range(self.blocks):
            head = os.pread(self._file, RECORD.size, HEAD_BYTES + slot * BLOCK_BYTES)
            length, position, at_us, _, _, _ = RECORD.unpack(head)
            block, rest = divmod(position, BLOCK_BYTES)
            if length and rest == 0 and block % self.blocks == slot:
                found.append((block, slot, at_us))
        return sorted(found)

    def _records(self, block: int, slot: int, needles: Sequence[bytes]) -> Iterator[Kept]:
        place = HEAD_BYTES + slot * BLOCK_BYTES
        data = os.pread(self._file, BLOCK_BYTES, place)
        if not any(needle in data for needle in needles):
            return
        if os.pread(self._file, RECORD.size, place)[:12] != data[:12]:
            return  # the writer has come round, and what was read may be of both rounds
        offset = 0
        while offset + RECORD.size + STAMP.size <= BLOCK_BYTES:
            length, position, at_us, direction, peer_length, listener = RECORD.unpack_from(data, offset)
            end = offset + RECORD.size + peer_length + length
            if not length or position != block * BLOCK_BYTES + offset or end + STAMP.size > BLOCK_BYTES:
                return  # what follows is of the round before
            if STAMP.unpack_from(data, end)[0] != position & STAMP_MASK:
                return  # being written, or torn by a loss of power
            message = offset + RECORD.size + peer_length
            if any(data.find(needle, message, end) >= 0 for needle in needles):
                peer = data[offset + RECORD.size : message].decode("ascii", "replace")
                yield Kept(at_us, direction, listener, peer, data[message:end])
            offset = end + STAMP.size


def is_of(data: bytes, call_ids: Sequence[bytes]) -> bool:
    """Whether a message's own Call-ID is one of these: others may quote it anywhere."""
    try:
        return parse_message(data, _LIMITS).call_id in call_ids
    except ParseError:
        return False
