"""Requests inside dialogs: numbers, credentials, crossings, and those that nobody answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from switch.snapshot import Customer, Endpoint, Provider
from switch.wire.headers import PROXY_AUTHORIZATION
from switch.wire.message import Request
from tests.fakes.carrier import DEFAULT_RECORDS, with_
from tests.fakes.world import CALLER, CHEAP, Packet, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def ring(world: World, seconds: float = 0.1) -> None:
    """A call that rings at the first vendor, in an early dialog that takes PRACK."""
    world.cheap.behaviour = (183,)
    world.caller.invite()
    world.run_for(seconds)


# What must not pass.


def test_credentials_for_us_reach_no_vendor_in_any_request_of_the_call(world: World) -> None:
    world.caller.invite()
    world.run_for(0.1)
    (call,) = world.engine.board.calls.live.values()
    call.is_challenged = True  # as after a digest answer
    secret = b'Proxy-Authorization: Digest username="alice"'
    world.caller.in_dialog("ACK", 1, extra=[secret])
    world.caller.in_dialog("INFO", 2, extra=[secret])
    world.caller.in_dialog("BYE", 3, extra=[secret])
    world.run_for(0.1)
    requests = world.cheap.requests()
    assert [r.method for r in requests] == [b"INVITE", b"ACK", b"INFO", b"BYE"]
    assert [r for r in requests if PROXY_AUTHORIZATION in r.ids] == []


def test_a_forced_number_is_not_undone_by_a_reinvite(tmp_path: Path) -> None:
    world = World(tmp_path, records=with_(DEFAULT_RECORDS, Endpoint, 1, force_from="442079460000"))
    world.talk(1)
    identity = b"P-Asserted-Identity: <sip:15557770000@192.0.2.10>"
    world.caller.in_dialog("INVITE", 2, extra=[identity, b"Remote-Party-ID: <sip:15557770000@192.0.2.10>"])
    world.run_for(0.1)
    assert b"15557770000" not in world.cheap.requests("INVITE")[-1].data


# Sequence numbers.


def test_a_caller_counts_anew_in_each_early_dialog(world: World) -> None:
    ring(world)
    world.caller.in_dialog("PRACK", 2)
    world.run_for(0.1)
    world.cheap.reply(world.cheap.requests("PRACK")[0], 200)
    world.dear.behaviour = (183,)
    world.cheap.answer(503)
    world.run_for(0.1)
    world.caller.in_dialog("PRACK", 2)
    world.run_for(0.1)
    (prack,) = world.dear.requests("PRACK")
    world.dear.reply(prack, 200)
    world.dear.answer(200)
    world.run_for(0.1)
    assert world.caller.statuses("PRACK") == [200, 200]
    world.caller.ack()
    world.caller.bye(cseq=3)
    world.run_for(0.1)
    assert world.caller.statuses("BYE") == [200]


def test_the_bye_to_a_late_answer_counts_on_from_the_early_dialog(world: World) -> None:
    world.cheap.honours_cancel = False
    ring(world)
    world.caller.in_dialog("PRACK", 2)
    world.caller.in_dialog("UPDATE", 3)
    world.run_for(0.1)
    world.caller.cancel()
    world.run_for(0.1)
    world.cheap.answer(200)
    world.run_for(0.1)
    (bye,) = world.cheap.requests("BYE")
    assert bye.cseq > 3


def test_our_bye_counts_on_from_what_each_side_has_been_sent(world: World) -> None:
    world.talk(1)
    world.caller.in_dialog("INFO", 7)
    world.cheap.in_dialog("INFO", 41)
    world.run_for(0.1)
    (live,) = world.engine.list_calls(None, world.now)
    world.engine.end_call(live.cdr_id, world.now)
    world._collect()
    world.run_for(0.1)
    assert [r.cseq for r in world.cheap.requests("BYE")] == [8]
    assert [r.cseq for r in world.caller.requests("BYE")] == [42]


# Crossings.


def test_byes_that_cross_end_the_call_once_and_both_are_answered(world: World) -> None:
    world.talk(10)
    world.cheap.answers_bye = False
    world.caller.bye()
    world.cheap.in_dialog("BYE", 1)
    world.run_for(0.1)
    (to_cheap,) = world.cheap.requests("BYE")
    (to_caller,) = world.caller.requests("BYE")
    world.cheap.reply(to_cheap, 200)
    world.caller.reply(to_caller, 200)
    world.run_for(0.1)
    assert (world.caller.statuses("BYE"), world.cheap.statuses("BYE")) == ([200], [200])
    (cdr,) = world.cdrs
    assert cdr.release == "caller"
    world.run_for(60)
    world.assert_idle()


def test_a_bye_that_crosses_ours_is_refused_and_charged_once(world: World) -> None:
    world.talk(10)
    (live,) = world.engine.list_calls(None, world.now)
    world.engine.end_call(live.cdr_id, world.now)
    world.caller.bye()
    world._collect()
    world.run_for(0.1)
    assert world.caller.statuses("BYE") == [481]
    assert [cdr.cause for cdr in world.cdrs] == ["killed"]


def test_reinvites_that_cross_are_refused_by_the_peers_and_leave_the_call_as_it_was(world: World) -> None:
    world.talk(1)
    world.caller.in_dialog("INVITE", 2, extra=[b"Contact: <sip:moved@192.0.2.10:5099>"])
    world.cheap.in_dialog("INVITE", 1, extra=[b"Contact: <sip:moved@198.51.100.1:5099>"])
    world.run_for(0.1)
    world.cheap.reply(world.cheap.requests("INVITE")[-1], 491)
    world.caller.reply(world.caller.requests("INVITE")[-1], 491)
    world.run_for(0.1)
    assert (world.caller.statuses()[-1], world.cheap.statuses()[-1]) == (491, 491)
    world.caller.bye(cseq=3)
    world.run_for(0.1)
    assert world.caller.statuses("BYE") == [200]
    world.run_for(60)
    world.assert_idle()


def test_an_ack_that_comes_again_goes_on_again(world: World) -> None:
    world.talk(1)
    world.caller.ack()
    world.caller.ack()
    world.run_for(40)
    assert len(world.cheap.requests("ACK")) == 3
    assert world.cdrs == []


def test_a_bye_that_overtakes_the_ack_ends_the_call(world: World) -> None:
    world.caller.invite()
    world.run_for(0.1)
    world.caller.bye()
    world.caller.ack()
    world.run_for(0.1)
    assert world.caller.statuses("BYE") == [200]
    world.run_for(60)
    assert [cdr.cause for cdr in world.cdrs] == ["normal"]
    world.assert_idle()


def test_a_caller_that_leaves_by_bye_while_it_rings_is_connected_to_nobody_else(world: World) -> None:
    ring(world)
    world.caller.bye(cseq=2)
    world.run_for(0.1)
    assert world.caller.statuses("BYE") == [200]
    world.cheap.answer(500)
    world.run_for(0.1)
    assert world.dear.invites == []
    assert world.caller.statuses() == [183, 487]
    assert (world.cdrs[0].cause, world.cdrs[0].release) == ("cancelled", "caller")


def test_a_vendor_that_ignores_the_early_bye_is_cancelled_in_time(tmp_path: Path) -> None:
    world = World(tmp_path, records=with_(DEFAULT_RECORDS, Customer, 1, ring_ms=5_000))
    ring(world)
    world.caller.bye(cseq=2)
    world.run_for(6)
    assert world.dear.invites == []
    assert world.cdrs[0].cause == "cancelled"
    world.run_for(60)
    world.assert_idle()


# Requests that nobody answers.


def test_a_reinvite_that_rings_for_ever_ends(world: World) -> None:
    world.talk(1)
    world.caller.in_dialog("INVITE", 2)
    world.run_for(0.1)
    world.cheap.honours_cancel = False
    world.cheap.reply(world.cheap.requests("INVITE")[-1], 180)
    world.run_for(0.1)
    world.caller.bye(cseq=3)
    world.run_for(170)
    assert world.sent("CANCEL", CHEAP) == []
    world.run_for(60)
    assert len(world.sent("CANCEL", CHEAP)) == 1
    assert world.caller.statuses()[-1] == 408
    world.run_for(40)
    world.assert_idle()


def test_the_cancel_of_a_reinvite_waits_for_its_first_response_and_is_sent_once(world: World) -> None:
    world.talk(1)
    world.caller.in_dialog("INVITE", 2)
    world.run_for(0.1)
    invite = next(p.data for p in world.log if p.source == CALLER and b"CSeq: 2 INVITE" in p.data)
    cancel = invite.replace(b"INVITE sip", b"CANCEL sip").replace(b"2 INVITE", b"2 CANCEL")
    world.caller.send(cancel)
    world.run_for(0.1)
    assert world.sent("CANCEL", CHEAP) == []
    reinvite = world.cheap.requests("INVITE")[-1]
    world.cheap.honours_cancel = False
    world.cheap.reply(reinvite, 100)
    world.run_for(0.1)
    world.caller.send(cancel)
    world.caller.send(cancel)
    world.run_for(0.1)
    assert len(world.sent("CANCEL", CHEAP)) == 1
    assert world.caller.statuses("CANCEL") == [200, 200, 200]
    world.cheap.reply(reinvite, 487)
    world.run_for(0.1)
    assert world.caller.statuses()[-1] == 487
    world.caller.bye(cseq=3)
    world.run_for(60)
    world.assert_idle()


@pytest.mark.parametrize(("method", "status"), [("BYE", 503), ("INFO", 503), ("INVITE", 503)])
def test_a_request_that_cannot_be_delivered_is_answered_at_once(world: World, method: str, status: int) -> None:
    world.talk(1)
    world.caller.in_dialog(method, 2)
    world.cheap.answers_bye = False
    world.run_for(0.01)
    (token,) = world.engine.layer.tokens
    world.engine.send_failed(token, "refused", world.now)
    world._collect()
    world.run_for(0.1)
    assert world.caller.statuses(method)[-1] == status


def test_an_info_without_an_answer_gets_none_from_us(world: World) -> None:
    """RFC 4320 §4.2."""
    world.talk(1)
    world.caller.in_dialog("INFO", 2)
    world.run_for(40)
    assert world.caller.statuses("INFO") == []
    world.caller.in_dialog("INVITE", 3)
    world.run_for(40)
    assert world.caller.statuses()[-1] == 408
    world.caller.bye(cseq=4)
    world.run_for(60)
    world.assert_idle()


# Two answers, loops.


def losing(name: str, to: tuple[str, int], count: int) -> Callable[[Packet], bool]:
    left = [count]

    def loses(packet: Packet) -> bool:
        if packet.target == to and packet.name == name and left[0]:
            left[0] -= 1
            return True
        return False

    return loses


def test_a_late_answer_while_the_next_vendor_rings_is_hung_up_and_costs_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, records=with_(DEFAULT_RECORDS, Customer, 1, pdd_ms=2_000))
    world.cheap.behaviour = (100,)
    world.cheap.honours_cancel = False
    world.dear.behaviour = (180,)
    world.caller.invite()
    world.run_for(2.5)
    answer = world.cheap.answer(200)
    world.cheap.send(answer)
    world.run_for(1)
    assert [r.method for r in world.cheap.requests()] == [b"INVITE", b"CANCEL", b"ACK", b"BYE", b"ACK"]
    assert world.caller.statuses() == [180]
    world.dear.answer(200)
    world.run_for(0.1)
    world.caller.ack()
    world.run_for(9.9)
    world.caller.bye()
    world.run_for(0.1)
    (cdr,) = world.cdrs
    assert [(a.cause, a.status, a.billed_s) for a in cdr.attempts] == [("pdd_timeout", 0, 0), ("answered", 200, 10)]
    assert cdr.cost_nanos == cdr.attempts[1].cost_nanos
    world.run_for(60)
    world.assert_idle()


def test_a_killed_call_that_rang_has_a_cancelled_attempt(world: World) -> None:
    ring(world)
    (live,) = world.engine.list_calls(None, world.now)
    world.engine.end_call(live.cdr_id, world.now)
    world._collect()
    world.run_for(60)
    (cdr,) = world.cdrs
    assert (cdr.cause, cdr.release, [a.cause for a in cdr.attempts]) == ("killed", "switch", ["cancelled"])
    world.assert_idle()


def test_a_loop_through_a_vendor_that_renames_the_call_ends_by_max_forwards(tmp_path: Path) -> None:
    """Nothing but its hops and Vias tells such a call from a new one (RFC 3261 §16.3, RFC 5393)."""
    looping = Endpoint(id=9, customer_id=1, direction="egress", host=CHEAP[0])
    world = World(tmp_path, records=(*with_(DEFAULT_RECORDS, Provider, 2, enabled=False), looping))
    world.cheap.behaviour = ()
    seen: list[Request] = []
    for _ in range(200):
        if not seen:
            world.caller.invite()
        world.run_for(0.01)
        fresh = world.cheap.invites[len(seen) :]
        if not fresh:
            break
        seen.extend(fresh)
        for invite in fresh:
            data = invite.data.replace(b"Call-ID: ", b"Call-ID: again", 1)
            world.cheap.send(data.replace(b"@198.51.100.1 SIP", b"@192.0.2.1 SIP", 1))
    assert [r.max_forwards for r in seen] == list(range(69, 0, -1))
    assert 483 in world.cheap.statuses()
    world.run_for(100)
    assert len(world.cdrs) == 69
    assert sum(cdr.gross_nanos for cdr in world.cdrs) == 0
    world.assert_idle()


def test_a_lost_200_to_the_bye_is_asked_for_again(tmp_path: Path) -> None:
    world = World(tmp_path, loses=losing("200 BYE", CALLER, 2))
    world.talk(5)
    bye = world.caller.bye()
    world.run_for(0.1)
    world.caller.send(bye)
    world.run_for(0.1)
    world.caller.send(bye)
    world.run_for(0.1)
    assert world.caller.statuses("BYE") == [200]
    assert len(world.cheap.requests("BYE")) == 1
    assert len(world.cdrs) == 1
