"""DIDs of tests, with the parties that they need."""

from __future__ import annotations

from typing import Any, NamedTuple

from control.services import did_schedule
from switch.snapshot import Did, Key
from tests.fakes.control import ControlPlane

NUMBER = "442071838750"


class Parties(NamedTuple):
    """A customer that numbers ring at, and a provider that they come from."""

    customer: int
    sell_card: int
    endpoint: int
    user: int
    provider: int
    buy_card: int


async def make_parties(plane: ControlPlane, name: str = "Acme", **customer: Any) -> Parties:
    customer_id = await plane.make_customer(name=name, **customer)
    currency = customer.get("currency", "USD")
    provider = await plane.make_provider(name=f"{name} Carrier", currency=currency)
    path = f"/customers/{customer_id}"
    endpoint = await plane.post(
        f"{path}/endpoints", {"host": "198.51.100.9", "direction": "ingress", "tech_prefix": str(customer_id)}
    )
    user = await plane.post(f"{path}/sip-users", {"username": f"phone-{name}", "password": "secret word"})
    return Parties(
        customer=customer_id,
        sell_card=await plane.make_sell_card(name=f"{name} sell", currency=currency),
        endpoint=endpoint["id"],
        user=user["id"],
        provider=provider,
        buy_card=await plane.make_buy_card(provider, name=f"{name} buy", currency=currency),
    )


def whole(parties: Parties, **fields: Any) -> dict[str, Any]:
    """Everything that the page asks for of a DID."""
    return {
        "number": NUMBER,
        "name": "Reception",
        "destinations": [{"kind": "endpoint", "id": parties.endpoint}],
        "provider_id": parties.provider,
        "provider_card_id": parties.buy_card,
        "customer_id": parties.customer,
        "customer_card_id": parties.sell_card,
        "cost": "1",
        "retail": "3.1",
        **fields,
    }


async def make_did(plane: ControlPlane, status: int = 201, **fields: Any) -> Any:
    return await plane.post("/dids", {"number": NUMBER, **fields}, status)


async def step(plane: ControlPlane, did: Any, name: str, status: int = 200, **body: Any) -> Any:
    """Take a step of a number's life."""
    return await plane.post(f"/dids/{did['id']}/{name}", None if name == "free" else body, status)


def published(plane: ControlPlane, did: Any) -> Did | None:
    """The DID as the switch has it."""
    record = plane.publisher.records.get(Key("did", did["id"]))
    assert record is None or isinstance(record, Did)
    return record


async def entries(plane: ControlPlane, customer: int) -> list[Any]:
    """The customer's ledger without its payments, the oldest first."""
    found = (await plane.get(f"/customers/{customer}/ledger?limit=500"))["items"]
    return [entry for entry in reversed(found) if entry["kind"] != "payment"]


async def look(plane: ControlPlane) -> None:
    await did_schedule.run_due(plane.ctx)
