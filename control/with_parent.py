"""Children that never outlive the process that began them: the kernel ends them with it."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Final

PR_SET_PDEATHSIG: Final = 1


def end_with(parent: int) -> None:
    """Called by a new process, which was told its parent's id."""
    _tie(ctypes.CDLL(None, use_errno=True), parent)


def tied_to_us() -> Callable[[], None]:
    """What a child calls between fork and exec; the library is loaded ahead, since a fork may not."""
    return partial(_tie, ctypes.CDLL(None, use_errno=True), os.getpid())


def _tie(libc: ctypes.CDLL, parent: int) -> None:
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we had asked to be told
        os._exit(1)
