"""What a change that does thousands of things reads once, instead of once for each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from control.services.context import Change

T = TypeVar("T")

_IS_ON: Final = "is remembering"


@contextmanager
def remembering(change: Change) -> Iterator[None]:
    """While the block lasts, `recalled` answers from what it read before in it.

    For blocks that change nothing of what they recall.
    """
    change.memo[_IS_ON] = True
    try:
        yield
    finally:
        change.memo.clear()


async def recalled(change: Change, key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
    """What `read` says; within `remembering`, what it said the first time."""
    if _IS_ON not in change.memo:
        return await read()
    if key not in change.memo:
        change.memo[key] = await read()
    found: T = change.memo[key]
    return found
