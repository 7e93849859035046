"""Finds where a journal ends, at start: cuts a torn tail, reports damage, changes nothing else."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import NamedTuple

from switch.segments import (
    HEADER_BYTES,
    Damage,
    Header,
    Segment,
    decode_header,
    decode_record,
    find_record,
    list_segments,
)


class JournalEnd(NamedTuple):
    number: int
    """Of the last segment; 0: there is none."""
    last: int
    """Sequence of the last whole record; 0: there is none."""
    older: list[tuple[Segment, int]]
    """Every segment with the sequence of its last record."""
    findings: list[str]
    """What was amiss, each with its file and offset."""


def find_end(folder: Path) -> JournalEnd:
    """Look at all headers and at every record of the last segment, and sync them all.

    A segment's last sequence stands in the header of the next one, so only the last is read whole.

    The process before may have died between a write and its sync. What is built on its records, as
    balances that they moved, is synced soon and must not outlive them when the power goes.

    Raises:
        OSError: the folder cannot be read, a torn tail cannot be cut, or a segment cannot be synced.
    """
    findings: list[str] = []
    headers: list[tuple[Segment, Header | None]] = []
    number = 0
    for segment in list_segments(folder):
        number = segment.number
        try:
            with segment.path.open("rb") as file:
                os.fdatasync(file.fileno())
                headers.append((segment, decode_header(file.read(HEADER_BYTES))))
        except Damage as damage:
            if damage.is_short:
                # Begun as the process or the power went; no record was ever in it. An empty one is every kill's
                # right, and nothing to tell.
                if segment.path.stat().st_size:
                    findings.append(f"{segment.path}: removed, {damage.reason}")
                segment.path.unlink()
                continue
            findings.append(f"{segment.path}: offset 0: {damage.reason}")
            headers.append((segment, None))
    if not headers:
        return JournalEnd(number, 0, [], findings)
    last = 0
    for segment, header in reversed(headers):
        last = max(last, _end_of(segment, header, findings))
        if header is not None:
            break  # before a damaged header the end lies further back
    older: list[tuple[Segment, int]] = []
    for position, (segment, _) in enumerate(headers[:-1]):
        following = headers[position + 1][1]
        # Behind a damaged header nothing is known: the segment stays until those after it may go.
        older.append((segment, following.previous if following else last))
    older.append((headers[-1][0], last))
    return JournalEnd(number, last, older, findings)


def _end_of(segment: Segment, header: Header | None, findings: list[str]) -> int:
    """Sequence of the segment's last whole record; its torn tail, if any, is cut."""
    last = max(header.previous, header.first - 1) if header else 0
    previous = header.previous if header else 0
    with segment.path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= HEADER_BYTES:
            return previous
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            offset, is_empty = HEADER_BYTES, True
            while offset < size:
                try:
                    found = decode_record(data, offset)
                except Damage as damage:
                    step = find_record(data, offset + 1, last)
                    if step < 0:
                        findings.append(
                            f"{segment.path}: offset {offset}: torn tail of {size - offset} bytes cut ({damage.reason})"
                        )
                        break
                    findings.append(f"{segment.path}: offset {offset}: {damage.reason}")
                    offset = step
                    continue
                last, offset, is_empty = max(last, found.sequence), found.end, False
        if offset < size:
            os.ftruncate(file.fileno(), offset)
            os.fdatasync(file.fileno())
    return previous if is_empty else last
