"""A vendor that answers everything at once is told of, and nobody else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from switch.outputs import Alarm
from switch.quick_answers import QUICK_S, STREAK, QuickAnswers
from tests.fakes.world import World


def alarms(world: World) -> list[str]:
    return [event.detail for event in world.events if isinstance(event, Alarm) and event.name == "quick_answers"]


def call(world: World, number: int) -> None:
    world.caller.invite(call_id=f"q{number}@x")
    world.run_for(5)
    if world.caller.statuses()[-1] == 200:
        world.caller.ack()
        world.caller.bye()
    world.run_for(1)


def test_ten_answers_within_a_tenth_of_a_second_raise_one_alarm(tmp_path: Path) -> None:
    world = World(tmp_path)
    for number in range(STREAK - 1):
        call(world, number)
    assert alarms(world) == []
    for number in range(STREAK):
        call(world, 100 + number)
    assert alarms(world) == ["provider 1 Cheapline: 10 calls in a row answered within 0.1 s of their INVITE"]


@pytest.mark.parametrize("behaviour", [(486,), (180,)])
def test_one_call_that_is_not_answered_so_begins_the_count_anew(tmp_path: Path, behaviour: tuple[int, ...]) -> None:
    world = World(tmp_path)
    for number in range(2 * STREAK - 2):
        world.cheap.behaviour = behaviour if number == STREAK - 2 else (200,)
        call(world, number)
        if world.cheap.behaviour == (180,):
            world.caller.cancel()
            world.run_for(1)
    assert alarms(world) == []


def test_a_slow_answer_begins_it_anew_too() -> None:
    answers = QuickAnswers()
    told = [answers.note_answer(1, QUICK_S * 2 if turn % STREAK == STREAK - 1 else 0.01) for turn in range(50)]
    assert not any(told)
