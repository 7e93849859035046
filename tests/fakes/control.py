"""A control plane for tests: a real store in a file, a switch and a publisher that live in memory."""

from __future__ import annotations

import asyncio
import inspect
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any, cast

import httpx

from control.api.app import create_app
from control.services.admin_keys import ADMIN_KEYS, AdminKeyNew
from control.services.context import Context, Role
from control.services.errors import SwitchAway
from control.store.engine import Store, open_store
from switch.frames import Account, CallDecision, LiveCall, Load, RegistrationRow, Simulated, Stats
from switch.outputs import GatewayHealth
from switch.snapshot import Key, Record
from tests.fakes.databases import SQLITE, Database

START_MS = 1_800_000_000_000
"""2027-01-15T08:00:00Z."""


class FakePublisher:
    """Keeps what it was given as the switch would: records by kind and id."""

    def __init__(self) -> None:
        self.is_away = False
        self.is_money_away = False
        """Configuration arrives and ledger entries do not."""
        self.versions: list[int] = []
        self.booked: list[int] = []
        """Ids of ledger entries that were waited for, in their order."""
        self.records: dict[Key, Record] = {}

    async def publish(self, version: int, put: Sequence[Record], remove: Sequence[Key]) -> bool:
        if self.is_away:
            return False
        self.versions.append(version)
        for record in put:
            self.records[key_of(record)] = record
        for key in remove:
            self.records.pop(key, None)
        return True

    async def book(self, entry_id: int) -> bool:
        if self.is_away or self.is_money_away:
            return False
        self.booked.append(entry_id)
        return True

    def is_booked(self, entry_id: int) -> bool:
        return entry_id <= max(self.booked, default=0)

    def kinds(self) -> list[str]:
        return sorted(key.kind for key in self.records)


class FakeSwitch:
    """Has the calls and the health that a test gives it."""

    def __init__(self) -> None:
        self.is_connected = True
        self.calls: list[LiveCall] = []
        self.decisions: dict[str, CallDecision] = {}
        self.accounts: dict[int, Account] = {}
        self.registrations: dict[int, list[RegistrationRow]] = {}
        self.ended: list[tuple[str, str]] = []
        self.asked: list[dict[str, Any]] = []
        self.simulated = Simulated(is_admitted=False, status=403, cause="source_unknown", steps=["nobody's address"])
        self.gateways: list[GatewayHealth] = []
        self.begun: Counter[int] = Counter()
        """Calls that were let in since the load was read, by customer."""
        self.counters: dict[str, int] = {"calls_total": 3}

    async def list_calls(self, customer_id: int | None = None, *, with_waiting: bool = False) -> list[LiveCall]:
        self._check()
        found = [call for call in self.calls if customer_id in (None, call.customer_id)]
        return [call for call in found if with_waiting or call.state != "waiting"]

    async def read_call(self, cdr_id: str) -> CallDecision | None:
        self._check()
        live = next((call for call in self.calls if call.cdr_id == cdr_id), None)
        return self.decisions.get(cdr_id) or (None if live is None else decision(live))

    async def end_call(self, cdr_id: str, by: str) -> bool:
        self._check()
        self.ended.append((cdr_id, by))
        return any(call.cdr_id == cdr_id for call in self.calls)

    async def list_registrations(self, sip_user_id: int) -> list[RegistrationRow]:
        self._check()
        return self.registrations.get(sip_user_id, [])

    async def remove_registration(self, sip_user_id: int, registration_id: str) -> bool:
        self._check()
        rows = self.registrations.get(sip_user_id, [])
        self.registrations[sip_user_id] = [row for row in rows if row.id != registration_id]
        return len(self.registrations[sip_user_id]) < len(rows)

    async def simulate(self, **asked: Any) -> Simulated:
        self._check()
        self.asked.append(asked)
        return self.simulated

    async def stats(self) -> Stats:
        self._check()
        return Stats(counters=self.counters, gauges={"calls_live": float(len(self.calls))}, gateways=self.gateways)

    async def load(self) -> Load:
        self._check()
        up = Counter(call.customer_id for call in self.calls)
        begun, self.begun = self.begun, Counter()
        customers = {each: (up[each], begun[each]) for each in {*up, *begun}}
        return Load(
            since_s=1.0,
            total=(up.total(), begun.total()),
            customers=customers,
            providers={call.provider_id: (1, 0) for call in self.calls if call.provider_id is not None},
        )

    async def read_accounts(self, customer_ids: Sequence[int] | None = None) -> list[Account]:
        self._check()
        wanted = self.accounts if customer_ids is None else customer_ids
        return [self.accounts[customer_id] for customer_id in wanted if customer_id in self.accounts]

    def _check(self) -> None:
        if not self.is_connected:
            raise SwitchAway


class Clock:
    """Wall time that a test sets."""

    def __init__(self) -> None:
        self.ms = START_MS

    def __call__(self) -> int:
        return self.ms


class ControlPlane:
    """Everything that a test of services or API touches."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self.publisher = FakePublisher()
        self.switch = FakeSwitch()
        self.clock = Clock()
        self.ctx = Context(store, self.publisher, switch=self.switch, data_folder=folder, now_ms=self.clock)
        self.keys: dict[Role, str] = {}
        self.client: httpx.AsyncClient

    async def request(
        self, method: str, path: str, json: Any = None, *, role: Role = "admin", status: int | None = None, **more: Any
    ) -> Any:
        """Ask the API with a key of this role; `status` is what the test expects of the answer."""
        headers = {"Authorization": f"Bearer {self.keys[role]}", **more.pop("headers", {})}
        answer = await self.client.request(method, f"/api/v1{path}", json=json, headers=headers, **more)
        if status is not None:
            assert answer.status_code == status, answer.text
        return answer

    async def get(self, path: str, status: int = 200, **more: Any) -> Any:
        return (await self.request("GET", path, status=status, **more)).json()

    async def post(self, path: str, json: Any, status: int = 201, **more: Any) -> Any:
        return (await self.request("POST", path, json, status=status, **more)).json()

    async def patch(self, path: str, json: Any, status: int = 200, **more: Any) -> Any:
        return (await self.request("PATCH", path, json, status=status, **more)).json()

    async def delete(self, path: str, status: int = 204, **more: Any) -> Any:
        return await self.request("DELETE", path, status=status, **more)

    async def make_customer(self, **fields: Any) -> int:
        return int((await self.post("/customers", {"name": "Acme Voice", **fields}))["id"])

    async def make_provider(self, **fields: Any) -> int:
        return int((await self.post("/providers", {"name": "Vendor One", **fields}))["id"])

    async def make_sell_card(self, **fields: Any) -> int:
        return int((await self.post("/rate-cards", {"name": "Retail", "direction": "sell", **fields}))["id"])

    async def make_buy_card(self, provider_id: int, **fields: Any) -> int:
        body = {"name": "Vendor One prices", "direction": "buy", "provider_id": provider_id, **fields}
        return int((await self.post("/rate-cards", body))["id"])


ROLES: tuple[Role, ...] = ("admin", "operator", "billing", "read-only")


@asynccontextmanager
async def running_control(folder: Path, database: Database = SQLITE) -> AsyncIterator[ControlPlane]:
    """A migrated store, the API over it, and a key of each role."""
    # Migrating costs more than most tests: one store is made a run, and copied.
    url, keys = await database.copy(folder, "control", _issue_keys)
    store = open_store(url)
    plane = ControlPlane(store, folder)
    plane.keys = dict(keys)
    ctx, app = plane.ctx, _shared_app()

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        """In the loop of the test itself, which the store's connections belong to."""
        _serving.set(ctx)
        await app(scope, receive, send)

    transport = httpx.ASGITransport(serve, raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://tandem.test") as client:
            plane.client = client
            yield plane
    finally:
        await store.close()


_serving: ContextVar[Context] = ContextVar("_serving")


class _Serving:
    """Whatever context the request at hand is for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_serving.get(), name)


@cache
def _shared_app() -> Any:
    """One for all planes: making the routes costs as much as a whole test."""
    return create_app(cast(Context, _Serving()))


async def _issue_keys(store: Store) -> dict[Role, str]:
    with tempfile.TemporaryDirectory() as folder:
        context = ControlPlane(store, Path(folder)).ctx
        return {
            role: (await ADMIN_KEYS.issue(context, AdminKeyNew(name=f"test {role}", role=role))).key for role in ROLES
        }


def with_control(test: Callable[[ControlPlane], Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an asynchronous test on a control plane of its own, once on each database."""

    def run(tmp_path: Path, database: Database = SQLITE) -> None:
        async def inside() -> None:
            async with running_control(tmp_path, database) as plane:
                await test(plane)

        asyncio.run(inside())

    run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
    # Pytest takes no argument with a default for a fixture, and tests that call this themselves may leave it out.
    parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("tmp_path", "database")]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def key_of(record: Record) -> Key:
    return Key(kind=str(record.__struct_config__.tag), id=record.id)


def account(customer_id: int, balance_nanos: int, held_nanos: int = 0, **more: int) -> Account:
    """As the switch has it, without a debit limit unless `available_nanos` says other."""
    facts = {"available_nanos": balance_nanos - held_nanos, "spent_today_nanos": 0, "holds": int(held_nanos > 0)}
    return Account(customer_id=customer_id, balance_nanos=balance_nanos, held_nanos=held_nanos, **(facts | more))


def live_call(customer_id: int, cdr_id: str = "0" * 31 + "1") -> LiveCall:
    return LiveCall(
        cdr_id=cdr_id,
        customer_id=customer_id,
        route_id=1,
        endpoint_id=1,
        sip_user_id=None,
        provider_id=1,
        gateway_id=1,
        call_id="abc@192.0.2.1",
        cli="15551230001",
        dialled="442071838750",
        source="192.0.2.1:5060",
        state="answered",
        invited_ms=START_MS,
        answered_ms=START_MS + 2_000,
        duration_ms=5_000,
        held_nanos=1_500_000_000,
    )


def decision(call: LiveCall) -> CallDecision:
    """How a live call was decided, in as few words as there can be."""
    return CallDecision(
        call=call,
        client_id=None,
        cli_in=call.cli,
        cli_out=call.cli,
        dialled_in=call.dialled,
        dialled_out=call.dialled,
        transport="udp",
        currency="USD",
        card_id=1,
        revision_id=1,
        prefix="44",
        destination="UK",
        rate_nanos=10_000_000,
        candidates=(),
        attempts=(),
    )
