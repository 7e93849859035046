"""Replays over the API: a process of their own, progress, results, cancelling, what a restart leaves."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from control.services.fields import ms_moment
from control.services.replay_runs import RUNS_MAX, WAITING_MAX, Replays
from rating.rows import RateRow
from tests.fakes.cdrs import make_attempt
from tests.fakes.control import START_MS, ControlPlane, running_control, with_control
from tests.fakes.priced_cards import CENT, Cards, make_cards, make_revision
from tests.fakes.stored_calls import store_calls, stored_call

HOUR_MS = 3_600_000
WAIT_S = 30.0


@asynccontextmanager
async def replaying(plane: ControlPlane) -> AsyncIterator[None]:
    """The background work of the control process, for a while."""
    task = asyncio.create_task(plane.ctx.replays.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def carrier(plane: ControlPlane) -> Cards:
    """A customer who may call, and 30 answered minutes of an hour ago: sold at 6 cents, bought at 5."""
    cards = await make_cards(plane, (RateRow("44", "UK", 6 * CENT),), (RateRow("44", "UK", 5 * CENT),))
    endpoint = {"customer_id": cards.customer, "direction": "egress", "host": "192.0.2.10"}
    await plane.post("/endpoints", endpoint)
    await plane.post("/gateways", {"provider_id": cards.provider, "host": "198.51.100.1"})
    await plane.post("/ingress-routes", {"customer_id": cards.customer, "rate_card_id": cards.sell, "name": "out"})
    attempt = make_attempt(
        provider_id=cards.provider,
        card_id=cards.buy,
        rate_nanos=5 * CENT,
        answered_ms=1,
        ended_ms=2,
        cost_nanos=5 * CENT,
    )
    money: dict[str, Any] = {"net_nanos": 6 * CENT, "gross_nanos": 6 * CENT, "cost_nanos": 5 * CENT}
    names: dict[str, Any] = {"prefix": "44", "destination": "=UK", "card_id": cards.sell}
    calls = [stored_call(n, 60_000, invited_ms=START_MS + n, attempts=[attempt], **money, **names) for n in range(30)]
    refused = stored_call(
        99, invited_ms=START_MS + 99, is_answered=False, cause="no_sell_rate", dialled_in="33123456789"
    )
    plane.clock.ms = START_MS + HOUR_MS
    await store_calls(plane.ctx, [*calls, refused])
    return cards


def asked(**more: Any) -> dict[str, Any]:
    return {"from": ms_moment(START_MS).isoformat(), "to": ms_moment(START_MS + HOUR_MS).isoformat(), **more}


async def left(plane: ControlPlane, replay_id: int, *states: str) -> Any:
    """The replay once it is in none of these states any more."""
    async with asyncio.timeout(WAIT_S):
        while True:
            shown = await plane.get(f"/replays/{replay_id}", role="read-only")
            if shown["state"] not in states:
                return shown
            await asyncio.sleep(0.02)


async def finished(plane: ControlPlane, replay_id: int) -> Any:
    return await left(plane, replay_id, "waiting", "running")


@with_control
async def test_calls_are_replayed_in_a_process_of_its_own_and_shown_before_and_after(plane: ControlPlane) -> None:
    cards = await carrier(plane)
    dearer = await make_revision(plane, cards.sell, RateRow("44", "UK", 8 * CENT), is_active=False)
    async with replaying(plane):
        made = await plane.post("/replays", asked(), role="operator")
        assert (made["state"], made["calls_total"], made["result"]) == ("waiting", 31, None)
        same = (await finished(plane, made["id"]))["result"]
        proposal = asked(decks=[{"card_id": cards.sell, "revision_id": dearer}], customer_id=cards.customer)
        made = await plane.post("/replays", proposal)
        done = await finished(plane, made["id"])
    assert (same["calls"], same["changed"], same["kept"]) == (31, 0, 0)
    assert same["totals"][0]["difference"] == {"charge": "0", "gross": "0", "cost": "0", "profit": "0"}
    assert same["refused_before"] == same["refused_after"] == {"no_sell_rate": 1}

    assert (done["state"], done["calls_done"], done["error"], done["created_by"]) == ("done", 31, "", "test admin")
    assert done["asked"]["decks"] == [{"card_id": cards.sell, "revision_id": dearer}]
    found = done["result"]
    (total,) = found["totals"]
    assert (total["before"]["charge"], total["after"]["charge"], total["difference"]["profit"]) == ("1.8", "2.4", "0.6")
    assert (total["before"]["talk_s"], total["after"]["cost"], found["changed"]) == (1_800, "1.5", 30)
    assert [(d["prefix"], d["destination"], d["calls"]) for d in found["destinations"]] == [
        ("44", "=UK", 30),
        ("", "", 1),
    ]
    assert (found["examples"][0]["charge_before"], found["examples"][0]["charge_after"]) == ("0.06", "0.08")

    table = await plane.request("GET", f"/replays/{done['id']}/destinations.csv", status=200, role="read-only")
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    lines = list(csv.DictReader(io.StringIO(table.text)))
    assert [(line["prefix"], line["destination"]) for line in lines] == [("44", "'=UK"), ("", ""), ("", "TOTAL")]
    assert (lines[0]["charge_before"], lines[2]["profit_difference"]) == ("1.8", "0.6")
    listed = (await plane.get("/replays"))["items"]
    assert [(run["id"], run["result"]) for run in listed] == [(2, None), (1, None)]


@pytest.mark.slow
@with_control
async def test_what_was_in_force_then_prices_a_replay_without_changes(plane: ControlPlane) -> None:
    cards = await carrier(plane)
    # A new price since; the calls of before it are replayed by the old one.
    await make_revision(plane, cards.sell, RateRow("44", "UK", 9 * CENT))
    async with replaying(plane):
        await plane.post("/replays", asked())
        found = (await finished(plane, 1))["result"]
    assert (found["calls"], found["changed"]) == (31, 0)


@pytest.mark.slow
@with_control
async def test_a_replay_that_waits_or_runs_can_be_cancelled(plane: ControlPlane) -> None:
    await carrier(plane)
    await plane.post("/replays", asked())
    assert (await plane.post("/replays/1/cancel", None, status=200, role="operator"))["state"] == "cancelled"
    await plane.post("/replays/1/cancel", None, status=409)
    await plane.post("/replays/9/cancel", None, status=404)
    async with replaying(plane):
        await plane.post("/replays", asked())
        assert (await left(plane, 2, "waiting"))["state"] == "running"
        assert (await plane.post("/replays/2/cancel", None, status=200))["state"] == "cancelled"
        await plane.post("/replays", asked())
        assert (await finished(plane, 3))["state"] == "done"
    assert (await plane.get("/replays/2"))["state"] == "cancelled"
    await plane.get("/replays/2/destinations.csv", status=409)


@with_control
async def test_what_cannot_be_replayed_is_refused_by_its_field(plane: ControlPlane) -> None:
    cards = await carrier(plane)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"to": ms_moment(START_MS).isoformat()}, "to"),
        ({"to": ms_moment(START_MS + 32 * 24 * HOUR_MS).isoformat()}, "to"),
        ({"decks": [{"card_id": 99, "revision_id": 1}]}, "decks[0].card_id"),
        ({"decks": [{"card_id": cards.sell, "revision_id": 2}]}, "decks[0].revision_id"),
        ({"routes": [{"route_id": 99, "strategy": "lcr"}]}, "routes[0].route_id"),
        ({"routes": [{"route_id": 1}]}, "routes[0]"),
        ({"routes": [{"capped_rate": "-1"}]}, "routes[0].capped_rate"),
        ({"routes": [{"strategy": "best"}]}, "routes[0].strategy"),
        ({"speed": 1}, "speed"),
    ]
    for more, path in wrong:
        problem = await plane.post("/replays", asked(**more), status=400)
        assert problem["errors"][0]["path"] == path
    await plane.post("/replays", asked(), status=403, role="read-only")
    for _ in range(WAITING_MAX):
        await plane.post("/replays", asked(routes=[{"capped_rate": None}]))
    await plane.post("/replays", asked(), status=409)


@pytest.mark.slow
@with_control
async def test_a_missing_deck_is_told(plane: ControlPlane) -> None:
    cards = await carrier(plane)
    for file in (plane.folder / "decks" / str(cards.buy)).iterdir():
        file.unlink()
    async with replaying(plane):
        await plane.post("/replays", asked())
        found = (await finished(plane, 1))["result"]
    assert found["newly_refused"] == {"no_vendor": 30}
    assert found["notes"][0].startswith(f"rate_card {cards.buy}: revision")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("print('not what we expect')", "malformed"),
        ("raise SystemExit(3)", "its process ended with 3"),
        ("print('x' * 100_000)", "limit"),
    ],
)
def test_a_process_that_goes_wrong_fails_its_replay_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, error: str
) -> None:
    async def act() -> None:
        async with running_control(tmp_path) as plane:
            await carrier(plane)
            async with replaying(plane):
                with monkeypatch.context() as patch:
                    patch.setattr("control.services.replay_runs.WORKER", ("-c", script))
                    await plane.post("/replays", asked())
                    shown = await finished(plane, 1)
                assert shown["state"] == "failed"
                assert error in shown["error"]
                await plane.post("/replays", asked())
                assert (await finished(plane, 2))["state"] == "done"

    asyncio.run(act())


@with_control
async def test_what_a_restart_cut_off_has_failed_and_the_oldest_go(plane: ControlPlane) -> None:
    await carrier(plane)
    await plane.post("/replays", asked())
    folder = plane.folder / "replays"
    after = Replays(folder, plane.clock)
    assert [(run.state, run.error) for run in after.all()] == [("failed", "the control process ended meanwhile")]
    (folder / "2.run").write_text("{")
    plane.ctx.replays = Replays(folder, plane.clock)
    for number in range(RUNS_MAX + 3):
        made = await plane.post("/replays", asked())
        await plane.post(f"/replays/{made['id']}/cancel", None, status=200)
        assert made["id"] == number + 2
    listed = (await plane.get("/replays"))["items"]
    assert (len(listed), listed[0]["id"]) == (RUNS_MAX, RUNS_MAX + 4)
    assert len(list(folder.glob("*.run"))) == RUNS_MAX
