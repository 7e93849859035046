"""Plays the cases through a fresh switch and checks what came of each.

    python sipp_scenarios/run.py [NAME…] [--keep] [--list]

All cases run at once, each in its own corner of 127.0.0.0/8; those about RFC 3261's own times use
the defaults, the others timers five times as fast. Exit code 1 when anything is not as it should be.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from config.settings import Journal, Listener, Settings, Sip, Timers, Tls
from rating.deck_build import compile_deck
from sipp_scenarios import changes, checks, prices
from sipp_scenarios.case import Case, Played
from sipp_scenarios.cases import CASES
from sipp_scenarios.places import PORT, QUICK, TLS_PORT, Place
from sipp_scenarios.sipp import Message, Sipp
from sipp_scenarios.switch_process import SwitchProcess
from sipp_scenarios.traps import Trap, free_loopback_block, free_ports
from sipp_scenarios.tunnel import Authority, OnlyMd5, Tunnel
from switch.records import Cdr
from switch.snapshot import Customer, Record, Snapshot

AT_ONCE = 8
"""Cases under way together: SIPp keeps its own times only while it gets processor time."""
CDR_WAIT_S = 5.0
LATE_S = 0.7
"""How long surplus packets and CDRs are waited for once everything seems done."""


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
        compile_decks(self._folder / "switch")
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


class Scene:
    """The peers of one case: vendors, callers, traps and tunnels around the switch."""

    def __init__(self, case: Case, place: Place, logs: Path, authority: Authority) -> None:
        self._case = case
        self._place = place
        self._logs = logs
        self._authority = authority
        self._traps: list[Trap] = []
        self._tunnels: list[Tunnel | OnlyMd5] = []
        self.callers: list[Sipp] = []
        self._vendors: list[Sipp | None] = []

    async def play(self) -> list[str]:
        """Runs the scenarios to their ends; SIPps that failed are the faults."""
        if not self._case.is_ipv6:
            self._traps.append(Trap(*self._place.trap))
        for index in range(len(self._case.vendors)):
            await self._start_vendor(index)
        self._prepare_callers()
        if self._case.in_turn:
            for index in range(len(self.callers)):
                await self._start_caller(index)
                await self.callers[index].wait()
        else:
            for index in range(len(self.callers)):
                await self._start_caller(index)
        sipps = [*self.callers, *(vendor for vendor in self._vendors if vendor is not None)]
        codes = await asyncio.gather(*(sipp.wait() for sipp in sipps))
        return [
            f"{sipp.scenario} ended with {code}: {sipp.errors() or 'no word why'}"
            for sipp, code in zip(sipps, codes, strict=True)
            if code
        ]

    async def _start_vendor(self, index: int) -> None:
        vendor, at = self._case.vendors[index], self._place.vendors[index]
        if not vendor.scenario:
            self._vendors.append(None)
            if not vendor.is_absent:
                self._traps.append(Trap(*at, is_deaf=vendor.is_deaf))
            if vendor.has_wrong_certificate:
                await self._open_tls_door(at, f"127.{index}.0.1")
            return
        sipp = Sipp(vendor.scenario, at=at, logs=self._logs)
        self._vendors.append(sipp)
        await sipp.start(
            calls=vendor.calls,
            pause_ms=vendor.pause_ms,
            transport=vendor.transport,
            timeout_s=self._case.timeout_s,
            keys={"trap": bracket(self._place.trap)},
            options=vendor.options + (PATIENT if vendor.is_patient else ()),
        )
        if vendor.transport == "tls":
            await self._open_tls_door(at, at[0])

    async def _open_tls_door(self, at: tuple[str, int], name: str) -> None:
        """TLS before the vendor at that address, with a certificate for `name`."""
        tunnel = Tunnel()
        self._tunnels.append(tunnel)
        await tunnel.out_of_tls((at[0], TLS_PORT), at, self._authority.issue(f"{at[0]}-vendor", [name]))

    def _prepare_callers(self) -> None:
        for index, caller in enumerate(self._case.callers):
            address, port = self._place.stranger if caller.from_stranger else self._place.caller
            target = (self._place.switch[0], TLS_PORT) if caller.transport == "tls" else self._place.switch
            self.callers.append(Sipp(caller.scenario, at=(address, port + 10 * index), to=target, logs=self._logs))

    async def _start_caller(self, index: int) -> None:
        caller, sipp = self._case.callers[index], self.callers[index]
        options = caller.options + (PATIENT if caller.is_patient else ())
        assert sipp.to is not None
        if "-ap" in options:
            # SIPp takes the first challenge, and knows no algorithm but the weakest.
            door = self._place.other(3)
            relay = OnlyMd5(door, sipp.at, sipp.to)
            await relay.open()
            self._tunnels.append(relay)
            options += ("-rsa", bracket(door))
            options += ("-au", changes.user_name(self._place), "-auth_uri", f"{caller.dialled}@{bracket(sipp.to)}")
        if caller.transport == "tls":
            tunnel, door = Tunnel(), self._place.other(3)
            self._tunnels.append(tunnel)
            # What leaves the tunnel must come from the caller's address, which names its customer.
            await tunnel.into_tls(door, sipp.to, self._authority.root, (sipp.at[0], 0))
            options += ("-rsa", bracket(door))
        await sipp.start(
            calls=caller.calls,
            pause_ms=caller.pause_ms,
            transport=caller.transport,
            timeout_s=self._case.timeout_s,
            keys={"dialled": caller.dialled, "cli": caller.cli, "trap": bracket(self._place.trap)},
            options=(*options, "-r", str(caller.calls_per_s)),
        )

    def vendor_traces(self) -> list[list[Message]]:
        return [[] if vendor is None else vendor.trace() for vendor in self._vendors]

    def trap_faults(self) -> list[str]:
        """Traps that heard something, deaf vendors that heard nothing; their sockets are closed by now."""
        faults = []
        for trap in self._traps:
            if trap.is_deaf and not trap.heard:
                faults.append(f"{bracket(trap.address)} was never asked")
            if not trap.is_deaf and trap.heard:
                faults.append(f"{bracket(trap.address)} got {len(trap.heard)} packets: {trap.heard[0][:200]!r}")
        return faults

    async def close(self) -> None:
        for sipp in [*self.callers, *(vendor for vendor in self._vendors if vendor is not None)]:
            sipp.stop()
        for trap in self._traps:
            trap.listen()
            trap.close()
        for tunnel in self._tunnels:
            await tunnel.close()


GUARD = 250
"""A place that no case has."""
PATIENT = ("-default_behaviors", "none")


def bracket(address: tuple[str, int]) -> str:
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


def has_ipv6() -> bool:
    """Whether ::1 is there."""
    table = Path("/proc/net/if_inet6")
    return table.exists() and "00000000000000000000000000000001 " in table.read_text()


def compile_decks(folder: Path) -> None:
    """The price lists, beside the snapshot that names them."""
    folder.mkdir(parents=True, exist_ok=True)
    compile_deck(prices.rows(prices.SELL), folder / "sell")
    compile_deck(prices.rows(prices.DEAR), folder / "dear")
    for index, buy in enumerate(prices.BUY):
        compile_deck(prices.rows(buy), folder / f"buy{index}")


async def play(names: list[str], folder: Path) -> dict[str, Result]:
    """Plays these cases; results by name."""
    chosen = [(number, case) for number, case in enumerate(CASES, 1) if case.name in names]
    results = {case.name: Result(case) for _, case in chosen}
    block = free_loopback_block()
    stages = []
    for subfolder, host, timers, needs_default in (
        ("quick", f"127.{block}.0.1", QUICK, False),
        ("default", f"127.{block}.0.2", Timers(), True),
    ):
        cases = [(number, case) for number, case in chosen if case.needs_default_timers == needs_default]
        if cases:
            (folder / subfolder).mkdir(parents=True)
            stages.append(Stage(folder / subfolder, block, cases, timers, host))
    await asyncio.gather(*(stage.play(results) for stage in stages))
    return results


def show(results: dict[str, Result], console: Console) -> None:
    table = Table("case", "seconds", "CDRs", "result", title="SIPp scenarios")
    for name, result in results.items():
        verdict = "[yellow]skipped: " + result.skipped if result.skipped else "[green]ok"
        if result.faults:
            verdict = "[red]" + "\n".join(fault.replace("[", "\\[") for fault in result.faults)
        count = str(len(result.played.cdrs)) if result.played else "-"
        table.add_row(name, f"{result.took_s:.1f}", count, verdict)
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", metavar="NAME", help="cases to play; none: all of them")
    parser.add_argument("--keep", action="store_true", help="leave logs and traces, and say where")
    parser.add_argument("--list", action="store_true", help="name the cases and stop")
    arguments = parser.parse_args()
    console = Console()
    known = [case.name for case in CASES]
    if arguments.list:
        for case in CASES:
            console.print(f"[bold]{case.name}[/bold]  {case.what}")
        return 0
    if unknown := [name for name in arguments.names if name not in known]:
        console.print(f"no such case: {', '.join(unknown)} (--list names them)")
        return 2
    folder = Path(tempfile.mkdtemp(prefix="tandem-sipp-"))
    try:
        results = asyncio.run(play(arguments.names or known, folder))
    finally:
        if arguments.keep:
            console.print(f"logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    show(results, console)
    failed = [name for name, result in results.items() if result.faults]
    console.print(f"{len(results) - len(failed)} of {len(results)} as they should be")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
