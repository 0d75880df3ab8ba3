"""Whose turn it is among runs that wait in lanes and beside them (``seed-systems.md`` C-16, C-17, L-3)."""

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that waits: its priority, 0 being the most urgent, and its age, smaller being older."""

    task_id: str
    priority: int
    age: int


@dataclass(slots=True)
class Source:
    """Runs of which the first one is next: a lane, or what waits in no lane with one priority."""

    waiting: Sequence[Waiting]
    buckets: tuple[str, ...] = ()
    turn: int | None = None
    """When it last had its turn; None where the age of the run decides."""
    complete: bool = False
    """Whether these are all that wait in it."""
    taken: int = 0
    full: str = ""
    """The bucket that shuts it."""

    @property
    def first(self) -> Waiting | None:
        return self.waiting[self.taken] if self.taken < len(self.waiting) else None


@dataclass(slots=True)
class Turns:
    """Whose turn it is among sources, until the buckets are full."""

    sources: Sequence[Source]
    room: dict[str, int]
    """How many more runs each bucket takes."""
    _by_urgency: list[tuple[int, int, int, int]] = field(default_factory=list)
    _by_age: list[tuple[int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for place in range(len(self.sources)):
            self._queue(place)

    def take(self, wanted: int, next_turn: Callable[[], int], by_age: Callable[[], bool]) -> list[str]:
        """Up to so many runs, in the order in which they are served.

        The most urgent first, and among equals the source that was served longest ago; where ``by_age`` says
        so, that one whatever its priority is, unless a run of priority `highest` waits. A source whose bucket
        is full is passed over.
        """
        served: list[str] = []
        while len(served) < wanted and (place := self._next(by_age())) is not None:
            source = self.sources[place]
            run = source.first
            assert run is not None
            for bucket in source.buckets:
                self.room[bucket] -= 1
            source.taken += 1
            if source.turn is not None:
                source.turn = next_turn()
            served.append(run.task_id)
            self._queue(place)
        return served

    def _queue(self, place: int) -> None:
        source = self.sources[place]
        if (run := source.first) is not None:
            turn = run.age if source.turn is None else max(source.turn, run.age)
            heapq.heappush(self._by_urgency, (run.priority, turn, place, source.taken))
            heapq.heappush(self._by_age, (turn, place, source.taken))

    def _next(self, by_age: bool) -> int | None:
        urgent = self._open(self._by_urgency)
        if urgent is None or not by_age or self._by_urgency[0][0] == 0:
            return urgent
        return self._open(self._by_age)

    def _open(self, heap: list[Any]) -> int | None:
        """The source at the top, after those that are shut or were served in another order are gone."""
        while heap:
            place, taken = heap[0][-2:]
            source: Source = self.sources[place]
            if source.taken == taken and not source.full:
                source.full = next((name for name in source.buckets if self.room[name] <= 0), "")
                if not source.full:
                    return int(place)
            heapq.heappop(heap)
        return None


def by_priority(waiting: Iterable[Waiting]) -> list[Source]:
    """What waits in no lane: a source for each priority, the oldest first."""
    found: dict[int, list[Waiting]] = {}
    for run in sorted(waiting, key=lambda run: run.age):
        found.setdefault(run.priority, []).append(run)
    return [Source(runs) for runs in found.values()]
