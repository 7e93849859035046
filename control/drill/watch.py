"""Looks at the accounts all the time: nobody may be overdrawn at any moment, not only at the end."""

from __future__ import annotations

import asyncio
from typing import Final

from control.client import ApiError
from control.drill.books import Balance, read_balances
from control.drill.carrier import CUSTOMERS
from control.drill.instance import Instance
from control.drill.witness import Witness

INTERVAL_S: Final = 0.7


class Watch:
    """`run` until cancelled; what it sees wrong is in the witness' `overdrawn`."""

    def __init__(self, instance: Instance, witness: Witness) -> None:
        self._instance = instance
        self._witness = witness

    async def run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                balances = await asyncio.to_thread(self._look)
            except ApiError:
                continue  # the control process is dead, or coming back
            self._witness.looks += 1
            self._witness.overdrawn += faults_of(balances)

    def _look(self) -> list[Balance]:
        client = self._instance.api()
        try:
            return read_balances(client)
        finally:
            client.close()


def faults_of(balances: list[Balance]) -> list[str]:
    """A line for each customer who has spent, or may spend, more than the debit limit lets him."""
    limits = {customer.name: customer.debit_limit_nanos for customer in CUSTOMERS}
    faults = []
    for account in balances:
        limit = limits.get(account.name)
        if limit is not None and account.is_live and account.balance_nanos + limit < account.held_nanos:
            faults.append(f"{account.name}: {account.held_nanos} held of {account.balance_nanos} nanos, limit {limit}")
    return faults
