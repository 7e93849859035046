"""Kills a process as it writes its journal for the Nth time.

With strace it dies exactly in that write, before anything that the write stands for can leave. Where
strace is missing, or may not attach to a process of ours, the file's size is watched: then it dies
just after.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Final

from control.drill.instance import is_alive
from switch.segments import list_segments, segment_path

DETACH_S: Final = 1.0
SEGMENTS_AHEAD: Final = 8
"""A write may be the first one of a segment that does not exist yet."""
LOOK_S: Final = 0.0005


class JournalTrap:
    """Set with `spring`, which returns how the process died; `release` gives up."""

    def __init__(self, pid: int, folder: Path, count: int) -> None:
        self._pid = pid
        self._folder = folder
        self._count = count
        self._released = threading.Event()
        self.is_set = threading.Event()
        """Writes are counted from here on."""

    def release(self) -> None:
        self._released.set()

    def spring(self, within_s: float) -> str:
        """Blocks until it is dead; empty where it did not write so often in time, or was let go."""
        last = time.monotonic() + within_s
        how = self._trace(last) if shutil.which("strace") else None
        return self._watch(last) if how is None else how

    def _trace(self, last: float) -> str | None:
        """None: strace may not attach."""
        newest = list_segments(self._folder)[-1].number
        paths = [str(segment_path(self._folder, newest + step)) for step in range(SEGMENTS_AHEAD)]
        narrowed = [word for path in paths for word in ("-P", path)]
        inject = f"inject=write:signal=SIGKILL:when={self._count}"
        tracer = subprocess.Popen(
            [
                "strace",
                "-f",
                "-qq",
                "-p",
                str(self._pid),
                *narrowed,
                "-o",
                os.devnull,
                "-e",
                "trace=write",
                "-e",
                inject,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while not self._is_traced():
                if tracer.poll() is not None and is_alive(self._pid):
                    return None
                if time.monotonic() > last or not is_alive(self._pid):
                    return ""
                time.sleep(LOOK_S)
            self.is_set.set()
            while is_alive(self._pid):
                if time.monotonic() > last or self._released.is_set():
                    return ""
                time.sleep(LOOK_S * 4)
            return f"in journal write {self._count}"
        finally:
            _end(tracer, is_gone=not is_alive(self._pid))

    def _is_traced(self) -> bool:
        try:
            status = Path(f"/proc/{self._pid}/status").read_text()
        except OSError:
            return False
        return int(status.partition("TracerPid:")[2].split()[0]) != 0

    def _watch(self, last: float) -> str:
        before, grown = self._size(), 0
        self.is_set.set()
        while is_alive(self._pid) and time.monotonic() < last and not self._released.is_set():
            size = self._size()
            if size != before:
                before, grown = size, grown + 1
                if grown >= self._count:
                    os.kill(self._pid, signal.SIGKILL)
                    return f"just after journal write {grown}"
            time.sleep(LOOK_S)
        return ""

    def _size(self) -> tuple[int, int]:
        newest = list_segments(self._folder)[-1]
        try:
            return newest.number, newest.path.stat().st_size
        except OSError:
            return newest.number, 0


def _end(tracer: subprocess.Popen[bytes], *, is_gone: bool) -> None:
    """Let go of the process, or, where it is gone, of what is left of it: its parent hears of its end only then."""
    if not is_gone:
        tracer.terminate()
    try:
        tracer.wait(DETACH_S)
    except subprocess.TimeoutExpired:
        # A tracee that dies by parts can leave strace waiting for the rest for ever.
        tracer.kill()
        tracer.wait()
