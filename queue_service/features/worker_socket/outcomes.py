"""Callers that wait for the outcome of an item (WA-2), and what they are told."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from queue_service.core.errors import (
    NoWorker,
    QueueError,
    RequestConflict,
    WorkerLost,
    WorkFailed,
    WorkTimeout,
)
from queue_service.core.task import Task
from queue_service.store import attempts, tasks
from queue_service.store.database import Database
from queue_service.store.signals import Signal, TasksResolved

LOOK_AGAIN_SECONDS: Final = 2.0
PACE_SECONDS: Final = 0.005
_LOST: Final = {"worker-shutdown": WorkerLost, "claim-expired": WorkTimeout}


class Outcomes:
    """Wakes callers whose items have ended; one statement looks for all of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[str, asyncio.Future[Task]] = {}
        self._stirred = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        database.subscribe(self._on_signal)

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def wait(
        self, task_id: str, *, seconds: float, gone: Callable[[], Awaitable[object]]
    ) -> Task | None:
        """The task once it has ended; None when that takes longer, or the caller has gone."""
        future = self._waiting.get(task_id)
        if future is None:
            future = self._waiting[task_id] = asyncio.get_running_loop().create_future()
        self._stirred.set()
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="outcomes of work")
        left = asyncio.ensure_future(gone())
        try:
            await asyncio.wait((future, left), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return future.result() if future.done() else None
        finally:
            left.cancel()

    async def _look(self) -> None:
        while self._waiting:
            self._stirred.clear()
            async with self._database.read() as connection:
                found = await tasks.get(connection, list(self._waiting))
            for task_id, task in found.items():
                if task.resolved:
                    future = self._waiting.pop(task_id)
                    if not future.done():
                        future.set_result(task)
            await asyncio.sleep(PACE_SECONDS)
            try:
                async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                    await self._stirred.wait()
            except TimeoutError:
                pass

    def _on_signal(self, signal: Signal) -> None:
        if self._waiting and isinstance(signal, TasksResolved):
            self._stirred.set()


async def output_of(database: Database, task: Task, name: str) -> Any:
    """The output of an item that was done. Raises what its caller is told of one that was not."""
    async with database.read() as connection:
        if task.state == "completed":
            return await attempts.output_of(connection, task.task_id)
        errors = await attempts.errors_of(connection, task.task_id)
    raise refusal(task, name, errors[-1].error if errors else "")


def refusal(task: Task, name: str, error: str) -> QueueError:
    """What the caller of an item is told that was not done."""
    reason = task.runs[-1].reason_resolved or ""
    if task.state == "failed":
        return WorkFailed(f"Error executing task: {error}")
    if reason == "resource-unavailable":
        return NoWorker(f"no worker for task: {name}")
    if reason in _LOST:
        return _LOST[reason](f"The item `{task.task_id}` was not done: {reason}, and no retries are left.")
    return RequestConflict(f"The item `{task.task_id}` was not done: {reason}.")
