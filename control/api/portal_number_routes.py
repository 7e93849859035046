"""The portal's pages of numbers."""

from __future__ import annotations

from typing import Any, Final

from control.api.routing import Call, Route
from control.services import portal_numbers
from control.services.cli_numbers import CliNumber, CliNumberQuery
from control.services.pages import Page
from control.services.portal_views import OwnQuery


async def list_dids(call: Call) -> Any:
    return await portal_numbers.page_dids(call.ctx, call.query)


async def list_cli_numbers(call: Call) -> Any:
    return await portal_numbers.page_cli_numbers(call.ctx, call.query)


PORTAL_NUMBER_ROUTES: Final = (
    Route(
        method="GET",
        path="/portal/dids",
        handler=list_dids,
        summary="List the customer's numbers, where they ring and what they cost by the month.",
        role="customer",
        query=OwnQuery,
        reply=Page[portal_numbers.OwnDid],
    ),
    Route(
        method="GET",
        path="/portal/cli-numbers",
        handler=list_cli_numbers,
        summary="List the numbers that the customer may call from: its own, and those of its CLI rules.",
        role="customer",
        query=CliNumberQuery,
        reply=Page[CliNumber],
    ),
)
