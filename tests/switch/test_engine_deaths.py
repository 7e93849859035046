"""Peers die at any moment, the link loses, the switch crashes: each call ends once and pays for talk alone."""

from __future__ import annotations

from pathlib import Path
from random import Random

import msgspec
import pytest

from config.settings import Liveness, Settings
from switch.wire.message import Message, Request
from tests.fakes.world import CALLER, CHEAP, Address, Packet, Vendor, World

EVERY_S = 60
FOUND_WITHIN_S = 5 * EVERY_S
"""Two of three probes fail, each after 32 s; over a bad link a living side fails some as well."""
SETTINGS = Settings(
    liveness=msgspec.structs.replace(Liveness(), keepalive_s=EVERY_S, keepalive_failures=2, keepalive_of=3)
)


class Story:
    """What happens to one call, drawn from a seed. Moments are seconds from the answer on."""

    def __init__(self, seed: int) -> None:
        rng = Random(seed)
        self.rng = rng
        self.loss = rng.choice((0.0, 0.1, 0.25))
        self.lasts_s = rng.uniform(5, 900)
        self.crashes = sorted(rng.uniform(1, self.lasts_s) for _ in range(rng.choice((0, 0, 1, 2))))
        self.down_s = rng.uniform(0.1, 90)
        self.deaths: dict[Address, float] = {}
        for side in (CALLER, CHEAP):
            if rng.random() < 0.4:
                self.deaths[side] = rng.uniform(0, self.lasts_s)
            elif self.crashes and rng.random() < 0.3:
                self.deaths[side] = self.crashes[0] + rng.uniform(0, self.down_s)
        self.refreshes = rng.random() < 0.3

    @property
    def first_death(self) -> float:
        return min(self.deaths.values(), default=1e9)


class Refreshed(Vendor):
    """Knows no session timers, but takes an UPDATE."""

    def on_message(self, message: Message) -> None:
        super().on_message(message)
        if isinstance(message, Request) and message.method == b"UPDATE":
            self.reply(message, 200)


@pytest.mark.parametrize("seed", range(60))
def test_whoever_dies_the_call_ends_once_and_costs_no_more_than_was_talked(tmp_path: Path, seed: int) -> None:
    story = Story(seed)
    world = World(tmp_path, settings=SETTINGS, seed=seed)
    world.cheap = Refreshed(world, CHEAP, "cheap")
    world.caller.invite(extra=[b"Supported: timer", b"Session-Expires: 90"] if story.refreshes else [])
    world.run_for(0.1)
    world.caller.ack()
    answered_at = world.now

    def loses(packet: Packet) -> bool:
        moment = world.now - answered_at
        is_dead = any(moment >= story.deaths.get(side, 1e9) for side in (packet.source, packet.target))
        return is_dead or story.rng.random() < story.loss

    world.loses = loses
    cseq = 1
    crashes = list(story.crashes)
    last_crash = 0.0
    next_refresh = 30.0
    while not world.cdrs and world.now - answered_at < story.lasts_s:
        world.run_for(1.0)
        moment = world.now - answered_at
        if crashes and moment > crashes[0] and not world.cdrs:
            del crashes[0]
            last_crash = moment
            world.crash(down_s=story.down_s)
        if story.refreshes and moment > next_refresh:
            next_refresh = moment + 20
            cseq += 1
            update = world.caller.in_dialog("UPDATE", cseq, extra=[b"Supported: timer", b"Session-Expires: 90"])
            for _ in range(3):  # as it would repeat it
                world.run_for(0.5)
                world.caller.send(update)
    hung_up = world.now - answered_at
    for _ in range(8):  # the caller's BYE, until it hears that it arrived
        if not world.cdrs:
            world.caller.bye(cseq + 1)
            cseq += 1
            world.run_for(0.5)
    world.run_for(FOUND_WITHIN_S + story.down_s)
    (cdr,) = world.cdrs
    talked_s = cdr.duration_ms / 1000
    assert world.held() == 0
    assert world.balance() == -cdr.gross_nanos
    if cdr.cause == "normal":
        assert story.deaths.get(CALLER, 1e9) > hung_up
        assert hung_up - 0.2 <= talked_s <= hung_up + 4
    elif cdr.cause == "session_expired":
        assert story.refreshes
        assert story.deaths or story.crashes, "both were up"
        assert talked_s <= story.first_death + 90 + story.down_s
    elif cdr.cause == "keepalive_failed" and CHEAP not in story.deaths:
        # The callee was there until we hung up, and is paid.
        assert story.deaths, "both were up"
        assert talked_s <= max(story.first_death, last_crash) + FOUND_WITHIN_S
        assert talked_s >= min(story.first_death, hung_up) - 4 * EVERY_S - 2 * story.down_s
    else:
        assert cdr.cause in ("keepalive_failed", "lost_in_restart")
        assert story.deaths, "both were up"
        died_at = story.first_death if cdr.cause == "lost_in_restart" else story.deaths[CHEAP]
        # Up to a crash of ours both count as alive: what they said before it is not in the journal.
        assert talked_s <= max(died_at, last_crash) + 0.2
        assert talked_s >= min(story.first_death, hung_up) - 4 * EVERY_S - 2 * story.down_s
    world.loses = lambda packet: False
    world.run_for(80)
    world.assert_idle()
