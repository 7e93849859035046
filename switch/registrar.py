"""REGISTER: phones say where they are reached (RFC 3261 §10.3).

Who asks is who answers the digest challenge: nobody registers for another user. A contact is bound to the
address, port and connection that its REGISTER came from, whatever its URI says (RFC 3581; and nobody's
REGISTER can make us send a call inside our network). A request changes all its contacts or none.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from config.settings import Registrar as RegistrarSettings
from config.settings import Settings
from switch.answering import Answering, phrase_of
from switch.bindings import Binding
from switch.board import Board
from switch.frames import RegistrationRow
from switch.outputs import Flow
from switch.pings import Pings
from switch.policy.causes import STATUS, Cause
from switch.policy.digest import Accepted, Authenticator
from switch.policy.states import inbound_cause
from switch.registrations import Registration
from switch.snapshot import SipUser
from switch.transaction.server import ServerTransaction
from switch.wire.build import response_to
from switch.wire.errors import ParseError
from switch.wire.headers import AUTHORIZATION, CONTACT, EXPIRES, PATH, REQUIRE, SUPPORTED, USER_AGENT
from switch.wire.message import Request
from switch.wire.name_addr import NameAddr
from switch.wire.uri import parse_uri

URI_BYTES_MAX: Final = 512
PATH_BYTES_MAX: Final = 1_024
INSTANCE_BYTES_MAX: Final = 256
AGENT_MAX: Final = 128
_KNOWN_EXTENSIONS: Final = (b"path", b"outbound")
_HOUR_S: Final = 3_600


class Wish:
    """One Contact of a request."""

    def __init__(self, uri: bytes, expires_s: int, q: int, instance: bytes) -> None:
        self.uri: bytes = uri
        self.expires_s: int = expires_s
        self.q: int = q
        self.instance: bytes = instance


class Refusal(Exception):
    """What a request earns that is no good; `lines` go with it."""

    def __init__(self, status: int, phrase: bytes, lines: list[bytes] | None = None) -> None:
        super().__init__()
        self.status: int = status
        self.phrase: bytes = phrase
        self.lines: list[bytes] = lines or []


class Registrar:
    """One per engine."""

    def __init__(self, board: Board, answering: Answering, authenticator: Authenticator, settings: Settings) -> None:
        self.board: Board = board
        self.answering: Answering = answering
        self.authenticator: Authenticator = authenticator
        self.settings: RegistrarSettings = settings.registrar
        self.pings: Pings = Pings(board, float(settings.registrar.ping_s))
        self._transactions_max: int = settings.limits.transactions_max // 2
        """The other half is kept for calls: one phone run wild must not end them."""

    # REGISTER.

    def receive(self, request: Request, key: bytes, flow: Flow, now: float) -> None:
        """A REGISTER that no transaction knows."""
        board = self.board
        if not self.answering.is_ours(request.target) or self.answering.has_foreign_route(request):
            self.answering.reply(request, flow, 404, b"Not Found")
            return
        checked = self.authenticator.check(
            request.each(AUTHORIZATION), b"REGISTER", request.uri, board.tables, flow.address[0], now
        )
        if not isinstance(checked, Accepted):
            self._challenge(request, flow, checked.cause, checked.stale, now)
            return
        if board.layer.size() >= self._transactions_max:
            board.count("registers_refused")
            self.answering.reply(request, flow, 503, b"Service Unavailable", [b"Retry-After: 60"])
            return
        local = board.hops.locals[flow.listener]
        via_value = request.via.with_source(flow.address[0], flow.address[1])
        server = ServerTransaction(
            board.layer,
            key,
            request,
            self.answering.reply_flow(request, flow),
            via_value,
            is_reliable=local.is_reliable,
        )
        try:
            lines = self._register(checked.user, request, flow, now)
        except Refusal as refusal:
            board.count("registers_refused")
            self._respond(server, request, refusal.status, refusal.phrase, refusal.lines, now)
        except ParseError as error:
            board.count("registers_refused")
            reason = phrase_of(error.status, str(error).encode("utf-8", "replace")[:60])
            self._respond(server, request, error.status, reason, [], now)
        else:
            board.count("registers_accepted")
            self._respond(server, request, 200, b"OK", lines, now)

    def _challenge(self, request: Request, flow: Flow, cause: Cause, is_stale: bool, now: float) -> None:
        self.board.count(cause.value)
        if cause is Cause.CREDENTIALS_THROTTLED:
            status, phrase = STATUS[cause]
            self.answering.reply(request, flow, status, phrase.encode("ascii"))
            return
        lines = self.authenticator.challenge_lines(now, is_stale, b"WWW-Authenticate")
        # Fewer algorithms rather than an answer that is longer than the question. The last one is MD5, which
        # every phone knows, unless the account has been given no hash of it.
        last = "SHA-256" if self._refuses_md5(request) else "MD5"
        for chosen in self.authenticator.shorter_challenges(lines, last):
            if self.answering.reply(request, flow, 401, b"Unauthorized", chosen):
                return

    def _refuses_md5(self, request: Request) -> bool:
        name = parse_uri(NameAddr.parse(request.to_value()).uri).user_text()
        user = self.board.tables.users_by_name.get((name, self.authenticator.realm))
        return user is not None and not user.ha1_md5

    def _respond(
        self, server: ServerTransaction, request: Request, status: int, phrase: bytes, lines: list[bytes], now: float
    ) -> None:
        tag = self.board.ids.tag()
        data = response_to(request, status, phrase, to_tag=tag, extra=lines, via_value=server.via_value)
        server.respond(status, data, now)

    def _register(self, user: SipUser, request: Request, flow: Flow, now: float) -> list[bytes]:
        """Do it, or nothing of it; the lines of the answer.

        Raises:
            Refusal, ParseError: nothing has changed.
        """
        self._check(user, request, flow, now)
        local = self.board.hops.locals[flow.listener]
        path = self._path(request)
        wishes = self._wishes(user, request, now)
        reply_flow = self.answering.reply_flow(request, flow)
        mine = self.board.bindings.listed(user.id, now)
        found: list[Binding | None] = []
        for wish in wishes:
            binding = _same(mine, wish)
            if binding is not None and binding.call_id == request.call_id and binding.cseq >= request.cseq:
                # RFC 3261 §10.3 step 7: an older request that was overtaken changes nothing.
                raise Refusal(500, b"Out Of Order")
            if wish.uri[:5].lower() == b"sips:" and local.transport != "tls":
                raise Refusal(400, b"SIPS Needs TLS")
            found.append(binding)
        self._make_room(mine, wishes, found)
        agent = (request.first(USER_AGENT) or b"").decode("utf-8", "backslashreplace")[:AGENT_MAX]
        is_outbound = False
        for index, wish in enumerate(wishes):
            binding = found[index]
            if wish.expires_s == 0:
                if binding is not None:
                    self.remove(binding)
                continue
            is_outbound = is_outbound or (wish.instance != b"" and local.is_reliable)
            if binding is not None and binding.flow != reply_flow:
                self.board.bindings.discard(binding)
                binding.flow = reply_flow
                self.board.bindings.add(binding)
            is_new = binding is None
            if binding is None:
                binding = Binding(user.id, wish.uri, reply_flow)
                self.board.bindings.add(binding)
            elif binding.uri != wish.uri:
                self._tell_gone(binding)
                binding.uri = wish.uri
                for other in mine:
                    if other.uri == wish.uri and other not in found:
                        self.remove(other)  # one URI is one contact
            binding.path = path
            binding.q = wish.q
            binding.expires_at = now + wish.expires_s
            binding.call_id = request.call_id
            binding.cseq = request.cseq
            binding.user_agent = agent
            binding.registered_at = now
            binding.instance = wish.instance
            binding.misses = 0
            self.pings.watch(binding, now)
            if is_new:
                self.pings.begin(binding, now)
            self._tell(binding)
        return self._answer_lines(user, request, path, is_outbound, now)

    def _check(self, user: SipUser, request: Request, flow: Flow, now: float) -> None:
        tables = self.board.tables
        if REQUIRE in request.ids:
            unknown = [tag for tag in request.all(REQUIRE) if tag.lower() not in _KNOWN_EXTENSIONS]
            if unknown:
                raise Refusal(420, b"Bad Extension", [b"Unsupported: " + b", ".join(unknown)])
        address = parse_uri(NameAddr.parse(request.to_value()).uri)
        if address.user_text() != user.username:
            # RFC 3261 §10.3 step 4: nobody registers for another.
            raise Refusal(403, b"Forbidden")
        if not self.answering.is_ours(address):
            raise Refusal(404, b"Not Found")
        if user.transport is not None and user.transport != self.board.hops.locals[flow.listener].transport:
            raise Refusal(403, b"Forbidden")
        account = tables.account_of(user.customer_id)
        if account is None or account.customer is None:
            raise Refusal(403, b"Forbidden")
        cause = inbound_cause(account.customer, account.client, self.board.now_ms(now))
        if cause is not None:
            status, phrase = STATUS[cause]
            raise Refusal(status, phrase.encode("ascii"))

    def _path(self, request: Request) -> bytes:
        if PATH not in request.ids:
            return b""
        path = b", ".join(request.all(PATH))
        if len(path) > PATH_BYTES_MAX:
            raise Refusal(400, b"Path Too Long")
        return path

    def _wishes(self, user: SipUser, request: Request, now: float) -> list[Wish]:
        settings = self.settings
        general = request.first(EXPIRES)
        general_s = settings.expires_default_s if general is None else _seconds(general, settings.expires_default_s)
        if CONTACT not in request.ids:
            return []
        values = request.all(CONTACT)
        if b"*" in values:
            if len(values) > 1 or general is None or general_s != 0:
                raise Refusal(400, b"Bad Contact")
            return [Wish(each.uri, 0, each.q, each.instance) for each in self.board.bindings.listed(user.id, now)]
        if len(values) > settings.contacts_per_user:
            raise Refusal(403, b"Too Many Contacts")
        wishes: list[Wish] = []
        for value in values:
            address = NameAddr.parse(value)
            uri = parse_uri(address.uri)
            if uri.scheme not in (b"sip", b"sips") or not uri.host or len(address.uri) > URI_BYTES_MAX:
                raise Refusal(400, b"Bad Contact")
            asked = address.params.get(b"expires")
            expires_s = general_s if asked is None else _seconds(asked, general_s)
            if 0 < expires_s < settings.expires_min_s and expires_s < _HOUR_S:
                raise Refusal(423, b"Interval Too Brief", [b"Min-Expires: %d" % settings.expires_min_s])
            # What follows `?` would be headers of its calls, which are nobody's to set (RFC 3261 §19.1.5).
            bare = address.uri.split(b"?", 1)[0]
            instance = b""
            if b"+sip.instance" in address.params and b"reg-id" in address.params:
                instance = (address.params[b"+sip.instance"] + b";" + address.params[b"reg-id"])[:INSTANCE_BYTES_MAX]
            # Named twice, it is one contact all the same: the last word counts.
            wishes = [each for each in wishes if each.uri != bare and (not instance or each.instance != instance)]
            wishes.append(Wish(bare, min(expires_s, settings.expires_max_s), _q(address), instance))
        return wishes

    def _make_room(self, mine: list[Binding], wishes: list[Wish], found: list[Binding | None]) -> None:
        """Let go of a user's oldest contacts where there would be too many: a phone that changed its port must
        not be locked out by what it was.

        Raises:
            Refusal: the whole registrar is full.
        """
        settings = self.settings
        new = 0
        for index, wish in enumerate(wishes):
            if wish.expires_s and found[index] is None:
                new += 1
        if not new:
            return
        if self.board.bindings.count + new > settings.contacts_max:
            raise Refusal(503, b"Service Unavailable", [b"Retry-After: 60"])
        kept = [binding for binding in mine if binding not in found]
        kept.sort(key=_age)
        for binding in kept[: max(0, len(mine) + new - settings.contacts_per_user)]:
            self.remove(binding)

    def _answer_lines(self, user: SipUser, request: Request, path: bytes, is_outbound: bool, now: float) -> list[bytes]:
        lines = []
        for binding in self.board.bindings.listed(user.id, now):
            expires_s = max(1, round(binding.expires_at - now))
            lines.append(
                b"Contact: <%b>;expires=%d;q=%d.%03d" % (binding.uri, expires_s, binding.q // 1000, binding.q % 1000)
            )
        if path:
            lines.append(b"Path: " + path)
        if is_outbound and SUPPORTED in request.ids and b"outbound" in request.all(SUPPORTED):
            # RFC 5626 §6: calls come over this very connection.
            lines.append(b"Require: outbound")
        return lines

    # What else ends a binding.

    def remove(self, binding: Binding) -> None:
        if self.board.bindings.discard(binding):
            self._tell_gone(binding)

    def remove_named(self, user_id: int, name: str, now: float) -> bool:
        """End a contact by the id that `rows` gives it; False: there is none."""
        for binding in self.board.bindings.listed(user_id, now):
            if name_of(binding.uri) == name:
                self.remove(binding)
                return True
        return False

    def forget_user(self, user_id: int) -> None:
        """The user is gone, or has another password: who registered with the old one is not rung any more."""
        for binding in list(self.board.bindings.by_user.get(user_id, ())):
            self.remove(binding)

    def connection_closed(self, connection: int) -> None:
        """RFC 5626 §4.2.2: contacts end with their flow, unless they name an address that can be connected to."""
        bindings = self.board.bindings
        for binding in bindings.over(connection):
            flow = binding.flow
            onward = self._reconnected(binding.uri, flow)
            if binding.instance or binding.path or onward is None:
                self.remove(binding)
            else:
                bindings.move(binding, onward)

    def _reconnected(self, uri: bytes, flow: Flow) -> Flow | None:
        """Where a phone takes connections: on another port of the very address that it came from. None: nowhere."""
        bare = Flow(flow.listener, flow.address)
        onward = self.board.hops.towards(uri, bare)
        return None if onward.address[0] != bare.address[0] or onward.address == bare.address else onward

    # Over restarts, and for the control plane.

    def restore(self, registrations: list[Registration], now: float) -> None:
        """What the process before knew. Connections of then are gone: phones on them come again."""
        board = self.board
        for each in registrations:
            flow = each.flow
            expires_at = each.expires_ms / 1000.0 - board.wall_offset_s
            if (
                each.user_id not in board.tables.users
                or flow.listener >= len(board.hops.locals)
                or board.hops.locals[flow.listener].transport != each.transport
                or expires_at <= now
            ):
                continue
            if flow.connection:
                onward = self._reconnected(each.uri, flow)
                if onward is None or each.instance or each.path:
                    continue
                flow = onward
            binding = Binding(
                each.user_id,
                each.uri,
                flow,
                path=each.path,
                q=each.q,
                # A clock that was set back must not keep a contact for ever.
                expires_at=min(expires_at, now + self.settings.expires_max_s),
                call_id=each.call_id,
                cseq=each.cseq,
                user_agent=each.user_agent,
                registered_at=each.registered_ms / 1000.0 - board.wall_offset_s,
                instance=each.instance,
            )
            board.bindings.add(binding)
            self.pings.watch(binding, now)
            self.pings.begin(binding, now)

    def registrations(self, now: float) -> list[Registration]:
        """All that are in force."""
        return [
            self._written(binding)
            for mine in self.board.bindings.by_user.values()
            for binding in mine
            if binding.expires_at > now
        ]

    def rows(self, user_id: int, now: float) -> list[RegistrationRow]:
        board = self.board
        found: list[RegistrationRow] = []
        for binding in board.bindings.listed(user_id, now):
            host, port = binding.flow.address
            found.append(
                RegistrationRow(
                    id=name_of(binding.uri),
                    contact=binding.uri.decode("utf-8", "backslashreplace"),
                    source=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
                    transport=board.hops.locals[binding.flow.listener].transport,
                    user_agent=binding.user_agent,
                    path=binding.path.decode("utf-8", "backslashreplace"),
                    q=binding.q,
                    registered_ms=board.now_ms(binding.registered_at),
                    expires_ms=board.now_ms(binding.expires_at),
                    answered_ms=board.now_ms(binding.answered_at) if binding.answered_at else None,
                    is_reachable=not binding.is_gone(),
                )
            )
        return found

    def _tell(self, binding: Binding) -> None:
        self.board.registrations.append(self._written(binding))

    def _tell_gone(self, binding: Binding) -> None:
        transport = self.board.hops.locals[binding.flow.listener].transport
        self.board.registrations.append(Registration(binding.user_id, binding.uri, 0, binding.flow, transport))

    def _written(self, binding: Binding) -> Registration:
        board = self.board
        return Registration(
            binding.user_id,
            binding.uri,
            board.now_ms(binding.expires_at),
            binding.flow,
            board.hops.locals[binding.flow.listener].transport,
            binding.path,
            binding.q,
            binding.call_id,
            binding.cseq,
            binding.user_agent,
            board.now_ms(binding.registered_at),
            binding.instance,
        )


def name_of(uri: bytes) -> str:
    """A contact's id: the same for the same URI, and fit for a path."""
    return sha256(uri).hexdigest()[:16]


def _same(mine: list[Binding], wish: Wish) -> Binding | None:
    """The binding that a Contact is about: of the same phone (RFC 5626 §6), or of the same URI."""
    for binding in mine:
        if binding.uri == wish.uri or (wish.instance and binding.instance == wish.instance):
            return binding
    return None


def _age(binding: Binding) -> float:
    return binding.registered_at


def _seconds(value: bytes, default_s: int) -> int:
    """RFC 3261 §10.2.1.1: a malformed value counts as the default."""
    digits = value.strip()
    return min(int(digits), 2**31) if digits.isdigit() and len(digits) <= 10 else default_s


def _q(address: NameAddr) -> int:
    """In thousandths; 1 where it says nothing that can be read."""
    text = address.params.get(b"q", b"")
    whole, _, decimals = text.partition(b".")
    if not whole.isdigit() or (decimals and not decimals.isdigit()) or len(text) > 5:
        return 1_000
    return min(1_000, int(whole) * 1_000 + int((decimals + b"000")[:3]))
