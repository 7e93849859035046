"""Lost, late, repeated and forged messages round the begin and the end of a call: what is billed, and to whom."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

import pytest

from config.settings import Timers
from switch.records import Cdr
from tests.e2e.peer import SDP, Address, Dialog, Peer, Seen, answered_call, hang_up, message, reply
from tests.e2e.plane import Plane

pytestmark = pytest.mark.slow

QUICK = Timers(t1_ms=50, t2_ms=400, t4_ms=500)
"""A tenth of RFC 3261's: 64*T1, the wait for an ACK, is 3.2 s."""
RACES = 400
ROUND = 50


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    made = Plane(tmp_path_factory.mktemp("billing"), timers=QUICK)
    made.start()
    yield made
    assert made.stop() == 0
    assert "Traceback" not in made.log(), made.log()[-3000:]


@pytest.fixture
def caller(plane: Plane) -> Iterator[Peer]:
    with plane.peer((plane.customer[0], 0)) as peer:
        yield peer


@pytest.fixture
def vendor(plane: Plane) -> Iterator[Peer]:
    with plane.peer(plane.vendor) as peer:
        yield peer


def of(dialog: Dialog, method: str) -> Callable[[Seen], bool]:
    """A request of that call: an earlier test's call may still be repeating its own."""
    return lambda seen: not seen.status and seen.method == method and seen.header("Call-ID") == dialog.call_id


def cdr_of(plane: Plane, dialog: Dialog, within_s: float = 10.0) -> Cdr:
    plane.wait(lambda: [cdr for cdr in plane.cdrs() if cdr.call_id == dialog.call_id], "the CDR", within_s)
    (cdr,) = [cdr for cdr in plane.cdrs() if cdr.call_id == dialog.call_id]
    return cdr


def callees_bye(dialog: Dialog, invite: Seen, vendor: Peer) -> str:
    """The callee hangs up: From and To change places, the route set is as its INVITE had it."""
    return message(
        [
            f"BYE {invite.header('Contact').partition('<')[2].partition('>')[0]} SIP/2.0",
            f"Via: SIP/2.0/UDP {vendor.at[0]}:{vendor.at[1]};branch=z9hG4bK-end-{dialog.branch}",
            *(f"Route: {value}" for value in invite.headers("Record-Route")),
            "Max-Forwards: 70",
            f"From: {invite.header('To')};tag=v1",
            f"To: {invite.header('From')}",
            f"Call-ID: {dialog.call_id}",
            "CSeq: 9 BYE",
        ]
    )


@pytest.mark.parametrize("side", ["caller", "callee"])
def test_a_bye_that_the_other_side_never_answers_ends_the_billing_where_it_came(
    plane: Plane, caller: Peer, vendor: Peer, side: str
) -> None:
    dialog, invite = answered_call(caller, vendor)
    time.sleep(0.3)
    ended_ms = time.time_ns() // 1_000_000
    if side == "caller":
        caller.send(dialog.inside("BYE", 2))
        vendor.wait_for(of(dialog, "BYE"))
    else:
        vendor.send(callees_bye(dialog, invite, vendor))
        caller.wait_for(of(dialog, "BYE"))
    # Nobody answers; the switch repeats it until 64*T1 are over.
    cdr = cdr_of(plane, dialog)
    assert (cdr.release, cdr.cause) == (side, "normal")
    assert abs(cdr.ended_ms - ended_ms) < 1_000
    assert cdr.duration_ms < 3_000
    assert cdr.gross_nanos > 0
    plane.wait(lambda: plane.stats().gauges["dialogs"] == 0, "the dialog to end", 15)


def test_both_sides_hang_up_in_one_moment_and_pay_once(plane: Plane, caller: Peer, vendor: Peer) -> None:
    dialog, invite = answered_call(caller, vendor)
    caller.send(dialog.inside("BYE", 2))
    vendor.send(callees_bye(dialog, invite, vendor))
    for peer in (caller, vendor):
        for seen in peer.drain(0.3):
            if of(dialog, "BYE")(seen):
                peer.send(reply(peer, seen, 200, "OK"))
    plane.wait(lambda: plane.stats().gauges["dialogs"] == 0, "the dialog to end", 15)
    assert cdr_of(plane, dialog).cause == "normal"


def test_a_bye_before_the_200_never_leaves_media_without_billing(plane: Plane, caller: Peer, vendor: Peer) -> None:
    """Either the call is over for both, or it is answered and billed to its real end."""
    dialog = Dialog(caller, "442071000001")
    caller.send(dialog.invite())
    invite = vendor.wait_for(of(dialog, "INVITE"))
    vendor.send(reply(vendor, invite, 183, "Session Progress", body=SDP))
    dialog.take(caller.wait_for_status(183))
    caller.send(dialog.inside("BYE", 2))
    for seen in vendor.drain(0.2):
        if of(dialog, "BYE")(seen):
            vendor.send(reply(vendor, seen, 200, "OK"))
    told = caller.wait_for_final("BYE").status
    vendor.send(reply(vendor, invite, 200, "OK", body=SDP))
    final = caller.wait_for_final()
    caller.send(dialog.ack(final))
    if final.status == 200:
        vendor.wait_for(of(dialog, "ACK"))
        time.sleep(1.2)
        assert dialog.call_id not in {cdr.call_id for cdr in plane.cdrs()}
        hang_up(dialog, caller, vendor, 3)
        assert cdr_of(plane, dialog).duration_ms >= 1_200
    else:
        assert told == 200
        bye = vendor.wait_for(of(dialog, "BYE"))
        vendor.send(reply(vendor, bye, 200, "OK"))
        assert cdr_of(plane, dialog).gross_nanos == 0


@pytest.mark.parametrize("ended_by", ["nobody", "late ack"])
def test_an_answer_that_is_never_acknowledged_does_not_stay_open(
    plane: Plane, caller: Peer, vendor: Peer, ended_by: str
) -> None:
    dialog = Dialog(caller, "442071000001")
    caller.send(dialog.invite())
    invite = vendor.wait_for(of(dialog, "INVITE"))
    vendor.send(reply(vendor, invite, 200, "OK", body=SDP))
    answer = caller.wait_for_final()
    if ended_by == "late ack":
        # Lost twice, then it comes: the call stands. It is the callee who repeats its 200 (RFC 3261 §13.3.1.4).
        for _ in range(2):
            vendor.send(reply(vendor, invite, 200, "OK", body=SDP))
            assert caller.wait_for_final().status == 200
        caller.send(dialog.ack(answer))
        vendor.wait_for(of(dialog, "ACK"))
        caller.drain(0.5)
        time.sleep(3.5)
        assert dialog.call_id not in {cdr.call_id for cdr in plane.cdrs()}
        hang_up(dialog, caller, vendor)
        assert cdr_of(plane, dialog).cause == "normal"
        return
    byes: set[Address] = set()
    last = time.monotonic() + 8.0
    while len(byes) < 2 and time.monotonic() < last:
        for peer in (caller, vendor):
            seen = peer.receive(0.05)
            if seen is not None and of(dialog, "BYE")(seen):
                byes.add(peer.at)
                peer.send(reply(peer, seen, 200, "OK"))
    assert byes == {caller.at, vendor.at}
    cdr = cdr_of(plane, dialog)
    assert (cdr.cause, cdr.release) == ("no_ack", "switch")
    assert cdr.duration_ms <= 5_000
    assert plane.stats().gauges["calls_live"] == 0


def test_cancel_and_answer_in_one_moment_always_agree(plane: Plane, caller: Peer, vendor: Peer) -> None:
    """Hundreds of races, many at once: what the caller was told, what the vendor sees, and the CDR agree."""
    chance = random.Random(57)
    for _ in range(RACES // ROUND):
        dialogs = {dialog.call_id: dialog for dialog in (Dialog(caller, "442071000001") for _ in range(ROUND))}
        invites: dict[str, Seen] = {}
        for dialog in dialogs.values():
            caller.send(dialog.invite())
        while len(invites) < ROUND:
            seen = vendor.wait_for_request("INVITE")
            if seen.header("Call-ID") in dialogs:
                invites[seen.header("Call-ID")] = seen
                vendor.send(reply(vendor, seen, 180, "Ringing"))
        ringing: set[str] = set()
        while len(ringing) < ROUND:
            ringing.add(caller.wait_for_status(180).header("Call-ID"))
        acts = [(call_id, is_cancel) for call_id in dialogs for is_cancel in (True, False)]
        chance.shuffle(acts)
        for call_id, is_cancel in acts:
            if is_cancel:
                caller.send(dialogs[call_id].cancel())
            else:
                vendor.send(reply(vendor, invites[call_id], 200, "OK", body=SDP))
        told = finish(dialogs, caller, vendor)
        cdrs = {cdr.call_id: cdr for cdr in plane.cdrs() if cdr.call_id in dialogs}
        for call_id, status in told.items():
            cdr = cdrs[call_id]
            assert cdr.status == status
            assert (cdr.cause, cdr.gross_nanos > 0, cdr.answered_ms is not None) == (
                ("normal", True, True) if status == 200 else ("cancelled", False, False)
            )
        assert set(told.values()) == {200, 487}
        assert plane.stats().gauges["calls_live"] == 0
    cdrs_all = plane.cdrs()
    assert len({cdr.call_id for cdr in cdrs_all}) == len(cdrs_all)


def finish(dialogs: dict[str, Dialog], caller: Peer, vendor: Peer) -> dict[str, int]:
    """See every call to its end on both sides; what each caller was told."""
    told: dict[str, int] = {}
    over: set[str] = set()
    last = time.monotonic() + 10.0
    while (len(told) < len(dialogs) or len(over) < len(dialogs)) and time.monotonic() < last:
        seen = caller.receive(0.005)
        if seen is not None and seen.method == "INVITE" and seen.status >= 200:
            dialog = dialogs.get(seen.header("Call-ID"))
            if dialog is not None:
                assert told.setdefault(dialog.call_id, seen.status) == seen.status
                caller.send(dialog.ack(seen))
                if seen.status == 200:
                    caller.send(dialog.inside("BYE", 2))
        asked = vendor.receive(0.005)
        if asked is not None and not asked.status and asked.method in ("BYE", "CANCEL"):
            vendor.send(reply(vendor, asked, 200, "OK"))
            if asked.method == "BYE":  # from the caller, or from the switch for the caller who had cancelled
                over.add(asked.header("Call-ID"))
    assert len(told) == len(dialogs)
    assert over >= dialogs.keys()
    return told
