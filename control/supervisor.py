"""The parent of both planes: starts them, restarts either with back-off, passes signals on.

It imports neither the switch nor the control plane, so it stays small and outlives their faults.
It spends no processor time while nothing happens: it sleeps in `sigtimedwait` until a child ends
or a signal arrives.
"""

from __future__ import annotations

import argparse
import os
import signal
import site
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from config.settings import SettingsError, data_folder, load_settings
from control.with_parent import tied_to_us

RESTART_DELAY_MIN_S: Final = 0.2
RESTART_DELAY_MAX_S: Final = 15.0
STEADY_S: Final = 30.0
"""A child that ran this long has recovered: its next fault is restarted without delay."""
DRAIN_MARGIN_S: Final = 5.0
"""The switch ends by itself after `drain_s`; this much later it is killed."""
CONTROL_STOP_S: Final = 10.0
"""The control process has this long to read the rest of the journal after the switch ended."""
EXIT_MISTAKE: Final = 2
"""A child's exit status for a mistake that no restart mends: bad settings, a port in use."""
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


def restart_delay_s(failures: int) -> float:
    """Seconds to wait before the start that follows the nth failure in a row."""
    return min(RESTART_DELAY_MAX_S, RESTART_DELAY_MIN_S * 2.0 ** min(failures - 1, 20))


class Child:
    """One plane: a command, its process while it runs, and when it may be started again."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.command = command
        self.process: subprocess.Popen[bytes] | None = None
        self.failures = 0
        self.started_at = 0.0
        self.start_at = 0.0
        self.kill_at: float | None = None

    def start(self, now: float, environment: dict[str, str], before_exec: Callable[[], None]) -> None:
        self.started_at = now
        # A session of its own: Ctrl-C in a terminal reaches the parent alone, which then drains.
        self.process = subprocess.Popen(
            self.command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=before_exec
        )

    def send(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def reap(self, now: float) -> int | None:
        """The exit status if it has just ended, with the time of its next start set."""
        if self.process is None or self.process.poll() is None:
            return None
        status = self.process.returncode
        self.process = None
        self.kill_at = None
        self.failures = 1 if now - self.started_at >= STEADY_S else self.failures + 1
        self.start_at = now + restart_delay_s(self.failures)
        return status


class Supervisor:
    """Two children and one loop over signals. Times are `time.monotonic()` seconds."""

    def __init__(self, switch: Child, control: Child, drain_s: float) -> None:
        self._switch = switch
        self._control = control
        self._children = (switch, control)
        self._drain_s = drain_s
        self._environment = child_environment()
        self._is_stopping = False
        self._status = 0

    def run(self) -> int:
        """Run until told to stop, or until a child names a mistake at its first start.

        Returns: the exit status: 0 after a stop that was asked for, 1 otherwise.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        before_exec = _before_exec(before)
        try:
            while True:
                now = time.monotonic()
                for child in self._children:
                    if child.process is None and not self._is_stopping and now >= child.start_at:
                        child.start(now, self._environment, before_exec)
                received = signal.sigtimedwait(SIGNALS, self._sleep_s(time.monotonic()))
                if received is not None:
                    self._handle_signal(signal.Signals(received.si_signo), time.monotonic())
                self._watch(time.monotonic())
                if self._is_stopping and self._switch.process is None and self._control.process is None:
                    return self._status
        finally:
            for child in self._children:
                child.send(signal.SIGKILL)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _sleep_s(self, now: float) -> float:
        wake_at = [child.start_at for child in self._children if child.process is None and not self._is_stopping]
        wake_at += [child.kill_at for child in self._children if child.kill_at is not None]
        return max(0.0, min(wake_at, default=now + 3600.0) - now)

    def _handle_signal(self, number: signal.Signals, now: float) -> None:
        if number == signal.SIGHUP:
            for child in self._children:
                child.send(signal.SIGHUP)
        elif number in (signal.SIGTERM, signal.SIGINT):
            if self._is_stopping:
                _say("asked a second time: both planes are ended without waiting for calls")
                for child in self._children:
                    child.send(signal.SIGKILL)
            else:
                self._stop(now)

    def _stop(self, now: float) -> None:
        # The control process stays until the switch is gone: the last CDRs are written during the drain.
        self._is_stopping = True
        if self._switch.process is None:
            self._stop_control(now)
        else:
            self._switch.send(signal.SIGTERM)
            self._switch.send(signal.SIGCONT)
            self._switch.kill_at = now + self._drain_s + DRAIN_MARGIN_S

    def _stop_control(self, now: float) -> None:
        if self._control.process is not None and self._control.kill_at is None:
            self._control.send(signal.SIGTERM)
            self._control.send(signal.SIGCONT)
            self._control.kill_at = now + CONTROL_STOP_S

    def _watch(self, now: float) -> None:
        """Note children that ended, kill those whose time is up."""
        for child in self._children:
            status = child.reap(now)
            if status is not None:
                self._handle_end(child, status, now)
            if child.kill_at is not None and now >= child.kill_at:
                _say(f"{child.name} did not end in time and is killed")
                child.send(signal.SIGKILL)
                child.kill_at = now + DRAIN_MARGIN_S

    def _handle_end(self, child: Child, status: int, now: float) -> None:
        if self._is_stopping:
            if child is self._switch:
                self._stop_control(now)
        elif status == EXIT_MISTAKE and child.failures == 1:
            _say(f"{child.name} cannot start; its message is above")
            self._status = 1
            self._stop(now)
        else:
            how = f"signal {-status}" if status < 0 else f"status {status}"
            _say(f"{child.name} ended with {how}; starting it again in {restart_delay_s(child.failures):g} s")


def child_environment() -> dict[str, str]:
    """The environment in which a child imports the very packages that this process imported.

    Children run with `-P`, so that the folder someone stands in is never on their path; an installed
    Tandem therefore runs its compiled modules even from within a checkout of the sources.
    """
    environment = dict(os.environ)
    root = str(Path(__file__).resolve().parents[1])
    if root not in {str(Path(folder).resolve()) for folder in site.getsitepackages()}:
        known = environment.get("PYTHONPATH", "")
        environment["PYTHONPATH"] = f"{root}{os.pathsep}{known}" if known else root
    return environment


def _before_exec(mask: set[signal.Signals | int]) -> Callable[[], None]:
    """What a child does between fork and exec."""
    tie = tied_to_us()

    def prepare() -> None:
        # A killed parent takes its children along: a second Tandem finds its ports free. Calls lose
        # nothing by it, since the journal is written before each message leaves.
        tie()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    return prepare


def _say(text: str) -> None:
    print(f"tandem: {text}", file=sys.stderr, flush=True)


def supervise(config: Path, data: Path | None = None, with_example: bool = False) -> int:
    """Run both planes by one settings file; `data` overrides its folder.

    Raises:
        SettingsError: the file cannot be used.
    """
    settings = load_settings(config)
    folder = data.resolve() if data is not None else data_folder(settings, config)
    # The store has digests of passwords, the journal has who called whom: for one user's eyes.
    os.umask(0o077)
    folder.mkdir(parents=True, exist_ok=True)
    common = ["--settings", str(config.resolve()), "--data", str(folder)]
    python = [sys.executable, "-P", "-m"]
    switch = Child("the switch process", [*python, "switch", *common])
    control = Child("the control process", [*python, "control", *common, *(["--example"] if with_example else [])])
    return Supervisor(switch, control, settings.drain_s).run()


def main() -> int:
    """`python -m control.supervisor`: what `tandem run` becomes, without the command's libraries."""
    parser = argparse.ArgumentParser(prog="tandem run")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--example", action="store_true")
    arguments = parser.parse_args()
    try:
        return supervise(arguments.config, arguments.data, arguments.example)
    except SettingsError as error:
        _say(str(error))
        return EXIT_MISTAKE
    except OSError as error:
        _say(f"{error.filename or arguments.config}: {error.strerror}")
        return EXIT_MISTAKE


if __name__ == "__main__":
    sys.exit(main())
