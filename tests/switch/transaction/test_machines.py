"""The four machines under a fake clock, on UDP and on streams, held against RFC 3261 §17 and RFC 6026."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.build import is_compiled
from switch.outputs import Flow, Send
from switch.transaction import machine
from switch.transaction.client import ClientTransaction, ClientUser
from switch.transaction.layer import Layer, TimerValues, server_key
from switch.transaction.server import ServerTransaction
from switch.wire.message import Request, Response, parse_message

FLOW = Flow(0, ("192.0.2.10", 5060))

pytestmark = pytest.mark.skipif(is_compiled(), reason="a listener of a test cannot inherit from a compiled class")


def request(method: str = "INVITE", branch: str = "z9hG4bKx", via: str = "192.0.2.10") -> Request:
    data = (
        f"{method} sip:1@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch={branch}\r\nMax-Forwards: 70\r\n"
        f"From: <sip:a@x>;tag=f\r\nTo: <sip:1@192.0.2.1>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    )
    parsed = parse_message(data.encode())
    assert isinstance(parsed, Request)
    return parsed


def response(status: int, method: str = "INVITE", tag: str = "t") -> Response:
    data = (
        f"SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\nFrom: <sip:a@x>;tag=f\r\n"
        f"To: <sip:1@192.0.2.1>;tag={tag}\r\nCall-ID: c\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    )
    parsed = parse_message(data.encode())
    assert isinstance(parsed, Response)
    return parsed


class Heard(ClientUser):
    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.reasons: list[str] = []

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        self.statuses.append(response.status)

    def on_no_response(self, transaction: ClientTransaction, reason: str, now: float) -> None:
        self.reasons.append(reason)


class Bench:
    """One layer and a clock that runs its timers in order."""

    def __init__(self) -> None:
        self.layer = Layer(TimerValues())
        self.now = 0.0
        self.sent: list[tuple[float, bytes]] = []
        self.heard = Heard()

    def client(self, method: str = "INVITE", *, is_reliable: bool = False) -> ClientTransaction:
        data = request(method).data
        transaction = ClientTransaction(
            self.layer, b"z9hG4bKx", method.encode(), data, FLOW, self.heard, is_reliable=is_reliable
        )
        transaction.start(self.now)
        self.collect()
        return transaction

    def server(self, method: str = "INVITE", *, is_reliable: bool = False) -> ServerTransaction:
        asked = request(method)
        return ServerTransaction(
            self.layer, server_key(asked, asked.method), asked, FLOW, asked.via.raw, is_reliable=is_reliable
        )

    def collect(self) -> None:
        for send in self.layer.sends:
            assert isinstance(send, Send)
            self.sent.append((round(self.now, 3), send.data.split(b" ", 1)[0]))
        self.layer.sends = []

    def run_for(self, seconds: float) -> None:
        until = self.now + seconds
        while self.layer.timers.next_deadline() <= until:
            self.now = max(self.now, self.layer.timers.next_deadline())
            self.layer.timers.run(self.now)
            self.collect()
        self.now = until

    def times(self, what: bytes) -> list[float]:
        return [at for at, name in self.sent if name == what]

    def assert_gone(self) -> None:
        assert self.layer.servers == {}
        assert self.layer.clients == {}
        assert self.layer.tokens == {}
        assert self.layer.timers.running() == 0


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_timers_a_and_b_double_up_to_32_seconds(bench: Bench) -> None:
    bench.client()
    bench.run_for(40)
    assert bench.times(b"INVITE") == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert bench.heard.reasons == ["timeout"]
    bench.assert_gone()


def test_timers_e_and_f_double_up_to_t2(bench: Bench) -> None:
    bench.client("OPTIONS")
    bench.run_for(40)
    assert bench.times(b"OPTIONS") == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert bench.heard.reasons == ["timeout"]
    bench.assert_gone()


def test_a_provisional_slows_a_non_invite_to_t2_and_stops_an_invite(bench: Bench) -> None:
    invite = bench.client()
    bench.run_for(0.1)
    invite.receive(response(100), bench.now)
    bench.run_for(200)
    assert bench.times(b"INVITE") == [0]
    assert invite.has_provisional()
    other = Bench()
    options = other.client("OPTIONS")
    other.run_for(0.1)
    options.receive(response(100, "OPTIONS"), other.now)
    other.run_for(10)
    assert other.times(b"OPTIONS") == [0, 0.5, 4.5, 8.5]


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_nothing_is_repeated_on_a_stream(bench: Bench, method: str) -> None:
    bench.client(method, is_reliable=True)
    bench.run_for(40)
    assert bench.times(method.encode()) == [0]
    assert bench.heard.reasons == ["timeout"]


def test_each_copy_of_a_failure_is_acked_and_only_the_first_is_passed_up(bench: Bench) -> None:
    invite = bench.client()
    for _ in range(4):
        invite.receive(response(486), bench.now)
        bench.collect()
        bench.run_for(1)
    assert len(bench.times(b"ACK")) == 4
    assert bench.heard.statuses == [486]
    bench.run_for(32)
    bench.assert_gone()


def test_the_ack_to_a_failure_goes_to_the_same_hop_with_the_responses_to(bench: Bench) -> None:
    invite = bench.client()
    invite.receive(response(486, tag="busy"), bench.now)
    (send,) = [s for s in bench.layer.sends if isinstance(s, Send)]
    ack = parse_message(send.data)
    assert isinstance(ack, Request)
    assert (ack.method, ack.uri, ack.cseq, ack.cseq_method) == (b"ACK", b"sip:1@192.0.2.1", 1, b"ACK")
    assert ack.via.branch == b"z9hG4bKx"
    assert ack.to_tag == b"busy"


def test_every_2xx_is_passed_up_for_32_seconds_and_never_acked_here(bench: Bench) -> None:
    invite = bench.client()
    for _ in range(3):
        invite.receive(response(200), bench.now)
        bench.run_for(1)
    assert bench.heard.statuses == [200, 200, 200]
    assert bench.times(b"ACK") == []
    bench.run_for(30)
    bench.assert_gone()


def test_a_failed_transport_is_reported_at_once(bench: Bench) -> None:
    invite = bench.client()
    invite.transport_failed("refused", bench.now)
    assert bench.heard.reasons == ["refused"]
    bench.assert_gone()


def test_timers_g_and_h_repeat_a_failure_until_32_seconds(bench: Bench) -> None:
    server = bench.server()
    assert server.respond(486, b"SIP/2.0 486", bench.now)
    bench.collect()
    bench.run_for(40)
    assert bench.times(b"SIP/2.0") == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    bench.assert_gone()


def test_the_ack_ends_the_repeats_and_timer_i_absorbs_its_copies(bench: Bench) -> None:
    server = bench.server()
    server.respond(486, b"SIP/2.0 486", bench.now)
    bench.collect()
    bench.run_for(0.2)
    server.receive_ack(bench.now)
    bench.run_for(3)
    server.receive_ack(bench.now)
    assert bench.times(b"SIP/2.0") == [0]
    assert server.state == machine.CONFIRMED
    bench.run_for(3)
    bench.assert_gone()


def test_copies_of_an_invite_get_the_last_provisional_and_after_the_2xx_nothing(bench: Bench) -> None:
    server = bench.server()
    server.receive_copy(bench.now)
    bench.collect()
    assert bench.sent == []
    server.respond(180, b"SIP/2.0 180", bench.now)
    server.receive_copy(bench.now)
    bench.collect()
    assert len(bench.sent) == 2
    server.respond(200, b"SIP/2.0 200", bench.now)
    bench.collect()
    server.receive_copy(bench.now)
    bench.collect()
    assert len(bench.sent) == 3
    # The callee's own copies of its 2xx pass (RFC 6026 §7.1).
    assert server.respond(200, b"SIP/2.0 200", bench.now)
    bench.run_for(33)
    bench.assert_gone()


def test_a_second_final_response_is_refused(bench: Bench) -> None:
    server = bench.server()
    server.respond(486, b"SIP/2.0 486", bench.now)
    assert not server.respond(200, b"SIP/2.0 200", bench.now)
    assert not server.respond(180, b"SIP/2.0 180", bench.now)


def test_a_non_invite_answer_is_repeated_to_copies_until_timer_j(bench: Bench) -> None:
    server = bench.server("BYE")
    server.receive_copy(bench.now)
    server.respond(200, b"SIP/2.0 200", bench.now)
    server.receive_copy(bench.now)
    bench.collect()
    assert len(bench.sent) == 2
    bench.run_for(33)
    bench.assert_gone()


@pytest.mark.parametrize(("method", "status"), [("BYE", 200), ("BYE", 404)])
def test_timer_j_is_zero_on_streams(bench: Bench, method: str, status: int) -> None:
    server = bench.server(method, is_reliable=True)
    server.respond(status, b"SIP/2.0 %d" % status, bench.now)
    bench.assert_gone()


def test_the_ack_of_an_invite_finds_its_transaction_and_other_sent_bys_do_not() -> None:
    invite, ack = request(), request("ACK")
    assert server_key(invite, b"INVITE") == server_key(ack, b"INVITE")
    assert server_key(invite, b"INVITE") != server_key(request(via="192.0.2.10:5061"), b"INVITE")
    assert server_key(invite, b"INVITE") != server_key(request(branch="z9hG4bKy"), b"INVITE")


def test_peers_of_rfc_2543_are_matched_without_a_magic_cookie() -> None:
    assert server_key(request(branch="1"), b"INVITE") == server_key(request("ACK", branch="1"), b"INVITE")
    assert server_key(request(branch="1"), b"INVITE") != server_key(request("BYE", branch="1"), b"BYE")


ALL_EVENTS = range(machine.TRANSPORT_ERROR + 1)


@pytest.mark.parametrize("table", [machine.INVITE_SERVER, machine.NON_INVITE_SERVER])
def test_no_server_machine_leaves_a_final_state_backwards(table: machine.Table) -> None:
    order = [
        machine.TRYING,
        machine.CALLING,
        machine.PROCEEDING,
        machine.ACCEPTED,
        machine.COMPLETED,
        machine.CONFIRMED,
        machine.TERMINATED,
    ]
    for state, row in table.items():
        for target, _ in row.values():
            assert order.index(target) >= order.index(state)
    assert table[machine.TERMINATED] == {}


@given(
    st.lists(
        st.tuples(st.sampled_from([100, 180, 183, 200, 299, 302, 404, 486, 503, 603]), st.floats(0, 10)), max_size=12
    )
)
def test_whatever_a_peer_sends_the_invite_client_ends_within_its_times(answers: list[tuple[int, float]]) -> None:
    bench = Bench()
    invite = bench.client()
    for status, wait in answers:
        bench.run_for(wait)
        if invite.state == machine.TERMINATED:
            break
        invite.receive(response(status), bench.now)
        bench.collect()
    bench.run_for(65)
    finals = [status for status in bench.heard.statuses if status >= 200]
    if not finals and 100 not in bench.heard.statuses and not bench.heard.statuses:
        assert bench.heard.reasons == ["timeout"]
    # One failure at most is told, and nothing but 2xx after a 2xx.
    assert sum(status >= 300 for status in finals) <= 1
    if finals and finals[0] < 300:
        assert all(status < 300 for status in finals)
    if finals or bench.heard.reasons:
        bench.assert_gone()
