"""The HTTP application: the routes as one list, and what surrounds them."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

from litestar import Litestar
from litestar.exceptions import HTTPException
from sqlalchemy.exc import DataError, IntegrityError, OperationalError

from control.api import problems
from control.api.openapi import openapi_document
from control.api.routes import ROUTES
from control.api.routing import Call, Route, make_handler
from control.services.context import Context
from control.services.errors import ServiceError


@cache
def _document() -> dict[str, Any]:
    return openapi_document(ROUTES)


def create_app(ctx: Context) -> Litestar:
    """The API over this context; each request acts in the name of its key."""

    async def read_document(_call: Call) -> object:
        # Made when somebody asks: it reads the words below the fields in the sources, which takes a while.
        return await asyncio.to_thread(_document)

    described = Route(
        method="GET", path="/openapi.json", handler=read_document, summary="This document.", role=None, reply=dict
    )
    return Litestar(
        route_handlers=[make_handler(route, ctx) for route in [*ROUTES, described]],
        openapi_config=None,
        # The largest that any route takes; each has its own below that.
        request_max_body_size=None,
        exception_handlers={
            ServiceError: problems.answer_service_error,
            HTTPException: problems.answer_http_error,
            IntegrityError: problems.answer_integrity_error,
            OperationalError: problems.answer_operational_error,
            DataError: problems.answer_data_error,
            OverflowError: problems.answer_overflow,
            Exception: problems.answer_unexpected,
        },
        logging_config=None,
    )
