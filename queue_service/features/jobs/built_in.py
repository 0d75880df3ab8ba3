"""The built-in types of jobs, and the loop of the service that works on them (B.9)."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import structlog

from queue_service.core import attempts
from queue_service.core.errors import QueueError
from queue_service.core.limits import Limits
from queue_service.features.jobs import type_store, types
from queue_service.features.jobs.notifying import TEST_EVENT, Notification, Notifier, NotSent
from queue_service.loops.loop import Loop
from queue_service.loops.schedule import idle
from queue_service.operations import claims
from queue_service.operations import tasks as task_operations
from queue_service.operations.claims import Claimed, WorkRequest
from queue_service.operations.tasks import TaskCall
from queue_service.store.database import Database, StoreUnavailable, Tx
from queue_service.store.signals import QueueFilled, Signal
from schemas.attempts import CompletionReport, FailureReport
from schemas.job_catalogue import BUILT_IN, BUILT_IN_QUEUE

logger = structlog.get_logger(__name__)

Work = Callable[[Claimed], Awaitable[Any]]
"""Does a job; what it returns is the output. Raises NotSent, or anything else."""

WORKER_GROUP: Final = "taskbus"
BATCH: Final = 10
SECONDS: Final = 60.0
"""That a job may take."""
IDLE_SECONDS: Final = 2.0


class BuiltIn:
    """Works on jobs of the built-in types; any number of processes may."""

    def __init__(
        self,
        database: Database,
        limits: Limits,
        notifier: Notifier,
        background: Sequence[Loop],
        name: str,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._limits = limits
        self._notifier = notifier
        self._background = background
        self._request = WorkRequest(BUILT_IN_QUEUE, WORKER_GROUP, name, BATCH)
        self._jitter = jitter
        self._works: Mapping[str, Work] = {
            "scheduler.tick": self._tick,
            "notify.send": self._notify,
            "notify.test": self._notify,
        }
        self.loop = Loop(
            "built-in jobs",
            database.clock,
            self.run_once,
            batch=BATCH,
            idle=idle(database, IDLE_SECONDS),
        )
        database.subscribe(self._on_signal)

    async def register(self) -> None:
        """Register the types, or our newer versions; one that somebody has taken over stays theirs."""
        for name in BUILT_IN:
            try:
                await self._database.write(lambda tx, name=name: _register(tx, name))  # type: ignore[misc]
            except QueueError as error:
                logger.warning("a built-in type of jobs is not registered", type=name, reason=str(error))

    async def run_once(self) -> int:
        """Do what waits; how many jobs that were. Raises StoreUnavailable."""
        timeout = self._limits.claim_timeout
        (claimed,) = await self._database.write(lambda tx: claims.claim(tx, [self._request], timeout=timeout))
        if not claimed:
            return 0
        calls = await asyncio.gather(*(self._done(one) for one in claimed))
        await self._database.write(lambda tx: task_operations.change(tx, calls))
        return len(claimed)

    async def _done(self, claimed: Claimed) -> TaskCall:
        """Do a job; what is to be reported of it."""
        task_id, run_id = claimed.task.task_id, claimed.task.runs[-1].run_id
        try:
            async with asyncio.timeout(SECONDS):
                output = await self._works[claimed.definition.payload["kind"]](claimed)
        except StoreUnavailable:
            raise
        except Exception as error:
            known = isinstance(error, NotSent)
            if not known:
                logger.exception("a built-in job failed", taskId=task_id)
            failure = FailureReport(error=str(error) if known else repr(error))
            jitter = self._jitter()
            return TaskCall(task_id, lambda task, now: attempts.failed(task, run_id, failure, now, jitter))
        report = CompletionReport(output=output)
        return TaskCall(task_id, lambda task, now: attempts.completed(task, run_id, report, now))

    async def _tick(self, claimed: Claimed) -> dict[str, int]:
        """How much each loop of this process found to do."""
        return {loop.name: await loop.run_once() for loop in self._background if loop is not self.loop}

    async def _notify(self, claimed: Claimed) -> dict[str, str]:
        args = claimed.definition.payload["args"]
        await self._notifier.send(
            Notification(
                user_id=args["userId"],
                env_id=args["envId"],
                channel=args["channel"],
                event=args.get("event", TEST_EVENT),
                job_id=claimed.task.task_id,
                run_id=claimed.task.runs[-1].run_id,
            )
        )
        return {"channel": args["channel"]}

    def _on_signal(self, signal: Signal) -> None:
        if signal == QueueFilled(BUILT_IN_QUEUE):
            self.loop.nudge()


async def _register(tx: Tx, name: str) -> None:
    known = await type_store.which(tx.connection, name)
    present = None if known is None else await type_store.get(tx.connection, known.type, known.version)
    if present is None or present.definition.task_queue_id == BUILT_IN_QUEUE:
        await types.register(tx, name, BUILT_IN[name])
