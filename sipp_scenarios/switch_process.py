"""The data plane alone, as a process of its own, with a snapshot and a journal that we read."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec

from config.settings import Settings
from config.writing import as_toml
from switch.journal_read import JournalReader
from switch.records import CallEnded, Cdr
from switch.snapshot import Snapshot

ROOT = Path(__file__).resolve().parent.parent
READY_S = 15.0
STOP_S = 10.0


class SwitchFailed(Exception):
    """The switch did not come up, or did not go down."""


class SwitchProcess:
    """`python -m switch` on a fresh folder.

    Runs the sources beside this file, or with TANDEM_TEST_COMPILED=1 the package as it is
    installed, compiled or not.
    """

    def __init__(self, folder: Path, settings: Settings, snapshot: Snapshot) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._settings = settings
        self._snapshot = snapshot
        self._process: asyncio.subprocess.Process | None = None
        self._reader: JournalReader | None = None
        self._is_told = False
        self.cdrs: list[Cdr] = []
        """Every CDR that was read so far, in journal order."""
        self.ready = ""
        """The line that says where it listens."""

    async def start(self) -> None:
        """Raises SwitchFailed with the end of its log when it does not say `ready` in time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings_path, snapshot_path = self.folder / "tandem.toml", self.folder / "snapshot.json"
        settings_path.write_text(as_toml(self._settings))
        snapshot_path.write_bytes(msgspec.json.encode(self._snapshot))
        environment = dict(os.environ)
        flags = []
        if os.environ.get("TANDEM_TEST_COMPILED") == "1":
            flags = ["-P"]
            environment.pop("PYTHONPATH", None)
        else:
            environment["PYTHONPATH"] = str(ROOT)
        with (self.folder / "switch.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *flags, "-m", "switch", "--snapshot", str(snapshot_path),
                "--settings", str(settings_path), "--data", str(self.data),
                stdout=asyncio.subprocess.PIPE, stderr=log, cwd=self.folder, env=environment,
            )  # fmt: skip
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), READY_S)
        except TimeoutError:
            line = b""
        self.ready = line.decode().strip()
        if not self.ready.startswith("ready"):
            await self.stop()
            raise SwitchFailed(f"no `ready` line but {self.ready!r}; the log ends:\n{self.log()[-2000:]}")
        self._reader = JournalReader(self.data / "journal", 0)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def read_cdrs(self) -> list[Cdr]:
        """All CDRs up to now; each is read from the journal once."""
        assert self._reader is not None
        while records := self._reader.read(1_000):
            self.cdrs.extend(record.cdr for _, record in records if isinstance(record, CallEnded))
        return self.cdrs

    def log(self) -> str:
        path = self.folder / "switch.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def terminate(self) -> None:
        """SIGTERM, once: it drains and ends by itself."""
        if self._process is not None and self._process.returncode is None and not self._is_told:
            self._is_told = True
            self._process.send_signal(signal.SIGTERM)

    async def stop(self) -> int:
        """SIGTERM, and SIGKILL when that does not help; the exit code."""
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), STOP_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        assert self._process.returncode is not None
        return self._process.returncode
