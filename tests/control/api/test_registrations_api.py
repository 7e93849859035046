"""Where phones are registered, through the API."""

from __future__ import annotations

from switch.frames import RegistrationRow
from tests.fakes.control import ControlPlane, with_control

ROW = RegistrationRow(
    id="00112233445566aa",
    contact="sip:alice@192.168.1.20:5060",
    source="203.0.113.7:40001",
    transport="udp",
    user_agent="Phone <script>",
    path="",
    q=500,
    registered_ms=1_780_000_000_000,
    expires_ms=1_780_000_600_000,
    answered_ms=None,
    is_reachable=True,
)


async def make_user(plane: ControlPlane) -> int:
    customer = await plane.make_customer()
    made = await plane.post(f"/customers/{customer}/sip-users", {"username": "alice", "password": "secret1"})
    return int(made["id"])


@with_control
async def test_contacts_are_those_of_the_switch_and_one_can_be_ended(plane: ControlPlane) -> None:
    user = await make_user(plane)
    assert (await plane.get(f"/sip-users/{user}/registrations"))["items"] == []
    plane.switch.registrations[user] = [ROW]
    (shown,) = (await plane.get(f"/sip-users/{user}/registrations"))["items"]
    assert shown == {
        "id": ROW.id,
        "contact": ROW.contact,
        "source": ROW.source,
        "transport": "udp",
        "user_agent": "Phone <script>",
        "path": "",
        "q": "0.500",
        "registered": "2026-05-28T20:26:40Z",
        "expires": "2026-05-28T20:36:40Z",
        "answered": None,
        "is_reachable": True,
    }
    await plane.delete(f"/sip-users/{user}/registrations/{ROW.id}")
    assert plane.switch.registrations[user] == []
    audit = (await plane.get("/audit"))["items"]
    newest = audit[0]
    assert (newest["action"], newest["noun"], newest["noun_id"]) == ("end", "registration", ROW.id)
    await plane.delete(f"/sip-users/{user}/registrations/{ROW.id}", status=404)


@with_control
async def test_of_users_that_are_not_there_and_of_a_switch_that_is_away(plane: ControlPlane) -> None:
    user = await make_user(plane)
    await plane.get("/sip-users/999/registrations", status=404)
    await plane.delete(f"/sip-users/{user}/registrations/nonsense", status=404)
    plane.switch.is_connected = False
    await plane.get(f"/sip-users/{user}/registrations", status=503)
    await plane.delete(f"/sip-users/{user}/registrations/{ROW.id}", status=503)
