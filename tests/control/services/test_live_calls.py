"""Live calls and simulations: what the switch says, in the API's words."""

from __future__ import annotations

from msgspec.structs import replace

from switch.frames import Simulated, SimulatedCandidate
from tests.fakes.control import START_MS, ControlPlane, live_call, with_control


@with_control
async def test_live_calls_are_listed_youngest_first_and_found(plane: ControlPlane) -> None:
    for number in range(5):
        call = live_call(number % 2, f"{number:032x}")
        plane.switch.calls.append(replace(call, invited_ms=START_MS + number * 1_000, cli=f"1555123000{number}"))
    page = await plane.get("/calls?limit=2")
    assert [item["cli"][-1] for item in page["items"]] == ["4", "3"]
    assert page["items"][0]["held"] == "1.5"
    page = await plane.get(f"/calls?limit=4&cursor={page['next_cursor']}")
    assert [item["cli"][-1] for item in page["items"]] == ["2", "1", "0"]
    assert page["next_cursor"] is None
    assert [item["cli"][-1] for item in (await plane.get("/calls?customer_id=1"))["items"]] == ["3", "1"]
    assert len((await plane.get("/calls?search=15551230003"))["items"]) == 1
    assert (await plane.get("/calls?state=ringing"))["items"] == []


@with_control
async def test_a_call_is_ended_in_the_name_of_the_key_and_audited(plane: ControlPlane) -> None:
    call = live_call(1)
    plane.switch.calls.append(call)
    await plane.post(f"/calls/{call.cdr_id}/end", None, status=403, role="read-only")
    await plane.request("POST", f"/calls/{call.cdr_id}/end", status=204, role="operator")
    assert plane.switch.ended == [(call.cdr_id, "test operator")]
    last = (await plane.get("/audit?limit=1"))["items"][0]
    assert (last["action"], last["noun"], last["noun_id"]) == ("end", "call", call.cdr_id)
    await plane.post("/calls/" + "f" * 32 + "/end", None, status=404)
    await plane.post("/calls/..%2f/end", None, status=404)


@with_control
async def test_a_simulation_is_asked_of_the_switch_and_priced_in_decimals(plane: ControlPlane) -> None:
    candidate = SimulatedCandidate(
        card_id=1,
        card_name="Vendor One prices",
        provider_id=2,
        provider_name="Vendor One",
        outcome="taken",
        rate_nanos=15_000_000,
        margin_nanos=-5_000_000,
        connect_fee_nanos=1,
    )
    plane.switch.simulated = Simulated(
        is_admitted=True, status=0, cause="", steps=["from Acme"], sell_rate_nanos=20_000_000, candidates=[candidate]
    )
    body = {"dialled": "1234442071838750", "source_ip": "192.0.2.1", "at": "2027-06-01T00:00:00Z"}
    shown = await plane.post("/simulate", body, status=200, role="read-only")
    assert shown["sell_rate"] == "0.02"
    assert shown["candidates"][0]["margin"] == "-0.005"
    assert shown["candidates"][0]["connect_fee"] == "0.000000001"
    assert plane.switch.asked[0]["at_ms"] == 1_811_808_000_000
    for wrong in (
        {"source_ip": "192.0.2.1", "username": "alice"},
        {},
        {"source_ip": "not an address"},
        {"source_ip": "pbx"},
    ):
        problem = await plane.post("/simulate", {"dialled": "44", **wrong}, status=400)
        assert problem["errors"][0]["path"] == "source_ip"


@with_control
async def test_what_only_the_switch_knows_is_503_while_it_is_away(plane: ControlPlane) -> None:
    plane.switch.is_connected = False
    for method, path, body in (
        ("GET", "/calls", None),
        ("POST", "/simulate", {"dialled": "44", "username": "alice"}),
        ("POST", "/calls/" + "0" * 32 + "/end", None),
    ):
        answer = await plane.request(method, path, body, status=503)
        assert answer.headers["retry-after"]
        assert answer.headers["content-type"] == "application/problem+json"
