"""Network information and broadband usage through the API."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.control.api.test_any_input import Planes
from tests.fakes.control import ControlPlane, with_control
from tests.fakes.databases import Database

GIB = 2**30


async def make_client(plane: ControlPlane, name: str = "Tenant", **fields: Any) -> int:
    return int((await plane.post("/clients", {"name": name, "status": "active", **fields}))["id"])


async def make_site(plane: ControlPlane, name: str = "North House") -> int:
    return int((await plane.post("/sites", {"name": name}))["id"])


async def make_network(plane: ControlPlane, client: int, site: int, status: int = 201, **fields: Any) -> dict[str, Any]:
    body = {"site_id": site, "vlan": 100, "subnet": "10.0.0.0/24", "gateway": "10.0.0.1", **fields}
    return dict(await plane.post(f"/clients/{client}/network-info", body, status=status))


@with_control
async def test_a_network_has_vlan_subnet_gateway_dns_and_public_addresses(plane: ControlPlane) -> None:
    client, site = await make_client(plane), await make_site(plane)
    made = await make_network(
        plane, client, site, dns=["10.0.0.2", "2001:DB8::53"], public_addresses=["198.51.100.7/32", "203.0.113.8/29"]
    )
    assert made["dns"] == ["10.0.0.2", "2001:db8::53"]
    assert made["public_addresses"] == ["198.51.100.7", "203.0.113.8/29"]
    assert (made["site"], made["internet_is_on"], made["local_network_is_on"]) == ("North House", True, True)
    assert (await plane.get(f"/clients/{client}/network-info"))["items"] == [made]
    six = await make_network(plane, client, site, vlan=4094, subnet="2001:db8:1::/64", gateway="2001:db8:1::1")
    assert six["gateway"] == "2001:db8:1::1"
    for fields, path in (
        ({"vlan": 0}, "vlan"),
        ({"vlan": 4095}, "vlan"),
        ({"subnet": "10.0.1.0/33"}, "subnet"),
        ({"subnet": "10.0.1.1/24"}, "subnet"),
        ({"subnet": "10.0.1.0/24", "gateway": "10.0.0.1"}, "gateway"),
        ({"subnet": "10.0.1.0/24", "gateway": "10.0.1.255"}, "gateway"),
        ({"subnet": "10.0.1.0/24", "gateway": "10.0.1.0"}, "gateway"),
        ({"subnet": "10.0.1.0/24", "gateway": "2001:db8::1"}, "gateway"),
        ({"subnet": "10.0.1.0/24", "gateway": "10.0.1.1", "dns": ["1.1.1.1", "dns.example"]}, "dns[1]"),
        (
            {"subnet": "10.0.1.0/24", "gateway": "10.0.1.1", "public_addresses": ["192.0.2.1", "192.0.2.0/24"]},
            "public_addresses[1]",
        ),
        ({"site_id": 99}, "site_id"),
    ):
        problem = await make_network(plane, client, site, status=400, **{"vlan": 101, **fields})
        assert problem["errors"][0]["path"] == path, fields


@with_control
async def test_vlans_and_subnets_are_one_clients_at_a_site_and_public_addresses_anywhere(plane: ControlPlane) -> None:
    one, two = await make_client(plane), await make_client(plane, "Other")
    site, far = await make_site(plane), await make_site(plane, "South House")
    first = await make_network(plane, one, site, public_addresses=["203.0.113.8/29"])
    for fields, path in (
        ({"subnet": "10.0.9.0/24", "gateway": "10.0.9.1"}, "vlan"),
        ({"vlan": 101, "subnet": "10.0.0.128/25", "gateway": "10.0.0.129"}, "subnet"),
        (
            {"vlan": 101, "subnet": "10.1.0.0/24", "gateway": "10.1.0.1", "public_addresses": ["203.0.113.9"]},
            "public_addresses[0]",
        ),
    ):
        problem = await make_network(plane, two, site, status=409, **fields)
        assert problem["errors"][0]["path"] == path
    await make_network(plane, two, far)
    await plane.patch(f"/network-info/{first['id']}", {"vlan": 7})
    await plane.delete(f"/network-info/{first['id']}")
    await make_network(plane, two, site, public_addresses=["203.0.113.9"])


@with_control
async def test_a_suspended_client_has_its_local_network_and_no_internet(plane: ControlPlane) -> None:
    client, site = await make_client(plane), await make_site(plane)
    await make_network(plane, client, site)
    await plane.post(f"/clients/{client}/suspend", {}, status=200)
    shown = (await plane.get(f"/clients/{client}/network-info"))["items"][0]
    assert (shown["internet_is_on"], shown["local_network_is_on"]) == (False, True)


@with_control
async def test_network_info_is_listed_by_client_and_site(plane: ControlPlane) -> None:
    client, site = await make_client(plane), await make_site(plane)
    await make_network(plane, client, site)
    assert (await plane.get(f"/network-info?client_id={client}"))["items"][0]["vlan"] == 100
    assert (await plane.get(f"/network-info?site_id={site + 1}"))["items"] == []
    other = await make_client(plane, "Other")
    row = (await plane.get(f"/clients/{client}/network-info"))["items"][0]["id"]
    await plane.get(f"/clients/{other}/network-info/{row}", status=404)


def usage(client: int, day: str, up: int, down: int) -> dict[str, Any]:
    return {"client_id": client, "day": day, "bytes_up": up, "bytes_down": down}


async def post(plane: ControlPlane, *items: dict[str, Any], status: int = 200) -> Any:
    return await plane.post("/broadband-usage", {"items": list(items)}, status=status, role="operator")


@with_control
async def test_the_same_figures_again_change_nothing_and_others_replace(plane: ControlPlane) -> None:
    one, two = await make_client(plane), await make_client(plane, "Other", billing_ref="OTHER")
    items = [
        usage(one, "2027-01-10", 5, 9 * GIB),
        {"billing_ref": "other", "day": "2027-01-10", "bytes_up": 1, "bytes_down": 2},
    ]
    assert await post(plane, *items) == {"created": 2, "replaced": 0, "unchanged": 0}
    assert await post(plane, *items) == {"created": 0, "replaced": 0, "unchanged": 2}
    items[0]["bytes_up"] = 6
    assert await post(plane, *items) == {"created": 0, "replaced": 1, "unchanged": 1}
    audit = (await plane.get("/audit?noun=broadband_usage"))["items"]
    assert [(row["action"], row["noun_id"]) for row in audit] == [("replace", f"{one}/2027-01-10"), ("post", "")]
    assert audit[0]["before"] == {"bytes_up": 5, "bytes_down": 9 * GIB}
    assert audit[0]["after"] == {"bytes_up": 6, "bytes_down": 9 * GIB}
    assert (await plane.get(f"/clients/{two}/broadband-usage"))["items"][0]["bytes_down"] == 2


@with_control
async def test_a_bad_item_refuses_the_post_and_each_is_named(plane: ControlPlane) -> None:
    client = await make_client(plane, time_zone="Pacific/Auckland")
    bad = [
        usage(client, "2027-01-10", 1, 1),
        usage(client, "2027-01-10", 1, 2),
        usage(client, "2027-02-30", 1, 1),
        usage(client, "2027-01-16", 1, 1),
        usage(999, "2027-01-10", 1, 1),
        {"day": "2027-01-10", "bytes_up": 1, "bytes_down": 1},
        {"billing_ref": "nobody", "day": "2027-01-10", "bytes_up": 1, "bytes_down": 1},
    ]
    problem = await post(plane, *bad, status=400)
    assert [each["path"] for each in problem["errors"]] == [
        "items[1].day",
        "items[2].day",
        "items[3].day",
        "items[4].client_id",
        "items[5].client_id",
        "items[6].billing_ref",
    ]
    assert (await plane.get(f"/clients/{client}/broadband-usage"))["items"] == []
    for items in ([], [usage(client, "2027-01-10", -1, 1)], [usage(client, "2027-01-10", 10**16, 1)]):
        await post(plane, *items, status=400)
    await plane.post("/broadband-usage", {"items": bad[:1]}, status=403, role="read-only")


@with_control
async def test_usage_is_viewed_by_day_and_month_and_client(plane: ControlPlane) -> None:
    one, two = await make_client(plane, "One"), await make_client(plane, "Two")
    await post(
        plane,
        usage(one, "2026-12-31", 1, 10),
        usage(one, "2027-01-01", 2, 20),
        usage(one, "2027-01-02", 4, 40),
        usage(two, "2027-01-02", 8, 80),
    )

    async def seen(path: str) -> list[tuple[Any, ...]]:
        rows = (await plane.get(path))["items"]
        return [(row["client"], row["period"], row["days"], row["bytes_up"], row["bytes_down"]) for row in rows]

    assert await seen(f"/clients/{one}/broadband-usage") == [
        ("One", "2027-01-02", 1, 4, 40),
        ("One", "2027-01-01", 1, 2, 20),
        ("One", "2026-12-31", 1, 1, 10),
    ]
    assert await seen(f"/clients/{one}/broadband-usage?by=month") == [
        ("One", "2027-01", 2, 6, 60),
        ("One", "2026-12", 1, 1, 10),
    ]
    assert await seen(f"/clients/{one}/broadband-usage?from=2027-01-01&to=2027-01-01") == [
        ("One", "2027-01-01", 1, 2, 20)
    ]
    assert await seen("/broadband-usage?from=2027-01-01") == [("One", "", 2, 6, 60), ("Two", "", 1, 8, 80)]
    assert await seen("/broadband-usage?by=month&to=2026-12-31") == [("One", "2026-12", 1, 1, 10)]
    assert len(await seen("/broadband-usage?by=day")) == 4
    await plane.get("/clients/999/broadband-usage", status=404)
    await plane.get("/broadband-usage?from=2027-13-01", status=400)


def test_whatever_is_posted_in_whatever_order_the_last_figures_stand(database: Database) -> None:
    with Planes(database) as planes:
        client = planes.ask("POST", "/clients", json={"name": "T", "status": "active"}).json()["id"]

        @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
        @given(
            posts=st.lists(st.dictionaries(st.integers(1, 5), st.integers(0, 3), min_size=1, max_size=5), max_size=4)
        )
        def holds(posts: list[dict[int, int]]) -> None:
            for each in posts:
                items = [usage(client, f"2027-01-{day:02d}", up, up) for day, up in each.items()]
                first = planes.ask("POST", "/broadband-usage", json={"items": items}).json()
                assert sum(first.values()) == len(items)
                again = planes.ask("POST", "/broadband-usage", json={"items": items}).json()
                assert again == {"created": 0, "replaced": 0, "unchanged": len(items)}
                stored = planes.ask("GET", f"/clients/{client}/broadband-usage").json()["items"]
                shown = {row["period"]: row["bytes_up"] for row in stored}
                assert {f"2027-01-{day:02d}": up for day, up in each.items()}.items() <= shown.items()

        holds()


@with_control
async def test_usage_of_all_clients_comes_in_pages_and_each_row_once(plane: ControlPlane) -> None:
    for name in ("delta", "Charlie", "Bravo"):
        client = (await plane.post("/clients", {"name": name, "status": "active"}))["id"]
        days = ("2026-12-31", "2027-01-01", "2027-01-02")
        await post(plane, *[{"client_id": client, "day": day, "bytes_up": 1, "bytes_down": 2} for day in days])
    for by, total in (("total", 3), ("month", 6), ("day", 9)):
        whole = (await plane.get(f"/broadband-usage?by={by}"))["items"]
        assert len(whole) == total
        assert [row["client"] for row in whole] == sorted((row["client"] for row in whole), key=str.casefold)
        rows: list[Any] = []
        cursor = ""
        while cursor is not None:
            page = await plane.get(f"/broadband-usage?by={by}&limit=2&cursor={cursor}")
            assert 0 < len(page["items"]) <= 2
            rows, cursor = rows + page["items"], page["next_cursor"]
        assert rows == whole
    page = await plane.get("/broadband-usage?by=day&limit=1")
    for query in (f"by=month&cursor={page['next_cursor']}", "cursor=zz", "limit=0", "limit=501"):
        await plane.get(f"/broadband-usage?{query}", status=400)
