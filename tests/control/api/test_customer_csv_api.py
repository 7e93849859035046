"""Customers as CSV files through the API: out, in, and what is wrong with a file."""

from __future__ import annotations

import csv
import io
from typing import Any

from tests.fakes.control import ControlPlane, with_control

CSV = {"Content-Type": "text/csv"}

RICH: dict[str, Any] = {
    "name": '  Café, "Straße" ',
    "status": "penalty",
    "penalty_until": "2027-03-01T10:00:00Z",
    "currency": "EUR",
    "debit_limit": "-5.000000001",
    "minimum_payment": "10",
    "minimum_payment_period": "monthly",
    "tax_percent": "20.5",
    "paypal_email": "pay@example.com",
    "website": "https://example.com/a,b",
    "address": "1 Main Street\nLondon",
    "portal_access": True,
    "channels": 7,
    "flow_speed_cps": 2.5,
    "daily_spend_limit": "99.99",
    "allow_inbound_without_credit": True,
    "timers": {"first_reply_ms": None, "pdd_ms": 4000, "ring_ms": None},
    "time_zone": "Europe/London",
    "trust_pai": True,
    "allowed_headers": ["X-Account", "X-Room"],
    "tags": ["gold", "a;b", "[x]", "=1+1"],
    "notes_public": "=cmd|' /C calc'!A0",
    "notes_private": "'@quoted",
}


async def download(plane: ControlPlane, query: str = "") -> bytes:
    answer = await plane.request("GET", f"/customers.csv{query}", status=200)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return answer.content  # type: ignore[no-any-return]


async def upload(plane: ControlPlane, data: bytes | str, status: int = 200, query: str = "") -> Any:
    answer = await plane.request("POST", f"/customers.csv{query}", content=data, headers=CSV, status=status)
    return answer.json()


@with_control
async def test_what_goes_out_comes_back_and_changes_nothing(plane: ControlPlane) -> None:
    await plane.post("/customers", RICH)
    await plane.make_customer(name="Plain")
    before = (await plane.get("/customers"))["items"]
    done = await upload(plane, await download(plane))
    assert (done["lines"], done["created"], done["updated"], done["unchanged"]) == (2, 0, 0, 2)
    assert (await plane.get("/customers"))["items"] == before


@with_control
async def test_a_file_of_one_installation_makes_the_same_customers_on_another(plane: ControlPlane) -> None:
    made = await plane.post("/customers", RICH)
    data = await download(plane)
    await plane.delete(f"/customers/{made['id']}")
    rows = list(csv.DictReader(io.StringIO(data.decode())))
    assert "=cmd" not in {rows[0][name][:4] for name in rows[0]}
    for row in rows:
        row["id"] = ""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    done = await upload(plane, text.getvalue())
    assert (done["created"], done["changes"][0]["action"], done["changes"][0]["line"]) == (1, "create", 2)
    again = await plane.get(f"/customers/{done['changes'][0]['id']}")
    assert {name: again[name] for name in RICH} == {**RICH, "name": RICH["name"].strip()}


@with_control
async def test_a_line_creates_or_updates_by_name_and_leaves_other_columns(plane: ControlPlane) -> None:
    customer = await plane.make_customer(name="Acme", channels=5, website="https://acme.test", tax_percent="5")
    data = "name,channels,website,tax_percent,portal_access\r\nACME,,,,yes\r\nNew One,3,,20,off\r\n"
    done = await upload(plane, data)
    assert [(each["line"], each["action"], each["name"]) for each in done["changes"]] == [
        (2, "update", "ACME"),
        (3, "create", "New One"),
    ]
    assert done["changes"][0]["fields"] == ["name", "website", "portal_access", "channels"]
    acme = await plane.get(f"/customers/{customer}")
    assert (acme["channels"], acme["website"], acme["tax_percent"], acme["portal_access"]) == (None, "", "5", True)
    rows = (await plane.get("/audit?noun=customer&limit=2"))["items"]
    assert sorted(row["action"] for row in rows) == ["create", "update"]


@with_control
async def test_every_mistake_is_named_by_line_and_column_and_nothing_is_taken(plane: ControlPlane) -> None:
    await plane.make_customer(name="Acme", currency="EUR")
    data = "\n".join(
        [
            "name,currency,channels,website,time_zone,debit_limit,status,timers",
        ]
    )
    problem = await upload(plane, data, 400)
    assert [(each["line"], each["column"]) for each in problem["errors"]] == [(1, "timers")]
    data = "\n".join(
        [
            "name,currency,channels,website,time_zone,debit_limit,status,pdd_ms",
            "Good,USD,1,,UTC,5,active,4000",
            "Bad cells,usd,-1,,UTC,1e9,asleep,5",
            '"two',
            'lines",USD,1,,UTC,,,',
            "Bad rules,XXQ,1,javascript:x,Mars/Olympus,,,",
            "acme,USD,1,,UTC,,,",
            " GOOD ,USD,1,,UTC,,,",
            ",USD,1,,UTC,,,",
            "short,USD",
            "Timer,USD,1,,UTC,,,soon",
        ]
    )
    problem = await upload(plane, data, 400)
    assert [(each["line"], each.get("column", "")) for each in problem["errors"]] == [
        (3, "currency"),
        (3, "channels"),
        (3, "debit_limit"),
        (3, "status"),
        (3, "pdd_ms"),
        (4, "name"),
        (6, "currency"),
        (6, "time_zone"),
        (6, "website"),
        (7, "currency"),
        (8, "name"),
        (9, "name"),
        (10, ""),
        (11, "pdd_ms"),
    ]
    assert [row["name"] for row in (await plane.get("/customers"))["items"]] == ["Acme"]


@with_control
async def test_a_dry_run_says_what_would_happen(plane: ControlPlane) -> None:
    await plane.make_customer(name="Acme")
    done = await upload(plane, "name,channels\nAcme,4\nNew,5\n", query="?dry_run=true")
    assert (done["created"], done["updated"], done["is_dry_run"]) == (1, 1, True)
    assert [each["id"] for each in done["changes"]] != [None, None]
    assert done["changes"][1]["id"] is None
    (acme,) = (await plane.get("/customers"))["items"]
    assert (acme["channels"], acme["row_version"]) == (None, 1)


@with_control
async def test_the_id_of_another_customer_is_no_way_to_its_name(plane: ControlPlane) -> None:
    ids = [await plane.make_customer(name=name) for name in ("One", "Two")]
    problem = await upload(plane, f"id,name,channels\n{ids[0]},Two,3\nx,One,3\n", 400)
    assert [(each["line"], each["column"]) for each in problem["errors"]] == [(2, "id"), (3, "id")]
    await upload(plane, f"id,name,channels\n{ids[0]},One,3\n")


@with_control
async def test_only_what_matches_is_downloaded_by_name(plane: ControlPlane) -> None:
    for name in ("b", "C", "a"):
        await plane.make_customer(name=name, status="inactive" if name == "b" else "active")
    for query, names in (("", ["a", "b", "C"]), ("?status=active", ["a", "C"]), ("?search=zzz", [])):
        rows = list(csv.DictReader(io.StringIO((await download(plane, query)).decode())))
        assert [row["name"] for row in rows] == names
    await plane.get("/customers.csv?bogus=1", status=400)


@with_control
async def test_a_file_may_come_as_a_part_of_a_form(plane: ControlPlane) -> None:
    files = {"file": ("customers.csv", b"name\nForm\n", "text/csv")}
    done = (await plane.request("POST", "/customers.csv", files=files, status=200)).json()
    assert done["created"] == 1
    await upload(plane, b"", 400)
    await plane.request("POST", "/customers.csv", content=b"name\nX\n", headers=CSV, role="read-only", status=403)
