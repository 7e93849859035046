"""Gateways stay resolved: ahead of calls, again by TTL, and with the last good answer when DNS fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from switch import resolver as resolver_module
from switch.lookup import Lookup
from switch.outputs import Target
from switch.resolver import Resolver
from switch.snapshot import Gateway
from tests.fakes.dns_server import DnsServer
from tests.fakes.waiting import until


class Bench:
    def __init__(self) -> None:
        self.server = DnsServer({("gw.example", "A"): (300, ["192.0.2.1"])})
        self.pushed: list[tuple[int, list[str]]] = []

    async def start(self) -> None:
        await self.server.start()
        lookup = Lookup(frozenset({4}), self.server.resolver(), Path("/nonexistent"))
        self.resolver = Resolver(lookup, self.push)

    def push(self, gateway_id: int, targets: list[Target]) -> None:
        self.pushed.append((gateway_id, [target.ip for target in targets]))


def play(scene: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        bench = Bench()
        await bench.start()
        try:
            await scene(bench)
        finally:
            bench.resolver.close()
            bench.server.close()
            await asyncio.sleep(0)

    uvloop.run(main())


def gateway(gateway_id: int = 1, host: str = "gw.example", port: int = 5060, **facts: Any) -> Gateway:
    return Gateway(id=gateway_id, provider_id=1, host=host, port=port, **facts)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records run out, and failures are tried again, in hundredths of a second."""
    monkeypatch.setattr(resolver_module, "TTL_MIN_S", 0.02)
    monkeypatch.setattr(resolver_module, "TTL_MAX_S", 0.02)
    monkeypatch.setattr(resolver_module, "RETRY_MIN_S", 0.02)
    monkeypatch.setattr(resolver_module, "RETRY_MAX_S", 0.02)


def test_a_literal_address_is_there_at_once() -> None:
    async def scene(bench: Bench) -> None:
        bench.resolver.set_gateways([gateway(host="198.51.100.7")])
        assert bench.pushed == [(1, ["198.51.100.7"])]
        assert bench.server.questions == []

    play(scene)


def test_a_name_is_resolved_and_not_again_while_its_record_lives() -> None:
    async def scene(bench: Bench) -> None:
        bench.resolver.set_gateways([gateway()])
        await until(lambda: bench.pushed)
        assert bench.pushed == [(1, ["192.0.2.1"])]
        asked = len(bench.server.questions)
        bench.resolver.set_gateways([gateway(weight=5)])
        await asyncio.sleep(0.02)
        assert len(bench.server.questions) == asked

    play(scene)


@pytest.mark.usefixtures("quick")
def test_a_changed_record_is_taken_when_the_old_one_runs_out() -> None:
    async def scene(bench: Bench) -> None:
        bench.resolver.set_gateways([gateway()])
        await until(lambda: bench.pushed)
        bench.server.records["gw.example", "A"] = (300, ["192.0.2.2"])
        await until(lambda: bench.pushed[-1] == (1, ["192.0.2.2"]))

    play(scene)


@pytest.mark.usefixtures("quick")
def test_a_failure_keeps_the_last_good_answer_and_shows_why() -> None:
    async def scene(bench: Bench) -> None:
        bench.resolver.set_gateways([gateway()])
        await until(lambda: bench.pushed)
        records, bench.server.records = bench.server.records, {}
        await until(lambda: bench.resolver.failures)
        assert bench.resolver.failures == {1: "gw.example: no address"}
        pushed = len(bench.pushed)
        await asyncio.sleep(0.05)
        assert bench.pushed[pushed:] == []
        bench.server.records = records
        await until(lambda: not bench.resolver.failures)

    play(scene)


def test_a_gateway_that_is_gone_is_asked_for_no_more() -> None:
    async def scene(bench: Bench) -> None:
        bench.resolver.set_gateways([gateway(), gateway(2, enabled=False)])
        await until(lambda: bench.pushed)
        bench.resolver.set_gateways([])
        bench.resolver.push_again()
        assert bench.pushed == [(1, ["192.0.2.1"]), (1, [])]

    play(scene)


def test_another_host_forgets_the_old_addresses_at_once() -> None:
    async def scene(bench: Bench) -> None:
        bench.resolver.set_gateways([gateway()])
        await until(lambda: bench.pushed)
        bench.resolver.set_gateways([gateway(host="new.example")])
        assert bench.pushed[-1] == (1, [])

    play(scene)


def test_targets_are_pushed_again_when_the_engine_has_new_records() -> None:
    async def scene(bench: Bench) -> None:
        bench.resolver.set_gateways([gateway(), gateway(2, host="198.51.100.7")])
        await until(lambda: len(bench.pushed) == 2)
        bench.resolver.push_again([2, 3])
        assert bench.pushed[2:] == [(2, ["198.51.100.7"])]
        bench.resolver.push_again()
        assert len(bench.pushed) == 5

    play(scene)


def test_a_silent_name_server_holds_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(bench: Bench) -> None:
        bench.server.is_silent = True
        bench.resolver.set_gateways([gateway(number) for number in range(1, 40)])
        await until(lambda: bench.server.questions)
        bench.resolver.set_gateways([gateway(99, host="198.51.100.7")])
        assert bench.pushed == [(99, ["198.51.100.7"])]

    play(scene)
