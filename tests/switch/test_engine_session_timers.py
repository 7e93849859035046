"""Session timers through the whole engine: who asks, who refreshes, and what happens when nobody does (RFC 4028)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from config.settings import Liveness, Settings
from switch.records import Answered, SessionState
from switch.snapshot import Endpoint
from switch.wire.headers import MIN_SE, REQUIRE, SESSION_EXPIRES, SUPPORTED
from switch.wire.message import Request
from tests.fakes.carrier import DEFAULT_RECORDS, with_
from tests.fakes.world import CALLER, CHEAP, World, settings

KNOWS = b"Supported: timer"
UAS_90 = [b"Session-Expires: 90;refresher=uas", b"Require: timer"]


def timed(**changes: object) -> Settings:
    """No keep-alive, which is another matter; offers as the changes say."""
    base = msgspec.structs.replace(Liveness(), keepalive_s=0)
    return Settings(liveness=msgspec.structs.replace(base, **changes))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, settings=timed())


def talk(world: World, *extra: bytes, answer: Iterable[bytes] = ()) -> Request:
    """A call up to its ACK; the INVITE that the vendor got."""
    world.cheap.extra = {200: list(answer)}
    world.caller.invite(extra=extra)
    world.run_for(0.1)
    world.caller.ack()
    world.run_for(0.1)
    return world.cheap.invites[-1]


def refresh(world: World, cseq: int, *extra: bytes, method: str = "UPDATE", answer: Iterable[bytes] = ()) -> Request:
    """The caller refreshes, and the vendor agrees; the request that the vendor got."""
    world.caller.in_dialog(method, cseq, extra=extra)
    world.run_for(0.1)
    request = world.cheap.requests(method)[-1]
    world.cheap.reply(request, 200, extra=answer)
    world.run_for(0.1)
    return request


# What leaves.


def test_a_call_of_two_that_know_no_timers_has_none_and_nothing_is_added(world: World) -> None:
    invite = talk(world)
    answer = world.caller.last(200)
    assert SESSION_EXPIRES not in invite.ids
    assert SESSION_EXPIRES not in answer.ids
    assert REQUIRE not in answer.ids
    world.run_for(5_000)
    assert world.engine.live_calls() == 1


def test_the_caller_is_told_to_refresh_where_the_vendor_knows_no_timers(world: World) -> None:
    invite = talk(world, KNOWS)
    answer = world.caller.last(200)
    assert invite.first(SESSION_EXPIRES) == b"1800"
    assert MIN_SE not in invite.ids
    assert answer.first(SESSION_EXPIRES) == b"1800;refresher=uac"
    assert answer.all(REQUIRE) == [b"timer"]


def test_each_copy_of_the_answer_says_the_same(world: World) -> None:
    talk(world, KNOWS)
    world.cheap.answer(200)
    world.run_for(0.1)
    copies = [r for r in world.caller.received if r.cseq_method == b"INVITE" and r.first(SESSION_EXPIRES)]
    assert [copy.all(SESSION_EXPIRES) for copy in copies] == [[b"1800;refresher=uac"]] * 2


def test_the_vendors_own_timer_goes_on_to_the_caller_as_it_came(world: World) -> None:
    talk(world, KNOWS, b"Session-Expires: 600", answer=UAS_90)
    answer = world.caller.last(200)
    assert answer.all(SESSION_EXPIRES) == [b"90;refresher=uas"]
    assert answer.all(REQUIRE) == [b"timer"]


def test_the_agreement_is_in_the_journal_before_the_caller_hears_of_it(world: World) -> None:
    talk(world, KNOWS)
    (record,) = [each for each in world.journal if isinstance(each, Answered)]
    assert record.session == SessionState(1_800, "caller")


def test_a_timer_can_be_offered_to_vendors_of_callers_that_know_none(tmp_path: Path) -> None:
    world = World(tmp_path, settings=timed(session_offer="all"))
    invite = talk(world, answer=UAS_90)
    assert invite.first(SESSION_EXPIRES) == b"1800"
    assert SUPPORTED not in invite.ids
    world.run_for(61)
    assert [cdr.cause for cdr in world.cdrs] == ["session_expired"]


def test_proxies_may_be_required_to_know_timers(world: World) -> None:
    world.caller.invite(extra=[KNOWS, b"Proxy-Require: timer"])
    world.run_for(0.1)
    assert world.caller.statuses() == [180, 200]
    world.caller.invite(extra=[KNOWS, b"Proxy-Require: timer, tricks"])
    world.run_for(0.1)
    assert world.caller.last(420).first(42) == b"tricks"


# 422.


def test_too_short_a_timer_is_refused_with_what_would_do(world: World) -> None:
    world.caller.invite(extra=[KNOWS, b"Session-Expires: 60"])
    world.run_for(1)
    assert world.caller.statuses() == [422]
    assert world.caller.last(422).first(MIN_SE) == b"90"
    assert world.cheap.invites == []
    assert world.cdrs == []
    world.assert_idle()


def test_too_short_a_timer_of_a_caller_that_knows_none_is_made_longer_on_the_way(world: World) -> None:
    invite = talk(world, b"Session-Expires: 60;refresher=uas")
    assert invite.all(SESSION_EXPIRES) == [b"90;refresher=uas"]
    assert invite.all(MIN_SE) == [b"90"]


def test_a_vendors_422_to_the_callers_own_timer_is_the_callers(world: World) -> None:
    world.cheap.behaviour = (422,)
    world.cheap.extra = {422: [b"Min-SE: 3600"]}
    world.caller.invite(extra=[KNOWS, b"Session-Expires: 600"])
    world.run_for(1)
    assert world.caller.statuses() == [422]
    assert world.caller.last(422).first(MIN_SE) == b"3600"
    assert world.dear.invites == []
    assert [cdr.status for cdr in world.cdrs] == [422]


def test_a_vendors_422_to_our_offer_has_the_same_vendor_asked_again(world: World) -> None:
    world.cheap.behaviour = (422,)
    world.cheap.extra = {422: [b"Min-SE: 3600"]}
    world.caller.invite(extra=[KNOWS])
    world.run_for(0.0025)
    world.cheap.behaviour = (180, 200)
    world.run_for(1)
    first, second = world.cheap.invites
    assert (first.first(SESSION_EXPIRES), second.all(SESSION_EXPIRES)) == (b"1800", [b"3600"])
    assert world.caller.statuses() == [180, 200]
    assert world.caller.last(200).first(SESSION_EXPIRES) == b"3600;refresher=uac"
    assert world.dear.invites == []


def test_a_vendor_that_no_timer_suits_is_asked_without_one_and_then_has_its_say(world: World) -> None:
    world.cheap.behaviour = (422,)
    world.cheap.extra = {422: [b"Min-SE: 3600"]}
    world.caller.invite(extra=[KNOWS])
    world.run_for(1)
    offers = [invite.first(SESSION_EXPIRES) for invite in world.cheap.invites]
    assert offers == [b"1800", b"3600", None]
    assert world.caller.statuses() == [422]
    (cdr,) = world.cdrs
    assert [attempt.status for attempt in cdr.attempts] == [422, 422, 422]


# The end of a session.


def test_a_session_that_nobody_refreshes_ends_on_both_sides_before_its_interval_does(world: World) -> None:
    talk(world, KNOWS, answer=UAS_90)
    world.run_for(60.2)
    (cdr,) = world.cdrs
    assert (cdr.cause, cdr.release) == ("session_expired", "switch")
    assert cdr.duration_ms == 60_000
    assert world.sent("BYE", CALLER) == world.sent("BYE", CHEAP) == [60.003]
    world.caller.reply(world.caller.requests("BYE")[0], 200)
    world.run_for(40)
    world.assert_idle()


@pytest.mark.parametrize("method", ["UPDATE", "INVITE"])
def test_a_refresh_begins_the_interval_anew(world: World, method: str) -> None:
    talk(world, KNOWS, b"Session-Expires: 90")
    for cseq in range(2, 8):
        world.run_for(45)
        refresh(world, cseq, KNOWS, b"Session-Expires: 90;refresher=uac", method=method)
        if method == "INVITE":
            world.caller.ack(cseq)
    world.run_for(59)
    assert world.cdrs == []
    world.run_for(2)
    assert [cdr.cause for cdr in world.cdrs] == ["session_expired"]


def test_a_refresh_may_change_the_interval(world: World) -> None:
    talk(world, KNOWS, b"Session-Expires: 90")
    refresh(world, 2, KNOWS, b"Session-Expires: 300;refresher=uac")
    world.run_for(265)
    assert world.cdrs == []
    world.run_for(5)
    assert [cdr.cause for cdr in world.cdrs] == ["session_expired"]


def test_a_refresh_that_was_refused_refreshes_nothing(world: World) -> None:
    talk(world, KNOWS, b"Session-Expires: 90")
    world.run_for(45)
    world.caller.in_dialog("UPDATE", 2, extra=[KNOWS, b"Session-Expires: 90;refresher=uac"])
    world.run_for(0.1)
    world.cheap.reply(world.cheap.requests("UPDATE")[-1], 491)
    world.run_for(16)
    assert [cdr.cause for cdr in world.cdrs] == ["session_expired"]


def test_a_callee_that_refreshes_keeps_the_call_up(world: World) -> None:
    talk(world, KNOWS, answer=UAS_90)
    for cseq in range(1, 5):
        world.run_for(45)
        world.cheap.in_dialog("UPDATE", cseq, extra=[KNOWS, b"Session-Expires: 90;refresher=uac"])
        world.run_for(0.1)
        update = world.caller.requests("UPDATE")[-1]
        world.caller.reply(update, 200, extra=[b"Session-Expires: 90;refresher=uac", b"Require: timer"])
        world.run_for(0.1)
    assert world.cdrs == []
    (call,) = world.engine.board.calls.live.values()
    assert (call.session_s, call.session_refresher) == (90, "callee")


def test_a_hold_by_one_that_knows_no_timers_does_not_end_the_agreement(world: World) -> None:
    talk(world, KNOWS, b"Session-Expires: 90")
    world.cheap.in_dialog("INVITE", 1)
    world.run_for(0.1)
    (reinvite,) = world.caller.requests("INVITE")
    assert reinvite.first(SESSION_EXPIRES) == b"90"
    world.caller.reply(reinvite, 200, extra=[b"Session-Expires: 90;refresher=uas"])
    world.run_for(0.1)
    (call,) = world.engine.board.calls.live.values()
    assert (call.session_s, call.session_refresher) == (90, "caller")
    assert world.cheap.last(200).first(SESSION_EXPIRES) == b"90;refresher=uas"


def test_a_refresh_that_both_leave_without_a_timer_ends_the_agreement(world: World) -> None:
    talk(world, KNOWS, b"Session-Expires: 90")
    world.cheap.in_dialog("UPDATE", 1)
    world.run_for(0.1)
    world.caller.reply(world.caller.requests("UPDATE")[-1], 200)
    world.run_for(500)
    assert world.engine.live_calls() == 1
    (call,) = world.engine.board.calls.live.values()
    assert call.session_s == 0


def test_copies_of_a_refreshs_answer_say_the_same_and_refresh_once(world: World) -> None:
    talk(world, KNOWS, b"Session-Expires: 90")
    world.run_for(45)
    reinvite = refresh(world, 2, KNOWS, b"Session-Expires: 90;refresher=uac", method="INVITE")
    world.run_for(20)
    world.cheap.reply(reinvite, 200)
    world.run_for(0.1)
    answers = [r for r in world.caller.received if r.cseq == 2 and r.to_tag and r.first(SESSION_EXPIRES)]
    assert [r.all(SESSION_EXPIRES) for r in answers] == [[b"90;refresher=uac"]] * 2
    world.caller.ack(2)
    world.run_for(41)
    assert [cdr.cause for cdr in world.cdrs] == ["session_expired"]


def test_too_short_a_refresh_is_refused_and_the_callee_never_sees_it(world: World) -> None:
    talk(world, KNOWS, b"Session-Expires: 90")
    world.caller.in_dialog("UPDATE", 2, extra=[KNOWS, b"Session-Expires: 30"])
    world.run_for(0.1)
    assert world.caller.statuses("UPDATE") == [422]
    assert world.caller.last(422).first(MIN_SE) == b"90"
    assert world.cheap.requests("UPDATE") == []
    refresh(world, 3, KNOWS, b"Session-Expires: 90;refresher=uac")
    assert world.caller.statuses("UPDATE") == [422, 200]


def test_refreshes_pass_over_a_link_that_loses_a_third(tmp_path: Path) -> None:
    count = 0

    def loses(packet: object) -> bool:
        nonlocal count
        count += 1
        return count % 3 == 0 and count > 20

    world = World(tmp_path, settings=timed(), loses=loses)
    talk(world, KNOWS, b"Session-Expires: 90")
    for cseq in range(2, 12):
        world.run_for(40)
        data = world.caller.in_dialog("UPDATE", cseq, extra=[KNOWS, b"Session-Expires: 90;refresher=uac"])
        for _ in range(4):
            world.run_for(0.5)
            for update in world.cheap.requests("UPDATE"):
                if update.cseq == cseq:
                    world.cheap.reply(update, 200)
            world.caller.send(data)
        world.run_for(0.5)
    assert world.cdrs == []


def test_a_restart_leaves_the_timer_running(world: World) -> None:
    talk(world, KNOWS, b"Session-Expires: 90")
    world.run_for(10)
    world.crash()
    (call,) = world.engine.board.calls.live.values()
    assert (call.session_s, call.session_refresher) == (90, "caller")
    world.run_for(61)
    assert [cdr.cause for cdr in world.cdrs] == ["session_expired"]


def test_credentials_are_asked_for_before_timers_are_judged(tmp_path: Path) -> None:
    records = with_(DEFAULT_RECORDS, Endpoint, 1, host="192.0.2.99")
    world = World(tmp_path, records=records, settings=settings())
    world.caller.invite(extra=[KNOWS, b"Session-Expires: 60"])
    world.run_for(0.1)
    assert world.caller.statuses() == [407]
