"""CDRs as files: three formats of the same calls, in UTC or on the customer's clocks, while calls come in."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from control.services import cdr_parquet, cdrs
from tests.fakes.control import START_MS, ControlPlane, with_control
from tests.fakes.portal import make_contact, session
from tests.fakes.stored_calls import store_calls, stored_call

EVIL = "=cmd|' /C calc'!A0"


async def fill(plane: ControlPlane, customer: int, count: int = 3) -> None:
    money: dict[str, Any] = {"net_nanos": 1_500_000_001, "gross_nanos": 1_500_000_001, "margin_nanos": -1}
    await store_calls(
        plane.ctx,
        [
            stored_call(n, customer_id=customer, invited_ms=START_MS + n, user_agent=EVIL, **money)
            for n in range(1, count + 1)
        ],
    )


async def download(plane: ControlPlane, path: str) -> Any:
    return await plane.request("GET", path, status=200)


def rows_of(content: bytes) -> list[dict[str, Any]]:
    return list(pq.read_table(io.BytesIO(content)).to_pylist())


@with_control
async def test_three_formats_hold_the_same_calls(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    await fill(plane, customer)
    as_csv = list(csv.DictReader(io.StringIO((await download(plane, "/cdrs.csv")).text)))
    as_json = [msgspec.json.decode(line) for line in (await download(plane, "/cdrs.jsonl")).text.splitlines()]
    answer = await download(plane, "/cdrs.parquet")
    assert answer.headers["content-type"] == cdr_parquet.MEDIA_TYPE
    as_parquet = rows_of(answer.content)
    for found in (as_csv, as_json, as_parquet):
        assert [row["id"] for row in found] == [f"{n:032x}" for n in (1, 2, 3)]
    assert as_csv[0]["net"] == as_json[0]["net"] == "1.500000001"
    assert (as_parquet[0]["net"], as_parquet[0]["margin"]) == (Decimal("1.500000001"), Decimal("-0.000000001"))
    assert as_parquet[0]["invited"].isoformat() == "2027-01-15T08:00:00.001000+00:00"
    assert as_parquet[0]["first_progress"] is None
    assert msgspec.json.decode(as_parquet[0]["attempts"]) == []
    # A formula is text to a spreadsheet; programs read what came.
    assert as_csv[0]["user_agent"] == f"'{EVIL}"
    assert as_json[0]["user_agent"] == as_parquet[0]["user_agent"] == EVIL


@with_control
async def test_times_are_on_the_clocks_that_are_asked_for(plane: ControlPlane) -> None:
    customer = await plane.make_customer(time_zone="Asia/Kathmandu")
    await fill(plane, customer, 1)
    for query, wanted in (
        ("", "2027-01-15T08:00:00.001000+00:00"),
        ("time_zone=America/New_York", "2027-01-15T03:00:00.001000-05:00"),
        (f"time_zone=customer&customer_id={customer}", "2027-01-15T13:45:00.001000+05:45"),
    ):
        [row] = csv.DictReader(io.StringIO((await download(plane, f"/cdrs.csv?{query}")).text))
        assert row["invited"].replace("Z", "+00:00") == wanted
        line = (await download(plane, f"/cdrs.jsonl?{query}")).text
        assert msgspec.json.decode(line)["invited"].replace("Z", "+00:00") == wanted
        [shown] = rows_of((await download(plane, f"/cdrs.parquet?{query}")).content)
        assert shown["invited"].isoformat() == wanted
    for path in ("/cdrs.csv", "/cdrs.jsonl", "/cdrs.parquet"):
        for query in ("time_zone=Mars", "time_zone=customer"):
            answer = await plane.request("GET", f"{path}?{query}", status=400)
            assert answer.json()["errors"][0]["path"] == "time_zone"


@with_control
async def test_a_day_is_the_customers_own_in_lists_downloads_the_portal_and_the_ledger(plane: ControlPlane) -> None:
    """Of four calls, around the borders of a day in New York, two are in it."""
    customer = await plane.make_customer(time_zone="America/New_York", portal_access=True)
    await make_contact(plane, customer)
    for n, text in enumerate(("15T04:59:59", "15T05:00:00", "16T04:59:59", "16T05:00:00"), 1):
        at_ms = int(datetime.fromisoformat(f"2027-01-{text}+00:00").timestamp() * 1000)
        plane.clock.ms = at_ms
        await plane.post(f"/customers/{customer}/payments", {"total": str(n)})
        await store_calls(plane.ctx, [stored_call(n, customer_id=customer, invited_ms=at_ms, endpoint_id=n)])
    wanted = [f"{n:032x}" for n in (2, 3)]
    day = "from=2027-01-15&to=2027-01-15"
    listed = await plane.get(f"/customers/{customer}/cdrs?{day}")
    assert [row["id"] for row in listed["items"]] == wanted[::-1]
    assert await plane.get(f"/cdrs?customer_id={customer}&{day}") == listed
    assert [row["id"] for row in (await plane.get(f"/cdrs?{day}"))["items"]] == [f"{n:032x}" for n in (2, 1)]
    for query in (f"customer_id={customer}&{day}", f"time_zone=America/New_York&{day}"):
        lines = (await download(plane, f"/cdrs.jsonl?{query}")).text.splitlines()
        assert [msgspec.json.decode(line)["id"] for line in lines] == wanted
    assert len((await plane.get(f"/customers/{customer}/cdrs?from=2027-01&to=2027-01"))["items"]) == 4
    [one] = (await plane.get(f"/customers/{customer}/cdrs?endpoint_id=3"))["items"]
    assert one["endpoint_id"] == 3
    paid = (await plane.get(f"/customers/{customer}/payments?{day}"))["items"]
    assert [row["total"] for row in paid] == ["3", "2"]
    booked = (await plane.get(f"/customers/{customer}/ledger?kind=payment&{day}"))["items"]
    assert [row["amount"] for row in booked] == ["3", "2"]
    async with await session(plane) as client:
        assert [row["id"] for row in (await client.get(f"/cdrs?{day}")).json()["items"]] == wanted[::-1]
        lines = (await client.get(f"/cdrs.jsonl?{day}")).text.splitlines()
        assert [msgspec.json.decode(line)["id"] for line in lines] == wanted
    for path in ("cdrs", "payments", "ledger"):
        problem = await plane.get(f"/customers/{customer}/{path}?to=2027-02-30", status=400)
        assert problem["errors"][0]["path"] == "to"
    await plane.get("/customers/999/cdrs", status=404)
    await plane.get("/cdrs?customer_id=999&from=2027-01-15", status=404)


def test_files_of_many_row_groups_over_consecutive_downloads_hold_each_call_once(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that end during a download are in it or in the next one, never in both."""
    monkeypatch.setattr(cdr_parquet, "GROUP_ROWS", 4)
    monkeypatch.setattr(cdrs, "EXPORT_ROWS", 3)

    @with_control
    async def run(plane: ControlPlane) -> None:
        customer = await plane.make_customer()
        await fill(plane, customer, 10)
        answer = await download(plane, "/cdrs.parquet")
        file = pq.ParquetFile(io.BytesIO(answer.content))
        assert (file.metadata.num_row_groups, file.metadata.num_rows) == (2, 10)
        await store_calls(plane.ctx, [stored_call(n, customer_id=customer) for n in range(11, 14)])
        after = answer.headers["tandem-next-cursor"]
        second = await download(plane, f"/cdrs.parquet?after={after}")
        ids = [row["id"] for row in rows_of(answer.content) + rows_of(second.content)]
        assert ids == [f"{n:032x}" for n in range(1, 14)]
        empty = await download(plane, f"/cdrs.parquet?after={second.headers['tandem-next-cursor']}")
        assert rows_of(empty.content) == []
        assert "net" in pq.read_schema(io.BytesIO(empty.content)).names

    run(tmp_path)


@with_control
async def test_a_contact_downloads_its_own_calls_and_no_costs(plane: ControlPlane) -> None:
    customer = await plane.make_customer(portal_access=True, time_zone="Europe/Berlin")
    other = await plane.make_customer(name="Other")
    await fill(plane, customer, 2)
    await store_calls(plane.ctx, [stored_call(9, customer_id=other)])
    await make_contact(plane, customer)
    async with await session(plane) as client:
        answer = await client.get("/cdrs.parquet?time_zone=customer")
        assert answer.status_code == 200
        found = rows_of(answer.content)
        assert [row["id"] for row in found] == [f"{n:032x}" for n in (1, 2)]
        assert found[0]["invited"].isoformat() == "2027-01-15T09:00:00.001000+01:00"
        assert not {"cost", "margin", "attempts", "explanation", "provider_id"} & set(found[0])
        assert "+01:00" in (await client.get("/cdrs.csv?time_zone=customer")).text


def test_a_page_ends_where_enough_was_looked_at_and_the_next_goes_on(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cdrs, "LOOKED_AT", 5)

    @with_control
    async def run(plane: ControlPlane) -> None:
        customer = await plane.make_customer()
        await fill(plane, customer, 12)
        await store_calls(plane.ctx, [stored_call(99, customer_id=customer, invited_ms=START_MS, cause="busy")])
        found: list[str] = []
        cursor, pages = "", 0
        while True:
            page = await plane.get(f"/cdrs?cause=busy&cursor={cursor}")
            found += [row["id"] for row in page["items"]]
            pages += 1
            if page["next_cursor"] is None:
                break
            cursor = page["next_cursor"]
        assert (found, pages) == ([f"{99:032x}"], 3)
        everything = []
        cursor = ""
        while cursor is not None:
            page = await plane.get(f"/cdrs?limit=2&cursor={cursor}")
            everything += [row["id"] for row in page["items"]]
            cursor = page["next_cursor"]
        assert everything == [f"{n:032x}" for n in (*range(12, 0, -1), 99)]

    run(tmp_path)
