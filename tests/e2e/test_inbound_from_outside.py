"""Numbers that ring, played by SIPp and by softphones: a provider calls, the customer's phones answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from sipp_scenarios import prices
from sipp_scenarios.changes import PASSWORD, user_name, with_sip_user
from sipp_scenarios.places import Place
from sipp_scenarios.sipp import Sipp
from switch.frames import ListRegistrations, PutDelta, RegistrationRow
from switch.records import Cdr
from switch.snapshot import Client, Customer, Delta, Did, DidDestination, Endpoint, Gateway, Record
from tests.e2e.peer import Address
from tests.e2e.plane import Plane
from tests.e2e.test_softphone import Softphone

pytestmark = pytest.mark.slow

NUMBER = "442071009999"
OUTSIDE = "442071000001"
TAX = Decimal("0.2")
TALK_S = 2
PACKETS_PER_S = 50


def pbx(place: Place) -> Address:
    return place.other(20)


def carrier(place: Place) -> Address:
    """Where the vendor's calls to us come from."""
    return place.other(11)


def numbered(place: Place, *destinations: DidDestination) -> list[Record]:
    """The case's records, a phone system, a client, and a number."""
    base = place.base
    records = [
        replace(record, client_id=base) if isinstance(record, Customer) else record for record in place.records()
    ]
    return [
        *records,
        Client(id=base, name="Tenant", status="active"),
        Gateway(id=base + 50, provider_id=base + 1, host=carrier(place)[0], weight=0),
        Endpoint(id=base + 50, customer_id=base, direction="ingress", host=pbx(place)[0], port=pbx(place)[1]),
        Did(
            id=base,
            number=NUMBER,
            customer_id=base,
            customer_card_id=base,
            provider_card_id=base + 1,
            destinations=destinations or (DidDestination("endpoint", base + 50),),
        ),
    ]


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    made = Plane(tmp_path, records=numbered)
    made.start()
    yield made
    made.kill()


def assert_charged(cdr: Cdr) -> None:
    sold = prices.charge(prices.find(prices.SELL, NUMBER), cdr.duration_ms, TAX)
    bought = prices.charge(prices.find(prices.BUY[0], NUMBER), cdr.duration_ms, Decimal(0))
    assert (cdr.gross_nanos, cdr.cost_nanos) == (prices.nanos(sold.gross), prices.nanos(bought.net))


def test_a_provider_calls_a_number_and_the_phone_system_answers(plane: Plane) -> None:
    asyncio.run(_fifty_calls(plane))
    cdrs = plane.cdrs()
    assert len(cdrs) == 50
    for cdr in cdrs:
        assert (cdr.direction, cdr.did_id, cdr.cause) == ("inbound", plane.place.base, "normal")
        assert cdr.attempts[0].destination == f"endpoint {plane.place.base + 50}"
        assert_charged(cdr)
    plane.assert_money_is_right(cdrs)
    plane.assert_sound()


async def _fifty_calls(plane: Plane) -> None:
    callee = Sipp("uas_answers_at_once", at=pbx(plane.place), logs=plane.folder / "sipp")
    caller = Sipp("uac_call", at=carrier(plane.place), logs=plane.folder / "sipp", to=plane.switch)
    await callee.start(calls=50, timeout_s=60.0)
    try:
        await caller.start(
            calls=50, pause_ms=800, keys={"dialled": NUMBER, "cli": "15551230000"}, options=("-r", "25"), timeout_s=60.0
        )
        assert await caller.wait() == 0, caller.errors()
        assert await callee.wait() == 0, callee.errors()
    finally:
        callee.stop()
        caller.stop()


def test_a_client_suspended_under_load_calls_out_no_more_and_is_rung_all_the_same(plane: Plane) -> None:
    put_ms, in_force_ms = asyncio.run(_suspended_under_load(plane))
    cdrs = plane.cdrs()
    out = [cdr for cdr in cdrs if cdr.direction == "outbound"]
    rung = [cdr for cdr in cdrs if cdr.direction == "inbound"]
    before = [cdr for cdr in out if cdr.invited_ms < put_ms]
    after = [cdr for cdr in out if cdr.invited_ms > in_force_ms]
    assert len(before) >= 20
    assert len(after) >= 20
    assert {cdr.cause for cdr in before} == {"normal"}
    assert {(cdr.cause, cdr.status) for cdr in after} == {("client_suspended", 403)}
    assert {cdr.cause for cdr in rung} == {"normal"}
    assert len([cdr for cdr in rung if cdr.invited_ms > in_force_ms]) >= 10
    for cdr in rung:
        assert_charged(cdr)
    plane.assert_money_is_right(cdrs)


async def _suspended_under_load(plane: Plane) -> tuple[int, int]:
    """When the change was sent, and when it was acknowledged."""
    folder = plane.folder / "sipp"
    vendor = Sipp("uas_answers_at_once", at=plane.vendor, logs=folder)
    customer = Sipp("uac_call_or_refused", at=plane.customer, logs=folder, to=plane.switch)
    callee = Sipp("uas_answers_at_once", at=pbx(plane.place), logs=folder)
    provider = Sipp("uac_call", at=carrier(plane.place), logs=folder, to=plane.switch)
    await vendor.start(calls=1_000, timeout_s=60.0)
    await callee.start(calls=60, timeout_s=60.0)
    try:
        options = ("-r", "20")
        await customer.start(
            calls=120, pause_ms=500, keys={"dialled": OUTSIDE, "cli": "15551230000"}, options=options, timeout_s=60.0
        )
        await provider.start(
            calls=60, pause_ms=500, keys={"dialled": NUMBER, "cli": "15551230000"}, options=("-r", "10"), timeout_s=60.0
        )
        await asyncio.sleep(3)
        client = Client(id=plane.place.base, name="Tenant", status="suspended")
        put_ms = time.time_ns() // 1_000_000
        await asyncio.to_thread(plane.ask, PutDelta(id=1, delta=Delta(version=2, put=(client,))), type(None))
        in_force_ms = time.time_ns() // 1_000_000
        assert await customer.wait() == 0, customer.errors()
        assert await provider.wait() == 0, provider.errors()
        assert await callee.wait() == 0, callee.errors()
    finally:
        for sipp in (vendor, customer, callee, provider):
            sipp.stop()
    return put_ms, in_force_ms


def with_phone(place: Place) -> list[Record]:
    records = numbered(place, DidDestination("sip_user", place.base))
    user = next(record for record in with_sip_user(place, []) if record.id == place.base)
    return [*records, user]


def registrations(plane: Plane) -> list[RegistrationRow]:
    return plane.ask(ListRegistrations(id=1, sip_user_id=plane.place.base), list[RegistrationRow])


@pytest.mark.parametrize(("transport", "is_killed"), [("udp", False), ("udp", True), ("tcp", False)])
def test_a_registered_softphone_is_rung_through_a_number_with_media(
    tmp_path: Path, transport: str, is_killed: bool
) -> None:
    pytest.importorskip("pjsua2")
    plane = Plane(tmp_path, records=with_phone)
    plane.start()
    at = plane.place.other(66)
    registrar = f"{plane.switch[0]}:{plane.switch[1]}"
    phone = Softphone(tmp_path, "register", at[0], str(at[1]), user_name(plane.place), PASSWORD, registrar, transport)
    caller = None
    try:
        plane.wait(lambda: [each for each in registrations(plane) if at[0] in each.contact], "the phone to see its NAT")
        plane.wait(lambda: len(registrations(plane)) == 1, "the phone to take its inner address back")
        (row,) = registrations(plane)
        assert (row.transport, row.source.partition(":")[0]) == (transport, at[0])
        if is_killed:
            plane.kill()
            plane.start()
            assert [each.id for each in registrations(plane)] == [row.id]
        source = carrier(plane.place)
        caller = Softphone(
            tmp_path, "call", source[0], str(source[1]), "carrier", "none", f"sip:{NUMBER}@{registrar}", str(TALK_S)
        )
        called, calling = phone.result(), caller.result()
        for side in (called, calling):
            assert "CONFIRMED" in side["states"], (called, calling)
            for way in ("RX", "TX"):
                assert side["packets"][way] >= TALK_S * PACKETS_PER_S * 0.8, (called, calling)
        (cdr,) = plane.cdrs()
        assert (cdr.cause, cdr.direction, cdr.sip_user_id) == ("normal", "inbound", plane.place.base)
        assert cdr.attempts[0].destination.startswith(f"sip_user {plane.place.base} sip:")
        assert_charged(cdr)
        plane.assert_sound()
    finally:
        phone.stop()
        if caller is not None:
            caller.stop()
        plane.kill()
