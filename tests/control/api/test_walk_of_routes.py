"""Every path that there is, by every method: who may not is refused, and nobody sees what is another's.

What is walked is the list of routes itself, so that a new noun is walked on the day that it comes.
"""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from control.api.openapi_answers import problem_statuses
from control.api.routes import ROUTES
from control.api.routing import Route
from control.store import tables
from tests.control.api.test_portal_leaks import fill
from tests.fakes.control import ROLES, ControlPlane, with_control
from tests.fakes.portal import session

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
OPEN = {"/health", "/metrics", "/portal/login", "/portal/password/link", "/portal/password/reset"}
PATHS = sorted({route.whole_path for route in ROUTES if route.path not in OPEN})
BY_PATH = {path: {route.method: route for route in ROUTES if route.whole_path == path} for path in PATHS}
REFUSED = (401, 404, 405, 501)


def filled(path: str, number: int = 999_999) -> str:
    return re.sub(r"\{\w+:int\}", str(number), re.sub(r"\{\w+:str\}", "f" * 32, path))


def body_of(route: Route | None) -> Any:
    return {} if route is not None and (route.patches is not None or route.body not in (None, bytes)) else None


@with_control
async def test_no_path_answers_any_method_without_a_key(plane: ControlPlane) -> None:
    await plane.make_customer()
    for path in PATHS:
        for method in METHODS:
            route = BY_PATH[path].get(method)
            for number in (1, 999_999):
                answer = await plane.client.request(method, filled(path, number), json=body_of(route))
                wanted = (401,) if route is not None else REFUSED
                assert answer.status_code in wanted or is_preflight(method, answer), (method, path, answer.status_code)
                assert "Acme" not in answer.text


@with_control
async def test_a_method_that_a_path_does_not_have_does_nothing_for_any_role(plane: ControlPlane) -> None:
    await plane.make_customer()
    before = await everything(plane)
    for path in PATHS:
        for method in METHODS:
            if method in BY_PATH[path] or (method == "HEAD" and "GET" in BY_PATH[path]):
                continue
            for role in ROLES:
                headers = {"Authorization": f"Bearer {plane.keys[role]}"}
                answer = await plane.client.request(method, filled(path, 1), json={}, headers=headers)
                assert answer.status_code in REFUSED or is_preflight(method, answer), (method, path, role)
    assert await everything(plane) == before


@with_control
async def test_a_parameter_that_a_route_does_not_have_is_refused_and_nothing_is_done(plane: ControlPlane) -> None:
    """`DELETE …?at=` and `POST …?dry_run=true` must not be done at once by a route that knows no such thing."""
    customer = await plane.make_customer()
    before = await everything(plane)
    for path in PATHS:
        for method, route in BY_PATH[path].items():
            if route.query is not None or route.role in (None, "customer"):
                continue
            answer = await plane.request(
                method, filled(path.removeprefix("/api/v1"), customer), body_of(route), params={"at": "2030-01-01"}
            )
            assert answer.status_code == 400, (method, path)
            assert answer.json()["errors"][0]["path"] == "at"
            assert 400 in problem_statuses(route), path
    assert await everything(plane) == before


@with_control
async def test_who_may_only_read_changes_nothing_by_any_route(plane: ControlPlane) -> None:
    customer = await plane.make_customer(portal_access=True)
    await plane.post(f"/customers/{customer}/payments", {"total": "5"})
    before = await everything(plane)
    headers = {"Authorization": f"Bearer {plane.keys['read-only']}"}
    for path in PATHS:
        for method, route in BY_PATH[path].items():
            if method == "GET" or route.role in ("read-only", "customer"):
                continue
            answer = await plane.client.request(method, filled(path, 1), json=body_of(route), headers=headers)
            assert answer.status_code == 403, (method, path, answer.text)
    assert await everything(plane) == before


@with_control
async def test_a_contact_reaches_nothing_of_another_customer_by_any_id(plane: ControlPlane) -> None:
    await fill(plane, "one", 1)
    await fill(plane, "two", 2)
    marks = ("198.51.100.2", "user2", "two@example", '"2.75"', f"{4:032x}", f"{902:032x}", "two")
    portal = [route for route in ROUTES if route.role == "customer" and route.path != "/portal/logout"]
    async with await session(plane, email="one@example.com") as client:
        for route in portal:
            if "{" not in route.path:
                continue
            for number in range(1, 12):
                path = re.sub(r"\{\w+:int\}", str(number), route.path.removeprefix("/portal"))
                for cdr in (f"{4:032x}", f"{5:032x}", f"{902:032x}"):
                    answer = await client.request(route.method, path.replace("{cdr_id:str}", cdr), json=body_of(route))
                    assert answer.status_code != 500, (route.path, answer.text)
                    text = answer.text.replace(cdr, "")
                    assert not [mark for mark in marks if mark in text], (route.path, number, text)


@with_control
async def test_rows_below_one_customer_are_not_reached_through_the_path_of_another(plane: ControlPlane) -> None:
    one, two = await plane.make_customer(), await plane.make_customer(name="Other")
    await plane.post(f"/customers/{two}/endpoints", {"host": "198.51.100.2", "direction": "egress"})
    await plane.post(f"/customers/{two}/sip-users", {"username": "user2", "password": "secret word"})
    await plane.post(f"/customers/{two}/payments", {"total": "2.75"})
    await plane.post("/contacts", {"customer_id": two, "name": "Two", "email": "two@example.com"})
    nested = [path for path in PATHS if path.startswith("/api/v1/customers/{customer_id:int}/") and path.count("{") > 1]
    assert len(nested) > 5
    for path in nested:
        for method, route in BY_PATH[path].items():
            below = re.sub(r"\{customer_id:int\}", str(one), path)
            answer = await plane.request(method, filled(below, 1).removeprefix("/api/v1"), body_of(route))
            assert answer.status_code in (400, 404, 409), (method, path, answer.text)
            assert "user2" not in answer.text


@with_control
async def test_rows_below_one_client_are_not_reached_through_the_path_of_another(plane: ControlPlane) -> None:
    one, two = [(await plane.post("/clients", {"name": name, "status": "active"}))["id"] for name in ("One", "Two")]
    site = (await plane.post("/sites", {"name": "North House"}))["id"]
    office = (await plane.post(f"/sites/{site}/offices", {"room": "1"}))["id"]
    desk = (await plane.post("/products", {"name": "Desk"}))["id"]
    network = {"site_id": site, "vlan": 2, "subnet": "10.2.0.0/24", "gateway": "10.2.0.1", "notes": "of two"}
    for noun, body in {
        "occupancies": {"office_id": office, "notes": "of two"},
        "purchases": {"product_id": desk, "notes": "of two"},
        "telephone-services": {"extension": "201", "notes": "of two"},
        "client-users": {"name": "Ann", "email": "ann@example.com", "notes": "of two"},
        "network-info": network,
    }.items():
        await plane.post(f"/clients/{two}/{noun}", body)
    before = await everything(plane)
    nested = [path for path in PATHS if path.startswith("/api/v1/clients/{client_id:int}/") and path.count("{") > 1]
    assert len(nested) > 5
    for path in nested:
        for method, route in BY_PATH[path].items():
            below = re.sub(r"\{client_id:int\}", str(one), path)
            answer = await plane.request(method, filled(below, 1).removeprefix("/api/v1"), body_of(route))
            assert answer.status_code == 404, (method, path, answer.text)
            assert "of two" not in answer.text
    assert await everything(plane) == before


def is_preflight(method: str, answer: httpx.Response) -> bool:
    """`OPTIONS` says which methods there are, to anybody, and `HEAD` of nothing is empty."""
    return method == "OPTIONS" and answer.status_code == 204 and not answer.content


async def everything(plane: ControlPlane) -> dict[str, int]:
    """How many rows each table has, and what the changeable ones say."""
    found: dict[str, int] = {}
    async with plane.ctx.store.read() as tx:
        for table in tables.METADATA.sorted_tables:
            rows = (await tx.execute(select(table))).all()
            found[table.name] = hash(tuple(sorted(map(repr, rows))))
    return found


@pytest.mark.parametrize("path", PATHS)
def test_every_path_has_a_role_for_each_method(path: str) -> None:
    for route in BY_PATH[path].values():
        assert route.role is not None


def test_no_route_changes_the_audit_trail() -> None:
    of_audit = [(route.method, route.path) for route in ROUTES if "audit" in route.path]
    assert of_audit
    assert {method for method, _ in of_audit} == {"GET"}
