"""A data plane that may be killed, traced and started again on the same folder and ports.

`Bench` runs one switch well from begin to end; here the ends are violent. Faults are injected with
strace attached to the running process and lifted by detaching it, so that they hit a switch in
full work and nothing in it knows of them (`tests.e2e.faults`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from config.settings import Hold, Journal, Limits, Listener, Liveness, Settings, Sip, Timers, Tls, Trace
from config.writing import as_toml
from sipp_scenarios.places import PORT, TLS_PORT, Place
from sipp_scenarios.prices import compile_decks
from sipp_scenarios.switch_process import ROOT
from sipp_scenarios.traps import free_loopback_block
from switch.frames import Account, JournalIngested, ListCalls, LiveCall, ReadAccounts, ReadStats, Reply, Request, Stats
from switch.journal_read import JournalReader
from switch.records import CallEnded, Cdr
from switch.segments import list_segments
from switch.snapshot import Record, Snapshot
from tests.e2e.faults import fault
from tests.e2e.peer import Address, Dialog, Peer
from tests.fakes.control_client import ControlClient

START_S = 20.0
STOP_S = 20.0
T = TypeVar("T")
QUICK = Timers(t1_ms=200, t2_ms=800, t4_ms=1_000)


class Plane:
    """One folder and the switch on it; `start` may come again after `kill`."""

    def __init__(
        self,
        folder: Path,
        *,
        vendors: int = 1,
        records: Callable[[Place], list[Record]] = Place.records,
        timers: Timers = QUICK,
        limits: Limits | None = None,
        journal: Journal | None = None,
        tls: Tls | None = None,
        drain_s: float = 0.5,
        drain_calls: Literal["end", "keep"] = "end",
        hold: Hold | None = None,
        liveness: Liveness | None = None,
        balance_nanos: int = 0,
        digest_algorithms: tuple[Literal["SHA-512-256", "SHA-256", "MD5"], ...] = ("SHA-512-256", "SHA-256", "MD5"),
    ) -> None:
        self.place = Place(free_loopback_block(), 1, vendors)
        self.switch: Address = self.place.switch
        self.tls_at: Address = (self.switch[0], TLS_PORT)
        self.customer: Address = self.place.caller
        self.vendor: Address = self.place.vendors[0]
        self.stranger: Address = self.place.stranger
        self.folder = folder
        self.data = folder / "data"
        self.process: subprocess.Popen[str] | None = None
        compile_decks(folder)
        listeners = [Listener(transport=kind, host=self.switch[0], port=PORT) for kind in ("udp", "tcp")]
        if tls is not None:
            listeners.append(Listener(transport="tls", host=self.switch[0], port=TLS_PORT))
        settings = Settings(
            sip=Sip(listeners=tuple(listeners), allow_loopback=True, digest_algorithms=digest_algorithms),
            tls=tls or Tls(),
            timers=timers,
            limits=limits or Limits(),
            journal=journal or Journal(sync="os"),
            drain_s=drain_s,
            drain_calls=drain_calls,
            hold=hold or Hold(),
            liveness=liveness or Liveness(),
            trace=Trace(ring_bytes=4_194_304),
        )
        (folder / "tandem.toml").write_text(as_toml(settings))
        self.balance_nanos = balance_nanos
        """What the customer begins with, beside its debit limit."""
        balances = {self.place.base: balance_nanos}
        snapshot = Snapshot(version=1, records=tuple(records(self.place)), balances=balances)
        (folder / "snapshot.json").write_bytes(msgspec.json.encode(snapshot))

    def command(self) -> list[str]:
        flags = ["-P"] if os.environ.get("TANDEM_TEST_COMPILED") == "1" else []
        files = ["--snapshot", "snapshot.json", "--settings", "tandem.toml", "--data", str(self.data)]
        return [sys.executable, *flags, "-m", "switch", *files]

    def environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        if os.environ.get("TANDEM_TEST_COMPILED") == "1":
            environment.pop("PYTHONPATH", None)
        else:
            environment["PYTHONPATH"] = str(ROOT)
        return environment

    def start(self) -> None:
        """Returns when the switch says that it is ready."""
        with (self.folder / "switch.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=subprocess.PIPE, stderr=log, cwd=self.folder, env=self.environment(), text=True
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith("ready"), self.log()[-3000:]

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_S)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def peer(self, at: Address, transport: str = "udp") -> Peer:
        return Peer(at, self.switch, transport=transport)

    def log(self) -> str:
        return (self.folder / "switch.log").read_text(errors="replace")

    def assert_sound(self) -> None:
        """It answers a stranger's OPTIONS, and has not logged a traceback."""
        with self.peer((self.place.other(88)[0], 0)) as prober:
            dialog = Dialog(prober, "", uri=f"sip:{self.switch[0]}:{PORT}")
            prober.send(dialog.request("OPTIONS", 1, dialog.branch))
            assert prober.wait_for_final("OPTIONS").status == 200
        assert "Traceback" not in self.log(), self.log()[-3000:]

    def wait(self, claim: Callable[[], object], what: str, within_s: float = 10.0) -> None:
        ends = time.monotonic() + within_s
        while not claim():
            assert time.monotonic() < ends, f"waited for {what}; the log ends:\n{self.log()[-2000:]}"
            time.sleep(0.02)

    def cdrs(self, after: int = 0) -> list[Cdr]:
        """Every CDR in the journal, read anew from its begin, or after a sequence."""
        reader = JournalReader(self.data / "journal", after)
        found: list[Cdr] = []
        while records := reader.read(1_000):
            found.extend(record.cdr for _, record in records if isinstance(record, CallEnded))
        return found

    def newest_segment(self) -> Path:
        return list_segments(self.data / "journal")[-1].path

    def stats(self) -> Stats:
        """As the control plane reads them."""
        return self.ask(ReadStats(id=1), Stats)

    def account(self) -> Account:
        """The customer's, as the switch has it."""
        return self.ask(ReadAccounts(id=1, customer_ids=(self.place.base,)), list[Account])[0]

    def live_calls(self) -> list[LiveCall]:
        return self.ask(ListCalls(id=1), list[LiveCall])

    def ask(self, request: Request, result: type[T]) -> T:
        """One request on a connection of its own; raises AssertionError where it could not be done."""
        reply = asyncio.run(self._ask(request))
        assert not reply.error, reply.error
        return msgspec.msgpack.decode(reply.result, type=result)

    def refusal(self, request: Request) -> str:
        """Why a request could not be done; empty: it was."""
        return asyncio.run(self._ask(request)).error

    def tell(self, request: JournalIngested) -> None:
        """What has no reply."""
        asyncio.run(self._tell(request))

    async def _tell(self, request: JournalIngested) -> None:
        client = await ControlClient.connect(self.data / "switch.sock")
        client.say(request)
        await client.ask(ReadStats(id=1))  # so that it was read

    async def _ask(self, request: Request) -> Reply:
        client = await ControlClient.connect(self.data / "switch.sock")
        client.say(request)
        while True:
            answer = await client.hear()
            if isinstance(answer, Reply):
                client.writer.close()
                return answer

    def assert_money_is_right(self, cdrs: Sequence[Cdr], calls: int = 0) -> None:
        """The balance is what the customer began with less every charge, and only `calls` live ones hold money."""
        account = self.account()
        assert account.balance_nanos == self.balance_nanos - sum(cdr.gross_nanos for cdr in cdrs)
        assert account.holds == calls
        assert (account.held_nanos > 0) == (calls > 0)

    def standing_alarms(self) -> set[str]:
        """Names of the alarms that a control process hears of when it connects now."""
        return asyncio.run(self._hear_alarms())

    async def _hear_alarms(self) -> set[str]:
        client = await ControlClient.connect(self.data / "switch.sock")
        client.say(ReadStats(id=1))
        names: set[str] = set()
        while True:
            answer = await client.hear()
            if getattr(answer, "id", 0) == 1:
                client.writer.close()
                return names
            names.add(getattr(answer, "name", ""))

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * 4096

    def descriptors(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    def fault(self, inject: str, *paths: Path) -> AbstractContextManager[None]:
        """Let the switch's system calls fail while inside (`tests.e2e.faults`)."""
        return fault(self.pid, self.folder, inject, *paths)
