"""Rules about calling numbers: the five routes of every noun, and the order of a customer's."""

from __future__ import annotations

from typing import Any, Final

from control.api.crud import Owner, noun_routes
from control.api.later import schedulable
from control.api.routing import Call, Route
from control.services.cli_rules import CLI_RULES, CliRule, CliRuleOrder, CliRuleQuery
from control.services.context import Context
from control.services.customers import CUSTOMERS
from control.services.operations import step_of


async def reorder(call: Call) -> Any:
    customer_id = call.path["customer_id"]
    await CUSTOMERS.get(call.ctx, customer_id)
    return await CLI_RULES.reorder(call.ctx, customer_id, call.body.ids)


async def _reorder(ctx: Context, customer_id: int, order: CliRuleOrder, _expected: int | None) -> Any:
    return await CLI_RULES.reorder(ctx, customer_id, order.ids)


CLI_RULE_ROUTES: Final = [
    *noun_routes(CLI_RULES, "/cli-rules", CliRuleQuery, owner=Owner(CUSTOMERS, "/customers", "customer_id")),
    schedulable(
        Route(
            method="POST",
            path="/customers/{customer_id:int}/cli-rules/order",
            handler=reorder,
            summary="Set the order in which a customer's CLI rules are asked: all their ids, the first one first.",
            role="operator",
            body=CliRuleOrder,
            reply=list[CliRule],
        ),
        step_of(CUSTOMERS, "order_cli_rules", _reorder, CliRuleOrder),
        row="customer_id",
    ),
]
