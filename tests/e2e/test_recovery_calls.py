"""A hundred calls of SIPp outlive the switch: killed and started again, or replaced by another process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from config.settings import Journal
from sipp_scenarios.checks import charged_right
from sipp_scenarios.sipp import Sipp
from switch.frames import JournalIngested
from switch.records import Cdr
from switch.segments import list_segments
from tests.e2e.plane import Plane
from tests.e2e.traffic import Caller, Vendor

pytestmark = pytest.mark.slow

CALLS = 100
TALK_MS = 7_000
NUMBER = "442071000001"
BALANCE = 10**12
TAX = Decimal("0.2")


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    made = Plane(
        tmp_path, journal=Journal(sync="group", group_ms=5), balance_nanos=BALANCE, drain_s=5.0, drain_calls="keep"
    )
    made.start()
    yield made
    made.kill()


async def play(plane: Plane, accident: Callable[[], Awaitable[None]]) -> None:
    """A hundred calls; `accident` comes when all are up; SIPp ends them."""
    vendor = Sipp("uas_answers_at_once", at=plane.vendor, logs=plane.folder / "sipp")
    caller = Sipp("uac_call", at=plane.customer, logs=plane.folder / "sipp", to=plane.switch)
    await vendor.start(calls=CALLS, timeout_s=60.0)
    try:
        options = ("-r", str(CALLS), "-l", str(CALLS))
        await caller.start(
            calls=CALLS, pause_ms=TALK_MS, keys={"dialled": NUMBER, "cli": "15551230000"}, timeout_s=60.0,
            options=options,
        )  # fmt: skip
        await asyncio.to_thread(plane.wait, lambda: all_are_up(plane), "all calls to be up", 6.0)
        await accident()
        assert await caller.wait() == 0, caller.errors()
        assert await vendor.wait() == 0, vendor.errors()
    finally:
        vendor.stop()
        caller.stop()


def all_are_up(plane: Plane) -> bool:
    calls = plane.live_calls()
    return len(calls) == CALLS and all(call.state == "answered" for call in calls)


def assert_billed_once_and_right(plane: Plane) -> None:
    cdrs = plane.cdrs()
    assert len(cdrs) == len({cdr.id for cdr in cdrs}) == len({cdr.call_id for cdr in cdrs}) == CALLS
    faults = [fault for cdr in cdrs for fault in charged_right(cdr, NUMBER, TAX)]
    assert faults == []
    for cdr in cdrs:
        assert (cdr.cause, cdr.release, cdr.status) == ("normal", "caller", 200), cdr
        assert_times_are_those_of_the_talk(cdr)
    plane.assert_money_is_right(cdrs)
    assert plane.live_calls() == []
    plane.assert_sound()


def assert_times_are_those_of_the_talk(cdr: Cdr) -> None:
    assert cdr.answered_ms is not None
    assert cdr.invited_ms <= cdr.answered_ms <= cdr.ended_ms
    assert cdr.duration_ms == pytest.approx(cdr.ended_ms - cdr.answered_ms, abs=1)
    # SIPp's pause, and what a BYE may be repeated for while nobody listens.
    assert TALK_MS - 100 <= cdr.duration_ms <= TALK_MS + 2_500


def test_calls_that_were_up_when_the_switch_was_killed_end_billed(plane: Plane) -> None:
    async def killed_and_started_again() -> None:
        before = await asyncio.to_thread(plane.account)
        assert before.holds == CALLS
        await asyncio.to_thread(plane.kill)
        await asyncio.to_thread(plane.start)
        # Credit that calls hold is held again, and they are listed as they were.
        after = await asyncio.to_thread(plane.account)
        assert (after.balance_nanos, after.held_nanos, after.holds) == (BALANCE, before.held_nanos, CALLS)
        assert all(call.answered_ms is not None for call in await asyncio.to_thread(plane.live_calls))

    asyncio.run(play(plane, killed_and_started_again))
    assert_billed_once_and_right(plane)


def test_killed_thrice_in_a_row_makes_no_difference(plane: Plane) -> None:
    async def killed_again_and_again() -> None:
        for _ in range(3):
            await asyncio.to_thread(plane.kill)
            await asyncio.to_thread(plane.start)

    asyncio.run(play(plane, killed_again_and_again))
    assert_billed_once_and_right(plane)


def test_calls_are_up_while_a_new_process_takes_the_place_of_the_old(plane: Plane) -> None:
    """The upgrade: SIGTERM with `drain_calls = "keep"`, then the next release on the same folder."""

    async def replaced() -> None:
        began = time.monotonic()
        assert await asyncio.to_thread(plane.stop) == 0
        assert time.monotonic() - began < 3.0  # answered calls are not waited for
        await asyncio.to_thread(plane.start)
        assert len(await asyncio.to_thread(plane.live_calls)) == CALLS

    asyncio.run(play(plane, replaced))
    assert_billed_once_and_right(plane)
    assert "journal_damaged" not in plane.log()


def test_calls_outlive_the_segments_that_they_began_in(tmp_path: Path) -> None:
    """Old segments are dropped under live calls, once these were written again; killed after it, all is there."""
    plane = Plane(tmp_path, journal=Journal(sync="group", group_ms=5, segment_bytes=30_000), balance_nanos=BALANCE)
    plane.start()
    try:
        with Vendor(plane.vendor, plane.switch), Caller(plane.customer, plane.switch) as caller:
            caller.run(20, per_s=100, hangs_up=False)
            up = set(caller.answered)
            assert len(up) == 20
            caller.run(60, per_s=100)
            first = list_segments(plane.data / "journal")[0]
            plane.wait(lambda: plane.stats().gauges["journal_segments_needed"] < 3, "the calls to be written again")
            cdrs, sequence = plane.cdrs(), int(plane.stats().gauges["journal_sequence"])

            def old_ones_are_gone() -> bool:
                plane.tell(JournalIngested(sequence=int(plane.stats().gauges["journal_sequence"])))
                return len(list_segments(plane.data / "journal")) <= 3

            plane.wait(old_ones_are_gone, "old segments to go")
            assert not first.path.exists()
            before = plane.account()
            plane.kill()
            plane.start()
            assert plane.account() == before
            assert {call.call_id for call in plane.live_calls()} == up
            caller.hang_up_all()
            assert up <= caller.ended
        ended = {cdr.id: cdr for cdr in [*cdrs, *plane.cdrs(sequence)]}
        assert len(ended) == 80
        plane.assert_money_is_right(list(ended.values()))
        assert "journal_damaged" not in plane.log()
        plane.assert_sound()
    finally:
        plane.kill()
