"""Fills an empty store with the example data, through the API like anybody else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import structlog

import config
from control.apply import Plan
from control.apply_file import ApplyError, read_file
from control.client import ApiClient, ApiError

EXAMPLE: Final = Path(config.__file__).parent / "example" / "example.toml"

log = structlog.get_logger("control.example")


async def load_example(url: str, key_file: Path) -> None:
    """Apply the example if there are no customers; what goes wrong is logged, and the rest works on."""
    try:
        count = await asyncio.to_thread(_apply, url, key_file)
    except (ApplyError, ApiError, OSError) as error:
        log.error("the example could not be loaded", reason=str(error))
        return
    log.info("example data", steps=count)


def _apply(url: str, key_file: Path) -> int:
    """Returns how many things were made; 0 where the store had customers."""
    client = ApiClient(url, key_file.read_text().strip())
    try:
        if next(client.items("/customers"), None) is not None:
            return 0
        plan = Plan(client, read_file(EXAMPLE))
        steps = plan.steps()
        for step in steps:
            plan.run(step)
        return len(steps)
    finally:
        client.close()
