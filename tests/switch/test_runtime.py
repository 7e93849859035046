"""The whole process in one loop: start, changes, faults, drain, and starting again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
import uvloop

from config.settings import Journal as JournalSettings
from config.settings import Listener, Settings, Sip, Tls, Trace
from switch import runtime as runtime_module
from switch.configuration import SNAPSHOT_FILE, read_snapshot, write_snapshot
from switch.frames import BookEntries, Entry, PutBalances, PutDelta, PutSnapshot, ReadStats, Stats
from switch.journal import Journal
from switch.journal_read import JournalReader
from switch.records import AccountState, Beat, Checkpoint, Credited, DeltaApplied, JournalRecord
from switch.recovered import Recovered
from switch.runtime import CannotStart, Runtime
from switch.snapshot import Customer, Delta, Gateway, Snapshot
from tests.fakes.certificates import Authority
from tests.fakes.control_client import ControlClient
from tests.fakes.echo_engine import EchoEngine
from tests.fakes.waiting import until

CUSTOMER = Customer(id=1, name="Acme", status="active")
GATEWAY = Gateway(id=5, provider_id=1, host="192.0.2.1")


def settings_for(*transports: str, port: int = 0, drain_s: float = 0.0) -> Settings:
    listeners = tuple(Listener(transport=kind, host="127.0.0.1", port=port) for kind in transports)  # type: ignore[arg-type]
    return Settings(
        sip=Sip(listeners=listeners), journal=JournalSettings(sync="os"), trace=Trace(ring_bytes=0), drain_s=drain_s
    )


class Bench:
    def __init__(self, data: Path, settings: Settings, snapshot: Path | None = None) -> None:
        self.data = data
        self.engine = EchoEngine()
        self.listeners: tuple[Listener, ...] = ()
        self.decks = Path()
        self.runtime = Runtime(settings, data, self._make, snapshot=snapshot)

    def _make(self, settings: Settings, listeners: tuple[Listener, ...], decks: Path) -> EchoEngine:
        self.listeners, self.decks = listeners, decks
        return self.engine

    async def control(self) -> ControlClient:
        return await ControlClient.connect(self.data / "switch.sock")


Scene = Callable[[Bench], Awaitable[None]]


def play(data: Path, scene: Scene, settings: Settings | None = None, snapshot: Path | None = None) -> Bench:
    async def main() -> Bench:
        bench = Bench(data, settings or settings_for("udp"), snapshot)
        await bench.runtime.start()
        running = asyncio.create_task(bench.runtime.run())
        try:
            await scene(bench)
        finally:
            bench.runtime.stop()
            await asyncio.wait_for(running, 10.0)
        return bench

    return uvloop.run(main())


def read_journal(data: Path) -> list[JournalRecord]:
    return [record for _, record in JournalReader(data / "journal").read()]


def write_journal(data: Path, records: list[JournalRecord]) -> None:
    """As a process that was killed leaves it."""
    journal = Journal.open(data / "journal", JournalSettings(sync="os"), lambda reason: None)
    journal.append(records)
    journal.close()


async def nothing(bench: Bench) -> None: ...


def test_listeners_on_port_0_are_known_to_the_engine_by_their_real_ports(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        assert all(listener.port for listener in bench.listeners)
        assert bench.runtime.addresses() == [f"{each.transport}:127.0.0.1:{each.port}" for each in bench.listeners]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.setblocking(False)
            peer.connect(("127.0.0.1", bench.listeners[0].port))
            peer.send(b"OPTIONS")
            assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(peer, 100), 5.0) == b"OPTIONS"

    play(tmp_path, scene, settings_for("udp", "tcp"))


def test_what_control_sent_is_there_at_the_next_start_without_it(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        control = await bench.control()
        assert control.hello.snapshot_version == 0
        await control.ask(PutSnapshot(id=1, snapshot=Snapshot(version=3, records=(CUSTOMER,))))
        await control.ask(PutDelta(id=2, delta=Delta(version=4, put=(GATEWAY,))))
        assert bench.engine.targets[5][0].ip == "192.0.2.1"

    play(tmp_path, scene)
    assert read_snapshot(tmp_path / SNAPSHOT_FILE) == Snapshot(version=4, records=(CUSTOMER, GATEWAY))

    async def again(bench: Bench) -> None:
        assert bench.engine.snapshots == [Snapshot(version=4, records=(CUSTOMER, GATEWAY))]
        assert bench.engine.targets[5][0].ip == "192.0.2.1"
        assert (await bench.control()).hello.snapshot_version == 4

    play(tmp_path, again)


def test_a_change_that_was_acknowledged_is_in_force_after_a_death_before_it_was_saved(tmp_path: Path) -> None:
    older = Snapshot(version=3, records=(CUSTOMER,))
    renamed = msgspec.structs.replace(CUSTOMER, name="Renamed")
    deltas = [Delta(version=4, put=(GATEWAY,)), Delta(version=5, put=(renamed,))]
    write_snapshot(tmp_path / SNAPSHOT_FILE, older.version, older.records)
    write_journal(tmp_path, [DeltaApplied(3, 1), *(DeltaApplied(each.version, 1, each) for each in deltas)])

    async def scene(bench: Bench) -> None:
        assert (await bench.control()).hello.snapshot_version == 5
        assert bench.engine.snapshots == [older]
        assert bench.engine.deltas == deltas

    play(tmp_path, scene)
    assert read_snapshot(tmp_path / SNAPSHOT_FILE) == Snapshot(version=5, records=(renamed, GATEWAY))


def test_a_change_that_does_not_follow_on_the_saved_configuration_waits_for_control(tmp_path: Path) -> None:
    write_snapshot(tmp_path / SNAPSHOT_FILE, 3, (CUSTOMER,))
    write_journal(tmp_path, [DeltaApplied(5, 1, Delta(version=5, put=(GATEWAY,)))])

    async def scene(bench: Bench) -> None:
        assert (await bench.control()).hello.snapshot_version == 3
        assert bench.engine.deltas == []

    play(tmp_path, scene)


def test_a_broken_saved_snapshot_does_not_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / SNAPSHOT_FILE).write_bytes(b"rubbish")

    async def scene(bench: Bench) -> None:
        assert (await bench.control()).hello.snapshot_version == 0

    play(tmp_path, scene)


def test_a_file_named_by_hand_must_be_right(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text("{}")
    with pytest.raises(CannotStart, match=r"mine\.json"):
        play(tmp_path / "data", nothing, snapshot=file)


def test_decks_begin_beside_the_file_named_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "work" / "mine.msgpack"
    file.parent.mkdir()
    write_snapshot(file, 7, (CUSTOMER,))
    bench = play(tmp_path / "data", nothing, snapshot=file)
    assert bench.decks == tmp_path / "work"
    assert bench.engine.snapshots[0].version == 7
    assert not (tmp_path / "data" / SNAPSHOT_FILE).exists()


def test_what_the_engine_records_is_in_the_journal(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        bench.engine.records.append(DeltaApplied(9, 1))
        control = await bench.control()
        await control.ask(ReadStats(id=1))
        reply = await control.ask(ReadStats(id=2))
        stats = msgspec.msgpack.decode(reply.result, type=Stats)
        assert stats.gauges["journal_sequence"] > 0
        assert (stats.gauges["journal_segments"], stats.gauges["journal_segments_needed"]) == (1, 1)

    play(tmp_path, scene)
    assert DeltaApplied(9, 1) in read_journal(tmp_path)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_port_in_use_names_the_listener(tmp_path: Path, transport: str) -> None:
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if transport == "tcp":
            other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CannotStart, match=f"listener {transport}:127.0.0.1:{port}: Address already in use"):
            play(tmp_path, nothing, settings_for(transport, port=port))
    play(tmp_path, nothing, settings_for(transport, port=port))  # the failed start holds nothing


def test_a_second_start_on_the_same_ports_works_at_once(tmp_path: Path) -> None:
    ports: list[int] = []

    async def scene(bench: Bench) -> None:
        ports.append(bench.listeners[0].port)
        _, writer = await asyncio.open_connection("127.0.0.1", ports[0])
        writer.write(b"\r\n\r\n")
        await asyncio.sleep(0.05)

    play(tmp_path, scene, settings_for("tcp"))
    play(tmp_path, scene, settings_for("tcp", port=ports[0]))


def test_two_switches_cannot_share_a_data_folder(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        other = Bench(tmp_path, settings_for("udp"))
        with pytest.raises(CannotStart, match="another switch"):
            await other.runtime.start()

    play(tmp_path, scene)


def test_sigterm_without_calls_ends_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path, settings_for("udp", drain_s=60.0))
        await bench.runtime.start()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(bench.runtime.run(), 5.0)
        assert bench.engine.is_draining

    uvloop.run(main())


def test_sigterm_waits_for_calls_and_ends_those_that_outlive_it(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path, settings_for("udp", drain_s=0.3))
        await bench.runtime.start()
        bench.engine.calls = ["short", "long"]
        running = asyncio.create_task(bench.runtime.run())
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: bench.engine.is_draining)
        assert bench.engine.ended == []
        bench.engine.calls.remove("short")
        await asyncio.wait_for(running, 5.0)
        assert bench.engine.ended == ["long"]

    uvloop.run(main())


def test_a_second_sigterm_does_not_wait(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path, settings_for("udp", drain_s=60.0))
        await bench.runtime.start()
        bench.engine.calls = ["long"]
        running = asyncio.create_task(bench.runtime.run())
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: bench.engine.is_draining)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(running, 5.0)

    uvloop.run(main())


def test_sighup_changes_nothing_for_calls(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        bench.engine.calls = ["up"]
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.02)
        assert bench.engine.calls == ["up"]
        bench.engine.calls = []

    play(tmp_path, scene)


def test_a_new_certificate_is_served_on_sighup_and_open_connections_stay(tmp_path: Path) -> None:
    authority = Authority()
    root = authority.write_root(tmp_path / "root.pem")
    certificate, key = authority.issue(tmp_path, "us")
    tls = Tls(certificate=str(certificate), private_key=str(key))
    message = b"OPTIONS sip:us SIP/2.0\r\nContent-Length: 0\r\n\r\n"

    async def scene(bench: Bench) -> None:
        async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter, object]:
            context = ssl.create_default_context(cafile=root)
            port = bench.listeners[0].port
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="us")
            return reader, writer, writer.get_extra_info("peercert")["serialNumber"]

        reader, writer, before = await connect()
        key.write_bytes(b"broken")
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.02)
        assert (await connect())[2] == before
        authority.issue(tmp_path, "us")
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.02)
        assert (await connect())[2] != before
        writer.write(message)
        assert await asyncio.wait_for(reader.readexactly(len(message)), 5.0) == message

    play(tmp_path, scene, msgspec.structs.replace(settings_for("tls"), tls=tls))


def test_a_certificate_replaced_on_disk_is_taken_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_module, "TICK_S", 0.02)
    authority = Authority()
    certificate, key = authority.issue(tmp_path, "us")
    tls = Tls(certificate=str(certificate), private_key=str(key))

    async def scene(bench: Bench) -> None:
        certificates = bench.runtime._certificates
        before = certificates.server()
        authority.issue(tmp_path, "us")
        await until(lambda: certificates.server() is not before)

    play(tmp_path, scene, msgspec.structs.replace(settings_for("tls"), tls=tls))


def test_a_full_disk_stops_new_calls_until_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_module, "TICK_S", 0.02)

    async def scene(bench: Bench) -> None:
        control = await bench.control()
        real = os.write
        with monkeypatch.context() as patch:
            # Only what begins like a record or a segment: the loop writes to its own pipes too.
            patch.setattr(os, "write", lambda fd, data: 0 if data[:2] in (b"\xd7T", b"TN") else real(fd, data))
            bench.engine.records.append(DeltaApplied(1, 1))
            await control.ask(ReadStats(id=1))
            await until(lambda: bench.engine.store_failure)
            alarm = await control.hear()
            assert alarm.name == "journal_failed"
            assert "No space left" in alarm.detail
            later = await bench.control()
            assert (await later.hear()).name == "journal_failed"
        await until(lambda: not bench.engine.store_failure)
        assert (await later.hear()).name == "journal_recovered"

    play(tmp_path, scene)
    assert DeltaApplied(1, 1) in read_journal(tmp_path)


def test_records_that_memory_does_not_hold_are_an_alarm_that_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_module, "TICK_S", 0.02)
    monkeypatch.setattr("switch.journal.SPOOL_BYTES_MAX", 80)

    async def scene(bench: Bench) -> None:
        control = await bench.control()
        real = os.write
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda fd, data: 0 if data[:2] in (b"\xd7T", b"TN") else real(fd, data))
            bench.engine.records += [DeltaApplied(version, 1) for version in range(20)]
            await control.ask(ReadStats(id=1))
            assert (await control.hear()).name == "journal_failed"
            alarm = await control.hear()
            assert alarm.name == "records_lost"
            assert alarm.detail.startswith("12 ")
        assert (await control.hear()).name == "journal_recovered"
        later = await bench.control()
        assert (await later.hear()).name == "records_lost"

    play(tmp_path, scene)


def test_the_engine_is_kept_on_wall_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_module, "TICK_S", 0.01)

    async def scene(bench: Bench) -> None:
        await until(lambda: bench.engine.wall_offset_s > 1e9)

    play(tmp_path, scene)


def test_balances_come_back_from_the_journal_and_are_asked_for_once(tmp_path: Path) -> None:
    async def first(bench: Bench) -> None:
        control = await bench.control()
        assert control.hello.entry_id is None
        refused = await control.ask(BookEntries(id=1, entries=(Entry(1, 1, 5),)))
        assert refused.error == "there are no balances yet"
        assert not (await control.ask(PutBalances(id=2, entry_id=7, balances={1: 500}))).error
        assert not (await control.ask(BookEntries(id=3, entries=(Entry(8, 1, 20),)))).error
        assert (await control.ask(PutBalances(id=4, entry_id=7, balances={1: 500}))).error

    play(tmp_path, first)

    async def again(bench: Bench) -> None:
        assert (await bench.control()).hello.entry_id == 8
        assert bench.engine.balances == {1: 520}
        assert bench.engine.recovered is not None
        assert bench.engine.recovered.findings == []
        assert bench.engine.recovered.boot_id == bench.engine.boot_id != ""

    play(tmp_path, again)
    play(tmp_path, again)


def test_a_run_begins_with_a_checkpoint_whatever_the_engine_says_first(tmp_path: Path) -> None:
    def first_records() -> list[JournalRecord]:
        return read_journal(tmp_path)[:2]

    file = tmp_path / "mine.msgpack"
    write_snapshot(file, 7, (CUSTOMER,))
    play(tmp_path, nothing, snapshot=file)
    checkpoint = first_records()[0]
    assert isinstance(checkpoint, Checkpoint)
    assert (checkpoint.has_balances, checkpoint.oldest_segment) == (False, 1)


def test_what_the_engine_says_to_its_configuration_comes_behind_what_was_recovered() -> None:
    recovered = Recovered()
    recovered.has_balances, recovered.entry_id, recovered.accounts = True, 4, [AccountState(1, 50)]
    of_file = Checkpoint(at_ms=0, boot_id="b", entry_id=0, accounts=(), oldest_segment=0)
    restored = Checkpoint(at_ms=0, boot_id="b", entry_id=4, accounts=(AccountState(1, 50),), oldest_segment=0)
    delta, beat = DeltaApplied(1, 1), Beat(1.0)
    opening = runtime_module.opening_of
    assert opening(recovered, [of_file, delta], [restored, beat], "b") == [restored, beat, delta]
    # An engine that ends calls before it says what there is: what there was stands before it.
    first, *others = opening(recovered, [delta], [beat], "b")
    assert isinstance(first, Checkpoint)
    assert (first.entry_id, first.accounts, first.has_balances) == (4, (AccountState(1, 50),), True)
    assert others == [beat, delta]


def test_damage_in_the_journal_is_an_alarm_that_stands(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        control = await bench.control()
        await control.ask(PutBalances(id=1, entry_id=7, balances={1: 500}))
        await control.ask(BookEntries(id=2, entries=(Entry(8, 1, 20),)))
        await control.ask(BookEntries(id=3, entries=(Entry(9, 1, 20),)))

    play(tmp_path, scene)
    segment = tmp_path / "journal" / "00000001.tj"
    data = bytearray(segment.read_bytes())
    data[data.index(b"credited") + 3] ^= 1
    segment.write_bytes(data)

    async def again(bench: Bench) -> None:
        for _ in range(2):
            control = await bench.control()
            alarm = await control.hear()
            assert alarm.name == "journal_damaged"
            assert f"{segment}: offset " in alarm.detail
            assert (await control.ask(ReadStats(id=1))).error == ""  # one alarm, no more
        assert bench.engine.balances == {1: 520}

    play(tmp_path, again)


def test_no_money_moves_while_the_journal_takes_no_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_module, "TICK_S", 0.02)

    async def scene(bench: Bench) -> None:
        control = await bench.control()
        await control.ask(PutBalances(id=1, entry_id=7, balances={1: 500}))
        real = os.write
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda fd, data: 0 if data[:2] in (b"\xd7T", b"TN") else real(fd, data))
            # The write that fails is the entry's own: it must not be said to be kept.
            reply = await control.ask(BookEntries(id=2, entries=(Entry(8, 1, 20),)))
            assert reply.error.startswith("not known to be kept: journal write failed: No space left")
            assert (await control.hear()).name == "journal_failed"
            reply = await control.ask(BookEntries(id=3, entries=(Entry(8, 1, 20), Entry(9, 1, 4))))
            assert reply.error.startswith("no money is moved: journal write failed")
            assert bench.engine.balances == {1: 520}
        assert (await control.hear()).name == "journal_recovered"
        assert (await control.ask(BookEntries(id=4, entries=(Entry(9, 1, 4),)))).error == ""

    play(tmp_path, scene)
    assert [record for record in read_journal(tmp_path) if isinstance(record, Credited)] == [
        Credited(8, 1, 20),
        Credited(9, 1, 4),
    ]


def test_the_engine_is_asked_for_a_beat_and_to_keep_its_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_module, "TICK_S", 0.01)
    settings = msgspec.structs.replace(
        settings_for("udp"), journal=JournalSettings(sync="os", segment_bytes=300), drain_calls="keep"
    )

    async def scene(bench: Bench) -> None:
        bench.engine.calls = ["up"]
        await until(lambda: bench.engine.rounds >= 3)
        assert bench.runtime._journal.needed_from > 1
        bench.engine.calls = []

    play(tmp_path, scene, settings)
    assert sum(isinstance(record, Beat) for record in read_journal(tmp_path)) > 3


@pytest.mark.parametrize(("state", "ended"), [("answered", []), ("ringing", ["long"])])
def test_sigterm_leaves_answered_calls_up_for_the_next_process_if_so_set(
    tmp_path: Path, state: str, ended: list[str]
) -> None:
    async def main() -> None:
        settings = msgspec.structs.replace(settings_for("udp", drain_s=0.3), drain_calls="keep")
        bench = Bench(tmp_path, settings)
        await bench.runtime.start()
        bench.engine.calls, bench.engine.state = ["long"], state
        running = asyncio.create_task(bench.runtime.run())
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(running, 5.0)
        assert bench.engine.is_draining
        assert bench.engine.ended == ended

    uvloop.run(main())
