"""A process for one heavy job, which never outlives the one that asked for it.

A worker of `multiprocessing` holds both ends of its own queue: where its parent is killed it would
wait there for ever.
"""

from __future__ import annotations

import ctypes
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final

PR_SET_PDEATHSIG: Final = 1


def own_process() -> ProcessPoolExecutor:
    """A pool of one new process. Submit from the main thread: the process ends with the thread that made it."""
    return ProcessPoolExecutor(1, get_context("spawn"), end_with, (os.getpid(),))


def end_with(parent: int) -> None:
    """Called by a new process, whose parent's id it was told: the kernel ends it when its parent ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we had asked to be told
        os._exit(1)
