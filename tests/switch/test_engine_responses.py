"""Responses that are not for us, though their branch is one of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.world import World


@pytest.mark.parametrize(
    "sent_by", ["255.255.255.255", "224.0.0.1:5060", "192.0.2.1:5099", "192.0.2.77:5060", "[2001:db8::1]"]
)
def test_a_response_whose_via_names_somebody_else_is_dropped(tmp_path: Path, sent_by: str) -> None:
    world = World(tmp_path)
    world.cheap.behaviour = (100,)
    world.caller.invite()
    world.run_for(0.1)
    answer = world.cheap.answer(200)
    world.run_for(0.1)
    assert world.caller.statuses() == [200]
    forged = answer.replace(b"UDP 192.0.2.1:5060;", b"UDP " + sent_by.encode() + b";", 1)
    assert forged != answer
    before = len(world.log)
    world.cheap.send(forged.replace(b";tag=cheap", b";tag=another"))  # a fork, if it were ours
    world.run_for(0.1)
    assert [packet for packet in world.log[before:] if packet.source[0] == "192.0.2.1"] == []
    assert world.engine.stats().counters["responses_misaddressed"] == 1
