"""CDRs: stored once each, found again, paged, and taken out as files that harm nobody."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from control.services.cdr_export import inert
from control.services.cdr_rows import insert_batch, read_position, write_position
from control.store import tables
from switch.records import CallEnded, Candidate, Cdr
from tests.fakes.cdrs import make_attempt, make_cdr
from tests.fakes.control import START_MS, ControlPlane, with_control

ATTEMPT = make_attempt(
    provider_id=3,
    gateway_id=4,
    card_id=5,
    revision_id=6,
    prefix="4420",
    rate_nanos=15_000_000,
    dialled_out="00442071838750",
    started_ms=START_MS + 20,
    progress_ms=START_MS + 900,
    answered_ms=START_MS + 2_000,
    ended_ms=START_MS + 63_000,
    billed_s=61,
    cost_nanos=15_300_000,
)


def call(number: int, **fields: Any) -> CallEnded:
    """The `number`-th call, a second after the one before."""
    invited_ms = START_MS + number * 1_000
    whole: dict[str, Any] = {
        "endpoint_id": 2,
        "route_id": 7,
        "source": "192.0.2.1:5060",
        "call_id": f"call-{number}@192.0.2.1",
        "dialled_in": "1234442071838750",
        "dialled_out": "442071838750",
        "invited_ms": invited_ms,
        "progress_ms": invited_ms + 900,
        "answered_ms": invited_ms + 2_000,
        "ended_ms": invited_ms + 63_000,
        "pdd_ms": 900,
        "duration_ms": 61_000,
        "billed_s": 61,
        "card_id": 8,
        "revision_id": 9,
        "prefix": "44",
        "destination": "United Kingdom",
        "rate_nanos": 20_000_000,
        "net_nanos": 20_400_000,
        "tax_nanos": 4_080_000,
        "gross_nanos": 24_480_000,
        "cost_nanos": 15_300_000,
        "margin_nanos": 5_100_000,
        "recording": "",
        "attempts": (ATTEMPT,),
        "explanation": (Candidate(5, 3, "taken", 15_000_000, 5_000_000),),
    }
    return CallEnded(make_cdr(number, **{**whole, **fields}))


async def store(plane: ControlPlane, *calls: CallEnded, first: int = 1) -> None:
    async with plane.store.begin() as tx:
        await insert_batch(tx, list(enumerate(calls, first)))


async def ids(plane: ControlPlane, query: str = "") -> list[int]:
    return [int(item["id"], 16) for item in (await plane.get(f"/cdrs?{query}"))["items"]]


@with_control
async def test_a_cdr_comes_back_to_the_last_digit(plane: ControlPlane) -> None:
    await store(plane, call(1))
    shown = await plane.get(f"/cdrs/{1:032x}")
    assert (shown["net"], shown["tax"], shown["gross"]) == ("0.0204", "0.00408", "0.02448")
    assert (shown["rate"], shown["cost"], shown["margin"]) == ("0.02", "0.0153", "0.0051")
    assert (shown["invited"], shown["answered"]) == ("2027-01-15T08:00:01Z", "2027-01-15T08:00:03Z")
    assert (shown["provider_id"], shown["gateway_id"]) == (3, 4)
    attempt = shown["attempts"][0]
    assert (attempt["provider"], attempt["cost"], attempt["status"]) == ("Vendor One", "0.0153", 200)
    assert shown["explanation"] == [
        {"card_id": 5, "provider_id": 3, "outcome": "taken", "rate": "0.015", "margin": "0.005", "detail": ""}
    ]
    [listed] = (await plane.get("/cdrs"))["items"]
    assert listed == {name: shown[name] for name in listed}
    await plane.get("/cdrs/" + "e" * 32, status=404)


@with_control
async def test_every_field_of_a_cdr_has_a_column(plane: ControlPlane) -> None:
    assert set(Cdr.__struct_fields__) <= set(tables.cdrs.c.keys())


@with_control
async def test_a_batch_read_twice_is_stored_once(plane: ControlPlane) -> None:
    calls = [call(number) for number in range(5)]
    await store(plane, *calls)
    await store(plane, *calls, call(5))
    async with plane.store.read() as tx:
        assert (await tx.execute(select(func.count()).select_from(tables.cdrs))).scalar() == 6
    await store(plane)


@with_control
async def test_the_position_of_the_journal_never_goes_back(plane: ControlPlane) -> None:
    for written, kept in ((5, 5), (9, 9), (7, 9)):
        async with plane.store.begin() as tx:
            await write_position(tx, written)
        async with plane.store.read() as tx:
            assert await read_position(tx) == kept
    async with plane.store.read() as tx:
        assert await read_position(tx, "another") == 0


@with_control
async def test_cdrs_are_listed_newest_first_and_filtered(plane: ControlPlane) -> None:
    other = msgspec.structs.replace(ATTEMPT, provider_id=33)
    await store(
        plane,
        call(1),
        call(2, customer_id=2, client_id=5),
        call(3, answered_ms=None, cause="busy", status=486),
        call(4, attempts=(ATTEMPT, other), source="203.0.113.9:5062"),
        call(5, cli_in="+4930123456", direction="inbound", attempts=()),
    )
    assert await ids(plane) == [5, 4, 3, 2, 1]
    for query, found in {
        "customer_id=2": [2],
        "client_id=5": [2],
        "provider_id=3": [3, 2, 1],
        "provider_id=33": [4],
        "cause=busy": [3],
        "status=486": [3],
        "answered=false": [3],
        "answered=true&customer_id=1": [5, 4, 1],
        "direction=inbound": [5],
        "number=4930": [5],
        "number=%2B4930": [5],
        "call_id=call-3@192.0.2.1": [3],
        "source=203.0.113.": [4],
        "from=2027-01-15T08:00:02Z&to=2027-01-15T08:00:04Z": [3, 2],
        "number=%25": [],
    }.items():
        assert await ids(plane, query) == found, query
    for query, path in (("from=yesterday", "from"), ("status=abc", "status"), ("answered=perhaps", "answered")):
        assert (await plane.get(f"/cdrs?{query}", status=400))["errors"][0]["path"] == path


@with_control
async def test_pages_hold_each_call_once_while_new_ones_come(plane: ControlPlane) -> None:
    # Some share their millisecond: the cursor must not lose those.
    await store(plane, *(call(number, invited_ms=START_MS + number // 3) for number in range(20)))
    walked: list[int] = []
    cursor: str | None = ""
    late = 100
    while cursor is not None:
        page = await plane.get(f"/cdrs?limit=4&cursor={cursor}")
        walked += [int(item["id"], 16) for item in page["items"]]
        cursor = page["next_cursor"]
        late += 1
        await store(plane, call(late), first=late)
    assert sorted(walked) == list(range(20))
    assert len(walked) == 20


@with_control
async def test_consecutive_exports_hold_each_call_once_in_order_of_arrival(plane: ControlPlane) -> None:
    await store(plane, call(2), call(1))
    first = await plane.request("GET", "/cdrs.jsonl", status=200)
    await store(plane, call(4), call(3), first=3)
    after = first.headers["tandem-next-cursor"]
    second = await plane.request("GET", f"/cdrs.jsonl?after={after}", status=200)
    got = [[int(json.loads(line)["id"], 16) for line in answer.text.splitlines()] for answer in (first, second)]
    assert got == [[2, 1], [4, 3]]
    third = await plane.request("GET", f"/cdrs.jsonl?after={second.headers['tandem-next-cursor']}", status=200)
    assert third.text == ""
    one = await plane.request("GET", "/cdrs.csv?customer_id=1&number=4420", status=200)
    assert len(one.text.splitlines()) == 5


@with_control
async def test_a_csv_export_is_inert_and_its_numbers_stay_numbers(plane: ControlPlane) -> None:
    agent = "=cmd|' /C calc'!A0\x07"
    await store(plane, call(1, user_agent=agent, cli_in="+15551230001", margin_nanos=-5_000_000, call_id='@"x",\r\n'))
    answer = await plane.request("GET", "/cdrs.csv", status=200)
    assert answer.headers["content-type"].startswith("text/csv")
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert row["user_agent"] == "'=cmd|' /C calc'!A0\\x07"
    assert row["call_id"] == '\'@"x",\\x0d\\x0a'
    assert (row["cli_in"], row["margin"], row["gross"]) == ("+15551230001", "-0.005", "0.02448")
    assert row["invited"] == "2027-01-15T08:00:01Z"
    assert json.loads(row["attempts"])[0]["provider"] == "Vendor One"


@given(st.text())
def test_no_text_leaves_as_a_formula_or_with_control_characters(text: str) -> None:
    cell = inert(text)
    assert not any(ord(character) < 32 or ord(character) == 127 for character in cell)
    if cell[:1] in ("=", "+", "-", "@"):
        assert cell.removeprefix("+").isdecimal()


@with_control
async def test_an_export_larger_than_one_read_is_whole(plane: ControlPlane) -> None:
    await store(plane, *(call(number) for number in range(2_345)))
    answer = await plane.request("GET", "/cdrs.jsonl", status=200)
    assert [int(json.loads(line)["id"], 16) for line in answer.text.splitlines()] == list(range(2_345))
