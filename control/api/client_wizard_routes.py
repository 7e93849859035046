"""The wizard that adds a client: a route for each step, so that each says what it takes."""

from __future__ import annotations

from typing import Any, Final

from control.api.routing import API, Call, Created, Route
from control.services import client_wizard as wizard
from control.services.clients import ClientShown

_WIZARD: Final = "/clients/{client_id:int}/wizard"


async def start(call: Call) -> Created:
    made = await wizard.start(call.ctx, call.body)
    return Created(made, f"{API}/clients/{made.client.id}/wizard")


async def read(call: Call) -> Any:
    return await wizard.read(call.ctx, call.path["client_id"])


async def finish(call: Call) -> Any:
    return await wizard.finish(call.ctx, call.path["client_id"], call.version)


async def abandon(call: Call) -> None:
    await wizard.abandon(call.ctx, call.path["client_id"], call.version)


def _step(step: wizard.Step, body: Any, what: str) -> Route:
    async def save(call: Call) -> Any:
        return await wizard.save(call.ctx, call.path["client_id"], step, call.body, call.version)

    return Route(
        method="PUT",
        path=f"{_WIZARD}/{step}",
        handler=save,
        summary=f"Save a step of the wizard: {what}. It replaces what the step said before.",
        role="operator",
        body=body,
        reply=wizard.Wizard,
        takes_version=True,
    )


CLIENT_WIZARD_ROUTES: Final = (
    Route(
        method="POST",
        path="/clients/wizard",
        handler=start,
        summary="Begin to add a client step by step; it is `new` until the wizard is finished.",
        role="operator",
        body=wizard.ClientStep,
        reply=wizard.Wizard,
        status=201,
    ),
    Route(
        method="GET",
        path=_WIZARD,
        handler=read,
        summary="What was entered until now, and what is missing.",
        role="read-only",
        reply=wizard.Wizard,
        also_refuses=(409,),
    ),
    _step("client", wizard.ClientStep, "name, type and references"),
    _step("dates", wizard.DatesStep, "start, end of the rooms' allocation, end of the contract"),
    _step("offices", wizard.OfficesStep, "offices"),
    _step("products", wizard.ProductsStep, "products and services"),
    _step("telephony", wizard.TelephonyStep, "the customer account and the telephone services"),
    _step("users", wizard.UsersStep, "users"),
    _step("network", wizard.NetworkStep, "network information"),
    Route(
        method="POST",
        path=f"{_WIZARD}/finish",
        handler=finish,
        summary="Finish: the client is active, or scheduled where its start lies ahead. What is missing is named.",
        role="operator",
        reply=ClientShown,
        takes_version=True,
    ),
    Route(
        method="DELETE",
        path=_WIZARD,
        handler=abandon,
        summary="Abandon: the client and all that was entered are taken back.",
        role="operator",
        status=204,
    ),
)
