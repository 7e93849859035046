"""INVITEs over their route's call rate that may wait for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from switch.snapshot import IngressRoute
from tests.fakes.carrier import DEFAULT_RECORDS, with_
from tests.fakes.world import Caller, World

BUFFERED = with_(DEFAULT_RECORDS, IngressRoute, 1, flow_speed_cps=1, cps_buffer_s=3)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, records=BUFFERED)
    world.cheap.behaviour = (180,)
    return world


def dial(world: World, count: int) -> None:
    for _ in range(count):
        world.caller.invite()
        world.run_for(0.01)


def test_calls_over_the_rate_go_out_in_turn_and_those_that_would_wait_too_long_are_refused(world: World) -> None:
    dial(world, 8)
    assert len(world.cheap.invites) == 1
    world.run_for(10)
    sent = [round(p.at - 1_000.0) for p in world.log if p.name == "INVITE" and p.target == world.cheap.address]
    assert sent == [0, 1, 2, 3]
    assert len(world.cdrs) == 4
    assert {cdr.cause for cdr in world.cdrs} == {"cps_exceeded"}
    assert all(cdr.ended_ms - cdr.invited_ms <= 3_000 for cdr in world.cdrs)
    assert world.engine.waiting == {}


def test_what_waited_counts_from_its_invite(world: World) -> None:
    dial(world, 2)
    world.run_for(2)
    for call in list(world.engine.board.calls.live):
        world.engine.end_call(call, world.now)
    world._collect()
    first, second = sorted(world.cdrs, key=lambda cdr: cdr.invited_ms)
    assert second.invited_ms - first.invited_ms == 10
    assert second.pdd_ms is not None
    assert second.pdd_ms > 900
    assert second.attempts[0].started_ms - second.invited_ms > 900
    world.run_for(100)
    world.assert_idle()


def test_copies_of_a_waiting_invite_get_its_100_and_the_same_call_by_another_path_482(world: World) -> None:
    dial(world, 2)
    world.caller.send(world.caller.invite_data)
    world.caller.send(world.caller.invite_data.replace(b"branch=z9hG4bK", b"branch=z9hG4bKother"))
    world.run_for(0.1)
    assert world.names_to(world.caller.address).count("100 INVITE") == 3
    assert world.caller.statuses()[-1] == 482
    world.run_for(3)
    assert len(world.cheap.invites) == 2


def test_a_waiting_call_can_be_cancelled_and_draws_no_token(world: World) -> None:
    dial(world, 2)
    world.caller.cancel()
    world.run_for(0.1)
    assert world.caller.statuses("CANCEL") == [200]
    assert world.caller.statuses()[-1] == 487
    (cdr,) = world.cdrs
    assert (cdr.cause, cdr.release, cdr.status, cdr.attempts) == ("cancelled", "caller", 487, ())
    world.run_for(5)
    assert len(world.cheap.invites) == 1


def test_draining_refuses_what_waits_at_once_for_the_process_may_end_at_once(world: World) -> None:
    dial(world, 3)
    world.engine.set_draining()
    world._collect()
    assert len(world.cheap.invites) == 1
    assert [cdr.cause for cdr in world.cdrs] == ["draining", "draining"]
    assert world.engine.waiting == {}


def test_a_waiting_call_is_nobody_elses_to_cancel(world: World) -> None:
    dial(world, 2)
    data = world.caller.cancel()
    world._queue.clear()
    Caller(world, ("203.0.113.66", 5060)).send(data)
    world.run_for(3)
    assert len(world.cheap.invites) == 2


def test_what_waits_is_listed_where_it_is_asked_for_by_the_id_that_it_keeps(world: World) -> None:
    dial(world, 2)
    (up,) = world.engine.list_calls(None, world.now)
    first, second = world.engine.list_calls(1, world.now, True)
    assert first == up
    assert (second.state, second.call_id, second.held_nanos) == ("waiting", world.caller.call_id, 0)
    assert (second.dialled, second.cli, second.route_id) == ("442071234567", "15557770000", 1)
    assert world.engine.list_calls(7, world.now, True) == []
    decision = world.engine.read_call(second.cdr_id, world.now)
    assert decision is not None
    assert (decision.decision, decision.card_id) == ("waits for a call rate: route 1", None)
    world.run_for(2)
    assert [call.state for call in world.engine.list_calls(None, world.now, True)] == ["ringing", "ringing"]
    assert world.engine.list_calls(None, world.now)[1].cdr_id == second.cdr_id


def test_a_refusal_and_a_cancel_keep_the_id_that_was_listed(world: World) -> None:
    dial(world, 3)
    waiting = [call.cdr_id for call in world.engine.list_calls(None, world.now, True)[1:]]
    world.caller.cancel()
    world.run_for(0.1)
    assert [cdr.id for cdr in world.cdrs] == waiting[1:]
    world.engine.set_draining()
    world._collect()
    assert [cdr.id for cdr in world.cdrs] == waiting[::-1]


def test_what_waits_can_be_ended_by_order(world: World) -> None:
    dial(world, 2)
    second = world.engine.list_calls(None, world.now, True)[1]
    assert world.engine.end_call(second.cdr_id, world.now)
    assert not world.engine.end_call(second.cdr_id, world.now)
    world._collect()
    world.run_for(0.1)
    assert world.caller.statuses()[-1] == 480
    (cdr,) = world.cdrs
    assert (cdr.id, cdr.cause, cdr.release, cdr.status) == (second.cdr_id, "killed", "switch", 480)
    assert world.engine.read_call(second.cdr_id, world.now) is None
    world.run_for(5)
    assert len(world.cheap.invites) == 1
