"""Calls that are asked whether they are up: by real softphones, over a killed switch, by sockets that say nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings import Liveness, Timers
from tests.e2e.peer import SDP, Dialog, answered_call, hang_up, reply
from tests.e2e.plane import Plane

pytestmark = pytest.mark.slow

HASTY = Timers(t1_ms=50, t2_ms=200, t4_ms=250)
"""A transaction gives up after 3.2 s."""
ASKING = Liveness(keepalive_s=1, keepalive_failures=2, keepalive_of=2, recovery_probe_s=0.5)


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    made = Plane(tmp_path, timers=HASTY, liveness=ASKING)
    made.start()
    yield made
    made.stop()


def test_softphones_answer_probes_refresh_their_session_and_outlive_the_switch(tmp_path: Path) -> None:
    pytest.importorskip("pjsua2")
    from tests.e2e.test_softphone import Softphone

    plane = Plane(tmp_path, liveness=ASKING)
    plane.start()
    number = f"sip:442071000001@{plane.switch[0]}:{plane.switch[1]}"
    callee = Softphone(tmp_path, "answer", plane.vendor[0], str(plane.vendor[1]))
    caller = Softphone(tmp_path, "call", plane.customer[0], str(plane.customer[1]), "acme", "", number, "6", "1")
    try:
        plane.wait(lambda: (tmp_path / f"{plane.vendor[0]}.log").read_text().count("UPDATE sip:"), "the refresh")
        plane.wait(lambda: (tmp_path / f"{plane.vendor[0]}.log").read_text().count("OPTIONS sip:"), "a probe")
        plane.kill()
        plane.start()
        assert plane.stats().counters["calls_restored"] == 1
        for phone in (caller.result(), callee.result()):
            assert "CONFIRMED" in phone["states"], phone
        (cdr,) = plane.cdrs()
        assert (cdr.cause, cdr.release) == ("normal", "caller")
        assert 5_900 <= cdr.duration_ms <= 7_000
    finally:
        caller.stop()
        callee.stop()
        plane.stop()
    for address in (plane.customer[0], plane.vendor[0]):
        log = (tmp_path / f"{address}.log").read_text(errors="replace")
        assert log.count("OPTIONS sip:") >= 3
        assert "Session-Expires: 1800;refresher=uac" in log
        assert "SIP/2.0 481" not in log


def test_a_softphone_takes_our_word_that_it_is_to_refresh(tmp_path: Path) -> None:
    pytest.importorskip("pjsua2")
    from tests.e2e.test_softphone import Softphone

    plane = Plane(tmp_path)
    plane.start()
    number = f"sip:442071000001@{plane.switch[0]}:{plane.switch[1]}"
    with plane.peer(plane.vendor) as vendor:
        caller = Softphone(tmp_path, "call", plane.customer[0], str(plane.customer[1]), "acme", "", number, "2", "0.5")
        try:
            invite = vendor.wait_for_request("INVITE", within_s=10.0)
            assert invite.header("Session-Expires").startswith("1800")
            vendor.send(reply(vendor, invite, 200, "OK", body=SDP))
            vendor.wait_for_request("ACK")
            update = vendor.wait_for_request("UPDATE")
            assert update.header("Session-Expires") == "1800;refresher=uac"
            vendor.send(reply(vendor, update, 200, "OK"))
            vendor.send(reply(vendor, vendor.wait_for_request("BYE", within_s=5.0), 200, "OK"))
            assert "CONFIRMED" in caller.result()["states"]
        finally:
            caller.stop()
            plane.stop()
    assert [cdr.cause for cdr in plane.cdrs()] == ["normal"]


def test_a_vendor_that_falls_silent_ends_the_call_where_it_was_last_heard(plane: Plane) -> None:
    with plane.peer(plane.customer) as caller, plane.peer(plane.vendor) as vendor:
        answered_call(caller, vendor)
        for _ in range(2):
            vendor.send(reply(vendor, vendor.wait_for_request("OPTIONS"), 500, "Older Number"))
            caller.send(reply(caller, caller.wait_for_request("OPTIONS"), 200, "OK"))

        def answer() -> bool:
            if any(not seen.status and seen.method == "BYE" for seen in caller.drain(0.1)):
                return True
            for seen in caller.seen[-3:]:
                if not seen.status and seen.method == "OPTIONS":
                    caller.send(reply(caller, seen, 200, "OK"))
            return False

        plane.wait(answer, "the BYE", within_s=15.0)
        plane.wait(plane.cdrs, "the CDR")
    (cdr,) = plane.cdrs()
    assert (cdr.cause, cdr.release) == ("keepalive_failed", "switch")
    assert 1_400 <= cdr.duration_ms <= 3_500
    assert plane.stats().gauges["calls_live"] == 0


def test_a_call_whose_end_was_missed_while_we_were_down_is_closed_where_it_was_last_known(plane: Plane) -> None:
    with plane.peer(plane.customer) as caller, plane.peer(plane.vendor) as vendor:
        answered_call(caller, vendor)
        plane.kill()
        plane.start()
        probe = vendor.wait_for_request("OPTIONS")
        vendor.send(reply(vendor, probe, 481, "Call/Transaction Does Not Exist"))
        bye = caller.wait_for_request("BYE")
        assert 'text="lost_in_restart"' in bye.header("Reason")
        assert int(bye.header("CSeq").split()[0]) > 1
        caller.send(reply(caller, bye, 200, "OK"))
        vendor.send(reply(vendor, vendor.wait_for_request("BYE"), 481, "Call/Transaction Does Not Exist"))
        plane.wait(plane.cdrs, "the CDR")
    (cdr,) = plane.cdrs()
    assert (cdr.cause, cdr.status) == ("lost_in_restart", 200)
    assert cdr.duration_ms < 1_500


def test_a_vendor_that_answers_after_we_were_killed_is_hung_up(plane: Plane) -> None:
    with plane.peer(plane.customer) as caller, plane.peer(plane.vendor) as vendor:
        dialog = Dialog(caller, "442071000001")
        caller.send(dialog.invite())
        invite = vendor.wait_for_request("INVITE")
        vendor.send(reply(vendor, invite, 180, "Ringing"))
        caller.wait_for_status(180)
        plane.kill()
        plane.start()
        refusal = caller.wait_for_final()
        assert refusal.status == 503
        caller.send(dialog.ack(refusal))
        answer = reply(vendor, invite, 200, "OK", body=SDP)
        vendor.send(answer)
        ack = vendor.wait_for_request("ACK")
        bye = vendor.wait_for_request("BYE")
        vendor.send(reply(vendor, bye, 200, "OK"))
        assert bye.header("To") == ack.header("To")
        vendor.send(answer)
        vendor.wait_for_request("ACK")
        assert [seen for seen in vendor.drain(0.5) if seen.method == "BYE"] == []
        caller.drain(0.2)  # copies of the 503 that were under way
        answered, _ = answered_call(caller, vendor)
        hang_up(answered, caller, vendor)
    assert [cdr.cause for cdr in plane.cdrs()] == ["lost_in_restart", "normal"]
    plane.assert_sound()
