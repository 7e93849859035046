"""Holds a drill from begin to end: an instance, calls, payments, kills, and the comparison."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

import msgspec

from control.client import ApiClient, ApiError
from control.drill.books import Books, count_live, read_books
from control.drill.caller import Caller
from control.drill.carrier import HOST, VENDORS
from control.drill.clock import wall_s
from control.drill.endpoint import TIMEOUT_S
from control.drill.instance import DrillFailed, Instance
from control.drill.kills import Killer
from control.drill.payments import Payer
from control.drill.plan import CallPlan, Options, draw_calls
from control.drill.prober import Prober
from control.drill.reconcile import Verdict, changes, reconcile
from control.drill.vendor import Vendor
from control.drill.watch import Watch
from control.drill.witness import Witness

CALLS_END_S: Final = 2 * TIMEOUT_S + 30.0
"""After the last call was placed: the longest talk, and a BYE that is repeated to its end."""
SETTLE_S: Final = 40.0
"""Until calls whose peers are gone are found and ended, and everything is in the store."""
LOOK_S: Final = 0.2

Answer = TypeVar("Answer")


class Outcome(msgspec.Struct, kw_only=True):
    witness: Witness
    books: Books
    verdict: Verdict
    seconds: float
    exit_status: int
    """Of `tandem run`, after SIGTERM."""


async def hold_drill(options: Options, folder: Path, say: Callable[[str], None]) -> Outcome:
    """One drill in `folder`, which must exist and be empty.

    Raises:
        DrillFailed: the instance did not start, or did not come back from a kill.
    """
    began = wall_s()
    instance = Instance(folder)
    drill = _Drill(options, instance, say)
    try:
        instance.start()
        await instance.wait(instance.is_healthy, "both planes")
        say(f"SIP at {instance.sip[0]}:{instance.sip[1]}, API at {instance.url}, folder {folder}")
        try:
            await asyncio.to_thread(instance.load_carrier)
            await drill.open()
            await drill.play()
            books = await drill.close_books()
        except ApiError as error:
            raise DrillFailed(f"the API failed: {error}\n{instance.log()[-3_000:]}") from error
    finally:
        drill.close()
        status = await asyncio.to_thread(instance.stop)
    # What was compared stays with the journal, the store and the log, where the folder is kept.
    (folder / "witness.json").write_bytes(msgspec.json.encode(drill.witness))
    (folder / "books.json").write_bytes(msgspec.json.encode(books))
    verdict = reconcile(drill.witness, books)
    if drill.reread is not None:
        verdict.differences += changes(books, drill.reread)
    if status:
        verdict.differences.append(f"tandem run ended with {status}")
    if "Traceback" in instance.log():
        at = instance.log().index("Traceback")
        verdict.differences.append(f"the log has an unexpected error:\n{instance.log()[at : at + 2_000]}")
    return Outcome(
        witness=drill.witness, books=books, verdict=verdict, seconds=round(wall_s() - began, 1), exit_status=status
    )


class _Drill:
    """What takes part in one drill."""

    def __init__(self, options: Options, instance: Instance, say: Callable[[str], None]) -> None:
        self.witness = Witness()
        self.reread: Books | None = None
        self._options = options
        self._instance = instance
        self._say = say
        seed = options.seed
        # Each part has dice of its own, so that its course does not hang on the others' timing.
        self._plans: dict[int, CallPlan] = {}
        self._drawn = draw_calls(Random(f"{seed} calls"))
        self._caller = Caller(instance.sip, Random(f"{seed} caller"))
        self._vendors = [
            Vendor(name, is_first=not index, switch=instance.sip, rng=Random(f"{seed} {name}"), plans=self._plans)
            for index, name in enumerate(VENDORS)
        ]
        self._prober = Prober(instance.sip, Random(f"{seed} prober"))
        self._payer = Payer(instance, Random(f"{seed} payer"), self.witness)
        self._watch = Watch(instance, self.witness)
        self._killer = Killer(instance, self._prober, Random(f"{seed} kills"), options, self.witness, say)
        self.witness.calls = self._caller.seen

    async def open(self) -> None:
        """Sockets, and the opening payments."""
        await self._caller.open((HOST, 0))
        await self._prober.open((HOST, 0))
        for vendor, at in zip(self._vendors, self._instance.vendors, strict=True):
            await vendor.open(at)
        await self._payer.open()

    def close(self) -> None:
        self._caller.close()
        self._prober.close()
        for vendor in self._vendors:
            vendor.close()

    async def play(self) -> None:
        """Calls, payments and kills at once; returns when the calls are over."""
        loop = asyncio.get_running_loop()
        killing = asyncio.create_task(self._killer.run())
        paying = asyncio.create_task(self._payer.run())
        watching = asyncio.create_task(self._watch.run())
        calls: set[asyncio.Task[None]] = set()
        placed, next_at = 0, loop.time()
        try:
            while placed < self._options.calls or not killing.done():
                for task in (killing, paying, watching):
                    if task.done():
                        task.result()
                plan = next(self._drawn)
                self._plans[plan.serial] = plan
                calls.add(asyncio.create_task(self._caller.play(plan)))
                placed += 1
                next_at += 1 / self._options.rate
                await asyncio.sleep(max(0.0, next_at - loop.time()))
            await killing
            self._say(f"{placed} calls placed, waiting for the last to end")
            _, pending = await asyncio.wait(calls, timeout=CALLS_END_S)
            for call in pending:
                call.cancel()
        finally:
            for task in (paying, watching, killing):
                task.cancel()
        for call in calls - pending:
            call.result()
        await self._payer.finish()

    async def close_books(self) -> Books:
        """What the API says once everything has come to rest, and once more after another restart."""
        await self._rest()
        self.witness.legs = [leg for vendor in self._vendors for leg in vendor.seen]
        books = await self._read()
        if self._options.kills:
            self._say("one more kill of everything, and the books again")
            await asyncio.to_thread(self._instance.kill_all)
            self._instance.start()
            await self._instance.wait(self._instance.is_healthy, "both planes")
            await self._rest()
            self.reread = await self._read()
        return books

    async def _rest(self) -> None:
        """Until no call is live and every CDR is in the store, or the time for it is over."""
        await self._instance.wait(self._instance.is_healthy, "both planes")
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(vendor.rest() for vendor in self._vendors)), SETTLE_S)
        loop = asyncio.get_running_loop()
        last = loop.time() + SETTLE_S
        before: Books | None = None
        while loop.time() < last:
            await asyncio.sleep(LOOK_S)
            with suppress(ApiError):
                if await self._ask(count_live):
                    continue
                now = await self._read()
                if now == before and not any(each.held_nanos for each in now.balances):
                    return
                before = now

    async def _read(self) -> Books:
        return await self._ask(read_books)

    async def _ask(self, question: Callable[[ApiClient], Answer]) -> Answer:
        def ask() -> Answer:
            client = self._instance.api()
            try:
                return question(client)
            finally:
                client.close()

        return await asyncio.to_thread(ask)


def run_drill(options: Options, folder: Path, say: Callable[[str], None]) -> Outcome:
    """`hold_drill`, from a command."""
    work: Coroutine[Any, Any, Outcome] = hold_drill(options, folder, say)
    return asyncio.run(work)
