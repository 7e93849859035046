"""A call that ended just before the switch died: its end is in the journal, and maybe nobody was told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from switch.records import CallEnded
from switch.wire.message import Response
from tests.fakes.world import CALLER, CHEAP, SWITCH, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def end_unheard(world: World, end: Callable[[], object]) -> None:
    """The call ends, and nothing of what the switch says to it gets out any more."""
    world.loses = lambda packet: packet.source == SWITCH
    end()
    world.run_for(0.01)
    world._collect()  # what `end` did to the engine itself
    assert len(world.cdrs) == 1
    world.log.clear()


def start_again(world: World, *, boot_s: float = 0.0) -> None:
    """A restart, after which the link is as it was."""
    died_at = world.now
    world.loses = lambda packet: packet.at <= died_at
    world.log.clear()
    world.crash(boot_s=boot_s)


def test_the_callee_is_told_after_a_restart_that_the_caller_hung_up(world: World) -> None:
    world.talk(30)
    end_unheard(world, world.caller.bye)
    start_again(world)
    world.run_for(40)
    (bye,) = world.cheap.requests("BYE")
    assert bye.to_tag == b"cheap"
    assert world.caller.requests("BYE") == []
    assert [cdr.cause for cdr in world.cdrs] == ["normal"]
    world.assert_idle()


def test_the_caller_is_told_that_the_callee_hung_up(world: World) -> None:
    world.talk(30)
    end_unheard(world, lambda: world.cheap.in_dialog("BYE", 1))
    start_again(world)
    world.run_for(0.1)
    (bye,) = world.caller.requests("BYE")
    world.caller.reply(bye, 200)
    assert world.cheap.requests("BYE") == []
    world.run_for(40)
    world.assert_idle()


def test_both_are_told_of_a_call_that_the_switch_ended(world: World) -> None:
    world.talk(30)
    end_unheard(
        world, lambda: world.engine.end_call(next(iter(world.engine.list_calls(None, world.now))).cdr_id, world.now)
    )
    start_again(world)
    world.run_for(0.1)
    assert len(world.caller.requests("BYE")) == len(world.cheap.requests("BYE")) == 1


def test_a_caller_is_told_that_nobody_answered(world: World) -> None:
    world.cheap.behaviour = (100, 180)
    world.caller.invite()
    world.run_for(1)
    end_unheard(world, lambda: world.cheap.answer(486))
    start_again(world)
    world.run_for(0.1)
    finals = [each for each in world.caller.received if isinstance(each, Response) and each.status >= 300]
    assert [(each.status, each.cseq_method) for each in finals] == [(486, b"INVITE")]
    world.run_for(40)
    assert [cdr.cause for cdr in world.cdrs] == ["busy"]
    world.assert_idle()


def test_calls_that_ended_earlier_are_left_in_peace(world: World) -> None:
    world.talk(30)
    world.caller.bye()
    world.run_for(0.1)
    world.caller.invite()  # by whose record the journal tells how long the switch lived
    world.run_for(5)
    world.caller.ack()
    world.run_for(5)
    start_again(world)
    world.run_for(5)
    assert world.names_to(CHEAP) == world.names_to(CALLER) == []


def test_of_another_boot_nobody_is_told(world: World) -> None:
    """Its moments are of a clock that is gone, and its peers have given up long since."""
    world.talk(30)
    end_unheard(world, world.caller.bye)
    start_again(world, boot_s=100.0)
    world.run_for(5)
    assert world.names_to(CHEAP) == []


def test_a_second_death_before_anything_got_out_changes_nothing(world: World) -> None:
    world.talk(30)
    end_unheard(world, world.caller.bye)
    world.crash(down_s=0.5)
    start_again(world)
    world.run_for(40)
    assert world.cheap.requests("BYE")
    assert len(world.cdrs) == 1
    world.assert_idle()


def test_an_end_that_a_newer_build_wrote_keeps_no_switch_from_starting(world: World) -> None:
    world.cheap.behaviour = (180,)
    world.caller.invite()
    world.run_for(0.1)
    end_unheard(world, world.caller.cancel)
    ended = world.journal[-1]
    assert isinstance(ended, CallEnded)
    world.journal[-1] = CallEnded(msgspec.structs.replace(ended.cdr, cause="unheard_of"))
    start_again(world)
    world.run_for(0.1)
    assert world.caller.statuses()[-1] == 487
