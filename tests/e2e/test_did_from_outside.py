"""A DID made through HTTP: a provider calls it, the customer's PBX rings, and the books are right."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from control.client import ApiError
from sipp_scenarios.sipp import Sipp
from sipp_scenarios.traps import free_ports
from tests.fakes.installation import Installation

pytestmark = pytest.mark.slow

PROVIDER, PBX = "127.0.0.2", "127.0.0.3"
NUMBER = "442079460777"


def make_did(tandem: Installation, folder: Path, pbx_port: int) -> dict[str, Any]:
    """A client with a customer, a provider, their cards and prices, and the number, by the API alone."""
    api = tandem.api
    client = api.post("/clients", {"name": "House", "status": "active"})
    customer = api.post("/customers", {"name": "Acme", "client_id": client["id"], "tax_percent": "20"})
    api.post(f"/customers/{customer['id']}/payments", {"total": "10"})
    endpoint = api.post(
        f"/customers/{customer['id']}/endpoints", {"direction": "ingress", "host": PBX, "port": pbx_port}
    )
    calls = api.post(f"/customers/{customer['id']}/endpoints", {"direction": "egress", "host": PBX})
    provider = api.post("/providers", {"name": "Carrier"})
    api.post(f"/providers/{provider['id']}/gateways", {"host": PROVIDER})
    sell = api.post("/rate-cards", {"name": "Inbound", "direction": "sell"})
    buy = api.post("/rate-cards", {"name": "Inbound cost", "direction": "buy", "provider_id": provider["id"]})
    for card, rate in ((sell, "0.06"), (buy, "0.01")):
        deck = folder / "deck.csv"
        deck.write_text(f"prefix,name,rate,first_s,next_s\n44,Number,{rate},60,60\n")
        api.upload(f"/rate-cards/{card['id']}/revisions", deck, {"file_name": "deck.csv", "activate": True})
    did = api.post(
        "/dids",
        {
            "number": f"+{NUMBER}",
            "name": "Reception",
            "destination": {"kind": "endpoint", "id": endpoint["id"]},
            "provider_id": provider["id"],
            "provider_card_id": buy["id"],
            "customer_id": customer["id"],
            "customer_card_id": sell["id"],
            "setup_retail": "1",
        },
    )
    assert did["state"] == "assigned"
    return {**did, "client_id": client["id"], "calls_id": calls["id"]}


async def ring(tandem: Installation, logs: Path, pbx_port: int) -> tuple[str, str]:
    """The provider calls the number and talks for a second and a half to whoever answers; what either saw wrong."""
    (port,) = free_ports(1, PROVIDER)
    pbx = Sipp("uas_answers", at=(PBX, pbx_port), logs=logs)
    provider = Sipp("uac_call", at=(PROVIDER, port), to=tandem.sip, logs=logs)
    try:
        await pbx.start(keys={"trap": PBX}, timeout_s=15)
        keys = {"dialled": NUMBER, "cli": "15551230000", "trap": PROVIDER}
        await provider.start(keys=keys, pause_ms=1_500, timeout_s=15)
        codes = list(await asyncio.gather(provider.wait(), pbx.wait()))
    finally:
        provider.stop()
        pbx.stop()
    assert codes == [0, 0], (provider.errors(), pbx.errors())
    return provider.errors(), pbx.errors()


async def refused(tandem: Installation, logs: Path, at: tuple[str, int], dialled: str) -> None:
    caller = Sipp("uac_refused", at=at, to=tandem.sip, logs=logs)
    try:
        await caller.start(keys={"dialled": dialled, "cli": "15551230000", "trap": at[0]}, timeout_s=15)
        assert await caller.wait() == 0, caller.errors()
    finally:
        caller.stop()


def cdrs(tandem: Installation, count: int) -> list[dict[str, Any]]:
    """So many CDRs, the oldest first."""
    found: list[dict[str, Any]] = []

    def are_there() -> bool:
        found[:] = list(tandem.api.items("/cdrs"))[::-1]
        return len(found) >= count

    tandem.wait(are_there, f"{count} CDRs")
    return found


def test_a_number_rings_is_priced_and_charged_while_its_client_is_suspended_and_no_more_when_released(
    tandem: Installation, tmp_path: Path
) -> None:
    (pbx_port,) = free_ports(1, PBX)
    did = make_did(tandem, tmp_path, pbx_port)
    customer = f"/customers/{did['customer_id']}"
    asyncio.run(ring(tandem, tmp_path / "one", pbx_port))
    (cdr,) = cdrs(tandem, 1)
    assert (cdr["direction"], cdr["customer_id"], cdr["dialled_in"]) == ("inbound", did["customer_id"], NUMBER)
    # A begun minute at 0.06, 20 % tax on it; it cost 0.01.
    assert (cdr["net"], cdr["tax"], cdr["gross"]) == ("0.06", "0.012", "0.072")
    assert (cdr["cost"], cdr["margin"]) == ("0.01", "0.05")
    # 10 paid, the setup of 1 with its tax, and the call.
    balance = Decimal("10") - Decimal("1.2") - Decimal("0.072")
    tandem.wait(lambda: Decimal(tandem.api.get(customer)["balance"]) == balance, f"a balance of {balance}")

    tandem.api.patch(f"/clients/{did['client_id']}", {"status": "suspended"})
    asyncio.run(refused(tandem, tmp_path / "out", (PBX, free_ports(1, PBX)[0]), "442071234567"))
    asyncio.run(ring(tandem, tmp_path / "two", pbx_port))
    outbound, inbound = cdrs(tandem, 3)[1:]
    assert (outbound["direction"], outbound["cause"]) == ("outbound", "client_suspended")
    assert (inbound["direction"], inbound["cause"], inbound["gross"]) == ("inbound", "normal", "0.072")

    tandem.api.post(f"/dids/{did['id']}/release", {})
    asyncio.run(refused(tandem, tmp_path / "gone", (PROVIDER, free_ports(1, PROVIDER)[0]), NUMBER))
    # Nobody's call any more: a counter and no CDR.
    assert len(cdrs(tandem, 3)) == 3
    assert tandem.api.get("/invariants")["is_sound"]
    with pytest.raises(ApiError):
        tandem.api.post(f"/dids/{did['id']}/assign", {"customer_id": did["customer_id"]})
