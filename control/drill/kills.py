"""SIGKILL, at random moments and in the midst of journal writes; then the time until all is back."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Final, Literal

from control.drill.clock import wall_ms
from control.drill.instance import START_S, DrillFailed, Instance, is_alive
from control.drill.journal_trap import JournalTrap
from control.drill.plan import Options
from control.drill.prober import Prober
from control.drill.witness import Kill, Witness

Kind = Literal["moment", "write", "again", "control", "both"]
KINDS: Final[tuple[tuple[Kind, int], ...]] = (
    ("moment", 30),
    ("write", 30),
    ("again", 12),
    ("control", 13),
    ("both", 15),
)
"""What dies, in shares of a hundred: the switch at a random moment, in a write, once more while it
comes back; the control process; everything at once."""
PAUSE_S: Final = (0.3, 1.8)
"""Between a recovery and the next kill."""
WRITES_MAX: Final = 40
RECOVERY_WRITES_MAX: Final = 15
"""A recovery makes fewer than this; where more were drawn, the moment is random."""
WRITE_WAIT_S: Final = 6.0
"""A switch that does not write so often in this time is killed where it stands."""
RESTARTS_MAX: Final = 3
"""The parent starts a plane that keeps dying later and later; a new parent starts it at once."""


class Killer:
    """Holds all kills of a drill, one after another."""

    def __init__(
        self,
        instance: Instance,
        prober: Prober,
        rng: Random,
        options: Options,
        witness: Witness,
        say: Callable[[str], None],
    ) -> None:
        self._instance = instance
        self._prober = prober
        self._rng = rng
        self._options = options
        self._witness = witness
        self._say = say
        self._restarts = 0
        self._next_write = options.at_write

    async def run(self) -> None:
        """
        Raises:
            DrillFailed: what was killed did not come back.
        """
        for index in range(self._options.kills):
            await asyncio.sleep(self._rng.uniform(*PAUSE_S))
            kind, writes = self._draw()
            kill = await self._kill(kind, writes)
            self._witness.kills.append(kill)
            began = time.monotonic() - (wall_ms() - kill.at_ms) / 1_000
            await self._recover(kill)
            kill.recovered_s = round(time.monotonic() - began, 3)
            self._say(f"kill {index + 1}: {kill.victim} {kill.how}, back after {kill.recovered_s:.1f} s")

    def _draw(self) -> tuple[Kind, int]:
        # All dice are thrown, whatever becomes of them: the next kill is the same one then.
        kind = self._rng.choices([kind for kind, _ in KINDS], [share for _, share in KINDS])[0]
        writes = self._rng.randint(1, WRITES_MAX)
        if self._restarts >= RESTARTS_MAX:
            return "both", writes
        if self._next_write is not None:
            kind, writes = "write", self._next_write
            self._next_write += 1
        return kind, writes

    async def _kill(self, kind: Kind, writes: int) -> Kill:
        if kind == "both":
            at_ms = wall_ms()
            await asyncio.to_thread(self._instance.kill_all)
            self._instance.start()
            self._restarts = 0
            return Kill(victim="both", how="at a random moment", at_ms=at_ms)
        self._restarts += 1
        victim = "control" if kind == "control" else "switch"
        pid = await self._pid(victim)
        how = await self._end_in_write(pid, writes) if kind == "write" else ""
        at_ms = wall_ms()
        if not how:
            how = "at a random moment" if kind != "write" else f"having not written {writes} times"
            await self._end(pid)
        if kind == "again":
            how = await self._end_again(writes)
            self._restarts += 1
        return Kill(victim=victim, how=how, at_ms=at_ms)

    async def _end_again(self, writes: int) -> str:
        """Kill the switch as it comes back: anywhere, or in one of the writes that its recovery makes."""
        pid = await self._pid("switch")
        if writes <= RECOVERY_WRITES_MAX:
            how = await self._end_in_write(pid, writes)
            if how:
                return f"and once more as it came back, {how}"
        await asyncio.sleep(self._rng.uniform(0.0, 1.0))
        await self._end(pid)
        return "and once more as it came back"

    async def _end_in_write(self, pid: int, writes: int) -> str:
        trap = JournalTrap(pid, self._instance.data / "journal", writes)
        return await asyncio.to_thread(trap.spring, WRITE_WAIT_S)

    async def _recover(self, kill: Kill) -> None:
        if kill.victim != "control" and not await self._prober.is_answered(START_S):
            self._instance.check_parent()
            raise DrillFailed(f"the switch did not come back in {START_S:g} s:\n{self._instance.log()[-3_000:]}")
        if kill.victim != "switch":
            await self._instance.wait(self._instance.is_healthy, "the control process to come back")

    async def _pid(self, module: str) -> int:
        await self._instance.wait(lambda: self._instance.pid_of(module) is not None, f"the {module} process")
        pid = self._instance.pid_of(module)
        if pid is None:
            raise DrillFailed(f"the {module} process ended by itself:\n{self._instance.log()[-3_000:]}")
        return pid

    async def _end(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        await self._instance.wait(lambda: not is_alive(pid), "a killed process to be gone")
