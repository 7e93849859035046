"""A link that loses, doubles, delays and reorders, with callers and vendors who do as their dice say.

Peers follow RFC 3261 as far as endings depend on it (they repeat what is not answered, and give up),
and break it now and then as real ones do: no ACK, no answer to a BYE, CANCEL ignored, two forks.
Everything is drawn from one seed, so that a run repeats.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from pathlib import Path
from random import Random

from config.settings import Settings
from switch.snapshot import Record
from switch.wire.errors import ParseError
from switch.wire.message import Request, Response
from tests.fakes.world import CALLER, CHEAP, DEAR, DELAY_S, SDP, SWITCH, Address, Packet, Peer, World

PATIENCE_S = 32.0
NUMBER = "442071234567"


class Dice:
    """How rough a run is; shares of 1."""

    def __init__(self, rng: Random, *, garbles: float = 0.0) -> None:
        self.rng = rng
        self.loses = rng.choice((0.0, 0.0, 0.05, 0.2))
        self.doubles = rng.choice((0.0, 0.1, 0.3))
        self.delays = rng.choice((0.0, 0.3, 0.6))
        self.garbles = garbles
        # Habits of the peers; shares of 1, and spans in seconds that moments are drawn from.
        self.cancels = 0.35
        self.cancels_in = (0.0, 12.0)
        self.is_silent = 0.1
        self.rings_in = (0.0, 6.5)
        self.answers_in = (0.0, 8.0)
        """After ringing."""
        self.statuses: tuple[int, ...] = (200, 200, 200, 200, 486, 503, 500, 404, 302)
        self.caller_leaves = 0.6
        self.callee_leaves = 0.4
        self.talks_for = (0.0, 40.0)
        self.forgets = 0.0
        """A vendor that has answered goes away without a word."""

    def __call__(self, share: float) -> bool:
        return self.rng.random() < share

    def draw(self, span: tuple[float, float]) -> float:
        return self.rng.uniform(*span)


class Storm(World):
    """A world whose link and peers are ruled by dice."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        records: tuple[Record, ...],
        *,
        garbles: float = 0.0,
        settings: Settings | None = None,
        has_decks: bool = False,
    ) -> None:
        self.dice = Dice(Random(seed), garbles=garbles)
        super().__init__(folder, records=records, settings=settings, seed=seed, has_decks=has_decks)
        self.callers = Callers(self, CALLER)
        self.vendors = [Gateway(self, CHEAP), Gateway(self, DEAR)]

    def carry(self, source: Address, target: Address, data: bytes) -> None:
        dice = self.dice
        packet = Packet(self.now, source, target, data)
        self.log.append(packet)
        if target == SWITCH and dice(dice.garbles):
            self._carry_once(Packet(self.now, source, target, garbled(data, dice.rng)))
        for _ in range(2 if dice(dice.doubles) else 1):
            if not dice(dice.loses):
                self._carry_once(packet)

    def _carry_once(self, packet: Packet) -> None:
        delay_s = self.dice.rng.uniform(0.0, 1.5) if self.dice(self.dice.delays) else DELAY_S
        self.later(delay_s, packet)

    def later(self, seconds: float, what: Packet | Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._queue, (self.now + seconds, self._serial, what))  # type: ignore[misc]

    def _deliver(self, packet: Packet | Callable[[], None]) -> None:
        if isinstance(packet, Packet):
            try:
                super()._deliver(packet)
            except ParseError:
                assert packet.target != SWITCH, "the engine lets no ParseError out"
        else:
            packet()

    def kill_one(self) -> None:
        live = self.engine.list_calls(None, self.now)
        if live:
            self.engine.end_call(self.dice.rng.choice(live).cdr_id, self.now)
            self._collect()

    def fail_one_send(self) -> None:
        """A vendor's host says that nobody listens there, to an INVITE that is on its way."""
        waiting = [token for token, sent in self.engine.layer.tokens.items() if sent.method == b"INVITE"]  # type: ignore[attr-defined]
        if waiting:
            self.engine.send_failed(self.dice.rng.choice(waiting), "refused", self.now)
            self._collect()


def garbled(data: bytes, rng: Random) -> bytes:
    """A few bytes changed, taken out or written twice."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out))
        kind = rng.randrange(4)
        if kind == 0:
            out[at] = rng.choice(b'",;<>:@=()\\ \t\r\n%/1aZ\x00\xff')
        elif kind == 1:
            del out[at : at + rng.randint(1, 20)]
        elif kind == 2:
            out[at:at] = out[at : at + rng.randint(1, 20)]
        else:
            out[at:at] = rng.choice((b'"', b"<", b",", b";tag=x", b"\r\n ", b"%zz"))
        if not out:
            return b"\r\n"
    return bytes(out)


class Agent(Peer):
    """What callers and vendors have in common."""

    world: Storm

    def resend(
        self, data: bytes, is_over: Callable[[], bool], interval_s: float = 0.5, left_s: float = PATIENCE_S
    ) -> None:
        """Send now, and again at growing intervals until it is over."""
        if is_over() or left_s <= 0:
            return
        self.send(data)
        self.world.later(interval_s, lambda: self.resend(data, is_over, min(2 * interval_s, 4.0), left_s - interval_s))

    def request(
        self,
        method: str,
        call_id: bytes,
        cseq: int,
        from_value: bytes,
        to_value: bytes,
        branch: str,
        *lines: bytes,
        number: str = NUMBER,
    ) -> bytes:
        host, port = self.address
        head = [
            f"{method} sip:{number}@192.0.2.1:5060 SIP/2.0".encode(),
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{branch}".encode(),
            b"Max-Forwards: 70",
            b"From: " + from_value,
            b"To: " + to_value,
            b"Call-ID: " + call_id,
            f"CSeq: {cseq} {method}".encode(),
            f"Contact: <sip:agent@{host}:{port}>".encode(),
            *lines,
        ]
        body = SDP if method == "INVITE" else b""
        return b"\r\n".join([*head, b"Content-Length: %d\r\n\r\n" % len(body)]) + body


class Call:
    """A call as its caller sees it."""

    def __init__(self, number: int, host: str) -> None:
        self.number = number
        self.call_id = f"sim{number}@{host}".encode()
        self.identity = f"<sip:15557770000@{host}>;tag=c{number}".encode()
        self.invite = b""
        self.cseq = 1
        self.has_response = False
        self.final = 0
        self.finals: set[int] = set()
        self.to_value = b""
        self.acks = True
        self.is_over = False


class Callers(Agent):
    """A customer's trunk with many calls at once."""

    def __init__(self, world: Storm, address: Address) -> None:
        super().__init__(world, address)
        self.calls: dict[bytes, Call] = {}

    def dial(self, number: str = NUMBER) -> None:
        dice = self.world.dice
        call = Call(len(self.calls) + 1, self.address[0])
        call.acks = not dice(0.05)
        self.calls[call.call_id] = call
        to_value = f"<sip:{number}@192.0.2.1>".encode()
        call.invite = self.request("INVITE", call.call_id, 1, call.identity, to_value, f"i{call.number}", number=number)
        self.resend(call.invite, lambda: call.has_response)
        if dice(dice.cancels):
            self.world.later(dice.draw(dice.cancels_in), lambda: self.cancel(call))

    def cancel(self, call: Call) -> None:
        if not call.final:
            data = call.invite.replace(b"INVITE sip", b"CANCEL sip", 1).replace(b"CSeq: 1 INVITE", b"CSeq: 1 CANCEL", 1)
            self.resend(data, lambda: call.final > 0)

    def on_message(self, message: object) -> None:
        if isinstance(message, Response):
            call = self.calls.get(message.call_id)
            if call is not None and message.cseq_method == b"INVITE" and message.cseq == 1:
                self.on_answer(call, message)
            elif call is not None and message.cseq_method == b"INVITE":
                self.send_ack(call, message)
        elif isinstance(message, Request) and message.method not in (b"ACK", b"CANCEL"):
            if self.world.dice(0.9):
                self.reply(message, 200)
            if message.method == b"BYE" and message.call_id in self.calls:
                self.calls[message.call_id].is_over = True

    def on_answer(self, call: Call, response: Response) -> None:
        world, dice = self.world, self.world.dice
        call.has_response = True
        if response.status < 200:
            if response.to_tag and dice(0.03):
                call.to_value = response.to_value()
                self.in_dialog(call, "BYE")
            if response.to_tag and dice(0.2):
                call.cseq += 1
                self.send(
                    self.request(
                        "PRACK",
                        call.call_id,
                        call.cseq,
                        call.identity,
                        response.to_value(),
                        f"p{call.number}x{call.cseq}",
                    )
                )
            return
        is_first = not call.final
        call.final = response.status
        call.finals.add(response.status)
        if response.status >= 300:
            ack = call.invite.replace(b"INVITE sip", b"ACK sip", 1).replace(b"CSeq: 1 INVITE", b"CSeq: 1 ACK", 1)
            if call.acks:
                self.send(ack)
            return
        call.to_value = response.to_value()
        if call.acks:
            self.send_ack(call, response)
        if is_first:
            if dice(0.3):
                world.later(
                    dice.rng.uniform(0.0, 10.0), lambda: self.in_dialog(call, dice.rng.choice(("INVITE", "INFO")))
                )
            if dice(dice.caller_leaves):
                world.later(dice.draw(dice.talks_for), lambda: self.in_dialog(call, "BYE"))

    def send_ack(self, call: Call, response: Response) -> None:
        branch = f"a{call.number}x{self.world.dice.rng.getrandbits(40)}"
        self.send(self.request("ACK", call.call_id, response.cseq, call.identity, response.to_value(), branch))

    def in_dialog(self, call: Call, method: str) -> None:
        if call.is_over:
            return
        call.cseq += 1
        branch = f"d{call.number}x{call.cseq}"
        data = self.request(method, call.call_id, call.cseq, call.identity, call.to_value, branch)
        if method == "BYE":
            call.is_over = True
            self.resend(data, lambda: False, left_s=8.0)
        else:
            self.send(data)


class Ring:
    """An INVITE as a vendor sees it, and the dialog that it may become."""

    def __init__(self, invite: Request, tag: str) -> None:
        self.invite = invite
        self.tag = tag
        self.response = b""
        self.final = 0
        self.is_acked = False
        self.is_over = False
        self.is_forgotten = False


class Gateway(Agent):
    """A vendor."""

    def __init__(self, world: Storm, address: Address) -> None:
        super().__init__(world, address)
        self.rings: dict[bytes, Ring] = {}
        self.by_tag: dict[bytes, Ring] = {}

    def on_message(self, message: object) -> None:
        if not isinstance(message, Request):
            return
        dice = self.world.dice
        method = message.method
        ring = self.by_tag.get(message.to_tag)
        if ring is not None and ring.is_forgotten:
            return
        if method == b"INVITE" and not message.to_tag:
            self.on_invite(message)
        elif method == b"CANCEL":
            self.reply(message, 200)
            cancelled = self.rings.get(message.via.branch)
            if cancelled is not None and not cancelled.final and dice(0.8):
                self.finish(cancelled, 487)
        elif method == b"ACK":
            acked = ring if ring is not None else self.rings.get(message.via.branch)
            if acked is not None:
                acked.is_acked = True
        elif method == b"BYE":
            if ring is not None:
                ring.is_over = True
            if dice(0.9):
                self.reply(message, 200 if ring is not None else 481)
        elif method == b"INVITE" and dice(0.2):
            self.reply(message, 180)  # and never anything else
        elif dice(0.8):
            self.reply(message, dice.rng.choice((200, 200, 200, 491, 500)))

    def on_invite(self, invite: Request) -> None:
        world, dice = self.world, self.world.dice
        ring = self.rings.get(invite.via.branch)
        if ring is not None:
            if ring.response and not ring.final:
                self.send(ring.response)
            return
        ring = Ring(invite, f"t{dice.rng.getrandbits(40):x}")
        self.rings[invite.via.branch] = ring
        self.by_tag[ring.tag.encode()] = ring
        if dice(dice.is_silent):
            return
        at_s = dice.draw(dice.rings_in)
        world.later(dice.rng.uniform(0.0, 0.3), lambda: self.progress(ring, 100))
        if dice(0.8):
            world.later(at_s, lambda: self.progress(ring, dice.rng.choice((180, 183))))
        if dice(0.9):
            status = dice.rng.choice(dice.statuses)
            world.later(at_s + dice.draw(dice.answers_in), lambda: self.finish(ring, status))

    def progress(self, ring: Ring, status: int) -> None:
        if not ring.final:
            ring.response = self.reply(ring.invite, status, tag=ring.tag)

    def finish(self, ring: Ring, status: int) -> None:
        if ring.final:
            return
        dice = self.world.dice
        ring.final = status
        ring.response = self.reply(ring.invite, status, tag=ring.tag, body=SDP if status == 200 else b"")
        self.resend(ring.response, lambda: ring.is_acked)
        if status == 200:
            # Without an ACK it hangs up by itself, as RFC 3261 §13.3.1.4 has it.
            self.world.later(PATIENCE_S + 1.0, lambda: None if ring.is_acked else self.hang_up(ring))
            if dice(dice.callee_leaves):
                self.world.later(dice.draw(dice.talks_for), lambda: self.hang_up(ring))
            if dice(0.05):
                self.reply(ring.invite, 200, tag=f"fork{ring.tag}")
            if dice(dice.forgets):
                self.world.later(dice.draw(dice.talks_for), lambda: self.forget(ring))

    def forget(self, ring: Ring) -> None:
        ring.is_forgotten = ring.is_over = True

    def hang_up(self, ring: Ring) -> None:
        if ring.is_over:
            return
        ring.is_over = True
        invite = ring.invite
        from_value = invite.to_value() + b";tag=" + ring.tag.encode()
        data = self.request("BYE", invite.call_id, 1, from_value, invite.from_value(), f"v{ring.tag}")
        self.resend(data, lambda: False, left_s=8.0)
