"""Messages that are cut, too long, miscounted or made to cost time: refused or dropped, and nothing passes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from config.settings import Limits
from tests.e2e.peer import SDP, Dialog, Peer, Seen, answered_call, hang_up, message, reply
from tests.e2e.plane import Plane

pytestmark = pytest.mark.slow

COST_S = 0.05
"""Processor time that one message may cost."""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    made = Plane(tmp_path_factory.mktemp("framing"), limits=Limits(stream_header_time_s=1.0))
    made.start()
    yield made
    assert made.stop() == 0
    assert "Traceback" not in made.log(), made.log()[-3000:]


@pytest.fixture
def vendor(plane: Plane) -> Iterator[Peer]:
    with plane.peer(plane.vendor) as peer:
        yield peer


@pytest.fixture
def caller(plane: Plane) -> Iterator[Peer]:
    """On a port of its own: what the switch repeats to the test before does not come here."""
    with plane.peer((plane.customer[0], 0)) as peer:
        yield peer


METHODS = ["INVITE", "OPTIONS", "REGISTER", "SUBSCRIBE", "NOTIFY", "MESSAGE", "INFO", "PRACK", "UPDATE"]
METHODS += ["REFER", "PUBLISH", "BYE", "CANCEL", "ACK"]
SHAPES = [*METHODS, "compact", "folded", "many", 100, 180, 200, 486]


def whole_message(plane: Plane, here: tuple[str, int], shape: str | int) -> str:
    """A valid message of that shape from `here`."""
    at, to = f"{here[0]}:{here[1]}", f"{plane.switch[0]}:{plane.switch[1]}"
    if isinstance(shape, int):
        first, method = f"SIP/2.0 {shape} Whatever", "INVITE"
        via = f"SIP/2.0/UDP {to};branch=z9hG4bK-nobody"
    else:
        method = shape if shape in METHODS else "INVITE"
        first = f"{method} sip:{'442071000001@' if method != 'OPTIONS' else ''}{to} SIP/2.0"
        via = f"SIP/2.0/UDP {at};branch=z9hG4bK-whole-{shape};rport"
    lines = [
        first,
        f"Via: {via}",
        *(f"Via: SIP/2.0/UDP 192.0.2.{number};branch=z9hG4bK-{number}" for number in range(20) if shape == "many"),
        "Max-Forwards: 70",
        f'From: "A \\"quoted\\" name" <sip:15551230000@{at}>;tag=whole',
        f"To: <sip:442071000001@{to}>",
        f"Call-ID: whole-{shape}@{here[0]}",
        f"CSeq: 7 {method}",
        f"Contact: <sip:15551230000@{at}>",
        "Subject: one\r\n  two\r\n\tthree" if shape == "folded" else "Subject: one two three",
    ]
    text = message(lines, SDP if method in ("INVITE", "UPDATE") and not isinstance(shape, int) else "")
    if shape == "compact":
        for name, short in (("Via", "v"), ("From", "f"), ("To", "t"), ("Call-ID", "i"), ("Contact", "m")):
            text = text.replace(f"\n{name}: ", f"\n{short}: ")
        text = text.replace("\nContent-Length: ", "\nl: ").replace("\nContent-Type: ", "\nc: ")
    return text


@pytest.mark.parametrize("shape", SHAPES)
def test_every_prefix_of_a_valid_message_is_dropped_or_answered_400(
    plane: Plane, caller: Peer, vendor: Peer, shape: str | int
) -> None:
    data = whole_message(plane, caller.at, shape).encode()
    for end in range(1, len(data)):
        caller.send(data[:end])
        if end % 100 == 0:
            caller.drain(0.03)
    caller.drain(0.3)
    assert {seen.status for seen in caller.seen} <= {400}
    call_id = f"whole-{shape}@{caller.at[0]}"
    assert passed_on(vendor, call_id) == []
    assert call_id not in {cdr.call_id for cdr in plane.cdrs()}
    plane.assert_sound()
    if shape in ("folded", "many", "INVITE"):
        caller.send(data)  # whole, it is a call
        invite = vendor.wait_for(lambda seen: seen.header("Call-ID") == call_id)
        vendor.send(reply(vendor, invite, 486, "Busy Here"))
        caller.wait_for(lambda seen: seen.status == 486)


LENGTHS = ["-1", "abc", "0x10", "+10", "1e3", "\u0661\u0660", "9" * 30, str(2**32), "99999", "10\r\nContent-Length: 11"]


@pytest.mark.parametrize("length", LENGTHS, ids=ascii)
def test_a_datagram_with_a_wrong_content_length_is_answered_400(
    plane: Plane, caller: Peer, vendor: Peer, length: str
) -> None:
    dialog = Dialog(caller, "442071000001")
    caller.send(dialog.invite().replace("Content-Length: ", "Content-Length: " + length + "\r\nX-Was: "))
    assert caller.wait_for_final().status == 400
    assert passed_on(vendor, dialog.call_id) == []


def passed_on(vendor: Peer, call_id: str, within_s: float = 0.1) -> list[Seen]:
    """What the vendor gets of that call; others are repeats of what an earlier test left open."""
    return [seen for seen in vendor.drain(within_s) if call_id in seen.data.decode("utf-8", "replace")]


def too_much(invite: str, what: str) -> str:
    head, _, rest = invite.partition("Max-Forwards")
    added = {
        "lines": "X-Some: thing\r\n" * 300,
        "vias": "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n" * 80,
        "listed vias": "Via: " + ", ".join(["SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"] * 80) + "\r\n",
        "line": "X-Long: " + "x" * 8_300 + "\r\n",
        "uri": "",
        "folded": "X-Folded: a\r\n" + " folded\r\n" * 1_200,
        "header": ("X-Big: " + "x" * 8_000 + "\r\n") * 9,
    }[what]
    if what == "uri":
        head = head.replace("sip:442071000001@", "sip:" + "4" * 8_300 + "@", 1)
    return head + added + "Max-Forwards" + rest


@pytest.mark.parametrize("what", ["lines", "vias", "listed vias", "line", "uri", "folded", "header"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_header_section_beyond_the_limits_is_refused(plane: Plane, vendor: Peer, what: str, transport: str) -> None:
    with plane.peer((plane.customer[0], 0), transport) as caller:
        dialog = Dialog(caller, "442071000001")
        data = too_much(dialog.invite(), what).encode()
        if transport == "udp" and len(data) > 65_000:
            pytest.skip("no datagram holds it")
        caller.send(data)
        is_closed = transport == "tcp" and caller.is_closed(1.0)
        seen = [*caller.seen, *([] if is_closed else caller.drain(0.3))]
        assert {answer.status for answer in seen} <= {400, 414, 513}
        assert seen or is_closed
        assert passed_on(vendor, dialog.call_id) == []
        plane.assert_sound()


BROKEN = [
    '"never closed',
    '"never closed \\"',
    "<sip:a@b",
    "sip:a@[2001:db8::1",
    '"a\\',
    '<sip:a@b>;tag="x',
    "(",
    "<",
    "<<<<",
]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("header", ["To", "From", "Via", "Contact"])
def test_what_is_opened_and_never_closed_is_answered_400(
    plane: Plane, caller: Peer, vendor: Peer, header: str, broken: str
) -> None:
    dialog = Dialog(caller, "442071000001")
    lines = dialog.invite().split("\r\n")
    at = next(index for index, line in enumerate(lines) if line.startswith(header + ":"))
    lines[at] = f"{header}: {broken}"
    if header == "Via":
        sent_by = "[2001:db8::1" if "[" in broken else f"{caller.at[0]}:{caller.at[1]};x={broken}"
        lines[at] = f"Via: SIP/2.0/UDP {sent_by};rport;branch={dialog.branch}"
    caller.send("\r\n".join(lines))
    seen = caller.drain(0.25)
    assert {answer.status for answer in seen} <= {400}
    assert seen or header == "Via"  # without a Via that can be read there may be no way back
    assert passed_on(vendor, dialog.call_id) == []


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("header", ["Proxy-Authorization", "Record-Route", "P-Asserted-Identity", "User-Agent"])
def test_what_is_opened_and_never_closed_where_nobody_reads_it_harms_no_call(
    plane: Plane, caller: Peer, vendor: Peer, header: str, broken: str
) -> None:
    """Refused, or passed on: then the call can be answered and ended."""
    dialog = Dialog(caller, "442071000001")
    credentials = f"Digest username={broken}"
    caller.send(dialog.invite(f"{header}: {credentials if header == 'Proxy-Authorization' else broken}"))
    caller.wait_for(lambda seen: seen.status != 0)
    if caller.seen[-1].status != 100:
        assert caller.seen[-1].status == 400
        return
    invite = vendor.wait_for(lambda seen: seen.header("Call-ID") == dialog.call_id)
    vendor.send(reply(vendor, invite, 200, "OK", body=SDP))
    caller.send(dialog.ack(caller.wait_for_final()))
    # The vendor ends it, so that the switch has to find its way to the caller.
    bye = f"BYE {invite.header('Contact').partition('<')[2].partition('>')[0]} SIP/2.0"
    routes = [f"Route: {value}" for value in invite.headers("Record-Route")[:1]]
    lines = [bye, f"Via: SIP/2.0/UDP {vendor.at[0]}:{vendor.at[1]};branch=z9hG4bK-end-{dialog.branch}", *routes]
    lines += ["Max-Forwards: 70", f"From: {invite.header('To')};tag=v1", f"To: {invite.header('From')}"]
    vendor.send(message([*lines, f"Call-ID: {dialog.call_id}", "CSeq: 9 BYE"]))
    caller.send(reply(caller, caller.wait_for_request("BYE"), 200, "OK"))
    vendor.wait_for(lambda seen: seen.status == 200 and seen.header("Call-ID") == dialog.call_id)


@pytest.mark.parametrize("filling", ["(", ",", ";", " ", "%25", '"', "<", "\\", "@", ":", "=", "a,", "\r\n "])
@pytest.mark.parametrize(
    "header",
    ["Via", "From", "To", "Contact", "Call-ID", "CSeq", "Route", "Record-Route", "Proxy-Authorization", "Require",
     "Proxy-Require", "User-Agent", "P-Asserted-Identity", "Content-Length", "Max-Forwards", "X-Own", "Request-URI"],
)  # fmt: skip
def test_no_header_full_of_one_character_costs_much(plane: Plane, vendor: Peer, header: str, filling: str) -> None:
    """As one long line, and as many lines that each keep within the limit."""
    with plane.peer((plane.customer[0], 0)) as caller:
        text = Dialog(caller, "442071000001").invite()
        messages = []
        for size, count in ((60_000, 1), (7_900, 1), (7_900, 7)):
            full = filling * (size // len(filling))
            if header == "Request-URI":
                messages.append(text.replace("sip:442071000001@", f"sip:{full}@", 1))
            else:
                added = f"{header}: {full}\r\n" * count
                messages.append(text.replace("Max-Forwards", added + "Max-Forwards", 1))
        before = plane.stats().gauges["process_cpu_seconds"]
        for number, data in enumerate(messages):
            caller.send(data.replace("z9hG4bK-", f"z9hG4bK-{number}-").encode()[:65_000])
        answer_all(caller, vendor)
        spent = plane.stats().gauges["process_cpu_seconds"] - before
        assert spent < COST_S * len(messages)
        plane.assert_sound()


def answer_all(caller: Peer, vendor: Peer) -> None:
    """486 to whatever was let through, ACK to nobody: the calls are over."""
    for _ in range(10):
        request = vendor.receive(0.02)
        if request is not None and request.method == "INVITE" and not request.status:
            vendor.send(reply(vendor, request, 486, "Busy Here"))
    caller.drain(0.05)


@pytest.mark.parametrize("code", ["99", "4294967301", "0", "-200", "2000", "1e2", "700", "\u0662\u0660\u0660", ""])
def test_a_response_with_an_impossible_code_changes_nothing(
    plane: Plane, caller: Peer, vendor: Peer, code: str
) -> None:

    dialog = Dialog(caller, "442071000001")
    caller.send(dialog.invite())
    invite = vendor.wait_for(lambda seen: seen.header("Call-ID") == dialog.call_id)
    vendor.send(reply(vendor, invite, 999, "OK", body=SDP).replace("SIP/2.0 999", f"SIP/2.0 {code}", 1))
    assert [seen.status for seen in caller.drain(0.2) if seen.status != 100] == []
    assert [seen for seen in passed_on(vendor, dialog.call_id) if seen.method != "INVITE"] == []
    vendor.send(reply(vendor, invite, 486, "Busy Here"))
    assert caller.wait_for_final().status == 486


@pytest.mark.parametrize(
    "via",
    ["{vendor};branch=z9hG4bK-none", "255.255.255.255;branch={branch}", "224.0.0.1;branch={branch}",
     "{switch};branch=z9hG4bK-none", "{stranger};branch={branch}", "{switch}"],
)  # fmt: skip
def test_a_response_by_a_via_that_is_not_ours_goes_nowhere(plane: Plane, caller: Peer, vendor: Peer, via: str) -> None:
    dialog, invite = answered_call(caller, vendor)
    branch = invite.headers("Via")[0].partition("branch=")[2].partition(";")[0]
    names = {
        "vendor": f"{vendor.at[0]}:{vendor.at[1]}",
        "switch": f"{plane.switch[0]}:{plane.switch[1]}",
        "stranger": f"{plane.stranger[0]}:{plane.stranger[1]}",
        "branch": branch,
    }
    with plane.peer(plane.stranger) as stranger:
        answer = reply(vendor, invite, 200, "OK", tag="other", body=SDP)
        forged = answer.replace(f"Via: {invite.headers('Via')[0]}", "Via: SIP/2.0/UDP " + via.format(**names), 1)
        assert forged != answer
        vendor.send(forged)
        assert stranger.drain(0.1) == []
        assert of_calls(caller.drain(0.1)) == []
        got = passed_on(vendor, dialog.call_id)
        # By our own Via it is an answer of a gateway that no call is left of: who sent it is not left up with it.
        assert {seen.method for seen in got} == ({"ACK", "BYE"} if via.startswith("{switch}") else set())
        assert all(seen.header("To").endswith(";tag=other") for seen in got)
        for seen in got:
            if seen.method == "BYE":
                vendor.send(reply(vendor, seen, 200, "OK"))
        vendor.drain(0.1)
    hang_up(dialog, caller, vendor)


def of_calls(seen: list[Seen]) -> list[Seen]:
    return [message for message in seen if message.status != 100]


def test_five_hundred_half_headers_are_cut_in_time_and_hold_up_nobody(plane: Plane, caller: Peer, vendor: Peer) -> None:
    stalled = []
    try:
        for number in range(500):
            peer = plane.peer((plane.place.other(100 + number % 100)[0], 0), "tcp")
            stalled.append(peer)
            peer.send("INVITE sip:1@x SIP/2.0\r\nVia: SIP/2.0/TCP x;branch=z9hG4bKhalf\r\nFrom: ")
        for _ in range(5):
            dialog, _ = answered_call(caller, vendor)
            hang_up(dialog, caller, vendor)
        plane.wait(lambda: plane.stats().gauges["stream_connections"] == 0, "the limit to cut them")
        assert all(peer.is_closed(1.0) for peer in stalled)
    finally:
        for peer in stalled:
            peer.__exit__()
    plane.assert_sound()
