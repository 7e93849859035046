"""Makes the files of a journal's segments: opened for appending, with what they begin with already in them."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

DRAFT_SUFFIX: Final = ".new"
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


def create(path: Path, start: bytes) -> int:
    """A new file with `start` in it; returns its descriptor.

    Raises:
        OSError: it could not be written; there is no such file then.
    """
    fd = os.open(path, _FLAGS | os.O_EXCL, 0o600)
    try:
        write_all(fd, start)
    except OSError:
        os.close(fd)
        path.unlink(missing_ok=True)
        raise
    return fd


def create_whole(path: Path, start: bytes) -> int:
    """As `create`, but the file appears under its name only once `start` is in it and synced."""
    draft = path.with_suffix(DRAFT_SUFFIX)
    fd = os.open(draft, _FLAGS | os.O_TRUNC, 0o600)
    try:
        write_all(fd, start)
        os.fdatasync(fd)
        draft.rename(path)
        sync_folder(path.parent)
    except OSError:
        os.close(fd)
        draft.unlink(missing_ok=True)
        raise
    return fd


def write_all(fd: int, data: bytes) -> None:
    """One write; a part of it is as good as none.

    Raises:
        OSError: ENOSPC where only a part was taken, which files do for that reason alone.
    """
    if os.write(fd, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def sync_folder(folder: Path) -> None:
    """A new file's name is only durable once its folder is."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
