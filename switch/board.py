"""What the engine and its calls share: configuration, live state, transactions, and what is to go out."""

from __future__ import annotations

from ipaddress import ip_address
from random import Random
from typing import Final

from config.settings import Settings
from switch.accounts import Accounts
from switch.bindings import Bindings
from switch.call.call import Calls
from switch.call.hops import DEFAULT_PORT, DEFAULT_TLS_PORT, Hops
from switch.call.ids import Ids
from switch.outputs import Alarm, Event, Flow, GatewayHealth, Target
from switch.policy.live import Live
from switch.policy.tables import Tables
from switch.quick_answers import STREAK, QuickAnswers
from switch.records import JournalRecord
from switch.registrations import Registration
from switch.snapshot import Gateway, Provider
from switch.transaction.layer import Layer

_NO_TARGETS: Final[list[Target]] = []
TARGET_REST_S: Final = 30.0
"""An address of a gateway's name that could not be reached is passed over this long (RFC 3263 §4.3)."""
RESTING_MAX: Final = 1_024
"""Addresses at rest before those whose time is over are looked for."""


class Options:
    """The few settings that calls read, flat."""

    def __init__(self) -> None:
        self.first_reply_ms: int = 5_000
        self.pdd_ms: int = 15_000
        self.ring_ms: int = 120_000
        self.max_duration_s: int = 14_400
        self.udp_request_bytes_max: int = 1_300
        self.hold_initial_s: int = 60
        self.hold_max_s: int = 300


def options_of(settings: Settings) -> Options:
    """What of the settings calls ask for."""
    options = Options()
    timers = settings.timers
    options.first_reply_ms = timers.first_reply_ms
    options.pdd_ms = timers.pdd_ms
    options.ring_ms = timers.ring_ms
    options.max_duration_s = timers.max_duration_s
    options.udp_request_bytes_max = settings.limits.udp_request_bytes_max
    options.hold_initial_s = settings.hold.initial_s
    options.hold_max_s = settings.hold.max_s
    return options


class Board:
    """One per engine."""

    def __init__(self, layer: Layer, hops: Hops, tables: Tables, live: Live, rng: Random, options: Options) -> None:
        self.layer: Layer = layer
        self.hops: Hops = hops
        self.tables: Tables = tables
        self.live: Live = live
        self.rng: Random = rng
        self.ids: Ids = Ids(rng)
        self.calls: Calls = Calls()
        self.options: Options = options
        self.accounts: Accounts = Accounts()
        self.bindings: Bindings = Bindings()
        self.quick_answers: QuickAnswers = QuickAnswers()
        self.keeping: int = 0
        """Counts the journal segments of this process: calls know in which they were written last."""
        self.wall_offset_s: float = 0.0
        """Wall clock minus the engine's monotonic clock."""
        self.records: list[JournalRecord] = []
        self.events: list[Event] = []
        self.registrations: list[Registration] = []
        """Contacts that have changed and are not written down yet."""
        self.counters: dict[str, int] = {}
        self._targets: dict[int, list[Target]] = {}
        """What the resolver found for gateways by name."""
        self._literals: dict[int, tuple[Gateway, Flow | None]] = {}
        self.vendor_ips: dict[str, list[int]] = {}
        """Addresses of all gateways, as far as they are known, and which gateways are there."""
        self._resting: dict[tuple[str, str, int], float] = {}

    def now_ms(self, now: float) -> int:
        return int((now + self.wall_offset_s) * 1000.0)

    def count(self, name: str) -> None:
        self.counters[name] = self.counters.get(name, 0) + 1

    def alarm(self, name: str, detail: str, now: float) -> None:
        self.events.append(Alarm(name=name, detail=detail, at_ms=self.now_ms(now)))

    def note_answer(self, provider: Provider, after_s: float, now: float) -> None:
        """A vendor has answered that long after its INVITE."""
        if self.quick_answers.note_answer(provider.id, after_s):
            detail = (
                f"provider {provider.id} {provider.name}: {STREAK} calls in a row answered within 0.1 s of their INVITE"
            )
            self.alarm("quick_answers", detail, now)

    def tell_health(self, gateway_id: int) -> None:
        health = self.live.health_of(gateway_id)
        self.events.append(
            GatewayHealth(gateway_id=gateway_id, is_up=health.is_up, reason=health.reason, changed_ms=health.changed_ms)
        )

    # Where a gateway is.

    def list_vendor_ips(self) -> None:
        """Once per change of a gateway: whose answers need not be short."""
        self.vendor_ips = {}
        for gateway in self.tables.gateways.values():
            self._note_vendor_ip(gateway.host.strip("[]"), gateway.id)
        for gateway_id, targets in self._targets.items():
            for target in targets:
                self._note_vendor_ip(target.ip, gateway_id)

    def _note_vendor_ip(self, ip: str, gateway_id: int) -> None:
        """Whatever stands below zero is a customer's, and nobody's way in."""
        if gateway_id > 0:
            known = self.vendor_ips.setdefault(ip, [])
            if gateway_id not in known:
                known.append(gateway_id)

    def set_targets(self, gateway_id: int, targets: list[Target]) -> None:
        before = self._targets.pop(gateway_id, _NO_TARGETS)
        if targets:
            self._targets[gateway_id] = targets
        else:
            self._literals.pop(gateway_id, None)
        for target in before:
            self._forget_vendor_ip(target.ip, gateway_id)
        for target in targets:
            self._note_vendor_ip(target.ip, gateway_id)

    def _forget_vendor_ip(self, ip: str, gateway_id: int) -> None:
        """An address that a name had is the next tenant's: nobody calls in from there as the vendor any more."""
        known = self.vendor_ips.get(ip)
        gateway = self.tables.gateways.get(gateway_id)
        if known is None or gateway_id not in known or (gateway is not None and gateway.host.strip("[]") == ip):
            return
        known.remove(gateway_id)
        if not known:
            del self.vendor_ips[ip]

    def forget_gateway(self, gateway_id: int) -> None:
        self._targets.pop(gateway_id, None)
        self._literals.pop(gateway_id, None)

    def flow_to(self, gateway: Gateway, now: float) -> Flow | None:
        """Where requests for a gateway go; None while its name is not resolved or no listener fits."""
        known = self._literals.get(gateway.id)
        if known is None or known[0] is not gateway:
            known = (gateway, self._literal_flow(gateway))
            self._literals[gateway.id] = known
        if known[1] is not None:
            return known[1]
        targets = self._targets.get(gateway.id)
        if not targets:
            return None
        return self._draw(gateway, targets, now)

    def tcp_flow_to(self, flow: Flow) -> Flow | None:
        """The same address over TCP, for requests that are too big for UDP (RFC 3261 §18.1.1)."""
        listener = self.hops.listener_for("tcp", flow.address[0])
        return None if listener < 0 else Flow(listener, flow.address)

    def rest_target(self, flow: Flow, now: float) -> None:
        """An address did not answer; others of the same name go first for a while."""
        if len(self._resting) >= RESTING_MAX:
            # Names whose addresses keep changing leave theirs behind.
            self._resting = {target: until for target, until in self._resting.items() if until > now}
        transport = self.hops.locals[flow.listener].transport
        self._resting[transport, flow.address[0], flow.address[1]] = now + TARGET_REST_S

    def _literal_flow(self, gateway: Gateway) -> Flow | None:
        try:
            ip = ip_address(gateway.host.strip("[]")).compressed
        except ValueError:
            return None
        listener = self.hops.listener_for(gateway.transport, ip)
        if listener < 0:
            return None
        port = gateway.port or (DEFAULT_TLS_PORT if gateway.transport == "tls" else DEFAULT_PORT)
        return Flow(listener, (ip, port), 0, "", gateway.tls_verify)

    def _draw(self, gateway: Gateway, targets: list[Target], now: float) -> Flow | None:
        """RFC 2782: lowest priority that is left, shares by weight within it."""
        best: list[Target] = []
        resting: list[Target] = []
        for target in targets:
            if self._resting.get((target.transport, target.ip, target.port), 0.0) > now:
                resting.append(target)
            elif not best or target.priority < best[0].priority:
                best = [target]
            elif target.priority == best[0].priority:
                best.append(target)
        usable = best or resting
        total = sum([target.weight for target in usable])
        chosen = usable[0]
        if len(usable) > 1:
            ticket = self.rng.randrange(total + len(usable))
            for target in usable:
                # A weight of 0 keeps a small chance, as RFC 2782 asks.
                ticket -= target.weight + 1
                if ticket < 0:
                    chosen = target
                    break
        listener = self.hops.listener_for(chosen.transport, chosen.ip)
        if listener < 0:
            return None
        return Flow(listener, (chosen.ip, chosen.port), 0, chosen.server_name, gateway.tls_verify)
