"""What a customer may owe and spend, for those who may change nothing else of it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from control.api.later import schedulable
from control.api.routing import Call, Route
from control.services.customers import CUSTOMERS, Customer
from control.services.fields import Amount
from control.services.operations import update_of


class CreditNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a customer's fields those that are about credit."""

    debit_limit: Amount = "0"
    daily_spend_limit: Amount | None = None
    minimum_payment: Amount | None = None


async def change_credit(call: Call) -> Any:
    return await CUSTOMERS.update(call.ctx, call.path["row_id"], call.body, call.version)


CREDIT_ROUTES: Final = (
    schedulable(
        Route(
            method="PATCH",
            path="/customers/{row_id:int}/credit",
            handler=change_credit,
            summary="Change how far below zero a customer's balance may go, what a day may cost, and its smallest "
            "payment.",
            role="billing",
            patches=CreditNew,
            reply=Customer,
        ),
        update_of(CUSTOMERS),
        row="row_id",
    ),
)
