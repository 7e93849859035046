"""The latest simulations: what was asked, by whom, and how it came out. Kept in memory; a restart forgets them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from control.services.context import SIMULATIONS_KEPT, Context
from control.services.fields import Id, Moment, ms_moment
from control.services.live_calls import Simulation, SimulationNew, simulate
from control.services.pages import Page


class SimulationRow(msgspec.Struct, frozen=True, kw_only=True):
    made_at: Moment
    by: str
    asked: SimulationNew
    result: Simulation


class SimulationQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer_id: Annotated[Id | None, Meta(description="That came out as a call of this customer.")] = None
    limit: Annotated[int, Meta(ge=1, le=SIMULATIONS_KEPT, description="The latest so many.")] = 50


async def simulate_and_note(ctx: Context, asked: SimulationNew) -> Simulation:
    result = await simulate(ctx, asked)
    row = SimulationRow(made_at=ms_moment(ctx.now_ms()), by=ctx.actor.name, asked=asked, result=result)
    ctx.simulations.appendleft(row)
    return result


def page(ctx: Context, query: SimulationQuery) -> Page[SimulationRow]:
    """The latest first."""
    found = [row for row in ctx.simulations if query.customer_id in (None, row.result.customer_id)]
    return Page(items=found[: query.limit], next_cursor=None)
