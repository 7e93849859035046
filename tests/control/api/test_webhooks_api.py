"""Webhooks: signed, retried, in order, and never a way into our own network."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise
from typing import Any

from config.settings import Events
from control.services import outgoing
from control.services.courier import Courier
from control.services.outbox import emit
from control.services.signing import verify
from tests.fakes.control import ControlPlane, with_control
from tests.fakes.receiver import Received, Receiver, Reply, running_receiver
from tests.fakes.stored_calls import store_calls, stored_call

DAY_MS = 86_400_000


async def add_webhook(plane: ControlPlane, receiver: Receiver, *events: str, **fields: Any) -> dict[str, Any]:
    plane.ctx.events = Events(allow_private=True, timeout_s=fields.pop("timeout_s", 5.0))
    body = {"name": "Ours", "url": receiver.url, "events": list(events), **fields}
    made: dict[str, Any] = await plane.post("/webhooks", body)
    return made


async def happen(
    plane: ControlPlane, *numbers: int, event: Any = "did.changed", customer_id: int | None = None
) -> None:
    for number in numbers:
        async with plane.ctx.change() as change:
            await emit(change, event, {"n": number}, customer_id=customer_id)


def courier(plane: ControlPlane) -> Courier:
    return Courier(plane.ctx, random.Random(1))


async def deliveries(plane: ControlPlane, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await plane.get("/deliveries", params={"sort": "id", **query}))["items"]
    return found


@with_control
async def test_an_event_arrives_once_signed_with_the_secret_that_was_shown_once(plane: ControlPlane) -> None:
    async with running_receiver() as receiver:
        hook = await add_webhook(plane, receiver, "did.changed")
        assert hook["secret"].startswith("whsec_")
        assert "secret" not in await plane.get(f"/webhooks/{hook['id']}")
        await happen(plane, 7)
        assert await courier(plane).run_due() == 1
        assert await courier(plane).run_due() == 0
        (request,) = receiver.requests
        assert request.path == "/hook"
        assert request.json["event"] == request.headers["tandem-event"] == "did.changed"
        assert request.json["data"] == {"n": 7}
        assert request.json["id"] == request.headers["tandem-event-id"]
        signature, now_ms = request.headers["tandem-signature"], plane.clock.ms
        assert verify(hook["secret"], signature, request.body, now_ms)
        assert not verify(hook["secret"], signature, request.body + b" ", now_ms)
        assert not verify("whsec_other", signature, request.body, now_ms)
        assert not verify(hook["secret"], signature, request.body, now_ms + 600_000)
    (done,) = await deliveries(plane)
    assert (done["state"], done["status"], done["attempts"], done["error"]) == ("delivered", 200, 1, "")
    assert hook["secret"] not in str(await plane.get("/audit"))


@with_control
async def test_a_receiver_that_is_down_is_tried_again_with_growing_delays_and_the_others_wait(
    plane: ControlPlane,
) -> None:
    async with running_receiver() as receiver:
        await add_webhook(plane, receiver, "did.changed")
        await happen(plane, 1, 2)
        receiver.status = 503
        tries = courier(plane)
        times = []
        for _ in range(200):
            before = len(receiver.requests)
            await tries.run_due()
            times += [plane.clock.ms] * (len(receiver.requests) - before)
            plane.clock.ms += 1_000
        assert {request.json["data"]["n"] for request in receiver.requests} == {1}
        assert len({request.json["id"] for request in receiver.requests}) == 1
        gaps = [(late - early) / 1000 for early, late in pairwise(times)]
        assert [request.headers["tandem-attempt"] for request in receiver.requests] == ["1", "2", "3", "4", "5", "6"]
        for gap, expected in zip(gaps, (5, 10, 20, 40, 80), strict=True):
            assert 0.75 * expected <= gap <= 1.25 * expected + 1
        receiver.status = 200
        plane.clock.ms += 900_000
        await tries.run_due()
        assert [request.json["data"]["n"] for request in receiver.requests[-2:]] == [1, 2]


@with_control
async def test_after_a_day_a_delivery_is_dead_and_the_api_has_it_sent_again(plane: ControlPlane) -> None:
    async with running_receiver() as receiver:
        hook = await add_webhook(plane, receiver, "did.changed")
        await happen(plane, 1, 2)
        receiver.status = 500
        tries = courier(plane)
        for _ in range(0, DAY_MS + 1_000_000, 900_000):
            await tries.run_due()
            plane.clock.ms += 900_000
        dead = await deliveries(plane, state="dead")
        assert len(dead) == 2
        assert "500" in dead[0]["error"]
        assert (await plane.get(f"/webhooks/{hook['id']}"))["dead"] == 2
        sent_until_then = len(receiver.requests)
        await tries.run_due()
        assert len(receiver.requests) == sent_until_then
        receiver.status = 204
        await plane.post(f"/deliveries/{dead[1]['id']}/resend", None, status=200)
        await plane.post(f"/deliveries/{dead[1]['id']}/resend", None, status=409)
        await tries.run_due()
        assert receiver.requests[-1].json["data"]["n"] == 2
        assert await plane.post(f"/webhooks/{hook['id']}/resend", None, status=200) == {"count": 1}
        await tries.run_due()
        assert receiver.requests[-1].json["data"]["n"] == 1
        assert await deliveries(plane, state="dead") == []


@with_control
async def test_an_event_that_is_refused_holds_up_no_other(plane: ControlPlane) -> None:
    def refuse_the_first(request: Received) -> Reply:
        return (422 if request.json["data"]["n"] == 1 else 200), {}, b""

    async with running_receiver() as receiver:
        receiver.reply = refuse_the_first
        await add_webhook(plane, receiver, "did.changed")
        await happen(plane, 1, 2, 3)
        await courier(plane).run_due()
        assert [request.json["data"]["n"] for request in receiver.requests] == [1, 2, 3]
        plane.clock.ms += 10_000
        await courier(plane).run_due()
        assert [request.json["data"]["n"] for request in receiver.requests] == [1, 2, 3, 1]
        assert [each["state"] for each in await deliveries(plane)] == ["pending", "delivered", "delivered"]


@with_control
async def test_a_receiver_says_when_to_come_again(plane: ControlPlane) -> None:
    async with running_receiver() as receiver:
        receiver.reply = lambda request: (429, {"Retry-After": "600"}, b"")
        await add_webhook(plane, receiver, "did.changed")
        await happen(plane, 1)
        await courier(plane).run_due()
        plane.clock.ms += 599_000
        assert await courier(plane).run_due() == 0
        plane.clock.ms += 1_000
        assert await courier(plane).run_due() == 1


@with_control
async def test_one_that_says_nothing_delays_no_other_and_is_left_after_the_timeout(plane: ControlPlane) -> None:
    async with running_receiver() as silent, running_receiver() as quick:
        silent.is_silent = True
        await add_webhook(plane, silent, "did.changed", name="Silent", timeout_s=0.5)
        await plane.post("/webhooks", {"name": "Quick", "url": quick.url, "events": ["did.changed"]})
        await happen(plane, 1)
        task = asyncio.create_task(courier(plane).run_due())
        await quick.is_asked.wait()
        assert not task.done()
        await task
        first, second = await deliveries(plane)
        assert (first["state"], first["error"]) == ("pending", "no answer in 0.5 s")
        assert second["state"] == "delivered"


@with_control
async def test_redirects_are_not_followed_and_endless_answers_not_read(plane: ControlPlane) -> None:
    async with running_receiver() as receiver, running_receiver() as elsewhere:
        receiver.reply = lambda request: (302, {"Location": elsewhere.url}, b"")
        await add_webhook(plane, receiver, "did.changed")
        await happen(plane, 1)
        await courier(plane).run_due()
        assert elsewhere.requests == []
        (row,) = await deliveries(plane)
        assert (row["state"], row["status"], row["error"]) == ("pending", 302, "answered 302, which is not followed")
        huge = {"Content-Length": "100000000000"}
        receiver.reply = lambda request: (200, huge, b"x" * 100_000)
        plane.clock.ms += 10_000
        await courier(plane).run_due()
        assert (await deliveries(plane))[0]["state"] == "delivered"


@with_control
async def test_private_addresses_are_refused_when_named_and_when_a_name_leads_there(plane: ControlPlane) -> None:
    for url in ("http://127.0.0.1/x", "http://localhost:8080/", "https://10.1.2.3/", "http://169.254.169.254/latest"):
        answer = await plane.post("/webhooks", {"name": "In", "url": url, "events": []}, status=400)
        assert answer["errors"][0]["path"] == "url", url
    for url in ("http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[64:ff9b::7f00:1]/", "http://[fe80::1]/"):
        await plane.post("/webhooks", {"name": "In", "url": url, "events": []}, status=400)
    for url in ("ftp://example.com/", "http://user:secret@example.com/", "http:///x", "https://exa mple.com/"):
        await plane.post("/webhooks", {"name": "In", "url": url, "events": []}, status=400)
    async with running_receiver() as receiver:
        hook = await add_webhook(plane, receiver, "did.changed", url=f"http://localhost:{receiver.port}/")
        plane.ctx.events = Events(allow_private=False)
        await happen(plane, 1)
        await courier(plane).run_due()
        assert receiver.connections == 0
        (row,) = await deliveries(plane, webhook_id=hook["id"])
        assert "not public" in row["error"]
        assert row["state"] == "pending"


@with_control
async def test_a_webhook_stays_that_customers_for_which_it_was_made(plane: ControlPlane) -> None:
    """Deliveries that wait are about one customer: another's server must not come to hear of them."""
    customer = await plane.make_customer()
    made = await plane.post("/webhooks", {"name": "W", "url": "https://example.com/", "events": ["did.changed"]})
    path = f"/webhooks/{made['id']}"
    problem = (await plane.request("PATCH", path, {"customer_id": customer}, status=409)).json()
    assert problem["errors"][0]["path"] == "customer_id"
    assert (await plane.patch(path, {"customer_id": None, "notes": "x"}))["notes"] == "x"


@with_control
async def test_a_test_of_one_webhook_reaches_no_other_that_asks_for_tests(plane: ControlPlane) -> None:
    bodies = [{"name": name, "url": "https://example.com/", "events": ["webhook.test"]} for name in ("A", "B")]
    first, _ = [(await plane.post("/webhooks", body))["id"] for body in bodies]
    await plane.post(f"/webhooks/{first}/test", None)
    assert [each["webhook_id"] for each in await deliveries(plane)] == [first]


def test_addresses_of_others_networks_are_public_and_no_other() -> None:
    for text in ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"):
        assert outgoing.is_public(text), text
    hidden = ("127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "169.254.1.1", "0.0.0.0", "224.0.0.1")
    for text in (
        *hidden,
        "::1",
        "fc00::1",
        "fe80::1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::a00:1",
        "ff02::1",
        "::127.0.0.1",
        "::ffff:0:7f00:1",
        "fec0::1",
        "192.88.99.1",
    ):
        assert not outgoing.is_public(text), text


@with_control
async def test_calls_are_told_to_who_asks_from_then_on_and_without_vendors_or_costs(plane: ControlPlane) -> None:
    first, second = await plane.make_customer(), await plane.make_customer(name="Other")
    async with running_receiver() as receiver:
        await store_calls(plane.ctx, [stored_call(1, customer_id=first)])
        await add_webhook(plane, receiver, "call.ended", customer_id=first)
        calls = [stored_call(n, customer_id=first if n % 2 else second, cost_nanos=5) for n in range(2, 60)]
        await store_calls(plane.ctx, calls)
        await courier(plane).run_due()
        told = [request.json for request in receiver.requests]
        assert sorted(each["data"]["id"] for each in told) == [f"{n:032x}" for n in range(3, 60, 2)]
        assert {each["customer_id"] for each in told} == {first}
        assert len({each["id"] for each in told}) == len(told)
        assert not {"cost", "margin", "provider_id", "attempts"} & set(told[0]["data"])
        # Kept open, not one a request.
        assert receiver.connections <= 16
        await courier(plane).run_due()
        assert len(receiver.requests) == len(told)


@with_control
async def test_calls_wait_as_cdrs_while_their_receiver_is_down(plane: ControlPlane) -> None:
    async with running_receiver() as receiver:
        await add_webhook(plane, receiver, "call.ended")
        receiver.status = 500
        await store_calls(plane.ctx, [stored_call(n) for n in range(1_300)])
        tries = courier(plane)
        for _ in range(5):
            await tries.run_due()
        hook = (await plane.get("/webhooks"))["items"][0]
        assert hook["pending"] == 1_000
        receiver.status = 200
        for _ in range(40):
            plane.clock.ms += 20_000
            await tries.run_due()
        taken = {request.json["id"] for request in receiver.requests}
        assert len(taken) == 1_300
        assert (await plane.get("/webhooks"))["items"][0]["pending"] == 0


@with_control
async def test_a_disabled_webhook_hears_nothing_and_an_archived_one_owes_nothing(plane: ControlPlane) -> None:
    async with running_receiver() as receiver:
        hook = await add_webhook(plane, receiver, "did.changed")
        await happen(plane, 1)
        await plane.patch(f"/webhooks/{hook['id']}", {"enabled": False})
        await happen(plane, 2)
        await courier(plane).run_due()
        assert receiver.requests == []
        await plane.post(f"/webhooks/{hook['id']}/test", None, status=409)
        await plane.patch(f"/webhooks/{hook['id']}", {"enabled": True})
        await courier(plane).run_due()
        assert [request.json["data"]["n"] for request in receiver.requests] == [1]
        await happen(plane, 3)
        await plane.delete(f"/webhooks/{hook['id']}")
        await courier(plane).run_due()
        assert len(receiver.requests) == 1
        assert (await deliveries(plane))[-1]["state"] == "dead"


@with_control
async def test_a_test_event_goes_to_one_webhook_and_a_rotated_secret_signs_it(plane: ControlPlane) -> None:
    async with running_receiver() as receiver:
        hook = await add_webhook(plane, receiver)
        rotated = await plane.post(f"/webhooks/{hook['id']}/rotate-secret", None, status=200)
        assert rotated["secret"] != hook["secret"]
        made = await plane.post(f"/webhooks/{hook['id']}/test", None)
        await courier(plane).run_due()
        (request,) = receiver.requests
        assert request.json["event"] == "webhook.test"
        assert verify(rotated["secret"], request.headers["tandem-signature"], request.body, plane.clock.ms)
        assert (await plane.get(f"/deliveries/{made['id']}"))["state"] == "delivered"
        event = await plane.get(f"/events/{made['event_number']}")
        assert event["data"] == request.json["data"]


@with_control
async def test_old_deliveries_and_events_go_and_numbers_never_come_again(plane: ControlPlane) -> None:
    async with running_receiver() as receiver:
        await add_webhook(plane, receiver, "did.changed")
        await happen(plane, 1)
        await courier(plane).run_due()
        number = (await plane.get("/events"))["items"][0]["id"]
        plane.clock.ms += 31 * DAY_MS
        await courier(plane).run_due()
        assert await deliveries(plane) == []
        assert (await plane.get("/events"))["items"] == []
        await happen(plane, 2)
        assert (await plane.get("/events"))["items"][0]["id"] > number


@with_control
async def test_a_change_of_a_customer_is_told_by_the_names_of_its_fields(plane: ControlPlane) -> None:
    async with running_receiver() as receiver:
        await add_webhook(plane, receiver, "customer.changed")
        customer = await plane.make_customer(notes_private="pays late")
        await plane.patch(f"/customers/{customer}", {"notes_private": "pays later", "status": "inactive"})
        await plane.delete(f"/customers/{customer}")
        await courier(plane).run_due()
        told = [request.json["data"] for request in receiver.requests]
        assert [each["action"] for each in told] == ["create", "update", "archive"]
        assert told[1]["changed"] == ["status", "notes_private"]
        assert told[1]["status"] == "inactive"
        assert not any(b"pays" in request.body for request in receiver.requests)


@with_control
async def test_events_of_one_customer_go_to_no_others_webhook(plane: ControlPlane) -> None:
    first, second = await plane.make_customer(), await plane.make_customer(name="Other")
    async with running_receiver() as receiver:
        await add_webhook(plane, receiver, "did.changed", customer_id=first)
        await happen(plane, 1, customer_id=first)
        await happen(plane, 2, customer_id=second)
        await happen(plane, 3)
        await courier(plane).run_due()
        assert [request.json["data"]["n"] for request in receiver.requests] == [1]
