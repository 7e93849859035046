"""Replays that were asked for: one at a time in a process of its own, their facts and results in files.

The facts are small and held in memory; results stay on the disk until somebody reads them. What
was waiting or running when the control process ended has failed, and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import structlog

from control.services.errors import Conflict, NotFound
from control.services.fields import Moment, ms_moment
from control.services.replay_job import ReplayJob, Told
from control.supervisor import child_environment

RUNS_MAX: Final = 50
"""Kept; the oldest go first."""
WAITING_MAX: Final = 10
RUN_S_MAX: Final = 7_200.0
WORKER: Final = ("-P", "-m", "control.replay_worker")

log = structlog.get_logger("control.replay")


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One replay without its result."""

    id: int
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    asked: dict[str, Any]
    """The request, as it came."""
    created_at: Moment
    created_by: str
    started_at: Moment | None = None
    ended_at: Moment | None = None
    calls_total: int
    calls_done: int = 0
    error: str = ""


class Replays:
    """All replays of one installation.

    Args:
        folder: where their files lie; made when the first is asked for.
        now_ms: the wall clock.
    """

    def __init__(self, folder: Path, now_ms: Callable[[], int]) -> None:
        self._folder = folder
        self._now_ms = now_ms
        self._runs: dict[int, Run] = {}
        self._is_loaded = False
        self._waiting: dict[int, ReplayJob] = {}
        """In the order in which they were asked for."""
        self._has_work = asyncio.Event()
        self._running: int | None = None
        self._worker: asyncio.subprocess.Process | None = None

    def base(self, run_id: int) -> Path:
        """Where a run's results are: `.json` and `.csv` behind it."""
        return self._folder / f"{run_id}"

    def all(self) -> list[Run]:
        """The youngest first."""
        self._load()
        return [self._runs[run_id] for run_id in sorted(self._runs, reverse=True)]

    def get(self, run_id: int) -> Run:
        self._load()
        if run_id not in self._runs:
            raise NotFound("replay", run_id)
        return self._runs[run_id]

    def add(self, asked: dict[str, Any], calls_total: int, created_by: str, job_of: Callable[[Path], ReplayJob]) -> Run:
        """Let a replay wait for its turn; `job_of` is given the base of its results.

        Raises:
            Conflict: too many wait already.
        """
        self._load()
        if len(self._waiting) >= WAITING_MAX:
            raise Conflict(f"{WAITING_MAX} replays are waiting already.")
        self._folder.mkdir(parents=True, exist_ok=True)
        run_id = max(self._runs, default=0) + 1
        created_at = ms_moment(self._now_ms())
        run = Run(
            id=run_id,
            state="waiting",
            asked=asked,
            created_at=created_at,
            created_by=created_by,
            calls_total=calls_total,
        )
        self._keep(run)
        self._waiting[run_id] = job_of(self.base(run_id))
        self._drop_old()
        self._has_work.set()
        return run

    def cancel(self, run_id: int) -> Run:
        """Stop a replay that waits or runs.

        Raises:
            Conflict: it is over.
        """
        run = self.get(run_id)
        if run.state not in ("waiting", "running"):
            raise Conflict(f"The replay is {run.state} already.")
        self._waiting.pop(run_id, None)
        self._end(run_id, "cancelled")
        if self._running == run_id and self._worker is not None:
            self._kill()
        return self._runs[run_id]

    async def run(self) -> None:
        """Replay what waits, until cancelled."""
        while True:
            await self._has_work.wait()
            if not self._waiting:
                self._has_work.clear()
                continue
            run_id = next(iter(self._waiting))
            job = self._waiting.pop(run_id)
            self._running = run_id
            try:
                async with asyncio.timeout(RUN_S_MAX):
                    error = await self._work(run_id, job)
                self._end(run_id, "failed" if error else "done", error)
            except TimeoutError:
                self._end(run_id, "failed", f"not done in {RUN_S_MAX:g} s")
            except (OSError, ValueError, msgspec.MsgspecError) as problem:
                # A process that could not be made, or that said what we do not understand.
                self._end(run_id, "failed", str(problem))
            finally:
                self._kill()
                self._running = self._worker = None

    async def _work(self, run_id: int, job: ReplayJob) -> str:
        """Play one job; returns what went wrong."""
        self._keep(msgspec.structs.replace(self._runs[run_id], state="running", started_at=ms_moment(self._now_ms())))
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            *WORKER,
            env=child_environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self._worker = worker
        assert worker.stdin is not None, "a pipe was asked for"
        assert worker.stdout is not None, "a pipe was asked for"
        if self._runs[run_id].state == "cancelled":  # while the process was made
            return ""
        with contextlib.suppress(ConnectionError):
            worker.stdin.write(msgspec.json.encode(job))
            await worker.stdin.drain()
            worker.stdin.close()
        told = Told(0)
        async for line in worker.stdout:
            told = msgspec.json.decode(line, type=Told)
            if told.error:
                return told.error
            if self._runs[run_id].state == "running":
                self._runs[run_id] = msgspec.structs.replace(self._runs[run_id], calls_done=told.calls)
        await worker.wait()
        return "" if told.is_done else f"its process ended with {worker.returncode}"

    def _end(self, run_id: int, state: Literal["done", "failed", "cancelled"], error: str = "") -> None:
        run = self._runs[run_id]
        if run.state == "cancelled":
            return
        self._keep(msgspec.structs.replace(run, state=state, error=error, ended_at=ms_moment(self._now_ms())))
        if error:
            log.warning("a replay failed", id=run_id, reason=error)

    def _kill(self) -> None:
        worker = self._worker
        if worker is not None and worker.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                worker.kill()

    def _keep(self, run: Run) -> None:
        """Memory has the truth; the file is for after a restart, and a full disk stops nothing."""
        self._runs[run.id] = run
        partial = self._folder / f"{run.id}.run.part"
        try:
            partial.write_bytes(msgspec.json.encode(run))
            partial.replace(self._folder / f"{run.id}.run")
        except OSError as error:
            log.warning("a replay's state was not kept", id=run.id, reason=str(error))

    def _load(self) -> None:
        if self._is_loaded:
            return
        self._is_loaded = True
        for path in self._folder.glob("*.run"):
            try:
                run = msgspec.json.decode(path.read_bytes(), type=Run)
            except (OSError, msgspec.DecodeError) as error:
                log.warning("a replay cannot be read", file=path.name, reason=str(error))
                continue
            if run.state in ("waiting", "running"):
                run = msgspec.structs.replace(run, state="failed", error="the control process ended meanwhile")
            self._runs[run.id] = run

    def _drop_old(self) -> None:
        for run_id in sorted(self._runs)[: max(0, len(self._runs) - RUNS_MAX)]:
            if self._runs[run_id].state in ("waiting", "running"):
                continue
            del self._runs[run_id]
            for path in self._folder.glob(f"{run_id}.*"):
                path.unlink(missing_ok=True)


def parent_id() -> int:
    """What a job tells its process, which ends with us."""
    return os.getpid()
