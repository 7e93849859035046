"""SIPp as caller and vendor, and what came of the calls."""

from __future__ import annotations

import csv
import subprocess
import time
from pathlib import Path
from typing import IO, NamedTuple

from probe import ADDRESS, Probe

HERE = Path(__file__).resolve().parent
CALLER_PORT, PROXY_PORT, VENDOR_PORT = 5070, 5060, 5080
CALLS_OPEN_MAX = 15_000
SOCKET_BUFFER_BYTES = 4_000_000
RETRANSMISSIONS_END_S = 40.0
"""SIPp gives a call up 32 s after its first unanswered INVITE."""


class Outcome(NamedTuple):
    rate: int
    answered: int
    failed: int
    retransmissions: int
    seconds: float
    delay_p50_ms: float
    delay_p95_ms: float
    delay_p99_ms: float
    """INVITE to its 200, of the probe's calls."""


class Sipp:
    """Both SIPp programs, on the processors that this process may use, and the probe beside them."""

    def __init__(self, folder: Path, numbers: Path) -> None:
        self._folder = folder
        self._numbers = numbers
        self._probe_numbers = [line.rstrip(";") for line in numbers.read_text().split()[1:]]
        self._log: IO[str] = (folder / "sipp.log").open("a")

    def _start(self, scenario: str, *options: str) -> subprocess.Popen[bytes]:
        command = ["sipp", "-sf", str(HERE / scenario), "-i", ADDRESS, "-nostdin"]
        command += ["-buff_size", str(SOCKET_BUFFER_BYTES), *options]
        return subprocess.Popen(command, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=self._log)

    def start_vendor(self) -> subprocess.Popen[bytes]:
        vendor = self._start("vendor.xml", "-p", str(VENDOR_PORT))
        time.sleep(0.5)
        if vendor.poll() is not None:
            raise RuntimeError(f"SIPp would not start as the vendor: see {self._folder / 'sipp.log'}")
        return vendor

    def start_caller(self, rate: int, calls: int, hold_ms: int, port: int) -> subprocess.Popen[bytes]:
        (self._folder / "caller.csv").unlink(missing_ok=True)
        options = ["-p", str(CALLER_PORT), "-inf", str(self._numbers), "-r", str(rate), "-m", str(calls)]
        options += ["-d", str(hold_ms), "-l", str(CALLS_OPEN_MAX), "-trace_stat", "-stf", "caller.csv", "-fd", "1"]
        options.append(f"{ADDRESS}:{port}")
        return self._start("caller.xml", *options)

    def play(self, rate: int, seconds: float, hold_ms: int = 0, port: int = PROXY_PORT) -> Outcome:
        """`rate` calls a second for `seconds`; returns when the last has ended, or failed."""
        vendor = self.start_vendor()
        probe = Probe(self._probe_numbers, port)
        try:
            began = time.monotonic()
            caller = self.start_caller(rate, int(rate * seconds), hold_ms, port)
            probe.start()
            try:
                caller.wait((seconds + hold_ms / 1000) * 2 + RETRANSMISSIONS_END_S)
            except subprocess.TimeoutExpired:
                caller.kill()
                caller.wait()
            probe.stop()
            return self._outcome(rate, time.monotonic() - began, probe)
        finally:
            vendor.terminate()
            vendor.wait()

    def _outcome(self, rate: int, seconds: float, probe: Probe) -> Outcome:
        with (self._folder / "caller.csv").open() as file:
            last = list(csv.DictReader(file, delimiter=";"))[-1]
        delays = sorted(probe.delays_ms)
        return Outcome(
            rate=rate,
            answered=int(last["SuccessfulCall(C)"]) + probe.answered,
            failed=int(last["FailedCall(C)"]) + probe.failed,
            retransmissions=int(last["Retransmissions(C)"]),
            seconds=seconds,
            delay_p50_ms=percentile(delays, 50),
            delay_p95_ms=percentile(delays, 95),
            delay_p99_ms=percentile(delays, 99),
        )


def percentile(ordered: list[float], percent: int) -> float:
    """Nearest rank; 0 of nothing."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
