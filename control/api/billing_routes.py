"""Routes of what is billed beside calls: packages."""

from __future__ import annotations

from typing import Any, Final

from control.api.crud import Owner, noun_routes
from control.api.routing import Call, Route
from control.services import customer_packages
from control.services.customer_packages import CUSTOMER_PACKAGES, CustomerPackageQuery
from control.services.customers import CUSTOMERS
from control.services.packages import PACKAGES, PackageQuery
from control.services.pages import Page

_CUSTOMER: Final = Owner(CUSTOMERS, "/customers", "customer_id")
_PACKAGE: Final = "/customer-packages/{row_id:int}"


async def list_charges(call: Call) -> Any:
    return await customer_packages.page_charges(call.ctx, call.path["row_id"], call.query)


async def read_usage(call: Call) -> Any:
    return await customer_packages.usage(call.ctx, call.path["row_id"])


async def charge_package(call: Call) -> Any:
    return await customer_packages.charge(call.ctx, call.path["row_id"], call.body)


BILLING_ROUTES: Final = (
    *noun_routes(PACKAGES, "/packages", PackageQuery, role="billing"),
    *noun_routes(CUSTOMER_PACKAGES, "/customer-packages", CustomerPackageQuery, owner=_CUSTOMER, role="billing"),
    Route(
        method="GET",
        path=_PACKAGE + "/charges",
        handler=list_charges,
        summary="List what a customer's package was charged, the latest first. `sort` takes id.",
        role="read-only",
        query=customer_packages.ChargeQuery,
        sorts=("id",),
        reply=Page[customer_packages.ChargeShown],
    ),
    Route(
        method="GET",
        path=_PACKAGE + "/usage",
        handler=read_usage,
        summary="Read how much of the free minutes of the period that runs is left.",
        role="read-only",
        reply=customer_packages.PackageUsage,
    ),
    Route(
        method="POST",
        path=_PACKAGE + "/charge",
        handler=charge_package,
        summary="Charge the periods that have begun and were not charged yet. A second time charges nothing.",
        role="billing",
        body=customer_packages.ChargeNow,
        reply=customer_packages.Charged,
    ),
)
