"""One call with what was corrected of it since, and what it costs by now."""

from __future__ import annotations

from sqlalchemy import select

from control.services.cdrs import CdrShown, cdr_row_of, shown
from control.services.context import Context
from control.services.fields import ms_moment
from control.services.recalculation_views import Correction, Effective, read_price
from control.services.repricing import own_price
from control.store.recalculation_tables import lines, recalculations
from rating.money import format_amount


class CdrDetail(CdrShown, frozen=True, kw_only=True):
    effective: Effective
    corrections: list[Correction]
    """By recalculations, the first one first; payments and adjustments made by hand are the customer's."""


async def get(ctx: Context, cdr_id: str) -> CdrDetail:
    async with ctx.store.read() as tx:
        row = await cdr_row_of(tx, cdr_id)
        query = (
            select(lines, recalculations.c.applied_ms, recalculations.c.applied_by, recalculations.c.reason)
            .join(recalculations, recalculations.c.id == lines.c.recalculation_id)
            .where(lines.c.cdr_number == row["number"], lines.c.is_booked)
            .order_by(lines.c.id)
        )
        found = list((await tx.execute(query)).mappings())
    sold = own_price(row, "sell")
    assert sold is not None, "each CDR has a sell side, were it of nothing"
    charge, cost_nanos = sold[0], row["cost_nanos"]
    for line in found:
        if line["side"] == "sell":
            charge = read_price(line["after"])
        else:
            cost_nanos += line["after_nanos"] - line["before_nanos"]
    cdr = shown(row)
    return CdrDetail(
        **{name: getattr(cdr, name) for name in cdr.__struct_fields__},
        effective=Effective(
            billed_s=charge.billed_s,
            net=format_amount(charge.net_nanos),
            tax=format_amount(charge.tax_nanos),
            gross=format_amount(charge.gross_nanos),
            cost=format_amount(cost_nanos),
            margin=format_amount(charge.net_nanos - cost_nanos),
        ),
        corrections=[
            Correction(
                recalculation_id=line["recalculation_id"],
                side=line["side"],
                at=ms_moment(line["applied_ms"]),
                by=line["applied_by"]["name"],
                reason=line["reason"],
                before=format_amount(line["before_nanos"]),
                after=format_amount(line["after_nanos"]),
                difference=format_amount(line["after_nanos"] - line["before_nanos"]),
                entry_id=line["entry_id"],
            )
            for line in found
            if line["before_nanos"] != line["after_nanos"]
        ],
    )
