"""Counts are the live calls themselves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from switch.policy.live import (
    CUSTOMER,
    ENDPOINT,
    GATEWAY,
    INSTANCE,
    INSTANCE_KEY,
    ROUTE,
    Live,
    Turns,
    describe_key,
    layer_key,
)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 5))))
def test_channels_are_the_calls_that_entered_and_did_not_leave(steps: list[tuple[bool, int, int]]) -> None:
    live = Live()
    expected: dict[int, set[int]] = {}
    for enters, key, call in steps:
        if enters:
            live.enter(key, call)
            expected.setdefault(key, set()).add(call)
        else:
            live.leave(key, call)
            expected.get(key, set()).discard(call)
    for key in range(4):
        assert live.channels(key) == len(expected.get(key, set()))
    assert all(live.calls.values()), "a key without calls is gone"


def test_layers_of_the_same_id_do_not_meet() -> None:
    live = Live()
    live.enter_all([layer_key(ENDPOINT, 7), layer_key(CUSTOMER, 7)], "call")
    assert live.channels(layer_key(ENDPOINT, 7)) == 1
    assert live.channels(layer_key(ROUTE, 7)) == 0
    live.leave_all([layer_key(ENDPOINT, 7), layer_key(CUSTOMER, 7)], "call")
    assert live.calls == {}


def test_keys_can_be_read() -> None:
    assert describe_key(layer_key(GATEWAY, 12)) == "gateway 12"
    assert layer_key(INSTANCE, 0) == INSTANCE_KEY
    assert describe_key(INSTANCE_KEY) == "instance"


def test_bandwidth_is_the_sum_over_the_live_calls() -> None:
    live = Live()
    live.enter(1, "a")
    live.enter(1, "b")
    live.set_kbps("a", 87)
    live.set_kbps("b", 31)
    assert live.kbps(1) == 118
    live.leave_all([1], "a")
    assert live.kbps(1) == 31


def test_a_removed_record_leaves_no_state_behind() -> None:
    live = Live()
    live.health_of(4)
    live.turns[9, 1, 2] = Turns()
    live.round_robin[9] = 3
    live.forget(layer_key(GATEWAY, 4))
    live.forget(layer_key(ROUTE, 9))
    assert not live.health
    assert not live.turns
    assert not live.round_robin
