"""The configuration's file: whole at every moment, and the newest at the end."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from switch import saver
from switch.configuration import Configuration, read_snapshot, write_snapshot
from switch.saver import SnapshotSaver
from switch.snapshot import Customer, Record, Snapshot

OLD = Snapshot(version=1, records=tuple(Customer(id=n, name=f"c{n}", status="active") for n in range(3)))
NEW = Snapshot(version=2, records=(Customer(id=1, name="only", status="active"),))


def test_a_save_cut_short_never_mixes_with_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_go_on, is_writing = threading.Event(), threading.Event()
    overlaps: list[int] = []
    inside = 0

    def slow_write(path: Path, version: int, records: list[Record]) -> None:
        nonlocal inside
        inside += 1
        overlaps.append(inside)
        is_writing.set()
        if version == 1:
            assert may_go_on.wait(10)
        write_snapshot(path, version, records)
        inside -= 1

    monkeypatch.setattr(saver, "write_snapshot", slow_write)
    path = tmp_path / "snapshot.msgpack"

    async def scene() -> None:
        configuration = Configuration()
        configuration.replace(OLD)
        writer = SnapshotSaver(configuration, path)
        first = asyncio.get_running_loop().create_task(writer.save())
        await asyncio.to_thread(is_writing.wait, 10)
        first.cancel()  # as the end of the process does; its thread goes on
        configuration.replace(NEW)
        last = asyncio.get_running_loop().create_task(writer.save())
        await asyncio.sleep(0)
        may_go_on.set()
        await last

    asyncio.run(scene())
    assert overlaps == [1, 1]
    assert read_snapshot(path) == NEW
