"""The real engine between a caller and two vendors, under a fake clock and a link that can lose.

Time is a number that `run_for` advances. Every message that crosses the link stands in
`world.log`; `world.loses` decides which arrive. Peers are scripted: a vendor does what its
`behaviour` says for each INVITE, a caller does what the test tells it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec

from config.settings import Listener, Settings, Sip
from rating.decks import compile_deck
from rating.rows import RateRow
from switch.engine import Engine
from switch.outputs import Event, Send
from switch.records import CallEnded, Cdr, JournalRecord
from switch.recovered import recover
from switch.snapshot import Record, Snapshot
from switch.tap import Tap
from switch.wire.errors import ParseError
from switch.wire.headers import CONTACT, FROM, RECORD_ROUTE, TO, VIA
from switch.wire.message import Message, Request, Response, parse_message
from tests.fakes.carrier import DEFAULT_DECKS, DEFAULT_RECORDS

Address = tuple[str, int]

SWITCH: Address = ("192.0.2.1", 5060)
CALLER: Address = ("192.0.2.10", 5060)
CHEAP: Address = ("198.51.100.1", 5060)
DEAR: Address = ("198.51.100.2", 5060)
WALL_S = 1_780_000_000.0
DELAY_S = 0.001

SDP = b"v=0\r\no=u 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 6000 RTP/AVP 8 0\r\n"


class Packet(NamedTuple):
    at: float
    source: Address
    target: Address
    data: bytes

    @property
    def message(self) -> Message:
        return parse_message(self.data)

    @property
    def name(self) -> str:
        """`INVITE`, or `200 INVITE`."""
        message = self.message
        if isinstance(message, Response):
            return f"{message.status} {message.cseq_method.decode()}"
        assert isinstance(message, Request)
        return message.method.decode()


class Peer:
    """Anybody at an address: sends bytes, keeps what it receives."""

    def __init__(self, world: World, address: Address) -> None:
        self.world = world
        self.address = address
        self.received: list[Message] = []
        self.answers_options = 200
        """What it answers inside a dialog when it is asked whether the call is up; 0: nothing."""
        world.peers[address] = self

    def send(self, data: bytes) -> None:
        self.world.carry(self.address, SWITCH, data)

    def on_message(self, message: Message) -> None:
        self.received.append(message)
        if not isinstance(message, Request) or message.method != b"OPTIONS" or not message.to_tag:
            return
        if self.answers_options:
            self.reply(message, self.answers_options)

    def statuses(self, method: str = "INVITE") -> list[int]:
        """Of the responses to such requests, in order, but for 100 Trying."""
        return [
            r.status
            for r in self.received
            if isinstance(r, Response) and r.cseq_method.decode() == method and r.status != 100
        ]

    def requests(self, method: str = "") -> list[Request]:
        return [r for r in self.received if isinstance(r, Request) and method in ("", r.method.decode())]

    def last(self, status: int) -> Response:
        return [r for r in self.received if isinstance(r, Response) and r.status == status][-1]

    def reply(
        self, request: Request, status: int, *, tag: str = "", body: bytes = b"", extra: Iterable[bytes] = ()
    ) -> bytes:
        """Answer a request as a UA does; returns the bytes, so that a test can repeat them."""
        lines = [b"SIP/2.0 %d X" % status]
        for line, header in zip(request.lines, request.ids, strict=True):
            if header in (VIA, RECORD_ROUTE, FROM) or line.lower().startswith((b"call-id", b"cseq")):
                lines.append(line)
            elif header == TO:
                add = b";tag=" + tag.encode() if tag and not request.to_tag and status > 100 else b""
                lines.append(line + add)
        lines.append(b"Contact: <sip:peer@%b:%d>" % (self.address[0].encode(), self.address[1]))
        lines.extend(extra)
        lines.append(b"Content-Length: %d\r\n\r\n" % len(body))
        data = b"\r\n".join(lines) + body
        self.send(data)
        return data


class Caller(Peer):
    """A customer's trunk: one dialog at a time is enough for a test."""

    def __init__(self, world: World, address: Address = CALLER) -> None:
        super().__init__(world, address)
        self.serial = 0
        self.invite_data = b""
        self.call_id = ""
        self.acks_failures = True

    def on_message(self, message: Message) -> None:
        super().on_message(message)
        if (
            self.acks_failures
            and isinstance(message, Response)
            and message.status >= 300
            and message.cseq_method == b"INVITE"
            and message.call_id == self.call_id.encode()
        ):
            self.ack_failure()

    def invite(
        self,
        number: str = "442071234567",
        *,
        extra: Iterable[bytes] = (),
        host: str = "192.0.2.1",
        uri: str = "",
        cli: str = "15557770000",
        call_id: str = "",
        branch: str = "",
        body: bytes = SDP,
        kind: bytes = b"application/sdp",
    ) -> bytes:
        self.serial += 1
        self.call_id = call_id or f"call{self.serial}@{self.address[0]}"
        self.branch = branch or f"z9hG4bKc{self.serial}x{self.address[0].replace('.', 'x')}"
        self.number = number
        self.cli = cli
        self.invite_data = (
            b"\r\n".join(
                [
                    f"INVITE {uri or f'sip:{number}@{host}:5060'} SIP/2.0".encode(),
                    self._via(self.branch),
                    b"Max-Forwards: 70",
                    *self._identity(),
                    b"CSeq: 1 INVITE",
                    f"Contact: <sip:{cli}@{self.address[0]}:{self.address[1]}>".encode(),
                    *extra,
                    b"Content-Type: " + kind,
                    b"Content-Length: %d\r\n\r\n" % len(body),
                ]
            )
            + body
        )
        self.send(self.invite_data)
        return self.invite_data

    def cancel(self) -> bytes:
        invite = parse_message(self.invite_data)
        assert isinstance(invite, Request)
        data = b"\r\n".join(
            [
                b"CANCEL " + invite.uri + b" SIP/2.0",
                self._via(self.branch),
                b"Max-Forwards: 70",
                *self._identity(),
                b"CSeq: 1 CANCEL",
                b"Content-Length: 0\r\n\r\n",
            ]
        )
        self.send(data)
        return data

    def ack(self, cseq: int = 1) -> bytes:
        return self.in_dialog("ACK", cseq)

    def ack_failure(self) -> bytes:
        response = [r for r in self.received if isinstance(r, Response) and r.status >= 300][-1]
        invite = parse_message(self.invite_data)
        assert isinstance(invite, Request)
        if response.via.branch != invite.via.branch:
            return b""
        data = b"\r\n".join(
            [
                b"ACK " + invite.uri + b" SIP/2.0",
                self._via(self.branch),
                b"Max-Forwards: 70",
                *self._identity(to=b"To: " + response.to_value()),
                b"CSeq: 1 ACK",
                b"Content-Length: 0\r\n\r\n",
            ]
        )
        self.send(data)
        return data

    def bye(self, cseq: int = 2) -> bytes:
        return self.in_dialog("BYE", cseq)

    def in_dialog(
        self,
        method: str,
        cseq: int,
        *,
        extra: Iterable[bytes] = (),
        to: bytes = b"",
        source: Peer | None = None,
        body: bytes = b"",
    ) -> bytes:
        """A request inside the dialog that the last response with a tag opened."""
        opened = [r for r in self.received if isinstance(r, Response) and r.to_tag and 100 < r.status < 300][-1]
        contact = _uri_of(opened.first(CONTACT))
        self.serial += 1
        data = b"\r\n".join(
            [
                method.encode() + b" " + contact + b" SIP/2.0",
                self._via(f"z9hG4bKd{self.serial}{method}"),
                b"Max-Forwards: 70",
                *[b"Route: " + value for value in _routes_of(opened)],
                *self._identity(to=b"To: " + (to or opened.to_value())),
                f"CSeq: {cseq} {method}".encode(),
                *extra,
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
            ]
        )
        (source or self).send(data)
        return data

    def _via(self, branch: str) -> bytes:
        return f"Via: SIP/2.0/UDP {self.address[0]}:{self.address[1]};branch={branch}".encode()

    def _identity(self, to: bytes = b"") -> list[bytes]:
        return [
            f'From: "{self.cli}" <sip:{self.cli}@{self.address[0]}>;tag=caller{self.call_id[:6]}'.encode(),
            to or f"To: <sip:{self.number}@192.0.2.1>".encode(),
            f"Call-ID: {self.call_id}".encode(),
        ]


class Vendor(Peer):
    """A carrier's gateway. `behaviour` lists the statuses it answers an INVITE with, in order."""

    def __init__(self, world: World, address: Address, tag: str) -> None:
        super().__init__(world, address)
        self.tag = tag
        self.behaviour: tuple[int, ...] = (100, 180, 200)
        self.extra: dict[int, list[bytes]] = {}
        self.answers_bye = True
        self.honours_cancel = True
        self.invites: list[Request] = []
        self.copies = 0

    def on_message(self, message: Message) -> None:
        super().on_message(message)
        if not isinstance(message, Request):
            return
        method = message.method
        if method == b"INVITE" and not message.to_tag:
            if any(seen.via.branch == message.via.branch for seen in self.invites):
                self.copies += 1
                return
            self.invites.append(message)
            for status in self.behaviour:
                self.answer(status)
        elif method == b"CANCEL":
            self.reply(message, 200, tag=self.tag)
            if self.honours_cancel and not any(status >= 200 for status in self.behaviour):
                self.answer(487)
        elif method == b"BYE" and self.answers_bye:
            self.reply(message, 200)

    def answer(self, status: int, tag: str = "") -> bytes:
        """Answer the last INVITE."""
        body = SDP if status == 200 else b""
        return self.reply(self.invites[-1], status, tag=tag or self.tag, body=body, extra=self.extra.get(status, ()))

    def in_dialog(
        self, method: str, cseq: int, *, extra: Iterable[bytes] = (), tag: str = "", body: bytes = b""
    ) -> bytes:
        """A request of the callee to the caller."""
        invite = self.invites[-1]
        routes = [b"Route: " + value for value in invite.all(RECORD_ROUTE)]
        data = b"\r\n".join(
            [
                method.encode() + b" " + _uri_of(invite.first(CONTACT)) + b" SIP/2.0",
                f"Via: SIP/2.0/UDP {self.address[0]}:5060;branch=z9hG4bKv{method}{cseq}".encode(),
                b"Max-Forwards: 70",
                *routes,
                b"From: " + invite.to_value() + b";tag=" + (tag or self.tag).encode(),
                b"To: " + invite.from_value(),
                b"Call-ID: " + invite.call_id,
                f"CSeq: {cseq} {method}".encode(),
                *extra,
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
            ]
        )
        self.send(data)
        return data


class World:
    """One engine, one caller, two vendors; more peers by making them."""

    def __init__(
        self,
        folder: Path,
        *,
        records: Iterable[Record] = DEFAULT_RECORDS,
        decks: dict[str, tuple[RateRow, ...]] | None = None,
        settings: Settings | None = None,
        loses: Callable[[Packet], bool] | None = None,
        seed: int = 1,
        has_decks: bool = False,
    ) -> None:
        """`has_decks`: all that the records name are in the folder already."""
        for name, rows in {} if has_decks else {**DEFAULT_DECKS, **(decks or {})}.items():
            compile_deck(rows, folder / name)
        self.now = 1_000.0
        base = settings or Settings()
        self.settings = msgspec.structs.replace(
            base, sip=msgspec.structs.replace(base.sip, listeners=(Listener(transport="udp", host=SWITCH[0]),))
        )
        self.folder = folder
        self.records = tuple(records)
        self.seed = seed
        self.wall_offset_s = WALL_S - self.now
        self.tap: Tap | None = None
        """Keeps messages, where a test puts one in."""
        self.journal: list[JournalRecord] = []
        """Every record, as it would come back from the disk."""
        self.engine = self._new_engine("boot 1")
        self.engine.load(Snapshot(version=1, records=self.records, balances={}))
        self.loses = loses or (lambda packet: False)
        self.log: list[Packet] = []
        self.cdrs: list[Cdr] = []
        self.events: list[Event] = []
        self.peers: dict[Address, Peer] = {}
        self._queue: list[tuple[float, int, Packet]] = []
        self._serial = 0
        self.caller = Caller(self)
        self.cheap = Vendor(self, CHEAP, "cheap")
        self.dear = Vendor(self, DEAR, "dear")
        self._collect()

    def _new_engine(self, boot_id: str) -> Engine:
        listeners = self.settings.sip.listeners
        engine = Engine(self.settings, listeners, Random(self.seed), self.wall_offset_s, self.folder, now=self.now)
        engine.boot_id = boot_id
        return engine

    def crash(self, *, down_s: float = 1.0, boot_s: float = 0.0, kept: int | None = None, beats: bool = True) -> None:
        """End the switch without a word and start it again from its journal.

        Args:
            down_s: nobody answers that long; what arrives meanwhile is lost.
            boot_s: not 0: the machine boots, and its monotonic clock begins there. Peers go by the same
                clock, so this is only for calls that are asked nothing but their CDR.
            kept: so many records survive; None: all.
            beats: its last words are that calls are up.
        """
        if beats:
            self.engine.beat(self.now)
        self._collect()
        del self.journal[len(self.journal) if kept is None else kept :]
        recovered = recover(self.journal)
        self._queue = [entry for entry in self._queue if entry[0] > self.now + down_s]
        heapq.heapify(self._queue)
        self.now += down_s
        self.seed += 1
        if boot_s:
            self.wall_offset_s += self.now - boot_s
            self.now = boot_s
        self.engine = self._new_engine(f"boot {boot_s}" if boot_s else "boot 1")
        self.engine.load(Snapshot(version=1, records=self.records))
        self.engine.restore(recovered, self.now)
        self._collect()

    def balance(self, customer_id: int = 1) -> int:
        return self.engine.board.accounts.ledger.accounts[customer_id].balance_nanos

    def held(self, customer_id: int = 1) -> int:
        return self.engine.board.accounts.ledger.accounts[customer_id].held_nanos

    def carry(self, source: Address, target: Address, data: bytes) -> None:
        packet = Packet(self.now, source, target, data)
        self.log.append(packet)
        if not self.loses(packet):
            self._serial += 1
            heapq.heappush(self._queue, (self.now + DELAY_S, self._serial, packet))

    def run_for(self, seconds: float) -> None:
        """Let everything happen that happens in that time, in its order."""
        until = self.now + seconds
        while True:
            arrival = self._queue[0][0] if self._queue else until + 1
            deadline = self.engine.next_deadline()
            due = until + 1 if deadline is None else max(deadline, self.now)
            if min(arrival, due) > until:
                break
            if arrival <= due:
                self.now = arrival
                self._deliver(heapq.heappop(self._queue)[2])
            else:
                self.now = due
                self.engine.handle_timer(self.now)
                self._collect()
        self.now = until

    def _deliver(self, packet: Packet) -> None:
        if packet.target == SWITCH:
            receive = self.engine.receive if self.tap is None else self.tap.receive
            receive(packet.data, 0, packet.source, self.now)
            self._collect()
        else:
            peer = self.peers.get(packet.target)
            if peer is not None:
                peer.on_message(packet.message)

    def _collect(self) -> None:
        outputs = self.engine.take_outputs()
        self.journal.extend(_through_the_disk(record) for record in outputs.records)
        self.cdrs.extend(record.cdr for record in outputs.records if isinstance(record, CallEnded))
        self.events.extend(outputs.events)
        if self.tap is not None:
            self.tap.note_sends(outputs.sends, self.now)
        for send in outputs.sends:
            assert isinstance(send, Send)
            self.carry(SWITCH, send.flow.address, send.data)

    # What tests ask.

    def sent(self, name: str, to: Address) -> list[float]:
        """When the switch sent such messages there, in seconds since the world began."""
        return [round(p.at - 1_000.0, 3) for p in self.log if p.source == SWITCH and p.target == to and p.name == name]

    def names_to(self, to: Address) -> list[str]:
        return [p.name for p in self.log if p.source == SWITCH and p.target == to]

    def talk(self, seconds: float = 60.0) -> None:
        """A whole answered call up to just before its end."""
        self.caller.invite()
        self.run_for(0.1)
        self.caller.ack()
        self.run_for(seconds)

    def assert_idle(self) -> None:
        """Nothing is left: no call, no dialog, no transaction, no channel, no running timer."""
        engine = self.engine
        assert engine.board.calls.live == {}
        assert engine.board.calls.by_dialog == {}
        assert engine.waiting == {}
        assert engine.layer.servers == {}
        assert engine.layer.clients == {}
        assert engine.layer.tokens == {}
        assert engine.live.calls == {}
        assert engine.live._kbps == {}
        assert engine.layer.timers.running() == 0


def _through_the_disk(record: JournalRecord) -> JournalRecord:
    read: JournalRecord = msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=JournalRecord)
    return read


def settings(**sip: object) -> Settings:
    """Default settings with some of `[sip]` changed."""
    return Settings(sip=msgspec.structs.replace(Sip(), **sip))


def _uri_of(contact: bytes | None) -> bytes:
    """The URI of a Contact; where it has none, one that says so."""
    uri = (contact or b"").strip(b"<>")
    return uri if uri.startswith(b"sip:") else b"sip:nobody@invalid."


def _routes_of(opened: Message) -> list[bytes]:
    """The route set as the caller has it; none where it cannot be read."""
    try:
        return opened.all(RECORD_ROUTE)[::-1]
    except ParseError:
        return []
