"""A client is suspended while its calls run: SIPp both ways, HTTP for everything, and its bills at the month's end."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import select

from control.client import ApiClient
from control.services import billing_runs, client_bills
from control.services.client_rules import MONTHLY, bill_due_ms, month_named
from control.services.context import Context
from control.services.periods import day_at, next_period
from control.store import tables
from control.store.engine import open_store
from sipp_scenarios.places import Place
from sipp_scenarios.sipp import Sipp
from sipp_scenarios.traps import free_loopback_block
from tests.fakes.control import FakePublisher, FakeSwitch
from tests.fakes.installation import Installation

pytestmark = pytest.mark.slow

PER_S = 20
CALLS = 240
LONDON = "442079460000"
DID = "442071838750"
MARGIN_S = 0.05
"""Between this process's clock and the switch's, which are the same machine's."""


class Scene(NamedTuple):
    client: int
    customer: int


def set_up(tandem: Installation, api: ApiClient, place: Place, folder: Path) -> Scene:
    """A vendor that is the DID's provider too, prices, and a virtual client that the wizard adds."""
    provider = api.post("/providers", {"name": "Carrier"})["id"]
    api.post(f"/providers/{provider}/gateways", {"host": place.vendors[0][0], "port": place.vendors[0][1]})
    cards: dict[str, int] = {}
    for name, direction in (("Buy", "buy"), ("Sell", "sell")):
        more = {"provider_id": provider} if direction == "buy" else {"vendor_card_ids": [cards["Buy"]]}
        cards[name] = api.post("/rate-cards", {"name": name, "direction": direction, **more})["id"]
        path = folder / f"{name}.csv"
        path.write_text(f"prefix,name,rate\n44,United Kingdom,{'0.01' if direction == 'buy' else '0.02'}\n")
        tandem.tandem("deck", "import", name, str(path), "--activate")
    desk = api.post("/products", {"name": "Desk", "monthly_price": "31.00"})["id"]

    begun = api.post("/clients/wizard", {"name": "Tenant", "type": "virtual"})
    client = begun["client"]["id"]
    today = day_at(time.time_ns() // 1_000_000, "UTC").isoformat()
    api.put(f"/clients/{client}/wizard/dates", {"start_date": today})
    api.put(f"/clients/{client}/wizard/products", {"items": [{"product_id": desk, "quantity": 2}]})
    saved = api.put(f"/clients/{client}/wizard/telephony", {"new_customer": "Tenant voice"})
    customer = saved["customer_id"]
    api.post(f"/customers/{customer}/endpoints", {"direction": "egress", "host": place.caller[0]})
    phone = place.other(30)
    rings = api.post(f"/customers/{customer}/endpoints", {"direction": "ingress", "host": phone[0], "port": phone[1]})[
        "id"
    ]
    api.post(f"/customers/{customer}/ingress-routes", {"rate_card_id": cards["Sell"]})
    api.post(f"/customers/{customer}/payments", {"total": "1000"})
    package = api.post("/packages", {"name": "Gold", "retail": "10", "frequency": "monthly"})["id"]
    api.post(f"/customers/{customer}/customer-packages", {"package_id": package, "auto_decrement": True})
    number = {
        "number": DID,
        "provider_id": provider,
        "provider_card_id": cards["Buy"],
        "customer_id": customer,
        "customer_card_id": cards["Sell"],
        "destinations": [{"kind": "endpoint", "id": rings}],
    }
    did = api.post("/dids", number)["id"]
    api.put(f"/clients/{client}/wizard/telephony", {"items": [{"extension": "201", "did_id": did}]})
    assert api.post(f"/clients/{client}/wizard/finish")["status"] == "active"
    return Scene(client, customer)


def now() -> float:
    return time.time()


async def ring(tandem: Installation, place: Place, logs: Path) -> list[int]:
    """One call from the provider to the client's number; the exit codes of caller and phone."""
    phone = Sipp("uas_answers", at=place.other(30), logs=logs)
    caller = Sipp("uac_call", at=(place.vendors[0][0], 5070), to=tandem.sip, logs=logs)
    try:
        await phone.start(timeout_s=15, keys={"trap": "127.0.0.1"})
        keys = {"dialled": DID, "cli": "15551230001", "trap": "127.0.0.1"}
        await caller.start(timeout_s=15, pause_ms=200, keys=keys)
        return list(await asyncio.gather(caller.wait(), phone.wait()))
    finally:
        phone.stop()
        caller.stop()


async def play(tandem: Installation, api: ApiClient, place: Place, scene: Scene, logs: Path) -> dict[str, float]:
    """Calls all the time; the client is suspended and reactivated among them. When each was asked and answered."""
    vendor = Sipp("uas_answers", at=place.vendors[0], logs=logs / "out")
    caller = Sipp("uac_call_or_refused", at=place.caller, to=tandem.sip, logs=logs / "out")
    times: dict[str, float] = {}
    try:
        await vendor.start(calls=100_000, timeout_s=90)
        keys = {"dialled": LONDON, "cli": "15551230000"}
        await caller.start(calls=CALLS, pause_ms=300, keys=keys, timeout_s=90, options=("-r", str(PER_S)))
        for action in ("suspend", "reactivate"):
            await asyncio.sleep(4.0)
            times[f"{action} asked"] = now()
            await asyncio.to_thread(api.post, f"/clients/{scene.client}/{action}", {})
            times[f"{action} answered"] = now()
            if action == "suspend":
                assert await ring(tandem, place, logs / "in") == [0, 0], "its number rings"
        assert await caller.wait() == 0, caller.errors()
    finally:
        caller.stop()
        vendor.stop()
    refused = [each for each in caller.trace() if each.is_received and each.status >= 300]
    assert {each.status for each in refused} == {403}
    assert all('text="client_suspended"' in each.header("Reason") for each in refused)
    return times


def test_a_client_suspended_under_load_is_refused_from_the_next_invite_and_billed_all_the_same(
    tandem: Installation, tmp_path: Path
) -> None:
    api, place = tandem.api, Place(free_loopback_block(), 1, 1)
    scene = set_up(tandem, api, place, tmp_path)
    times = asyncio.run(play(tandem, api, place, scene, tmp_path / "sipp"))

    def cdrs() -> list[dict[str, Any]]:
        return list(api.items("/cdrs", {"customer_id": scene.customer, "limit": 500}))

    tandem.wait(lambda: len(cdrs()) == CALLS + 1, "every call's CDR")
    out = [cdr for cdr in cdrs() if cdr["direction"] == "outbound"]
    assert len(out) == CALLS
    assert {cdr["client_id"] for cdr in out} == {scene.client}
    seen: dict[str, set[tuple[str, int]]] = {"before": set(), "suspended": set(), "after": set()}
    counts = dict.fromkeys(seen, 0)
    for cdr in out:
        invited = datetime.fromisoformat(cdr["invited"]).timestamp()
        if invited < times["suspend asked"] - MARGIN_S:
            when = "before"
        elif times["suspend answered"] + MARGIN_S < invited < times["reactivate asked"] - MARGIN_S:
            when = "suspended"
        elif invited > times["reactivate answered"] + MARGIN_S:
            when = "after"
        else:
            continue
        seen[when].add((cdr["cause"], cdr["status"]))
        counts[when] += 1
    assert seen == {"before": {("normal", 200)}, "suspended": {("client_suspended", 403)}, "after": {("normal", 200)}}
    assert min(counts.values()) > 2 * PER_S, counts
    (inbound,) = [cdr for cdr in cdrs() if cdr["direction"] == "inbound"]
    assert (inbound["cause"], inbound["status"]) == ("normal", 200)

    api.post(f"/clients/{scene.client}/suspend", {})
    assert tandem.stop() == 0
    assert "Traceback" not in tandem.log.read_text()
    asyncio.run(bill(tandem, scene))


async def bill(tandem: Installation, scene: Scene) -> None:
    """The month's end and the next one's, on the same store: suspended all along, and billed for all of it."""
    store = open_store(f"sqlite:///{tandem.data / 'tandem.db'}")
    try:
        async with store.read() as tx:
            query = select(tables.clients).where(tables.clients.c.id == scene.client)
            client = (await tx.execute(query)).mappings().one()
        assert client["status"] == "suspended"
        first = client["bill_month"]
        began = day_at(client["activated_ms"], "UTC")
        after = next_period(MONTHLY, month_named(first))
        assert after is not None
        following = after.key[:7]
        clock = [bill_due_ms(first, "UTC") - 1]
        ctx = Context(store, FakePublisher(), switch=FakeSwitch(), data_folder=tandem.data, now_ms=lambda: clock[0])
        assert await client_bills.run_due(ctx) == 0
        clock[0] = bill_due_ms(following, "UTC")
        await billing_runs.run_due(ctx)
        assert await client_bills.run_due(ctx) == 2
        assert await client_bills.run_due(ctx) == 0
        one, two = [await client_bills.get(ctx, number) for number in (1, 2)]
        assert (one.month, two.month, two.total) == (first, following, "62")
        (line,) = one.lines
        assert (line.first_day, line.days) == (began.isoformat(), line.month_days - began.day + 1)
        assert one.account is not None
        assert {each.kind: each.count for each in one.account.sums}["payment"] == 1
        assert two.account is not None
        charged = {each.kind: each.amount for each in two.account.sums}
        assert charged == {"package": "-10"}, "the package of the month that the client is suspended for"
        calls = next(each for each in one.account.sums if each.kind == "call")
        assert calls.count > CALLS // 2
    finally:
        await store.close()
