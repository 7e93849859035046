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
FIRST_INTERVALS_MAX: Final = 12
"""So many are compared one by one."""
STOPPED_MIN: Final = 1_024
"""Stopped timers stay where they are until their turn, or until they are this many and the greater
part: behind one long call there would be those of all calls since."""


@trait
class TimerOwner:
    """Whatever owns timers."""

    def fire(self, kind: int, now: float) -> None:
        raise NotImplementedError


class Queue:
    """Timers of one interval, or the heap of odd ones; `stopped` of them wait to be forgotten."""

    def __init__(self, interval_ms: int) -> None:
        self.interval_ms: int = interval_ms
        """0: of no one interval."""
        self.timers: deque[Timer] = deque()
        self.stopped: int = 0


class Timer:
    """One running timer; `stop` it and it holds on to nothing."""

    def __init__(self, deadline: float, owner: TimerOwner, kind: int, queue: Queue) -> None:
        self.deadline: float = deadline
        self.owner: TimerOwner | None = owner
        self.kind: int = kind
        self._queue: Queue = queue

    def stop(self) -> None:
        if self.owner is not None:
            self.owner = None
            self._queue.stopped += 1


class Timers:
    """Runs timers by a clock that it is told."""

    def __init__(self) -> None:
        self._queues: dict[int, Queue] = {}
        self._first_queues: list[Queue] = []
        """The intervals that came first, which are RFC 3261's: compared sooner than looked up."""
        self._heap: list[tuple[float, int, Timer]] = []
        self._odd: Queue = Queue(0)
        """Counts the stopped ones of the heap; its own `timers` stay empty."""
        self._heap_serial: int = 0
        self._next: float = NEVER

    def start(self, interval_ms: int, owner: TimerOwner, kind: int, now: float) -> Timer:
        """Fire `owner.fire(kind, …)` `interval_ms` from now."""
        deadline = now + interval_ms / 1000.0
        queue = self._queue_of(interval_ms)
        if queue is None:
            return self.start_at(deadline, owner, kind)
        timer = Timer(deadline, owner, kind, queue)
        timers = queue.timers
        timers.append(timer)
        if queue.stopped > STOPPED_MIN and 2 * queue.stopped > len(timers):
            queue.timers = deque([each for each in timers if each.owner is not None])
            queue.stopped = 0
        if deadline < self._next:
            self._next = deadline
        return timer

    def _queue_of(self, interval_ms: int) -> Queue | None:
        """None: there are too many intervals for this one to have a queue."""
        for known in self._first_queues:
            if known.interval_ms == interval_ms:
                return known
        queue = self._queues.get(interval_ms)
        if queue is None and len(self._queues) < INTERVALS_MAX:
            queue = Queue(interval_ms)
            self._queues[interval_ms] = queue
            if len(self._first_queues) < FIRST_INTERVALS_MAX:
                self._first_queues.append(queue)
        return queue

    def start_at(self, deadline: float, owner: TimerOwner, kind: int) -> Timer:
        """Fire at a moment that has no interval in common with others."""
        odd = self._odd
        timer = Timer(deadline, owner, kind, odd)
        self._heap_serial += 1
        heapq.heappush(self._heap, (deadline, self._heap_serial, timer))
        if odd.stopped > STOPPED_MIN and 2 * odd.stopped > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].owner is not None]
            heapq.heapify(self._heap)
            odd.stopped = 0
        if deadline < self._next:
            self._next = deadline
        return timer

    def next_deadline(self) -> float:
        """No timer fires before this; `NEVER` if none runs. It may be early, never late."""
        return self._next

    def run(self, now: float) -> None:
        """Fire everything due by `now`, each once, the older deadline first within an interval."""
        if now < self._next:
            return
        self._next = NEVER
        try:
            self._fire_due(now)
        finally:
            # A fault in one owner must not stop the clock of all others.
            self._next = self._earliest(now)

    def _fire_due(self, now: float) -> None:
        for queue in list(self._queues.values()):
            while queue.timers:
                timer = queue.timers[0]
                owner = timer.owner
                if owner is None:
                    queue.timers.popleft()
                    queue.stopped -= 1
                    continue
                if timer.deadline > now:
                    break
                queue.timers.popleft()
                timer.owner = None
                owner.fire(timer.kind, now)
        while self._heap:
            top = self._heap[0][2]
            heap_owner = top.owner
            if heap_owner is None:
                heapq.heappop(self._heap)
                self._odd.stopped -= 1
                continue
            if top.deadline > now:
                break
            heapq.heappop(self._heap)
            top.owner = None
            heap_owner.fire(top.kind, now)

    def _earliest(self, now: float) -> float:
        """What fired may have started timers, also in queues already passed: look again at all heads."""
        earliest = NEVER
        for queue in self._queues.values():
            timers = queue.timers
            if timers and timers[0].deadline < earliest:
                earliest = timers[0].deadline
        if self._heap and self._heap[0][0] < earliest:
            earliest = self._heap[0][0]
        return max(earliest, now + TICK_S)

    def running(self) -> int:
        """How many timers are started and not stopped; walks them all, for tests and leak checks."""
        count = 0
        for queue in self._queues.values():
            for timer in queue.timers:
                if timer.owner is not None:
                    count += 1
        for _, _, timer in self._heap:
            if timer.owner is not None:
                count += 1
        return count
