"""What policy asks about the moment: who is calling, how fast, and which gateways answer.

Counts are lengths of sets of the live calls themselves: a call that is entered twice counts once,
and one that is left is gone, so nothing can drift. Everything here outlives a snapshot; keys name
records by layer and id, so that a changed record finds its calls and its bucket again.
"""

from __future__ import annotations

from typing import Final

from switch.policy.buckets import Buckets
from switch.policy.health import Health

ENDPOINT: Final = 0
USER: Final = 1
ROUTE: Final = 2
CUSTOMER: Final = 3
PROVIDER: Final = 4
GATEWAY: Final = 5
CARD: Final = 6
INSTANCE: Final = 7
DID: Final = 8

LAYER_NAMES: Final = ("endpoint", "user", "route", "customer", "provider", "gateway", "card", "instance", "DID")

INSTANCE_KEY: Final = 7
"""The one key of the whole switch."""


def layer_key(layer: int, record_id: int) -> int:
    """One whole number for a layer and a record's id: dictionaries of them are fast."""
    return record_id << 4 | layer


def describe_key(key: int) -> str:
    """A key in words, for CDRs and simulations: `endpoint 12`."""
    layer = key & 15
    return "instance" if layer == INSTANCE else f"{LAYER_NAMES[layer]} {key >> 4}"


class Turns:
    """Where one weighted rotation stands: the credit of each card (see `order.weighted`)."""

    def __init__(self) -> None:
        self.credits: dict[int, int] = {}


class Live:
    """Usage, rates, rotation and health. Nothing in it is configuration.

    Args:
        calls_max, cps_max: limits of the whole switch; None is unlimited.
    """

    def __init__(self, calls_max: int | None = None, cps_max: float | None = None) -> None:
        self.calls_max: int | None = calls_max
        self.cps_max: float | None = cps_max
        self.calls: dict[int, set[object]] = {}
        """Live calls by layer key; a key without calls is not there."""
        self.buckets: Buckets = Buckets()
        self.health: dict[int, Health] = {}
        """By gateway id; one that was never probed or rested is not there."""
        self.round_robin: dict[int, int] = {}
        """By route id: calls that were spread so far."""
        self.turns: dict[tuple[int, ...], Turns] = {}
        """By route id and the cards that a call could choose from."""
        self._kbps: dict[object, int] = {}
        self._begun: dict[int, int] = {}
        """By key of a customer or provider: calls and attempts that entered since `take_begun`."""

    def enter(self, key: int, call: object) -> None:
        calls = self.calls.get(key)
        if calls is None:
            self.calls[key] = {call}
        else:
            calls.add(call)
        layer = key & 15
        if layer == CUSTOMER or layer == PROVIDER:
            self._begun[key] = self._begun.get(key, 0) + 1

    def leave(self, key: int, call: object) -> None:
        """Forget a call at one layer; one that never was there changes nothing."""
        calls = self.calls.get(key)
        if calls is not None:
            calls.discard(call)
            if not calls:
                del self.calls[key]

    def enter_all(self, keys: list[int], call: object) -> None:
        for key in keys:
            self.enter(key, call)

    def leave_all(self, keys: list[int], call: object) -> None:
        for key in keys:
            self.leave(key, call)
        self._kbps.pop(call, None)

    def take_begun(self) -> dict[int, int]:
        """What has entered since it was asked last, by key."""
        begun = self._begun
        self._begun = {}
        return begun

    def channels(self, key: int) -> int:
        calls = self.calls.get(key)
        return 0 if calls is None else len(calls)

    def set_kbps(self, call: object, kbps: int) -> None:
        """Note what a call's codec takes; dropped by `leave_all`."""
        self._kbps[call] = kbps

    def kbps_of(self, call: object) -> int:
        """What is noted of one call."""
        return self._kbps.get(call, 0)

    def kbps(self, key: int) -> int:
        """Kilobits per second that the live calls of a key take together, as far as they are noted."""
        noted = self._kbps
        return sum([noted.get(call, 0) for call in self.calls.get(key, ())])

    def health_of(self, gateway_id: int) -> Health:
        """A gateway's health, begun as up where nothing is known."""
        health = self.health.get(gateway_id)
        if health is None:
            health = self.health[gateway_id] = Health()
        return health

    def forget(self, key: int) -> None:
        """Drop rates, health and turns of a record that was removed; its live calls stay."""
        self.buckets.forget(key)
        record_id = key >> 4
        if key & 15 == GATEWAY:
            self.health.pop(record_id, None)
        elif key & 15 == ROUTE:
            self.round_robin.pop(record_id, None)
            for turn in [turn for turn in self.turns if turn[0] == record_id]:
                del self.turns[turn]
