"""SIGKILL at every write of the journal, at random moments, and in the midst of a recovery.

Short here. The whole, as before a release (some minutes):
`TANDEM_KILL_CALLS=20 TANDEM_KILLS=200 .venv/bin/pytest tests/e2e/test_recovery_kills.py`.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings import Journal
from switch.recovered import Recovered
from switch.replay import replay
from switch.segments import list_segments, segment_path
from tests.e2e.books import Books
from tests.e2e.peer import answered_call
from tests.e2e.plane import Plane
from tests.e2e.traffic import Caller, Vendor

pytestmark = pytest.mark.slow

CALLS = int(os.environ.get("TANDEM_KILL_CALLS", "4"))
KILLS = int(os.environ.get("TANDEM_KILLS", "6"))
WRITES_MAX = 40 + 8 * CALLS
"""More than a run can make: four a call, payments, a beat a second."""
BALANCE = 10**12


def make(folder: Path, segment_bytes: int = 67_108_864) -> Plane:
    return Plane(folder, journal=Journal(sync="group", group_ms=5, segment_bytes=segment_bytes), balance_nanos=BALANCE)


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    made = make(tmp_path)
    made.start()
    yield made
    made.kill()


@pytest.mark.parametrize("segment_bytes", [67_108_864, 6_000], ids=["one segment", "many segments"])
def test_a_kill_at_any_write_of_the_journal_loses_no_money(tmp_path: Path, segment_bytes: int) -> None:
    """The Nth write kills, for each N until a run of calls and payments ends untouched."""
    plane = make(tmp_path, segment_bytes)
    plane.start()
    books = Books(plane)
    is_untouched = False
    try:
        for number in range(1, WRITES_MAX):
            newest = int(plane.newest_segment().stem)
            segments = [segment_path(plane.data / "journal", newest + step) for step in range(40)]
            with Vendor(plane.vendor, plane.switch) as vendor, Caller(plane.customer, plane.switch) as caller:
                with plane.fault(f"write:signal=SIGKILL:when={number}", *segments):
                    books.pay()
                    if plane.is_running():
                        caller.run(CALLS, per_s=100, settle_s=2.0, until=lambda: not plane.is_running())
                    if plane.is_running():
                        books.pay()
                caller.run(0, settle_s=0.1)  # what was still in the sockets
                time.sleep(0.1)  # a process that was sent a signal runs on for a moment
                is_untouched = plane.is_running()
                books.ended |= caller.ended
                books.reached |= vendor.answered
                if not is_untouched:
                    plane.kill()
                    plane.start()
                    books.check(calls=len(plane.live_calls()))
                    books.settle()
                    caller.hang_up_all(settle_s=0.3)  # those that the caller has on the line
                    books.ended |= caller.ended
                books.end_live_calls()
            books.check()
            if is_untouched:
                break
        assert is_untouched
        assert number > CALLS // 2  # what comes in one wake-up is one write
        assert "Traceback" not in plane.log()
        assert "journal_damaged" not in plane.log()
    finally:
        plane.kill()


def test_kills_at_random_moments_of_traffic_lose_no_money(plane: Plane) -> None:
    chance = random.Random(96)
    books = Books(plane)
    for _ in range(KILLS):
        with Vendor(plane.vendor, plane.switch) as vendor, Caller(plane.customer, plane.switch) as caller:
            at = time.monotonic() + chance.uniform(0.3, 1.0)
            books.pay()
            caller.run(200, per_s=50, hold_s=0.2, until=lambda at=at: time.monotonic() > at)  # type: ignore[misc]
            plane.kill()
            caller.run(0, settle_s=0.1)
            books.ended |= caller.ended
            books.reached |= vendor.answered
            plane.start()
            books.check(calls=len(plane.live_calls()))
            books.settle()
            before = len(caller.ended)
            caller.hang_up_all(settle_s=1.0)
            assert caller.ended  # calls that were up end with a 200 to their BYE
            books.ended |= caller.ended
            assert len(caller.ended) >= before
            books.end_live_calls()
        books.check()
    assert len(books.ended) > 10 * KILLS
    assert "journal_damaged" not in plane.log()
    plane.assert_sound()


def test_recovery_comes_to_the_same_however_often_it_is_cut_short(plane: Plane, tmp_path: Path) -> None:
    """Killed at each of its system calls on the journal, then twice let through to its end."""
    with plane.peer(plane.customer) as caller, plane.peer(plane.vendor) as vendor:
        for _ in range(3):
            answered_call(caller, vendor)
        plane.kill()
        before = replay(plane.data / "journal")
        assert len(before.calls) == 3
        for call in ("openat", "ftruncate", "write", "fdatasync", "rename", "fsync"):
            kills = 0
            while dies_over(plane, call, kills + 1):
                kills += 1
                assert told(replay(plane.data / "journal")) == told(before), (call, kills)
            assert kills or call == "ftruncate", call  # there is no torn tail to cut
        for _ in range(2):
            plane.start()
            account = plane.account()
            assert (account.balance_nanos, account.holds) == (BALANCE, 3)
            assert account.held_nanos == sum(each.held_nanos for each in before.calls)
            plane.kill()
            assert told(replay(plane.data / "journal")) == told(before)
        assert not list((plane.data / "journal").glob("*.new"))


def told(recovered: Recovered) -> tuple[object, ...]:
    """What a recovery says of money and calls."""
    calls = [(call.admitted.id, call.admitted, call.answered, call.held_nanos) for call in recovered.calls]
    # Calls are kept without their INVITE, which only the unanswered need.
    told_calls = [(call_id, held, answered and answered.attempt) for call_id, _, answered, held in calls]
    return recovered.has_balances, recovered.entry_id, recovered.accounts, told_calls, recovered.findings


def dies_over(plane: Plane, call: str, number: int) -> bool:
    """Start the switch so that its `number`th such call on the journal kills it; False: it got past."""
    folder = plane.data / "journal"
    newest = list_segments(folder)[-1].number
    files = [segment_path(folder, newest), segment_path(folder, newest + 1)]
    files += [file.with_suffix(".new") for file in files]
    narrowed = [word for path in [folder, *files] for word in ("-P", str(path))]
    tracing = ["strace", "-f", "-qq", *narrowed, "-o", str(plane.folder / "start.strace"), "-e", f"trace={call}"]
    command = [*tracing, "-e", f"inject={call}:signal=SIGKILL:when={number}", *plane.command()]
    with (plane.folder / "switch.log").open("ab") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, cwd=plane.folder, env=plane.environment(), text=True
        )
    assert process.stdout is not None
    is_ready = process.stdout.readline().startswith("ready")
    if is_ready:
        # The switch is strace's child: it goes first, so that nothing of it stays behind.
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
    process.wait(20.0)
    process.stdout.close()
    return not is_ready


def test_whatever_message_is_the_last_to_leave_the_call_behind_it_is_known(plane: Plane) -> None:
    """A call is written before its INVITE leaves, its answer before the 200 does: killed at each sending.

    Several messages of one wake-up leave by one call, a single one by another; each kind is counted by itself.
    """
    books = Books(plane)
    kills = {"sendmmsg": 0, "sendto": 0}
    for call in kills:
        for number in range(1, 20):
            if not _is_killed_at(plane, books, call, number):
                break
            kills[call] += 1
    assert kills["sendmmsg"] >= 1  # 100 and INVITE
    assert kills["sendto"] >= 1  # 200, ACK
    assert max(kills.values()) < 19


def _is_up(plane: Plane) -> bool:
    try:
        plane.stats()
    except (OSError, EOFError):
        return False
    return True


def _is_killed_at(plane: Plane, books: Books, call: str, number: int) -> bool:
    with Vendor(plane.vendor, plane.switch) as vendor, Caller(plane.customer, plane.switch) as caller:
        with plane.fault(f"{call}:signal=SIGKILL:when={number}"):
            caller.run(1, settle_s=1.0, hangs_up=False, until=lambda: not plane.is_running())
        # While strace holds it, a killed process is not seen to be gone.
        is_untouched = _is_up(plane)
        if is_untouched:
            books.reached |= vendor.answered
            caller.hang_up_all(settle_s=0.5)
            books.ended |= caller.ended
            books.end_live_calls()
        else:
            plane.kill()
            plane.start()
            live = {each.call_id for each in plane.live_calls() if each.state == "answered"}
            books.reached |= vendor.answered
            assert caller.answered <= live  # it talks on
            books.check(calls=len(live))
            caller.hang_up_all(settle_s=0.5)
            assert caller.answered == caller.ended
            books.ended |= caller.ended
            books.end_live_calls()
    books.check()
    return not is_untouched
