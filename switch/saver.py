"""Writes the configuration to its file soon after it changed, in a thread, and not too often."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Final

import structlog

from switch.configuration import Configuration, write_snapshot
from switch.snapshot import Record

INTERVAL_S: Final = 1.0
SHARE_MAX: Final = 0.05
"""Of one processor, for writing while changes keep coming."""

log = structlog.get_logger("switch.saver")


class SnapshotSaver:
    """`note_change` asks for a write; `run` does them until cancelled; `save` does the last one."""

    def __init__(self, configuration: Configuration, path: Path) -> None:
        self._configuration = configuration
        self._path = path
        self._changed = asyncio.Event()
        self._saved_version = 0
        self._asked = 0
        # A save whose task was cancelled goes on in its thread: the last one, at the end of the
        # process, has to wait for it, and the older must not come after the newer.
        self._writing = threading.Lock()
        self._written = 0

    def note_change(self) -> None:
        self._changed.set()

    async def run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            began_at = time.monotonic()
            await self.save()
            took_s = time.monotonic() - began_at
            await asyncio.sleep(max(INTERVAL_S, took_s / SHARE_MAX))

    async def save(self) -> None:
        """Write what is in force now, unless the file has it already."""
        version, records = self._configuration.version, self._configuration.records()
        if version == self._saved_version:
            return
        try:
            self._asked += 1
            await asyncio.to_thread(self._write, self._asked, version, records)
        except OSError as error:
            log.error("snapshot not saved", path=str(self._path), reason=error.strerror)
            self._changed.set()  # tried again after the interval
        else:
            self._saved_version = version

    def _write(self, number: int, version: int, records: list[Record]) -> None:
        with self._writing:
            if number > self._written:
                write_snapshot(self._path, version, records)
                self._written = number
