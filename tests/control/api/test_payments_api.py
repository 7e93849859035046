"""Payments through the API: what counts, what cannot go back, and that nothing is paid twice."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select

from control.api.app import create_app
from control.services import ledger
from control.services.context import Context
from control.store import tables
from tests.fakes.control import ControlPlane, FakePublisher, with_control

UNIT = 10**9

NOT_MONEY: list[Any] = [
    "NaN",
    "nan",
    "Infinity",
    "-Infinity",
    "1e400",
    "1E5",
    "0x10",
    "١٢",
    "1,5",
    " 5",
    "5 ",
    "",
    "+5",
    "--5",
    ".5",
    "5.",
    "0." + "1" * 40,
    "9" * 40,
    "0.1234567891",
    0.1,
    5,
    b'{"total": -0.0}',
    b'{"total": 1e400}',
    b'{"total": NaN}',
    b'{"total": 1' + b"0" * 400 + b"}",
    None,
    True,
    ["5"],
]


async def pay(plane: ControlPlane, total: Any = "10", key: str = "", status: int = 201, **fields: Any) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return await plane.post("/customers/1/payments", {"total": total, **fields}, status=status, headers=headers)


async def balance(plane: ControlPlane, customer_id: int = 1) -> int:
    async with plane.store.read() as tx:
        return await ledger.balance_of(tx, customer_id)


async def payments_made(plane: ControlPlane) -> int:
    async with plane.store.read() as tx:
        return int((await tx.execute(select(func.count()).select_from(tables.payments))).scalar_one())


@with_control
async def test_a_payment_counts_when_it_is_answered(plane: ControlPlane) -> None:
    await plane.make_customer()
    made = await pay(plane, "12.5", description="Bank transfer 77 # seen by Ann")
    assert made["status"] == "completed"
    assert made["is_in_switch"]
    assert plane.publisher.booked == [made["entry_id"]]
    assert await balance(plane) == 12 * UNIT + UNIT // 2
    (entry,) = (await plane.get("/customers/1/ledger"))["items"]
    assert (entry["kind"], entry["amount"], entry["payment_id"]) == ("payment", "12.5", made["id"])
    assert (entry["description"], entry["note"]) == ("Bank transfer 77", "seen by Ann")
    assert await plane.get(f"/customers/1/payments/{made['id']}") == made


@with_control
async def test_a_pending_payment_counts_once_it_is_completed(plane: ControlPlane) -> None:
    await plane.make_customer()
    made = await plane.post("/customers/1/payments", {"total": "10", "status": "pending"})
    assert await balance(plane) == 0
    assert made["entry_id"] is None
    path = f"/customers/1/payments/{made['id']}"
    done = await plane.post(f"{path}/complete", None, status=200)
    assert done["status"] == "completed"
    assert await balance(plane) == 10 * UNIT
    again = await plane.post(f"{path}/complete", None, status=200)
    assert again == done
    assert await balance(plane) == 10 * UNIT
    await plane.post(f"{path}/cancel", None, status=409)


@with_control
async def test_a_cancelled_payment_never_counts(plane: ControlPlane) -> None:
    await plane.make_customer()
    made = await plane.post("/customers/1/payments", {"total": "10", "status": "pending"})
    path = f"/customers/1/payments/{made['id']}"
    cancelled = await plane.post(f"{path}/cancel", None, status=200)
    assert cancelled["status"] == "cancelled"
    assert await plane.post(f"{path}/cancel", None, status=200) == cancelled
    await plane.post(f"{path}/complete", None, status=409)
    await plane.post(f"{path}/reverse", {"reason": "no"}, status=409)
    # One may also be written down as it came to nothing.
    noted = await plane.post("/customers/1/payments", {"total": "7", "status": "cancelled"})
    assert (noted["status"], noted["entry_id"]) == ("cancelled", None)
    await plane.post(f"/customers/1/payments/{noted['id']}/complete", None, status=409)
    assert await balance(plane) == 0


@with_control
async def test_a_completed_payment_is_taken_back_by_another_entry_once(plane: ControlPlane) -> None:
    await plane.make_customer()
    made = await pay(plane, "10")
    path = f"/customers/1/payments/{made['id']}"
    await plane.post(f"{path}/reverse", {}, status=400)
    reversed_ = await plane.post(f"{path}/reverse", {"reason": "the bank took it back"}, status=200)
    assert reversed_["status"] == "completed"
    assert await balance(plane) == 0
    entries = (await plane.get("/customers/1/ledger"))["items"]
    assert [entry["amount"] for entry in entries] == ["-10", "10"]
    assert entries[0]["reversed_id"] == entries[1]["id"] == made["entry_id"]
    refused = await plane.post(f"{path}/reverse", {"reason": "again"}, status=409)
    assert refused["references"][0]["id"] == str(reversed_["reversal_entry_id"])
    assert await balance(plane) == 0


@with_control
async def test_what_is_no_exact_amount_is_refused_and_moves_nothing(plane: ControlPlane) -> None:
    await plane.make_customer()
    for total in NOT_MONEY:
        content = total if isinstance(total, bytes) else msgspec.json.encode({"total": total})
        answer = await plane.request("POST", "/customers/1/payments", content=content)
        assert answer.status_code == 400, total
        assert answer.json()["errors"][0]["path"] in ("total", ""), total
    for total in ("0", "-0", "0.000000000"):
        await pay(plane, total, status=400)
    assert await payments_made(plane) == 0
    assert await balance(plane) == 0


@with_control
async def test_nano_units_are_kept_and_summed_exactly(plane: ControlPlane) -> None:
    await plane.make_customer()
    for total in ("0.000000001", "0.1", "0.2", "999999999.999999999"):
        assert (await pay(plane, total))["total"] == total
    assert await balance(plane) == 1 + 3 * UNIT // 10 + 10**18 - 1
    customer = await plane.get("/customers/1")
    assert customer["balance"] == "1000000000.3"


@with_control
async def test_money_back_needs_a_reason_and_a_minimum_holds_for_money_in(plane: ControlPlane) -> None:
    await plane.make_customer(minimum_payment="5")
    assert (await pay(plane, "-3", status=400))["errors"][0]["path"] == "reason"
    assert (await pay(plane, "4.999999999", status=400))["errors"][0]["path"] == "total"
    await pay(plane, "5")
    await pay(plane, "-3", reason="paid twice")
    assert await balance(plane) == 2 * UNIT


@with_control
async def test_a_payment_of_nobody_is_not_taken(plane: ControlPlane) -> None:
    await pay(plane, status=404)
    await plane.make_customer()
    made = await pay(plane)
    await plane.make_customer(name="Other")
    await plane.get(f"/customers/2/payments/{made['id']}", status=404)
    await plane.post(f"/customers/2/payments/{made['id']}/reverse", {"reason": "x"}, status=404)
    await plane.delete("/customers/1")
    await pay(plane, status=404)
    assert len((await plane.get("/customers/1/payments"))["items"]) == 1, "what was paid stays to be read"


@with_control
async def test_the_same_key_is_answered_the_same_and_paid_once(plane: ControlPlane) -> None:
    await plane.make_customer()
    first = await plane.request("POST", "/customers/1/payments", {"total": "10"}, headers={"Idempotency-Key": "k-1"})
    assert first.status_code == 201
    for _ in range(3):
        again = await plane.request(
            "POST", "/customers/1/payments", {"total": "10"}, headers={"Idempotency-Key": "k-1"}
        )
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["location"] == first.headers["location"]
    assert first.json()["key"] == "k-1"
    assert await balance(plane) == 10 * UNIT
    (listed,) = (await plane.get("/customers/1/payments?key=k-1"))["items"]
    assert listed["id"] == first.json()["id"]


@with_control
async def test_the_same_key_is_answered_the_same_after_a_restart_and_after_the_payment_changed(
    plane: ControlPlane,
) -> None:
    await plane.make_customer()
    first = await pay(plane, key="k-1")
    await plane.post(f"/customers/1/payments/{first['id']}/reverse", {"reason": "x"}, status=200)
    # What a process begins with that knows nothing but the store.
    fresh = Context(plane.store, FakePublisher(), switch=plane.switch, data_folder=plane.folder)
    plane.client._transport.app = create_app(fresh)  # type: ignore[attr-defined]
    assert await pay(plane, key="k-1") == first
    assert await balance(plane) == 0
    assert await payments_made(plane) == 1


@with_control
async def test_a_key_belongs_to_one_request_of_one_customer(plane: ControlPlane) -> None:
    await plane.make_customer()
    await plane.make_customer(name="Other")
    made = await pay(plane, "10", key="k-1")
    await pay(plane, "11", key="k-1", status=409)
    headers = {"Idempotency-Key": "k-1"}
    path = f"/customers/1/payments/{made['id']}/reverse"
    await plane.post(path, {"reason": "x"}, status=409, headers=headers)
    await plane.post("/customers/1/adjustments", {"amount": "10", "reason": "x"}, status=409, headers=headers)
    await plane.post("/customers/2/payments", {"total": "10"}, headers=headers)
    assert (await balance(plane, 1), await balance(plane, 2)) == (10 * UNIT, 10 * UNIT)


@with_control
async def test_a_refused_request_leaves_its_key_free(plane: ControlPlane) -> None:
    await plane.make_customer(minimum_payment="5")
    await pay(plane, "1", key="k-1", status=400)
    await pay(plane, "6", key="k-1")
    for key in ("a\tb", "x" * 256, "é".encode()):
        answer = await plane.request("POST", "/customers/1/payments", {"total": "9"}, headers={"Idempotency-Key": key})
        assert answer.status_code == 400, key


@with_control
async def test_a_payment_sent_twenty_times_at_once_is_taken_once(plane: ControlPlane) -> None:
    await plane.make_customer()
    answers = await asyncio.gather(*(pay(plane, key="k-1") for _ in range(20)))
    assert all(answer == answers[0] for answer in answers)
    assert await balance(plane) == 10 * UNIT


@with_control
async def test_with_the_switch_away_the_payment_stands_and_the_answer_says_so(plane: ControlPlane) -> None:
    await plane.make_customer()
    plane.publisher.is_money_away = True
    answer = await plane.request("POST", "/customers/1/payments", {"total": "10"}, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 202
    assert answer.headers["tandem-switch"] == "pending"
    assert answer.json()["is_in_switch"] is False
    assert await balance(plane) == 10 * UNIT
    path = f"/customers/1/payments/{answer.json()['id']}"
    assert (await plane.get(path))["is_in_switch"] is False
    plane.publisher.is_money_away = False
    repeated = await plane.request("POST", "/customers/1/payments", {"total": "10"}, headers={"Idempotency-Key": "k"})
    assert (repeated.status_code, repeated.content) == (202, answer.content)
    await pay(plane, "1")
    assert (await plane.get(path))["is_in_switch"] is True


@with_control
async def test_a_repeat_after_a_crash_says_201_only_once_the_switch_has_the_entry(plane: ControlPlane) -> None:
    await plane.make_customer()
    await pay(plane, key="k-1")
    # The process died between its commit and the switch's word: the next one knows of no word.
    plane.publisher.is_money_away = True
    repeated = await pay(plane, key="k-1", status=202)
    assert repeated["is_in_switch"] is False
    plane.publisher.is_money_away = False
    assert await pay(plane, key="k-1", status=202) == repeated
    assert await balance(plane) == 10 * UNIT


@with_control
async def test_payments_are_listed_by_pages_and_filters(plane: ControlPlane) -> None:
    await plane.make_customer()
    for number in range(5):
        await pay(plane, str(number + 1), description=f"transfer {number}")
    await plane.post("/customers/1/payments", {"total": "9", "status": "pending"})
    page = await plane.get("/customers/1/payments?limit=4")
    assert [each["total"] for each in page["items"]] == ["9", "5", "4", "3"]
    rest = await plane.get(f"/customers/1/payments?limit=4&cursor={page['next_cursor']}")
    assert [each["total"] for each in rest["items"]] == ["2", "1"]
    pending = await plane.get("/customers/1/payments?status=pending")
    assert [each["total"] for each in pending["items"]] == ["9"]
    found = await plane.get("/customers/1/payments?search=transfer 3")
    assert [each["total"] for each in found["items"]] == ["4"]
    await plane.get("/customers/1/payments?bogus=1", status=400)


@with_control
async def test_every_step_of_a_payment_is_in_the_audit_trail(plane: ControlPlane) -> None:
    await plane.make_customer()
    made = await plane.post("/customers/1/payments", {"total": "10", "status": "pending"}, role="operator")
    path = f"/customers/1/payments/{made['id']}"
    await plane.post(f"{path}/complete", None, status=200)
    await plane.post(f"{path}/reverse", {"reason": "x"}, status=200)
    rows = (await plane.get("/audit?noun=payment&sort=id"))["items"]
    assert [(row["action"], row["actor_name"]) for row in rows] == [
        ("create", "test operator"),
        ("complete", "test admin"),
        ("reverse", "test admin"),
    ]
    assert rows[1]["before"]["status"] == "pending"
    assert rows[1]["after"]["status"] == "completed"


@pytest.mark.parametrize("path", ["/customers/1/payments", "/customers/1/adjustments"])
def test_reading_does_not_pay(path: str, tmp_path: Any) -> None:
    @with_control
    async def run(plane: ControlPlane) -> None:
        await plane.make_customer()
        await plane.post(path, {"total": "1"}, status=403, role="read-only")
        await plane.get("/customers/1/payments", role="read-only")
        await plane.get("/customers/1/ledger", role="read-only")

    run(tmp_path)
