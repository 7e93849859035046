"""What the control process and the process that replays say to each other."""

from __future__ import annotations

import msgspec

from control.services.replay_calls import Changes


class ReplayJob(msgspec.Struct, frozen=True, kw_only=True):
    """What to replay, and where the results go: `base` with `.json` and `.csv` behind it."""

    parent: int
    store_url: str
    data_folder: str
    base: str
    from_ms: int
    to_ms: int
    customer_id: int | None
    changes: Changes
    max_duration_s: int


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of standard output; the last one says that all is done, or what went wrong."""

    calls: int
    is_done: bool = False
    error: str = ""
