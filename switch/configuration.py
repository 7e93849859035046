"""The configuration that the switch runs on, kept whole, and its file: what a start without control reads."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from switch.policy.places import did_places, endpoint_place
from switch.snapshot import Delta, Did, Endpoint, Gateway, Record, Snapshot

SNAPSHOT_FILE: Final = "snapshot.msgpack"


class SnapshotUnusable(Exception):
    """The file is no snapshot; the text names it and says why."""


class Configuration:
    """Records by kind and id, at one version. Deltas must come in order."""

    def __init__(self) -> None:
        self.version = 0
        self._records: dict[tuple[str, int], Record] = {}

    def replace(self, snapshot: Snapshot) -> None:
        self._records = {(_kind(record), record.id): record for record in snapshot.records}
        self.version = snapshot.version

    def apply(self, delta: Delta) -> None:
        for key in delta.remove:
            self._records.pop((key.kind, key.id), None)
        for record in delta.put:
            self._records[_kind(record), record.id] = record
        self.version = delta.version

    def records(self) -> list[Record]:
        return list(self._records.values())

    def gateways(self) -> list[Gateway]:
        """Vendors' gateways, and the other places that calls are sent to."""
        found: list[Gateway | None] = []
        for record in self._records.values():
            if isinstance(record, Gateway):
                found.append(record)
            elif isinstance(record, Endpoint):
                found.append(endpoint_place(record))
            elif isinstance(record, Did):
                found.extend(did_places(record))
        return [gateway for gateway in found if gateway is not None]


def _kind(record: Record) -> str:
    return str(record.__struct_config__.tag)


def read_snapshot(path: Path) -> Snapshot:
    """Read msgpack, or JSON where the name ends in `.json`.

    Raises:
        SnapshotUnusable: no such file, or its bytes are no snapshot.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SnapshotUnusable(f"{path}: {error.strerror}") from error
    try:
        if path.suffix == ".json":
            return msgspec.json.decode(data, type=Snapshot)
        return msgspec.msgpack.decode(data, type=Snapshot)
    except msgspec.MsgspecError as error:
        raise SnapshotUnusable(f"{path}: {error}") from error


def write_snapshot(path: Path, version: int, records: Iterable[Record]) -> None:
    """Put a snapshot file in place of the one before, whole or not at all. Meant for a thread.

    Records are encoded one by one, so that the thread with the loop gets its turns between them.

    Raises:
        OSError: the disk does not take it; the file before is untouched.
    """
    encode = msgspec.msgpack.Encoder().encode
    parts = [encode(record) for record in records]
    head = b"\x82" + encode("version") + encode(version) + encode("records")
    # An array of up to 2^32 - 1 elements (the msgpack specification's `array 32`).
    head += b"\xdd" + len(parts).to_bytes(4, "big")
    beside = path.with_suffix(".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(head)
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
