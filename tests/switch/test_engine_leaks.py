"""Nothing outlives its call: no object, no timer, no count, and nothing for the collector to find."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from switch.snapshot import Customer
from tests.fakes.carrier import DEFAULT_RECORDS, with_
from tests.fakes.world import World


@pytest.fixture
def _saved_garbage() -> Iterator[None]:
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


@pytest.mark.usefixtures("_saved_garbage")
@pytest.mark.parametrize("behaviour", [(180, 200), (486,), (503,), (), (180,)])
def test_a_call_leaves_no_cycles_behind(tmp_path: Path, behaviour: tuple[int, ...]) -> None:
    world = World(tmp_path, records=with_(DEFAULT_RECORDS, Customer, 1, ring_ms=5_000))
    world.cheap.behaviour = behaviour
    for _ in range(3):
        world.caller.invite()
        world.run_for(12)
        if 200 in world.caller.statuses():
            world.caller.ack()
            world.caller.bye()
        world.run_for(70)
        world.caller.received.clear()
    gc.collect()
    ours = sorted({type(thing).__name__ for thing in gc.garbage if type(thing).__module__.startswith("switch.")})
    assert ours == []
    world.assert_idle()
