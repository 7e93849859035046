"""Calls whose end nobody tells: probes inside the dialog, also after a restart; BYEs that get lost."""

from __future__ import annotations

from pathlib import Path
from random import Random

import msgspec
import pytest

from config.settings import Liveness, Settings
from switch.call.leg import CSEQ_JUMP
from switch.call.strays import STRAYS_MAX
from switch.wire.headers import REASON, ROUTE
from switch.wire.message import Request
from tests.fakes.world import CALLER, CHEAP, SWITCH, Packet, Peer, Vendor, World


def probing(**changes: object) -> Settings:
    return Settings(liveness=msgspec.structs.replace(Liveness(), **changes))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def probes(peer: Peer) -> list[Request]:
    return peer.requests("OPTIONS")


def interval_s(world: World) -> float:
    """How often the only call is asked: at least three quarters of what the setting says."""
    (call,) = world.engine.board.calls.live.values()
    assert call._ask is not None
    return round(call._ask.deadline - call.answered_at, 3)


def hang_up(world: World, cseq: int = 2) -> None:
    """The caller ends the call, and all that is left of it goes away."""
    world.caller.bye(cseq)
    world.run_for(40)
    world.assert_idle()


# Keep-alive.


def test_both_sides_are_asked_inside_their_dialog_with_the_number_they_had_last(world: World) -> None:
    world.talk(0)
    world.caller.in_dialog("INFO", 7)
    world.run_for(interval_s(world) + 1)
    (to_cheap,) = probes(world.cheap)
    (to_caller,) = probes(world.caller)
    assert to_cheap.cseq == 7
    assert to_caller.cseq == 0
    assert (to_cheap.call_id, to_cheap.to_tag) == (world.caller.call_id.encode(), b"cheap")
    assert (to_caller.from_tag, to_caller.uri) == (b"cheap", b"sip:15557770000@192.0.2.10:5060")
    world.caller.in_dialog("INFO", 8)
    world.run_for(0.1)
    world.cheap.in_dialog("INFO", 1)
    world.run_for(0.1)
    assert world.cheap.requests("INFO")[-1].cseq == 8
    assert world.caller.requests("INFO")[-1].cseq == 1
    hang_up(world, 9)


def test_a_short_call_is_never_asked(world: World) -> None:
    world.talk(200)
    hang_up(world)
    assert probes(world.cheap) == probes(world.caller) == []


def test_no_call_is_asked_where_the_setting_is_zero(tmp_path: Path) -> None:
    world = World(tmp_path, settings=probing(keepalive_s=0))
    world.talk(3_000)
    assert probes(world.cheap) == []
    hang_up(world)


def test_calls_are_not_asked_in_step(world: World) -> None:
    for _ in range(12):
        world.talk(0.1)
    world.run_for(310)
    moments = world.sent("OPTIONS", CHEAP)
    assert len(moments) == 12
    assert 225 <= min(moments) < max(moments) <= 303
    assert len({round(moment - 0.1 * index) for index, moment in enumerate(moments)}) > 3


@pytest.mark.parametrize("status", [200, 401, 404, 405, 480, 500, 501, 503, 603])
def test_whoever_answers_at_all_is_alive(world: World, status: int) -> None:
    world.caller.answers_options = world.cheap.answers_options = status
    world.talk(3_000)
    assert world.cdrs == []
    hang_up(world)


def test_who_speaks_need_not_be_asked(world: World) -> None:
    world.talk(0.1)
    for cseq in range(2, 30):
        world.caller.in_dialog("INFO", cseq)
        world.run_for(0.1)
        world.cheap.reply(world.cheap.requests("INFO")[-1], 200)
        world.run_for(100)
    assert probes(world.caller) == probes(world.cheap) == []


@pytest.mark.parametrize(("silent", "rounds"), [("caller", 5), ("cheap", 2)])
def test_a_side_that_stays_silent_ends_the_call_at_the_last_sign_of_life_of_the_callee(
    world: World, silent: str, rounds: int
) -> None:
    world.talk(0.1)
    every_s = interval_s(world)
    world.run_for(every_s * 2 + 1)
    peer: Peer = getattr(world, silent)
    last = len(probes(peer))
    assert last == 2
    peer.answers_options = 0
    world.run_for(every_s * 2 + 33)
    assert world.cdrs == []
    world.run_for(every_s)
    (cdr,) = world.cdrs
    assert (cdr.cause, cdr.release) == ("keepalive_failed", "switch")
    assert abs(cdr.duration_ms / 1000 - every_s * rounds) < 0.1
    assert world.cheap.requests("BYE")
    assert world.caller.requests("BYE")
    assert world.cheap.requests("BYE")[0].first(REASON) == b'X.tandem;cause=0;text="keepalive_failed"'
    world.run_for(40)
    world.assert_idle()


def test_a_side_that_was_never_heard_again_costs_nothing_after_its_answer(world: World) -> None:
    world.cheap.answers_options = 0
    world.cheap.answers_bye = False
    world.talk(2_000)
    (cdr,) = world.cdrs
    assert (cdr.cause, cdr.duration_ms) == ("keepalive_failed", 0)
    assert world.balance() == -cdr.gross_nanos
    assert world.held() == 0
    world.run_for(40)
    world.assert_idle()


@pytest.mark.parametrize("status", [0, 408, 481])
def test_no_caller_talks_for_nothing_by_denying_its_calls(world: World, status: int) -> None:
    world.caller.answers_options = status
    world.talk(0.1)
    every_s = interval_s(world)
    world.run_for(2_000)
    (cdr,) = world.cdrs
    assert cdr.cause == "keepalive_failed"
    assert cdr.duration_ms >= round(every_s * 1_000)
    assert cdr.gross_nanos > 0


def test_failures_that_are_too_few_of_the_last_ones_end_nothing(world: World) -> None:
    world.talk(0.1)
    every_s = interval_s(world)
    world.run_for(every_s - 40)
    # Two fail, two do not, and again: never three of four.
    for status in (0, 0, 200, 200) * 3:
        world.cheap.answers_options = status
        world.run_for(every_s)
    assert world.cdrs == []
    world.cheap.answers_options = 0
    world.run_for(every_s * 3)
    assert [cdr.cause for cdr in world.cdrs] == ["keepalive_failed"]


def test_a_408_is_no_answer(world: World) -> None:
    world.cheap.answers_options = 408
    world.talk(1_000)
    assert [cdr.cause for cdr in world.cdrs] == ["keepalive_failed"]


def test_a_peer_that_has_forgotten_the_call_is_asked_twice_and_believed(world: World) -> None:
    world.talk(0.1)
    every_s = interval_s(world)
    world.cheap.answers_options = 481
    world.run_for(every_s + 3)
    first, second = world.sent("OPTIONS", CHEAP)
    assert round(second - first, 1) == 2.0
    assert [cdr.cause for cdr in world.cdrs] == ["keepalive_failed"]


def test_a_481_that_is_taken_back_ends_nothing(world: World) -> None:
    world.talk(0.1)
    every_s = interval_s(world)
    world.cheap.answers_options = 481
    world.run_for(every_s + 0.1)
    world.cheap.answers_options = 200
    world.run_for(every_s * 3)
    assert world.cdrs == []
    hang_up(world)


def test_probes_end_with_the_call_even_while_they_are_under_way(world: World) -> None:
    world.cheap.answers_options = 0
    world.talk(301)
    assert len(probes(world.cheap)) > 1
    world.caller.bye()
    world.run_for(0.1)
    asked = len(probes(world.cheap))
    world.run_for(40)
    assert len(probes(world.cheap)) == asked
    world.assert_idle()


@pytest.mark.parametrize("seed", range(5))
def test_calls_that_are_up_stay_up_over_a_link_that_loses_a_third(tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    world = World(tmp_path, seed=seed, settings=probing(keepalive_s=60))
    world.talk(1)
    world.loses = lambda packet: rng.random() < 0.33
    world.run_for(4 * 3_600 - 60)
    assert world.cdrs == []
    world.loses = lambda packet: False
    hang_up(world)


@pytest.mark.parametrize("seed", range(5))
def test_a_dead_side_is_found_over_a_link_that_loses_a_third(tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    world = World(tmp_path, seed=seed, settings=probing(keepalive_s=60))
    world.talk(600)
    world.cheap.answers_options = 0
    world.cheap.answers_bye = False
    world.loses = lambda packet: rng.random() < 0.33
    world.run_for(400)
    (cdr,) = world.cdrs
    assert cdr.cause == "keepalive_failed"
    assert world.caller.requests("BYE")
    assert 500_000 < cdr.duration_ms <= 600_100
    world.run_for(40)
    world.assert_idle()


# After a restart.


def test_a_restored_call_that_is_up_goes_on(world: World) -> None:
    world.talk(30)
    world.crash()
    world.run_for(19)
    assert probes(world.cheap) == []
    world.run_for(22)
    assert len(probes(world.cheap)) == len(probes(world.caller)) == 1
    world.run_for(600)
    assert world.cdrs == []
    assert len(probes(world.cheap)) >= 2
    hang_up(world)
    assert [(cdr.cause, round(cdr.duration_ms / 1000)) for cdr in world.cdrs] == [("normal", 672)]


def test_a_restored_call_that_speaks_on_both_sides_is_not_asked(world: World) -> None:
    world.talk(30)
    world.crash()
    world.run_for(5)
    world.caller.in_dialog("INFO", 2)
    world.run_for(0.1)
    world.cheap.reply(world.cheap.requests("INFO")[0], 200)
    world.run_for(60)
    assert probes(world.cheap) == probes(world.caller) == []
    (call,) = world.engine.board.calls.live.values()
    assert call.is_unproven is False  # type: ignore[attr-defined]


def test_one_that_speaks_while_it_is_asked_is_there(world: World) -> None:
    world.talk(30)
    world.caller.answers_options = 0
    world.crash()
    world.run_for(45)
    assert world.sent("OPTIONS", CALLER)
    world.caller.in_dialog("INFO", 2)
    world.run_for(60)
    assert world.cdrs == []


@pytest.mark.parametrize("gone", ["caller", "cheap"])
@pytest.mark.parametrize("status", [481, 0, 408])
def test_a_side_that_is_gone_after_a_restart_ends_the_call_where_it_was_last_known(
    world: World, gone: str, status: int
) -> None:
    world.talk(30)
    peer: Peer = getattr(world, gone)
    peer.answers_options = status
    world.crash(down_s=300)
    world.run_for(75)
    (cdr,) = world.cdrs
    assert (cdr.cause, cdr.release) == ("lost_in_restart", "switch")
    assert abs(cdr.duration_ms - 30_100) < 100
    other = world.cheap if gone == "caller" else world.caller
    assert other.requests("BYE")
    assert world.held() == 0


def test_a_restored_call_that_is_killed_before_it_was_heard_of_is_charged_up_to_its_last_sign_of_life(
    world: World,
) -> None:
    world.talk(30)
    world.crash(down_s=3_600)
    (call_id,) = world.engine.board.calls.live
    assert world.engine.end_call(call_id, world.now)
    world.run_for(40)
    (cdr,) = world.cdrs
    assert cdr.cause == "killed"
    assert abs(cdr.duration_ms - 30_100) < 100


@pytest.mark.parametrize("up_s", [0.0, 5.0])
def test_a_second_death_before_a_restored_call_was_heard_of_proves_nothing_more(world: World, up_s: float) -> None:
    world.talk(30)
    world.cheap.answers_options = 481
    world.crash(down_s=3_600)
    world.run_for(up_s)
    world.crash()
    world.run_for(75)
    (cdr,) = world.cdrs
    assert cdr.cause == "lost_in_restart"
    assert abs(cdr.duration_ms - 30_100) < 100


def test_a_second_restart_reads_the_last_sign_of_life_from_the_segment_of_the_first_alone(world: World) -> None:
    world.talk(30)
    world.cheap.answers_options = 481
    before = len(world.journal)
    world.crash(down_s=3_600)
    del world.journal[: before + 1]
    world.crash(beats=False)
    world.run_for(75)
    (cdr,) = world.cdrs
    assert abs(cdr.duration_ms - 30_100) < 100


def test_a_restored_call_that_was_heard_of_is_up_until_the_next_death(world: World) -> None:
    world.talk(30)
    world.crash()
    world.run_for(600)
    world.cheap.answers_options = 481
    world.crash(down_s=60)
    world.run_for(75)
    (cdr,) = world.cdrs
    assert abs(cdr.duration_ms - 631_100) < 200


def test_a_call_that_both_have_left_is_never_priced_at_its_longest(world: World) -> None:
    world.talk(30)
    world.caller.answers_options = world.cheap.answers_options = 0
    world.cheap.answers_bye = False
    world.crash(down_s=7_200)
    world.run_for(120)
    (cdr,) = world.cdrs
    assert cdr.billed_s <= 31
    world.run_for(40)
    world.assert_idle()


@pytest.mark.parametrize("seed", range(5))
def test_restored_calls_are_found_over_a_link_that_loses_a_third(tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    world = World(tmp_path, seed=seed)
    world.talk(30)
    world.crash()
    world.loses = lambda packet: rng.random() < 0.33
    world.run_for(100)
    assert world.cdrs == []
    world.loses = lambda packet: False
    hang_up(world)


def test_our_bye_after_a_restart_is_above_what_each_side_has_seen(world: World) -> None:
    world.talk(1)
    for cseq in range(2, 40):
        world.caller.in_dialog("INFO", cseq)
        world.run_for(0.01)
    world.cheap.in_dialog("INFO", 700)
    world.run_for(0.1)
    world.crash()
    world.cheap.answers_options = 481
    world.run_for(60)
    assert world.cheap.requests("BYE")[0].cseq > 39
    assert world.caller.requests("BYE")[0].cseq > 700
    assert world.cheap.requests("BYE")[0].cseq <= 39 + CSEQ_JUMP


@pytest.mark.parametrize("is_restored", [False, True])
def test_what_we_ask_and_say_goes_by_the_proxies_of_each_side(world: World, is_restored: bool) -> None:
    near_caller, near_vendor = ("192.0.2.77", 5060), ("198.51.100.77", 5060)
    proxies = [Peer(world, near_caller), Peer(world, near_vendor)]
    world.cheap.behaviour = ()
    world.caller.invite(extra=[b"Record-Route: <sip:192.0.2.77;lr>"])
    world.run_for(0.1)
    answer = world.cheap.answer(200).replace(
        b"Record-Route: <sip:192.0.2.1", b"Record-Route: <sip:198.51.100.77;lr>, <sip:192.0.2.1", 1
    )
    world._queue.clear()
    world.cheap.send(answer)
    world.run_for(0.1)
    world.caller.ack()
    world.run_for(1)
    if is_restored:
        world.crash()
    world.run_for(330)
    (call_id,) = world.engine.board.calls.live
    world.engine.end_call(call_id, world.now)
    world._collect()
    world.run_for(0.1)
    contacts = (b"sip:15557770000@192.0.2.10:5060", b"sip:peer@198.51.100.1:5060")
    for proxy, contact in zip(proxies, contacts, strict=True):
        route = b"<sip:%b;lr>" % proxy.address[0].encode()
        for method in ("OPTIONS", "BYE"):
            for request in proxy.requests(method) or pytest.fail(method):
                assert (request.uri, request.all(ROUTE)) == (contact, [route])
    assert world.cheap.requests("BYE") == world.caller.requests("BYE") == []


def test_probes_of_a_restored_call_leave_both_numbers_as_they_are(world: World) -> None:
    world.talk(1)
    for cseq in range(2, 6):
        world.caller.in_dialog("INFO", cseq)
        world.run_for(0.01)
    world.crash()
    world.run_for(45)
    assert probes(world.cheap)[0].cseq <= 5
    world.caller.in_dialog("INFO", 6)
    world.run_for(0.1)
    assert world.cheap.requests("INFO")[-1].cseq == 6


# Answers that come when nobody waits for them.


def test_a_200_that_a_restart_left_without_its_transaction_reaches_the_caller(world: World) -> None:
    world.caller.invite(extra=[b"Supported: timer"])
    world.run_for(0.0035)
    assert world.engine.live_calls() == 1
    world.loses = lambda packet: packet.name == "200 INVITE" and packet.target == CALLER
    world.run_for(0.1)
    assert world.caller.statuses() == [180, 200]
    world.crash()
    world.loses = lambda packet: False
    world.caller.received.clear()
    world.cheap.answer(200)
    world.run_for(0.1)
    (answer,) = world.caller.received
    assert answer.all(45) == [b"1800;refresher=uac"]
    assert answer.via_count == 1
    assert world.cheap.requests("BYE") == []
    world.caller.ack()
    world.run_for(0.1)
    assert len(world.cheap.requests("ACK")) == 1
    hang_up(world)


def ring_over_a_crash(world: World) -> None:
    world.cheap.behaviour = (180,)
    world.caller.invite()
    world.run_for(5)
    world.crash()
    world.run_for(1)


def test_a_vendor_that_answers_a_call_of_before_the_restart_is_hung_up(world: World) -> None:
    ring_over_a_crash(world)
    assert [cdr.cause for cdr in world.cdrs] == ["lost_in_restart"]
    world.cheap.answer(200)
    world.run_for(0.1)
    (ack,) = world.cheap.requests("ACK")
    (bye,) = world.cheap.requests("BYE")
    assert (ack.cseq, ack.to_tag, ack.uri) == (1, b"cheap", b"sip:peer@198.51.100.1:5060")
    assert bye.cseq > 1
    assert (bye.call_id, bye.from_tag, bye.to_tag) == (ack.call_id, ack.from_tag, ack.to_tag)
    for _ in range(3):
        world.cheap.answer(200)
        world.run_for(4)
    assert len(world.cheap.requests("ACK")) == 4
    assert len(world.cheap.requests("BYE")) == 1
    assert len(world.cdrs) == 1
    world.run_for(40)
    world.assert_idle()


def test_the_bye_of_a_stray_is_repeated_until_it_arrives(world: World) -> None:
    ring_over_a_crash(world)
    lost = 0

    def loses(packet: Packet) -> bool:
        nonlocal lost
        lost += packet.name == "BYE"
        return packet.name == "BYE" and lost < 4

    world.loses = loses
    world.cheap.answer(200)
    world.run_for(10)
    assert len(world.cheap.requests("BYE")) == 1
    world.run_for(40)
    world.assert_idle()


def test_strangers_make_us_hang_up_nothing(world: World) -> None:
    ring_over_a_crash(world)
    before = len(world.log)
    stranger = Vendor(world, ("203.0.113.7", 5060), "cheap")
    stranger.invites = world.cheap.invites
    stranger.answer(200)
    world.run_for(1)
    assert [packet for packet in world.log[before:] if packet.source == SWITCH] == []


def test_an_answer_that_was_not_sent_through_us_is_passed_over(world: World) -> None:
    ring_over_a_crash(world)
    before = len(world.log)
    data = world.cheap.reply(world.cheap.invites[-1], 180).replace(b"180", b"200", 1)
    world.cheap.send(data.replace(b"Via: SIP/2.0/UDP 192.0.2.1:", b"Via: SIP/2.0/UDP 192.0.2.77:", 1))
    world.run_for(1)
    assert [packet for packet in world.log[before:] if packet.source == SWITCH] == []


def test_strays_take_bounded_memory_and_bounded_byes(world: World) -> None:
    ring_over_a_crash(world)
    data = world.cheap.answer(200, tag="x0")
    for index in range(STRAYS_MAX + 50):
        world.cheap.send(data.replace(b";tag=x0", b";tag=y%d" % index))
    world.run_for(0.1)
    assert len(world.cheap.requests("BYE")) == STRAYS_MAX
    assert world.engine.stats().counters["strays_ignored"] == 51
    world.run_for(40)
    world.cheap.send(data)
    world.run_for(0.1)
    assert len(world.cheap.requests("BYE")) == STRAYS_MAX + 1
    world.run_for(40)
    world.assert_idle()


def test_an_answered_call_is_not_hung_up_by_a_copy_from_another_of_the_vendors_addresses(world: World) -> None:
    world.talk(60)
    data = world.cheap.answer(200)
    world.run_for(0.1)
    world.dear.send(data)
    world.run_for(1)
    assert world.cheap.requests("BYE") == []
    assert world.dear.requests("BYE") == []
    hang_up(world)


# A BYE that only one side sees.


@pytest.mark.parametrize("leaver", ["caller", "cheap"])
def test_billing_ends_at_the_first_bye_and_the_other_side_is_told_until_it_hears(world: World, leaver: str) -> None:
    world.talk(60)
    other = world.cheap if leaver == "caller" else world.caller
    lost = 0

    def loses(packet: Packet) -> bool:
        nonlocal lost
        if packet.name != "BYE" or packet.target != other.address:
            return False
        lost += 1
        return lost < 5

    world.loses = loses
    if leaver == "caller":
        world.caller.bye()
    else:
        world.cheap.in_dialog("BYE", 1)
    world.run_for(0.1)
    (cdr,) = world.cdrs
    assert (cdr.cause, cdr.release) == ("normal", "caller" if leaver == "caller" else "callee")
    assert abs(cdr.duration_ms - 60_100) < 100
    world.run_for(10)
    assert len(other.requests("BYE")) == 1
    other.reply(other.requests("BYE")[0], 200)
    world.run_for(50)
    assert len(world.cdrs) == 1
    world.assert_idle()


@pytest.mark.parametrize("status", [481, 408, 500, 0])
def test_a_bye_that_the_other_side_refuses_or_never_answers_leaves_nothing_over(world: World, status: int) -> None:
    world.talk(60)
    world.cheap.answers_bye = False
    world.caller.bye()
    world.run_for(0.1)
    if status:
        world.cheap.reply(world.cheap.requests("BYE")[0], status)
        world.run_for(0.1)
        assert world.caller.statuses("BYE") == [status]
    world.run_for(80)
    assert [(cdr.cause, cdr.release) for cdr in world.cdrs] == [("normal", "caller")]
    assert world.held() == 0
    world.assert_idle()


def test_a_481_to_a_bye_of_ours_ends_its_side(world: World) -> None:
    world.talk(60)
    world.cheap.answers_bye = False
    (live,) = world.engine.list_calls(None, world.now)
    world.engine.end_call(live.cdr_id, world.now)
    world._collect()
    world.run_for(0.1)
    world.cheap.reply(world.cheap.requests("BYE")[0], 481)
    world.caller.reply(world.caller.requests("BYE")[0], 408)
    world.run_for(10)
    world.assert_idle()
    assert len(world.sent("BYE", CHEAP)) == len(world.sent("BYE", CALLER)) == 1


def test_a_reinvite_that_one_side_no_longer_knows_is_no_sign_of_life(world: World) -> None:
    world.talk(0.1)
    every_s = interval_s(world)
    world.cheap.answers_options = 0
    for cseq in range(2, 40):
        world.caller.in_dialog("UPDATE", cseq)
        world.run_for(0.1)
        updates = world.cheap.requests("UPDATE")
        if updates and not world.cdrs:
            world.cheap.reply(updates[-1], 481)
        world.run_for(every_s / 10)
    (cdr,) = world.cdrs
    assert (cdr.cause, cdr.duration_ms < 1_000) == ("keepalive_failed", True)
