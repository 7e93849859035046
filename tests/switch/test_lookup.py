"""RFC 3263 against a real name server on loopback."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from switch.lookup import Answer, Lookup, LookupFailed, literal_targets, order_by_weight
from switch.outputs import Target
from switch.snapshot import Gateway
from tests.fakes.dns_server import DnsServer, Records

NOWHERE = Path("/nonexistent/hosts")


def gateway(host: str = "gw.example", **facts: Any) -> Gateway:
    return Gateway(id=1, provider_id=1, host=host, **facts)


def find(
    records: Records, wanted: Gateway, versions: frozenset[int] = frozenset({4, 6}), hosts: Path = NOWHERE
) -> tuple[Answer, list[tuple[str, str]]]:
    async def main() -> tuple[Answer, list[tuple[str, str]]]:
        server = DnsServer(records)
        await server.start()
        try:
            lookup = Lookup(versions, server.resolver(), hosts, random.Random(1))
            return await lookup.find(wanted), server.questions
        finally:
            server.close()

    return uvloop.run(main())


A = {("gw.example", "A"): (300, ["192.0.2.1", "192.0.2.2"]), ("gw.example", "AAAA"): (200, ["2001:db8::1"])}


def ips(answer: Answer) -> list[tuple[str, int]]:
    return sorted((target.ip, target.port) for target in answer.targets)


def test_an_explicit_port_asks_for_addresses_only() -> None:
    answer, asked = find(A, gateway(port=5070))
    assert ips(answer) == [("192.0.2.1", 5070), ("192.0.2.2", 5070), ("2001:db8::1", 5070)]
    assert {kind for _, kind in asked} == {"A", "AAAA"}
    assert answer.ttl_s == 200


def test_without_srv_the_default_port_of_the_transport_is_used() -> None:
    assert ips(find(A, gateway())[0])[0] == ("192.0.2.1", 5060)
    assert ips(find(A, gateway(transport="tls"))[0])[0] == ("192.0.2.1", 5061)


def test_srv_gives_ports_priorities_and_weights() -> None:
    records: Records = {
        ("_sip._udp.gw.example", "SRV"): (100, ["20 5 5080 b.example.", "10 7 5070 a.example."]),
        ("a.example", "A"): (300, ["192.0.2.10"]),
        ("b.example", "A"): (50, ["192.0.2.20"]),
    }
    answer, _ = find(records, gateway())
    assert answer.targets == [
        Target("udp", "192.0.2.10", 5070, "", 10, 7),
        Target("udp", "192.0.2.20", 5080, "", 20, 5),
    ]
    assert answer.ttl_s == 50


@pytest.mark.parametrize(("transport", "label"), [("udp", "_sip._udp"), ("tcp", "_sip._tcp"), ("tls", "_sips._tcp")])
def test_each_transport_has_its_own_service_name(transport: Any, label: str) -> None:
    records: Records = {
        (f"{label}.gw.example", "SRV"): (100, ["1 1 5099 a.example."]),
        ("a.example", "A"): (300, ["192.0.2.10"]),
    }
    answer, _ = find(records, gateway(transport=transport))
    # The certificate must carry the configured name, not what DNS made of it (RFC 5922 §4).
    name = "gw.example" if transport == "tls" else ""
    assert answer.targets == [Target(transport, "192.0.2.10", 5099, name, 1, 1)]


def test_naptr_chooses_the_service_name_of_the_configured_transport() -> None:
    records: Records = {
        ("gw.example", "NAPTR"): (
            60,
            [
                '10 10 "s" "SIP+D2T" "" _sip._tcp.other.example.',
                '20 10 "s" "SIP+D2U" "" _sip._udp.worse.example.',
                '10 20 "S" "sip+d2u" "" _sip._udp.right.example.',
                '5 20 "u" "E2U+sip" "!^.*$!sip:x@y!" .',
            ],
        ),
        ("_sip._udp.right.example", "SRV"): (100, ["1 1 5062 a.example."]),
        ("a.example", "A"): (300, ["192.0.2.10"]),
    }
    answer, _ = find(records, gateway())
    assert ips(answer) == [("192.0.2.10", 5062)]
    assert answer.ttl_s == 60


def test_a_service_that_is_said_not_to_exist_has_no_targets() -> None:
    with pytest.raises(LookupFailed, match="not to exist"):
        find({("_sip._udp.gw.example", "SRV"): (100, ["0 0 0 ."]), **A}, gateway())


def test_one_srv_target_without_an_address_does_not_lose_the_others() -> None:
    records: Records = {
        ("_sip._udp.gw.example", "SRV"): (100, ["1 1 5060 gone.example.", "2 1 5060 a.example."]),
        ("a.example", "A"): (300, ["192.0.2.10"]),
    }
    assert ips(find(records, gateway())[0]) == [("192.0.2.10", 5060)]


def test_addresses_that_no_listener_can_send_to_are_left_out() -> None:
    answer, asked = find(A, gateway(port=5060), frozenset({6}))
    assert ips(answer) == [("2001:db8::1", 5060)]
    assert ("gw.example", "A") not in asked


def test_a_name_that_does_not_exist_fails_with_its_name() -> None:
    with pytest.raises(LookupFailed, match=r"nobody\.example: no address"):
        find(A, gateway("nobody.example"))


def test_the_hosts_file_goes_before_dns(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("# ours\n192.0.2.99  other GW.example # vendor\n2001:db8::9 gw.example\n")
    answer, _ = find(A, gateway(port=5060), frozenset({4}), hosts)
    assert ips(answer) == [("192.0.2.99", 5060)]


@pytest.mark.parametrize(
    ("host", "ip"), [("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::1"), ("[2001:db8::1]", "2001:db8::1")]
)
def test_a_literal_address_needs_no_look_up(host: str, ip: str) -> None:
    assert literal_targets(gateway(host, transport="tls")) == [Target("tls", ip, 5061)]
    assert literal_targets(gateway(host, port=7)) == [Target("udp", ip, 7)]
    assert literal_targets(gateway("gw.example")) == []


def test_weights_give_shares_and_priorities_an_order() -> None:
    records = [SimpleNamespace(priority=p, weight=w, name=n) for p, w, n in [(1, 75, "a"), (1, 25, "b"), (0, 0, "c")]]
    rng = random.Random(4)
    orders = [[record.name for record in order_by_weight(records, rng)] for _ in range(2_000)]
    assert all(order[0] == "c" for order in orders)
    share = Counter(order[1] for order in orders)["a"] / len(orders)
    assert 0.70 < share < 0.80
