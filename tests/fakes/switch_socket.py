"""A switch as the control plane's link sees it: a real Unix socket, frames, and a will of its own."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from switch.frames import (
    Account,
    BookEntries,
    EndCall,
    Entry,
    Hello,
    JournalIngested,
    ListCalls,
    Load,
    PutBalances,
    PutDelta,
    PutSnapshot,
    ReadAccounts,
    ReadLoad,
    Reply,
    Request,
)
from switch.outputs import Alarm
from switch.snapshot import Delta, Snapshot

_LENGTH = struct.Struct(">I")


class SwitchSocket:
    """Answers every request; what it took and what it shall refuse are plain attributes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.version = 0
        self.snapshots: list[Snapshot] = []
        self.deltas: list[Delta] = []
        self.ingested: list[int] = []
        self.refuse_deltas = ""
        self.refuse_snapshots = ""
        self.refuse_entries = ""
        self.entry_id: int | None = None
        """Highest ledger entry booked; None: there are no balances."""
        self.balances: dict[int, int] = {}
        self.entries: list[Entry] = []
        """Booked, each once, in their order."""
        self.loses_replies = False
        """Books entries and does not say so."""
        self.heard: list[str] = []
        """Kinds of all requests, in their order."""
        self.is_silent = False
        """Reads requests and answers none."""
        self.connections = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self.hang_up()
        await asyncio.sleep(0)
        self.path.unlink(missing_ok=True)

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    def tell(self, alarm: Alarm) -> None:
        for writer in self._writers:
            _write(writer, alarm)

    def send_bytes(self, data: bytes) -> None:
        for writer in self._writers:
            writer.write(data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        hello = Hello(
            snapshot_version=self.version,
            started_ms=1,
            is_compiled=False,
            journal_sequence=0,
            entry_id=self.entry_id,
        )
        _write(writer, hello)
        try:
            while True:
                (length,) = _LENGTH.unpack(await reader.readexactly(4))
                request = msgspec.msgpack.decode(await reader.readexactly(length), type=Request)
                if isinstance(request, JournalIngested):
                    self.ingested.append(request.sequence)
                elif not self.is_silent:
                    self.heard.append(type(request).__name__)
                    reply = self._answer(request)
                    if not (self.loses_replies and isinstance(request, BookEntries)):
                        _write(writer, reply)
        except (EOFError, OSError):
            pass
        finally:
            writer.close()

    def _answer(self, request: Request) -> Reply:
        assert not isinstance(request, JournalIngested)
        if isinstance(request, PutSnapshot):
            if self.refuse_snapshots:
                return Reply(id=request.id, error=self.refuse_snapshots)
            self.snapshots.append(request.snapshot)
            self.version = request.snapshot.version
        elif isinstance(request, PutDelta):
            if self.refuse_deltas:
                return Reply(id=request.id, error=self.refuse_deltas)
            assert request.delta.version == self.version + 1, "the real switch refuses gaps"
            self.deltas.append(request.delta)
            self.version = request.delta.version
        elif isinstance(request, PutBalances):
            if self.entry_id is not None:
                return Reply(id=request.id, error="balances are here already")
            self.entry_id, self.balances = request.entry_id, dict(request.balances)
        elif isinstance(request, BookEntries):
            if self.refuse_entries or self.entry_id is None:
                return Reply(id=request.id, error=self.refuse_entries or "there are no balances yet")
            self._book(request.entries)
        elif isinstance(request, ReadAccounts):
            return Reply(id=request.id, result=msgspec.Raw(msgspec.msgpack.encode(self._accounts(request))))
        elif isinstance(request, ReadLoad):
            return Reply(id=request.id, result=msgspec.Raw(msgspec.msgpack.encode(Load(since_s=1.0))))
        elif isinstance(request, ListCalls):
            return Reply(id=request.id, result=msgspec.Raw(msgspec.msgpack.encode([])))
        elif isinstance(request, EndCall):
            return Reply(id=request.id, result=msgspec.Raw(msgspec.msgpack.encode(False)))
        else:
            return Reply(id=request.id, error=f"{type(request).__name__} is not known here")
        return Reply(id=request.id)

    def _book(self, entries: tuple[Entry, ...]) -> None:
        assert self.entry_id is not None
        assert [entry.id for entry in entries] == sorted({entry.id for entry in entries}), "ids ascend"
        for entry in entries:
            if entry.id > self.entry_id:
                self.entry_id = entry.id
                self.entries.append(entry)
                self.balances[entry.customer_id] = self.balances.get(entry.customer_id, 0) + entry.amount_nanos

    def _accounts(self, request: ReadAccounts) -> list[Account]:
        wanted = self.balances if request.customer_ids is None else request.customer_ids
        return [
            Account(
                customer_id=customer_id,
                balance_nanos=self.balances[customer_id],
                held_nanos=0,
                available_nanos=self.balances[customer_id],
                spent_today_nanos=0,
                holds=0,
            )
            for customer_id in wanted
            if customer_id in self.balances
        ]


def _write(writer: asyncio.StreamWriter, frame: msgspec.Struct) -> None:
    body = msgspec.msgpack.encode(frame)
    writer.write(_LENGTH.pack(len(body)) + body)


@asynccontextmanager
async def running(switch: SwitchSocket) -> AsyncIterator[SwitchSocket]:
    await switch.start()
    try:
        yield switch
    finally:
        await switch.stop()
