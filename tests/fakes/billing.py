"""A customer with calls, packages and time that passes, for tests of what is billed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from config.settings import Billing
from control.services import billing_runs, ledger
from control.services.cdrs import last_number
from control.sinks import StoreSink
from switch.records import CallEnded
from tests.fakes.control import ControlPlane
from tests.fakes.ended_calls import ended_call

UNIT = 10**9


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


async def pass_time(plane: ControlPlane, moment: str) -> dict[str, int]:
    """Set the clock, and let billing look."""
    plane.clock.ms = at(moment)
    return await billing_runs.run_due(plane.ctx)


async def balance(plane: ControlPlane, customer_id: int = 1) -> int:
    async with plane.store.read() as tx:
        return await ledger.balance_of(tx, customer_id)


def call_at(moment: str, *, net: int = UNIT, tax: int = 0, billed_s: int = 60, **fields: Any) -> dict[str, Any]:
    """An answered call that ended at this moment."""
    ended = at(moment)
    times = {"invited_ms": ended - billed_s * 1000 - 2_000, "answered_ms": ended - billed_s * 1000, "ended_ms": ended}
    return {
        "gross_nanos": net + tax,
        "tax_nanos": tax,
        "billed_s": billed_s,
        "duration_ms": billed_s * 1000,
        **times,
        **fields,
    }


async def store_calls(plane: ControlPlane, *calls: dict[str, Any]) -> None:
    """As the journal brings them: CDRs with their ledger entries."""
    first = await last_number(plane.ctx) + 1
    batch: list[tuple[int, CallEnded]] = [(first + n, ended_call(first + n, **each)) for n, each in enumerate(calls)]
    await StoreSink(plane.store).write(batch, first + len(calls))


async def make_package(plane: ControlPlane, **fields: Any) -> int:
    return int((await plane.post("/packages", {"name": "Gold", "retail": "31", **fields}))["id"])


async def assign(plane: ControlPlane, package_id: int, customer_id: int = 1, **fields: Any) -> Any:
    return await plane.post(f"/customers/{customer_id}/customer-packages", {"package_id": package_id, **fields})


async def entries(plane: ControlPlane, customer_id: int = 1, **query: Any) -> list[Any]:
    """Of the ledger, the earliest first."""
    page = await plane.get(
        f"/customers/{customer_id}/ledger?limit=500&" + "&".join(f"{k}={v}" for k, v in query.items())
    )
    return list(reversed(page["items"]))


BILLING = Billing(
    seller_name="Tandem Ltd", seller_address="1 Exchange Street\nLondon", payment_details="IBAN GB00", due_days=14
)
LONDON: dict[str, Any] = {"prefix": "4420", "destination": "United Kingdom, London"}
PARIS: dict[str, Any] = {"prefix": "331", "destination": "France, Paris", "dialled_out": "331234567890"}


async def make(plane: ControlPlane, **fields: Any) -> int:
    """A customer of an installation that says who sends its invoices."""
    plane.ctx.billing = BILLING
    return await plane.make_customer(**{"tax_percent": "20", "address": "5 Rue\nParis", **fields})


async def invoice(plane: ControlPlane, customer_id: Any = 1, status: Any = 201, **body: Any) -> Any:
    return await plane.post(f"/customers/{customer_id}/invoices", body, status=status, role="billing")


async def march(plane: ControlPlane) -> None:
    """Calls, a package, a fee, payments; and what lies before and after."""
    await plane.post("/customers/1/payments", {"total": "100", "description": "Bank transfer # Ann"})
    plane.clock.ms = at("2027-03-01T00:00:00+00:00")
    await assign(plane, await make_package(plane, retail="31"), start="2027-03-01", end="2027-03-31")
    await store_calls(
        plane,
        call_at("2027-02-28T23:59:59+00:00", net=7 * UNIT, tax=1_400_000_000, **LONDON),
        call_at("2027-03-01T00:00:00+00:00", net=UNIT, tax=200_000_000, billed_s=30, **LONDON),
        call_at("2027-03-10T00:00:00+00:00", net=2 * UNIT, tax=400_000_000, billed_s=60, **LONDON),
        call_at("2027-03-31T23:59:59+00:00", net=12_345_600, tax=2_469_200, billed_s=6, **PARIS),
        call_at("2027-04-01T00:00:00+00:00", net=9 * UNIT, tax=1_800_000_000, **LONDON),
    )
    await pass_time(plane, "2027-03-02T00:00:00+00:00")
    fee = {"amount": "-5", "kind": "fee", "reason": "x", "description": "Porting"}
    await plane.post("/customers/1/adjustments", fee)
    await plane.post("/customers/1/payments", {"total": "40", "description": "Second transfer"})
    plane.clock.ms = at("2027-04-02T00:00:00+00:00")
