"""TCP as networks and attackers deliver it: in crumbs, in heaps, half, broken, and gone."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from config.settings import Limits
from tests.e2e.bench import Bench, options_to
from tests.e2e.peer import SDP, Peer, answered_call, hang_up, reply

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("streams"), limits=Limits(stream_header_time_s=1.0))
    yield made
    made.close()


@pytest.fixture
def caller(bench: Bench) -> Iterator[Peer]:
    with bench.peer((bench.customer[0], 0), "tcp") as peer:
        yield peer


def test_a_request_that_comes_byte_by_byte_is_processed_once(bench: Bench, caller: Peer) -> None:
    with bench.peer(bench.vendor) as vendor:
        dialog = bench.call(caller)
        data = dialog.invite("Subject: größer als ein Oktett").encode()
        # Two hundred crumbs where it hurts: round the end of the header section, and inside a character.
        blank, letter = data.index(b"\r\n\r\n"), data.index("ö".encode())
        caller.send(data[:letter])
        for at in [*range(letter, letter + 40), *range(letter + 40, blank - 40, 40), *range(blank - 40, len(data))]:
            end = at + 40 if letter + 40 <= at < blank - 40 else at + 1
            caller.send(data[at : min(end, blank - 40) if at < blank - 40 else end])
            time.sleep(0.002)
        vendor.send(reply(vendor, vendor.wait_for_request("INVITE"), 486, "Busy Here"))
        answer = caller.wait_for_final()
        assert answer.status == 486
        caller.send(dialog.ack(answer))
        vendor.drain(0.2)
        assert len([seen for seen in vendor.seen if seen.method == "INVITE"]) == 1
        assert bench.cdr_of(dialog).cause == "busy"


def test_a_hundred_requests_in_one_segment_get_a_hundred_answers(bench: Bench, caller: Peer) -> None:
    caller.send("".join(options_to(bench.switch, caller.at, number, "TCP") for number in range(100)))
    answers = [caller.wait_for_final("OPTIONS") for _ in range(100)]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.header("Call-ID") for answer in answers}) == 100
    assert caller.drain(0.2) == []


def test_keep_alives_are_no_messages(bench: Bench, caller: Peer) -> None:
    caller.send("\r\n\r\n" * 5)
    caller.send("\r\n\r\n" + options_to(bench.switch, caller.at, 1, "TCP") + "\r\n\r\n")
    assert caller.wait_for_final("OPTIONS").status == 200
    assert caller.drain(0.2) == []


@pytest.mark.parametrize(
    "length",
    [
        "-1",
        "abc",
        "0x10",
        "+10",
        "1e3",
        "\u0661\u0660",
        "9" * 30,
        str(2**32 + 32),
        "10\r\nContent-Length: 11",
        "99999999",
    ],
    ids=ascii,
)
def test_a_content_length_that_nobody_can_count_by_closes_the_connection(
    bench: Bench, caller: Peer, length: str
) -> None:
    """And what follows on the stream is never taken for a second message."""
    first = options_to(bench.switch, caller.at, 1, "TCP").replace("Content-Length: 0", f"Content-Length: {length}")
    caller.send(first + "x" * 32 + options_to(bench.switch, caller.at, 2, "TCP"))
    assert caller.is_closed()
    assert {seen.status for seen in caller.seen} <= {400, 413, 513}
    assert len(caller.seen) <= 1
    bench.assert_alive()


def test_a_request_without_content_length_ends_the_stream(bench: Bench, caller: Peer) -> None:
    caller.send(options_to(bench.switch, caller.at, 1, "TCP").replace("Content-Length: 0\r\n", ""))
    assert caller.is_closed()
    assert [seen.status for seen in caller.seen] in ([400], [])


def test_half_a_header_is_cut_off_in_time_and_delays_nobody(bench: Bench) -> None:
    stalled = []
    try:
        for _ in range(200):
            peer = bench.peer((bench.stranger[0], 0), "tcp")
            stalled.append(peer)
            peer.send("OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/TCP x;branch=z9hG4bK")
        began = time.monotonic()
        bench.assert_alive()
        assert time.monotonic() - began < 0.5
        time.sleep(1.6)  # the limit of this bench is 1 s
        assert all(peer.is_closed(0.5) for peer in stalled)
    finally:
        for peer in stalled:
            peer.__exit__()


def test_a_connection_that_is_reset_in_mid_flood_leaves_nothing_behind(bench: Bench) -> None:
    with bench.peer(bench.vendor) as vendor:
        before = len(bench.cdrs())
        with socket.create_connection(bench.switch, source_address=(bench.customer[0], 0)) as flood:
            flood.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            here = flood.getsockname()
            peer = Peer((bench.stranger[0], 0), bench.switch)
            texts = []
            for _ in range(100):
                dialog = bench.call(peer)
                texts.append(dialog.invite().replace("SIP/2.0/UDP", "SIP/2.0/TCP").replace(peer.at[0], here[0]))
            flood.sendall("".join(texts).encode())
        ends = time.monotonic() + 12
        while len(bench.cdrs()) < before + 100 and time.monotonic() < ends:
            request = vendor.receive(0.2)
            if request is not None and not request.status and request.method in ("INVITE", "CANCEL"):
                status = (486, "Busy Here") if request.method == "INVITE" else (200, "OK")
                vendor.send(reply(vendor, request, *status))
        vendor.drain(0.3)
        peer.__exit__()
        cdrs = bench.cdrs()[before:]
        # The reset may overtake what the kernel had not handed over yet: those never came.
        assert len(cdrs) <= 100
        assert {cdr.net_nanos for cdr in cdrs} <= {0}
        bench.assert_alive()


def test_a_call_outlives_the_connection_that_it_came_by(bench: Bench) -> None:
    with bench.peer(bench.vendor) as vendor:
        with bench.peer(bench.customer, "tcp") as caller:
            dialog, invite = answered_call(caller, vendor)
        with bench.peer((bench.customer[0], 0), "tcp") as caller:
            dialog.peer = caller
            hang_up(dialog, caller, vendor)
        assert bench.cdr_of(dialog).cause == "normal"
        assert SDP.encode() == invite.body
