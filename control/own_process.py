"""A process for one heavy job, which never outlives the one that asked for it.

A worker of `multiprocessing` holds both ends of its own queue: where its parent is killed it would
wait there for ever.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from control.with_parent import end_with


def own_process() -> ProcessPoolExecutor:
    """A pool of one new process. Submit from the main thread: the process ends with the thread that made it."""
    return ProcessPoolExecutor(1, get_context("spawn"), end_with, (os.getpid(),))
