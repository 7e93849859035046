"""Gateways by name, resolved ahead of calls and again before their records run out.

A look-up that fails keeps the last good answer, with a reason that can be seen. No call waits for one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from switch.lookup import TTL_MAX_S, Lookup, LookupFailed, literal_targets
from switch.outputs import Target
from switch.snapshot import Gateway

LOOKUPS_OPEN_MAX: Final = 16
REFRESH_SHARE: Final = 0.8
"""Of a record's life; then it is asked for again, so that the answer in use is never an old one."""
TTL_MIN_S: Final = 5.0
RETRY_MIN_S: Final = 2.0
RETRY_MAX_S: Final = 60.0

log = structlog.get_logger("switch.resolver")


class Resolver:
    """Watches every gateway by name and pushes its targets when they change."""

    def __init__(self, lookup: Lookup, handle_targets: Callable[[int, list[Target]], None]) -> None:
        self.failures: dict[int, str] = {}
        """Gateways whose last look-up failed, and why; their last good answer stays in use."""
        self._lookup = lookup
        self._handle_targets = handle_targets
        self._known: dict[int, Gateway] = {}
        self._found: dict[int, list[Target]] = {}
        self._watchers: dict[int, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(LOOKUPS_OPEN_MAX)

    def set_gateways(self, gateways: Iterable[Gateway]) -> None:
        """Literal addresses are pushed before this returns; names are looked up from now on."""
        wanted = {gateway.id: gateway for gateway in gateways if gateway.enabled}
        for gateway_id in [known for known in self._known if known not in wanted]:
            if gateway_id in self._found:
                self._handle_targets(gateway_id, [])  # whatever comes back under this id may be elsewhere
            self._forget(gateway_id)
        for gateway in wanted.values():
            before = self._known.get(gateway.id)
            if before is not None and _address_facts(before) == _address_facts(gateway):
                continue
            if gateway.id in self._found:
                self._handle_targets(gateway.id, [])  # they are another host's
            self._forget(gateway.id)
            self._known[gateway.id] = gateway
            targets = literal_targets(gateway)
            if targets:
                self._push(gateway.id, targets)
            else:
                self._watchers[gateway.id] = asyncio.create_task(self._watch(gateway))

    def push_again(self, gateway_ids: Iterable[int] | None = None) -> None:
        """Push what is known of some gateways, or of all: the engine has new records of them."""
        for gateway_id in list(self._found) if gateway_ids is None else gateway_ids:
            if gateway_id in self._found:
                self._handle_targets(gateway_id, self._found[gateway_id])

    def set_lookup(self, lookup: Lookup) -> None:
        """Use other name servers from the next look-up on."""
        self._lookup = lookup

    def close(self) -> None:
        for gateway_id in list(self._known):
            self._forget(gateway_id)

    def _forget(self, gateway_id: int) -> None:
        self._known.pop(gateway_id, None)
        self._found.pop(gateway_id, None)
        self.failures.pop(gateway_id, None)
        watcher = self._watchers.pop(gateway_id, None)
        if watcher is not None:
            watcher.cancel()

    async def _watch(self, gateway: Gateway) -> None:
        retry_s = RETRY_MIN_S
        while True:
            try:
                async with self._room:
                    answer = await self._lookup.find(gateway)
            except LookupFailed as error:
                self._note_failure(gateway, str(error))
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_MAX_S)
                continue
            except Exception as error:
                log.exception("fault in a look-up", gateway=gateway.id, host=gateway.host)
                self._note_failure(gateway, str(error))
                await asyncio.sleep(RETRY_MAX_S)
                continue
            retry_s = RETRY_MIN_S
            if self.failures.pop(gateway.id, None) is not None:
                log.info("gateway resolves again", gateway=gateway.id, host=gateway.host)
            self._push(gateway.id, answer.targets)
            await asyncio.sleep(min(max(answer.ttl_s, TTL_MIN_S), TTL_MAX_S) * REFRESH_SHARE)

    def _push(self, gateway_id: int, targets: list[Target]) -> None:
        self._found[gateway_id] = targets
        self._handle_targets(gateway_id, targets)

    def _note_failure(self, gateway: Gateway, reason: str) -> None:
        if self.failures.get(gateway.id) != reason:
            log.warning("gateway does not resolve", gateway=gateway.id, host=gateway.host, reason=reason)
        self.failures[gateway.id] = reason


def _address_facts(gateway: Gateway) -> tuple[object, ...]:
    return gateway.host, gateway.port, gateway.transport
