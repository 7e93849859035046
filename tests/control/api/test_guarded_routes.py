"""Who may call what, by walking the list of routes."""

from __future__ import annotations

import re
from typing import Any

from control.api.routes import ROUTES
from control.api.routing import Route
from control.services.roles import PERMISSIONS, may
from tests.fakes.control import ROLES, ControlPlane, with_control

OPEN = {"/health", "/metrics"}


def path_of(route: Route) -> str:
    return re.sub(r"\{\w+:int\}", "999999", re.sub(r"\{\w+:str\}", "f" * 32, route.whole_path))


def guarded() -> list[Route]:
    """Routes for keys; those for contacts' sessions are walked in test_portal_leaks.py."""
    return [route for route in ROUTES if route.path not in OPEN and not route.path.startswith("/portal/")]


async def ask(plane: ControlPlane, route: Route, headers: dict[str, str]) -> Any:
    json: Any = {} if route.body not in (None, bytes) or route.patches is not None else None
    return await plane.client.request(route.method, path_of(route), json=json, headers=headers)


@with_control
async def test_every_route_but_the_open_ones_answers_401_without_a_key(plane: ControlPlane) -> None:
    for route in guarded():
        assert route.role is not None, route.path
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}, {"Authorization": ""}):
            answer = await ask(plane, route, headers)
            assert answer.status_code == 401, (route.method, route.path)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["www-authenticate"] == "Bearer"


@with_control
async def test_every_route_lets_in_the_roles_that_may_do_what_it_needs_and_no_other(plane: ControlPlane) -> None:
    for route in guarded():
        for role in ROLES:
            answer = await ask(plane, route, {"Authorization": f"Bearer {plane.keys[role]}"})
            assert route.needs is not None
            is_in = route.needs in PERMISSIONS[role]
            assert (answer.status_code != 403) == is_in, (route.method, route.path, role, answer.text)
            assert answer.status_code != 401
            assert answer.status_code < 500, (route.method, route.path, answer.text)


def test_billing_writes_money_and_neither_routing_nor_keys() -> None:
    writes = {route.path for route in guarded() if route.method != "GET" and route.needs == "money"}
    assert {
        "/customers/{customer_id:int}/payments",
        "/customers/{customer_id:int}/adjustments",
        "/customers/{row_id:int}/credit",
        "/recalculations",
    } <= writes
    for path in writes:
        kept_from = r"^/(admin-keys|ingress-routes|endpoints|sip-users|providers|gateways|rate-cards|calls|webhooks)"
        assert not re.search(kept_from, path), path
    assert PERMISSIONS["billing"] == {"read", "money"}
    assert not may("billing", "operator")
    assert may("operator", "billing")


def test_reading_needs_read_only_and_no_change_does() -> None:
    harmless = {"/simulate", "/rate-cards/{card_id:int}/price"}
    for route in guarded():
        if route.method == "GET":
            assert route.role == "read-only" or "admin-keys" in route.path or route.path == "/audit", route.path
        else:
            assert route.role != "read-only" or route.path in harmless, route.path


@with_control
async def test_an_archived_or_expired_key_opens_nothing(plane: ControlPlane) -> None:
    key = await plane.post("/admin-keys", {"name": "Leaver", "role": "operator", "expires_at": "2027-01-15T09:00:00Z"})
    plane.keys["operator"] = key["key"]
    await plane.get("/customers", role="operator")
    plane.clock.ms += 3_600_000
    await plane.get("/customers", status=401, role="operator")
    plane.clock.ms -= 3_600_000
    await plane.delete(f"/admin-keys/{key['id']}")
    await plane.get("/customers", status=401, role="operator")


@with_control
async def test_health_and_metrics_need_no_key(plane: ControlPlane) -> None:
    health = await plane.client.get("/api/v1/health")
    assert health.json() == {"status": "ok", "store": "ok", "switch": "connected", "snapshot_version": 1, "faults": []}
    plane.switch.is_connected = False
    assert (await plane.client.get("/api/v1/health")).json()["status"] == "degraded"
    metrics = await plane.client.get("/metrics")
    assert metrics.status_code == 200
    assert "tandem_switch_connected 0.0" in metrics.text


@with_control
async def test_metrics_carry_the_counters_of_the_switch(plane: ControlPlane) -> None:
    text = (await plane.client.get("/metrics")).text
    assert "tandem_calls_total 3.0" in text
    assert "tandem_switch_connected 1.0" in text
    assert 'build="' in text
