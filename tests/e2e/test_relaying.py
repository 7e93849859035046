"""Nothing in a message chooses where it goes: no Route, no Request-URI, no Contact of a redirect."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.e2e.bench import Bench
from tests.e2e.peer import SDP, Peer, Seen, reply

pytestmark = pytest.mark.slow

NUMBER = "442071000001"


def outcome_of(bench: Bench, caller: Peer, vendor: Peer, *extra: str, uri: str = "") -> tuple[int, list[Seen]]:
    """Final status of a call by that INVITE, and what the vendor saw; the vendor says 486 to all."""
    dialog = bench.call(caller, NUMBER, uri=uri)
    caller.send(dialog.invite(*extra))
    seen: list[Seen] = []
    for _ in range(30):
        request = vendor.receive(0.1)
        if request is not None and request.method == "INVITE" and not request.status:
            seen.append(request)
            vendor.send(reply(vendor, request, 486, "Busy Here"))
        answer = caller.receive(0.05)
        if answer is not None and answer.status >= 200:
            caller.send(dialog.ack(answer))
            vendor.drain(0.1)
            return answer.status, seen
    raise AssertionError(f"no final answer; {caller.seen}")


def assert_only_the_vendor_was_asked(bench: Bench, status: int, seen: list[Seen]) -> None:
    """Refused outright, or led to the vendor that our own tables name: with our number in the URI."""
    assert bench.trap.listen() == []
    if status == 486:
        assert len(seen) == 1
        assert seen[0].uri.startswith(f"sip:{NUMBER}@{bench.vendor[0]}:")
        assert not any(bench.trap.address[0] in value for value in seen[0].headers("Route"))
    else:
        assert 400 <= status < 500
        assert seen == []
    bench.assert_alive()


@pytest.mark.parametrize(
    "route",
    [
        "Route: <sip:{trap};lr>",
        "Route: <sip:{trap}>",
        "Route: <sip:{switch};lr>, <sip:{trap};lr>",
        "Route: <sip:{trap};lr>, <sip:{switch};lr>",
        "route : <sip:{trap};lr>",
        "Route:\r\n <sip:{trap};lr>",
        "Route: <sip:{switch};lr>\r\nRoute: <sip:{trap};lr>",
    ],
)
@pytest.mark.parametrize("who", ["customer", "stranger"])
def test_a_preloaded_route_is_not_followed(shared_bench: Bench, route: str, who: str) -> None:
    at = shared_bench.customer if who == "customer" else shared_bench.stranger
    places = {
        name: f"{host}:{port}"
        for name, (host, port) in (("trap", shared_bench.trap.address), ("switch", shared_bench.switch))
    }
    with shared_bench.peer(at) as caller, shared_bench.peer(shared_bench.vendor) as vendor:
        status, seen = outcome_of(shared_bench, caller, vendor, route.format(**places))
        assert_only_the_vendor_was_asked(shared_bench, status, seen)
        if who == "stranger":
            assert status in (401, 403, 404, 407)


@pytest.mark.parametrize(
    "uri",
    [
        "sip:{number}@{trap}",
        "sip:{number}@{trap};lr",
        "sip:{number}@{switch};maddr={trap_host}",
        "sip:{number}@{switch};transport=tcp;maddr={trap_host}",
        "sip:{number}@{switch}?Route=%3Csip:{trap}%3E",
        "sip:{number}%40{trap_host}@{switch}",
        "sip:{number}@{switch_host}:5099",
        "sip:{number}@foreign.invalid",
        "sips:{number}@{trap}",
        "tel:+{number};phone-context={trap_host}",
        "sip:{trap}",
        "sip:@{trap}",
    ],
)
@pytest.mark.parametrize("who", ["customer", "stranger"])
def test_the_request_uri_never_chooses_the_next_hop(shared_bench: Bench, uri: str, who: str) -> None:
    at = shared_bench.customer if who == "customer" else shared_bench.stranger
    bench = shared_bench
    names = {
        "number": NUMBER,
        "trap": f"{bench.trap.address[0]}:{bench.trap.address[1]}",
        "trap_host": bench.trap.address[0],
        "switch": f"{bench.switch[0]}:{bench.switch[1]}",
        "switch_host": bench.switch[0],
    }
    with bench.peer(at) as caller, bench.peer(bench.vendor) as vendor:
        status, seen = outcome_of(bench, caller, vendor, uri=uri.format(**names))
        assert_only_the_vendor_was_asked(bench, status, seen)


def test_a_redirect_is_not_followed(shared_bench: Bench) -> None:
    bench = shared_bench
    with bench.peer(bench.customer) as caller, bench.peer(bench.vendor) as vendor:
        dialog = bench.call(caller)
        caller.send(dialog.invite())
        invite = vendor.wait_for_request("INVITE")
        here, trap = f"vendor@{bench.vendor[0]}", f"vendor@{bench.trap.address[0]}"
        vendor.send(reply(vendor, invite, 302, "Moved Temporarily").replace(here, trap))
        caller.send(dialog.ack(caller.wait_for_final()))
        assert bench.trap.listen() == []


def test_a_contact_inside_a_dialog_leads_no_packet_to_a_third_party(shared_bench: Bench) -> None:
    """The callee names the trap as its Contact: what the caller then sends goes there or to the vendor, by
    policy; a caller who edits the route set sends nothing anywhere but to the call's own two peers."""
    bench = shared_bench
    with bench.peer(bench.customer) as caller, bench.peer(bench.vendor) as vendor:
        dialog = bench.call(caller)
        caller.send(dialog.invite())
        invite = vendor.wait_for_request("INVITE")
        vendor.send(reply(vendor, invite, 200, "OK", body=SDP))
        caller.send(dialog.ack(caller.wait_for_final()))
        vendor.wait_for_request("ACK")
        honest_target, honest_route = dialog.target, dialog.route
        trap = f"{bench.trap.address[0]}:{bench.trap.address[1]}"
        dialog.route = [*honest_route, f"<sip:{trap};lr>"]
        caller.send(dialog.inside("INFO", 2))
        dialog.route, dialog.target = honest_route, f"sip:vendor@{trap}"
        caller.send(dialog.inside("INFO", 3))
        for _ in range(2):
            with suppress(AssertionError):
                vendor.send(reply(vendor, vendor.wait_for_request("INFO", 0.5), 200, "OK"))
        caller.drain(0.3)
        assert bench.trap.listen() == []
        dialog.route, dialog.target = honest_route, honest_target
        caller.send(dialog.inside("BYE", 4))
        vendor.send(reply(vendor, vendor.wait_for_request("BYE"), 200, "OK"))
        assert caller.wait_for_final("BYE").status == 200
        bench.assert_alive()


@pytest.mark.parametrize("contact", ["{switch}", "0.0.0.0:5060", "224.0.0.1:5060", "255.255.255.255:5060", "[::1]:9"])
def test_a_contact_that_nobody_can_be_called_at_makes_no_loop_and_ends_the_call(
    shared_bench: Bench, contact: str
) -> None:
    """The callee's 200 names us, everybody or nobody as its Contact; the caller's BYE still ends the charge."""
    bench = shared_bench
    with bench.peer(bench.customer) as caller, bench.peer(bench.vendor) as vendor:
        dialog = bench.call(caller)
        caller.send(dialog.invite())
        invite = vendor.wait_for_request("INVITE")
        named = contact.format(switch=f"{bench.switch[0]}:{bench.switch[1]}")
        answer = reply(vendor, invite, 200, "OK", body=SDP)
        vendor.send(answer.replace(f"vendor@{vendor.at[0]}:{vendor.at[1]}", f"vendor@{named}"))
        caller.send(dialog.ack(caller.wait_for_final()))
        caller.send(dialog.inside("BYE", 2))
        byes = [seen for seen in vendor.drain(0.4) if seen.method == "BYE"]
        for bye in byes[:1]:
            vendor.send(reply(vendor, bye, 200, "OK"))
        cdr = bench.cdr_of(dialog)
        assert (cdr.cause, cdr.release) == ("normal", "caller")
        assert cdr.duration_ms < 1_000
        assert len({seen.header("Via") for seen in byes}) <= 1
        bench.assert_alive()
