"""Calls through the whole engine: answered, refused, cancelled, failed over, hung up by either side."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.settings import Limits, Settings
from switch.snapshot import Customer, Endpoint, Gateway, IngressRoute, Provider
from switch.wire.headers import RECORD_ROUTE, ROUTE
from tests.fakes.carrier import DEFAULT_RECORDS, with_
from tests.fakes.world import CALLER, CHEAP, DEAR, Peer, World, settings


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_call_is_relayed_answered_and_billed_to_the_last_nano(world: World) -> None:
    world.talk(61.2)
    world.caller.bye()
    world.run_for(1)
    assert world.caller.statuses() == [180, 200]
    assert world.caller.statuses("BYE") == [200]
    (cdr,) = world.cdrs
    assert (cdr.status, cdr.cause, cdr.release) == (200, "normal", "caller")
    assert cdr.duration_ms == 61_298  # the ACK's 0.1 s, and two hops of 1 ms less
    assert cdr.billed_s == 62
    assert cdr.net_nanos == 51_700_000  # 62/60 × 0.05, up to four decimals
    assert cdr.cost_nanos == 20_700_000
    assert cdr.margin_nanos == 31_000_000
    assert [a.provider_name for a in cdr.attempts] == ["Cheapline"]
    assert cdr.codecs == "PCMA"
    world.run_for(40)
    world.assert_idle()


def test_the_invite_leaves_with_our_via_our_record_route_and_one_hop_less(world: World) -> None:
    world.caller.invite(extra=[b"Unknown:  kept   as it is"])
    world.run_for(0.01)
    (invite,) = world.cheap.invites
    assert invite.uri == b"sip:442071234567@198.51.100.1"
    assert invite.via.host == b"192.0.2.1"
    assert invite.via_count == 2
    assert invite.all(RECORD_ROUTE) == [b"<sip:192.0.2.1:5060;lr>"]
    assert invite.max_forwards == 69
    assert b"Unknown:  kept   as it is" in invite.lines


def test_trying_is_sent_at_once_and_the_vendors_own_is_kept_here(world: World) -> None:
    world.cheap.behaviour = (100,)
    world.caller.invite()
    world.run_for(2)
    assert world.sent("100 INVITE", CALLER) == [0.001]
    world.caller.send(world.caller.invite_data)
    world.run_for(0.1)
    assert len(world.sent("100 INVITE", CALLER)) == 2


def test_the_callee_hangs_up(world: World) -> None:
    world.talk(10)
    world.cheap.in_dialog("BYE", 1)
    world.run_for(0.01)
    (bye,) = world.caller.requests("BYE")
    assert bye.uri == b"sip:15557770000@192.0.2.10:5060"
    world.caller.reply(bye, 200)
    world.run_for(0.1)
    assert world.cheap.statuses("BYE") == [200]
    assert world.cdrs[0].release == "callee"


def test_billing_ends_at_the_first_bye_though_the_other_side_never_answers_it(world: World) -> None:
    world.cheap.answers_bye = False
    world.talk(30)
    world.caller.bye()
    world.run_for(0.01)
    assert world.cdrs[0].duration_ms == 30_098
    world.run_for(60)
    assert len(world.cdrs) == 1
    world.assert_idle()


def test_busy_ends_the_hunt_and_costs_nothing(world: World) -> None:
    world.cheap.behaviour = (100, 486)
    world.caller.invite()
    world.run_for(0.1)
    assert world.caller.statuses() == [486]
    (cdr,) = world.cdrs
    assert (cdr.cause, cdr.status, cdr.release, cdr.gross_nanos) == ("busy", 486, "callee", 0)
    assert [a.status for a in cdr.attempts] == [486]
    assert world.dear.invites == []
    world.run_for(40)
    world.assert_idle()


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 580])
def test_a_server_failure_goes_on_to_the_next_vendor(world: World, status: int) -> None:
    world.cheap.behaviour = (100, status)
    world.talk(5)
    world.caller.bye()
    world.run_for(0.1)
    assert world.caller.statuses() == [180, 200]
    (cdr,) = world.cdrs
    assert [(a.provider_name, a.status, a.cause) for a in cdr.attempts] == [
        ("Cheapline", status, "rejected"),
        ("Dearline", 200, "answered"),
    ]
    assert cdr.cost_nanos == cdr.attempts[1].cost_nanos == 3_000_000
    assert [c.outcome for c in cdr.explanation] == ["taken", "taken"]


@pytest.mark.parametrize("status", [404, 480, 486, 600, 603, 607])
def test_the_called_partys_word_is_final(world: World, status: int) -> None:
    world.cheap.behaviour = (status,)
    world.caller.invite()
    world.run_for(0.4)
    assert world.caller.statuses() == [status]
    assert world.dear.invites == []


def test_a_redirection_is_never_followed_and_shows_no_address(world: World) -> None:
    world.cheap.behaviour = (302,)
    world.cheap.extra[302] = [b"X-Vendor: secret"]
    world.caller.invite()
    world.run_for(1)
    assert world.caller.statuses() == [503]
    assert b"198.51.100.1" not in world.caller.last(503).data
    assert {p.target for p in world.log} == {("192.0.2.1", 5060), CHEAP, CALLER}


@pytest.mark.parametrize("status", [401, 407])
def test_a_vendors_challenge_is_not_passed_to_the_caller(world: World, status: int) -> None:
    world.cheap.behaviour = world.dear.behaviour = (status,)
    world.caller.invite()
    world.run_for(1)
    assert world.caller.statuses() == [503]
    assert world.cdrs[0].cause == "vendors_exhausted"


def test_a_vendors_own_table_of_causes_rules(tmp_path: Path) -> None:
    records = with_(DEFAULT_RECORDS, Provider, 1, cause_table={486: "next", 500: "stop"})
    world = World(tmp_path, records=records)
    world.cheap.behaviour = (486,)
    world.caller.invite()
    world.run_for(0.1)
    assert world.caller.statuses() == [180, 200]
    other = World(tmp_path, records=records)
    other.cheap.behaviour = (500,)
    other.caller.invite()
    other.run_for(0.1)
    assert other.caller.statuses() == [500]


def test_a_silent_vendor_is_left_after_the_first_reply_time_and_its_late_answer_is_hung_up(world: World) -> None:
    world.cheap.behaviour = ()
    world.caller.invite()
    world.run_for(5.1)
    assert world.sent("INVITE", CHEAP) == [0.001, 0.501, 1.501, 3.501]
    assert world.caller.statuses() == [180, 200]
    world.caller.ack()
    world.cheap.answer(200, tag="late")
    world.run_for(0.1)
    assert world.names_to(CHEAP)[-2:] == ["ACK", "BYE"]
    world.caller.bye()
    world.run_for(1)
    (cdr,) = world.cdrs
    assert [(a.cause, a.cost_nanos > 0) for a in cdr.attempts] == [("first_reply_timeout", False), ("answered", True)]
    world.run_for(60)
    world.assert_idle()


def test_a_late_provisional_of_a_vendor_given_up_earns_a_cancel(world: World) -> None:
    world.cheap.behaviour = ()
    world.caller.invite()
    world.run_for(5.5)
    world.cheap.answer(180)
    world.run_for(0.1)
    assert world.names_to(CHEAP)[-2:] == ["CANCEL", "ACK"]


def test_no_ringing_in_time_cancels_the_attempt_and_tries_the_next(tmp_path: Path) -> None:
    world = World(tmp_path, records=with_(DEFAULT_RECORDS, Customer, 1, pdd_ms=3_000))
    world.cheap.behaviour = (100,)
    world.caller.invite()
    world.run_for(3.2)
    assert world.sent("CANCEL", CHEAP) == [3.001]
    assert world.caller.statuses() == [180, 200]
    world.caller.ack()
    world.caller.bye()
    world.run_for(0.1)
    assert [a.cause for a in world.cdrs[0].attempts] == ["pdd_timeout", "answered"]


def test_ringing_without_an_answer_ends_everywhere_and_tells_no_answer(tmp_path: Path) -> None:
    world = World(tmp_path, records=with_(DEFAULT_RECORDS, Customer, 1, ring_ms=10_000))
    world.cheap.behaviour = world.dear.behaviour = (180,)
    world.caller.invite()
    world.run_for(21)
    assert world.caller.statuses() == [180, 180, 480]
    (cdr,) = world.cdrs
    assert (cdr.cause, cdr.status) == ("no_answer", 480)
    assert [a.cause for a in cdr.attempts] == ["ring_timeout", "ring_timeout"]
    world.run_for(60)
    world.assert_idle()


def test_all_vendors_failing_sends_the_last_status_in_our_words(world: World) -> None:
    world.cheap.behaviour = (503,)
    world.dear.behaviour = (500,)
    world.dear.extra[500] = [b"Server: SecretVendor/1"]
    world.caller.invite()
    world.run_for(1)
    assert world.caller.statuses() == [500]
    assert b"SecretVendor" not in world.caller.last(500).data
    assert b'text="vendors_exhausted"' in world.caller.last(500).data
    assert (world.cdrs[0].cause, world.cdrs[0].release) == ("vendors_exhausted", "switch")


def test_retry_after_rests_that_gateway_alone_for_that_long(tmp_path: Path) -> None:
    second = Gateway(id=3, provider_id=1, host="198.51.100.3", weight=0)
    world = World(tmp_path, records=(*DEFAULT_RECORDS, second))
    other = Peer(world, ("198.51.100.3", 5060))
    world.cheap.behaviour = (503,)
    world.cheap.extra[503] = [b"Retry-After: 60 (busy)"]
    world.caller.invite()
    world.run_for(0.1)
    world.caller.invite()
    world.run_for(0.1)
    assert len(world.cheap.invites) == 1
    assert len(other.requests("INVITE")) == 1
    world.run_for(61)
    world.caller.invite()
    world.run_for(0.1)
    assert len(world.cheap.invites) == 2


# Cancelling.


def test_cancel_before_any_reply_waits_for_one_and_answers_the_caller_at_once(world: World) -> None:
    world.cheap.behaviour = ()
    world.caller.invite()
    world.run_for(0.05)
    world.caller.cancel()
    world.run_for(0.05)
    assert world.caller.statuses("CANCEL") == [200]
    assert world.caller.statuses() == [487]
    assert world.sent("CANCEL", CHEAP) == []
    world.cheap.answer(180)
    world.run_for(0.05)
    assert len(world.sent("CANCEL", CHEAP)) == 1
    assert (world.cdrs[0].cause, world.cdrs[0].release) == ("cancelled", "caller")


def test_cancel_while_ringing_reaches_the_vendor_and_ends_clean(world: World) -> None:
    world.cheap.behaviour = (180,)
    world.caller.invite()
    world.run_for(2)
    world.caller.cancel()
    world.run_for(0.1)
    assert world.names_to(CHEAP) == ["INVITE", "CANCEL", "ACK"]
    assert world.caller.statuses() == [180, 487]
    world.run_for(60)
    world.assert_idle()
    assert [a.cause for a in world.cdrs[0].attempts] == ["cancelled"]


def test_a_200_that_crosses_the_cancel_is_acked_and_hung_up_and_charged_to_nobody(world: World) -> None:
    world.cheap.behaviour = (180,)
    world.cheap.honours_cancel = False
    world.caller.invite()
    world.run_for(1)
    world.caller.cancel()
    world.run_for(0.002)
    world.cheap.answer(200)
    world.run_for(0.1)
    assert world.caller.statuses() == [180, 487]
    assert "ACK" in world.names_to(CHEAP)
    assert "BYE" in world.names_to(CHEAP)
    (cdr,) = world.cdrs
    assert (cdr.cause, cdr.gross_nanos, cdr.cost_nanos, cdr.answered_ms) == ("cancelled", 0, 0, None)
    world.run_for(60)
    world.assert_idle()


def test_a_cancel_after_the_200_changes_nothing(world: World) -> None:
    world.caller.invite()
    world.run_for(0.01)
    world.caller.cancel()
    world.run_for(0.1)
    assert world.caller.statuses("CANCEL") == [200]
    assert world.caller.statuses() == [180, 200]
    assert world.sent("CANCEL", CHEAP) == []
    assert world.cdrs == []


def test_a_cancel_from_another_address_is_refused(world: World) -> None:
    world.cheap.behaviour = (180,)
    world.caller.invite()
    world.run_for(0.1)
    data = world.caller.cancel()
    world._queue.clear()
    Peer(world, ("203.0.113.66", 5060)).send(data)
    world.run_for(0.1)
    assert world.sent("CANCEL", CHEAP) == []
    assert world.cdrs == []


# Copies, losses, forks.


def test_seven_copies_of_everything_make_one_call_one_cdr_one_charge(world: World) -> None:
    invite = world.caller.invite()
    for _ in range(6):
        world.caller.send(invite)
    world.run_for(0.1)
    answer = world.cheap.answer(200)
    for _ in range(6):
        world.cheap.send(answer)
    world.run_for(0.1)
    world.caller.ack()
    world.run_for(10)
    bye = world.caller.bye()
    for _ in range(6):
        world.caller.send(bye)
    world.run_for(0.1)
    assert len(world.cheap.invites) == 1
    assert world.cheap.copies == 0
    assert world.caller.statuses().count(200) == 8  # each copy of the 200 goes on to the caller
    assert len(world.cdrs) == 1
    assert len(world.sent("BYE", CHEAP)) == 1
    world.run_for(60)
    world.assert_idle()


def test_an_invite_is_resent_at_doubling_intervals_until_timer_b(tmp_path: Path) -> None:
    records = with_(with_(DEFAULT_RECORDS, Provider, 1, first_reply_ms=0, pdd_ms=0), Provider, 2, enabled=False)
    world = World(tmp_path, records=records)
    world.cheap.behaviour = ()
    world.caller.invite()
    world.run_for(40)
    assert world.sent("INVITE", CHEAP) == [0.001, 0.501, 1.501, 3.501, 7.501, 15.501, 31.501]
    assert world.caller.statuses() == [503]
    assert world.cdrs[0].attempts[0].cause == "first_reply_timeout"


def test_a_failure_is_repeated_until_its_ack(world: World) -> None:
    world.cheap.behaviour = (486,)
    world.caller.acks_failures = False
    world.caller.invite()
    world.run_for(10)
    # Timers that are due within 5 ms of each other fire together.
    assert world.sent("486 INVITE", CALLER) == pytest.approx([0.003, 0.503, 1.503, 3.503, 7.503], abs=0.006)
    world.caller.ack_failure()
    world.run_for(30)
    assert len(world.sent("486 INVITE", CALLER)) == 5


def test_an_answer_without_ack_is_hung_up_after_32_seconds_and_charged_until_then(world: World) -> None:
    world.caller.invite()
    world.run_for(40)
    assert len(world.sent("BYE", CHEAP)) == 1
    assert len(world.sent("BYE", CALLER)) >= 1
    (cdr,) = world.cdrs
    assert (cdr.cause, cdr.release, cdr.billed_s) == ("no_ack", "switch", 32)
    world.run_for(60)
    world.assert_idle()


def test_the_second_fork_is_acked_and_hung_up_and_one_is_billed(world: World) -> None:
    world.caller.invite()
    world.run_for(0.1)
    world.caller.ack()
    answer = world.cheap.answer(200, tag="fork2")
    world.run_for(0.1)
    assert world.names_to(CHEAP)[-2:] == ["ACK", "BYE"]
    bye = world.cheap.requests("BYE")[0]
    assert bye.to_tag == b"fork2"
    world.cheap.send(answer)
    world.run_for(0.1)
    assert [r.to_tag for r in world.cheap.requests("ACK")] == [b"cheap", b"fork2", b"fork2"]
    world.caller.bye()
    world.run_for(0.1)
    assert len(world.cdrs) == 1


# Inside the dialog.


@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "INFO", "REFER", "MESSAGE", "NOTIFY", "OPTIONS", "FOO"])
def test_requests_of_any_method_pass_both_ways(world: World, method: str) -> None:
    world.talk(1)
    world.caller.in_dialog(method, 2)
    world.run_for(0.1)
    (request,) = [r for r in world.cheap.requests(method) if r.to_tag]
    assert request.all(ROUTE) == []
    world.cheap.reply(request, 200)
    world.cheap.in_dialog(method, 7)
    world.run_for(0.1)
    (back,) = world.caller.requests(method)
    world.caller.reply(back, 200)
    world.run_for(0.1)
    assert world.caller.statuses(method)[-1] == 200
    assert world.cheap.statuses(method)[-1] == 200
    assert world.cdrs == []


def test_prack_passes_in_the_early_dialog(world: World) -> None:
    world.cheap.behaviour = (183,)
    world.cheap.extra[183] = [b"Require: 100rel", b"RSeq: 1"]
    world.caller.invite(extra=[b"Supported: 100rel"])
    world.run_for(0.1)
    world.caller.in_dialog("PRACK", 2, extra=[b"RAck: 1 1 INVITE"])
    world.run_for(0.1)
    (prack,) = world.cheap.requests("PRACK")
    world.cheap.reply(prack, 200)
    world.cheap.answer(200)
    world.run_for(0.1)
    assert world.caller.statuses("PRACK") == [200]
    assert world.caller.statuses()[-1] == 200
    world.caller.ack()
    world.caller.bye(cseq=3)
    world.run_for(0.1)
    assert world.caller.statuses("BYE") == [200]


def test_a_reinvite_moves_the_callers_target(world: World) -> None:
    world.talk(1)
    world.caller.in_dialog("INVITE", 2, extra=[b"Contact: <sip:moved@192.0.2.10:5099>"])
    world.run_for(0.1)
    world.cheap.reply(next(r for r in world.cheap.requests("INVITE") if r.to_tag), 200)
    world.run_for(0.1)
    moved = Peer(world, ("192.0.2.10", 5099))
    world.cheap.in_dialog("BYE", 3)
    world.run_for(0.1)
    assert [r.method for r in moved.requests()] == [b"BYE"]


@pytest.mark.parametrize("cseq", [0, 1])
def test_a_bye_with_an_old_cseq_ends_nothing(world: World, cseq: int) -> None:
    world.talk(1)
    world.caller.bye(cseq=cseq)
    world.run_for(0.1)
    assert world.caller.statuses("BYE") == [500]
    assert world.cdrs == []
    assert world.sent("BYE", CHEAP) == []


def test_a_bye_with_a_wrong_tag_or_from_outside_ends_nothing(world: World) -> None:
    world.talk(1)
    world.caller.in_dialog("BYE", 2, to=b"<sip:442071234567@192.0.2.1>;tag=guessed")
    stranger = Peer(world, ("203.0.113.66", 5060))
    world.caller.in_dialog("BYE", 3, source=stranger)
    world.run_for(0.1)
    assert world.caller.statuses("BYE") == [481]
    assert stranger.statuses("BYE") == [403]
    assert world.cdrs == []
    assert world.sent("BYE", CHEAP) == []


def test_a_preloaded_or_edited_route_leads_nowhere_else(world: World) -> None:
    world.talk(1)
    world.caller.in_dialog("INFO", 2, extra=[b"Route: <sip:203.0.113.66;lr>"])
    world.run_for(0.1)
    assert ("203.0.113.66", 5060) not in {p.target for p in world.log}
    assert len(world.cheap.requests("INFO")) == 1


def test_a_private_or_own_contact_of_the_vendor_is_replaced_by_where_it_speaks_from(tmp_path: Path) -> None:
    for contact in (b"127.0.0.1", b"0.0.0.0", b"192.0.2.1:5060", b"224.0.1.75", b"gw.internal.example"):
        world = World(tmp_path)
        world.cheap.behaviour = (180,)
        world.caller.invite()
        world.run_for(0.01)
        answer = world.cheap.answer(200)
        world._queue.clear()
        world.cheap.send(answer.replace(b"peer@198.51.100.1:5060", b"peer@" + contact))
        world.run_for(0.1)
        world.caller.ack()
        world.caller.bye()
        world.run_for(0.1)
        assert [r.method for r in world.cheap.requests()] == [b"INVITE", b"ACK", b"BYE"], contact


def test_a_vendors_own_record_route_is_the_way_back_to_it(world: World) -> None:
    inner = Peer(world, ("198.51.100.77", 5060))
    world.cheap.behaviour = (180,)
    world.caller.invite()
    world.run_for(0.01)
    answer = world.cheap.answer(200)
    world._queue.clear()
    world.cheap.send(
        answer.replace(b"Record-Route: <sip:192.0.2.1", b"Record-Route: <sip:198.51.100.77;lr>, <sip:192.0.2.1")
    )
    world.run_for(0.1)
    world.caller.ack()
    world.run_for(0.1)
    (ack,) = inner.requests("ACK")
    assert ack.all(ROUTE) == [b"<sip:198.51.100.77;lr>"]
    assert ack.uri == b"sip:peer@198.51.100.1:5060"


def test_a_strict_router_gets_itself_in_the_request_uri(world: World) -> None:
    inner = Peer(world, ("198.51.100.77", 5060))
    world.cheap.behaviour = (180,)
    world.caller.invite()
    world.run_for(0.01)
    answer = world.cheap.answer(200)
    world._queue.clear()
    world.cheap.send(
        answer.replace(b"Record-Route: <sip:192.0.2.1", b"Record-Route: <sip:198.51.100.77>, <sip:192.0.2.1")
    )
    world.run_for(0.1)
    world.caller.ack()
    world.run_for(0.1)
    (ack,) = inner.requests("ACK")
    assert ack.uri == b"sip:198.51.100.77"
    assert ack.all(ROUTE) == [b"<sip:peer@198.51.100.1:5060>"]


# Ends that are ours.


def test_the_longest_call_ends_at_its_limit_on_both_sides(tmp_path: Path) -> None:
    world = World(tmp_path, records=with_(DEFAULT_RECORDS, IngressRoute, 1, max_duration_s=60))
    world.talk(70)
    (cdr,) = world.cdrs
    assert (cdr.cause, cdr.release, cdr.billed_s) == ("max_duration", "switch", 60)
    (to_caller,) = world.caller.requests("BYE")[:1]
    (to_callee,) = world.cheap.requests("BYE")[:1]
    assert to_callee.cseq == 2
    assert to_caller.from_tag == b"cheap"
    assert to_caller.uri == b"sip:15557770000@192.0.2.10:5060"
    assert b'text="max_duration"' in to_callee.data


def test_a_killed_call_gets_its_bye_both_ways_and_is_billed_until_then(world: World) -> None:
    world.talk(20)
    (live,) = world.engine.list_calls(None, world.now)
    assert (live.state, live.duration_ms, live.customer_id) == ("answered", 20_097, 1)
    assert world.engine.end_call(live.cdr_id, world.now)
    world._collect()
    world.run_for(0.1)
    assert [r.method for r in world.cheap.requests()] == [b"INVITE", b"ACK", b"BYE"]
    assert [r.method for r in world.caller.requests()] == [b"BYE"]
    assert (world.cdrs[0].cause, world.cdrs[0].billed_s) == ("killed", 21)
    assert world.engine.list_calls(None, world.now) == []
    assert not world.engine.end_call(live.cdr_id, world.now)


def test_a_call_that_rings_can_be_killed_too(world: World) -> None:
    world.cheap.behaviour = (180,)
    world.caller.invite()
    world.run_for(1)
    (live,) = world.engine.list_calls(1, world.now)
    assert live.state == "ringing"
    world.engine.end_call(live.cdr_id, world.now)
    world._collect()
    world.run_for(0.1)
    assert world.caller.statuses() == [180, 480]
    assert "CANCEL" in world.names_to(CHEAP)


# The number that the callee sees.


def test_a_forced_caller_number_differs_on_the_two_sides_and_the_dialog_stays_one(tmp_path: Path) -> None:
    world = World(tmp_path, records=with_(DEFAULT_RECORDS, Endpoint, 1, force_from="442079460000"))
    world.caller.invite(extra=[b"P-Asserted-Identity: <sip:15557770000@192.0.2.10>"])
    world.run_for(0.1)
    (invite,) = world.cheap.invites
    assert b"442079460000" in invite.from_value()
    assert b"15557770000" not in b"\r\n".join(line for line in invite.lines if not line.startswith(b"Contact"))
    assert b"15557770000" in world.caller.last(200).from_value()
    world.caller.ack()
    world.run_for(1)
    world.cheap.in_dialog("BYE", 1)
    world.run_for(0.1)
    (bye,) = world.caller.requests("BYE")
    assert b"15557770000" in bye.to_value()
    assert (world.cdrs[0].cli_in, world.cdrs[0].cli_out) == ("15557770000", "442079460000")


# Limits.


def test_a_channel_cap_of_n_lets_exactly_n_through_at_once(tmp_path: Path) -> None:
    world = World(tmp_path, records=with_(DEFAULT_RECORDS, Customer, 1, channels=3))
    world.cheap.behaviour = (180,)
    for _ in range(50):
        world.caller.invite()
    world.run_for(0.1)
    assert len(world.cheap.invites) == 3
    assert world.caller.statuses().count(503) == 47
    assert {c.cause for c in world.cdrs} == {"channels_exceeded"}


def test_a_vendors_channel_cap_sends_the_rest_to_the_next_vendor(tmp_path: Path) -> None:
    world = World(tmp_path, records=with_(DEFAULT_RECORDS, Provider, 1, channels=2))
    for _ in range(5):
        world.caller.invite()
        world.run_for(0.01)
    assert (len(world.cheap.invites), len(world.dear.invites)) == (2, 3)


def test_a_call_rate_of_n_lets_exactly_n_through_and_says_when_to_come_back(tmp_path: Path) -> None:
    world = World(tmp_path, records=with_(DEFAULT_RECORDS, IngressRoute, 1, flow_speed_cps=5))
    for _ in range(20):
        world.caller.invite()
    world.run_for(0.05)
    assert len(world.cheap.invites) == 5
    assert b"Retry-After: 1\r\n" in world.caller.last(503).data
    world.run_for(1)
    for _ in range(20):
        world.caller.invite()
    world.run_for(0.05)
    assert len(world.cheap.invites) == 10


def test_the_whole_switch_has_a_call_rate_and_a_number_of_calls_too(tmp_path: Path) -> None:
    rate = World(tmp_path, settings=Settings(limits=Limits(calls_per_second_max=4)))
    for _ in range(10):
        rate.caller.invite()
    rate.run_for(0.05)
    assert len(rate.cheap.invites) == 4
    assert {c.cause for c in rate.cdrs} == {"cps_exceeded"}
    number = World(tmp_path, settings=Settings(limits=Limits(calls_max=3)))
    number.cheap.behaviour = (180,)
    for _ in range(10):
        number.caller.invite()
    number.run_for(0.05)
    assert len(number.cheap.invites) == 3
    assert {c.cause for c in number.cdrs} == {"channels_exceeded"}


def test_draining_refuses_new_calls_with_a_cdr_and_lets_the_others_talk(world: World) -> None:
    world.talk(5)
    world.engine.set_draining()
    world.caller.invite(call_id="other@x")
    world.run_for(0.1)
    refused = world.caller.last(503).data
    assert b"Retry-After: 30\r\n" in refused
    assert b'text="draining"' in refused
    assert [(c.cause, c.status, c.customer_id, c.endpoint_id) for c in world.cdrs] == [("draining", 503, 1, 1)]
    assert len(world.cheap.invites) == 1
    assert world.engine.live_calls() == 1


def test_with_its_store_gone_the_switch_tells_why_and_keeps_no_state(world: World) -> None:
    world.engine.store_failed("disk full")
    world.caller.invite()
    world.run_for(0.1)
    refused = world.caller.last(503).data
    assert b"Retry-After: 10\r\n" in refused
    assert b'text="store_failed"' in refused
    world.assert_idle()
    world.engine.store_recovered()
    world.caller.invite()
    world.run_for(0.1)
    assert world.caller.statuses()[-1] == 200


def test_strangers_leave_nothing_behind(tmp_path: Path) -> None:
    records = tuple(r for r in DEFAULT_RECORDS if type(r).__name__ != "SipUser")
    world = World(tmp_path, records=records)
    stranger = Peer(world, ("203.0.113.66", 5060))
    data = world.caller.invite()
    world._queue.clear()
    stranger.send(data.replace(b"192.0.2.10:5060;branch", b"203.0.113.66:5060;branch"))
    world.run_for(1)
    assert stranger.statuses() == [403]
    assert world.cdrs == []
    assert world.cheap.invites == []
    world.assert_idle()


def test_silence_towards_strangers_by_setting(tmp_path: Path) -> None:
    records = tuple(r for r in DEFAULT_RECORDS if type(r).__name__ != "SipUser")
    world = World(tmp_path, records=records, settings=settings(unknown_source="silence"))
    stranger = Peer(world, ("203.0.113.66", 5060))
    data = world.caller.invite()
    world._queue.clear()
    stranger.send(data)
    world.run_for(1)
    assert world.names_to(("203.0.113.66", 5060)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"uri": "sip:442071234567@203.0.113.66"},
        {"uri": "sip:442071234567@192.0.2.1:5080"},
        {"extra": [b"Route: <sip:203.0.113.66;lr>"]},
        {"extra": [b"Route: <sip:192.0.2.1:5060;lr>, <sip:203.0.113.66;lr>"]},
    ],
)
def test_a_foreign_host_is_refused_even_to_a_customer(world: World, change: dict[str, object]) -> None:
    world.caller.invite(**change)  # type: ignore[arg-type]
    world.run_for(1)
    assert world.caller.statuses()[0] == 404
    assert {p.target for p in world.log} == {("192.0.2.1", 5060), CALLER}
    assert world.cdrs[0].cause == "no_ingress_route"


def test_a_call_that_comes_back_from_a_vendor_is_a_loop(world: World) -> None:
    world.cheap.behaviour = (180,)
    world.caller.invite()
    world.run_for(0.01)
    looped = world.cheap.invites[0].data.replace(
        b"INVITE sip:442071234567@198.51.100.1", b"INVITE sip:442071234567@192.0.2.1"
    )
    world.cheap.send(looped)
    world.run_for(0.1)
    assert 482 in world.cheap.statuses()
    assert len(world.cheap.invites) == 1


def test_dear_is_never_used_while_cheap_answers(world: World) -> None:
    for _ in range(5):
        world.caller.invite()
        world.run_for(0.1)
    assert world.dear.invites == []
    assert world.names_to(DEAR) == []
