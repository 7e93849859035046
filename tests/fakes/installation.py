"""A whole Tandem in a folder of its own, started with the real command, on free ports."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from control.client import ApiClient
from control.supervisor import child_environment

WAIT_S = 40.0
COMMAND = [sys.executable, "-P", "-m", "control.cli"]

SETTINGS = """
drain_s = 2.0
[trace]
ring_bytes = 4194304
[api]
port = 0
[sip]
allow_loopback = true
[[sip.listeners]]
transport = "udp"
host = "127.0.0.1"
port = 0
"""


class Installation:
    """`start`, then `ready`; what it printed is in `output`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "tandem.toml"
        self.data = folder / "data"
        self.log = folder / "log.txt"
        self.config.write_text(SETTINGS)
        self.process: subprocess.Popen[str] | None = None

    def start(self, *options: str) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "run", "--config", str(self.config), *options],
                env=child_environment(),
                stdout=log,
                stderr=log,
                text=True,
            )
        self.wait(lambda: len(self.ready_lines()) >= 2, "both planes to be ready")

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def ready_lines(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if line.startswith("ready ")]

    @property
    def sip(self) -> tuple[str, int]:
        """Where SIP arrives over UDP."""
        line = next(line for line in reversed(self.ready_lines()) if "udp:" in line)
        host, _, port = line.split("udp:")[1].split()[0].rpartition(":")
        return host, int(port)

    @property
    def url(self) -> str:
        return (self.data / "api.url").read_text().strip()

    @property
    def api(self) -> ApiClient:
        return ApiClient(self.url, (self.data / "admin.key").read_text().strip())

    def health(self) -> dict[str, Any]:
        """Asked for without a key, as a monitor would."""
        parts = urllib.parse.urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=2)
        try:
            connection.request("GET", "/api/v1/health")
            found: dict[str, Any] = json.loads(connection.getresponse().read())
            return found
        finally:
            connection.close()

    def tandem(self, *arguments: str, status: int = 0) -> str:
        """Run a command against this installation; returns its output, or its complaint where it failed."""
        environment = {**child_environment(), "TANDEM_CONFIG": str(self.config), "COLUMNS": "200"}
        done = subprocess.run([*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=WAIT_S)
        assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout if status == 0 else done.stderr

    def child(self, module: str) -> int:
        """Process id of the plane that runs `module`."""
        assert self.process is not None
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    arguments = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if parent == self.process.pid and module.encode() in arguments:
                    return int(entry.name)
        raise AssertionError(f"no process runs {module}")

    def wait(self, claim: Callable[[], bool], what: str) -> None:
        last = time.monotonic() + WAIT_S
        while not claim():
            assert self.process is not None
            alive = self.process.poll() is None
            assert alive, f"ended with {self.process.returncode} before {what}\n{self.log.read_text()}"
            assert time.monotonic() < last, f"waited for {what}\n{self.log.read_text()}"
            time.sleep(0.05)

    def is_alive(self, pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True
