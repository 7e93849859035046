"""Routes of customers' money: payments, the ledger, and whether all of it adds up."""

from __future__ import annotations

from typing import Any, Final

from control.api.routing import Call, Route
from control.services import invariants, payments, statements
from control.services.idempotency import Answer
from control.services.pages import Page

_PAYMENTS: Final = "/customers/{customer_id:int}/payments"
_PAYMENT: Final = _PAYMENTS + "/{payment_id:int}"
_LEDGER: Final = "/customers/{customer_id:int}/ledger"


async def list_payments(call: Call) -> Any:
    return await payments.page(call.ctx, call.path["customer_id"], call.query)


async def read_payment(call: Call) -> Any:
    return await payments.get(call.ctx, call.path["customer_id"], call.path["payment_id"])


async def create_payment(call: Call) -> Answer:
    return await payments.create(call.ctx, call.path["customer_id"], call.body, call.key)


async def complete_payment(call: Call) -> Answer:
    return await payments.complete(call.ctx, call.path["customer_id"], call.path["payment_id"], call.key)


async def cancel_payment(call: Call) -> Answer:
    return await payments.cancel(call.ctx, call.path["customer_id"], call.path["payment_id"], call.key)


async def reverse_payment(call: Call) -> Answer:
    path = call.path
    return await payments.reverse(call.ctx, path["customer_id"], path["payment_id"], call.body, call.key)


async def list_entries(call: Call) -> Any:
    return await statements.page(call.ctx, call.path["customer_id"], call.query)


async def read_entry(call: Call) -> Any:
    return await statements.get(call.ctx, call.path["customer_id"], call.path["entry_id"])


async def adjust(call: Call) -> Answer:
    return await statements.adjust(call.ctx, call.path["customer_id"], call.body, call.key)


async def reverse_entry(call: Call) -> Answer:
    path = call.path
    return await statements.reverse(call.ctx, path["customer_id"], path["entry_id"], call.body, call.key)


async def check_invariants(call: Call) -> Any:
    return await invariants.check(call.ctx)


MONEY_ROUTES: Final = (
    Route(
        method="GET",
        path=_PAYMENTS,
        handler=list_payments,
        summary="List a customer's payments, the youngest first. `sort` takes id, created_at, updated_at.",
        role="read-only",
        query=payments.PaymentQuery,
        sorts=("id", "created_at", "updated_at"),
        reply=Page[payments.Payment],
    ),
    Route(
        method="POST",
        path=_PAYMENTS,
        handler=create_payment,
        summary="Take a payment. Answered when the next call can spend it.",
        role="billing",
        body=payments.PaymentNew,
        reply=payments.Payment,
        status=201,
        takes_key=True,
    ),
    Route(
        method="GET",
        path=_PAYMENT,
        handler=read_payment,
        summary="Read one payment.",
        role="read-only",
        reply=payments.Payment,
    ),
    Route(
        method="POST",
        path=_PAYMENT + "/complete",
        handler=complete_payment,
        summary="Make a pending payment count. It cannot go back then.",
        role="billing",
        reply=payments.Payment,
        takes_key=True,
    ),
    Route(
        method="POST",
        path=_PAYMENT + "/cancel",
        handler=cancel_payment,
        summary="Give a pending payment up.",
        role="billing",
        reply=payments.Payment,
        takes_key=True,
    ),
    Route(
        method="POST",
        path=_PAYMENT + "/reverse",
        handler=reverse_payment,
        summary="Take a completed payment back by an entry of the opposite amount.",
        role="billing",
        body=payments.ReversalNew,
        reply=payments.Payment,
        takes_key=True,
    ),
    Route(
        method="GET",
        path=_LEDGER,
        handler=list_entries,
        summary="List the entries that a customer's balance is the sum of, the latest first.",
        role="read-only",
        query=statements.LedgerQuery,
        reply=Page[statements.EntryShown],
    ),
    Route(
        method="GET",
        path=_LEDGER + "/{entry_id:int}",
        handler=read_entry,
        summary="Read one ledger entry.",
        role="read-only",
        reply=statements.EntryShown,
    ),
    Route(
        method="POST",
        path=_LEDGER + "/{entry_id:int}/reverse",
        handler=reverse_entry,
        summary="Take back an entry that was made by hand.",
        role="billing",
        body=payments.ReversalNew,
        reply=statements.EntryShown,
        status=201,
        takes_key=True,
    ),
    Route(
        method="POST",
        path="/customers/{customer_id:int}/adjustments",
        handler=adjust,
        summary="Move a balance by hand, for a reason, or debit a fee.",
        role="billing",
        body=statements.AdjustmentNew,
        reply=statements.EntryShown,
        status=201,
        takes_key=True,
    ),
    Route(
        method="GET",
        path="/invariants",
        handler=check_invariants,
        summary="Check that money, CDRs and the switch agree; each violation names its row.",
        role="read-only",
        reply=invariants.Report,
    ),
)
