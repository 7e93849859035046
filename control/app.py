"""The control process put together: store, link to the switch, journal reading, schedules, API.

Order matters at both ends. At the start the port is taken and the schema brought up before anything
else can answer; at the end the API closes first, then what is left in the journal is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import signal
import socket
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

import structlog
import uvicorn
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from config.settings import Settings
from control.alarms import Alarms
from control.api.app import create_app
from control.example import load_example
from control.ingest import Ingest
from control.link import SwitchLink
from control.places import KEY_FILE, LOCK_FILE, SWITCH_SOCKET, URL_FILE
from control.publish import SwitchPublisher
from control.schedule import Schedule
from control.services import (
    billing_runs,
    client_bills,
    did_schedule,
    minimum_payments,
    recalculation_steps,
    scheduled_changes,
)
from control.services.admin_keys import ensure_first_key
from control.services.alert_watch import AlertWatch
from control.services.context import Context, wall_ms
from control.services.courier import Courier
from control.services.mail import Mailer
from control.services.portal_gate import PortalGate
from control.services.rollups import run as keep_sums
from control.store import postgres
from control.store.claim import Claim, ClaimLost
from control.store.engine import Store, open_store

BACKLOG: Final = 256
SHUTDOWN_S: Final = 3
"""Requests that still run when we are told to end have this long."""
KEEP_ALIVE_S: Final = 30
GC_THRESHOLDS: Final = (50_000, 20, 100)
SWITCH_WAIT_S: Final = 10.0
"""The "ready" line waits this long for the switch."""
STOP_AGAIN_S: Final = 1.0
STORE_WAIT_S: Final = 1.0
"""A database server that is not there at the start is tried that often."""

log = structlog.get_logger("control")


class StartError(Exception):
    """A mistake that no restart mends; the text names what and why."""


class ControlPlane:
    """One control process over one data folder."""

    def __init__(self, settings: Settings, folder: Path, *, with_example: bool = False) -> None:
        self._settings = settings
        self._folder = folder
        self._with_example = with_example
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            StartError: the port, the store or the data folder cannot be used, or is in use.
        """
        with self._taken_folder():
            listening = self._listen()
            store = self._open_store()
            claim = Claim(store)
            try:
                await self._prepare(store, claim)
                self._start(claim.hold(), "claim")
                await self._serve(listening, store)
            finally:
                await claim.close()
                await store.close()
                listening.close()

    @contextlib.contextmanager
    def _taken_folder(self) -> Iterator[None]:
        """The data folder is ours: two readers of one journal, or two schedules, would do things twice."""
        lock = -1
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise StartError(f"{self._folder}: another control process runs on this data folder") from error
        except OSError as error:
            raise StartError(f"{self._folder}: {error.strerror}") from error
        try:
            yield
        finally:
            os.close(lock)

    async def _serve(self, listening: socket.socket, store: Store) -> None:
        link = SwitchLink(self._folder / SWITCH_SOCKET)
        alarms = Alarms(lambda: link.hello.started_ms if link.hello is not None else 0)
        link.handle_event = alarms.note
        publisher = SwitchPublisher(store, link)
        ingest = Ingest(store, link, self._folder / "journal")
        publisher.feed.wait_read = ingest.wait_read
        context = self._context(store, publisher, link, ingest, alarms)
        key_file = self._folder / KEY_FILE
        await ensure_first_key(context, key_file)
        server = _Server(
            uvicorn.Config(
                create_app(context),
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=SHUTDOWN_S,
            )
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
        # Certificates are the switch's: nothing here is read again.
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
        url = _url(listening)
        (self._folder / URL_FILE).write_text(f"{url}\n")
        self._start(link.run(), "link")
        self._start(ingest.run(), "ingest")
        self._start(Schedule(context, publisher).run(), "schedule")
        self._start_services(context)
        self._start(self._announce(server, link, url, key_file), "start")
        try:
            await server.serve(sockets=[listening])
        finally:
            await self._stop()
            await ingest.drain()
            ingest.close()

    async def _announce(self, server: _Server, link: SwitchLink, url: str, key_file: Path) -> None:
        """Load the example where it was asked for, then say that all is ready: what is changed is in force."""
        await server.ready.wait()
        # What is loaded by now stays: the collector need not walk through it at every batch of CDRs,
        # and these make many objects and no cycles.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        try:
            async with asyncio.timeout(SWITCH_WAIT_S):
                await link.wait_connected()
        except TimeoutError:
            log.warning("the switch is not there yet; it gets the configuration when it is")
        if self._with_example:
            await load_example(url, key_file)
        print(f"ready {url} key:{key_file}", flush=True)

    def _context(
        self, store: Store, publisher: SwitchPublisher, link: SwitchLink, ingest: Ingest, alarms: Alarms
    ) -> Context:
        return Context(
            store,
            publisher,
            switch=link,
            data_folder=self._folder,
            realm=self._settings.sip.realm,
            faults=lambda: alarms.faults() + _faults(ingest, publisher),
            alarms=alarms.recent,
            wait_read=ingest.wait_read,
            max_duration_s=self._settings.timers.max_duration_s,
            mail=Mailer(self._settings.mail) if self._settings.mail.host else None,
            portal=PortalGate(self._folder, wall_ms, self._settings.portal),
            billing=self._settings.billing,
            events=self._settings.events,
            raise_alarm=alarms.note,
        )

    def _start_services(self, context: Context) -> None:
        """What happens by itself, each in a task of its own."""
        self._start(keep_sums(context), "sums of calls")
        self._start(context.load.run(), "load")
        self._start(recalculation_steps.run(context), "recalculations")
        self._start(minimum_payments.run(context), "minimum payments")
        self._start(billing_runs.run(context), "billing")
        self._start(client_bills.run(context), "bills of clients")
        self._start(did_schedule.run(context), "DIDs")
        self._start(context.replays.run(), "replays")
        self._start(scheduled_changes.run(context), "scheduled changes")
        self._start(Courier(context).run(), "deliveries")
        self._start(AlertWatch(context).run(), "alerts")

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(_note_end)
        self._tasks.append(task)

    async def _stop(self) -> None:
        # A database driver that is just dropping a broken connection may swallow the word: it is said again.
        running = {task for task in self._tasks if not task.done()}
        while running:
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=STOP_AGAIN_S)

    def _listen(self) -> socket.socket:
        host, port = self._settings.api.host, self._settings.api.port
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, protocol, _, address = found[0]
            listening = socket.socket(family, kind, protocol)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
        except OSError as error:
            raise StartError(f"api {host}:{port}: {error.strerror}") from error
        return listening

    def _open_store(self) -> Store:
        try:
            return open_store(self._store_url)
        except ValueError as error:
            raise StartError(str(error)) from error

    @property
    def _store_url(self) -> str:
        return self._settings.store.url or f"sqlite:///{self._folder / 'tandem.db'}"

    async def _prepare(self, store: Store, claim: Claim) -> None:
        """Make the store ours and of this release. A database server may come up after us: it is waited for."""
        is_told = False
        while True:
            try:
                await claim.take()
                await store.migrate()
                return
            except ValueError as error:
                raise StartError(str(error)) from error
            except (SQLAlchemyError, OSError, ClaimLost) as error:
                is_absent = isinstance(error, OperationalError) and postgres.is_absent(error)
                if store.is_sqlite or not is_absent:
                    raise StartError(f"store {postgres.shown(self._store_url)}: {_first_line(error)}") from error
                if not is_told:
                    log.error("the store is waited for", reason=_first_line(error))
                is_told = True
            await asyncio.sleep(STORE_WAIT_S)


def _first_line(error: Exception) -> str:
    return str(error.orig if isinstance(error, DBAPIError) and error.orig else error).splitlines()[0]


class _Server(uvicorn.Server):
    """Uvicorn without its signal handling: this process has its own order of ending."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._stop = asyncio.Event()

    async def main_loop(self) -> None:
        """As uvicorn's, which looks ten times a second whether it shall end; once is enough for the Date header."""
        while not self._stop.is_set():
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stop.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        self.should_exit = True
        self._stop.set()


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _faults(ingest: Ingest, publisher: SwitchPublisher) -> list[str]:
    """What health shows beside who is connected."""
    found = []
    if ingest.state.fault:
        found.append(f"the journal is not read on: {ingest.state.fault}")
    if publisher.refusal:
        found.append(f"the switch refused the configuration: {publisher.refusal}")
    return found + publisher.feed.faults()


def _note_end(task: asyncio.Task[None]) -> None:
    """None of the tasks may end by itself unheard; the whole process is started again then."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("part of the control process failed", part=task.get_name(), exc_info=task.exception())
        signal.raise_signal(signal.SIGTERM)
