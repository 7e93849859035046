"""A disk whose power can go: what was not synced by then is lost, from some point on.

It stands in for `os.fdatasync` and `os.fsync` while it is entered, and notes what they would have kept.
The loss is a suffix of the journal, possibly in the middle of a record: that sectors are written in any
order is the business of the journal's own tests.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Self

from switch.journal import Journal
from switch.segments import list_segments

SHM = Path("/dev/shm")


class HandSynced(Journal):
    """The real journal in groups, without its thread: a simulation syncs when its own clock says so."""

    def _sync_in_groups(self) -> None:
        pass

    def sync(self) -> None:
        assert self._sync_now(), self.failure

    def tear(self, size_before: int, number_before: int, keeps: float) -> None:
        """Have the last `append` be cut off after a share of what it wrote, as if the process died in it."""
        if self.segment_number == number_before:
            os.ftruncate(self._fd, size_before + int((self._size - size_before) * keeps))

    @property
    def size(self) -> int:
        return self._size

    def die(self) -> None:
        """Let go of the files as a dead process does."""
        while self._retired:
            os.close(self._retired.popleft())
        os.close(self._fd)
        self._fd = -1


class Disk:
    """The folder of one journal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._synced: dict[int, int] = {}
        """Bytes that are safe, by inode."""
        self._names: frozenset[str] = frozenset()
        """Names that are safe."""
        self._real = (os.fdatasync, os.fsync)

    def __enter__(self) -> Self:
        os.fdatasync = self._sync_file  # type: ignore[assignment]
        os.fsync = self._sync_folder  # type: ignore[assignment]
        return self

    def __exit__(self, *_: object) -> None:
        os.fdatasync, os.fsync = self._real

    def lose_power(self, rng: Random) -> None:
        """Everything that is not synced is gone, or the later part of it."""
        files = [segment.path for segment in list_segments(self.folder)]
        unsynced = [self._unsynced(path) for path in files]
        survives = 0 if rng.random() < 0.5 else rng.randint(0, sum(unsynced))
        for path, extra in zip(files, unsynced, strict=True):
            size = path.stat().st_size
            kept = min(extra, survives)
            survives -= kept
            if path.name not in self._names and not kept:
                path.unlink()
            elif kept < extra:
                os.truncate(path, size - extra + kept)

    def _unsynced(self, path: Path) -> int:
        status = path.stat()
        return status.st_size - self._synced.get(status.st_ino, 0)

    def _sync_file(self, fd: int) -> None:
        status = os.fstat(fd)
        self._synced[status.st_ino] = status.st_size

    def _sync_folder(self, fd: int) -> None:
        assert stat.S_ISDIR(os.fstat(fd).st_mode)
        self._names = frozenset(os.listdir(fd))


@contextmanager
def journal_disk() -> Iterator[Disk]:
    """A folder in memory where there is one: the simulation decides what is durable."""
    with tempfile.TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as name, Disk(Path(name)) as disk:
        yield disk
