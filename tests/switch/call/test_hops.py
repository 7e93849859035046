"""Where a peer is reached: its own word as far as it makes sense, else where it speaks from."""

from __future__ import annotations

import pytest

from switch.call.hops import Hops, Local
from switch.outputs import Flow

UDP = Local(0, "udp", "198.51.100.1", 5060)
TCP = Local(1, "tcp", "198.51.100.1", 5060)
UDP6 = Local(2, "udp", "2001:db8::1", 5060)
HOPS = Hops([UDP, TCP, UDP6], ("sip.example.net",))

PUBLIC = Flow(0, ("8.8.4.4", 5062))
LOOPBACK = Flow(0, ("127.0.0.1", 5062))
STREAM = Flow(1, ("8.8.4.4", 40_000), 17)


@pytest.mark.parametrize(
    ("uri", "heard_from", "address"),
    [
        (b"sip:a@8.8.4.4:5062", PUBLIC, ("8.8.4.4", 5062)),
        (b"sip:a@8.8.4.4", PUBLIC, ("8.8.4.4", 5060)),
        (b"sip:a@8.8.8.8:5070", PUBLIC, ("8.8.8.8", 5070)),
        (b"sip:a@10.0.0.1", PUBLIC, ("8.8.4.4", 5062)),
        (b"sip:a@127.0.0.1:5080", PUBLIC, ("8.8.4.4", 5062)),
        (b"sip:a@0.0.0.0", PUBLIC, ("8.8.4.4", 5062)),
        (b"sip:a@224.0.1.75", PUBLIC, ("8.8.4.4", 5062)),
        (b"sip:a@255.255.255.255", PUBLIC, ("8.8.4.4", 5062)),
        (b"sip:a@gw.example.org", PUBLIC, ("8.8.4.4", 5062)),
        (b"sip:a@198.51.100.1:5060", PUBLIC, ("8.8.4.4", 5062)),
        (b"sip:a@[2001:db8::9]", PUBLIC, ("8.8.4.4", 5062)),
        (b"sip:a@127.0.0.1:5080", LOOPBACK, ("127.0.0.1", 5080)),
        (b"sip:a@2130706433", PUBLIC, ("8.8.4.4", 5062)),
        (b"not a uri", PUBLIC, ("8.8.4.4", 5062)),
    ],
)
def test_a_contact_is_followed_only_where_it_makes_sense(
    uri: bytes, heard_from: Flow, address: tuple[str, int]
) -> None:
    assert HOPS.towards(uri, heard_from).address == address


def test_a_stream_peer_is_reached_over_its_connection() -> None:
    flow = HOPS.towards(b"sip:a@8.8.4.4:5060;transport=tcp", STREAM)
    assert (flow.connection, flow.address) == (17, ("8.8.4.4", 5060))


def test_a_udp_peer_that_asks_for_tcp_gets_it() -> None:
    assert HOPS.towards(b"sip:a@8.8.4.4;transport=tcp", PUBLIC).listener == 1


def test_one_record_route_within_a_listener_and_two_across() -> None:
    assert HOPS.record_route_lines(0, 0) == [b"Record-Route: <sip:198.51.100.1:5060;lr>"]
    assert HOPS.record_route_lines(1, 0) == [
        b"Record-Route: <sip:198.51.100.1:5060;lr>",
        b"Record-Route: <sip:198.51.100.1:5060;transport=tcp;lr>",
    ]
    assert HOPS.record_route_lines(2, 0)[1] == b"Record-Route: <sip:[2001:db8::1]:5060;lr>"


@pytest.mark.parametrize(
    ("host", "port", "is_own"),
    [
        (b"198.51.100.1", 5060, True),
        (b"198.51.100.1", 0, True),
        (b"198.51.100.1", 5080, False),
        (b"[2001:db8::1]", 5060, True),
        (b"sip.example.net", 0, True),
        (b"example.net", 0, False),
    ],
)
def test_our_own_hosts_are_known(host: bytes, port: int, is_own: bool) -> None:
    assert HOPS.is_own(host, port) is is_own
