"""Endpoints, SIP users and ingress routes through the API."""

from __future__ import annotations

import hashlib

from switch.snapshot import Endpoint, IngressRoute, Key, SipUser
from tests.fakes.control import ControlPlane, with_control

SENDS = {"direction": "egress", "host": "192.0.2.1"}


@with_control
async def test_an_endpoint_has_all_its_fields_and_says_which_way_calls_go(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    body = {
        **SENDS,
        "transport": "tcp",
        "port": 5062,
        "channels": 10,
        "flow_speed_cps": 2.5,
        "codecs": ["PCMA", "G729"],
        "manufacturer": "Acme",
        "version": "1.2",
        "dial_pattern": "00X.",
        "cli_prefix": "+44",
        "tech_prefix": "1234",
        "strip_digits": 2,
        "bandwidth_kbps": 640,
        "force_from": "acme",
        "enabled": False,
    }
    made = await plane.post(f"/customers/{customer}/endpoints", body)
    assert body.items() <= made.items()
    assert (made["sends_calls"], made["receives_calls"]) == (True, False)
    record = plane.publisher.records[Key("endpoint", made["id"])]
    assert isinstance(record, Endpoint)
    assert (record.codecs, record.tech_prefix, record.flow_speed_cps) == (("PCMA", "G729"), "1234", 2.5)
    gets = await plane.post(f"/customers/{customer}/endpoints", {"direction": "ingress", "host": "PBX.example.com."})
    assert (gets["host"], gets["sends_calls"], gets["receives_calls"]) == ("pbx.example.com", False, True)


@with_control
async def test_hosts_are_written_in_one_way_and_names_only_receive(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    path = f"/customers/{customer}/endpoints"
    for host, stored in (
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
    ):
        assert (await plane.post(path, {**SENDS, "host": host}))["host"] == stored
    for host in ("pbx.example.com", "192.0.2.5/24", "fe80::1%eth0", "300.1.1.1", "", "192.0.2.1:5060"):
        problem = await plane.post(path, {**SENDS, "host": host}, status=400)
        assert problem["errors"][0]["path"] == "host"
    for host in ("192.0.2.0/24", "-x.example.com", "a..b", "1.2.3.400", "pbx example"):
        await plane.post(path, {"direction": "ingress", "host": host}, status=400)


@with_control
async def test_bad_endpoint_fields_are_named(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    for fields in (
        {"dial_pattern": "[1-"},
        {"tech_prefix": "12a"},
        {"tech_prefix": "12\n"},
        {"cli_prefix": "++1"},
        {"force_from": 'x"\r\nVia: y'},
        {"port": 0},
        {"strip_digits": 21},
        {"transport": "sctp"},
        {"codecs": ["a b"]},
    ):
        problem = await plane.post(f"/customers/{customer}/endpoints", {**SENDS, **fields}, status=400)
        assert problem["errors"][0]["path"].startswith(next(iter(fields)))


@with_control
async def test_customers_share_an_address_only_by_different_tech_prefixes(plane: ControlPlane) -> None:
    acme = await plane.make_customer()
    other = await plane.make_customer(name="Borealis")
    first = await plane.post(f"/customers/{acme}/endpoints", {**SENDS, "tech_prefix": "11"})
    problem = await plane.post(f"/customers/{other}/endpoints", {**SENDS, "tech_prefix": "11"}, status=409)
    assert "Acme Voice" in problem["detail"]
    assert {"noun": "customer", "id": str(acme), "name": "Acme Voice"} in problem["references"]
    second = await plane.post(f"/customers/{other}/endpoints", {**SENDS, "tech_prefix": "22"})
    problem = await plane.patch(f"/endpoints/{second['id']}", {"tech_prefix": "11"}, status=409)
    assert problem["references"][0]["id"] == str(first["id"])
    await plane.post(f"/customers/{other}/endpoints", {**SENDS, "direction": "ingress"})
    await plane.delete(f"/endpoints/{first['id']}")
    await plane.patch(f"/endpoints/{second['id']}", {"tech_prefix": "11"})


@with_control
async def test_own_endpoints_on_one_address_differ_by_transport_until_it_is_shared(plane: ControlPlane) -> None:
    acme = await plane.make_customer()
    other = await plane.make_customer(name="Borealis")
    await plane.post(f"/customers/{acme}/endpoints", {**SENDS, "transport": "udp"})
    await plane.post(f"/customers/{acme}/endpoints", {**SENDS, "transport": "udp"}, status=409)
    await plane.post(f"/customers/{acme}/endpoints", {**SENDS}, status=409)
    await plane.post(f"/customers/{acme}/endpoints", {**SENDS, "transport": "tcp"})
    problem = await plane.post(f"/customers/{other}/endpoints", {**SENDS, "tech_prefix": "22"}, status=409)
    assert "Acme Voice" in problem["detail"]


@with_control
async def test_transports_do_not_tell_two_customers_apart(plane: ControlPlane) -> None:
    acme = await plane.make_customer()
    other = await plane.make_customer(name="Borealis")
    await plane.post(f"/customers/{acme}/endpoints", {**SENDS, "transport": "udp"})
    await plane.post(f"/customers/{other}/endpoints", {**SENDS, "transport": "tcp"}, status=409)


@with_control
async def test_below_a_customer_only_its_own_rows_are_seen(plane: ControlPlane) -> None:
    acme = await plane.make_customer()
    other = await plane.make_customer(name="Borealis")
    mine = await plane.post(f"/customers/{acme}/endpoints", SENDS)
    assert (await plane.get(f"/customers/{other}/endpoints"))["items"] == []
    await plane.get(f"/customers/{other}/endpoints/{mine['id']}", status=404)
    await plane.patch(f"/customers/{other}/endpoints/{mine['id']}", {"channels": 1}, status=404)
    await plane.delete(f"/customers/{other}/endpoints/{mine['id']}", status=404)
    await plane.get("/customers/999/endpoints", status=404)
    await plane.post("/customers/999/endpoints", SENDS, status=404)
    await plane.post(f"/customers/{other}/endpoints", {**SENDS, "customer_id": acme}, status=400)
    await plane.patch(f"/endpoints/{mine['id']}", {"customer_id": other}, status=409)
    assert (await plane.get(f"/endpoints?customer_id={acme}"))["items"] == [mine]
    assert await plane.get(f"/customers/{acme}/endpoints/{mine['id']}") == mine


@with_control
async def test_a_password_is_kept_as_digests_and_shown_nowhere(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    made = await plane.post(f"/customers/{customer}/sip-users", {"username": "alice", "password": "wonderland"})
    record = plane.publisher.records[Key("sip_user", made["id"])]
    assert isinstance(record, SipUser)
    secret = b"alice:tandem:wonderland"
    assert record.ha1_md5 == hashlib.md5(secret).hexdigest()
    assert record.ha1_sha256 == hashlib.sha256(secret).hexdigest()
    assert record.ha1_sha512_256 == hashlib.new("sha512_256", secret).hexdigest()
    await plane.patch(f"/sip-users/{made['id']}", {"password": "looking-glass"})
    everything = [await plane.get("/sip-users"), await plane.get("/audit")]
    for shown in map(str, everything):
        assert "wonderland" not in shown
        assert "looking-glass" not in shown
        assert "ha1" not in shown
        assert record.ha1_md5 not in shown
    assert plane.publisher.records[Key("sip_user", made["id"])] != record


@with_control
async def test_a_user_that_is_renamed_needs_its_password_again(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    path = f"/customers/{customer}/sip-users"
    problem = await plane.post(path, {"username": "alice"}, status=400)
    assert problem["errors"][0]["path"] == "password"
    made = await plane.post(path, {"username": "alice", "password": "wonderland"})
    problem = await plane.patch(f"/sip-users/{made['id']}", {"username": "alicia"}, status=400)
    assert problem["errors"][0]["path"] == "password"
    await plane.patch(f"/sip-users/{made['id']}", {"username": "alicia", "password": "wonderland"})
    await plane.patch(f"/sip-users/{made['id']}", {"channels": 2})
    for name in ("ALICIA", "alicia"):
        await plane.post(path, {"username": name, "password": "wonderland"}, status=409)
    await plane.post(path, {"username": "alicia", "realm": "elsewhere", "password": "wonderland"})
    problem = await plane.post(path, {"username": "b", "password": "wonderland", "ip_allow_list": ["x"]}, status=400)
    assert problem["errors"][0]["path"] == "ip_allow_list[0]"


@with_control
async def test_a_route_sells_by_a_sell_card_in_the_currency_of_the_customer(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    provider = await plane.make_provider()
    buy = await plane.make_buy_card(provider)
    sell = await plane.make_sell_card(vendor_card_ids=[buy])
    euro = await plane.make_sell_card(name="Euro", currency="EUR")
    path = f"/customers/{customer}/ingress-routes"
    for card in (buy, euro, 999):
        problem = await plane.post(path, {"rate_card_id": card}, status=400)
        assert problem["errors"][0]["path"] == "rate_card_id"
    for fields, at in (
        ({"dial_strings": ["44", "(("]}, "dial_strings[1]"),
        ({"capped_rate": "-1"}, "capped_rate"),
        ({"lock_cards": [sell]}, "lock_cards[0]"),
        ({"exclude_cards": [buy, 999]}, "exclude_cards[1]"),
        ({"strategy": "cheapest"}, "strategy"),
        ({"recording": "101"}, "recording"),
    ):
        problem = await plane.post(path, {"rate_card_id": sell, **fields}, status=400)
        assert problem["errors"][0]["path"] == at
    made = await plane.post(
        path,
        {
            "rate_card_id": sell,
            "name": "UK",
            "tech_prefix": "9",
            "dial_strings": ["44", "^1[2-9]"],
            "priority": 3,
            "cps_buffer_s": 2,
            "max_duration_s": 3600,
            "capped_rate": "0.5",
            "profit_mode": "worst_case",
            "block_connect_fee": True,
            "lock_cards": [buy],
            "strategy": "weighted",
            "recording": "25",
        },
    )
    record = plane.publisher.records[Key("ingress_route", made["id"])]
    assert isinstance(record, IngressRoute)
    assert (record.dial_strings, record.capped_rate_nanos, record.lock_cards) == (
        ("44", "^1[2-9]"),
        500_000_000,
        (buy,),
    )
    assert (record.strategy, record.profit_mode, record.max_duration_s) == ("weighted", "worst_case", 3600)
