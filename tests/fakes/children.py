"""Stand-ins for the two planes under the real supervisor: `python -m tests.fakes.children FOLDER MODE…`.

The parent runs `Supervisor` over two copies of this file. Each writes one line a thing that happens
to it into `FOLDER/<name>.log`, so that a test reads what the processes saw.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from control.supervisor import Child, Supervisor


def child(log: Path, mode: str) -> int:
    """Log the start and signals; end on SIGTERM unless `deaf`, at once with a status for `exit:N`."""

    def say(text: str) -> None:
        with log.open("a") as file:
            file.write(f"{text}\n")

    say(f"start {os.getpid()}")
    signal.signal(signal.SIGHUP, lambda *_: say("hup"))
    stopping = [False]

    def stop(*_: object) -> None:
        say("term")
        stopping[0] = mode != "deaf"

    signal.signal(signal.SIGTERM, stop)
    if mode.startswith("exit:"):
        return int(mode.removeprefix("exit:"))
    say("ready")
    while not stopping[0]:
        time.sleep(0.02)
    if mode.startswith("slow:"):
        time.sleep(float(mode.removeprefix("slow:")))
    say("end")
    return 0


def parent(folder: Path, switch: str, control: str, drain_s: float) -> int:
    command = [sys.executable, "-P", __file__, str(folder)]
    return Supervisor(
        Child("the switch process", [*command, "switch", switch]),
        Child("the control process", [*command, "control", control]),
        drain_s,
    ).run()


if __name__ == "__main__":
    at = Path(sys.argv[1])
    if len(sys.argv) == 5:
        sys.exit(parent(at, sys.argv[2], sys.argv[3], float(sys.argv[4])))
    sys.exit(child(at / f"{sys.argv[2]}.log", sys.argv[3]))
