"""Changes on their way to the switch: versions, order, and that both sides come to hold the same."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import pytest

from control.services.context import current_version
from control.services.records import read_snapshot
from tests.fakes.control import ControlPlane, key_of, with_control
from tests.fakes.databases import Database


@with_control
async def test_versions_reach_the_switch_in_order_and_without_gaps(plane: ControlPlane) -> None:
    await asyncio.gather(*(plane.make_customer(name=f"Customer {number}") for number in range(20)))
    assert plane.publisher.versions == list(range(2, 22))
    async with plane.store.read() as tx:
        assert await current_version(tx) == 21


@with_control
async def test_what_the_switch_never_asks_about_counts_no_version(plane: ControlPlane) -> None:
    await plane.post("/admin-keys", {"name": "Robot", "role": "read-only"})
    assert plane.publisher.versions == []


@with_control
async def test_a_refused_change_leaves_no_trace(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    with contextlib.suppress(RuntimeError):
        async with plane.ctx.change() as change:
            await change.audit("create", "customer", 99)
            raise RuntimeError
    await plane.patch(f"/customers/{customer}", {"website": "nowhere"}, status=400)
    assert plane.publisher.versions == [2]
    assert len((await plane.get("/audit?noun=customer"))["items"]) == 1


async def random_change(plane: ControlPlane, chance: random.Random, number: int) -> None:
    """One request of many kinds; refusals are as good as any."""
    row = chance.randint(1, 6)
    choices: list[tuple[str, str, Any]] = [
        ("POST", "/customers", {"name": f"Customer {number}", "channels": chance.choice([None, 5])}),
        ("POST", "/clients", {"name": f"Client {number}", "status": "active"}),
        ("POST", "/providers", {"name": f"Provider {number}", "cause_table": {"503": "stop"}}),
        ("POST", f"/providers/{row}/gateways", {"host": f"10.0.0.{number % 250 + 1}"}),
        ("POST", "/rate-cards", {"name": f"Buy {number}", "direction": "buy", "provider_id": row}),
        ("POST", "/rate-cards", {"name": f"Sell {number}", "direction": "sell", "vendor_card_ids": [row]}),
        ("POST", f"/customers/{row}/endpoints", {"direction": "egress", "host": f"192.0.2.{number % 250 + 1}"}),
        ("POST", f"/customers/{row}/sip-users", {"username": f"user{number}", "password": "wonderland"}),
        ("POST", f"/customers/{row}/ingress-routes", {"rate_card_id": chance.randint(1, 6), "dial_strings": ["44"]}),
        ("PATCH", f"/customers/{row}", {"status": chance.choice(["active", "inactive"]), "client_id": row}),
        ("PATCH", f"/clients/{row}", {"status": chance.choice(["active", "suspended"])}),
        ("PATCH", f"/gateways/{row}", {"weight": number, "enabled": False}),
        ("PATCH", f"/rate-cards/{row}", {"decimals": number % 10, "max_cost": "5"}),
        ("PATCH", f"/endpoints/{row}", {"tech_prefix": str(number)}),
        ("DELETE", f"/customers/{row}", None),
        ("DELETE", f"/providers/{row}", None),
        ("DELETE", f"/rate-cards/{row}", None),
        ("DELETE", f"/ingress-routes/{row}", None),
    ]
    method, path, body = chance.choice(choices)
    answer = await plane.request(method, path, body)
    assert answer.status_code < 500


@pytest.mark.parametrize("seed", range(3))
def test_deltas_and_a_whole_snapshot_come_to_the_same(seed: int, tmp_path: Any, database: Database) -> None:
    @with_control
    async def run(plane: ControlPlane) -> None:
        chance = random.Random(seed)
        async with plane.store.read() as tx:
            start = await read_snapshot(tx)
        plane.publisher.records = {key_of(record): record for record in start.records}
        for number in range(120):
            await random_change(plane, chance, number)
        async with plane.store.read() as tx:
            whole = await read_snapshot(tx)
        assert {key_of(record): record for record in whole.records} == plane.publisher.records
        assert whole.version == len(plane.publisher.versions) + 1

    run(tmp_path, database)
