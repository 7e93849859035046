"""Alerts: the rules, a test of who is told, and what a rule would have done."""

from __future__ import annotations

from typing import Any, Final

from control.api.crud import Owner, noun_routes
from control.api.routing import Call, Route
from control.services import alert_backtest, alert_tests
from control.services.alerts import ALERTS, AlertQuery
from control.services.customers import CUSTOMERS

_ONE: Final = "/alerts/{row_id:int}"


async def backtest(call: Call) -> Any:
    return await alert_backtest.backtest(call.ctx, call.path["row_id"], call.body)


async def test(call: Call) -> Any:
    return await alert_tests.send(call.ctx, call.path["row_id"])


ALERT_ROUTES: Final = (
    *noun_routes(ALERTS, "/alerts", AlertQuery, owner=Owner(CUSTOMERS, "/customers", "customer_id")),
    Route(
        method="POST",
        path=_ONE + "/backtest",
        handler=backtest,
        summary="Walk a period of the past: when this alert, or a changed one, would have fired, reset and penalised. "
        "Nothing is written, and nobody is told.",
        role="operator",
        body=alert_backtest.BacktestNew,
        reply=alert_backtest.Backtest,
    ),
    Route(
        method="POST",
        path=_ONE + "/test",
        handler=test,
        summary="Tell every recipient of this alert something, to see whether it arrives.",
        role="operator",
        reply=alert_tests.Tested,
    ),
)
