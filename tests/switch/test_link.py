"""The Unix socket between the planes, with real clients."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
import uvloop

from switch import link as link_module
from switch.commands import Commands
from switch.configuration import Configuration
from switch.frames import (
    EndCall,
    Hello,
    JournalIngested,
    ListCalls,
    LiveCall,
    PutDelta,
    PutSnapshot,
    ReadStats,
    Reply,
    Simulate,
    Simulated,
    Stats,
)
from switch.link import LinkServer, LinkUnusable
from switch.outputs import Alarm
from switch.pump import Pump
from switch.snapshot import Customer, Delta, Gateway, Key, Snapshot
from tests.fakes.control_client import ControlClient
from tests.fakes.echo_engine import EchoEngine
from tests.fakes.waiting import until

HELLO = Hello(snapshot_version=0, started_ms=1, is_compiled=False, journal_sequence=0)
ALARM = Alarm(name="journal_failed", detail="disk", at_ms=1)


class Bench:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = EchoEngine()
        self.configuration = Configuration()
        self.changed: list[list[int] | None] = []
        self.ingested: list[int] = []
        pump = Pump(self.engine, None, asyncio.get_running_loop())
        self.commands = Commands(
            self.engine, pump, self.configuration, self.changed.append, self.ingested.append, self.add_stats
        )
        self.server = LinkServer(path, lambda: [HELLO, ALARM], self.commands.handle)

    def add_stats(self, stats: Stats) -> None:
        stats.gauges["journal_failed"] = 0.0

    async def connect(self) -> ControlClient:
        client = await ControlClient.connect(self.path)
        assert client.hello == HELLO
        assert await client.hear() == ALARM
        return client


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def play(path: Path, scene: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        bench = Bench(path)
        await bench.server.start()
        try:
            await scene(bench)
        finally:
            await bench.server.close()

    uvloop.run(main())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "switch.sock"


CUSTOMER = Customer(id=1, name="Acme", status="active")
GATEWAY = Gateway(id=5, provider_id=1, host="192.0.2.1")


def test_a_snapshot_and_its_deltas_are_applied_in_order(path: Path) -> None:
    async def scene(bench: Bench) -> None:
        client = await bench.connect()
        snapshot = Snapshot(version=4, records=(CUSTOMER,))
        assert await client.ask(PutSnapshot(id=1, snapshot=snapshot)) == Reply(id=1)
        delta = Delta(version=5, put=(GATEWAY,), remove=(Key("customer", 1),))
        assert await client.ask(PutDelta(id=2, delta=delta)) == Reply(id=2)
        assert bench.engine.snapshots == [snapshot]
        assert bench.engine.deltas == [delta]
        assert bench.configuration.version == 5
        assert bench.configuration.records() == [GATEWAY]
        assert bench.changed == [None, [5]]

    play(path, scene)


def test_a_delta_out_of_order_is_refused_and_changes_nothing(path: Path) -> None:
    async def scene(bench: Bench) -> None:
        client = await bench.connect()
        await client.ask(PutSnapshot(id=1, snapshot=Snapshot(version=4)))
        reply = await client.ask(PutDelta(id=2, delta=Delta(version=6)))
        assert reply.error == "delta 6 does not follow version 4"
        assert bench.engine.deltas == []
        assert bench.configuration.version == 4

    play(path, scene)


def test_what_the_engine_cannot_take_is_refused_with_its_reason(path: Path) -> None:
    async def scene(bench: Bench) -> None:
        client = await bench.connect()
        bench.engine.fault = ValueError("deck sell-7 is missing")
        reply = await client.ask(PutSnapshot(id=1, snapshot=Snapshot(version=4)))
        assert reply == Reply(id=1, error="deck sell-7 is missing")
        assert bench.configuration.version == 0
        assert (await client.ask(PutSnapshot(id=2, snapshot=Snapshot(version=4)))).error == ""

    play(path, scene)


def test_questions_are_answered_in_order_with_their_own_types(path: Path) -> None:
    async def scene(bench: Bench) -> None:
        client = await bench.connect()
        bench.engine.calls = ["c1"]
        client.say(ListCalls(id=1))
        client.say(EndCall(id=2, cdr_id="c1", by="admin"))
        client.say(EndCall(id=3, cdr_id="c1", by="admin"))
        client.say(Simulate(id=4, dialled="15551230001"))
        client.say(ReadStats(id=5))
        replies = [await client.hear() for _ in range(5)]
        assert [reply.id for reply in replies] == [1, 2, 3, 4, 5]
        assert msgspec.msgpack.decode(replies[0].result, type=list[LiveCall])[0].cdr_id == "c1"
        assert [msgspec.msgpack.decode(reply.result, type=bool) for reply in replies[1:3]] == [True, False]
        assert msgspec.msgpack.decode(replies[3].result, type=Simulated).steps == ["15551230001"]
        stats = msgspec.msgpack.decode(replies[4].result, type=Stats)
        assert stats.counters["calls_attempted"] == 3
        assert stats.gauges["journal_failed"] == 0.0

    play(path, scene)


def test_an_ingested_sequence_is_passed_on_without_a_reply(path: Path) -> None:
    async def scene(bench: Bench) -> None:
        client = await bench.connect()
        client.say(JournalIngested(sequence=77))
        assert (await client.ask(ReadStats(id=1))).id == 1
        assert bench.ingested == [77]

    play(path, scene)


@pytest.mark.parametrize(
    "bad", [b"\x00\x00\x00\x01\xc1", b"\x00\x00\x00\x04\x81\xa1x\x01", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00"]
)
def test_a_bad_frame_closes_that_client_alone(path: Path, bad: bytes) -> None:
    async def scene(bench: Bench) -> None:
        good, rude = await bench.connect(), await bench.connect()
        rude.writer.write(bad)
        assert await asyncio.wait_for(rude.reader.read(), 5.0) == b""
        assert (await good.ask(ReadStats(id=1))).id == 1

    play(path, scene)


def test_events_reach_every_client(path: Path) -> None:
    async def scene(bench: Bench) -> None:
        clients = [await bench.connect() for _ in range(3)]
        event = Alarm(name="x", detail="y", at_ms=2)
        bench.server.broadcast(event)
        for client in clients:
            assert await client.hear() == event

    play(path, scene)


def test_a_client_that_does_not_read_is_closed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "UNREAD_BYTES_MAX", 10_000)

    async def scene(bench: Bench) -> None:
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.connect(str(path))
            await until(lambda: bench.server._clients)
            for _ in range(5_000):
                bench.server.broadcast(Alarm(name="x", detail="y" * 1_000, at_ms=2))
                await asyncio.sleep(0)
                if not bench.server._clients:
                    return
            raise AssertionError("never closed")

    play(path, scene)


def test_the_socket_is_ours_alone_and_replaces_a_stale_one(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))

    async def scene(bench: Bench) -> None:
        modes.append(mode_of(path))
        await bench.connect()

    modes: list[int] = []
    play(path, scene)
    assert modes == [0o600]
    assert not path.exists()


def test_a_path_too_long_for_a_socket_is_named(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 120)

    async def scene(bench: Bench) -> None: ...

    with pytest.raises(LinkUnusable, match="longer than"):
        play(path, scene)
    assert list(tmp_path.iterdir()) == []
