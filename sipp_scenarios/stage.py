"""One switch with its configuration and all cases that play on it, at once."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from pathlib import Path

from config.settings import Journal, Listener, Settings, Sip, Timers, Tls, Trace
from sipp_scenarios import changes, checks, prices
from sipp_scenarios.case import Case, Played
from sipp_scenarios.places import PORT, TLS_PORT, Place
from sipp_scenarios.scene import Scene
from sipp_scenarios.switch_process import SwitchProcess
from sipp_scenarios.traps import free_ports
from sipp_scenarios.tunnel import Authority
from switch.records import Cdr
from switch.snapshot import Customer, Record, Snapshot

AT_ONCE = 8
"""Cases under way together: SIPp keeps its own times only while it gets processor time."""
CDR_WAIT_S = 5.0
LATE_S = 0.7
"""How long surplus packets and CDRs are waited for once everything seems done."""
GUARD = 250
"""A place that no case has."""


class Result:
    """What came of one case."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.faults: list[str] = []
        self.skipped = ""
        self.took_s = 0.0
        self.played: Played | None = None


class Stage:
    """One switch, and the cases that play on it."""

    def __init__(self, folder: Path, block: int, cases: list[tuple[int, Case]], timers: Timers, host: str) -> None:
        self._folder = folder
        self._block = block
        self._host = host
        self._timers = timers
        self._authority = Authority(folder)
        self._ipv6_ports = tuple(free_ports(4, "::1")) if has_ipv6() else ()
        self._cases = [(case, self._place(case, number)) for number, case in cases]
        self._records = {case.name: self._records_of(case, place) for case, place in self._cases}
        self.switch = SwitchProcess(folder / "switch", self._settings(), self._snapshot())

    async def play(self, results: dict[str, Result]) -> None:
        """Every case of this stage; faults go into `results`."""
        prices.compile_decks(self._folder / "switch")
        await self.switch.start()
        gate = asyncio.Semaphore(AT_ONCE)
        try:
            # Long ones first, so that the whole takes as long as the longest.
            order = sorted(self._cases, key=lambda item: -item[0].timeout_s)
            await asyncio.gather(*(self._play_one(case, place, results[case.name], gate) for case, place in order))
            await asyncio.sleep(LATE_S)
            self._check(results)
        finally:
            exit_code = await self.switch.stop()
        if exit_code or "Traceback" in self.switch.log():
            for case, _ in self._cases:
                results[case.name].faults.append(f"the switch ended with {exit_code}:\n{self.switch.log()[-1500:]}")

    async def _play_one(self, case: Case, place: Place, result: Result, gate: asyncio.Semaphore) -> None:
        if case.is_ipv6 and not has_ipv6():
            result.skipped = "no IPv6 on this machine's loopback"
            return
        async with gate:
            began = time.monotonic()
            scene = Scene(case, place, self._folder / case.name, self._authority)
            try:
                result.faults += await scene.play()
            finally:
                await scene.close()
            result.faults += scene.trap_faults()
            result.played = Played(
                place=place, callers=[s.trace() for s in scene.callers], vendors=scene.vendor_traces(), cdrs=[]
            )
            wanted = sum(outcome.times for outcome in case.outcomes)
            ends = time.monotonic() + CDR_WAIT_S
            # Another process writes the journal, so that looking again is all there is to wait with.
            while len(self._cdrs_of(case)) < wanted and time.monotonic() < ends and self.switch.is_running:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            result.took_s = time.monotonic() - began

    def _check(self, results: dict[str, Result]) -> None:
        for case, _ in self._cases:
            result = results[case.name]
            if result.played is None:
                continue
            result.played.cdrs = self._cdrs_of(case)
            customers = [record for record in self._records[case.name] if isinstance(record, Customer)]
            taxes = {customer.id: Decimal(customer.tax_ppm) / 1_000_000 for customer in customers}
            result.faults += checks.check_packets(case, result.played)
            if not case.has_own_count:
                result.faults += checks.check_cdrs(case, result.played, taxes)
            result.faults += checks.check_refusal_reasons(result.played)
            if case.check is not None:
                result.faults += case.check(result.played)

    def _cdrs_of(self, case: Case) -> list[Cdr]:
        ids = {record.id for record in self._records[case.name] if isinstance(record, Customer)}
        return [cdr for cdr in self.switch.read_cdrs() if cdr.customer_id in ids]

    def _place(self, case: Case, number: int) -> Place:
        ports = self._ipv6_ports if case.is_ipv6 else ()
        place = Place(self._block, number, len(case.vendors), ipv6_ports=ports)
        if not case.is_ipv6:
            place.switch = (self._host, PORT)
        return place

    def _records_of(self, case: Case, place: Place) -> list[Record]:
        records = changes.gateway_transports(place.records(), [vendor.transport for vendor in case.vendors], TLS_PORT)
        return case.records(place, records) if case.records else records

    def _settings(self) -> Settings:
        certificate, key = self._authority.issue(self._host, [self._host])
        listeners = [
            Listener(transport="udp", host=self._host, port=PORT),
            Listener(transport="tcp", host=self._host, port=PORT),
            Listener(transport="tls", host=self._host, port=TLS_PORT),
        ]
        if self._ipv6_ports:
            listeners.append(Listener(transport="udp", host="::1", port=self._ipv6_ports[-1]))
        return Settings(
            sip=Sip(listeners=tuple(listeners), realm=changes.REALM, allow_loopback=True),
            tls=Tls(certificate=str(certificate), private_key=str(key), ca_file=str(self._authority.root)),
            timers=self._timers,
            journal=Journal(sync="os"),
            drain_s=1.0,
            trace=Trace(ring_bytes=4_194_304),
        )

    def _snapshot(self) -> Snapshot:
        records = [
            record
            for case, _ in self._cases
            if not (case.is_ipv6 and not has_ipv6())
            for record in self._records[case.name]
        ]
        # Somebody always calls by digest, so that strangers are always asked for credentials.
        guard = Place(self._block, GUARD, 0)
        records += changes.with_sip_user(guard, [guard.customer])
        return Snapshot(version=1, records=tuple(records))


def has_ipv6() -> bool:
    """Whether ::1 is there."""
    table = Path("/proc/net/if_inet6")
    return table.exists() and "00000000000000000000000000000001 " in table.read_text()
