"""What people who are nobody's customers can do: nothing, and not to anybody else's call either."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.bench import Bench
from tests.e2e.peer import SDP, Dialog, Peer, Seen, answered_call, hang_up, message, reply

pytestmark = pytest.mark.slow

REFUSED = (401, 403, 407)
IN_DIALOG = ("BYE", "INVITE", "UPDATE", "INFO", "REFER", "MESSAGE")


def refusal_of(bench: Bench, peer: Peer, dialog: Dialog, *extra: str) -> Seen:
    peer.send(dialog.invite(*extra))
    answer = peer.wait_for_final()
    peer.send(dialog.ack(answer))
    return answer


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_an_invite_from_an_unknown_address_gets_nothing(shared_bench: Bench, transport: str) -> None:
    before = len(shared_bench.cdrs())
    with (
        shared_bench.peer(shared_bench.stranger, transport) as stranger,
        shared_bench.peer(shared_bench.vendor) as vendor,
    ):
        answer = refusal_of(shared_bench, stranger, shared_bench.call(stranger))
        assert answer.status in REFUSED
        shared_bench.assert_clean(vendor, before)


@pytest.mark.parametrize(
    "header",
    [
        "P-Asserted-Identity: <sip:15551230000@{customer}>",
        "P-Preferred-Identity: <sip:15551230000@{customer}>",
        "Remote-Party-ID: <sip:15551230000@{customer}>;party=calling",
        "Contact: <sip:15551230000@{customer}>",
        "Via: SIP/2.0/UDP {customer}:5060;branch=z9hG4bKbefore;received={customer}",
        "X-Forwarded-For: {customer}",
        "Forwarded: for={customer}",
        "X-Real-IP: {customer}",
        "P-Charge-Info: <sip:15551230000@{customer}>",
    ],
)
def test_no_header_stands_in_for_the_packets_source(shared_bench: Bench, header: str) -> None:
    before = len(shared_bench.cdrs())
    with shared_bench.peer(shared_bench.stranger) as stranger, shared_bench.peer(shared_bench.vendor) as vendor:
        dialog = shared_bench.call(stranger)
        answer = refusal_of(shared_bench, stranger, dialog, header.format(customer=shared_bench.customer[0]))
        assert answer.status in REFUSED
        shared_bench.assert_clean(vendor, before)


def test_a_via_that_names_a_customer_does_not_make_one(shared_bench: Bench) -> None:
    customer = shared_bench.customer
    before = len(shared_bench.cdrs())
    with (
        shared_bench.peer(shared_bench.stranger) as stranger,
        shared_bench.peer(customer) as owner,
        shared_bench.peer(shared_bench.vendor) as vendor,
    ):
        for number, via in enumerate(
            (
                f"{customer[0]}:5060;branch=z9hG4bKvia0;rport",
                f"{stranger.at[0]}:5060;branch=z9hG4bKvia1;received={customer[0]};rport=5060",
                f"{customer[0]};branch=z9hG4bKvia2;received={customer[0]}",
            )
        ):
            stranger.send(
                message(
                    [
                        f"INVITE sip:442071000001@{shared_bench.switch[0]} SIP/2.0",
                        f"Via: SIP/2.0/UDP {via}",
                        "Max-Forwards: 70",
                        f"From: <sip:15551230000@{customer[0]}>;tag=forged{number}",
                        f"To: <sip:442071000001@{shared_bench.switch[0]}>",
                        f"Call-ID: forged-{number}@{customer[0]}",
                        "CSeq: 1 INVITE",
                        f"Contact: <sip:15551230000@{customer[0]}>",
                    ]
                )
            )
            # The answer goes to where the packet came from (RFC 3261 §18.2.2), never to the customer.
            assert stranger.wait_for_final().status in REFUSED
        assert owner.drain(0.2) == []
        shared_bench.assert_clean(vendor, before)


@pytest.mark.parametrize(
    "method", ["MESSAGE", "SUBSCRIBE", "PUBLISH", "NOTIFY", "REFER", "UPDATE", "INFO", "BYE", "PRACK"]
)
def test_other_requests_of_a_stranger_are_refused(shared_bench: Bench, method: str) -> None:
    before = len(shared_bench.cdrs())
    with shared_bench.peer(shared_bench.stranger) as stranger, shared_bench.peer(shared_bench.vendor) as vendor:
        dialog = shared_bench.call(stranger)
        stranger.send(dialog.request(method, 1, dialog.branch, ("Event: presence", "Refer-To: <sip:1@127.0.0.1>")))
        assert 400 <= stranger.wait_for_final(method).status < 500
        shared_bench.assert_clean(vendor, before)


def test_ack_and_cancel_of_a_stranger_are_never_challenged(shared_bench: Bench) -> None:
    with shared_bench.peer(shared_bench.stranger) as stranger:
        dialog = shared_bench.call(stranger)
        stranger.send(dialog.request("ACK", 1, dialog.branch))
        stranger.send(dialog.cancel())
        assert [seen.status for seen in stranger.drain(0.5)] == [481]


def test_a_stranger_cannot_cancel_a_call(shared_bench: Bench) -> None:
    with (
        shared_bench.peer(shared_bench.customer) as caller,
        shared_bench.peer(shared_bench.stranger) as stranger,
        shared_bench.peer(shared_bench.vendor) as vendor,
    ):
        dialog = shared_bench.call(caller)
        caller.send(dialog.invite())
        invite = vendor.wait_for_request("INVITE")
        vendor.send(reply(vendor, invite, 180, "Ringing"))
        caller.wait_for_status(180)
        # Word for word the caller's own CANCEL, from elsewhere.
        stranger.send(dialog.cancel())
        assert all(seen.status in (403, 481) for seen in stranger.drain(0.4))
        # And guesses: of the branch, of the tag.
        stranger.send(dialog.cancel().replace(dialog.branch, "z9hG4bKguess"))
        stranger.send(dialog.cancel().replace(dialog.tag, "guess"))
        assert all(seen.status in (403, 481) for seen in stranger.drain(0.4))
        assert vendor.drain(0.1) == []
        vendor.send(reply(vendor, invite, 200, "OK", body=SDP))
        caller.send(dialog.ack(caller.wait_for_final()))
        vendor.wait_for_request("ACK")
        hang_up(dialog, caller, vendor)
        assert shared_bench.cdr_of(dialog).cause == "normal"


@pytest.mark.parametrize("method", IN_DIALOG)
@pytest.mark.parametrize("side", ["caller", "callee"])
def test_a_stranger_cannot_touch_a_dialog_that_it_knows_all_about(shared_bench: Bench, method: str, side: str) -> None:
    """With Call-ID, both tags, the route set and the next CSeq, from an address that is neither peer's."""
    with (
        shared_bench.peer(shared_bench.customer) as caller,
        shared_bench.peer(shared_bench.stranger) as stranger,
        shared_bench.peer(shared_bench.vendor) as vendor,
    ):
        dialog, _ = answered_call(caller, vendor)
        forged = dialog.inside(method, 2, "Refer-To: <sip:1@127.0.0.1>", body=SDP if method == "INVITE" else "")
        if side == "callee":
            lines = forged.split("\r\n")
            here = next(line for line in lines if line.startswith("From: "))
            there = next(line for line in lines if line.startswith("To: "))
            forged = forged.replace(here, "To: " + here[6:]).replace(there, "From: " + there[4:])
        stranger.send(forged)
        answer = stranger.wait_for_final(method)
        assert answer.status in (403, 405, 481)
        assert caller.drain(0.2) == []
        assert vendor.drain(0.1) == []
        hang_up(dialog, caller, vendor)
        cdr = shared_bench.cdr_of(dialog)
        assert (cdr.cause, cdr.release) == ("normal", "caller")
        assert cdr.duration_ms >= 300


@pytest.mark.parametrize("what", ["tag", "call_id", "cseq"])
def test_a_bye_with_a_wrong_identifier_ends_nothing(shared_bench: Bench, what: str) -> None:
    with shared_bench.peer(shared_bench.customer) as caller, shared_bench.peer(shared_bench.vendor) as vendor:
        dialog, _ = answered_call(caller, vendor)
        bye = {
            "tag": dialog.inside("BYE", 2).replace(f"tag={dialog.to_tag}", "tag=guess"),
            "call_id": dialog.inside("BYE", 2).replace(dialog.call_id, "guess@nowhere"),
            "cseq": dialog.inside("BYE", 0),
        }[what]
        caller.send(bye)
        assert caller.wait_for_final("BYE").status in (403, 481, 500)
        assert vendor.drain(0.2) == []
        hang_up(dialog, caller, vendor, 3)
        assert shared_bench.cdr_of(dialog).duration_ms >= 200


def test_loopback_is_not_trusted_unless_the_settings_say_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, allow_loopback=False)
    try:
        with bench.peer(bench.customer) as caller, bench.peer(bench.vendor) as vendor:
            assert refusal_of(bench, caller, bench.call(caller)).status in REFUSED
            bench.assert_clean(vendor)
    finally:
        bench.close()


def test_a_stranger_hears_nothing_where_the_settings_say_silence(tmp_path: Path) -> None:
    bench = Bench(tmp_path, unknown_source="silence")
    try:
        with bench.peer(bench.stranger) as stranger, bench.peer(bench.vendor) as vendor:
            stranger.send(bench.call(stranger).invite())
            assert stranger.drain(0.5) == []
            bench.assert_clean(vendor)
    finally:
        bench.close()
