"""Outputs leave in the promised order, timers fire, failures come back as input."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import uvloop

from switch.outputs import Alarm, Close, Flow, Send
from switch.pump import TIMER_SLACK_S, Pump
from switch.records import DeltaApplied, JournalRecord
from tests.fakes.echo_engine import EchoEngine
from tests.fakes.waiting import until


class Notebook:
    """Journal and transport in one, so that the order between them shows."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.pump: Pump | None = None

    def append(self, records: Sequence[JournalRecord]) -> int:
        self.lines.append(f"journal {len(records)}")
        return 0

    def send(self, send: Send) -> None:
        if send.data == b"unreachable" and self.pump is not None:
            self.pump.fail(send.token, "no route")
            return
        self.lines.append(f"send {send.data.decode()}")

    def flush(self) -> None:
        pass

    def close_flow(self, flow: Flow) -> None:
        self.lines.append(f"close {flow.connection}")


def make(loop: asyncio.AbstractEventLoop) -> tuple[EchoEngine, Notebook, Pump]:
    engine, notebook = EchoEngine(), Notebook()
    pump = Pump(engine, notebook, loop)
    pump.transports = [notebook]
    notebook.pump = pump
    return engine, notebook, pump


FLOW = Flow(0, ("192.0.2.1", 5060))


def test_records_are_written_in_one_go_before_anything_is_sent() -> None:
    async def main() -> None:
        engine, notebook, pump = make(asyncio.get_running_loop())
        engine.sends = [Send(FLOW, b"a"), Close(Flow(0, FLOW.address, 7)), Send(FLOW, b"b")]
        engine.records = [DeltaApplied(1, 0), DeltaApplied(2, 0)]
        pump.flush(time.monotonic())
        assert notebook.lines == ["journal 2", "send a", "close 7", "send b"]

    uvloop.run(main())


def test_a_send_that_fails_is_told_within_the_same_flush() -> None:
    async def main() -> None:
        engine, _, pump = make(asyncio.get_running_loop())
        engine.sends = [Send(FLOW, b"unreachable", 5), Send(FLOW, b"unreachable"), Send(FLOW, b"unreachable", 6)]
        pump.flush(time.monotonic())
        assert engine.failed == [(5, "no route"), (6, "no route")]

    uvloop.run(main())


def test_failures_without_end_leave_turns_to_others() -> None:
    async def main() -> None:
        engine, _, pump = make(asyncio.get_running_loop())

        def try_again(token: int, reason: str, now: float) -> None:
            engine.failed.append((token, reason))
            if len(engine.failed) < 100:
                engine.sends.append(Send(FLOW, b"unreachable", token + 1))

        engine.send_failed = try_again  # type: ignore[method-assign]
        engine.sends = [Send(FLOW, b"unreachable", 1)]
        pump.flush(time.monotonic())
        assert 1 < len(engine.failed) < 20
        await until(lambda: len(engine.failed) == 100)

    uvloop.run(main())


def test_the_timer_fires_at_the_earliest_deadline_and_not_before() -> None:
    async def main() -> None:
        engine, _, pump = make(asyncio.get_running_loop())
        now = time.monotonic()
        engine.deadline = now + 60.0
        pump.flush(now)
        engine.deadline = now + 0.02
        pump.flush(now)
        await until(lambda: engine.timers)
        assert engine.timers[0] >= now + 0.02
        pump.close()

    uvloop.run(main())


def test_a_flush_that_comes_when_a_deadline_has_passed_handles_it() -> None:
    async def main() -> None:
        engine, _, pump = make(asyncio.get_running_loop())
        now = time.monotonic()
        engine.deadline = now + 10.0
        pump.flush(now)
        assert engine.timers == []
        pump.flush(now + 10.0 + TIMER_SLACK_S)
        assert engine.timers == [now + 10.0 + TIMER_SLACK_S]
        pump.close()

    uvloop.run(main())


def test_a_fault_in_a_timer_does_not_stop_the_next_one() -> None:
    async def main() -> None:
        engine, _, pump = make(asyncio.get_running_loop())
        fired: list[float] = []

        def fail(now: float) -> None:
            fired.append(now)
            engine.deadline = now + 0.001
            raise RuntimeError("ours")

        engine.handle_timer = fail  # type: ignore[method-assign]
        engine.deadline = time.monotonic()
        pump.flush(time.monotonic() - 1.0)
        await until(lambda: len(fired) >= 3)
        pump.close()

    uvloop.run(main())


def test_events_reach_their_handler() -> None:
    async def main() -> None:
        engine, _, pump = make(asyncio.get_running_loop())
        seen: list[object] = []
        pump.handle_event = seen.append
        engine.events = [Alarm(name="x", detail="", at_ms=1)]
        pump.flush(0.0)
        assert len(seen) == 1

    uvloop.run(main())


def test_a_closed_pump_sets_no_timer() -> None:
    async def main() -> None:
        engine, _, pump = make(asyncio.get_running_loop())
        pump.close()
        engine.deadline = time.monotonic()
        pump.flush(time.monotonic())
        await asyncio.sleep(0)
        assert len(engine.timers) <= 1

    uvloop.run(main())
