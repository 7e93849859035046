"""Puts the data plane together and keeps it running: settings, sockets, engine, journal, control socket.

It starts and works with the control plane dead: the last snapshot is a file of its own. What was up when the
process before ended comes back from its journal, before a listener reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import resource
import signal
import time
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import structlog

from config.settings import Listener, Settings
from switch.build import is_compiled
from switch.commands import Asked, Commands
from switch.configuration import SNAPSHOT_FILE, Configuration, SnapshotUnusable, read_snapshot
from switch.drain import drain
from switch.frames import Answer, Hello, Stats
from switch.journal import Journal, JournalFailed
from switch.keeping import Keeping
from switch.link import LinkServer, LinkUnusable
from switch.lookup import Lookup
from switch.outputs import Alarm, Event, Outputs, Target
from switch.pump import Pump
from switch.records import Checkpoint, JournalRecord
from switch.recovered import Recovered
from switch.registrations import REGISTRATIONS_FILE, Registration, RegistrationFile
from switch.replay import replay
from switch.resolver import Resolver
from switch.ring import Ring
from switch.ring_format import RING_FILE
from switch.saver import SnapshotSaver
from switch.shell_stats import add_shell_stats
from switch.snapshot import Customer, Delta, Snapshot
from switch.stream import Connections, StreamListener
from switch.tap import Tap, Told
from switch.tls import Certificates, TlsUnusable
from switch.udp import UdpListener

TICK_S: Final = 1.0
ALARMS_MAX: Final = 64
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

log = structlog.get_logger("switch.runtime")


class CannotStart(Exception):
    """A mistake that no restart mends; the text names what and why."""


class RunnableEngine(Asked, Protocol):
    """The whole of the engine."""

    boot_id: str

    @property
    def layer(self) -> Told: ...
    def set_targets(self, gateway_id: int, targets: list[Target]) -> None: ...
    def set_wall_offset(self, offset_s: float) -> None: ...
    def set_draining(self) -> None: ...
    def store_failed(self, reason: str) -> None: ...
    def store_recovered(self) -> None: ...
    def live_calls(self) -> int: ...
    def restore(self, recovered: Recovered, now: float) -> None: ...
    def checkpoint(self, now: float) -> Checkpoint: ...
    def begin_keeping(self) -> None: ...
    def keep_calls(self, count_max: int) -> bool: ...
    def beat(self, now: float) -> None: ...
    def restore_registrations(self, registrations: list[Registration], now: float) -> None: ...
    def registrations(self, now: float) -> list[Registration]: ...


MakeEngine = Callable[[Settings, tuple[Listener, ...], Path], RunnableEngine]
"""Settings, the listeners with their real ports, and the folder where relative deck paths begin."""


class Runtime:
    """One switch process. `start` returns when every listener reads; `run` when the switch has ended."""

    def __init__(
        self,
        settings: Settings,
        data: Path,
        make_engine: MakeEngine,
        *,
        beside: Path | None = None,
        snapshot: Path | None = None,
    ) -> None:
        """`beside` is where relative paths of the settings begin; `snapshot` a file to run on, alone."""
        self.listeners: list[UdpListener | StreamListener] = []
        self._settings = settings
        self._data = data
        self._make_engine = make_engine
        self._snapshot = snapshot
        self._beside = beside or Path.cwd()
        self._configuration = Configuration()
        self._started_ms = time.time_ns() // 1_000_000
        self._alarms: dict[str, Alarm] = {}
        self._stop = asyncio.Event()
        self._saver = SnapshotSaver(self._configuration, data / SNAPSHOT_FILE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_draining = False
        self._lost = 0
        """Records that are known to be lost, since memory had no room for them."""
        self._half_open: list[Callable[[], None]] = []
        """What a start that fails has to close again."""
        self._lock_fd = -1

    async def start(self) -> None:
        """Bind, load, listen.

        Raises:
            CannotStart: a listener, a file or the folder cannot be used; everything is closed again.
        """
        try:
            await self._start()
        except (JournalFailed, LinkUnusable, TlsUnusable, SnapshotUnusable) as error:
            self._release()
            raise CannotStart(str(error)) from error
        except CannotStart:
            self._release()
            raise

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT has drained the calls, or `stop` was called."""
        await self._stop.wait()
        await self._close()

    def stop(self) -> None:
        self._stop.set()

    def addresses(self) -> list[str]:
        """`udp:127.0.0.1:5060`, by listener."""
        return [_written(listener) for listener in self._bound]

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        _raise_files_limit()
        self._take_folder()
        snapshot = self._read_snapshot()
        self._certificates = Certificates(self._settings.tls, self._beside)
        self._connections = Connections(self._settings.limits, self._settings.tls, self._certificates)
        self._bind()
        decks = self._snapshot.resolve().parent if self._snapshot is not None else self._data
        self._engine = self._make_engine(self._settings, self._bound, decks)
        self._engine.boot_id = read_boot_id()
        recovered, outputs = self._take_over(snapshot)
        self._registrations = RegistrationFile(self._data / REGISTRATIONS_FILE)
        now_ms = time.time_ns() // 1_000_000
        self._engine.restore_registrations(self._registrations.read(now_ms), time.monotonic())
        self._half_open.append(self._registrations.close)
        self._journal = Journal.open(
            self._data / "journal",
            self._settings.journal,
            self._tell_journal_failed,
            checkpoint=lambda: self._engine.checkpoint(time.monotonic()),
            opening=outputs.records,
        )
        self._half_open.append(self._journal.close)
        self._tap = self._open_tap()
        self._pump = Pump(self._engine, self._journal, loop, self._tap)
        self._keeping = Keeping(self._engine, self._journal, lambda: self._pump.flush(time.monotonic()))
        self._pump.handle_event = self._handle_event
        self._pump.handle_registrations = self._registrations.append
        self._pump.transports = list(self.listeners)
        self._resolver = Resolver(self._lookup(), self._set_targets)
        self._half_open += [self._pump.close, self._resolver.close]
        self._commands = Commands(
            self._engine,
            self._pump,
            self._configuration,
            self._handle_changed,
            self._drop_ingested,
            self._add_stats,
            lambda: self._journal.failure,
        )
        self._link = LinkServer(self._data / "switch.sock", self._greet, self._commands.handle)
        for finding in dict.fromkeys([*recovered.findings, *self._journal.findings]):
            self._raise_alarm("journal_damaged", finding)
        self._resolver.set_gateways(self._configuration.gateways())
        await self._link.start()
        for listener in self.listeners:
            if isinstance(listener, UdpListener):
                listener.start(self._pump, loop)
            else:
                await listener.start(self._pump, loop)
        self._pump.carry(Outputs([], outputs.sends, outputs.events))
        self._pump.flush(time.monotonic())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._begin_drain)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        self._in_background(self._tick())
        self._in_background(self._saver.run())
        log.info(
            "switch runs", listeners=self.addresses(), compiled=is_compiled(), snapshot=self._configuration.version
        )

    def _open_tap(self) -> Tap | None:
        """Keeping messages is worth less than taking calls: without room for them there are none."""
        trace, path = self._settings.trace, self._data / RING_FILE
        if not trace.ring_bytes:
            path.unlink(missing_ok=True)
            return None
        try:
            ring = Ring(path, trace.ring_bytes)
        except OSError as error:
            log.error("no messages of calls are kept", path=str(path), reason=error.strerror)
            return None
        return Tap(self._engine, self._engine.layer, ring, trace.strangers_per_second)

    def _take_folder(self) -> None:
        """Make the data folder ours: two writers would mix their journals."""
        try:
            self._data.mkdir(parents=True, exist_ok=True)
            self._lock_fd = os.open(self._data / "switch.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotStart(f"{self._data}: another switch runs on this data folder") from error
        except OSError as error:
            raise CannotStart(f"{self._data}: {error.strerror}") from error

    def _read_snapshot(self) -> Snapshot | None:
        if self._snapshot is not None:
            snapshot = read_snapshot(self._snapshot)
            # Nobody else will ever say what its customers have.
            return snapshot if snapshot.balances is not None else msgspec.structs.replace(snapshot, balances={})
        path = self._data / SNAPSHOT_FILE
        if not path.exists():
            return None
        try:
            return read_snapshot(path)
        except SnapshotUnusable as error:
            log.error("saved snapshot not used; calls are refused until the control plane sends one", reason=str(error))
            return None

    def _load(self, snapshot: Snapshot) -> None:
        try:
            self._engine.load(snapshot)
        except Exception as error:
            if self._snapshot is not None:
                raise CannotStart(f"{self._snapshot}: {error}") from error
            log.exception("saved snapshot not used; calls are refused until the control plane sends one")
            return
        self._configuration.replace(snapshot)

    def _catch_up(self, deltas: list[Delta]) -> None:
        """Changes that were in force, and acknowledged, when the file did not have them yet."""
        for delta in deltas:
            if delta.version <= self._configuration.version:
                continue
            if delta.version != self._configuration.version + 1:
                return  # a whole snapshot came between: control has to send it again
            try:
                self._engine.apply(delta)
            except Exception:
                log.exception("change of the configuration not taken up again", version=delta.version)
                return
            self._configuration.apply(delta)
            self._saver.note_change()

    def _take_over(self, snapshot: Snapshot | None) -> tuple[Recovered, Outputs]:
        """Bring the engine to where the process before was ended; what it has to say, to be written first.

        Nothing has been written by then: a start that is cut short leaves all as it found it.
        """
        began = time.monotonic()
        customers = [] if snapshot is None else [each for each in snapshot.records if isinstance(each, Customer)]
        try:
            recovered = replay(self._data / "journal", {customer.id: customer.time_zone for customer in customers})
        except OSError as error:
            raise CannotStart(f"journal folder {self._data / 'journal'}: {error.strerror}") from error
        if snapshot is not None:
            self._load(snapshot)
            if self._snapshot is None:
                self._catch_up(recovered.deltas)
        loaded = self._engine.take_outputs()
        self._engine.restore(recovered, time.monotonic())
        restored = self._engine.take_outputs()
        if recovered.records:
            log.info(
                "journal replayed",
                records=recovered.records,
                calls=len(recovered.calls),
                has_balances=recovered.has_balances,
                entry_id=recovered.entry_id,
                took_ms=round((time.monotonic() - began) * 1_000),
            )
        records = opening_of(recovered, loaded.records, restored.records, self._engine.boot_id)
        return recovered, Outputs(records, [*loaded.sends, *restored.sends], [*loaded.events, *restored.events])

    def _bind(self) -> None:
        bound: list[Listener] = []
        for index, listener in enumerate(self._settings.sip.listeners):
            made: UdpListener | StreamListener
            try:
                if listener.transport == "udp":
                    made = UdpListener(index, listener, self._settings.limits.datagram_bytes_max)
                else:
                    made = StreamListener(index, listener, self._connections)
            except OSError as error:
                name = f"{listener.transport}:{listener.host}:{listener.port}"
                raise CannotStart(f"listener {name}: {error.strerror}") from error
            self.listeners.append(made)
            bound.append(msgspec.structs.replace(listener, port=made.address[1]))
        self._bound = tuple(bound)

    def _lookup(self) -> Lookup:
        versions = frozenset(6 if ":" in listener.host else 4 for listener in self._bound)
        return Lookup(versions)

    def _set_targets(self, gateway_id: int, targets: list[Target]) -> None:
        self._engine.set_targets(gateway_id, targets)
        self._pump.flush_soon()

    def _handle_changed(self, gateway_ids: list[int] | None) -> None:
        self._resolver.push_again(gateway_ids)
        self._resolver.set_gateways(self._configuration.gateways())
        self._saver.note_change()

    def _drop_ingested(self, sequence: int) -> None:
        paths = self._journal.drop_before(sequence)
        if paths:
            self._in_background(asyncio.to_thread(_unlink, paths))

    def _greet(self) -> list[Answer]:
        hello = Hello(
            snapshot_version=self._configuration.version,
            started_ms=self._started_ms,
            is_compiled=is_compiled(),
            journal_sequence=self._journal.last_sequence,
            entry_id=self._engine.entry_id(),
        )
        return [hello, *self._alarms.values()]

    def _handle_event(self, event: Event) -> None:
        if isinstance(event, Alarm):
            log.warning("alarm", name=event.name, detail=event.detail)
        else:
            log.warning(
                "gateway is up" if event.is_up else "gateway is down", gateway=event.gateway_id, reason=event.reason
            )
        self._link.broadcast(event)

    def _tell_journal_failed(self, reason: str) -> None:
        """From whichever thread saw it; the engine hears of it on the loop."""
        self._loop.call_soon_threadsafe(self._journal_failed, reason)

    def _journal_failed(self, reason: str) -> None:
        log.error("no new calls: the journal failed", reason=reason)
        self._engine.store_failed(reason)
        self._raise_alarm("journal_failed", reason)
        self._pump.flush_soon()

    def _raise_alarm(self, name: str, detail: str) -> None:
        """Tell every client now, and those that come later."""
        alarm = self._tell_alarm(name, detail)
        if len(self._alarms) < ALARMS_MAX:
            self._alarms[f"{name} {detail}"] = alarm

    def _tell_alarm(self, name: str, detail: str) -> Alarm:
        alarm = Alarm(name=name, detail=detail, at_ms=time.time_ns() // 1_000_000)
        log.warning("alarm", name=name, detail=detail)
        self._link.broadcast(alarm)
        return alarm

    def _add_stats(self, stats: Stats) -> None:
        add_shell_stats(stats, self.listeners, self._connections, self._journal)
        stats.gauges["gateways_unresolved"] = len(self._resolver.failures)
        stats.gauges["snapshot_version"] = self._configuration.version

    async def _tick(self) -> None:
        has_files = bool(self._settings.tls.certificate or self._settings.tls.ca_file)
        while True:
            await asyncio.sleep(TICK_S)
            self._engine.set_wall_offset(wall_offset_s())
            if self._tap is not None:
                self._tap.wall_offset_s = wall_offset_s()
            now = time.monotonic()
            self._engine.beat(now)
            self._pump.flush(now)
            self._keeping.step()
            if self._registrations.wants_writing:
                await self._registrations.write_anew(self._engine.registrations(now))
            self._tell_lost()
            if has_files and await asyncio.to_thread(self._certificates.has_changed):
                self._certificates.reload()
            if self._journal.failure and self._recover_journal():
                log.warning("the journal takes records again")
                self._alarms = {key: alarm for key, alarm in self._alarms.items() if alarm.name != "journal_failed"}
                self._engine.store_recovered()
                self._tell_alarm("journal_recovered", "the disk has room again; what memory held is written")

    def _tell_lost(self) -> None:
        lost = self._journal.lost
        if lost == self._lost:
            return
        self._lost = lost
        self._alarms = {key: alarm for key, alarm in self._alarms.items() if alarm.name != "records_lost"}
        self._raise_alarm(
            "records_lost", f"{lost} records of the journal, CDRs among them, found no room on disk or in memory"
        )

    def _recover_journal(self) -> bool:
        self._pump.flush(time.monotonic())  # its checkpoint stands behind everything that the engine has said
        return self._journal.recover()

    def _reload(self) -> None:
        """SIGHUP: certificates and name servers are read again; calls notice nothing."""
        self._certificates.reload()
        self._resolver.set_lookup(self._lookup())

    def _begin_drain(self) -> None:
        """SIGTERM: no new calls, exit when the last one has ended; a second one exits now."""
        if self._is_draining:
            self._stop.set()
            return
        self._is_draining = True
        self._in_background(self._drain())

    async def _drain(self) -> None:
        keeps_calls = self._settings.drain_calls == "keep"
        await drain(self._engine, self._pump, self._settings.drain_s, keeps_calls=keeps_calls)
        self._stop.set()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("background work ended", exc_info=task.exception())

    async def _close(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._loop.remove_signal_handler(number)
        for task in list(self._tasks):
            task.cancel()
        self._resolver.close()
        now = time.monotonic()
        self._engine.beat(now)
        self._pump.flush(now)
        for listener in self.listeners:
            listener.close()
        self._pump.flush(time.monotonic())
        self._pump.close()
        await self._link.close()
        self._journal.close()
        self._tell_lost()
        if self._journal.spooled:
            log.error("records of the journal are lost: the disk took none at the end", records=self._journal.spooled)
        self._registrations.close()
        if self._snapshot is None:
            await self._saver.save()
        os.close(self._lock_fd)
        log.info("switch ended", journal_sequence=self._journal.last_sequence)

    def _release(self) -> None:
        """Close what a start that failed has opened."""
        for listener in self.listeners:
            listener.close()
        for close in reversed(self._half_open):
            close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)


def opening_of(
    recovered: Recovered, loaded: list[JournalRecord], restored: list[JournalRecord], boot_id: str
) -> list[JournalRecord]:
    """What the first segment of a run begins with: a checkpoint, then what the engine said at the start.

    Args:
        loaded: what it said to its configuration. Balances from a file are in `restored` if they count.
        restored: what it said to what was recovered.
    """
    records = [*restored, *[record for record in loaded if not isinstance(record, Checkpoint)]]
    if records and isinstance(records[0], Checkpoint):
        return records
    first = Checkpoint(
        at_ms=recovered.last_ms,
        boot_id=boot_id,
        entry_id=recovered.entry_id,
        accounts=tuple(recovered.accounts),
        oldest_segment=0,
        has_balances=recovered.has_balances,
    )
    return [first, *records]


def read_boot_id() -> str:
    """Names this run of the system: its monotonic clock goes on over restarts of the process."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return str(uuid.uuid4())  # then no moment of the process before is taken for one of ours


def _raise_files_limit() -> None:
    """As many descriptors as the system lets us have: connections need more than the usual 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def wall_offset_s() -> float:
    """Wall clock minus monotonic clock."""
    return time.time() - time.monotonic()


def _unlink(paths: list[Path]) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def _written(listener: Listener) -> str:
    host = f"[{listener.host}]" if ":" in listener.host else listener.host
    return f"{listener.transport}:{host}:{listener.port}"
