"""DIDs as CSV files through the API: out, in, and every mistake of a file at once."""

from __future__ import annotations

import csv
import io
from typing import Any

from tests.fakes.control import ControlPlane, with_control
from tests.fakes.dids import NUMBER, entries, make_did, make_parties, published, step, whole

CSV = {"Content-Type": "text/csv"}


async def download(plane: ControlPlane, query: str = "") -> str:
    answer = await plane.request("GET", f"/dids.csv{query}", status=200)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return answer.text  # type: ignore[no-any-return]


async def upload(plane: ControlPlane, data: str, status: int = 200, query: str = "") -> Any:
    answer = await plane.request("POST", f"/dids.csv{query}", content=data, headers=CSV, status=status)
    return answer.json()


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@with_control
async def test_what_goes_out_comes_back_and_changes_nothing(plane: ControlPlane) -> None:
    parties = await make_parties(plane)
    destinations = [
        {"kind": "endpoint", "id": parties.endpoint},
        {"kind": "sip_user", "id": parties.user},
        {"kind": "uri", "value": "sip:desk@example.com;transport=tcp"},
        {"kind": "number", "value": "15551230001"},
    ]
    await make_did(plane, **whole(parties, destinations=destinations, name="=1+1", description="a,\nb", channels=3))
    await make_did(plane, number="442071838751")
    kept = await make_did(plane, number="442071838752", customer_id=parties.customer)
    await plane.patch(f"/dids/{kept['id']}", {"destination": destinations[2]})
    gone = await make_did(plane, **whole(parties, number="442071838753"))
    await step(plane, gone, "release")
    before = (await plane.get("/dids"))["items"]
    text = await download(plane)
    first = rows_of(text)[0]
    assert (first["number"], first["customer"], first["provider"], first["customer_card"], first["state"]) == (
        NUMBER,
        "Acme",
        "Acme Carrier",
        "Acme sell",
        "assigned",
    )
    assert first["destinations"] == (
        f"endpoint:{parties.endpoint} sip_user:phone-Acme@tandem sip:desk@example.com;transport=tcp number:15551230001"
    )
    assert first["name"] == "'=1+1"
    done = await upload(plane, text)
    assert (done["lines"], done["created"], done["updated"], done["unchanged"]) == (4, 0, 0, 4)
    assert (await plane.get("/dids"))["items"] == before
    assert [row["number"] for row in rows_of(await download(plane, "?prefix=44&state=free"))] == ["442071838751"]


@with_control
async def test_lines_make_stock_and_numbers_in_service_that_ring_and_are_charged(plane: ControlPlane) -> None:
    parties = await make_parties(plane)
    data = (
        "number,provider,provider_card,customer,customer_card,destinations,cost,retail,enabled\n"
        "+44 20 7183 8750,Acme Carrier,acme BUY,Acme,Acme sell,endpoint:198.51.100.9 sip_user:phone-acme,1,3.1,yes\n"
        "442071838751,Acme Carrier,,,,,0.5,2,\n"
        "442071838752,,,acme,,,,,no\n"
    )
    dry = await upload(plane, data, query="?dry_run=true")
    assert (dry["is_dry_run"], dry["created"]) == (True, 3)
    assert [each["id"] for each in dry["changes"]] == [None] * 3
    assert (await plane.get("/dids"))["items"] == []
    assert await entries(plane, parties.customer) == []
    done = await upload(plane, data)
    assert [(each["line"], each["action"], each["number"], each["state"]) for each in done["changes"]] == [
        (2, "create", NUMBER, "assigned"),
        (3, "create", "442071838751", "free"),
        (4, "create", "442071838752", "allocated"),
    ]
    record = published(plane, done["changes"][0])
    assert record is not None
    assert [(each.kind, each.id) for each in record.destinations] == [
        ("endpoint", parties.endpoint),
        ("sip_user", parties.user),
    ]
    assert [entry["amount"] for entry in await entries(plane, parties.customer)] == ["-1.7"]
    rows = (await plane.get("/audit?noun=did&action=create"))["items"]
    assert len(rows) == 3


@with_control
async def test_a_line_changes_its_number_and_hands_a_free_one_over(plane: ControlPlane) -> None:
    await make_parties(plane)
    kept = await make_did(plane, name="old", channels=5, description="stay", retail="1")
    other = await make_did(plane, number="442071838751")
    data = (
        "number,name,channels,retail,customer,destinations\n"
        "442071838750,new,,,Acme,sip:desk@example.com\n"
        "442071838751,,7,2.5,,\n"
    )
    done = await upload(plane, data)
    assert (done["updated"], done["changes"][0]["state"], done["changes"][1]["fields"]) == (
        2,
        "assigned",
        ["retail", "channels"],
    )
    assert done["changes"][0]["fields"] == ["name", "destinations", "customer_id", "channels"]
    after = await plane.get(f"/dids/{kept['id']}")
    assert (after["name"], after["channels"], after["description"], after["retail"]) == ("new", None, "stay", "1")
    assert published(plane, kept) is not None
    assert (await plane.get(f"/dids/{other['id']}"))["state"] == "free"
    # A second time it says what is so already.
    assert (await upload(plane, data))["unchanged"] == 2


@with_control
async def test_every_mistake_of_every_line_is_named_and_nothing_is_taken(plane: ControlPlane) -> None:
    one, two = await make_parties(plane, "One"), await make_parties(plane, "Two", currency="EUR")
    await make_did(plane, **whole(two, number="442071838760"))
    cooling = await make_did(plane, **whole(one, number="442071838761"))
    await step(plane, cooling, "release")
    before = (await plane.get("/dids"))["items"]
    rows = [
        "number,provider,provider_card,customer,customer_card,destinations,cost,retail,channels,enabled,order",
        "442071838750,One Carrier,One buy,One,One sell,sip_user:phone-One,1,2,3,yes,serial",
        "020 7183,Nobody,One buy,One,Two sell,sip_user:phone-Two,1e3,-2,many,maybe,sideways",
        "442071838750,,,,,,,,,,",
        "442071838760,,,One,,,,,,,",
        "442071838761,,,One,,sip:a@example.com,,,,,",
        "442071838762,One Carrier,Two buy,Mars,One sell,endpoint:1,,,,,",
        "442071838763,,,,,sip:a@example.com,,,,,",
        "short,row",
        "442071838764,,,One,,fax:12,,,,,",
        "442071838765,,,One,One buy,sip_user:nobody,-1,,,,",
        ",,,,,,,,,yes,",
    ]
    problem = await upload(plane, "\n".join(rows) + "\n", 400)
    found = [(error["line"], error.get("column", "")) for error in problem["errors"]]
    assert found == [
        (3, "number"),
        (3, "provider"),
        (3, "cost"),
        (3, "channels"),
        (3, "enabled"),
        (3, "order"),
        (3, "destinations"),
        (3, "retail"),
        (3, "customer_card"),
        (4, "number"),
        (5, "customer"),
        (6, "customer"),
        (7, "customer"),
        (7, "provider_card"),
        (8, "destinations"),
        (9, ""),
        (10, "destinations"),
        (11, "destinations"),
        (11, "cost"),
        (11, "customer_card"),
        (12, "number"),
    ]
    reasons = {(error["line"], error.get("column", "")): error["reason"] for error in problem["errors"]}
    assert reasons[4, "number"] == "the same number as on line 2"
    assert "another customer" in reasons[5, "customer"]
    assert "2027" in reasons[6, "customer"]
    assert reasons[7, "customer"] == "there is no customer Mars"
    assert (await plane.get("/dids"))["items"] == before
    assert await entries(plane, one.customer) != []
    problem = await upload(plane, "number,colour\n1,red\n", 400)
    assert [(error["line"], error["column"]) for error in problem["errors"]] == [(1, "colour")]
    problem = await upload(plane, "name\nx\n", 400)
    assert problem["errors"][0]["column"] == "number"


@with_control
async def test_a_file_reads_commas_semicolons_forms_and_roles(plane: ControlPlane) -> None:
    files = {"file": ("dids.csv", b"\xef\xbb\xbfnumber;name\r\n442071838750;Caf\xc3\xa9\r\n", "text/csv")}
    answer = await plane.request("POST", "/dids.csv", files=files, status=200)
    assert answer.json()["created"] == 1
    (row,) = rows_of(await download(plane))
    assert row["name"] == "Café"
    await plane.request("POST", "/dids.csv", content="number\n1\n", headers=CSV, role="read-only", status=403)
    await plane.request("GET", "/dids.csv", role="read-only", status=200)
