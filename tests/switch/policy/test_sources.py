"""Addresses find their endpoint: held against a slow search through all of them."""

from __future__ import annotations

import ipaddress
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.policy.blocks import Blocks
from switch.policy.callers import Account, Caller
from switch.policy.sources import Sources
from switch.snapshot import Customer, Endpoint


def caller_of(endpoint: Endpoint) -> Caller:
    account = Account(endpoint.customer_id)
    account.set_customer(Customer(id=endpoint.customer_id, name="c", status="active"))
    return Caller(endpoint, None, account, None, None)


def sources_of(endpoints: list[Endpoint]) -> Sources:
    sources = Sources()
    for endpoint in endpoints:
        sources.add(caller_of(endpoint), endpoint.host)
    return sources


def slow_find(endpoints: list[Endpoint], source_ip: str, transport: str, dialled: str) -> int | None:
    """The rule, read out: longest block decides whose address it is, then length, prefix, transport, id."""
    address = ipaddress.ip_address(source_ip)
    holding = []
    for endpoint in endpoints:
        network = ipaddress.ip_network(endpoint.host, strict=False)
        if network.version == address.version and address in network:
            holding.append((network.prefixlen, endpoint))
    if not holding:
        return None
    longest = max(length for length, _ in holding)
    owners = {endpoint.customer_id for length, endpoint in holding if length == longest}
    fitting = [
        (-length, -len(e.tech_prefix), e.transport is None, e.id)
        for length, e in holding
        if e.customer_id in owners and dialled.startswith(e.tech_prefix) and e.transport in (None, transport)
    ]
    return min(fitting)[3] if fitting else None


hosts = st.one_of(
    st.builds("10.{}.{}.{}/{}".format, *[st.integers(0, 3)] * 3, st.integers(0, 32)),
    st.builds("10.{}.{}.{}".format, *[st.integers(0, 3)] * 3),
    st.builds("2001:db8::{}:{}/{}".format, *[st.integers(0, 3)] * 2, st.integers(0, 128)),
)
TRANSPORTS: st.SearchStrategy[Literal["udp", "tcp"] | None] = st.sampled_from([None, "udp", "tcp"])
endpoints_lists = st.lists(
    st.tuples(hosts, st.integers(1, 3), st.sampled_from(["", "1", "12", "2"]), TRANSPORTS),
    max_size=12,
).map(
    lambda rows: [
        Endpoint(id=place, customer_id=customer, direction="egress", host=host, tech_prefix=prefix, transport=transport)
        for place, (host, customer, prefix, transport) in enumerate(rows, 1)
    ]
)
addresses = st.one_of(
    st.builds("10.{}.{}.{}".format, *[st.integers(0, 3)] * 3),
    st.builds("2001:db8::{}:{}".format, *[st.integers(1, 3)] * 2),
)


@given(endpoints_lists, addresses, st.sampled_from(["udp", "tcp", "tls"]), st.sampled_from(["123", "13", "23", "3"]))
def test_the_index_finds_what_a_search_through_all_finds(
    endpoints: list[Endpoint], source_ip: str, transport: str, dialled: str
) -> None:
    found = sources_of(endpoints).find(source_ip, transport, dialled)
    assert (found.record_id if found else None) == slow_find(endpoints, source_ip, transport, dialled)


@given(endpoints_lists, st.data())
def test_what_is_taken_out_is_as_if_it_had_never_been_in(endpoints: list[Endpoint], data: st.DataObject) -> None:
    sources = Sources()
    callers = {endpoint.id: caller_of(endpoint) for endpoint in endpoints}
    for endpoint in endpoints:
        sources.add(callers[endpoint.id], endpoint.host)
    gone = data.draw(st.sets(st.sampled_from([e.id for e in endpoints]))) if endpoints else set()
    for endpoint in endpoints:
        if endpoint.id in gone:
            sources.discard(callers[endpoint.id], endpoint.host)
    left = [endpoint for endpoint in endpoints if endpoint.id not in gone]
    source_ip = data.draw(addresses)
    found = sources.find(source_ip, "udp", "123")
    assert (found.record_id if found else None) == slow_find(left, source_ip, "udp", "123")


def endpoint(record_id: int, customer_id: int, host: str, tech_prefix: str = "") -> Endpoint:
    return Endpoint(id=record_id, customer_id=customer_id, direction="egress", host=host, tech_prefix=tech_prefix)


def test_a_wide_block_is_never_charged_for_another_customers_address() -> None:
    sources = sources_of([endpoint(1, 1, "10.0.0.0/8"), endpoint(2, 2, "10.1.2.3", tech_prefix="77")])
    assert sources.find("10.1.2.3", "udp", "4420") is None
    found = sources.find("10.9.9.9", "udp", "4420")
    assert found is not None
    assert found.record_id == 1


def test_a_customers_own_wider_block_takes_what_its_address_does_not() -> None:
    sources = sources_of([endpoint(1, 1, "10.0.0.0/8"), endpoint(2, 1, "10.1.2.3", tech_prefix="77")])
    found = sources.find("10.1.2.3", "udp", "4420")
    assert found is not None
    assert found.record_id == 1


def test_ipv4_in_ipv6_is_ipv4() -> None:
    sources = sources_of([endpoint(1, 1, "192.0.2.10"), endpoint(2, 2, "::ffff:198.51.100.0/120")])
    for source_ip, expected in (("::ffff:192.0.2.10", 1), ("198.51.100.7", 2), ("::ffff:198.51.100.7", 2)):
        found = sources.find(source_ip, "udp", "1")
        assert found is not None, source_ip
        assert found.record_id == expected


def test_spellings_of_one_ipv6_address_are_one() -> None:
    sources = sources_of([endpoint(1, 1, "2001:DB8:0:0::1")])
    for source_ip in ("2001:db8::1", "2001:db8::1%eth0", "2001:0db8::0001"):
        assert sources.find(source_ip, "udp", "1") is not None, source_ip


@pytest.mark.parametrize("host", ["", "gw.example.com", "10.0.0.0/33", "10.0.0", "2001:db8::/129", "10.0.0.1/x"])
def test_a_host_that_is_no_address_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 network"):
        Sources().add(caller_of(endpoint(1, 1, host)), host)


@pytest.mark.parametrize("source_ip", ["", "x", "1.2.3", "::g", "1.2.3.4.5"])
def test_a_source_that_is_no_address_is_nobodys(source_ip: str) -> None:
    sources = sources_of([endpoint(1, 1, "0.0.0.0/0"), endpoint(2, 1, "::/0")])
    assert sources.find(source_ip, "udp", "1") is None
    assert source_ip not in Blocks(("0.0.0.0/0",))


def test_blocks_hold_their_addresses_only() -> None:
    blocks = Blocks(("192.0.2.0/28", "2001:db8::/32", "203.0.113.5"))
    assert "192.0.2.15" in blocks
    assert "192.0.2.16" not in blocks
    assert "2001:db8:ffff::1" in blocks
    assert "2001:db9::1" not in blocks
    assert "::ffff:203.0.113.5" in blocks
