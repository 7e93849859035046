"""Alerts over HTTP: what is watched, who is told, what is done, and what would have been."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from config.settings import Events
from control.services import alert_backtest, alert_history
from control.services.alert_watch import AlertWatch
from control.services.courier import Courier
from control.services.customers import end_penalties
from control.services.errors import Conflict
from control.services.mail import Mailer
from control.services.signing import verify
from switch.frames import LiveCall
from switch.records import Attempt
from switch.snapshot import Customer, Key, Provider
from tests.fakes.control import START_MS, ControlPlane, account, live_call, with_control
from tests.fakes.databases import Database
from tests.fakes.mailbox import running_mailbox
from tests.fakes.receiver import running_receiver
from tests.fakes.stored_calls import store_calls, stored_call

MINUTE_MS = 60_000
NANOS = 10**9


class Watcher:
    """The alerts of a plane, looked at when a test says so; it may be restarted."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._watch = AlertWatch(plane.ctx)
        self._seen = 0

    async def look(self) -> list[str]:
        """Events that this look brought."""
        await self._watch.run_due()
        events = (await self._plane.get("/events", params={"sort": "id", "limit": 500}))["items"]
        new = [each["event"] for each in events if each["id"] > self._seen and "changed" not in each["event"]]
        self._seen = max((each["id"] for each in events), default=0)
        return new

    def restart(self) -> None:
        self._watch = AlertWatch(self._plane.ctx)


async def add_alert(plane: ControlPlane, customer: int | None, **fields: Any) -> int:
    body = {"name": "Watch", "area": "balance", "operator": "<", "threshold": "50", "customer_id": customer, **fields}
    return int((await plane.post("/alerts", body))["id"])


async def pay(plane: ControlPlane, customer: int, total: str) -> None:
    await plane.post(f"/customers/{customer}/payments", {"total": total, "reason": "agreed"})


def answered_call(customer: int, number: int, *, is_answered: bool = True) -> LiveCall:
    call = live_call(customer, f"{number:032x}")
    answered_ms = START_MS if is_answered else None
    return replace(call, invited_ms=START_MS - 5_000, answered_ms=answered_ms)


@with_control
async def test_a_low_balance_alert_mails_once_and_again_only_after_it_was_reset(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    await pay(plane, customer, "60")
    async with running_mailbox() as mailbox:
        plane.ctx.mail = Mailer(mailbox.settings)
        path = f"/customers/{customer}/alerts"
        rule = {"area": "balance", "operator": "<", "threshold": "50", "reset_threshold": "55"}
        alert = await plane.post(
            path, {"name": "Low Balance Alert", "recipients": [{"email": "cfo@example.com"}], **rule}
        )
        assert [each["name"] for each in (await plane.get(path))["items"]] == ["Low Balance Alert"]
        watch, courier = Watcher(plane), Courier(plane.ctx, random.Random(1))
        assert await watch.look() == []
        await pay(plane, customer, "-15")
        assert await watch.look() == ["alert.fired", "balance.low"]
        assert await watch.look() == []
        await courier.run_due()
        (mail,) = mailbox.messages
        assert mail["To"] == "cfo@example.com"
        assert mail["Subject"] == "Low Balance Alert: balance of Acme Voice is 45 USD (< 50 USD)"
        shown = await plane.get(f"/alerts/{alert['id']}")
        assert (shown["is_fired"], shown["last_value"]) == (True, "45")
        await pay(plane, customer, "10")  # 55: not past the reset
        assert await watch.look() == []
        await pay(plane, customer, "1")
        assert await watch.look() == ["alert.reset"]
        await pay(plane, customer, "-10")
        assert await watch.look() == ["alert.fired", "balance.low"]
        await courier.run_due()
        assert len(mailbox.messages) == 3


@with_control
async def test_what_has_fired_stays_fired_over_a_restart_and_is_repeated_as_asked(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    await add_alert(plane, customer, repeat_minutes=10)
    watch = Watcher(plane)
    assert await watch.look() == ["alert.fired", "balance.low"]
    watch.restart()
    assert await watch.look() == []
    plane.clock.ms += 10 * MINUTE_MS - 1
    assert await watch.look() == []
    plane.clock.ms += 1
    assert await watch.look() == ["alert.repeated"]
    assert await watch.look() == []


@with_control
async def test_an_alert_that_cannot_be_acted_upon_holds_up_no_other(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    first = await add_alert(plane, customer)
    await add_alert(plane, customer, name="Behind")
    real = AlertWatch._act

    async def act(watch: AlertWatch, alert_id: int, version: int, value: int | None, now_ms: int) -> None:
        if alert_id == first:
            raise Conflict("it cannot be")
        await real(watch, alert_id, version, value, now_ms)

    watch = Watcher(plane)
    with patch.object(AlertWatch, "_act", act), pytest.raises(Conflict):
        await watch.look()
    alerts = (await plane.get("/alerts"))["items"]
    assert {each["name"]: each["is_fired"] for each in alerts} == {"Watch": False, "Behind": True}
    await watch.look()
    assert all(each["is_fired"] for each in (await plane.get("/alerts"))["items"])


@with_control
async def test_the_switchs_balance_is_judged_and_the_stores_while_it_is_away(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    await pay(plane, customer, "100")
    await add_alert(plane, customer)
    watch = Watcher(plane)
    plane.switch.is_connected = False
    assert await watch.look() == []
    plane.switch.is_connected = True
    plane.switch.accounts[customer] = account(customer, 49 * NANOS)
    assert await watch.look() == ["alert.fired", "balance.low"]


@with_control
async def test_a_low_asr_puts_a_customer_on_penalty_at_once_and_the_penalty_ends_by_itself(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    alert = await add_alert(
        plane, customer, area="asr", threshold="15", sample_minutes=15, minimum_calls=10, penalty_minutes=60
    )
    watch = Watcher(plane)

    async def call(first: int, answered: int, failed: int) -> None:
        at = plane.clock.ms - MINUTE_MS
        numbers = range(first, first + answered + failed)
        calls = [
            stored_call(n, 1_000, customer_id=customer, invited_ms=at, is_answered=n < first + answered, status=486)
            for n in numbers
        ]
        await store_calls(plane.ctx, calls)

    await call(0, 1, 8)
    assert await watch.look() == []  # nine calls are not enough to judge by
    await call(100, 0, 1)
    assert await watch.look() == ["alert.fired"]
    shown = await plane.get(f"/customers/{customer}")
    assert shown["status"] == "penalty"
    assert shown["penalty_until"] == "2027-01-15T09:00:00Z"
    record = plane.publisher.records[Key(kind="customer", id=customer)]
    assert isinstance(record, Customer)
    assert record.status == "penalty"
    assert (await plane.get(f"/alerts/{alert}"))["penalty_until"] == "2027-01-15T09:00:00Z"
    plane.clock.ms += 60 * MINUTE_MS
    assert await end_penalties(plane.ctx) == 1
    assert (await plane.get(f"/customers/{customer}"))["status"] == "active"
    assert await watch.look() == ["alert.reset"]
    assert await watch.look() == []  # what led to it is not judged again
    plane.clock.ms += 5 * MINUTE_MS
    await call(200, 0, 10)
    assert await watch.look() == ["alert.fired"]
    actions = [each["action"] for each in (await plane.get("/audit", params={"noun": "alert"}))["items"]]
    assert actions == ["fire", "penalty_over", "fire", "create"]


def attempt_at(provider: int, *, is_answered: bool) -> Attempt:
    return Attempt(
        provider_id=provider,
        provider_name="Vendor",
        gateway_id=1,
        card_id=1,
        revision_id=1,
        prefix="44",
        rate_nanos=1,
        dialled_out="442071234567",
        started_ms=START_MS - MINUTE_MS,
        answered_ms=START_MS - MINUTE_MS + 500 if is_answered else None,
        ended_ms=START_MS - MINUTE_MS + 500,
        status=200 if is_answered else 503,
        cause="answered" if is_answered else "rejected",
    )


async def store_failovers(plane: ControlPlane, customer: int, bad: int, good: int, first: int = 0) -> None:
    """Ten calls that a bad vendor refuses and a good one answers; one inbound call that the bad one brought."""
    attempts = [attempt_at(bad, is_answered=False), attempt_at(good, is_answered=True)]
    at = START_MS - MINUTE_MS
    calls = [stored_call(first + n, 30_000, customer_id=customer, invited_ms=at, attempts=attempts) for n in range(10)]
    brought = [attempt_at(bad, is_answered=True)]
    calls.append(stored_call(first + 10, customer_id=customer, invited_ms=at, attempts=brought, direction="inbound"))
    await store_calls(plane.ctx, calls)


@with_control
async def test_a_provider_is_judged_by_its_own_attempts_and_gets_no_calls_for_a_while(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    bad, good = [(await plane.post("/providers", {"name": name}))["id"] for name in ("Bad", "Good")]
    rule = {"area": "asr", "threshold": "15", "minimum_calls": 10, "penalty_minutes": 60}
    alert = await add_alert(plane, None, provider_id=bad, **rule)
    await add_alert(plane, None, name="Other", provider_id=good, **rule)
    await add_alert(plane, customer, **rule)
    await store_failovers(plane, customer, bad, good)
    watch = Watcher(plane)
    assert await watch.look() == ["alert.fired"]
    shown = await plane.get(f"/providers/{bad}")
    assert shown["penalty_until"] == "2027-01-15T09:00:00Z"
    assert (await plane.get(f"/providers/{good}"))["penalty_until"] is None
    record = plane.publisher.records[Key(kind="provider", id=bad)]
    assert isinstance(record, Provider)
    assert record.penalty_until_ms == START_MS + 60 * MINUTE_MS
    fired = next(each for each in (await plane.get("/events"))["items"] if each["event"] == "alert.fired")
    assert (fired["data"]["provider_id"], fired["data"]["provider"], fired["data"]["value"]) == (bad, "Bad", "0")
    assert "ASR of Bad is 0 % (< 15 %)" in fired["data"]["title"]
    assert "No calls to it until" in fired["data"]["text"]
    audit = (await plane.get("/audit", params={"noun": "provider"}))["items"][0]
    assert audit["after"]["penalty_until"] == "2027-01-15T09:00:00Z"
    plane.clock.ms += 60 * MINUTE_MS
    assert await watch.look() == ["alert.reset"]
    period = {"from": "2027-01-15T07:50:00Z", "to": "2027-01-15T08:20:00Z"}
    found = await plane.post(f"/alerts/{alert}/backtest", period, status=200)
    assert (found["calls"], found["fired"], found["penalties"], found["lowest"]) == (10, 1, 1, "0")
    lifted = await plane.patch(f"/providers/{bad}", {"penalty_until": None})
    assert lifted["penalty_until"] is None


@with_control
async def test_attempts_are_measured_as_they_arrive(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    bad, good = [(await plane.post("/providers", {"name": name}))["id"] for name in ("Bad", "Good")]
    await add_alert(plane, None, provider_id=bad, area="failures", operator=">=", threshold="20")
    watch = Watcher(plane)
    await store_failovers(plane, customer, bad, good)
    assert await watch.look() == []
    await store_failovers(plane, customer, bad, good, first=20)
    assert await watch.look() == ["alert.fired"]
    live = live_call(customer, f"{1:032x}")
    plane.switch.calls = [replace(live, provider_id=good), replace(live, provider_id=bad, direction="inbound")]
    await add_alert(plane, None, name="Calls", provider_id=bad, area="channels", operator=">=", threshold="1")
    assert await watch.look() == []
    await add_alert(plane, None, name="More calls", provider_id=good, area="channels", operator=">=", threshold="1")
    assert await watch.look() == ["alert.fired"]


@with_control
async def test_what_no_provider_has_is_refused_and_one_that_is_watched_stays(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    provider = (await plane.post("/providers", {"name": "Vendor"}))["id"]
    body = {"name": "Watch", "area": "asr", "operator": "<", "threshold": "50", "provider_id": provider}
    for change, path in (
        ({"customer_id": customer}, "provider_id"),
        ({"area": "balance"}, "area"),
        ({"area": "spend_per_hour"}, "area"),
        ({"provider_id": 99}, "provider_id"),
    ):
        problem = await plane.post("/alerts", {**body, **change}, status=400)
        assert [each["path"] for each in problem["errors"]] == [path]
    made = await plane.post("/alerts", body)
    assert [each["id"] for each in (await plane.get(f"/alerts?provider_id={provider}"))["items"]] == [made["id"]]
    problem = (await plane.delete(f"/providers/{provider}", status=409)).json()
    assert [each["noun"] for each in problem["references"]] == ["alert"]


@with_control
async def test_calls_that_are_up_and_answered_count_for_asr(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    await add_alert(plane, customer, area="asr", threshold="50", minimum_calls=5)
    failed = [stored_call(n, customer_id=customer, invited_ms=START_MS - 9_000, is_answered=False) for n in range(6)]
    await store_calls(plane.ctx, failed)
    plane.switch.calls = [answered_call(customer, 100 + n) for n in range(6)]
    watch = Watcher(plane)
    assert await watch.look() == []  # six of twelve
    plane.switch.is_connected = False
    assert await watch.look() == []  # who is up is not known: nothing is judged
    plane.switch.is_connected = True
    plane.switch.calls = [answered_call(customer, 100 + n, is_answered=n > 0) for n in range(6)]
    assert await watch.look() == ["alert.fired"]  # five of eleven: one is not decided


CASES: list[tuple[str, dict[str, Any]]] = [
    ("acd", {"operator": "<", "threshold": "20", "minimum_calls": 3}),
    ("pdd", {"operator": ">", "threshold": "2999", "minimum_calls": 3}),
    ("cps", {"operator": ">=", "threshold": "3"}),
    ("channels", {"operator": ">=", "threshold": "2"}),
    ("spend_per_hour", {"operator": ">", "threshold": "11.9", "sample_minutes": 15}),
    ("failures", {"operator": ">=", "threshold": "3"}),
]


@pytest.mark.parametrize(("area", "rule"), CASES)
def test_each_area_fires_by_what_it_measures(
    tmp_path: Any, database: Database, area: str, rule: dict[str, Any]
) -> None:
    async def check(plane: ControlPlane) -> None:
        customer, other = await plane.make_customer(), await plane.make_customer(name="Other")
        await add_alert(plane, customer, area=area, **rule)
        await add_alert(plane, other, area=area, **rule)
        watch = Watcher(plane)
        assert await watch.look() == []
        at = START_MS - MINUTE_MS
        facts: dict[str, Any] = {"customer_id": customer, "invited_ms": at, "gross_nanos": NANOS, "pdd_ms": 3_000}
        if area == "failures":
            facts |= {"is_answered": False, "status": 503}
        await store_calls(plane.ctx, [stored_call(n, 10_000, **facts) for n in range(3)])
        plane.switch.calls = [live_call(customer, f"{n + 50:032x}") for n in range(2)]
        assert await watch.look() == ["alert.fired"]
        (fired,) = [each for each in (await plane.get("/alerts"))["items"] if each["is_fired"]]
        assert fired["customer_id"] == customer
        expected = {"acd": "10", "pdd": "3000", "cps": "3", "channels": "2", "spend_per_hour": "12", "failures": "3"}
        assert fired["last_value"] == expected[area]

    with_control(check)(tmp_path=tmp_path, database=database)


@with_control
async def test_an_alert_of_the_installation_looks_at_all_customers_calls(plane: ControlPlane) -> None:
    first, second = await plane.make_customer(), await plane.make_customer(name="Other")
    await add_alert(plane, None, area="channels", operator=">", threshold="1")
    plane.switch.calls = [live_call(first)]
    watch = Watcher(plane)
    assert await watch.look() == []
    plane.switch.calls.append(live_call(second, "f" * 32))
    assert await watch.look() == ["alert.fired"]
    refused = await plane.post(
        "/alerts", {"name": "B", "area": "balance", "operator": "<", "threshold": "1", "penalty_minutes": 5}, status=400
    )
    assert [each["path"] for each in refused["errors"]] == ["area", "penalty_minutes"]


@with_control
async def test_recipients_by_webhook_and_sms_are_told_by_signed_requests(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    async with running_receiver() as hooks, running_receiver() as texts:
        plane.ctx.events = Events(allow_private=True, sms_url=texts.url, sms_secret="for texts")
        hook = await plane.post("/webhooks", {"name": "Ours", "url": hooks.url, "events": []})
        recipients = [{"webhook_id": hook["id"]}, {"phone": "+44 20 7946 0000"}]
        alert = await add_alert(plane, customer, recipients=recipients)
        courier, watch = Courier(plane.ctx, random.Random(1)), Watcher(plane)
        await watch.look()
        await courier.run_due()
        (request,) = hooks.requests
        assert request.json["event"] == "alert.fired"
        assert request.json["data"]["alert_id"] == alert
        assert request.json["data"]["value"] == "0"
        assert verify(hook["secret"], request.headers["tandem-signature"], request.body, plane.clock.ms)
        (text,) = texts.requests
        assert text.json["to"] == "+44 20 7946 0000"
        assert text.json["text"] == "Watch: balance of Acme Voice is 0 USD (< 50 USD)"
        assert verify("for texts", text.headers["tandem-signature"], text.body, plane.clock.ms)
        in_use = await plane.request("DELETE", f"/webhooks/{hook['id']}", status=409)
        assert in_use.json()["references"][0]["noun"] == "alert"
        sent = await plane.post(f"/alerts/{alert}/test", None, status=200)
        await courier.run_due()
        states = [(await plane.get(f"/deliveries/{each}"))["state"] for each in sent["deliveries"]]
        assert states == ["delivered", "delivered"]
        assert "a test" in texts.requests[-1].json["text"]


@with_control
async def test_names_are_unique_in_a_customer_and_mistakes_are_named(plane: ControlPlane) -> None:
    first, second = await plane.make_customer(), await plane.make_customer(name="Other")
    await add_alert(plane, first)
    await add_alert(plane, second)
    await add_alert(plane, None, area="channels")
    rule = {"area": "channels", "operator": ">", "threshold": "5"}
    for customer in (first, None):
        answer = await plane.post("/alerts", {"name": "WATCH", "customer_id": customer, **rule}, status=409)
        assert answer["errors"][0]["path"] == "name"
    wrong = {
        "name": "W",
        "customer_id": first,
        "area": "asr",
        "operator": "<",
        "threshold": "101",
        "reset_threshold": "20",
        "recipients": [{"email": "a@example.com"}, {"phone": "12"}, {"webhook_id": 99}, {}],
    }
    answer = await plane.post("/alerts", wrong, status=400)
    assert [each["path"] for each in answer["errors"]] == [
        "reset_threshold",
        "threshold",
        "recipients[0].email",
        "recipients[1].phone",
        "recipients[2].webhook_id",
        "recipients[3]",
    ]
    for name, value in (("area", "weather"), ("operator", "=="), ("threshold", 5), ("sample_minutes", 0)):
        answer = await plane.post("/alerts", {"name": "W", "customer_id": first, **rule, name: value}, status=400)
        assert answer["errors"][0]["path"] == name


@with_control
async def test_an_alert_that_is_changed_is_judged_anew_and_a_disabled_one_not_at_all(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    alert = await add_alert(plane, customer)
    watch = Watcher(plane)
    assert await watch.look() == ["alert.fired", "balance.low"]
    await plane.patch(f"/alerts/{alert}", {"notes": "told the account manager"})
    assert await watch.look() == []
    await plane.patch(f"/alerts/{alert}", {"threshold": "40"})
    assert (await plane.get(f"/alerts/{alert}"))["is_fired"] is False
    assert await watch.look() == ["alert.fired", "balance.low"]
    await plane.patch(f"/alerts/{alert}", {"enabled": False, "threshold": "30"})
    assert await watch.look() == []
    await plane.delete(f"/alerts/{alert}")
    assert await watch.look() == []


@with_control
async def test_a_penalty_does_not_touch_who_may_not_call_anyway(plane: ControlPlane) -> None:
    customer = await plane.make_customer(status="inactive")
    await add_alert(plane, customer, penalty_minutes=5)
    assert await Watcher(plane).look() == ["alert.fired", "balance.low"]
    assert (await plane.get(f"/customers/{customer}"))["status"] == "inactive"


@with_control
async def test_a_backtest_says_when_it_would_have_fired_reset_and_penalised(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    rule: dict[str, Any] = {"area": "asr", "threshold": "30", "reset_threshold": "31", "minimum_calls": 5}
    alert = await add_alert(plane, customer, sample_minutes=10, enabled=False, **rule)
    begin = START_MS - 120 * MINUTE_MS
    calls = []
    for minute in range(60):
        is_bad = 20 <= minute < 30
        for n in range(2):
            at = begin + minute * MINUTE_MS + n * 1_000
            calls.append(
                stored_call(minute * 2 + n, 1_000, customer_id=customer, invited_ms=at, is_answered=not is_bad)
            )
    await store_calls(plane.ctx, calls)
    period = {"from": "2027-01-15T06:00:00Z", "to": "2027-01-15T07:00:00Z"}
    found = await plane.post(f"/alerts/{alert}/backtest", period, status=200)
    assert (found["fired"], found["reset"], found["penalties"], found["calls"]) == (1, 1, 0, 120)
    fire, reset = found["happenings"]
    assert (fire["what"], fire["value"], reset["what"]) == ("fire", "20", "reset")
    assert "2027-01-15T06:26:00Z" <= fire["at"] <= "2027-01-15T06:29:00Z"
    assert "2027-01-15T06:30:00Z" <= reset["at"] <= "2027-01-15T06:36:00Z"
    assert (found["lowest"], found["highest"]) == ("0", "100")
    punished = await plane.post(f"/alerts/{alert}/backtest", {**period, "penalty_minutes": 15}, status=200)
    assert (punished["penalties"], punished["penalty_minutes"]) == (1, 15)
    assert punished["happenings"][0]["penalty_until"] == punished["happenings"][1]["at"]
    never = await plane.post(f"/alerts/{alert}/backtest", {**period, "minimum_calls": 100}, status=200)
    assert never["happenings"] == []
    assert (await plane.get("/events", params={"event": "alert.fired"}))["items"] == []
    for wrong in ({"to": "2027-01-15T09:00:00Z"}, {"to": "2027-01-15T05:00:00Z"}, {"from": "2026-11-01T00:00:00Z"}):
        await plane.post(f"/alerts/{alert}/backtest", {**period, **wrong}, status=400)


@with_control
async def test_a_backtest_of_a_balance_follows_the_ledger(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    alert = await add_alert(plane, customer, threshold="50", enabled=False)
    for total in ("60", "-20", "30"):
        plane.clock.ms += 10 * MINUTE_MS
        await pay(plane, customer, total)
    plane.clock.ms += 10 * MINUTE_MS
    period = {"from": "2027-01-15T08:15:00Z", "to": "2027-01-15T08:40:00Z"}
    found = await plane.post(f"/alerts/{alert}/backtest", period, status=200)
    assert [(each["what"], each["value"]) for each in found["happenings"]] == [("fire", "40"), ("reset", "70")]
    assert found["happenings"][0]["at"] == "2027-01-15T08:20:30Z"


@with_control
async def test_a_backtest_takes_no_more_of_a_ledger_than_it_can_walk(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    body = {"name": "Low", "area": "balance", "operator": "<", "threshold": "0"}
    alert = (await plane.post(f"/customers/{customer}/alerts", body))["id"]
    for _ in range(3):
        plane.clock.ms += MINUTE_MS
        await pay(plane, customer, "5")
    plane.clock.ms += MINUTE_MS
    period = {"from": "2027-01-15T08:00:00Z", "to": "2027-01-15T08:04:00Z"}
    with pytest.MonkeyPatch.context() as patch:
        # Pages of two, so that the steps are put together from several.
        patch.setattr(alert_history, "ROWS", 2)
        found = await plane.post(f"/alerts/{alert}/backtest", period, status=200)
        assert (found["lowest"], found["highest"]) == ("0", "15")
        patch.setattr(alert_backtest, "CALLS_MAX", 2)
        refused = await plane.post(f"/alerts/{alert}/backtest", period, status=400)
    assert refused["errors"][0]["path"] == "from"


def test_others_have_their_turn_while_a_backtest_walks() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def walk() -> Iterator[alert_backtest.Looked]:
        for _ in range(20):
            time.sleep(0.012)  # as a look that takes in thousands of calls
            yield None, None

    async def both() -> None:
        task = asyncio.create_task(others())
        await alert_backtest._summed(walk(), "asr", 0, MINUTE_MS, 0)
        task.cancel()

    asyncio.run(both())
    assert turns >= 10


@with_control
async def test_what_a_backtest_says_is_what_the_watch_did(plane: ControlPlane) -> None:
    """The same calls, once as they happen and once as history: the same fires and resets, at most a step apart."""
    customer = await plane.make_customer()
    rule: dict[str, Any] = {"area": "asr", "threshold": "50", "minimum_calls": 4, "sample_minutes": 5}
    alert = await add_alert(plane, customer, **rule)
    rng = random.Random(7)
    watch = Watcher(plane)
    happened: list[tuple[int, str]] = []
    bad = 0.2
    for minute in range(60):
        if minute % 12 == 0:
            bad = 1.0 - bad
        calls = [
            stored_call(
                minute * 4 + n,
                1_000,
                customer_id=customer,
                invited_ms=plane.clock.ms - 20_000,
                is_answered=rng.random() > bad,
            )
            for n in range(4)
        ]
        await store_calls(plane.ctx, calls)
        happened += [(plane.clock.ms, event) for event in await watch.look()]
        plane.clock.ms += MINUTE_MS
    period = {"from": "2027-01-15T07:59:00Z", "to": "2027-01-15T08:59:00Z"}
    found = await plane.post(f"/alerts/{alert}/backtest", period, status=200)
    names = {"fire": "alert.fired", "reset": "alert.reset"}
    assert [names[each["what"]] for each in found["happenings"]] == [event for _, event in happened]
    assert len(happened) >= 3
