"""Claims under limits: which runs may start, and whose turn it is (``seed-systems.md`` C-17, L-1 to L-3).

One claim at a time looks at a task queue that has limits, or lanes. It counts what is running and takes what
fits, all in its own transaction.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from queue_service.core.errors import RequestConflict
from queue_service.core.lanes import (
    CAPPED,
    NO_LIMITS,
    Bucket,
    Level,
    Slots,
    Tokens,
    buckets_of,
    caps_of,
    is_outdated,
    keyed,
    lane_of,
)
from queue_service.core.task import Task
from queue_service.core.turns import Source, Turns, Waiting, by_priority
from queue_service.core.workers import KEPT, Seen
from queue_service.store import claims, controls, lanes, tasks, workers
from queue_service.store.claims import Turn
from queue_service.store.database import Tx
from queue_service.store.lanes import EPOCH, Served
from queue_service.store.signals import QueueHeld
from schemas.task_queues import TaskQueueLimits
from schemas.times import from_ms

FEW: Final = 4
LANES: Final = 256
"""A claim looks into as many lanes as it wants runs; while all of them prove full, into many more at once."""
LOOKS: Final = 16
MOVED: Final = 500
"""Runs that one claim puts into their lanes, when a task queue has got limits with another key."""
AGAIN: Final = timedelta(seconds=1)
"""A full lane is looked into when a run of it ends, and after this time: others may share its bucket."""


async def pick(
    tx: Tx,
    task_queue_id: str,
    wanted: int,
    draw: Callable[[], float] = random.random,
    *,
    turn: Turn | None = None,
) -> list[Task]:
    """Up to ``wanted`` tasks with a pending run that may start now, locked, in the order of their turns.

    What they count against is written down: the caller claims them in this transaction. ``turn``: what this
    transaction has found as it took its turn.
    """
    turn = turn or await claims.take_turn(tx, task_queue_id)
    if turn is None:
        await workers.note_queues(tx, {task_queue_id: Seen(tx.now, tx.now + KEPT)})
        turn = await claims.take_turn(tx, task_queue_id)
    if turn is None or turn.paused:
        return []
    limits = turn.limits or NO_LIMITS
    beside = turn.beside
    if beside and keyed(limits):
        await _move(tx, task_queue_id, limits, await lanes.newcomers(tx, task_queue_id, MOVED))
        beside = False
    look = _Look(tx, task_queue_id, limits, beside=beside)
    if look.caps:
        await look.measure(look.caps)
    share = limits.fair_share or 0.0
    size = min(max(wanted, FEW), LANES)
    for _ in range(LOOKS):
        served, more = await look.serve(wanted, size, lambda: draw() < share)
        if served or not more:
            return served
        size = LANES
    return []


async def admit(tx: Tx, task: Task) -> Task:
    """A task whose pending run is claimed by its id, with what it counts against written down.

    Once in a transaction; :func:`admit_all` is for many. Raises RequestConflict when a limit is reached.
    """
    admitted = await admit_all(tx, [task])
    if not admitted:
        raise RequestConflict(
            f"The run of task `{task.task_id}` cannot be claimed now: a limit of the task, or of its task "
            f"queue `{task.task_queue_id}`, is reached."
        )
    return admitted[task.task_id]


async def admit_all(tx: Tx, wanted: Sequence[Task]) -> dict[str, Task]:
    """Those of these tasks, by id, whose pending runs may start now, earlier ones first.

    What they count against is written down: the caller claims them in this transaction.
    """
    admitted: dict[str, Task] = {}
    for task_queue_id in sorted({task.task_queue_id for task in wanted}):
        found = await controls.take_turns(tx, task_queue_id)
        limits = NO_LIMITS if found is None else found.limits or NO_LIMITS
        mine = [task for task in wanted if task.task_queue_id == task_queue_id]
        names = await _lanes(tx, limits, [task.task_id for task in mine])
        look = _Look(tx, task_queue_id, limits)
        started = [replace(task, lane=names[task.task_id]) for task in mine]
        await look.measure(bucket for task in started for bucket in look.buckets(task))
        admitted |= {task.task_id: task for task in await look.start(list(filter(look.take, started)))}
    return admitted


class _Look:
    """A task queue under limits, as one claim finds and leaves it."""

    def __init__(self, tx: Tx, task_queue_id: str, limits: TaskQueueLimits, *, beside: bool = False) -> None:
        self._tx = tx
        self._queue = task_queue_id
        self._limits = limits
        self._runs_beside = beside
        self._levels: dict[Tokens, Level] = {}
        self.caps = caps_of(limits)
        self.room: dict[str, int] = {}

    def buckets(self, task: Task) -> tuple[Bucket, ...]:
        """What a run of this task counts against."""
        return (*self.caps, *(buckets_of(task.lane, self._limits) if task.lane else ()))

    def take(self, task: Task) -> bool:
        """Whether there is room for a run of this task, which is then taken."""
        names = [bucket.name for bucket in self.buckets(task)]
        if any(self.room[name] <= 0 for name in names):
            return False
        for name in names:
            self.room[name] -= 1
        return True

    async def measure(
        self, buckets: Iterable[Bucket], into: Iterable[str] = (), wanted: int = 0
    ) -> dict[str, list[Waiting]]:
        """Find out how much room these buckets have; the first so many runs of each lane ``into``."""
        new = {each.name: each for each in buckets if each.name not in self.room}
        slots = {name: each for name, each in new.items() if isinstance(each, Slots)}
        tokens = {name: each for name, each in new.items() if isinstance(each, Tokens)}
        first, held = await lanes.look_into(
            self._tx,
            self._queue,
            into,
            wanted,
            [name for name, each in slots.items() if not each.whole_queue],
        )
        for name, each in slots.items():
            if each.whole_queue:
                held[name] = await lanes.count_running(self._tx, self._queue)
            self.room[name] = each.limit - held.get(name, 0)
        levels = await lanes.levels(self._tx, self._queue, list(tokens.values()))
        for name, bucket in tokens.items():
            self._levels[bucket] = levels[name]
            self.room[name] = levels[name].room(bucket)
        return first

    async def serve(self, wanted: int, size: int, by_age: Callable[[], bool]) -> tuple[list[Task], bool]:
        """Runs of the next lanes, and of what waits beside them; whether another look may find more."""
        turns = await lanes.lock_next(self._tx, self._queue, size)
        outdated = [lane for lane in turns if is_outdated(lane, self._limits)]
        if outdated:
            await self._dissolve(outdated)
            return [], True
        sources = await self._sources(turns, wanted)
        beside = await self._beside(wanted) if self._runs_beside else []
        names = Turns([*sources.values(), *beside], self.room).take(wanted, self._tx.next_queue_order, by_age)
        found = await tasks.lock_free(self._tx, names)
        served = await self.start([found[name] for name in names if name in found and found[name].in_line])
        await self._leave(sources, all_taken=len(served) == len(names))
        more = len(turns) == size and not any(self.room[cap.name] <= 0 for cap in self.caps)
        return served, more

    async def start(self, started: Sequence[Task]) -> list[Task]:
        """Write down what these runs count against; the tasks as they are to be claimed."""
        taken: dict[Tokens, int] = {}
        slots: list[tuple[str, str]] = []
        for task in started:
            for bucket in self.buckets(task):
                if isinstance(bucket, Tokens):
                    taken[bucket] = taken.get(bucket, 0) + 1
                elif not bucket.whole_queue:
                    slots.append((bucket.name, task.task_id))
        await lanes.take_slots(self._tx, self._queue, slots)
        self._levels |= {bucket: self._levels[bucket].take(bucket, n) for bucket, n in taken.items()}
        await lanes.save_levels(self._tx, self._queue, {bucket: self._levels[bucket] for bucket in taken})
        return [replace(task, lane=task.lane or CAPPED) if self.caps else task for task in started]

    async def _sources(self, turns: Mapping[str, int], wanted: int) -> dict[str, Source]:
        if not turns:
            return {}
        each = min(-(-2 * wanted // len(turns)), wanted)
        buckets = {lane: (*self.caps, *buckets_of(lane, self._limits)) for lane in turns}
        first = await self.measure(
            (bucket for found in buckets.values() for bucket in found), into=turns, wanted=each
        )
        return {
            lane: Source(
                first[lane],
                tuple(bucket.name for bucket in buckets[lane]),
                turn,
                complete=len(first[lane]) < each,
            )
            for lane, turn in turns.items()
        }

    async def _beside(self, wanted: int) -> list[Source]:
        waiting = await lanes.beside(self._tx, self._queue, wanted, oldest=bool(self._limits.fair_share))
        caps = tuple(cap.name for cap in self.caps)
        return [replace(source, buckets=caps) for source in by_priority(waiting)]

    async def _leave(self, sources: Mapping[str, Source], *, all_taken: bool) -> None:
        """Write what has become of the lanes: served, shut, or without anybody who waits."""
        whole = {cap.name for cap in self.caps}
        changed: list[Served] = []
        empty: list[str] = []
        for lane, source in sources.items():
            shut = source.full != "" and source.full not in whole
            if source.first is None and (not source.waiting or (source.complete and all_taken)):
                empty.append(lane)
            elif source.taken or shut:
                priority = (source.first or source.waiting[-1]).priority
                until = self._room_at(source.full) if shut else EPOCH
                changed.append(Served(lane, priority, source.turn or 0, until))
        await lanes.serve(self._tx, self._queue, changed)
        await lanes.delete_served(self._tx, self._queue, empty)
        full = {source.full for source in sources.values() if source.full}
        full |= {name for name in whole if self.room[name] <= 0}
        if full:
            self._tx.announce(QueueHeld(self._queue, min(map(self._room_at, full))))

    def _room_at(self, name: str) -> datetime:
        """When a full bucket may have room again, if nobody tells before."""
        for bucket, level in self._levels.items():
            if bucket.name == name:
                return from_ms(level.next_token_ms(bucket))
        return self._tx.now + AGAIN

    async def _dissolve(self, outdated: Sequence[str]) -> None:
        """Put runs of lanes of other limits into those of now."""
        await _move(
            self._tx, self._queue, self._limits, await lanes.members(self._tx, self._queue, outdated, MOVED)
        )
        await lanes.delete_empty(self._tx, self._queue, outdated)
        self._runs_beside = not keyed(self._limits)


async def _move(tx: Tx, task_queue_id: str, limits: TaskQueueLimits, priorities: Mapping[str, int]) -> None:
    """Put tasks, which this transaction has locked, into the lanes that they have under these limits."""
    if not priorities:
        return
    wanted = await _lanes(tx, limits, list(priorities))
    urgency: dict[tuple[str, str], int] = {}
    for task_id, lane in wanted.items():
        priority = priorities[task_id]
        if lane:
            known = urgency.setdefault((task_queue_id, lane), priority)
            urgency[task_queue_id, lane] = min(known, priority)
    await lanes.move(tx, wanted)
    await lanes.fill(tx, urgency)


async def _lanes(tx: Tx, limits: TaskQueueLimits, task_ids: Sequence[str]) -> dict[str, str]:
    defined = await tasks.definitions(tx.connection, task_ids)
    return {
        task_id: lane_of(definition.limits, limits, definition.payload, definition.tags)
        for task_id, definition in defined.items()
    }
