"""A foreign site in somebody's browser can send no request that changes or reads anything."""

from __future__ import annotations

import re

from control.api.routes import ROUTES
from tests.fakes.control import ControlPlane, with_control
from tests.fakes.portal import EMAIL, PASSWORD, browser, make_contact, session

SIMPLE = ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain")
"""What a form sends across sites without being asked for leave."""


@with_control
async def test_who_is_let_in_stands_in_a_header_alone_which_no_foreign_site_can_set(plane: ControlPlane) -> None:
    """There is no cookie: what a browser adds by itself opens nothing."""
    customer = await plane.make_customer(portal_access=True)
    await make_contact(plane, customer)
    key = plane.keys["admin"]
    async with await session(plane) as client:
        token = client.headers["authorization"].partition(" ")[2]
        me = await client.get("/me")
        assert "set-cookie" not in me.headers
    for route in ROUTES:
        if route.role is None:
            continue
        path = re.sub(r"\{\w+:int\}", "1", re.sub(r"\{\w+:str\}", "f" * 32, route.whole_path))
        for secret in (key, token):
            cookies = {"Cookie": f"session={secret}; token={secret}; Authorization=Bearer {secret}"}
            answer = await plane.client.request(route.method, f"{path}?access_token={secret}", headers=cookies)
            assert answer.status_code == 401, (route.method, route.path)
            assert "set-cookie" not in answer.headers


@with_control
async def test_a_form_of_a_foreign_site_logs_nobody_in_and_changes_nothing(plane: ControlPlane) -> None:
    customer = await plane.make_customer(portal_access=True)
    await make_contact(plane, customer)
    async with browser(plane) as client:
        for kind in SIMPLE:
            headers = {"Content-Type": kind, "Origin": "https://evil.example"}
            form = f"email={EMAIL}&password={PASSWORD}"
            answer = await client.post("/login", content=form, headers=headers)
            assert answer.status_code == 400, kind
    for kind in SIMPLE:
        headers = {"Content-Type": kind, "Origin": "https://evil.example"}
        answer = await plane.client.post("/api/v1/customers", content="name=Mallory", headers=headers)
        assert answer.status_code == 401


@with_control
async def test_no_other_origin_is_allowed_to_read_an_answer(plane: ControlPlane) -> None:
    for method in ("GET", "OPTIONS"):
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        answer = await plane.client.request(method, "/api/v1/customers", headers=headers)
        assert not [name for name in answer.headers if name.startswith("access-control-allow")]
