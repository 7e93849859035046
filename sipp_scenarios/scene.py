"""The peers of one case round the switch: vendors, callers, traps, tunnels; played to their ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sipp_scenarios import changes
from sipp_scenarios.case import Case
from sipp_scenarios.places import TLS_PORT, Place
from sipp_scenarios.sipp import Message, Sipp, bracketed
from sipp_scenarios.traps import Trap
from sipp_scenarios.tunnel import Authority, OnlyMd5, Tunnel

PATIENT = ("-default_behaviors", "none")


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
            keys={"trap": bracketed(*self._place.trap)},
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
            options += ("-rsa", bracketed(*door))
            options += ("-au", changes.user_name(self._place), "-auth_uri", f"{caller.dialled}@{bracketed(*sipp.to)}")
        if caller.transport == "tls":
            tunnel, door = Tunnel(), self._place.other(3)
            self._tunnels.append(tunnel)
            # What leaves the tunnel must come from the caller's address, which names its customer.
            await tunnel.into_tls(door, sipp.to, self._authority.root, (sipp.at[0], 0))
            options += ("-rsa", bracketed(*door))
        await sipp.start(
            calls=caller.calls,
            pause_ms=caller.pause_ms,
            transport=caller.transport,
            timeout_s=self._case.timeout_s,
            keys={"dialled": caller.dialled, "cli": caller.cli, "trap": bracketed(*self._place.trap)},
            options=(*options, "-r", str(caller.calls_per_s)),
        )

    def vendor_traces(self) -> list[list[Message]]:
        return [[] if vendor is None else vendor.trace() for vendor in self._vendors]

    def trap_faults(self) -> list[str]:
        """Traps that heard something, deaf vendors that heard nothing; their sockets are closed by now."""
        faults = []
        for trap in self._traps:
            if trap.is_deaf and not trap.heard:
                faults.append(f"{bracketed(*trap.address)} was never asked")
            if not trap.is_deaf and trap.heard:
                faults.append(f"{bracketed(*trap.address)} got {len(trap.heard)} packets: {trap.heard[0][:200]!r}")
        return faults

    async def close(self) -> None:
        for sipp in [*self.callers, *(vendor for vendor in self._vendors if vendor is not None)]:
            sipp.stop()
        for trap in self._traps:
            trap.listen()
            trap.close()
        for tunnel in self._tunnels:
            await tunnel.close()
