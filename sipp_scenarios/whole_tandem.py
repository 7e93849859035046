"""A whole Tandem, both planes, on a folder and ports of its own, with the example data in it."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import shutil
import signal
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from config.settings import Api, Listener, Settings, Sip, Trace
from config.writing import as_toml
from sipp_scenarios.prices import Price
from sipp_scenarios.switch_process import ROOT
from sipp_scenarios.traps import free_ports

HOST = "127.0.0.1"
EXAMPLE = ROOT / "config" / "example"
EXAMPLE_PORTS = (5080, 5081)
"""Where the example's two vendors stand."""
START_S = 30.0
STOP_S = 20.0
STEP_S = 0.1


class TandemFailed(Exception):
    """It did not start, answer or stop; the text ends with its log."""


class WholeTandem:
    """`tandem run` and its API.

    The installed command is taken if there is one, else the sources beside this file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.sip_port, self.api_port, *vendor_ports = free_ports(4, HOST)
        self.vendors = [(HOST, port) for port in vendor_ports]
        self._process: asyncio.subprocess.Process | None = None

    @property
    def switch(self) -> tuple[str, int]:
        return (HOST, self.sip_port)

    async def start(self) -> None:
        """Both planes run, and the example data with our vendors' ports is in."""
        settings = Settings(
            data="data",
            drain_s=2.0,
            sip=Sip(
                listeners=tuple(Listener(transport=kind, host=HOST, port=self.sip_port) for kind in ("udp", "tcp")),
                allow_loopback=True,
            ),
            api=Api(host=HOST, port=self.api_port),
            trace=Trace(ring_bytes=4_194_304),
        )
        path = self._folder / "tandem.toml"
        path.write_text(as_toml(settings))
        with (self._folder / "tandem.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *_command(), "run", "--config", str(path),
                cwd=self._folder, stdout=log, stderr=log, env=_environment(), start_new_session=True,
            )  # fmt: skip
        await self._until_healthy()
        await self._apply_example()

    async def stop(self) -> int:
        """SIGTERM to the parent, and its exit code; nothing is left running."""
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), STOP_S)
            except TimeoutError:
                # Children die with their parent.
                self._process.kill()
        return await self._process.wait()

    def get(self, path: str) -> Any:
        """JSON of one GET under /api/v1."""
        key = (self._folder / "data" / "admin.key").read_text().strip()
        request = urllib.request.Request(
            f"http://{HOST}:{self.api_port}/api/v1{path}", headers={"Authorization": f"Bearer {key}"}
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    async def cdrs(self, count: int, within_s: float = 10.0) -> list[dict[str, Any]]:
        """All CDRs, oldest first, once there are so many in the store (or the time is over)."""
        ends = time.monotonic() + within_s
        while True:
            items: list[dict[str, Any]] = self.get("/cdrs?limit=100")["items"]
            if len(items) >= count or time.monotonic() > ends:
                return items[::-1]
            await asyncio.sleep(STEP_S)

    def log(self) -> str:
        return (self._folder / "tandem.log").read_text(errors="replace")

    async def _until_healthy(self) -> None:
        ends = time.monotonic() + START_S
        while time.monotonic() < ends:
            assert self._process is not None
            if self._process.returncode is not None:
                raise TandemFailed(f"it ended with {self._process.returncode}:\n{self.log()[-3000:]}")
            try:
                if self.get("/health")["switch"] == "connected":
                    return
            except (OSError, KeyError):
                pass
            await asyncio.sleep(STEP_S)
        raise TandemFailed(f"not healthy after {START_S:.0f} s:\n{self.log()[-3000:]}")

    async def _apply_example(self) -> None:
        """The example, word for word but for the vendors' ports."""
        folder = self._folder / "example"
        shutil.copytree(EXAMPLE, folder)
        path = folder / "example.toml"
        text = path.read_text()
        for port, (_, ours) in zip(EXAMPLE_PORTS, self.vendors, strict=True):
            text = text.replace(f"port = {port}", f"port = {ours}")
        path.write_text(text)
        process = await asyncio.create_subprocess_exec(
            *_command(), "apply", str(path), "--url", f"http://{HOST}:{self.api_port}",
            "--key-file", str(self._folder / "data" / "admin.key"),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=_environment(), cwd=self._folder,
        )  # fmt: skip
        out, _ = await process.communicate()
        if process.returncode:
            raise TandemFailed(f"tandem apply ended with {process.returncode}:\n{out.decode()[-3000:]}")


def example_prices(name: str) -> tuple[Price, ...]:
    """One of the example's price lists, as text."""
    with (EXAMPLE / name).open(newline="") as lines:
        return tuple(
            Price(row["prefix"], row["name"], row["rate"], int(row["first_s"]), int(row["next_s"]), row["connect_fee"])
            for row in csv.DictReader(lines)
        )


def _command() -> list[str]:
    installed = Path(sys.executable).with_name("tandem")
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "control.cli"]


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    if not Path(sys.executable).with_name("tandem").exists():
        environment["PYTHONPATH"] = str(ROOT)
    return environment
