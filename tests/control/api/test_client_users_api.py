"""Users of clients, staff among them, and their Wi-Fi accounts."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from control.store.client_service_tables import client_users
from tests.fakes.control import ControlPlane, with_control


async def make_client(plane: ControlPlane, name: str = "Tenant", **fields: Any) -> int:
    return int((await plane.post("/clients", {"name": name, "status": "active", **fields}))["id"])


async def make_user(plane: ControlPlane, client: int, *, status: int = 201, **fields: Any) -> dict[str, Any]:
    body = {"name": "Ann Smith", "email": "ann.smith@example.com", **fields}
    return dict(await plane.post(f"/clients/{client}/client-users", body, status=status))


async def lets_in(plane: ControlPlane, account: str, password: str, status: int = 200) -> Any:
    body = {"account": account, "password": password}
    return await plane.post("/wifi-accounts/check", body, status=status, role="operator")


@with_control
async def test_a_user_has_name_email_roles_and_an_extension_of_the_client(plane: ControlPlane) -> None:
    client, other = await make_client(plane), await make_client(plane, "Other")
    service = await plane.post(f"/clients/{client}/telephone-services", {"extension": "201"})
    made = await make_user(plane, client, roles=["user", "admin", "user"], extension="201")
    assert (made["roles"], made["extension"], made["is_staff"], made["wifi_account"]) == (
        ["admin", "user"],
        "201",
        False,
        None,
    )
    shown = await plane.get(f"/telephone-services/{service['id']}")
    assert shown["users"] == ["Ann Smith"]
    for fields, path, status in (
        ({"email": "ANN.SMITH@example.com"}, "email", 409),
        ({"email": "no mail"}, "email", 400),
        ({"email": "b@example.com", "roles": ["king"]}, "roles[0]", 400),
        ({"email": "b@example.com", "extension": "201"}, "extension", 400),
        ({"email": "b@example.com", "name": "\u3000"}, "name", 400),
    ):
        problem = await make_user(plane, other, status=status, **fields)
        assert problem["errors"][0]["path"] == path, fields
    for method, body in (("DELETE", None), ("PATCH", {"extension": "202"})):
        problem = (await plane.request(method, f"/telephone-services/{service['id']}", body, status=409)).json()
        assert problem["references"][0]["noun"] == "client_user"
    await plane.patch(f"/client-users/{made['id']}", {"extension": None})
    await plane.delete(f"/telephone-services/{service['id']}")


@with_control
async def test_users_of_the_management_client_are_the_staff(plane: ControlPlane) -> None:
    manager = (await plane.get("/clients"))["items"][0]["id"]
    client = await make_client(plane)
    await make_user(plane, client)
    staff = await make_user(plane, manager, name="Bo", email="bo@example.com", roles=["admin"])
    assert staff["is_staff"] is True
    assert [each["name"] for each in (await plane.get("/client-users?is_staff=true"))["items"]] == ["Bo"]
    assert [each["name"] for each in (await plane.get("/client-users?is_staff=false"))["items"]] == ["Ann Smith"]
    assert [each["name"] for each in (await plane.get("/client-users?search=smith"))["items"]] == ["Ann Smith"]


@with_control
async def test_a_wifi_password_is_shown_once_and_opens_the_network(plane: ControlPlane) -> None:
    client = await make_client(plane)
    made = await make_user(plane, client, wifi=True)
    password = made["wifi_password"]
    assert (made["wifi_account"], len(password), made["wifi_is_on"]) == ("ann.smith", 12, True)
    second = await make_user(plane, client, name="Ann Smith", email="ann.smith@example.org", wifi=True)
    assert second["wifi_account"] == "ann.smith2"
    for path in (f"/client-users/{made['id']}", "/client-users", "/audit?limit=100"):
        text = (await plane.request("GET", path, status=200)).text
        assert password not in text
        assert "argon2" not in text
    async with plane.store.read() as tx:
        hashed = (await tx.execute(select(client_users.c.wifi_hash))).scalars().first()
    assert str(hashed).startswith("$argon2id$")
    site = (await plane.post("/sites", {"name": "North House"}))["id"]
    network = {"site_id": site, "vlan": 100, "subnet": "10.0.0.0/24", "gateway": "10.0.0.1"}
    await plane.post(f"/clients/{client}/network-info", network)
    answer = await lets_in(plane, "ann.smith", password)
    assert answer == {"is_accepted": True, "client_id": client, "user_id": made["id"], "vlans": [100]}
    refused: dict[str, Any] = {"is_accepted": False, "client_id": None, "user_id": None, "vlans": []}
    assert await lets_in(plane, "ann.smith", "wrong") == await lets_in(plane, "nobody", "wrong") == refused
    again = await plane.request("POST", f"/client-users/{made['id']}/wifi-password", status=200)
    assert again.json()["wifi_password"] != password
    assert await lets_in(plane, "ann.smith", password) == refused
    assert (await lets_in(plane, "ann.smith", again.json()["wifi_password"]))["is_accepted"]


@with_control
async def test_wifi_is_on_only_while_user_and_client_are(plane: ControlPlane) -> None:
    client = await make_client(plane)
    made = await make_user(plane, client, wifi=True)
    path, password = f"/client-users/{made['id']}", made["wifi_password"]

    async def is_on() -> bool:
        shown = (await plane.get(path))["wifi_is_on"]
        assert shown == (await lets_in(plane, "ann.smith", password))["is_accepted"]
        return bool(shown)

    assert await is_on()
    await plane.post(f"/clients/{client}/suspend", {}, status=200)
    assert not await is_on()
    await plane.post(f"/clients/{client}/reactivate", {}, status=200)
    assert await is_on()
    await plane.patch(path, {"enabled": False})
    assert not await is_on()
    await plane.patch(path, {"enabled": True})
    assert await is_on()
    off = await plane.patch(path, {"wifi": False})
    assert (off["wifi_is_on"], off["wifi_password_set_at"]) == (False, None)
    assert not await is_on()
    await plane.request("POST", f"{path}/wifi-password", status=409)
    on = await plane.patch(path, {"wifi": True})
    assert on["wifi_account"] == "ann.smith", "its name stays"
    assert not (await lets_in(plane, "ann.smith", password))["is_accepted"]
    password = on["wifi_password"]
    assert await is_on()
    assert (await plane.patch(path, {"name": "Ann"}))["wifi_password"] is None
    await plane.post(f"/clients/{client}/decommission", {}, status=200)
    assert not await is_on()
    await make_user(plane, client, email="x@example.com", status=409)


@with_control
async def test_who_guesses_at_a_wifi_account_is_stopped(plane: ControlPlane) -> None:
    made = await make_user(plane, await make_client(plane), wifi=True)
    for _ in range(5):
        await lets_in(plane, "ann.smith", "wrong")
    await lets_in(plane, "ann.smith", made["wifi_password"], status=429)
    plane.clock.ms += 301_000
    assert (await lets_in(plane, "ann.smith", made["wifi_password"]))["is_accepted"]


@with_control
async def test_an_account_is_not_turned_on_at_a_time_when_nobody_sees_its_password(plane: ControlPlane) -> None:
    user = await make_user(plane, await make_client(plane))
    at = {"at": "2027-02-01T00:00:00Z"}
    path = f"/client-users/{user['id']}"
    problem = (await plane.request("PATCH", path, {"wifi": True}, params=at, status=400)).json()
    assert problem["errors"][0]["path"] == "wifi"
    await plane.request("PATCH", path, {"wifi": False, "enabled": False}, params=at, status=202)
