"""Payments while calls run: each is made under one key until the API has acknowledged it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, Final

from control.client import ApiClient, ApiError
from control.drill.carrier import CUSTOMERS, CustomerPlan
from control.drill.instance import DrillFailed, Instance
from control.drill.witness import Payment, Witness
from rating.money import format_amount, parse_amount

PAUSE_S: Final = (0.3, 1.4)
RETRY_S: Final = 0.2
PATIENCE_S: Final = 60.0
UNLIKE_NANOS: Final = 1_000_000
"""Payments differ by up to a thousandth."""


class Payer:
    """Pays what customers open with, and then now and then."""

    def __init__(self, instance: Instance, rng: Random, witness: Witness) -> None:
        self._instance = instance
        self._rng = rng
        self._witness = witness
        self._ids: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Opening payments, acknowledged."""
        self._ids = await asyncio.to_thread(self._read_ids)
        for customer in CUSTOMERS:
            await self._pay(customer, customer.opening)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._rng.uniform(*PAUSE_S))
            customer = self._rng.choice(CUSTOMERS)
            # No two are alike, so that one lost and another booked twice cannot make up for each other.
            amount = format_amount(parse_amount(customer.payment) + self._rng.randrange(1, UNLIKE_NANOS))
            task = asyncio.create_task(self._pay(customer, amount))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait until all that were begun are acknowledged."""
        if self._tasks:
            await asyncio.gather(*self._tasks)

    async def _pay(self, customer: CustomerPlan, amount: str) -> None:
        key = f"drill-{self._rng.getrandbits(64):016x}"
        payment = Payment(customer=customer.name, key=key, amount=amount)
        self._witness.payments.append(payment)
        loop = asyncio.get_running_loop()
        last = loop.time() + PATIENCE_S
        while not payment.is_acknowledged:
            payment.tries += 1
            problem = await asyncio.to_thread(self._post, payment)
            if not problem:
                payment.is_acknowledged = True
            elif loop.time() > last:
                raise DrillFailed(f"a payment of {customer.name} was not taken: {problem}")
            else:
                await asyncio.sleep(RETRY_S)

    def _post(self, payment: Payment) -> str:
        """One try; empty where it was acknowledged, else why not."""
        body = {"description": "drill", "total": payment.amount, "status": "completed"}

        def pay(client: ApiClient) -> None:
            client.post(f"/customers/{self._ids[payment.customer]}/payments", body, key=payment.key)

        try:
            _with_client(self._instance, pay)
        except ApiError as error:
            if 400 <= error.status < 500 and error.status not in (408, 409, 429):
                raise DrillFailed(str(error)) from error
            return str(error)
        return ""

    def _read_ids(self) -> dict[str, int]:
        found: dict[str, int] = {}

        def read(client: ApiClient) -> None:
            found.update((row["name"], row["id"]) for row in client.items("/customers"))

        _with_client(self._instance, read)
        return found


def _with_client(instance: Instance, use: Callable[[ApiClient], Any]) -> None:
    client = instance.api()
    try:
        use(client)
    finally:
        client.close()
