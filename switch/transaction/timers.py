"""All timers of the engine: started by the thousand a second, almost all stopped before they fire.

Timers of one interval expire in the order in which they were started, so each interval has a queue
of its own and starting one is an append. The few intervals that occur are RFC 3261's and those of
the settings; odd deadlines (the end of a hold, a Retry-After) go to a heap.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Final

from mypy_extensions import trait

NEVER: Final = 1e18
TICK_S: Final = 0.005
"""Timers due within this much of each other fire together; RFC 3261's shortest is 500 ms."""
INTERVALS_MAX: Final = 64
"""More distinct intervals than this (settings of many vendors) share the heap."""


@trait
class TimerOwner:
    """Whatever owns timers."""

    def fire(self, kind: int, now: float) -> None:
        raise NotImplementedError


class Timer:
    """One running timer; `stop` it and it holds on to nothing."""

    def __init__(self, deadline: float, owner: TimerOwner, kind: int) -> None:
        self.deadline: float = deadline
        self.owner: TimerOwner | None = owner
        self.kind: int = kind

    def stop(self) -> None:
        self.owner = None


class Timers:
    """Runs timers by a clock that it is told."""

    def __init__(self) -> None:
        self._queues: dict[int, deque[Timer]] = {}
        self._heap: list[tuple[float, int, Timer]] = []
        self._heap_serial: int = 0
        self._next: float = NEVER
        self._fired_at: float = -NEVER

    def start(self, interval_ms: int, owner: TimerOwner, kind: int, now: float) -> Timer:
        """Fire `owner.fire(kind, …)` `interval_ms` from now."""
        deadline = now + interval_ms / 1000.0
        timer = Timer(deadline, owner, kind)
        queue = self._queues.get(interval_ms)
        if queue is None:
            if len(self._queues) >= INTERVALS_MAX:
                return self._push(timer)
            queue = deque()
            self._queues[interval_ms] = queue
        queue.append(timer)
        if deadline < self._next:
            self._next = deadline
        return timer

    def start_at(self, deadline: float, owner: TimerOwner, kind: int) -> Timer:
        """Fire at a moment that has no interval in common with others."""
        return self._push(Timer(deadline, owner, kind))

    def _push(self, timer: Timer) -> Timer:
        self._heap_serial += 1
        heapq.heappush(self._heap, (timer.deadline, self._heap_serial, timer))
        if timer.deadline < self._next:
            self._next = timer.deadline
        return timer

    def next_deadline(self) -> float:
        """No timer fires before this; `NEVER` if none runs. It may be early, never late."""
        return self._next

    def run(self, now: float) -> None:
        """Fire everything due by `now`, each once, the older deadline first within an interval."""
        if now < self._next:
            return
        self._next = NEVER
        for queue in list(self._queues.values()):
            while queue:
                timer = queue[0]
                owner = timer.owner
                if owner is None:
                    queue.popleft()
                    continue
                if timer.deadline > now:
                    break
                queue.popleft()
                timer.owner = None
                owner.fire(timer.kind, now)
        heap = self._heap
        while heap:
            top = heap[0][2]
            heap_owner = top.owner
            if heap_owner is None:
                heapq.heappop(heap)
                continue
            if top.deadline > now:
                break
            heapq.heappop(heap)
            top.owner = None
            heap_owner.fire(top.kind, now)
        # What fired may have started timers, also in queues already passed: look again at all heads.
        earliest = NEVER
        for queue in self._queues.values():
            if queue and queue[0].deadline < earliest:
                earliest = queue[0].deadline
        if heap and heap[0][0] < earliest:
            earliest = heap[0][0]
        if earliest < now + TICK_S:
            earliest = now + TICK_S
        self._next = earliest

    def running(self) -> int:
        """How many timers are started and not stopped; walks them all, for tests and leak checks."""
        count = 0
        for queue in self._queues.values():
            for timer in queue:
                if timer.owner is not None:
                    count += 1
        for _, _, timer in self._heap:
            if timer.owner is not None:
                count += 1
        return count
