"""Probes by themselves: what they are sent as, and peers that cannot be reached."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.build import is_compiled
from switch.call.hops import Hops, Local
from switch.call.ids import Ids
from switch.call.keepalive import KeepAlive, KeepAliveUser
from switch.call.leg import Leg
from switch.call.liveness import STEPS, Liveness
from switch.outputs import Flow, Send
from switch.transaction.client import ClientTransaction
from switch.transaction.layer import Layer, TimerValues
from switch.wire.message import Request, Response, parse_message

pytestmark = pytest.mark.skipif(is_compiled(), reason="a call of a test cannot inherit from a compiled class")

EVERY_S = 100.0


class Call(KeepAliveUser):
    def __init__(self) -> None:
        self.lost: list[tuple[bool, float]] = []
        self.proven_at: list[float] = []

    def on_proven(self, now: float) -> None:
        self.proven_at.append(now)

    def on_silence(self, was_proven: bool, now: float) -> None:
        self.lost.append((was_proven, now))


class Bench:
    """A keeper with its two peers, played by hand."""

    def __init__(self, *, restored_at: float = 0.0, **changes: int) -> None:
        self.layer = Layer(TimerValues())
        self.values = Liveness()
        for name, value in changes.items():
            setattr(self.values, name, value)
        self.call = Call()
        hops = Hops([Local(0, "udp", "192.0.2.1", 5060), Local(1, "tcp", "192.0.2.1", 5060)])
        self.caller = self._leg(hops, Flow(0, ("192.0.2.10", 5060)), b"caller")
        self.callee = self._leg(hops, Flow(1, ("198.51.100.1", 5060), 7), b"callee")
        self.now = 1_000.0
        self.keeper = KeepAlive(
            self.layer,
            hops,
            Ids(Random(1)),
            self.values,
            self.call,
            self.caller,
            self.callee,
            int(EVERY_S * 1000),
            restored_at,
        )

    def _leg(self, hops: Hops, flow: Flow, tag: bytes) -> Leg:
        leg = Leg(b"id@x", b"<sip:a@b>;tag=" + tag, tag, b"<sip:c@d>;tag=us", b"us", flow)
        leg.set_target(b"sip:peer@" + flow.address[0].encode() + b":5060", [], hops)
        leg.local_cseq = 5
        return leg

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.layer.timers.next_deadline() <= until:
            self.now = max(self.now, self.layer.timers.next_deadline())
            self.layer.timers.run(self.now)
        self.now = until

    def asked(self, leg: Leg) -> list[Send]:
        return [send for send in self.layer.sends if isinstance(send, Send) and send.flow.address == leg.flow.address]

    def pending(self, leg: Leg) -> list[ClientTransaction]:
        found = [each for each in self.layer.clients.values() if isinstance(each, ClientTransaction)]
        return [each for each in found if each.flow.address == leg.flow.address and each.is_pending()]

    def answer(self, leg: Leg, status: int) -> None:
        (client,) = self.pending(leg)
        request = parse_message(client.data)
        lines = [line for line, header in zip(request.lines, request.ids, strict=True) if header <= 4]
        response = parse_message(b"\r\n".join([b"SIP/2.0 %d X" % status, *lines, b"", b""]))
        assert isinstance(response, Response)
        client.receive(response, self.now)

    def refuse(self, leg: Leg) -> None:
        """The transport cannot deliver."""
        while self.pending(leg):
            self.pending(leg)[0].transport_failed("refused", self.now)


def test_a_probe_is_a_request_of_the_other_peer_with_a_number_that_was_used_before() -> None:
    bench = Bench()
    bench.keeper.fire(0, bench.now)
    (send,) = bench.asked(bench.caller)
    request = parse_message(send.data)
    assert isinstance(request, Request)
    assert (request.method, request.cseq, request.from_tag, request.to_tag) == (b"OPTIONS", 5, b"us", b"caller")
    assert bench.caller.local_cseq == 5


def test_a_stream_that_is_gone_is_opened_anew_for_a_probe() -> None:
    bench = Bench()
    bench.keeper.fire(0, bench.now)
    (client,) = bench.pending(bench.callee)
    client.transport_failed("closed", bench.now)
    assert [send.flow.connection for send in bench.asked(bench.callee)] == [7, 0]


def test_a_peer_that_cannot_be_reached_after_a_restart_is_tried_again_for_half_a_minute() -> None:
    bench = Bench(restored_at=990.0)
    bench.keeper.fire(0, bench.now)
    bench.answer(bench.caller, 200)
    for _ in range(6):
        bench.refuse(bench.callee)
        assert bench.call.lost == []
        bench.run(5.0)
    bench.refuse(bench.callee)
    bench.run(5.0)
    bench.refuse(bench.callee)
    assert [was_proven for was_proven, _ in bench.call.lost] == [False]
    assert 32.0 <= bench.call.lost[0][1] - 1_000.0 <= 40.0


def test_a_peer_that_comes_back_in_time_is_alive() -> None:
    bench = Bench(restored_at=990.0)
    bench.keeper.fire(0, bench.now)
    bench.refuse(bench.callee)
    bench.run(5.0)
    bench.answer(bench.callee, 200)
    assert bench.call.proven_at == []
    bench.answer(bench.caller, 500)
    assert bench.call.proven_at == [1_005.0]
    assert (bench.caller.alive_at, bench.callee.alive_at) == (1_005.0, 1_005.0)


def test_a_peer_that_cannot_be_reached_in_a_running_call_is_one_failure_a_round() -> None:
    bench = Bench()
    bench.keeper.fire(0, bench.now)
    for lost in (0, 0, 1):
        bench.answer(bench.caller, 200)
        bench.refuse(bench.callee)
        assert len(bench.call.lost) == lost
        bench.run(EVERY_S + 0.1)


def test_one_answer_of_481_after_a_restart_is_enough() -> None:
    bench = Bench(restored_at=990.0)
    bench.keeper.fire(0, bench.now)
    bench.answer(bench.callee, 481)
    assert bench.call.lost == [(False, 1_000.0)]
    assert bench.layer.size() == 0
    assert bench.layer.timers.running() == 0


def test_a_round_that_comes_while_a_probe_is_under_way_sends_no_second_one() -> None:
    bench = Bench()
    bench.keeper.fire(0, bench.now)
    bench.keeper.fire(0, bench.now)
    assert len(bench.pending(bench.caller)) == 1


@given(st.lists(st.sampled_from([200, 481, 408, 500]), max_size=40), st.integers(1, 4), st.integers(0, 3))
def test_a_side_is_lost_by_two_481_in_a_row_or_by_too_many_failures_and_by_nothing_else(
    answers: list[int], failures: int, more: int
) -> None:
    bench = Bench(keepalive_failures=failures, keepalive_of=failures + more)
    bench.keeper.fire(0, bench.now)
    window: list[bool] = []
    is_doubted = False
    for status in answers:
        if bench.pending(bench.caller):
            bench.answer(bench.caller, 200)
        while not bench.pending(bench.callee):
            bench.run(1.0)
            if bench.pending(bench.caller):
                bench.answer(bench.caller, 200)
        is_lost = status == 481 and is_doubted
        if status != 481:
            window = [*window, status == 408][-(failures + more) :]
            is_lost = status == 408 and window.count(True) >= failures
        bench.answer(bench.callee, status)
        is_doubted = (is_doubted or status == 481) if status in (408, 481) else False
        assert bool(bench.call.lost) is is_lost
        if is_lost:
            assert bench.layer.timers.running() == len(bench.layer.clients)  # only what absorbs copies
            return


def test_intervals_are_spread_below_the_setting() -> None:
    values = Liveness()
    values.set_keepalive(300)
    found = [values.keepalive_ms(step) for step in range(STEPS)]
    assert max(found) == 300_000
    assert min(found) > 225_000
    assert len(set(found)) == STEPS
    assert [values.recovery_ms(step) for step in (0, STEPS - 1)] == [20_000, 37_500]
    values.set_keepalive(0)
    assert {values.keepalive_ms(step) for step in range(STEPS)} == {0}
