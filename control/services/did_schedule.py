"""What DIDs do by themselves: cooling-off ends, and months are charged as they begin."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from control.services import did_charges, did_life
from control.services.context import Context
from control.services.errors import ServiceError

LOOK_S: Final = 30.0
"""How late after its time a number is free, or a month charged."""

log = structlog.get_logger("control.dids")


async def run(ctx: Context) -> None:
    """Look until cancelled; what fails is tried again."""
    while True:
        try:
            await run_due(ctx)
        except (SQLAlchemyError, ServiceError, OSError) as error:
            log.error("DIDs were not looked at", reason=str(error))
        await asyncio.sleep(LOOK_S)


async def run_due(ctx: Context) -> None:
    """Do what is due by the context's clock; a second time it does nothing."""
    try:
        freed = await did_life.end_cooling_off(ctx)
        if freed:
            log.info("numbers are free again", count=freed)
    except (SQLAlchemyError, ServiceError) as error:
        log.error("numbers were not set free", reason=str(error))  # charges do not wait for it
    charged = await did_charges.run_due(ctx)
    if charged:
        log.info("months of DIDs charged", count=charged)
