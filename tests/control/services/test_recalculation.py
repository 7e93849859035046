"""Calls priced anew: previewed, booked as adjustments, taken back; the CDR stays as it was."""

from __future__ import annotations

from typing import Any

from tests.fakes.control import ControlPlane, with_control
from tests.fakes.priced_calls import Exchange

DAY = "2027-01-15"


def rule(rule: dict[str, Any], **filters: Any) -> dict[str, Any]:
    return {"filters": {"day": DAY, **filters}, "rule": rule, "reason": "the vendor lost its BYE"}


async def lines(plane: ControlPlane, run: int, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await plane.get(f"/recalculations/{run}/lines?{query}"))["items"]
    return found


@with_control
async def test_calls_that_a_timer_ended_count_as_long_as_they_may(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    stuck = await exchange.call(7_200_000, cause="lost_in_restart")
    await exchange.call(7_200_000)
    await exchange.call(600_000, cause="max_duration")
    opening = await exchange.balance()
    run = await plane.post("/recalculations", rule({"max_duration_s": 3600}))
    assert (run["state"], run["calls"], run["changed"], run["booked"]) == ("previewed", 1, 1, 0)
    assert await exchange.balance() == opening
    [line] = await lines(plane, run["id"])
    assert (line["cdr_id"], line["before"]["gross"], line["after"]["gross"]) == (stuck, "2.16", "1.08")
    assert (line["difference"], line["after"]["billed_s"], line["after"]["tax"]) == ("-1.08", 3600, "0.18")
    applied = await plane.post(f"/recalculations/{run['id']}/apply", None, status=200)
    assert (applied["state"], applied["booked"]) == ("applied", 1)
    assert await exchange.balance() == opening + 1_080_000_000
    cdr = await plane.get(f"/cdrs/{stuck}")
    assert (cdr["gross"], cdr["effective"]["gross"], cdr["corrections"][0]["difference"]) == ("2.16", "1.08", "-1.08")
