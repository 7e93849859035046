"""The engine: bytes and time go in, outputs come out.

Every message ends up here: it finds its transaction, its dialog, or becomes a new call by way of
policy. The order of admission is: parse, transaction, dialog, policy (`decide`), hold, forward.
Nothing runs between the hold and the forward.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Final

from config.settings import Listener, Settings
from switch.admission import SCHEMES, Admission
from switch.answering import Answering, phrase_of
from switch.billed import BilledCall
from switch.board import Board, options_of
from switch.call.call import dialog_key
from switch.call.hops import DEFAULT_PORT, Hops, Local
from switch.call.leg import Leg
from switch.call.strays import Strays
from switch.farewells import say_again
from switch.frames import Account, CallDecision, Entry, LiveCall, Load, RegistrationRow, Simulate, Simulated, Stats
from switch.inbound_simulation import simulated_inbound
from switch.live_rows import call_decision, live_call, load_of, waiting_call, waiting_decision
from switch.outputs import Flow, GatewayHealth, Outputs, Target
from switch.policy.causes import Cause
from switch.policy.digest import Authenticator
from switch.policy.hashes import ALGORITHMS
from switch.policy.live import CARD, CUSTOMER, DID, ENDPOINT, GATEWAY, PROVIDER, USER, Live, layer_key
from switch.policy.live import ROUTE as ROUTE_LAYER
from switch.policy.simulate import simulated
from switch.policy.tables import Tables
from switch.probing import Probers
from switch.records import AccountState, Beat, Checkpoint, Credited, DeltaApplied
from switch.recovered import Recovered, RecoveredCall
from switch.registrar import Registrar
from switch.registrations import Registration
from switch.restoring import close_lost, restore_call, shift_of
from switch.snapshot import Customer, Delta, Gateway, SipUser, Snapshot
from switch.transaction.client import ClientTransaction
from switch.transaction.layer import Layer, TimerValues, server_key
from switch.transaction.machine import ACCEPTED
from switch.transaction.server import ServerTransaction
from switch.transaction.timers import NEVER
from switch.waiting import Waiting
from switch.wire.errors import ParseError
from switch.wire.headers import PROXY_REQUIRE, REQUIRE
from switch.wire.limits import Limits
from switch.wire.message import Request, Response, parse_message

ALLOW: Final = b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, MESSAGE, NOTIFY"
ACCEPT: Final = b"Accept: application/sdp"

DELTA_RECORDS_MAX: Final = 500
"""A change of more is not written to the journal: some hundred kilobytes at once are enough. Until it is
in the saved configuration, a second or so, a start comes up with the one before it."""
_LAYERS: Final[dict[str, int]] = {
    "customer": CUSTOMER,
    "endpoint": ENDPOINT,
    "sip_user": USER,
    "ingress_route": ROUTE_LAYER,
    "provider": PROVIDER,
    "gateway": GATEWAY,
    "rate_card": CARD,
    "did": DID,
}
"""Kinds of records whose rates, health or turns are remembered beside them."""


class Engine:
    """The whole data plane without its sockets.

    Args:
        listeners: index by index what the shells have bound; ports are real ones.
        deck_folder: where relative deck paths of the snapshot start.
        now: monotonic seconds, as in every other call; `wall_offset_s` added gives the wall clock.
    """

    def __init__(
        self,
        settings: Settings,
        listeners: Sequence[Listener],
        rng: Random,
        wall_offset_s: float = 0.0,
        deck_folder: Path | None = None,
        now: float = 0.0,
    ) -> None:
        timers = settings.timers
        self.layer: Layer = Layer(TimerValues(timers.t1_ms, timers.t2_ms, timers.t4_ms))
        locals_ = [
            Local(index, each.transport, each.host, each.port, each.advertised_host, each.advertised_port)
            for index, each in enumerate(listeners)
        ]
        self.hops: Hops = Hops(locals_, (settings.sip.realm, *settings.sip.domains))
        self.tables: Tables = Tables(deck_folder)
        self.live: Live = Live(settings.limits.calls_max, float(settings.limits.calls_per_second_max) or None)
        self.board: Board = Board(self.layer, self.hops, self.tables, self.live, rng, options_of(settings))
        self.board.wall_offset_s = wall_offset_s
        self.board.calls.liveness.follow(settings.liveness)
        self._strays: Strays = Strays(self.layer, self.hops, self.board.ids)
        self.probers: Probers = Probers(self.board)
        self.authenticator: Authenticator = Authenticator(
            rng.randbytes(32),
            settings.sip.realm,
            settings.sip.nonce_lifetime_s,
            settings.sip.auth_failures_max,
            settings.sip.auth_throttle_s,
            tuple([each for each in ALGORITHMS if each in settings.sip.digest_algorithms]),
        )
        self.answering: Answering = Answering(self.board, rng)
        self.admission: Admission = Admission(self.board, self.answering, self.authenticator, settings)
        self.registrar: Registrar = Registrar(self.board, self.answering, self.authenticator, settings)
        self._is_registrar: bool = settings.registrar.enabled
        self.waiting: dict[bytes, Waiting] = self.admission.waiting
        self._now: float = now
        self._load_read_at: float = now
        """The latest that a shell has said."""
        self._to_keep: list[BilledCall] = []
        """Live calls that have still to be written to the journal's present segment."""
        self.boot_id: str = ""
        """Names the run of the system that monotonic moments belong to."""
        limits = settings.limits
        self._limits: Limits = Limits(
            limits.header_bytes_max,
            limits.header_lines_max,
            limits.line_bytes_max,
            limits.vias_max,
            limits.body_bytes_max,
        )
        self._server_lines: list[bytes] = (
            [b"Server: " + settings.sip.server_name.encode("utf-8")] if settings.sip.server_name else []
        )

    # What the shells call.

    def receive(self, data: bytes, listener: int, source: tuple[str, int], now: float, connection: int = 0) -> None:
        """One message: a datagram, or what the framing of a stream has cut out."""
        self._now = now
        board = self.board
        try:
            message = parse_message(data, self._limits)
        except ParseError as error:
            board.count("messages_malformed")
            request = error.request
            if request is not None and request.method != b"ACK":
                reason = str(error).encode("utf-8", "replace")[:60]
                self.answering.reply(
                    request, Flow(listener, source, connection), error.status, phrase_of(error.status, reason)
                )
            return
        try:
            if isinstance(message, Request):
                self._receive_request(message, Flow(listener, source, connection), now)
            else:
                self._receive_response(message, listener, source, connection, now)
        except ParseError as error:
            # A header that is decoded only when asked turned out to be broken.
            board.count("messages_malformed")
            if isinstance(message, Request) and message.method != b"ACK":
                flow = Flow(listener, source, connection)
                self.answering.reply(
                    message, flow, error.status, phrase_of(error.status, str(error).encode("utf-8", "replace"))
                )

    def handle_timer(self, now: float) -> None:
        self._now = now
        self.layer.timers.run(now)

    def next_deadline(self) -> float | None:
        """When `handle_timer` wants to be called next; None: no timer runs."""
        deadline = self.layer.timers.next_deadline()
        return None if deadline >= NEVER else deadline

    def take_outputs(self) -> Outputs:
        """What has to be done, in order, and forgotten here."""
        board = self.board
        outputs = Outputs(board.records, self.layer.sends, board.events, board.registrations)
        board.records = []
        self.layer.sends = []
        board.events = []
        if board.registrations:
            board.registrations = []
        return outputs

    def send_failed(self, token: int, reason: str, now: float) -> None:
        """A `Send` with that token could not be delivered."""
        transaction = self.layer.tokens.pop(token, None)
        if isinstance(transaction, ClientTransaction):
            transaction.transport_failed(reason, now)

    def connection_closed(self, listener: int, connection: int, now: float) -> None:
        """A stream is gone. Calls outlive it: their peers are reached over a new one."""
        self.board.count("connections_closed")
        self.registrar.connection_closed(connection)

    def set_wall_offset(self, offset_s: float) -> None:
        """Wall clock minus monotonic clock, for calls that begin from now on."""
        self.board.wall_offset_s = offset_s

    def set_targets(self, gateway_id: int, targets: list[Target]) -> None:
        """Addresses of a gateway by name, as RFC 3263 orders them."""
        self.board.set_targets(gateway_id, targets)

    def set_draining(self) -> None:
        self.admission.is_draining = True
        # Nobody waits for what occupies no channel: they are told now, or never.
        for waiting in list(self.waiting.values()):
            waiting.hurry(self._now)

    def store_failed(self, reason: str) -> None:
        """The journal lost its disk: no new call is taken, since none could be billed."""
        if not self.admission.store_failure:
            self.board.alarm("store_failed", reason, self._now)
        self.admission.store_failure = reason

    def store_recovered(self) -> None:
        self.admission.store_failure = ""

    # Configuration.

    def load(self, snapshot: Snapshot) -> None:
        """Take a whole snapshot in place of the one held."""
        before = list(self.tables.gateways)
        users = self.tables.users
        self.tables.load(snapshot)
        self._forget_strangers(users, self.board.bindings.by_user)
        for gateway_id in before:
            if gateway_id not in self.tables.gateways:
                self.board.forget_gateway(gateway_id)
                self.live.forget(layer_key(GATEWAY, gateway_id))
        self.board.list_vendor_ips()
        self.board.accounts.follow(self.tables.customers.values())
        if snapshot.balances is not None:
            self.put_balances(0, snapshot.balances, self._now)
        self._configured()

    def apply(self, delta: Delta) -> None:
        """Take a delta.

        Raises:
            StaleDelta: it does not follow on the version held.
        """
        changed = [each.id for each in delta.put if isinstance(each, SipUser)]
        changed += [key.id for key in delta.remove if key.kind == "sip_user"]
        users = {user_id: self.tables.users[user_id] for user_id in changed if user_id in self.tables.users}
        self.tables.apply(delta)
        self._forget_strangers(users, changed)
        for key in delta.remove:
            if key.kind == "gateway":
                self.board.forget_gateway(key.id)
            layer = _LAYERS.get(key.kind, -1)
            if layer >= 0:
                self.live.forget(layer_key(layer, key.id))
        if any(isinstance(each, Gateway) for each in delta.put) or any(key.kind == "gateway" for key in delta.remove):
            self.board.list_vendor_ips()
        self.board.accounts.follow([each for each in delta.put if isinstance(each, Customer)])
        self._configured(delta if len(delta.put) <= DELTA_RECORDS_MAX else None)

    def _forget_strangers(self, before: dict[int, SipUser], user_ids: Iterable[int]) -> None:
        """Nobody stays registered whose user is gone, or has another password by now."""
        bindings = self.board.bindings.by_user
        for user_id in [user_id for user_id in user_ids if user_id in bindings]:
            old = before.get(user_id)
            user = self.tables.users.get(user_id)
            if user is None or (old is not None and _secrets(old) != _secrets(user)):
                self.registrar.forget_user(user_id)

    def _configured(self, delta: Delta | None = None) -> None:
        now = self._now
        self.probers.follow(now)
        self.board.records.append(DeltaApplied(self.tables.version, self.board.now_ms(now), delta))

    # Money that calls have not moved.

    def entry_id(self) -> int | None:
        """The highest entry of the store's ledger that is in the balances; None: there are none yet."""
        accounts = self.board.accounts
        return accounts.ledger.entry_id if accounts.has_balances else None

    def book(self, entries: Sequence[Entry], now: float) -> None:
        """Bring entries of the store's ledger into the balances, each once."""
        board = self.board
        for entry in entries:
            if board.accounts.ledger.credit(entry.customer_id, entry.id, entry.amount_nanos):
                board.records.append(Credited(entry.id, entry.customer_id, entry.amount_nanos))

    def put_balances(self, entry_id: int, balances: dict[int, int], now: float) -> bool:
        """Begin with these balances; False, and nothing changes, where there are some already."""
        accounts = self.board.accounts
        if accounts.has_balances:
            return False
        accounts.put(entry_id, [AccountState(customer_id, balance) for customer_id, balance in balances.items()])
        self.board.records.append(self.checkpoint(now))
        return True

    def accounts(self, customer_ids: Sequence[int] | None, now: float) -> list[Account]:
        """Accounts as they are now: those asked for that exist, or all."""
        return self.board.accounts.read(customer_ids, self.board.now_ms(now))

    def read_load(self, now: float) -> Load:
        """How many calls are up, and how many were let in since it was asked last."""
        since_s, self._load_read_at = now - self._load_read_at, now
        return load_of(self.board.live, since_s)

    # Over restarts.

    def restore(self, recovered: Recovered, now: float) -> None:
        """Go on where the process before was ended, once its configuration is loaded.

        Balances, holds and answered calls are back after it; calls without an answer are over. What
        the new segment of the journal needs stands first in the records.
        """
        self._now = now
        board = self.board
        if recovered.has_balances:
            board.accounts.put(recovered.entry_id, recovered.accounts)
        if board.accounts.has_balances:
            board.records.append(self.checkpoint(now))
        lost: list[RecoveredCall] = []
        for found in recovered.calls:
            if found.answered is None:
                lost.append(found)
                continue
            shift_s = shift_of(board, found, self.boot_id)
            try:
                call = restore_call(board, found, shift_s, recovered.last_at + shift_s, now)
            except Exception as error:  # one call must not keep the switch from starting
                board.alarm("call_not_restored", f"{found.admitted.id}: {error}", now)
                lost.append(found)
                continue
            board.records.append(call.keep())
            board.count("calls_restored")
        # Their ends come behind the checkpoint: it has their customers' balances without them.
        for found in lost:
            shift_s = shift_of(board, found, self.boot_id)
            try:
                close_lost(board, found, shift_s, recovered.last_at + shift_s, now)
            except Exception as error:  # its prices cannot be read: it has no CDR, and is in the journal before
                board.alarm("call_lost", f"{found.admitted.id}: {error}", now)
        if recovered.boot_id == self.boot_id:
            for ended in recovered.ended:
                try:
                    say_again(board, ended, now)
                except ParseError as error:  # its dialog cannot be rebuilt; it is over and paid for all the same
                    board.alarm("peers_not_told", f"{ended.cdr.id}: {error}", now)

    def restore_registrations(self, registrations: list[Registration], now: float) -> None:
        """Phones go on being reached where they were before, once the configuration is loaded."""
        self.registrar.restore(registrations, now)

    def registrations(self, now: float) -> list[Registration]:
        """All contacts that are in force."""
        return self.registrar.registrations(now)

    def begin_keeping(self) -> None:
        """A new segment of the journal has begun: calls that stand in older ones are to be written again."""
        self.board.keeping += 1
        self._to_keep = [call for call in self.board.calls.live.values() if isinstance(call, BilledCall)]

    def keep_calls(self, count_max: int) -> bool:
        """Write up to so many of them; True once there are none left."""
        board = self.board
        calls = self._to_keep
        while calls and count_max > 0:
            call = calls.pop()
            if call.admitted is not None and call.kept_in < board.keeping:
                call.kept_in = board.keeping
                board.records.append(call.keep())
                count_max -= 1
        return not calls

    def beat(self, now: float) -> None:
        """Write that calls are still up; asked once a second."""
        if self.board.calls.live:
            self.board.records.append(Beat(now))

    def checkpoint(self, now: float) -> Checkpoint:
        """All balances, as of every record that was taken or waits to be."""
        board = self.board
        return Checkpoint(
            at_ms=board.now_ms(now),
            boot_id=self.boot_id,
            entry_id=board.accounts.ledger.entry_id,
            accounts=board.accounts.states(),
            oldest_segment=0,
            has_balances=board.accounts.has_balances,
            live=tuple(board.calls.live),
        )

    # Questions.

    def live_calls(self) -> int:
        return len(self.board.calls.live)

    def list_calls(self, customer_id: int | None, now: float, with_waiting: bool = False) -> list[LiveCall]:
        """Live calls, the oldest first; of one customer, or of all. INVITEs that wait are no calls yet."""
        found: list[LiveCall] = []
        if customer_id is None:
            calls: list[object] = list(self.board.calls.live.values())
        else:
            calls = list(self.live.calls.get(layer_key(CUSTOMER, customer_id), ()))
        for call in calls:
            if isinstance(call, BilledCall):
                found.append(live_call(call, now))
        if with_waiting:
            for waiting in self.waiting.values():
                row = waiting_call(waiting, self.board.now_ms(waiting.arrived_at))
                if customer_id is None or row.customer_id == customer_id:
                    found.append(row)
        found.sort(key=_invited)
        return found

    def read_call(self, cdr_id: str, now: float) -> CallDecision | None:
        """How a live call was decided, or what one waits for; None: it is not up."""
        call = self.board.calls.live.get(cdr_id)
        if isinstance(call, BilledCall):
            return call_decision(call, now)
        waiting = self._waiting_of(cdr_id)
        if waiting is None:
            return None
        transport = self.hops.locals[waiting.flow.listener].transport
        return waiting_decision(waiting, transport, self.board.now_ms(waiting.arrived_at))

    def _waiting_of(self, cdr_id: str) -> Waiting | None:
        for waiting in self.waiting.values():
            if waiting.cdr_id == cdr_id:
                return waiting
        return None

    def end_call(self, cdr_id: str, now: float) -> bool:
        """Hang up a live call on both sides, or refuse one that waits; False if there is none of that id."""
        call = self.board.calls.live.get(cdr_id)
        if call is None:
            waiting = self._waiting_of(cdr_id)
            return waiting is not None and waiting.end(Cause.KILLED, now)
        call.end_by_switch(Cause.KILLED.value, now)
        return True

    def list_registrations(self, user_id: int, now: float) -> list[RegistrationRow]:
        return self.registrar.rows(user_id, now)

    def remove_registration(self, user_id: int, registration_id: str, now: float) -> bool:
        return self.registrar.remove_named(user_id, registration_id, now)

    def simulate(self, request: Simulate, now: float) -> Simulated:
        board = self.board
        inbound = simulated_inbound(board, request, board.now_ms(now), now)
        if inbound is not None:
            return inbound
        return simulated(self.tables, self.live, request, board.now_ms(now), now, board.accounts)

    def stats(self) -> Stats:
        counters = dict(self.board.counters)
        gateways = [
            GatewayHealth(gateway_id=gateway_id, is_up=health.is_up, reason=health.reason, changed_ms=health.changed_ms)
            for gateway_id, health in self.live.health.items()
        ]
        gauges = {
            "calls_live": float(len(self.board.calls.live)),
            "dialogs": float(len(self.board.calls.by_dialog)),
            "transactions": float(self.layer.size()),
            "registrations": float(self.board.bindings.count),
            "snapshot_version": float(self.tables.version),
        }
        return Stats(counters=counters, gauges=gauges, gateways=gateways)

    # Responses.

    def _receive_response(
        self, response: Response, listener: int, source: tuple[str, int], connection: int, now: float
    ) -> None:
        key = response.via.branch + b" " + response.cseq_method
        transaction = self.layer.clients.get(key)
        if transaction is None:
            # None of ours, or of one long over. RFC 3261 §16.7 would have a proxy pass it on
            # statelessly; a switch that bills has nothing to do with calls that it does not know,
            # but to end those that are up.
            self.board.count("responses_unmatched")
            if response.cseq_method == b"INVITE" and 200 <= response.status < 300 and response.to_tag:
                self._receive_stray(response, Flow(listener, source, connection), now)
            return
        via = response.via
        if not self.hops.is_own(via.host, via.port or DEFAULT_PORT):
            # "If there is a mismatch, the response MUST be silently discarded" (RFC 3261 §18.1.2).
            self.board.count("responses_misaddressed")
            return
        self.layer.is_of_call = response.cseq_method != b"OPTIONS" or self._is_in_dialog(response)
        if isinstance(transaction, ClientTransaction):
            transaction.receive(response, now)

    def _is_in_dialog(self, response: Response) -> bool:
        calls = self.board.calls.by_dialog
        call_id = response.call_id
        return dialog_key(call_id, response.from_tag) in calls or dialog_key(call_id, response.to_tag) in calls

    def _receive_stray(self, response: Response, flow: Flow, now: float) -> None:
        """A 2xx to an INVITE of which no transaction is left: of the process before this one, mostly."""
        via = response.via
        if not self.hops.is_own(via.host, via.port or DEFAULT_PORT):
            return
        call = self.board.calls.by_dialog.get(dialog_key(response.call_id, response.from_tag))
        if call is not None and call.receive_stray(response, flow, now):
            self.layer.is_of_call = True
            return
        if flow.address[0] in self.board.vendor_ips and not self._strays.hang_up(response, flow, now):
            self.board.count("strays_ignored")

    # Requests.

    def _receive_request(self, request: Request, flow: Flow, now: float) -> None:
        method = request.method
        layer = self.layer
        if method == b"ACK":
            transaction = layer.servers.get(server_key(request, b"INVITE"))
            if isinstance(transaction, ServerTransaction) and transaction.state != ACCEPTED:
                layer.is_of_call = True
                transaction.receive_ack(now)
            elif (request.to_tag or self._is_to_tagless(request)) and request.max_forwards != 0:
                self._receive_in_dialog(request, b"", flow, now)
            return
        if method == b"CANCEL":
            self._receive_cancel(request, flow, now)
            return
        key = server_key(request, method)
        transaction = layer.servers.get(key)
        if isinstance(transaction, ServerTransaction):
            layer.is_of_call = True
            transaction.receive_copy(now)
            return
        if not self._is_sound(request, flow):
            return
        if request.to_tag:
            self._receive_in_dialog(request, key, flow, now)
        elif method == b"INVITE":
            self.admission.receive_invite(request, key, flow, now)
        elif self._is_to_tagless(request):
            self._receive_in_dialog(request, key, flow, now)
        elif method == b"OPTIONS":
            self._receive_options(request, flow)
        elif method == b"REGISTER" and self._is_registrar and self.tables.users:
            self.registrar.receive(request, key, flow, now)
        else:
            # MESSAGE, SUBSCRIBE and their like: this switch has no service of that name.
            self.board.count("requests_refused")
            self.answering.reply(request, flow, 405, b"Method Not Allowed", [ALLOW])

    def _is_to_tagless(self, request: Request) -> bool:
        """Whether it is for a caller of RFC 2543, whose null tag is a tag like others (RFC 3261 §12.1.1)."""
        return dialog_key(request.call_id, b"") in self.board.calls.by_dialog

    def _is_sound(self, request: Request, flow: Flow) -> bool:
        """RFC 3261 §16.3: what every request has to pass before it is looked at; refused if not."""
        if request.max_forwards == 0 and (request.method != b"OPTIONS" or request.to_tag):
            self.answering.reply(request, flow, 483, b"Too Many Hops")
            return False
        if request.has(PROXY_REQUIRE):
            # Session timers are the one extension that we have as a proxy (RFC 4028 §8).
            unknown = [tag for tag in request.all(PROXY_REQUIRE) if tag.lower() != b"timer"]
            if unknown:
                self.answering.reply(request, flow, 420, b"Bad Extension", [b"Unsupported: " + b", ".join(unknown)])
                return False
        return True

    def _receive_options(self, request: Request, flow: Flow) -> None:
        """Somebody asks whether we are there (RFC 3261 §11.2)."""
        uri = request.target
        if uri.scheme not in SCHEMES:
            self.answering.reply(request, flow, 416, b"Unsupported URI Scheme")
        elif request.first(REQUIRE) is not None:
            unknown = b"Unsupported: " + b", ".join(request.all(REQUIRE))
            self.answering.reply(request, flow, 420, b"Bad Extension", [unknown])
        elif not self.answering.is_ours(uri) or self.answering.has_foreign_route(request):
            self.answering.reply(request, flow, 404, b"Not Found")
        elif self.admission.is_draining:
            self.answering.reply(request, flow, 503, b"Service Unavailable", [b"Retry-After: 30"])
        else:
            self.answering.reply(request, flow, 200, b"OK", [ALLOW, ACCEPT, *self._server_lines])

    def _receive_cancel(self, request: Request, flow: Flow, now: float) -> None:
        """RFC 3261 §9.2, and only from where the INVITE came."""
        transaction = self.layer.servers.get(server_key(request, b"INVITE"))
        if (
            not isinstance(transaction, ServerTransaction)
            or transaction.reply_flow.address[0] != flow.address[0]
            or transaction.reply_flow.connection != flow.connection
        ):
            self.answering.reply(request, flow, 481, b"Call/Transaction Does Not Exist")
            return
        invite = transaction.request
        if invite is not None and (invite.call_id != request.call_id or invite.from_tag != request.from_tag):
            self.answering.reply(request, flow, 481, b"Call/Transaction Does Not Exist")
            return
        self.layer.is_of_call = True
        # The 200 to CANCEL goes first: until it arrives the caller repeats it (RFC 3261 §16.10).
        self.answering.reply(request, flow, 200, b"OK")
        user = transaction.user
        if user is not None and not transaction.has_final():
            user.on_cancel(transaction, request, now)

    def _receive_in_dialog(self, request: Request, key: bytes, flow: Flow, now: float) -> None:
        calls = self.board.calls.by_dialog
        sender: Leg | None = None
        receiver: Leg | None = None
        call = calls.get(dialog_key(request.call_id, request.from_tag))
        if call is not None:
            sender, receiver = call.ingress, call.egress_for(request.to_tag)
        else:
            call = calls.get(dialog_key(request.call_id, request.to_tag))
            if call is not None:
                sender, receiver = call.egress_for(request.from_tag), call.ingress
        if call is None or sender is None or receiver is None:
            self._refuse_in_dialog(request, flow, 481)
        elif not sender.is_from_peer(flow):
            self.board.count("dialog_intruders")
            self._refuse_in_dialog(request, flow, 403)
        else:
            self.layer.is_of_call = True
            via_value = request.via.with_source(flow.address[0], flow.address[1])
            reply_flow = self.answering.reply_flow(request, flow)
            status = call.receive(request, key, sender, receiver, reply_flow, via_value, now)
            if status:
                self._refuse_in_dialog(request, flow, status)

    def _refuse_in_dialog(self, request: Request, flow: Flow, status: int) -> None:
        if status == 422:
            self.admission.refuse_too_short(request, flow)
        elif request.method != b"ACK":
            self.answering.reply(request, flow, status, phrase_of(status, b"Refused"))


def _secrets(user: SipUser) -> tuple[str, str, str]:
    return (user.ha1_md5, user.ha1_sha256, user.ha1_sha512_256)


def _invited(call: LiveCall) -> tuple[int, str]:
    return (call.invited_ms, call.cdr_id)
