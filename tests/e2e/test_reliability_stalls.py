"""Disks and stores that are slow, full or broken, under a whole installation: calls go on, and nothing is lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from config.settings import Journal
from switch.segments import list_segments
from tests.e2e.faults import fault
from tests.e2e.peer import Dialog, Peer, answered_call, hang_up
from tests.e2e.plane import Plane
from tests.e2e.traffic import Caller, Vendor
from tests.fakes.example_calls import cdrs_by_call_id, example_vendor, whole_call
from tests.fakes.installation import Installation

pytestmark = pytest.mark.slow


def test_a_sync_that_takes_seconds_holds_up_no_call(tmp_path: Path) -> None:
    plane = Plane(tmp_path, journal=Journal(sync="group", group_ms=5))
    plane.start()
    try:
        with Vendor(plane.vendor, plane.switch), Caller(plane.customer, plane.switch) as caller:
            caller.run(5)
            with plane.fault("fdatasync:delay_enter=4000000"):
                caller.run(100, per_s=100)
                stats = plane.stats()
                # All are set up and over while their records still wait for the disk.
                assert len(caller.ended) == 105
                assert stats.gauges["journal_synced_sequence"] < stats.gauges["journal_sequence"]
            plane.wait(lambda: is_synced(plane), "the sync", 15)
        assert {cdr.call_id for cdr in plane.cdrs()} == caller.ended
        assert "journal_failed" not in plane.log()
    finally:
        plane.kill()


def is_synced(plane: Plane) -> bool:
    gauges = plane.stats().gauges
    return gauges["journal_synced_sequence"] == gauges["journal_sequence"]


def test_a_failed_sync_of_the_journal_shows_in_health_and_a_restart_mends_it(
    tandem: Installation, tmp_path: Path
) -> None:
    with example_vendor(tandem, tmp_path) as vendor:
        calls = {whole_call(tandem, vendor, number) for number in range(5)}
        switch = tandem.child("switch")
        with Peer(("127.0.0.1", 0), tandem.sip) as caller:
            dialog, _ = answered_call(caller, vendor, "1234442071000005")
            with fault(switch, tmp_path, "fdatasync:error=EIO", journal_segment(tandem)):
                hang_up(dialog, caller, vendor)
                tandem.wait(lambda: "journal_failed" in tandem.log.read_text(), "the alarm")
            calls.add(dialog.call_id)
            tandem.wait(lambda: tandem.health()["status"] != "ok", "health to tell")
        assert refusal(tandem) == 503
        assert any("journal" in fault for fault in tandem.health()["faults"])
        tandem.wait(lambda: calls <= cdrs_by_call_id(tandem).keys(), "the CDRs that were written")
        ready = len(tandem.ready_lines())
        os.kill(switch, signal.SIGKILL)
        tandem.wait(lambda: len(tandem.ready_lines()) > ready, "the switch again")
        tandem.wait(lambda: tandem.health()["status"] == "ok", "health")
        vendor.switch = tandem.sip
        calls.add(whole_call(tandem, vendor, 6))
        tandem.wait(lambda: calls == cdrs_by_call_id(tandem).keys(), "all CDRs")


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_store_that_takes_no_writes_stops_no_call_and_gets_every_cdr_later(
    tandem: Installation, tmp_path: Path, error: str
) -> None:
    with example_vendor(tandem, tmp_path) as vendor:
        calls = {whole_call(tandem, vendor, number) for number in range(3)}
        tandem.wait(lambda: calls == cdrs_by_call_id(tandem).keys(), "the first CDRs")
        database = [tandem.data / name for name in ("tandem.db", "tandem.db-wal", "tandem.db-journal")]
        with fault(tandem.child("control"), tmp_path, f"pwrite64:error={error}", *database):
            calls |= {whole_call(tandem, vendor, number) for number in range(10, 30)}
            tandem.wait(lambda: tandem.health()["status"] != "ok", "health to tell")
        tandem.wait(lambda: calls == cdrs_by_call_id(tandem).keys(), "all CDRs")
        tandem.wait(lambda: tandem.health()["status"] == "ok", "health")


def journal_segment(tandem: Installation) -> Path:
    return list_segments(tandem.data / "journal")[-1].path


def refusal(tandem: Installation) -> int:
    with Peer(("127.0.0.1", 0), tandem.sip) as caller:
        dialog = Dialog(caller, "1234442071000001")
        caller.send(dialog.invite())
        answer = caller.wait_for_final()
        caller.send(dialog.ack(answer))
    return answer.status
