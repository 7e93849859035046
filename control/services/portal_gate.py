"""What logins need beside the store: who has tried too often, and the key that seals second factors.

Three counts, so that a guesser is stopped and nobody else is:

- an address, over all accounts: it stops trying names;
- an account from one address: it stops trying passwords;
- an account from all addresses that it was never logged in from: it stops a crowd of addresses that
  guess at one account, and leaves alone the owner, who comes from where he came from before.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from functools import cache
from pathlib import Path
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from cryptography.fernet import Fernet, InvalidToken

from config.settings import Portal
from control.services.errors import Throttled
from rating.money import ceil_div

WINDOW_MS: Final = 300_000
"""A wrong try is forgotten after this long."""
ADDRESS_FAILURES_MAX: Final = 30
PAIR_FAILURES_MAX: Final = 5
STRANGERS_FAILURES_MAX: Final = 50
COUNTED_MAX: Final = 50_000
"""Counts that are kept; the oldest go first, so that a flood of addresses costs no memory."""
SEAL_FILE: Final = "seal.key"
HASHES_MAX: Final = 2
"""At a time: each takes 64 MiB and some 50 ms of a processor."""

_hasher: Final = PasswordHasher()


class Throttle:
    """Counts wrong tries by key within a window."""

    def __init__(self, failures_max: int, now_ms: Callable[[], int]) -> None:
        self._failures_max = failures_max
        self._now_ms = now_ms
        self._failures: OrderedDict[str, list[int]] = OrderedDict()

    def check(self, key: str) -> None:
        """Raises `Throttled` with the seconds until the oldest try that counts is forgotten."""
        recent = self._recent(key)
        if len(recent) >= self._failures_max:
            raise Throttled(max(1, ceil_div(recent[0] + WINDOW_MS - self._now_ms(), 1000)))

    def note(self, key: str) -> bool:
        """Count a wrong try; True where it is the one that closes the door."""
        recent = [*self._recent(key), self._now_ms()]
        self._failures[key] = recent
        self._failures.move_to_end(key)
        if len(self._failures) > COUNTED_MAX:
            self._failures.popitem(last=False)
        return len(recent) == self._failures_max

    def give_back(self, key: str) -> None:
        """The try was not wrong after all."""
        recent = self._failures.get(key)
        if recent:
            recent.pop()

    def forget(self, key: str) -> None:
        self._failures.pop(key, None)

    def _recent(self, key: str) -> list[int]:
        since = self._now_ms() - WINDOW_MS
        return [at for at in self._failures.get(key, ()) if at > since]


class PortalGate:
    """One of each installation, shared by all requests."""

    def __init__(self, data_folder: Path, now_ms: Callable[[], int], settings: Portal | None = None) -> None:
        self.settings = Portal() if settings is None else settings
        self.addresses = Throttle(ADDRESS_FAILURES_MAX, now_ms)
        self.pairs = Throttle(PAIR_FAILURES_MAX, now_ms)
        self.strangers = Throttle(STRANGERS_FAILURES_MAX, now_ms)
        self._seal_path = data_folder / SEAL_FILE
        self._tasks: set[asyncio.Task[None]] = set()
        self._hashing = asyncio.Semaphore(HASHES_MAX)
        self._sealing = asyncio.Lock()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what the answer must not wait for, since its time would tell whether there was something to do."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait until all that was started has ended."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def hash_password(self, password: str) -> str:
        """Argon2id with the library's parameters (RFC 9106 §4, the second choice)."""
        async with self._hashing:
            return await asyncio.to_thread(_hasher.hash, password)

    async def is_password(self, hashed: str, password: str) -> bool:
        """Whether it is the one; where there is none, the answer takes as long."""
        async with self._hashing:
            return await asyncio.to_thread(_verify, hashed, password)

    async def seal(self, secret: str) -> str:
        """A secret that we must be able to read again, as it may stand in the store and its backups."""
        return (await self._cipher()).encrypt(secret.encode()).decode()

    async def unseal(self, sealed: str) -> str | None:
        """None where it was sealed with another key."""
        try:
            return (await self._cipher()).decrypt(sealed.encode()).decode()
        except InvalidToken:
            return None

    async def _cipher(self) -> Fernet:
        async with self._sealing:
            return Fernet(await asyncio.to_thread(_read_key, self._seal_path))


def _read_key(path: Path) -> bytes:
    """The installation's key, made at the first need and readable by its owner alone."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        key = Fernet.generate_key()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    return key


def address_key(address: str) -> str:
    """Of IPv6 the network that one household or host has: addresses in it cost nothing."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


@cache
def _nobodys_hash() -> str:
    return _hasher.hash("nobody has this password")


def _verify(hashed: str, password: str) -> bool:
    try:
        return _hasher.verify(hashed or _nobodys_hash(), password) and bool(hashed)
    except (VerificationError, InvalidHashError):
        return False
