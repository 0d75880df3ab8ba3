"""What workers answer, written down: each answer once, also when the database is away for a while (A.8)."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from queue_service.core import attempts
from queue_service.core.errors import InputTooLarge, QueueError
from queue_service.core.task import Change, Task
from queue_service.features.worker_socket.connection import InFlight
from queue_service.operations import tasks as task_operations
from queue_service.operations.batching import Batcher, Overloaded
from queue_service.operations.tasks import Rule, TaskCall
from queue_service.store.database import Database, StoreUnavailable
from schemas.attempts import CompletionReport, FailureReport

logger = structlog.get_logger(__name__)

ATTEMPTS: Final = 5
"""To write down an answer while the database is away; then the claim expires."""
STOP_SECONDS: Final = 2.0
"""For answers that are being written when the gateway stops."""
NO_DETAILS: Final = "worker signalled error without detailed error message"

Jitter = Callable[[], float]


def done(item: InFlight, output: Any, jitter: Jitter) -> Rule:
    """The worker has done the item (WR-1); an output that is too large makes it a failure."""

    def rule(task: Task, now: datetime) -> Change:
        report = CompletionReport.trusted(output=output)
        try:
            return attempts.completed(task, item.run_id, report, now)
        except InputTooLarge as error:
            told = FailureReport.trusted(error=error.message, retry=False)
            return attempts.failed(task, item.run_id, told, now, jitter())

    return rule


def failed(item: InFlight, error: str, jitter: Jitter) -> Rule:
    """The worker says that the item failed (WR-2)."""
    told = FailureReport.trusted(error=error or NO_DETAILS)
    return lambda task, now: attempts.failed(task, item.run_id, told, now, jitter())


def snoozed(item: InFlight, wait: timedelta) -> Rule:
    """The worker puts the item off."""
    return lambda task, now: attempts.snoozed(task, item.run_id, wait, now)


class Answers:
    """Writes answers beside what the sockets do; those that meet share a transaction."""

    def __init__(self, database: Database) -> None:
        self.stale = 0
        """Answers for items that the connection did not have (WR-4)."""
        self._database = database
        self._changes = Batcher[TaskCall, Task](self._change)
        self._under_way: set[asyncio.Task[None]] = set()

    def take(self, item: InFlight, rule: Rule, *, after: Coroutine[Any, Any, None] | None = None) -> None:
        """Write down the answer to an item that the connection has no more, when ``after`` is done."""
        writing = asyncio.create_task(self._write(item, rule, after), name="answer of a worker")
        self._under_way.add(writing)
        writing.add_done_callback(self._under_way.discard)

    @property
    def under_way(self) -> bool:
        """Whether an answer is not written down yet."""
        return bool(self._under_way)

    async def written(self, timeout: float | None = None) -> None:
        """Until the answers so far are written down."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=timeout)

    async def _write(self, item: InFlight, rule: Rule, after: Coroutine[Any, Any, None] | None) -> None:
        if after is not None:
            await after
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._changes.submit(TaskCall(item.task_id, rule))
            except (StoreUnavailable, Overloaded) as error:
                logger.warning("an answer waits for the database", task_id=item.task_id, reason=str(error))
                await asyncio.sleep(attempt)
                continue
            except QueueError as error:
                self.stale += 1
                logger.info("an answer came too late", task_id=item.task_id, reason=error.message)
            return
        logger.error("an answer is lost; the item is handed out again", task_id=item.task_id)

    async def _change(self, calls: Sequence[TaskCall]) -> list[Task | QueueError]:
        return await self._database.write(lambda tx: task_operations.change(tx, calls))
