"""Floods, limits under parallel calls, and what is left over when the traffic is gone."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from config.settings import Limits
from sipp_scenarios.places import Place
from switch.snapshot import Customer, Endpoint, Gateway, IngressRoute, Provider, Record
from tests.e2e.peer import SDP, Address, Dialog, Peer, answered_call, hang_up, message, reply
from tests.e2e.plane import Plane
from tests.e2e.traffic import Caller, Vendor

pytestmark = pytest.mark.slow

MIB = 1_048_576
_serial = itertools.count(1)


def request(method: str, here: Address, switch: Address, number: int) -> bytes:
    """A request of nobody, with identifiers of its own."""
    at, to = f"{here[0]}:{here[1]}", f"{switch[0]}:{switch[1]}"
    return message(
        [
            f"{method} sip:{'442071000001@' if method != 'OPTIONS' else ''}{to} SIP/2.0",
            f"Via: SIP/2.0/UDP {at};branch=z9hG4bK-f{number};rport",
            "Max-Forwards: 70",
            f"From: <sip:15551230000@{at}>;tag=f{number}",
            f"To: <sip:442071000001@{to}>",
            f"Call-ID: flood-{number}@{here[0]}",
            f"CSeq: 1 {method}",
            f"Contact: <sip:15551230000@{at}>",
        ],
        SDP if method == "INVITE" else "",
    ).encode()


class Flood(threading.Thread):
    """Sends `count` requests at `per_s` from one address and counts the answers."""

    def __init__(self, here: Address, switch: Address, methods: tuple[str, ...], count: int, per_s: float) -> None:
        super().__init__(daemon=True)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(here)
        self._socket.setblocking(False)
        self._switch = switch
        self._packets = [
            request(methods[number % len(methods)], here, switch, next(_serial)) for number in range(count)
        ]
        self._per_s = per_s
        self.asked_bytes = sum(len(packet) for packet in self._packets)
        self.answers = 0
        self.answered_bytes = 0

    def run(self) -> None:
        began = time.monotonic()
        for number, packet in enumerate(self._packets):
            if number % 50 == 0:
                time.sleep(max(0.0, began + number / self._per_s - time.monotonic()))
                self._count()
            self._socket.sendto(packet, self._switch)
        time.sleep(0.5)
        self._count()
        self._socket.close()

    def _count(self) -> None:
        while True:
            try:
                self.answered_bytes += len(self._socket.recv(65_535))
            except BlockingIOError:
                return
            self.answers += 1


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    made = Plane(tmp_path, drain_s=5.0)
    made.start()
    yield made
    made.kill()
    assert "Traceback" not in made.log(), made.log()[-3000:]


@pytest.mark.parametrize("methods", [("OPTIONS",), ("INVITE", "REGISTER", "SUBSCRIBE")], ids=lambda methods: methods[0])
def test_a_flood_from_nobody_stops_no_call_and_leaves_nothing(plane: Plane, methods: tuple[str, ...]) -> None:
    """5,000 requests a second for five seconds while a customer places calls."""
    with Vendor(plane.vendor, plane.switch), Caller(plane.customer, plane.switch) as caller:
        caller.run(20)
        before = plane.resident_bytes()
        flood = Flood(plane.stranger, plane.switch, methods, 25_000, 5_000)
        flood.start()
        peak = 0
        for _ in range(5):
            caller.run(10, per_s=10, settle_s=10)
            peak = max(peak, int(plane.stats().gauges["transactions"]))
        flood.join()
        assert len(caller.ended) == 70, caller.refused
        assert plane.resident_bytes() - before < 50 * MIB
        assert 0 < flood.answered_bytes <= flood.asked_bytes
        assert flood.answers <= 25_000  # one each, and none again
    # Strangers' requests leave no transaction behind: those seen were the customer's.
    assert peak < 1_000
    plane.wait(lambda: plane.stats().gauges["transactions"] == 0, "the last transactions", 20)
    assert {cdr.call_id for cdr in plane.cdrs()} == caller.ended
    plane.assert_sound()


def test_transactions_stay_under_their_cap_and_end(tmp_path: Path) -> None:
    """A customer's own flood, with a vendor that is deaf: the surplus is refused with 503 and Retry-After."""
    plane = Plane(tmp_path, limits=Limits(transactions_max=400))
    plane.start()
    try:
        with plane.peer(plane.vendor), Caller(plane.customer, plane.switch) as caller:
            caller.run(1_000, per_s=1_000, settle_s=2.0)
            assert plane.stats().gauges["transactions"] <= 400
            assert len(caller.refused) >= 700
            assert {seen.status for seen in caller.refused.values()} == {503}
            assert all(seen.header("Retry-After") for seen in caller.refused.values())
            plane.wait(lambda: plane.stats().gauges["transactions"] == 0, "the end of all", 40)
            assert plane.stats().gauges["calls_live"] == 0
        with Vendor(plane.vendor, plane.switch), Caller(plane.customer, plane.switch) as caller:
            caller.run(5)
            assert len(caller.ended) == 5
        plane.assert_sound()
    finally:
        plane.kill()


def test_a_connection_that_is_reset_under_a_thousand_invites_leaves_nothing(plane: Plane) -> None:
    with Vendor(plane.vendor, plane.switch) as vendor:
        with socket.create_connection(plane.switch, source_address=(plane.customer[0], 0)) as flood:
            here = flood.getsockname()[:2]
            texts = [request("INVITE", here, plane.switch, next(_serial)) for _ in range(1_000)]
            flood.sendall(b"".join(texts).replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP"))
            plane.wait(lambda: len(vendor.answered) > 300, "the calls to be under way")
            flood.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        plane.wait(lambda: plane.stats().gauges["calls_live"] == 0, "the calls to end", 60)
        plane.wait(lambda: plane.stats().gauges["transactions"] == 0, "the transactions to end", 60)
        cdrs = plane.cdrs()
        assert len({cdr.call_id for cdr in cdrs}) == len(cdrs) >= len(vendor.answered)
        assert {cdr.cause for cdr in cdrs} <= {"no_ack", "failed", "cancelled"}
    plane.assert_sound()


LIMITED = 7


def limited(kind: type[Record], field: str) -> Callable[[Place], list[Record]]:
    def records(place: Place) -> list[Record]:
        return [
            replace(record, **{field: LIMITED}) if isinstance(record, kind) else record for record in place.records()
        ]

    return records


@pytest.mark.parametrize("kind", [Customer, Endpoint, IngressRoute, Provider, Gateway], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("field", ["channels", "flow_speed_cps"])
def test_fifty_calls_in_one_moment_pass_a_limit_of_seven_seven_times(
    tmp_path: Path, kind: type[Record], field: str
) -> None:
    plane = Plane(tmp_path, records=limited(kind, field))
    plane.start()
    try:
        with Vendor(plane.vendor, plane.switch) as vendor, Caller(plane.customer, plane.switch) as caller:
            caller.run(50, per_s=1_000_000, hangs_up=False)
            assert len(caller.answered) == LIMITED
            assert len(vendor.answered) == LIMITED
            assert len(caller.refused) == 50 - LIMITED
            assert {seen.status for seen in caller.refused.values()} == {503}
            if field == "channels":
                caller.run(3, hangs_up=False)
                assert len(caller.answered) == LIMITED
                caller.hang_up_all()
                assert len(caller.ended) == LIMITED
                caller.run(50, per_s=1_000_000, hangs_up=False)  # all channels are free again, and no more
                assert len(caller.answered) == 2 * LIMITED
            caller.hang_up_all()
    finally:
        plane.kill()


def test_what_calls_took_is_given_back_when_they_are_over(plane: Plane) -> None:
    """Descriptors, threads, transactions and dialogs after calls by UDP and TCP, good and bad."""
    place_all_kinds_of_calls(plane, 50)  # what is made once, such as a pool of threads, is there now
    plane.wait(lambda: is_idle(plane), "the first calls to be over", 40)
    descriptors, threads, memory = plane.descriptors(), thread_count(plane), plane.resident_bytes()
    place_all_kinds_of_calls(plane, 1_000)
    plane.wait(lambda: is_idle(plane), "all calls to be over", 40)
    # One may be that of the question itself, still being closed.
    plane.wait(lambda: plane.descriptors() <= descriptors + 1, f"{descriptors} descriptors again")
    assert thread_count(plane) == threads
    assert plane.resident_bytes() - memory < 50 * MIB
    assert len(plane.cdrs()) == (50 + 25 + 10) + (1_000 + 500 + 10)


def place_all_kinds_of_calls(plane: Plane, count: int) -> None:
    with Vendor(plane.vendor, plane.switch) as vendor, Caller(plane.customer, plane.switch) as caller:
        caller.run(count, per_s=400, settle_s=15)
        assert len(caller.ended) == count, caller.refused
        vendor.status, vendor.reason = 486, "Busy Here"
        caller.run(count // 2, per_s=400, settle_s=15)
        assert len(caller.refused) == count // 2
        vendor.status, vendor.reason = 200, "OK"
        for _ in range(10):
            with plane.peer((plane.customer[0], 0), "tcp") as other:
                other.send(Dialog(other, "442071000001").invite())
                other.wait_for_final()  # never ACKed, and gone
        plane.wait(lambda: is_idle(plane), "the calls without ACK to end", 40)


def is_idle(plane: Plane) -> bool:
    gauges = plane.stats().gauges
    return not any(gauges[name] for name in ("calls_live", "dialogs", "transactions", "stream_connections"))


def thread_count(plane: Plane) -> int:
    return sum(1 for _ in Path(f"/proc/{plane.pid}/task").iterdir())


@pytest.mark.parametrize("ends", ["hung up", "outlived"])
def test_sigterm_refuses_new_calls_ends_right_and_the_port_is_free_at_once(plane: Plane, ends: str) -> None:
    assert plane.process is not None
    with plane.peer(plane.customer) as caller, plane.peer(plane.vendor) as vendor:
        dialogs = [answered_call(caller, vendor)[0] for _ in range(5)]
        ringing = Dialog(caller, "442071000001")
        caller.send(ringing.invite())
        invite = vendor.wait_for(lambda seen: seen.header("Call-ID") == ringing.call_id)
        vendor.send(reply(vendor, invite, 180, "Ringing"))
        caller.wait_for_status(180)
        plane.process.terminate()
        plane.wait(lambda: "draining" in plane.log(), "the drain")
        late = Dialog(caller, "442071000001")
        caller.send(late.invite())
        refusal = caller.wait_for_final()
        assert refusal.status == 503
        assert int(refusal.header("Retry-After")) > 0
        caller.send(late.ack(refusal))
        # A call that rings may still be answered, one that is up may go on.
        vendor.send(reply(vendor, invite, 200, "OK", body=SDP))
        caller.send(ringing.ack(caller.wait_for_final()))
        dialogs.append(ringing)
        assert plane.is_running()
        if ends == "hung up":
            for dialog in dialogs:
                hang_up(dialog, caller, vendor)
        else:
            answer_byes(caller, vendor, 2 * len(dialogs), 12.0)
        assert plane.process.wait(5.0 + 2.0 + 5.0) == 0
        plane.start()
        again, _ = answered_call(caller, vendor)
        hang_up(again, caller, vendor)
    cdrs = {cdr.call_id: cdr for cdr in plane.cdrs()}
    refused = cdrs.pop(late.call_id)
    assert (refused.cause, refused.status, refused.gross_nanos) == ("draining", 503, 0)
    assert set(cdrs) == {dialog.call_id for dialog in [*dialogs, again]}
    assert {cdrs[dialog.call_id].release for dialog in dialogs} == {"caller" if ends == "hung up" else "switch"}
    assert all(cdr.net_nanos > 0 for cdr in cdrs.values())


def answer_byes(caller: Peer, vendor: Peer, count: int, within_s: float) -> None:
    """200 to the switch's own BYEs on both sides."""
    seen: set[tuple[Address, str]] = set()
    last = time.monotonic() + within_s
    while len(seen) < count and time.monotonic() < last:
        for peer in (caller, vendor):
            bye = peer.receive(0.02)
            if bye is not None and bye.method == "BYE" and not bye.status:
                peer.send(reply(peer, bye, 200, "OK"))
                seen.add((peer.at, bye.header("Call-ID")))
    assert len(seen) == count
