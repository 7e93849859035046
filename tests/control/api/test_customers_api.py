"""Customers through the API: fields, rules, races, deletion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from control.services.customers import end_penalties
from switch.snapshot import Customer, Key
from tests.fakes.control import ControlPlane, live_call, with_control

BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"name": "a\nb"}, "name"),
    ({"name": "x" * 121}, "name"),
    ({"name": " \u3000"}, "name"),
    ({"currency": "usd"}, "currency"),
    ({"currency": "XXQ"}, "currency"),
    ({"status": "asleep"}, "status"),
    ({"status": "penalty"}, "penalty_until"),
    ({"status": "penalty", "penalty_until": "2020-01-01T00:00:00Z"}, "penalty_until"),
    ({"penalty_until": "2028-01-01T00:00:00Z"}, "penalty_until"),
    ({"status": "penalty", "penalty_until": "2028-01-01T00:00:00"}, "penalty_until"),
    ({"debit_limit": 5}, "debit_limit"),
    ({"debit_limit": 0.1}, "debit_limit"),
    ({"debit_limit": "NaN"}, "debit_limit"),
    ({"debit_limit": "Infinity"}, "debit_limit"),
    ({"debit_limit": "1e400"}, "debit_limit"),
    ({"debit_limit": "0." + "1" * 40}, "debit_limit"),
    ({"debit_limit": "9" * 20}, "debit_limit"),
    ({"minimum_payment": "-1"}, "minimum_payment"),
    ({"minimum_payment_period": "yearly"}, "minimum_payment_period"),
    ({"tax_percent": "101"}, "tax_percent"),
    ({"tax_percent": "20.00001"}, "tax_percent"),
    ({"paypal_email": "not mail"}, "paypal_email"),
    ({"paypal_email": "a@b"}, "paypal_email"),
    ({"website": "javascript:alert(1)"}, "website"),
    ({"website": "http://[::1"}, "website"),
    ({"channels": -1}, "channels"),
    ({"channels": 2**70}, "channels"),
    ({"channels": 1.5}, "channels"),
    ({"flow_speed_cps": 0}, "flow_speed_cps"),
    ({"daily_spend_limit": "-0.01"}, "daily_spend_limit"),
    ({"timers": {"pdd_ms": "1"}}, "timers.pdd_ms"),
    ({"timers": {"pdd": 1000}}, "timers.pdd"),
    ({"time_zone": "Mars/Olympus"}, "time_zone"),
    ({"time_zone": "../../etc/passwd"}, "time_zone"),
    ({"tags": ["a", ""]}, "tags[1]"),
    ({"client_id": 999}, "client_id"),
    ({"bogus": 1}, "bogus"),
]


@with_control
async def test_a_bad_field_is_named_on_creation_and_on_change(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    for fields, path in BAD_FIELDS:
        for method, at in (("POST", "/customers"), ("PATCH", f"/customers/{customer}")):
            if method == "PATCH" and "currency" in fields:
                continue
            body = {"name": "Other", **fields} if method == "POST" else fields
            problem = (await plane.request(method, at, body, status=400)).json()
            assert [error["path"] for error in problem["errors"]] == [path], fields


@with_control
async def test_a_new_customer_is_in_the_switch_before_the_answer(plane: ControlPlane) -> None:
    answer = await plane.request("POST", "/customers", {"name": "Acme", "tax_percent": "20.5", "debit_limit": "-5"})
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/v1/customers/{made['id']}"
    assert answer.headers["etag"] == '"1"'
    assert "tandem-switch" not in answer.headers
    assert plane.publisher.records[Key("customer", made["id"])] == Customer(
        id=made["id"], name="Acme", status="active", tax_ppm=205_000, debit_limit_nanos=-5_000_000_000
    )
    assert made["tax_percent"] == "20.5"
    assert made["debit_limit"] == "-5"


@with_control
async def test_a_change_is_stored_and_said_to_be_pending_while_the_switch_is_away(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    plane.publisher.is_away = True
    answer = await plane.request("PATCH", f"/customers/{customer}", {"channels": 7}, status=200)
    assert answer.headers["tandem-switch"] == "pending"
    assert (await plane.get(f"/customers/{customer}"))["channels"] == 7


@with_control
async def test_only_the_fields_sent_change(plane: ControlPlane) -> None:
    customer = await plane.make_customer(channels=5, timers={"pdd_ms": 4000}, tags=["gold"])
    changed = await plane.patch(f"/customers/{customer}", {"timers": {"ring_ms": 9000}})
    assert changed["timers"] == {"first_reply_ms": None, "pdd_ms": 4000, "ring_ms": 9000}
    assert (changed["channels"], changed["tags"], changed["name"]) == (5, ["gold"], "Acme Voice")
    assert changed["row_version"] == 2
    same = await plane.patch(f"/customers/{customer}", {"channels": 5})
    assert same["row_version"] == 2, "nothing changed, so nothing is counted or published"
    assert (await plane.patch(f"/customers/{customer}", {"channels": None}))["channels"] is None


@with_control
async def test_the_later_of_two_edits_with_one_version_is_refused(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    path = f"/customers/{customer}"
    await plane.patch(path, {"channels": 1}, headers={"If-Match": '"1"'})
    await plane.patch(path, {"channels": 2}, headers={"If-Match": '"1"'}, status=412)
    await plane.patch(path, {"channels": 2, "row_version": 1}, status=409)
    await plane.patch(path, {"channels": 2, "row_version": "1"}, status=400)
    await plane.patch(path, {"channels": 2}, headers={"If-Match": "soon"}, status=400)
    await plane.delete(path, headers={"If-Match": '"1"'}, status=412)
    assert (await plane.get(path))["channels"] == 1
    assert (await plane.patch(path, {"channels": 2, "row_version": 2}))["channels"] == 2


@with_control
async def test_names_that_differ_by_case_or_unicode_form_are_one_name(plane: ControlPlane) -> None:
    await plane.make_customer(name="Café Straße")
    for name in ("CAFÉ STRASSE", "Cafe\u0301 Straße", "  café  straße ", "Ｃafé Straße"):
        problem = await plane.post("/customers", {"name": name}, status=409)
        assert problem["errors"][0]["path"] == "name"


@with_control
async def test_a_currency_is_picked_from_the_list_of_those_that_there_are(plane: ControlPlane) -> None:
    listed = (await plane.get("/currencies", role="read-only"))["items"]
    decimals = {row["code"]: row["decimals"] for row in listed}
    assert (decimals["EUR"], decimals["JPY"], decimals["KWD"]) == (2, 0, 3)
    assert list(decimals) == sorted(decimals)
    for code in decimals:
        assert (await plane.post("/customers", {"name": code, "currency": code}))["currency"] == code
    problem = await plane.post("/customers", {"name": "Other", "currency": "XXX"}, status=400)
    assert problem["errors"][0]["path"] == "currency"


@with_control
async def test_the_currency_never_changes(plane: ControlPlane) -> None:
    customer = await plane.make_customer(currency="EUR")
    problem = await plane.patch(f"/customers/{customer}", {"currency": "USD"}, status=409)
    assert problem["errors"][0]["path"] == "currency"
    await plane.patch(f"/customers/{customer}", {"currency": "EUR"})


@pytest.mark.parametrize(
    ("was", "status", "answer"),
    [
        ("pending_approval", "active", 200),
        ("active", "inactive", 200),
        ("inactive", "active", 200),
        ("active", "pending_approval", 409),
        ("inactive", "pending_approval", 409),
        ("pending_approval", "penalty", 409),
    ],
)
def test_a_status_moves_only_along_its_arrows(was: str, status: str, answer: int, tmp_path: Path) -> None:
    @with_control
    async def run(plane: ControlPlane) -> None:
        customer = await plane.make_customer(status=was)
        body = (
            {"status": status, "penalty_until": "2028-01-01T00:00:00Z"} if status == "penalty" else {"status": status}
        )
        await plane.patch(f"/customers/{customer}", body, status=answer)

    run(tmp_path)


@with_control
async def test_a_customer_with_live_calls_is_not_deleted_and_the_calls_are_named(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    plane.switch.calls.append(live_call(customer))
    problem = (await plane.delete(f"/customers/{customer}", status=409)).json()
    assert problem["references"] == [{"noun": "call", "id": "0" * 31 + "1", "name": "442071838750"}]
    plane.switch.calls.clear()
    plane.switch.is_connected = False
    await plane.delete(f"/customers/{customer}", status=409)
    plane.switch.is_connected = True
    await plane.delete(f"/customers/{customer}")


@with_control
async def test_a_deleted_customer_goes_with_what_it_owns_and_leaves_its_name(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    card = await plane.make_sell_card()
    await plane.post(f"/customers/{customer}/endpoints", {"direction": "egress", "host": "192.0.2.1"})
    await plane.post(f"/customers/{customer}/sip-users", {"username": "alice", "password": "wonderland"})
    await plane.post(f"/customers/{customer}/ingress-routes", {"rate_card_id": card})
    await plane.delete(f"/customers/{customer}")
    assert plane.publisher.kinds() == ["rate_card"]
    for path in ("/customers", "/endpoints", "/sip-users", "/ingress-routes"):
        assert (await plane.get(path))["items"] == []
    await plane.get(f"/customers/{customer}", status=404)
    await plane.make_customer()


@with_control
async def test_lists_filter_search_sort_and_page(plane: ControlPlane) -> None:
    for number in range(7):
        await plane.make_customer(name=f"Customer {number}", tags=["odd"] if number % 2 else [])
    other = await plane.make_customer(name="Zulu 100%", status="inactive")
    await plane.post(f"/customers/{other}/endpoints", {"direction": "egress", "host": "203.0.113.77"})
    await plane.post(f"/customers/{other}/sip-users", {"username": "zoe", "password": "wonderland"})

    async def names(query: str) -> list[str]:
        return [item["name"] for item in (await plane.get(f"/customers?{query}"))["items"]]

    assert await names("status=inactive") == ["Zulu 100%"]
    assert await names("search=203.0.113") == ["Zulu 100%"]
    assert await names("search=ZOE") == ["Zulu 100%"]
    assert await names("search=0%25") == ["Zulu 100%"], "a percent sign is itself, not anything"
    assert await names("search=odd&sort=-id") == ["Customer 5", "Customer 3", "Customer 1"]
    for sort in ("name", "-name", "id", "-created_at"):
        whole = await names(f"sort={sort}&limit=500")
        walked, cursor = [], ""
        while cursor is not None:
            page = await plane.get(f"/customers?sort={sort}&limit=3&cursor={cursor}")
            walked += [item["name"] for item in page["items"]]
            cursor = page["next_cursor"]
        assert walked == whole
        assert len(whole) == 8
    for query, path in (("limit=0", "limit"), ("sort=tags", "sort"), ("cursor=x", "cursor"), ("nope=1", "nope")):
        problem = await plane.get(f"/customers?{query}", status=400)
        assert problem["errors"][0]["path"] == path
    cursor = (await plane.get("/customers?sort=name&limit=1"))["next_cursor"]
    await plane.get(f"/customers?sort=id&cursor={cursor}", status=400)


@with_control
async def test_sql_and_markup_in_fields_come_back_as_data(plane: ControlPlane) -> None:
    for number, text in enumerate(["'; DROP TABLE customers; --", "<script>alert(1)</script>", '"},{"id":1', "\\"]):
        customer = await plane.make_customer(name=f"{text} {number}", notes_public=text)
        assert (await plane.get(f"/customers/{customer}"))["notes_public"] == text


@with_control
async def test_a_penalty_ends_by_itself(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    body = {"status": "penalty", "penalty_until": "2027-01-15T09:00:00Z"}
    await plane.patch(f"/customers/{customer}", body)
    assert await end_penalties(plane.ctx) == 0
    plane.clock.ms += 3_600_000
    assert await end_penalties(plane.ctx) == 1
    shown = await plane.get(f"/customers/{customer}")
    assert (shown["status"], shown["penalty_until"]) == ("active", None)


@with_control
async def test_who_lifts_a_penalty_need_not_name_its_end(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    for status in ("active", "inactive"):
        body = {"status": "penalty", "penalty_until": "2027-01-15T09:00:00Z"}
        await plane.patch(f"/customers/{customer}", body)
        assert (await plane.patch(f"/customers/{customer}", {"channels": 3}))["status"] == "penalty"
        lifted = await plane.patch(f"/customers/{customer}", {"status": status})
        assert (lifted["status"], lifted["penalty_until"]) == (status, None)
    await plane.patch(f"/customers/{customer}", {"penalty_until": "2027-01-15T09:00:00Z"}, status=400)


@with_control
async def test_a_tag_is_there_once_and_a_name_that_is_taken_is_named(plane: ControlPlane) -> None:
    customer = await plane.make_customer(tags=["gold", "tin", "gold"])
    assert (await plane.get(f"/customers/{customer}"))["tags"] == ["gold", "tin"]
    problem = await plane.post("/customers", {"name": "ACME voice"}, status=409)
    assert problem["references"] == [{"noun": "customer", "id": str(customer), "name": "Acme Voice"}]
