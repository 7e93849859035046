"""Writes the configuration to its file soon after it changed, in a thread, and not too often."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

import structlog

from switch.configuration import Configuration, write_snapshot

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
            await asyncio.to_thread(write_snapshot, self._path, version, records)
        except OSError as error:
            log.error("snapshot not saved", path=str(self._path), reason=error.strerror)
            self._changed.set()  # tried again after the interval
        else:
            self._saved_version = version
