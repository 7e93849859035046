"""Python's cycle collector under load: switched off, and run when nobody notices.

Calls make no cycles, so counting references frees them. What the collector would do all the same
is look through every live call, transaction and timer: a third of a second at 2,000 calls/s, in
which no message is read. The few cycles of connections and control requests can wait.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Final

LOOK_S: Final = 10.0
COLLECT_S: Final = 300.0
QUIET_OBJECTS_MAX: Final = 20_000
"""So many can be looked through in under 20 ms; they are the traces of some 600 calls."""


def stop_collecting() -> None:
    """Take what stands now out of the collector's sight and switch it off. Once, before traffic."""
    gc.collect()
    gc.freeze()
    gc.disable()


def is_quiet() -> bool:
    """Whether few objects stand that were made since the last collection, all traffic's among them."""
    return gc.get_count()[0] <= QUIET_OBJECTS_MAX


async def collect_when_quiet() -> None:
    """Collect every five minutes, or as soon after as traffic is low. Runs until cancelled."""
    waited_s = 0.0
    while True:
        await asyncio.sleep(LOOK_S)
        waited_s += LOOK_S
        if waited_s >= COLLECT_S and is_quiet():
            gc.collect()
            waited_s = 0.0
