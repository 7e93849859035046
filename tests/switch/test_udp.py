"""UDP sockets, for real and on loopback."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from config.settings import Listener
from switch.datagrams import SEND_SLOTS
from switch.outputs import Flow, Send
from switch.pump import Pump
from switch.udp import DATAGRAMS_PER_WAKE, SEND_QUEUE_MAX, Pace, UdpListener
from tests.fakes.echo_engine import EchoEngine
from tests.fakes.waiting import until

HOSTS = ["127.0.0.1", "::1"]


class Bench:
    def __init__(self, host: str) -> None:
        loop = asyncio.get_running_loop()
        self.engine = EchoEngine()
        self.pump = Pump(self.engine, None, loop)
        self.shell = UdpListener(0, Listener(transport="udp", host=host, port=0), 65_507)
        self.pump.transports = [self.shell]
        self.shell.start(self.pump, loop)
        self.peer = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.peer.bind((host, 0))
        self.peer.setblocking(False)

    @property
    def peer_address(self) -> tuple[str, int]:
        host, port = self.peer.getsockname()[:2]
        return host, port

    def send(self, *sends: Send) -> None:
        self.engine.sends.extend(sends)
        self.pump.flush(time.monotonic())

    async def hears(self, size: int = 65_535) -> bytes:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.peer, size), 5.0)


def play(host: str, scene: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        bench = Bench(host)
        try:
            await scene(bench)
        finally:
            bench.shell.close()
            bench.peer.close()
            bench.pump.close()

    uvloop.run(main())


def free_port(host: str) -> tuple[str, int]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        found, port = probe.getsockname()[:2]
        return found, port


@pytest.mark.parametrize("host", HOSTS)
def test_a_datagram_reaches_the_engine_and_its_answer_comes_back(host: str) -> None:
    async def scene(bench: Bench) -> None:
        bench.peer.sendto(b"OPTIONS", bench.shell.address)
        assert await bench.hears() == b"OPTIONS"
        assert bench.engine.heard == [(b"OPTIONS", 0, bench.peer_address, 0)]

    play(host, scene)


def test_the_largest_datagram_passes_whole() -> None:
    async def scene(bench: Bench) -> None:
        bench.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 400_000)
        bench.peer.sendto(b"x" * 65_507, bench.shell.address)
        assert await bench.hears() == b"x" * 65_507

    play("127.0.0.1", scene)


def test_more_datagrams_than_one_wake_up_reads_are_all_read() -> None:
    async def scene(bench: Bench) -> None:
        bench.engine.echoes = False
        for number in range(DATAGRAMS_PER_WAKE * 3):
            bench.peer.sendto(b"%d" % number, bench.shell.address)
        await until(lambda: len(bench.engine.heard) == DATAGRAMS_PER_WAKE * 3)
        assert [heard[0] for heard in bench.engine.heard] == [b"%d" % n for n in range(DATAGRAMS_PER_WAKE * 3)]

    play("127.0.0.1", scene)


def test_a_fault_of_ours_costs_one_message_not_the_listener() -> None:
    async def scene(bench: Bench) -> None:
        bench.engine.fault = RuntimeError("ours")
        bench.peer.sendto(b"bad", bench.shell.address)
        bench.peer.sendto(b"good", bench.shell.address)
        assert await bench.hears() == b"good"

    play("127.0.0.1", scene)


@pytest.mark.parametrize("host", HOSTS)
def test_a_closed_port_fails_the_very_message_that_went_there(host: str) -> None:
    async def scene(bench: Bench) -> None:
        nobody = free_port(host)
        bench.send(*(Send(Flow(0, nobody), b"INVITE %d" % token + b" " * 700, token) for token in range(1, 6)))
        await until(lambda: len(bench.engine.failed) == 5)
        assert sorted(bench.engine.failed) == [(token, "ECONNREFUSED") for token in range(1, 6)]
        bench.peer.sendto(b"still there", bench.shell.address)
        assert await bench.hears() == b"still there"

    play(host, scene)


def test_an_echo_delayed_onto_another_send_does_not_eat_it() -> None:
    async def scene(bench: Bench) -> None:
        nobody = free_port("127.0.0.1")
        for _ in range(5):
            bench.send(Send(Flow(0, nobody), b"lost"), Send(Flow(0, bench.peer_address), b"kept"))
            assert await bench.hears() == b"kept"

    play("127.0.0.1", scene)


def test_what_is_no_address_is_refused_without_a_look_up() -> None:
    async def scene(bench: Bench) -> None:
        bench.send(Send(Flow(0, ("vendor.example", 5060)), b"x", 3), Send(Flow(0, bench.peer_address), b"next"))
        assert await bench.hears() == b"next"
        assert bench.engine.failed == [(3, "vendor.example is no address")]

    play("127.0.0.1", scene)


@pytest.mark.parametrize("host", HOSTS)
def test_what_a_wake_up_says_leaves_in_order_and_more_than_one_call_takes(host: str) -> None:
    async def scene(bench: Bench) -> None:
        bench.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
        bench.send(*(Send(Flow(0, bench.peer_address), b"%d" % n) for n in range(SEND_SLOTS * 2 + 5)))
        assert [await bench.hears() for _ in range(SEND_SLOTS * 2 + 5)] == [
            b"%d" % n for n in range(SEND_SLOTS * 2 + 5)
        ]

    play(host, scene)


def test_one_message_that_cannot_leave_holds_none_of_its_batch_back() -> None:
    async def scene(bench: Bench) -> None:
        to = Flow(0, bench.peer_address)
        bench.send(Send(to, b"first"), Send(to, b"x" * 70_000, 9), Send(to, b"last"))
        assert [await bench.hears(), await bench.hears()] == [b"first", b"last"]
        assert bench.engine.failed == [(9, "Message too long")]

    play("127.0.0.1", scene)


def test_a_message_too_long_for_udp_fails() -> None:
    async def scene(bench: Bench) -> None:
        bench.send(Send(Flow(0, bench.peer_address), b"x" * 70_000, 9))
        assert bench.engine.failed == [(9, "Message too long")]

    play("127.0.0.1", scene)


def test_a_kernel_that_takes_nothing_is_waited_for_with_a_bounded_queue() -> None:
    async def scene(bench: Bench) -> None:
        real, real_batch = bench.shell._sendto, bench.shell._send_slots

        def full(*_: object) -> int:
            raise BlockingIOError(11, "Resource temporarily unavailable")

        bench.shell._sendto = full
        bench.shell._send_slots = full
        surplus = 10
        bench.send(*(Send(Flow(0, bench.peer_address), b"%d" % n) for n in range(SEND_QUEUE_MAX + surplus)))
        assert bench.shell.dropped == surplus
        bench.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
        bench.shell._sendto, bench.shell._send_slots = real, real_batch
        assert [await bench.hears() for _ in range(200)] == [b"%d" % n for n in range(200)]

    play("127.0.0.1", scene)


def test_what_waits_leaves_although_every_look_finds_more_to_read() -> None:
    async def scene(bench: Bench) -> None:
        real = bench.shell._sendto

        def full(*_: object) -> int:
            raise BlockingIOError(11, "Resource temporarily unavailable")

        bench.shell._sendto = full
        bench.send(Send(Flow(0, bench.peer_address), b"first"))
        bench.shell._sendto = real
        # A flood: no look ever finds the socket empty.
        bench.shell._take = lambda: [(b"x", bench.peer_address)]
        bench.engine.echoes = False
        bench.shell._on_look()
        bench.send(Send(Flow(0, bench.peer_address), b"second"))
        assert bench.peer.recv(100) == b"first"
        assert bench.peer.recv(100) == b"second"
        bench.shell._sendto = full
        bench.send(Send(Flow(0, bench.peer_address), b"late"))
        bench.shell._sendto = real
        bench.shell.close()
        bench.send(Send(Flow(0, bench.peer_address), b"too late"))

    play("127.0.0.1", scene)


def test_under_load_the_socket_is_looked_at_instead_of_watched() -> None:
    async def scene(bench: Bench) -> None:
        pace = bench.shell.pace
        pace.window_s, pace.above, pace.below = 0.01, 200.0, 100.0
        sent = 0
        while not bench.shell.is_gathering:
            bench.peer.sendto(b"%d" % sent, bench.shell.address)
            sent += 1
            assert await bench.hears() == b"%d" % (sent - 1)
        for number in range(300):
            bench.peer.sendto(b"%d" % number, bench.shell.address)
        await until(lambda: len(bench.engine.heard) == sent + 300)
        nobody = free_port("127.0.0.1")
        bench.send(Send(Flow(0, nobody), b"INVITE", 5))
        await until(lambda: bench.engine.failed)
        await until(lambda: not bench.shell.is_gathering)
        while True:  # answers of the burst, then the one to a socket that is watched again
            try:
                bench.peer.recv(100)
            except BlockingIOError:
                break
        bench.peer.sendto(b"calm", bench.shell.address)
        assert await bench.hears() == b"calm"

    play("127.0.0.1", scene)


def test_the_pace_follows_the_rate_of_datagrams() -> None:
    pace = Pace()

    def play(rate: float, since: float) -> bool:
        pace.note(int(rate * 0.1), since + 0.1)
        return pace.gathers

    pace.note(0, 100.0)
    assert not play(2_500.0, 100.0)  # few: the loop watches
    assert play(3_500.0, 100.1)
    assert play(2_500.0, 100.2)  # fewer than it takes to begin, enough to go on
    assert not play(1_500.0, 100.3)
    assert not play(2_500.0, 100.4)


def test_a_listener_that_gathers_can_be_closed() -> None:
    async def scene(bench: Bench) -> None:
        pace = bench.shell.pace
        pace.window_s, pace.above, pace.below = 0.001, 1.0, 0.0
        while not bench.shell.is_gathering:
            bench.peer.sendto(b"x", bench.shell.address)
            await bench.hears()
        bench.shell.close()
        await asyncio.sleep(0.01)

    play("127.0.0.1", scene)


def test_a_port_in_use_is_an_error_at_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="in use"):
            UdpListener(0, Listener(transport="udp", host="127.0.0.1", port=other.getsockname()[1]), 65_507)
