"""Providers, gateways, rate cards and their revisions through the API."""

from __future__ import annotations

from typing import Any

from switch.outputs import GatewayHealth
from switch.snapshot import Gateway, Key, Provider, RateCard
from tests.fakes.control import START_MS, ControlPlane, with_control

DECK = b"prefix,name,rate,increment\n44,UK,0.02,60/1\n4420,UK London,0.015,1/1\n1,USA,0.01,6/6\n"


async def load(
    plane: ControlPlane, card: int, body: bytes = DECK, query: str = "", status: int = 201
) -> dict[str, Any]:
    path = f"/rate-cards/{card}/revisions?{query}"
    found: dict[str, Any] = (await plane.request("POST", path, content=body, status=status)).json()
    return found


def record_of(plane: ControlPlane, card: int) -> RateCard:
    record = plane.publisher.records[Key("rate_card", card)]
    assert isinstance(record, RateCard)
    return record


@with_control
async def test_a_provider_reaches_the_switch_with_its_causes_and_timers(plane: ControlPlane) -> None:
    body = {"cause_table": {"503": "stop", "404": "next"}, "timers": {"pdd_ms": 4000}, "number_format": "plus"}
    provider = await plane.make_provider(**body)
    record = plane.publisher.records[Key("provider", provider)]
    assert isinstance(record, Provider)
    assert record.cause_table == {503: "stop", 404: "next"}
    assert (record.pdd_ms, record.number_format) == (4000, "plus")
    for table in ({"200": "next"}, {"x": "next"}, {"503": "retry"}):
        problem = await plane.patch(f"/providers/{provider}", {"cause_table": table}, status=400)
        assert problem["errors"][0]["path"].startswith("cause_table")


@with_control
async def test_gateways_show_the_health_that_the_switch_sees(plane: ControlPlane) -> None:
    provider = await plane.make_provider()
    path = f"/providers/{provider}/gateways"
    gateway = await plane.post(path, {"host": "sip.vendor.example", "weight": 3, "probe": True, "also_tcp": True})
    record = plane.publisher.records[Key("gateway", gateway["id"])]
    assert isinstance(record, Gateway)
    assert (record.weight, record.probe, record.also_tcp, record.host) == (3, True, True, "sip.vendor.example")
    assert gateway["health"] is None
    health = GatewayHealth(gateway_id=gateway["id"], is_up=False, reason="503 to OPTIONS", changed_ms=START_MS)
    plane.switch.gateways.append(health)
    shown = {"is_up": False, "reason": "503 to OPTIONS", "changed_at": "2027-01-15T08:00:00Z"}
    assert (await plane.get(f"/gateways/{gateway['id']}"))["health"] == shown
    assert (await plane.get(path))["items"][0]["health"] == shown
    assert (await plane.get("/stats/gateways"))["items"][0]["health"] == shown
    plane.switch.is_connected = False
    assert (await plane.get(path))["items"][0]["health"] is None
    await plane.post(path, {"host": "10.0.0.1", "transport": "tls", "also_tcp": True}, status=400)


@with_control
async def test_what_others_refer_to_is_not_deleted_and_they_are_listed(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    provider = await plane.make_provider()
    gateway = await plane.post(f"/providers/{provider}/gateways", {"host": "10.0.0.1"})
    buy = await plane.make_buy_card(provider)
    sell = await plane.make_sell_card(vendor_card_ids=[buy])
    route = await plane.post(f"/customers/{customer}/ingress-routes", {"rate_card_id": sell, "exclude_cards": [buy]})

    async def references(path: str) -> set[tuple[str, str]]:
        problem = (await plane.delete(path, status=409)).json()
        return {(each["noun"], each["id"]) for each in problem["references"]}

    assert await references(f"/providers/{provider}") == {("rate_card", str(buy))}
    routes = {("ingress_route", str(route["id"]))}
    assert await references(f"/rate-cards/{buy}") == {("rate_card", str(sell))} | routes
    assert await references(f"/rate-cards/{sell}") == routes
    await plane.delete(f"/ingress-routes/{route['id']}")
    for path in (f"/rate-cards/{sell}", f"/rate-cards/{buy}", f"/providers/{provider}"):
        await plane.delete(path)
    await plane.get(f"/gateways/{gateway['id']}", status=404)
    assert plane.publisher.kinds() == ["customer"]


@with_control
async def test_cards_keep_their_direction_and_fit_their_provider(plane: ControlPlane) -> None:
    provider = await plane.make_provider()
    buy = await plane.make_buy_card(provider)
    for body, path in (
        ({"direction": "buy"}, "provider_id"),
        ({"direction": "buy", "provider_id": 999}, "provider_id"),
        ({"direction": "buy", "provider_id": provider, "currency": "EUR"}, "currency"),
        ({"direction": "buy", "provider_id": provider, "vendor_card_ids": [buy]}, "vendor_card_ids"),
        ({"direction": "sell", "provider_id": provider}, "provider_id"),
        ({"direction": "sell", "currency": "EUR", "vendor_card_ids": [buy]}, "vendor_card_ids[0]"),
        ({"direction": "sell", "vendor_card_ids": [999]}, "vendor_card_ids[0]"),
        ({"direction": "sell", "decimals": 10}, "decimals"),
        ({"direction": "sell", "rounding": "sideways"}, "rounding"),
        ({"direction": "sell", "max_cost": "-1"}, "max_cost"),
    ):
        problem = await plane.post("/rate-cards", {"name": "Other", **body}, status=400)
        assert problem["errors"][0]["path"] == path
    await plane.patch(f"/rate-cards/{buy}", {"direction": "sell"}, status=409)
    await plane.patch(f"/rate-cards/{buy}", {"currency": "EUR"}, status=409)


@with_control
async def test_a_price_list_is_loaded_activated_and_read_by_prefix(plane: ControlPlane) -> None:
    card = await plane.make_sell_card()
    await load(plane, card, query="activate=true&file_name=march.csv")
    path = f"/rate-cards/{card}/revisions"
    revision = (await plane.get(path))["items"][0]
    assert (revision["rows"], revision["is_active"], revision["file_name"]) == (3, True, "march.csv")
    (record,) = record_of(plane, card).revisions
    assert record.id == revision["id"]
    assert (plane.folder / f"{record.path}.trie").exists()
    rows = f"{path}/{revision['id']}/rows"
    assert [row["prefix"] for row in (await plane.get(f"{rows}?prefix=44"))["items"]] == ["44", "4420"]
    assert [row["prefix"] for row in (await plane.get(f"{rows}?number=442071838750"))["items"]] == ["4420", "44"]
    walked, cursor = [], ""
    while cursor is not None:
        page = await plane.get(f"{rows}?limit=1&cursor={cursor}")
        walked += [row["prefix"] for row in page["items"]]
        cursor = page["next_cursor"]
    assert walked == ["1", "44", "4420"]
    assert list((plane.folder / "uploads").iterdir()) == []


@with_control
async def test_a_bad_row_refuses_the_file_by_line_and_the_old_revision_stays(plane: ControlPlane) -> None:
    card = await plane.make_sell_card()
    await load(plane, card, query="activate=true")
    before = record_of(plane, card)
    bad = b"prefix,name,rate\n44,UK,0.02\n45,DK,NaN\n44,UK again,0.03\n46,SE,-1\n"
    problem = await load(plane, card, bad, "activate=true", status=400)
    assert [error["line"] for error in problem["errors"]] == [3, 4, 5]
    assert record_of(plane, card) == before
    assert len(list((plane.folder / "decks" / str(card)).iterdir())) == 2
    await load(plane, card, b"", status=400)
    await load(plane, card, b"\x00\xff\xfe", status=400)
    await load(plane, card, query="time_zone=Mars/Base", status=400)
    await load(plane, card, query="columns={", status=400)
    await load(plane, 999, status=404)


@with_control
async def test_a_dry_run_compares_and_keeps_nothing(plane: ControlPlane) -> None:
    card = await plane.make_sell_card()
    await load(plane, card, query="activate=true")
    dearer = DECK.replace(b"0.02,", b"0.03,")
    answer = await plane.request(
        "POST",
        f"/rate-cards/{card}/revisions?dry_run=true&diff=true",
        files={"file": ("april.csv", dearer)},
        status=200,
    )
    assert answer.json()["diff"]["counts"]["raised"] == 1
    assert answer.json()["diff"]["raised"][0]["prefix"] == "44"
    assert answer.json()["revision"] is None
    assert len((await plane.get(f"/rate-cards/{card}/revisions"))["items"]) == 1
    assert len(list((plane.folder / "decks" / str(card)).iterdir())) == 2


@with_control
async def test_activation_can_wait_be_taken_back_and_be_rolled_back(plane: ControlPlane) -> None:
    card = await plane.make_sell_card()
    path = f"/rate-cards/{card}/revisions"
    await load(plane, card, query="activate=true")
    plane.clock.ms += 1_000
    await load(plane, card, query="activate_at=2027-02-01T00:00:00Z")
    assert [each["state"] for each in (await plane.get(path))["items"]] == ["scheduled", "active"]
    assert [(each.id, each.active_from_ms) for each in record_of(plane, card).revisions] == [
        (1, START_MS),
        (2, 1_801_440_000_000),
    ]
    await plane.post(f"/rate-cards/{card}/rollback", None, status=409)
    plane.clock.ms = 1_801_440_000_000
    assert [each["state"] for each in (await plane.get(path))["items"]] == ["active", "superseded"]
    rolled = await plane.post(f"/rate-cards/{card}/rollback", None, status=200)
    assert rolled["id"] == 1
    assert [each.id for each in record_of(plane, card).revisions] == [1]
    await plane.post(f"{path}/2/activate", {"at": "2027-03-01T00:00:00Z"}, status=200)
    assert (await plane.post(f"{path}/2/cancel", None, status=200))["state"] == "ready"
    await plane.post(f"{path}/2/cancel", None, status=409)
    await plane.post(f"{path}/2/activate", {"at": "2020-01-01T00:00:00Z"}, status=400)
    await plane.post(f"{path}/999/activate", {}, status=404)
    assert (await plane.post(f"{path}/2/activate", {}, status=200))["is_active"] is True
    assert (await plane.get(f"{path}/1/diff"))["counts"]["same"] == 3


@with_control
async def test_rolling_back_twice_goes_back_twice(plane: ControlPlane) -> None:
    card = await plane.make_sell_card()
    for _ in range(3):
        plane.clock.ms += 1_000
        await load(plane, card, query="activate=true")
    rolled = [(await plane.post(f"/rate-cards/{card}/rollback", None, status=200))["id"] for _ in range(2)]
    assert rolled == [2, 1]
    await plane.post(f"/rate-cards/{card}/rollback", None, status=409)


@with_control
async def test_a_revision_activated_twice_in_a_row_is_one_step_back(plane: ControlPlane) -> None:
    card = await plane.make_sell_card()
    await load(plane, card, query="activate=true")
    await load(plane, card, query="activate=true")
    await plane.post(f"/rate-cards/{card}/revisions/2/activate", {}, status=200)
    assert (await plane.post(f"/rate-cards/{card}/rollback", None, status=200))["id"] == 1


@with_control
async def test_a_call_is_priced_by_the_active_revision(plane: ControlPlane) -> None:
    card = await plane.make_sell_card()
    body = {"number": "442071838750", "duration_ms": 61_000}
    await plane.post(f"/rate-cards/{card}/price", body, status=409)
    await load(plane, card, query="activate=true")
    price = await plane.post(f"/rate-cards/{card}/price", body, status=200)
    assert (price["prefix"], price["billed_s"], price["net"]) == ("4420", 61, "0.0153")
