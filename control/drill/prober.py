"""Asks the switch whether it lives: an OPTIONS from nobody in particular, until anything comes back."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Final

from control.drill.dialog import Dialog
from control.drill.endpoint import Address, Endpoint
from switch.wire.message import Request

INTERVAL_S: Final = 0.05


class Prober:
    def __init__(self, switch: Address, rng: Random) -> None:
        self._rng = rng
        self._endpoint = Endpoint(switch, self._ignore)

    async def open(self, at: Address) -> None:
        await self._endpoint.open(at)

    def close(self) -> None:
        self._endpoint.close()

    async def is_answered(self, within_s: float) -> bool:
        """Whether an OPTIONS is answered in that time."""
        loop = asyncio.get_running_loop()
        last = loop.time() + within_s
        while (left_s := last - loop.time()) > 0:
            dialog = Dialog.calling(self._endpoint.at, self._rng, self._endpoint.switch, "", "drill")
            dialog.target = f"sip:{self._endpoint.switch[0]}:{self._endpoint.switch[1]}".encode()
            data, branch = dialog.request(b"OPTIONS")
            transaction = self._endpoint.request(data, branch, b"OPTIONS")
            try:
                if await asyncio.wait_for(asyncio.shield(transaction.final), min(INTERVAL_S, left_s)) is not None:
                    return True
            except TimeoutError:
                transaction.abandon()
        return False

    def _ignore(self, request: Request) -> None:
        """Nobody calls a prober."""
