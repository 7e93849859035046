"""What a journal segment looks like on the disk; shared by its writer and its reader. No I/O loop.

A segment is a header and then records, all integers big-endian:

    header   magic "TNDJ" · version u16 · zero u16 · first sequence u64 · previous sequence u64 · CRC u32
    record   mark u32 · length u32 · CRC u32 · sequence u64 · payload (msgpack of a `JournalRecord`)

`previous sequence` is the last one that the segment before holds, so that a reader notices what is
missing between two. CRCs are CRC-32C; a record's covers length, sequence and payload. The mark lets
a reader find the next whole record behind damage with a search in C instead of a walk by bytes.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Final, NamedTuple

import google_crc32c

MAGIC: Final = b"TNDJ"
VERSION: Final = 2
MARK: Final = b"\xd7TJ\xb1"
"""No UTF-8 text can hold it, so nothing that a peer sends can look like the start of a record."""
SUFFIX: Final = ".tj"
RECORD_BYTES_MAX: Final = 8_388_608
"""Longest payload. A CDR is a kilobyte or two; a longer length field is damage."""

HEADER_FIELDS: Final = struct.Struct(">4sHHQQ")
HEADER_BYTES: Final = HEADER_FIELDS.size + 4
PREFIX: Final = struct.Struct(">4sIIQ")
PREFIX_BYTES: Final = PREFIX.size
_CRC: Final = struct.Struct(">I")
_CHECKED: Final = struct.Struct(">IQ")


class Damage(Exception):
    """Bytes that are no record, at `offset` of what was looked at; `is_short`: they end too early."""

    def __init__(self, offset: int, reason: str, *, is_short: bool = False) -> None:
        super().__init__(reason)
        self.offset = offset
        self.reason = reason
        self.is_short = is_short


class Header(NamedTuple):
    first: int
    previous: int


class Found(NamedTuple):
    """One whole record; `end` is where the next one begins."""

    sequence: int
    payload: bytes
    end: int


class Segment(NamedTuple):
    number: int
    path: Path


def segment_path(folder: Path, number: int) -> Path:
    return folder / f"{number:08d}{SUFFIX}"


def list_segments(folder: Path) -> list[Segment]:
    """Segments in order of their numbers; other files are none of ours."""
    found = [Segment(int(path.stem), path) for path in folder.glob(f"*{SUFFIX}") if path.stem.isdigit()]
    found.sort()
    return found


def encode_header(first: int, previous: int) -> bytes:
    fields = HEADER_FIELDS.pack(MAGIC, VERSION, 0, first, previous)
    return fields + _CRC.pack(google_crc32c.value(fields))


def decode_header(data: bytes) -> Header:
    """Read a header from the first `HEADER_BYTES` of a segment.

    Raises:
        Damage: too short, not ours, another version, or a CRC that does not match.
    """
    if len(data) < HEADER_BYTES:
        raise Damage(0, "header cut off", is_short=True)
    fields = data[: HEADER_FIELDS.size]
    magic, version, _, first, previous = HEADER_FIELDS.unpack(fields)
    if magic != MAGIC:
        raise Damage(0, "not a journal segment")
    if google_crc32c.value(fields) != _CRC.unpack_from(data, HEADER_FIELDS.size)[0]:
        raise Damage(0, "header checksum does not match")
    if version != VERSION:
        raise Damage(0, f"journal version {version}, this build reads {VERSION}")
    return Header(first, previous)


def encode_record(sequence: int, payload: bytes) -> bytes:
    return encode_records(sequence, [payload])


def encode_records(first: int, payloads: list[bytes]) -> bytes:
    """Records with sequences from `first` on, one behind the other."""
    parts: list[bytes] = []
    for index in range(len(payloads)):
        payload = payloads[index]
        length, sequence = len(payload), first + index
        crc = google_crc32c.value(_CHECKED.pack(length, sequence) + payload)
        parts.append(PREFIX.pack(MARK, length, crc, sequence))
        parts.append(payload)
    return b"".join(parts)


def decode_record(data: bytes | mmap.mmap, offset: int) -> Found:
    """Read the record that begins at `offset`.

    Raises:
        Damage: as `take_record`.
    """
    return Found(*take_record(data, offset))


def take_record(data: bytes | mmap.mmap, offset: int) -> tuple[int, bytes, int]:
    """The values of `Found` of the record that begins at `offset`: compiled, a tuple makes no object.

    Raises:
        Damage: with `is_short` where `data` ends inside the record, else what is wrong with it.
    """
    if len(data) - offset < PREFIX_BYTES:
        raise Damage(offset, "record cut off", is_short=True)
    mark, length, crc, sequence = PREFIX.unpack_from(data, offset)
    if mark != MARK:
        raise Damage(offset, "no record mark")
    if not 0 < length <= RECORD_BYTES_MAX:
        raise Damage(offset, f"record length {length}")
    start = offset + PREFIX_BYTES
    end = start + length
    if end > len(data):
        raise Damage(offset, "record cut off", is_short=True)
    payload = data[start:end]
    if google_crc32c.value(_CHECKED.pack(length, sequence) + payload) != crc:
        raise Damage(offset, "checksum does not match")
    return sequence, payload, end


def find_record(data: bytes | mmap.mmap, offset: int, after: int) -> int:
    """Offset of the next whole record from `offset` on with a sequence above `after`; -1: none."""
    while (offset := data.find(MARK, offset)) >= 0:
        try:
            found = decode_record(data, offset)
        except Damage:
            offset += 1
            continue
        if found.sequence > after:
            return offset
        offset = found.end
    return -1
