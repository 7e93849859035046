"""System calls of a running process that fail, stall or kill, by strace.

It is attached and detached again, so that the fault hits a process in full work and goes as it came.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ATTACH_S = 10.0
DETACH_S = 5.0


@contextmanager
def fault(pid: int, folder: Path, inject: str, *paths: Path) -> Iterator[None]:
    """Inject while inside.

    Args:
        folder: where strace writes what it saw.
        inject: strace's rule, such as `fdatasync:error=EIO` or `write:signal=SIGKILL:when=3`.
        paths: files that it is for; none: all.
    """
    call = inject.partition(":")[0]
    narrowed = [word for path in paths for word in ("-P", str(path))]
    command = ["strace", "-f", "-qq", "-p", str(pid), *narrowed, "-o", str(folder / "strace.out")]
    tracer = subprocess.Popen([*command, "-e", f"trace={call}", "-e", f"inject={inject}"])
    threads = [int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()]
    try:
        last = time.monotonic() + ATTACH_S
        while tracer.poll() is None and not all(_tracer_of(pid, thread) for thread in threads):
            assert time.monotonic() < last, "strace did not attach"
            time.sleep(0.01)
        if tracer.poll() is not None:
            pytest.skip("strace may not attach to a running process here")
        yield
    finally:
        tracer.terminate()
        try:
            tracer.wait(DETACH_S)
        except subprocess.TimeoutExpired:
            # It waits for a thread of a process that its own fault has just killed. Whom it traced it lets go.
            tracer.kill()
            tracer.wait(DETACH_S)


def _tracer_of(pid: int, thread: int) -> int:
    """Who traces that thread; 0: nobody. A thread that is gone counts as traced."""
    try:
        status = Path(f"/proc/{pid}/task/{thread}/status").read_text()
    except OSError:
        return -1
    return int(status.partition("TracerPid:")[2].split()[0])
