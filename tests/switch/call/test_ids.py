"""Ids are unique, long enough, repeat with their generator, and CDR ids sort by time."""

from __future__ import annotations

import re
from random import Random

from switch.call.ids import POOL_BYTES, Ids


def test_ids_have_their_shapes_and_never_repeat() -> None:
    ids = Ids(Random(1))
    branches = {ids.branch() for _ in range(POOL_BYTES)}
    assert len(branches) == POOL_BYTES
    assert all(re.fullmatch(rb"z9hG4bK[0-9a-f]{16}", branch) for branch in branches)
    assert re.fullmatch(rb"[0-9a-f]{16}", ids.tag())
    assert re.fullmatch(r"[0-9a-f]{32}", ids.cdr_id(1_780_000_000_000))


def test_the_same_generator_gives_the_same_ids() -> None:
    first, second = Ids(Random(7)), Ids(Random(7))
    assert [first.branch() for _ in range(600)] == [second.branch() for _ in range(600)]


def test_cdr_ids_sort_by_time() -> None:
    ids = Ids(Random(1))
    drawn = [ids.cdr_id(now_ms) for now_ms in (999, 1_000, 1_780_000_000_000, 1_780_000_000_001)]
    assert drawn == sorted(drawn)
