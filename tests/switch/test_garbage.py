import gc
from collections.abc import Iterator

import pytest

from switch.garbage import QUIET_OBJECTS_MAX, is_quiet, stop_collecting


@pytest.fixture(autouse=True)
def _collector_as_before() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_collected_by_itself_once_it_is_switched_off() -> None:
    stop_collecting()
    before = gc.get_stats()[0]["collections"]
    kept = [[index] for index in range(5_000)]
    assert len(kept) == 5_000
    assert gc.get_stats()[0]["collections"] == before


def test_many_living_objects_are_traffic_and_few_are_quiet() -> None:
    stop_collecting()
    assert is_quiet()
    kept = [[index] for index in range(2 * QUIET_OBJECTS_MAX)]
    assert not is_quiet()
    kept.clear()
    assert is_quiet()
