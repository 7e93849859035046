"""Contacts that log in to a control plane of a test."""

from __future__ import annotations

from typing import Any

import httpx

from tests.fakes.control import ControlPlane

PASSWORD = "correct horse battery"
EMAIL = "Ann@Example.com"


async def make_contact(plane: ControlPlane, customer_id: int, **fields: Any) -> Any:
    body = {"customer_id": customer_id, "name": "Ann", "email": EMAIL, "password": PASSWORD, **fields}
    return await plane.post("/contacts", body)


def browser(plane: ControlPlane, address: str = "192.0.2.7") -> httpx.AsyncClient:
    """A client that comes from this address."""
    app: Any = plane.client._transport.app  # type: ignore[attr-defined]
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 40_000))
    return httpx.AsyncClient(transport=transport, base_url="http://tandem.test/api/v1/portal")


async def log_in(
    plane: ControlPlane, email: str = EMAIL, password: str = PASSWORD, address: str = "192.0.2.7", **more: Any
) -> httpx.Response:
    async with browser(plane, address) as client:
        return await client.post("/login", json={"email": email, "password": password, **more})


async def session(plane: ControlPlane, **fields: Any) -> httpx.AsyncClient:
    """A browser that has logged in."""
    address = fields.pop("address", "192.0.2.7")
    answer = await log_in(plane, address=address, **fields)
    assert answer.status_code == 200, answer.text
    client = browser(plane, address)
    client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
    return client
