"""When queues have something to do: an agenda ordered by time. It never looks at a clock itself."""

import heapq
import itertools
from typing import Protocol


class Timed(Protocol):
    """Something with one wake-up at most; `armed` belongs to the agenda."""

    armed: float | None

    def wake(self, now: float) -> None:
        """Do some of what is due at `now`, and arm again if there is more."""


class Agenda:
    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._order = itertools.count()

    def arm(self, timed: Timed, when: float) -> None:
        """Wake it at `when`; an earlier wake-up already set stays the only one."""
        if timed.armed is None or when < timed.armed:
            timed.armed = when
            heapq.heappush(self._heap, (when, next(self._order), timed))

    def next(self) -> float | None:
        """The time of the next wake-up; it may have passed."""
        while self._heap:
            when, _, timed = self._heap[0]
            if timed.armed == when:
                return when
            heapq.heappop(self._heap)
        return None

    def run(self, now: float) -> None:
        """Wake what is due, each once: who has more to do waits for the next run and lets others go first."""
        due = []
        while (when := self.next()) is not None and when <= now:
            timed = heapq.heappop(self._heap)[2]
            timed.armed = None
            due.append(timed)
        for timed in due:
            timed.wake(now)
