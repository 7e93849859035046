"""Sudden death and failing disks, from outside: what callers were told is what the journal holds."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings import Journal
from switch.journal_read import JournalCorrupt
from switch.segments import MARK, segment_path
from tests.e2e.books import check_cdrs
from tests.e2e.peer import Dialog, Peer, Seen, answered_call, hang_up
from tests.e2e.plane import Plane

pytestmark = pytest.mark.slow

GROUP = Journal(sync="group", group_ms=5)


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    made = Plane(tmp_path, journal=GROUP)
    made.start()
    yield made
    made.kill()


def test_a_failed_sync_stops_new_calls_and_ends_no_running_one(plane: Plane) -> None:
    with (
        plane.peer(plane.customer) as caller,
        plane.peer(plane.vendor) as vendor,
    ):
        dialog, _ = answered_call(caller, vendor)
        done, _ = answered_call(caller, vendor)
        with plane.fault("fdatasync:error=EIO"):
            hang_up(done, caller, vendor)  # its record is what cannot be synced
            plane.wait(lambda: "journal_failed" in plane.log(), "the alarm")
        # The disk is well again, but what the page cache dropped nobody knows: it stays closed.
        for _ in range(3):
            late = refusal(caller)
            assert late.status == 503
            assert int(late.header("Retry-After")) > 0
            time.sleep(0.6)
        assert "journal_failed" in plane.standing_alarms()
        assert plane.stats().gauges["journal_failed"] == 1.0
        hang_up(dialog, caller, vendor)
        assert len([seen for seen in vendor.seen if seen.method == "INVITE"]) == 2
        # Both have ended, so both are in the journal: the second in a segment begun since.
        check_cdrs(plane, {done.call_id, dialog.call_id})
        plane.assert_sound()
        plane.kill()
        plane.start()
        again, _ = answered_call(caller, vendor)
        hang_up(again, caller, vendor)
    plane.wait(lambda: again.call_id in {cdr.call_id for cdr in plane.cdrs()}, "the CDR")
    check_cdrs(plane, {done.call_id, dialog.call_id, again.call_id})


def test_a_full_disk_stops_new_calls_and_loses_no_record(plane: Plane) -> None:
    """Records wait in memory while writes fail with ENOSPC, and are on the disk once there is room."""
    with plane.peer(plane.customer) as caller, plane.peer(plane.vendor) as vendor:
        calls = [answered_call(caller, vendor)[0] for _ in range(6)]
        segment = plane.newest_segment()
        following = [segment_path(segment.parent, int(segment.stem) + step) for step in range(1, 40)]
        with plane.fault("write:error=ENOSPC", segment, *following):
            hang_up(calls[0], caller, vendor)
            plane.wait(lambda: "journal_failed" in plane.log(), "the alarm")
            late = refusal(caller)
            assert late.status == 503
            assert int(late.header("Retry-After")) > 0
            for dialog in calls[1:4]:
                hang_up(dialog, caller, vendor)
            assert "journal_failed" in plane.standing_alarms()
            assert plane.stats().gauges["journal_spooled"] >= 4
            time.sleep(1.5)  # it tries again in vain
            assert refusal(caller).status == 503
        plane.wait(lambda: "journal_recovered" in plane.log(), "the journal")
        assert plane.standing_alarms() == set()
        for dialog in calls[4:]:
            hang_up(dialog, caller, vendor)
        again, _ = answered_call(caller, vendor)
        hang_up(again, caller, vendor)
        ended = {dialog.call_id for dialog in [*calls, again]}
        plane.wait(lambda: ended <= {cdr.call_id for cdr in plane.cdrs()}, "the CDRs")
    check_cdrs(plane, ended)
    plane.assert_sound()


def test_a_torn_tail_is_cut_and_named_and_what_stood_before_it_stays(plane: Plane) -> None:
    ended = ended_calls(plane, 3)
    plane.kill()
    segment = plane.newest_segment()
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-7])
    plane.start()
    found = [line for line in plane.log().splitlines() if "journal_damaged" in line]
    assert len(found) == 1
    assert str(segment) in found[0]
    assert re.search(r"offset \d+", found[0])
    assert "journal_damaged" in plane.standing_alarms()
    kept = {cdr.call_id for cdr in plane.cdrs()}
    assert kept < ended
    assert len(kept) == 2
    ended_calls(plane, 1)
    plane.wait(lambda: len(plane.cdrs()) == 3, "the new CDR")
    # A second start finds nothing amiss: the tail was cut for good.
    plane.kill()
    plane.start()
    assert plane.log().count("journal_damaged") == 1
    check_cdrs(plane, kept)


def test_a_flipped_byte_is_named_with_its_place_and_never_read_as_money(plane: Plane) -> None:
    ended_calls(plane, 3)
    plane.kill()
    segment = plane.newest_segment()
    data = bytearray(segment.read_bytes())
    inside = data.index(b"\xa5ended")  # the first call's CDR, with other records behind it
    place = data.rindex(MARK, 0, inside)
    data[inside + 200] ^= 0x01
    segment.write_bytes(data)
    plane.start()
    found = [line for line in plane.log().splitlines() if "journal_damaged" in line]
    assert len(found) == 1
    assert f"{segment}: offset {place}:" in found[0]
    assert "checksum" in found[0]
    assert segment.read_bytes() == data  # evidence: nothing was cut
    with pytest.raises(JournalCorrupt, match=str(place)):
        plane.cdrs()
    ended_calls(plane, 1)


def test_a_second_switch_on_the_same_folder_says_so_and_leaves_the_first_alone(plane: Plane, tmp_path: Path) -> None:
    # With other ports, so that the folder is all that they share.
    settings = (tmp_path / "tandem.toml").read_text()
    (tmp_path / "second.toml").write_text(settings.replace("port = 5060", "port = 0"))
    command = [word.replace("tandem.toml", "second.toml") for word in plane.command()]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=30, cwd=tmp_path, env=plane.environment(), check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"switch: {plane.data}: another switch runs on this data folder\n"
    check_cdrs(plane, ended_calls(plane, 1))


def test_a_killed_switch_starts_again_at_once_on_the_same_ports(plane: Plane) -> None:
    """UDP and TCP, with a connection that was up, five times over."""
    for _ in range(5):
        with plane.peer((plane.customer[0], 0), "tcp") as caller, plane.peer(plane.vendor) as vendor:
            answered_call(caller, vendor)
            plane.kill()
            plane.start()
            assert caller.is_closed()
    plane.assert_sound()


def ended_calls(plane: Plane, count: int) -> set[str]:
    """So many calls from begin to end, with their records in the journal; their Call-IDs."""
    with plane.peer(plane.customer) as caller, plane.peer(plane.vendor) as vendor:
        ended = set()
        for _ in range(count):
            dialog, _ = answered_call(caller, vendor)
            hang_up(dialog, caller, vendor)
            ended.add(dialog.call_id)
    return ended


def refusal(caller: Peer) -> Seen:
    """What a new call is told."""
    dialog = Dialog(caller, "442071000001")
    caller.send(dialog.invite())
    answer = caller.wait_for_final()
    caller.send(dialog.ack(answer))
    return answer
