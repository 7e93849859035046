"""A change of the configuration stands in the journal, whole, before anybody is told that it is in force."""

from __future__ import annotations

from pathlib import Path

from switch.engine import DELTA_RECORDS_MAX
from switch.records import DeltaApplied
from switch.snapshot import Customer, Delta
from tests.fakes.world import World


def customers(count: int) -> tuple[Customer, ...]:
    return tuple(Customer(id=number, name=f"C{number}", status="active") for number in range(100, 100 + count))


def told(world: World) -> DeltaApplied:
    world._collect()
    return [record for record in world.journal if isinstance(record, DeltaApplied)][-1]


def test_a_change_is_written_as_it_came(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert told(world).delta is None
    delta = Delta(version=2, put=customers(3))
    world.engine.apply(delta)
    assert told(world).delta == delta
    assert told(world).version == 2


def test_a_change_of_very_many_is_left_to_the_saved_file(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.engine.apply(Delta(version=2, put=customers(DELTA_RECORDS_MAX + 1)))
    assert (told(world).version, told(world).delta) == (2, None)
