"""A small engine for the shells' tests: it keeps what it hears and says what it is told to say."""

from __future__ import annotations

from collections.abc import Sequence

from switch.frames import Account, CallDecision, Entry, LiveCall, Load, RegistrationRow, Simulate, Simulated, Stats
from switch.outputs import Address, Close, Event, Flow, Outputs, Send, Target
from switch.records import AccountState, Beat, Checkpoint, Credited, JournalRecord
from switch.recovered import Recovered
from switch.registrations import Registration
from switch.snapshot import Delta, Snapshot


class EchoEngine:
    """Answers each message with itself, unless `echoes` is false."""

    def __init__(self) -> None:
        self.echoes = True
        self.heard: list[tuple[bytes, int, Address, int]] = []
        self.failed: list[tuple[int, str]] = []
        self.closed: list[int] = []
        self.timers: list[float] = []
        self.deadline: float | None = None
        self.records: list[JournalRecord] = []
        self.sends: list[Send | Close] = []
        self.events: list[Event] = []
        self.targets: dict[int, list[Target]] = {}
        self.snapshots: list[Snapshot] = []
        self.deltas: list[Delta] = []
        self.fault: Exception | None = None
        """Raised once by the next input or command."""
        self.calls: list[str] = []
        self.ended: list[str] = []
        self.is_draining = False
        self.store_failure = ""
        self.wall_offset_s = 0.0
        self.boot_id = ""
        self.is_of_call = False
        self.balances: dict[int, int] = {}
        self.booked_to: int | None = None
        self.recovered: Recovered | None = None
        self.unkept = 0
        self.contacts: list[Registration] = []
        self.rounds = 0
        """Of keeping."""
        self.state = "answered"
        """Of each of `calls`."""

    @property
    def layer(self) -> EchoEngine:
        """It says of each message whether it belongs to a call."""
        return self

    def receive(self, data: bytes, listener: int, source: Address, now: float, connection: int = 0) -> None:
        self._maybe_fail()
        self.heard.append((data, listener, source, connection))
        if self.echoes:
            self.sends.append(Send(Flow(listener, source, connection), data))

    def handle_timer(self, now: float) -> None:
        self.timers.append(now)
        if self.deadline is not None and self.deadline <= now:
            self.deadline = None

    def next_deadline(self) -> float | None:
        return self.deadline

    def take_outputs(self) -> Outputs:
        outputs = Outputs(self.records, self.sends, self.events)
        self.records, self.sends, self.events = [], [], []
        return outputs

    def send_failed(self, token: int, reason: str, now: float) -> None:
        self.failed.append((token, reason))

    def connection_closed(self, listener: int, connection: int, now: float) -> None:
        self.closed.append(connection)

    def load(self, snapshot: Snapshot) -> None:
        self._maybe_fail()
        self.snapshots.append(snapshot)

    def apply(self, delta: Delta) -> None:
        self._maybe_fail()
        self.deltas.append(delta)

    def list_calls(self, customer_id: int | None, now: float, with_waiting: bool = False) -> list[LiveCall]:
        return [
            LiveCall(
                cdr_id=cdr_id, customer_id=1, route_id=None, endpoint_id=None, sip_user_id=None, provider_id=None,
                gateway_id=None, call_id="", cli="", dialled="", source="", state=self.state, invited_ms=0,
                answered_ms=None, duration_ms=0,
            )
            for cdr_id in self.calls
        ]  # fmt: skip

    def read_call(self, cdr_id: str, now: float) -> CallDecision | None:
        return None

    def end_call(self, cdr_id: str, now: float) -> bool:
        self.ended.append(cdr_id)
        if cdr_id not in self.calls:
            return False
        self.calls.remove(cdr_id)
        return True

    def simulate(self, request: Simulate, now: float) -> Simulated:
        return Simulated(is_admitted=False, status=404, cause="no_sell_rate", steps=[request.dialled])

    def stats(self) -> Stats:
        return Stats(counters={"calls_attempted": 3}, gauges={}, gateways=[])

    def set_targets(self, gateway_id: int, targets: list[Target]) -> None:
        self.targets[gateway_id] = targets

    def set_wall_offset(self, offset_s: float) -> None:
        self.wall_offset_s = offset_s

    def set_draining(self) -> None:
        self.is_draining = True

    def store_failed(self, reason: str) -> None:
        self.store_failure = reason

    def store_recovered(self) -> None:
        self.store_failure = ""

    def live_calls(self) -> int:
        return len(self.calls)

    def read_load(self, now: float) -> Load:
        return Load(since_s=1.0)

    def entry_id(self) -> int | None:
        return self.booked_to

    def book(self, entries: Sequence[Entry], now: float) -> None:
        self._maybe_fail()
        for entry in entries:
            self.booked_to = entry.id
            self.balances[entry.customer_id] = self.balances.get(entry.customer_id, 0) + entry.amount_nanos
            self.records.append(Credited(entry.id, entry.customer_id, entry.amount_nanos))

    def put_balances(self, entry_id: int, balances: dict[int, int], now: float) -> bool:
        if self.booked_to is not None:
            return False
        self.booked_to, self.balances = entry_id, dict(balances)
        self.records.append(self.checkpoint(now))
        return True

    def accounts(self, customer_ids: Sequence[int] | None, now: float) -> list[Account]:
        return [
            Account(
                customer_id=key, balance_nanos=nanos, held_nanos=0, available_nanos=nanos, spent_today_nanos=0, holds=0
            )
            for key, nanos in self.balances.items()
            if customer_ids is None or key in customer_ids
        ]  # fmt: skip

    def checkpoint(self, now: float) -> Checkpoint:
        return Checkpoint(
            at_ms=int(now * 1_000),
            boot_id=self.boot_id,
            entry_id=self.booked_to or 0,
            accounts=tuple(AccountState(key, nanos) for key, nanos in self.balances.items()),
            oldest_segment=0,
            has_balances=self.booked_to is not None,
        )

    def restore(self, recovered: Recovered, now: float) -> None:
        self.recovered = recovered
        if recovered.has_balances:
            self.booked_to = recovered.entry_id
            self.balances = {state.customer_id: state.balance_nanos for state in recovered.accounts}
            self.records.append(self.checkpoint(now))

    def begin_keeping(self) -> None:
        self.rounds += 1
        self.unkept = len(self.calls)

    def keep_calls(self, count_max: int) -> bool:
        self.unkept = max(0, self.unkept - count_max)
        return not self.unkept

    def beat(self, now: float) -> None:
        if self.calls:
            self.records.append(Beat(now))

    def restore_registrations(self, registrations: list[Registration], now: float) -> None:
        self.contacts = registrations

    def registrations(self, now: float) -> list[Registration]:
        return self.contacts

    def list_registrations(self, user_id: int, now: float) -> list[RegistrationRow]:
        return []

    def remove_registration(self, user_id: int, registration_id: str, now: float) -> bool:
        return False

    def _maybe_fail(self) -> None:
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault
