"""The ring of SIP messages: a file of a fixed size that the switch maps and copies each message into.

There is no system call a message: what was copied survives the death of the process, since the pages
are the kernel's, and power loss costs what the kernel had not written back. Its room is taken when it is
made, so that a full disk meets it then and not in the middle of a call.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from pathlib import Path
from typing import Final

from switch.outputs import Address
from switch.ring_format import (
    AROUND,
    BLOCK_BYTES,
    HEAD_BYTES,
    MAGIC,
    MESSAGE_BYTES_MAX,
    RECORD,
    STAMP,
    STAMP_MASK,
    blocks_of,
    file_bytes,
)

PEERS_MAX: Final = 16_384
"""Addresses whose text is kept; beyond, all are written anew."""


class Ring:
    """One writer, the switch. Readers open the file for themselves (`ring_read.py`).

    Raises:
        OSError: the file cannot be made, or there is no room for it.
    """

    def __init__(self, path: Path, ring_bytes: int) -> None:
        self._blocks = blocks_of(ring_bytes)
        self._map = _open(path, self._blocks)
        self._write = self._map.write
        self._pack = RECORD.pack
        self._stamp = STAMP.pack
        self._peers: dict[Address, bytes] = {}
        self._block = -1
        self._position = 0
        self._end = 0
        self._begin_block(self._newest_block() + 1)

    def add(self, direction: int, listener: int, peer: Address, data: bytes, at_us: int) -> None:
        """Copy one message in; `at_us` is microseconds since the epoch."""
        text = self._peers.get(peer)
        if text is None:
            text = self._peer_text(peer)
        length = len(data)
        if length > MESSAGE_BYTES_MAX:
            data = data[:MESSAGE_BYTES_MAX]
            length = MESSAGE_BYTES_MAX
        position = self._position
        following = position + length + len(text) + AROUND
        if following > self._end:
            self._begin_block(self._block + 1)
            position = self._position
            following = position + length + len(text) + AROUND
        head = self._pack(length, position, at_us, direction, len(text), listener)
        self._write(b"".join((head, text, data, self._stamp(position & STAMP_MASK))))
        self._position = following

    def close(self) -> None:
        self._map.close()

    def _begin_block(self, block: int) -> None:
        if self._block >= 0:
            # What is written is the kernel's now; our own memory stays as small as it was.
            with contextlib.suppress(OSError, ValueError):
                self._map.madvise(mmap.MADV_DONTNEED, self._place(self._block), BLOCK_BYTES)
        self._block = block
        self._position = block * BLOCK_BYTES
        self._end = self._position + BLOCK_BYTES
        self._map.seek(self._place(block))

    def _place(self, block: int) -> int:
        return HEAD_BYTES + block % self._blocks * BLOCK_BYTES

    def _newest_block(self) -> int:
        """Of a writer before us; -1: none has written. We begin behind it, wherever in it that writer was."""
        newest = -1
        for slot in range(self._blocks):
            length, position, _, _, _, _ = RECORD.unpack_from(self._map, HEAD_BYTES + slot * BLOCK_BYTES)
            block, rest = divmod(position, BLOCK_BYTES)
            if length and rest == 0 and block % self._blocks == slot:
                newest = max(newest, block)
        return newest

    def _peer_text(self, peer: Address) -> bytes:
        if len(self._peers) >= PEERS_MAX:
            self._peers.clear()
        host = f"[{peer[0]}]" if ":" in peer[0] else peer[0]
        text = self._peers[peer] = f"{host}:{peer[1]}".encode("ascii", "replace")[:255]
        return text


def _open(path: Path, blocks: int) -> mmap.mmap:
    """The file with its room taken; one of another size or kind is replaced."""
    head = MAGIC + b"%d" % blocks
    size = file_bytes(blocks)
    with contextlib.suppress(FileNotFoundError):
        with path.open("rb") as before:
            is_ours = os.fstat(before.fileno()).st_size == size and before.read(64).startswith(head + b"\n")
        if not is_ours:
            path.unlink()
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(file).st_size != size:
            os.posix_fallocate(file, 0, size)
            os.pwrite(file, head + b"\n", 0)
        return mmap.mmap(file, size)
    except OSError:
        # Half of it is of no use, and may be what fills the disk.
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(file)
