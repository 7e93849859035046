"""A real switch in a corner of loopback, with a customer, a vendor and traps: what the tests here stand on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from config.settings import Journal, Limits, Listener, Settings, Sip, Timers, Trace
from sipp_scenarios.places import PORT, Place
from sipp_scenarios.prices import compile_decks
from sipp_scenarios.switch_process import SwitchProcess
from sipp_scenarios.traps import Trap, free_loopback_block
from switch.records import Cdr
from switch.snapshot import Record, Snapshot
from tests.e2e.peer import Address, Dialog, Peer, message

ALIVE_S = 1.0


class Bench:
    """One switch, its customer at `customer`, its vendor at `vendor`; `stranger` is nobody's address."""

    def __init__(
        self,
        folder: Path,
        *,
        timers: Timers | None = None,
        limits: Limits | None = None,
        allow_loopback: bool = True,
        drain_s: float = 0.5,
        unknown_source: Literal["refuse", "silence"] = "refuse",
        records: Callable[[Place], list[Record]] = Place.records,
    ) -> None:
        block = free_loopback_block()
        self.place = Place(block, 1, 1)
        self.switch: Address = self.place.switch
        self.customer: Address = self.place.caller
        self.vendor: Address = self.place.vendors[0]
        self.stranger: Address = self.place.stranger
        self.second_stranger: Address = self.place.other(67)
        self.trap = Trap(*self.place.trap)
        self._runner = asyncio.Runner()
        compile_decks(folder)
        settings = Settings(
            sip=Sip(
                listeners=tuple(Listener(transport=kind, host=self.switch[0], port=PORT) for kind in ("udp", "tcp")),
                allow_loopback=allow_loopback,
                unknown_source=unknown_source,
            ),
            timers=timers or Timers(t1_ms=200, t2_ms=800, t4_ms=1_000),
            limits=limits or Limits(),
            journal=Journal(sync="os"),
            drain_s=drain_s,
            trace=Trace(ring_bytes=4_194_304),
        )
        snapshot = Snapshot(version=1, records=tuple(records(self.place)))
        self._process = SwitchProcess(folder, settings, snapshot)
        self._runner.run(self._process.start())

    def peer(self, at: Address, transport: str = "udp") -> Peer:
        return Peer(at, self.switch, transport=transport)

    def call(self, peer: Peer, number: str = "442071000001", *, uri: str = "") -> Dialog:
        return Dialog(peer, number, uri=uri)

    def assert_alive(self) -> None:
        """An OPTIONS from nobody is answered within a second, and nothing was logged as a traceback."""
        with self.peer((self.place.other(88)[0], 0)) as prober:
            dialog = Dialog(prober, "", uri=f"sip:{self.switch[0]}:{PORT}")
            began = time.monotonic()
            prober.send(dialog.request("OPTIONS", 1, dialog.branch))
            assert prober.wait_for_final("OPTIONS", ALIVE_S).status == 200
            assert time.monotonic() - began < ALIVE_S
        assert "Traceback" not in self.log(), self.log()[-3000:]

    def assert_clean(self, vendor: Peer | None = None, cdrs: int = 0) -> None:
        """Alive, no CDR beyond those, nothing at the trap, nothing at the vendor."""
        self.assert_alive()
        assert len(self.cdrs()) == cdrs
        assert self.trap.listen() == []
        if vendor is not None:
            assert vendor.drain(0.2) == []

    def cdrs(self, count: int = 0, within_s: float = 3.0) -> list[Cdr]:
        """All CDRs so far, once there are so many (or the time is over)."""
        ends = time.monotonic() + within_s
        while len(self._process.read_cdrs()) < count and time.monotonic() < ends:
            time.sleep(0.02)
        return list(self._process.cdrs)

    def cdr_of(self, dialog: Dialog, within_s: float = 3.0) -> Cdr:
        """The one CDR of that call."""
        ends = time.monotonic() + within_s
        while time.monotonic() < ends:
            found = [cdr for cdr in self._process.read_cdrs() if cdr.call_id == dialog.call_id]
            if found:
                assert len(found) == 1, found
                return found[0]
            time.sleep(0.02)
        raise AssertionError(f"no CDR for {dialog.call_id}")

    def log(self) -> str:
        return self._process.log()

    def terminate(self) -> None:
        """SIGTERM, and back once the switch drains."""
        self._process.terminate()
        ends = time.monotonic() + ALIVE_S
        while "draining" not in self.log() and time.monotonic() < ends:
            time.sleep(0.01)

    def close(self) -> None:
        try:
            assert self._runner.run(self._process.stop()) == 0, self.log()[-3000:]
            assert "Traceback" not in self.log(), self.log()[-3000:]
        finally:
            self.trap.close()
            self._runner.close()


def options_to(switch: Address, here: Address, serial: int, transport: str = "UDP") -> str:
    """A probe that differs by its serial."""
    return message(
        [
            f"OPTIONS sip:{switch[0]}:{switch[1]} SIP/2.0",
            f"Via: SIP/2.0/{transport} {here[0]}:{here[1]};branch=z9hG4bK-probe-{serial}-{time.monotonic_ns()};rport",
            "Max-Forwards: 70",
            f"From: <sip:probe@{here[0]}>;tag=probe{serial}",
            f"To: <sip:{switch[0]}:{switch[1]}>",
            f"Call-ID: probe-{serial}-{time.monotonic_ns()}@{here[0]}",
            "CSeq: 1 OPTIONS",
        ]
    )
