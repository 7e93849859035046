"""Where a call's time goes, without sockets: µs of one step of the switch at a time.

Run it as `.venv/bin/python -P bench/micro.py` for the installed build, or with PYTHONPATH=. for the
sources. It is for finding what to improve; `run.py` is what counts.
"""

from __future__ import annotations

import itertools
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.append(str(HERE))

from deck import make_prefixes  # noqa: E402
from tandem import write_decks, write_snapshot  # noqa: E402

REPEATS = 5
PREFIXES = 20_000
SDP = (
    "v=0\r\no=trunk 71846502 71846502 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 6000 RTP/AVP 8 0 18 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"
    "a=rtpmap:18 G729/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n"
)


def best_us(step: Callable[[int], None], count: int) -> float:
    """Least time of several runs: whatever else the machine does only adds to it."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        step(count)
        times.append((time.perf_counter() - began) / count * 1e6)
    return min(times)


def invite(serial: int, number: str) -> bytes:
    call = f"{serial}-4711@127.0.0.1"
    head = (
        f"INVITE sip:1234{number}@127.0.0.1:5060 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-4711-{serial}-0\r\n"
        f'From: "442071000000" <sip:442071000000@127.0.0.1:5070>;tag=4711a{serial}\r\n'
        f"To: <sip:1234{number}@127.0.0.1:5060>\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\n"
        "Contact: <sip:442071000000@127.0.0.1:5070>\r\nMax-Forwards: 70\r\nUser-Agent: wholesale-trunk/2.3\r\n"
        "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE\r\nSupported: timer, 100rel\r\n"
        f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n\r\n{SDP}"
    )
    return head.encode()


def response(request: bytes, status: bytes, to_tag: bytes, body: bytes = b"") -> bytes:
    """A vendor's answer to a request that the switch has sent."""
    kept = (b"Via:", b"From:", b"Call-ID:", b"CSeq:", b"Record-Route:")
    lines = [b"SIP/2.0 " + status]
    for line in request.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        if line.startswith(kept):
            lines.append(line)
        elif line.startswith(b"To:"):
            lines.append(line if b";tag=" in line else line + b";tag=" + to_tag)
    lines += [b"Contact: <sip:carrier@127.0.0.1:5080>", b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, b"", body])


def within_dialog(method: str, serial: int, number: str, answer: bytes, cseq: int) -> bytes:
    """The caller's ACK or BYE to an answered call, by the route that the 200 gives."""
    lines = answer.split(b"\r\n\r\n")[0].decode().split("\r\n")
    routes = [line.partition(":")[2].strip() for line in lines if line.startswith("Record-Route:")][::-1]
    to = next(line for line in lines if line.startswith("To:"))
    out = [f"{method} sip:carrier@127.0.0.1:5080 SIP/2.0"]
    out.append(f"Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-4711-{serial}-{cseq}{method}")
    out.append(f'From: "442071000000" <sip:442071000000@127.0.0.1:5070>;tag=4711a{serial}')
    out += [to, *(f"Route: {route}" for route in routes), f"Call-ID: {serial}-4711@127.0.0.1", f"CSeq: {cseq} {method}"]
    out += ["Contact: <sip:442071000000@127.0.0.1:5070>", "Max-Forwards: 70", "Content-Length: 0", "", ""]
    return "\r\n".join(out).encode()


def measure_parser(numbers: list[str]) -> None:
    from switch.wire.message import parse_message

    call = [invite(serial, numbers[serial % len(numbers)]) for serial in range(200)]
    answers = [response(data, b"200 OK", b"b1", SDP.encode()) for data in call]

    def parse(messages: list[bytes]) -> Callable[[int], None]:
        def step(count: int) -> None:
            for index in range(count):
                parse_message(messages[index % 200])

        return step

    print(f"parse INVITE            {best_us(parse(call), 5_000):8.2f} µs")
    print(f"parse 200               {best_us(parse(answers), 5_000):8.2f} µs")


def measure_policy(folder: Path, numbers: list[str]) -> None:
    import msgspec

    from switch.policy.decide import Facts, decide
    from switch.policy.live import Live
    from switch.policy.tables import Tables
    from switch.snapshot import Snapshot

    tables = Tables(folder)
    tables.load(msgspec.msgpack.decode((folder / "snapshot.msgpack").read_bytes(), type=Snapshot))
    live = Live()

    def step(count: int) -> None:
        for index in range(count):
            number = "1234" + numbers[index % len(numbers)]
            decide(tables, live, Facts("127.0.0.1", "udp", number, "442071000000", 1_700_000_000_000, 1.0))

    print(f"decide                  {best_us(step, 5_000):8.2f} µs")


class World:
    """A caller and a vendor around one engine; every call is answered and hung up by the caller."""

    def __init__(self, folder: Path, numbers: list[str]) -> None:
        import msgspec

        from config.settings import Listener, Settings, Sip
        from switch.engine import Engine
        from switch.snapshot import Snapshot

        self._now = 1.0
        settings = Settings(sip=Sip(allow_loopback=True))
        listener = Listener(transport="udp", host="127.0.0.1", port=5060)
        self.engine = Engine(settings, [listener], random.SystemRandom(), 1.7e9, folder, 1.0)
        self.engine.load(msgspec.msgpack.decode((folder / "snapshot.msgpack").read_bytes(), type=Snapshot))
        self.engine.put_balances(0, {}, self._now)
        self.engine.take_outputs()
        self.records: list[Any] = []
        self._numbers = numbers
        self._serial = 0
        self.engine_s = 0.0
        """Time inside the engine alone."""

    def _say(self, data: bytes, port: int) -> list[bytes]:
        engine = self.engine
        now = self._now
        source = ("127.0.0.1", port)
        began = time.perf_counter()
        engine.receive(data, 0, source, now)
        if (engine.next_deadline() or 1e18) <= now:
            engine.handle_timer(now)
        outputs = engine.take_outputs()
        self.engine_s += time.perf_counter() - began
        if self._serial == 1:
            self.records.extend(outputs.records)
        return [send.data for send in outputs.sends]  # type: ignore[union-attr]

    def call(self) -> None:
        """INVITE, 180, 200, ACK, BYE, 200: six messages in, and what the engine sends for them."""
        self._serial += 1
        self._now += 0.001
        serial = self._serial
        number = self._numbers[serial % len(self._numbers)]
        invited = self._say(invite(serial, number), 5070)[-1]
        assert invited.startswith(b"INVITE"), invited
        self._say(response(invited, b"180 Ringing", b"b%d" % serial), 5080)
        answered = self._say(response(invited, b"200 OK", b"b%d" % serial, SDP.encode()), 5080)[-1]
        self._say(within_dialog("ACK", serial, number, answered, 1), 5070)
        bye = self._say(within_dialog("BYE", serial, number, answered, 2), 5070)[-1]
        assert bye.startswith(b"BYE"), bye
        done = self._say(response(bye, b"200 OK", b"x"), 5080)[-1]
        assert done.startswith(b"SIP/2.0 200"), done


def measure_calls(folder: Path, numbers: list[str]) -> None:
    world = World(folder, numbers)

    def step(count: int) -> None:
        for _ in range(count):
            world.call()

    step(500)
    times = []
    for _ in range(REPEATS):
        world.engine_s = 0.0
        step(2_000)
        times.append(world.engine_s / 2_000 * 1e6)
    print(f"whole call, engine only {min(times):8.2f} µs")


def measure_money(folder: Path, numbers: list[str]) -> None:
    """What holds and the journal add to a call: a part of the whole above, and what comes behind it."""
    import msgspec

    from rating.quotes import Quote, Tariff
    from rating.rows import RateRow
    from switch.accounts import Accounts
    from switch.segments import encode_record
    from switch.snapshot import Customer

    customer = Customer(id=1, name="Acme", status="active", debit_limit_nanos=10**15, time_zone="Europe/London")
    accounts = Accounts()
    accounts.follow([customer])
    quote = Quote(RateRow("44", "UK", 98_000_000, 30, 6), Tariff(), 200_000, 1, 1, 1_700_000_000_000)

    serial = itertools.count()

    def hold(count: int) -> None:
        for _ in range(count):
            call_id = f"{next(serial):032x}"
            accounts.hold(customer, call_id, quote, 60, 1_700_000_000_000)
            accounts.settle(1, call_id, 98_000_000, 1_700_000_000_000)

    print(f"hold and settle         {best_us(hold, 5_000):8.2f} µs")
    world = World(folder, numbers)
    world.call()
    records = world.records
    encode = msgspec.msgpack.Encoder().encode

    def write(count: int) -> None:
        for index in range(count):
            b"".join([encode_record(index, encode(record)) for record in records])

    size = len(b"".join([encode_record(1, encode(record)) for record in records]))
    names = ", ".join([str(record.__struct_config__.tag) for record in records])
    print(f"journal records         {best_us(write, 5_000):8.2f} µs   {size} bytes: {names}")


def measure_ring(folder: Path, numbers: list[str]) -> None:
    """What keeping a message costs: the ring by itself over several of its rounds, and the whole of the tap."""
    from switch.outputs import Flow, Send
    from switch.ring import Ring
    from switch.tap import Tap

    ring = Ring(folder / "messages.ring", 32 << 20)
    data = invite(1, numbers[0])
    source = ("127.0.0.1", 5070)

    def add(count: int) -> None:
        for index in range(count):
            ring.add(0, 0, source, data, index)

    class Engine:
        """Takes messages, and does nothing."""

        is_of_call = True

        def receive(self, data: bytes, listener: int, source: tuple[str, int], now: float, connection: int) -> None:
            self.is_of_call = True

    engine: Any = Engine()
    tap = Tap(engine, engine, ring, 20)
    sends = [Send(Flow(0, source), data)] * 4

    def keep(count: int) -> None:
        for _ in range(count // 8):
            for _ in range(4):
                tap.receive(data, 0, source, 1.0)
            tap.note_sends(sends, 1.0)

    print(f"ring, a message         {best_us(add, 100_000):8.2f} µs   {len(data)} bytes")
    print(f"tap, a message          {best_us(keep, 100_000):8.2f} µs   received or sent")


def main() -> None:
    from switch.build import build_name

    print(f"build: {build_name()}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = make_prefixes(PREFIXES)
        write_decks(folder, rows)
        write_snapshot(folder)
        numbers = [(prefix + "0123456789")[:12] for prefix, _ in rows[:: PREFIXES // 1_000]]
        measure_parser(numbers)
        measure_policy(folder, numbers)
        measure_calls(folder, numbers)
        measure_money(folder, numbers)
        measure_ring(folder, numbers)


if __name__ == "__main__":
    main()
