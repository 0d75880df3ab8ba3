"""What connections have, compared with the queue: items that ended elsewhere, jobs to be cancelled (K-2)."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from queue_service.core.task import Task
from queue_service.features.jobs.event_store import job_of
from queue_service.features.jobs.job import cancel_requested
from queue_service.features.worker_socket.connection import Connection, InFlight
from queue_service.features.worker_socket.reports import Reports
from queue_service.store import tasks
from queue_service.store.database import Database
from queue_service.store.signals import TopicStirred

PAGE: Final = 200
CHECK_SECONDS: Final = 1.0
"""How often all items are compared."""
PACE_SECONDS: Final = 0.02
"""Between two looks at typed jobs of which something was told."""

Held = tuple[Connection, InFlight]
Forget = Callable[[Connection, InFlight, str], None]
"""Takes back an item that the connection does not have any more, for this reason."""


class Watch:
    """Looks at all items at times; at a typed job at once, when something became of it in any process."""

    def __init__(self, database: Database, reports: Reports, forget: Forget) -> None:
        self._database = database
        self._reports = reports
        self._forget = forget
        self._held: dict[tuple[str, int], Held] = {}
        """The items in flight, by task and run."""
        self._jobs: dict[str, Held] = {}
        """Those that are typed jobs, by task."""
        self._changed: set[str] = set()
        self._stirred = asyncio.Event()

    def begin(self, connection: Connection, item: InFlight) -> None:
        """The connection has the item now."""
        self._held[item.task_id, item.run_id] = connection, item
        if item.job is not None:
            self._jobs[item.task_id] = connection, item

    def end(self, item: InFlight) -> None:
        """The connection has the item no more."""
        key = item.task_id, item.run_id  # under which another connection may have it by now
        if (known := self._held.get(key)) is not None and known[1] is item:
            del self._held[key]
        if (known := self._jobs.get(item.task_id)) is not None and known[1] is item:
            del self._jobs[item.task_id]

    def stir(self, signal: TopicStirred) -> None:
        """Something became of what the topic names."""
        if self._jobs and (task_id := job_of(signal.topic)) in self._jobs:
            self._changed.add(task_id)
            self._stirred.set()

    async def check(self) -> None:
        """Look at all items, a while after the last time. Raises StoreUnavailable."""
        await asyncio.sleep(CHECK_SECONDS)
        await self.check_once()

    async def check_once(self) -> None:
        """Look at all items: which are expired, cancelled, ended? Raises StoreUnavailable."""
        held = list(self._held.values())
        for start in range(0, len(held), PAGE):
            await self._compare(held[start : start + PAGE])

    async def follow(self) -> None:
        """Look at typed jobs of which something was told. Raises StoreUnavailable."""
        await self._stirred.wait()
        self._stirred.clear()
        changed, self._changed = self._changed, set()
        await self._compare([self._jobs[task_id] for task_id in changed if task_id in self._jobs])
        await asyncio.sleep(PACE_SECONDS)

    async def _compare(self, held: Sequence[Held]) -> None:
        if not held:
            return
        async with self._database.read() as reading:
            found = await tasks.get(reading, [item.task_id for _, item in held])
        asked = []
        for connection, item in held:
            task = found.get(item.task_id)
            if task is None or not _has(task, connection, item):
                self.end(item)
                self._forget(connection, item, _reason(task, item))
            elif item.job is not None and not item.cancel_told and cancel_requested(task):
                asked.append((connection, item))
        await self._reports.heed(asked)


def _has(task: Task, connection: Connection, item: InFlight) -> bool:
    run = task.last_run
    return run is not None and (run.run_id, run.state, run.worker_id) == (
        item.run_id,
        "running",
        connection.worker_id,
    )


def _reason(task: Task | None, item: InFlight) -> str:
    """Why the item's run ended, in the words of the queue."""
    ended = task.runs[item.run_id] if task is not None and len(task.runs) > item.run_id else None
    return (ended and ended.reason_resolved) or "not-running"
