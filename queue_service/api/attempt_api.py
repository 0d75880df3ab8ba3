"""The handlers of the calls about attempts: a run that its worker puts off or cancels, how a task fared."""

from collections.abc import Awaitable, Callable
from typing import Any

from queue_service.api.endpoint import Call
from queue_service.core import attempts as rules
from queue_service.core.errors import task_not_found
from queue_service.core.extras import PLAIN
from queue_service.operations.tasks import Rule
from queue_service.store import attempts, tasks
from queue_service.store.database import Database
from schemas.attempts import AttemptsResponse, CancelRunRequest, SnoozeRequest
from schemas.queue import TaskStatusResponse

Report = Callable[[Call[Any], Rule], Awaitable[TaskStatusResponse]]


class AttemptApi:
    """Handlers with what they need: the database, and the way in which the queue takes reports."""

    def __init__(self, database: Database, report: Report) -> None:
        self._database = database
        self._report = report

    async def snooze_run(self, call: Call[SnoozeRequest]) -> TaskStatusResponse:
        run_id, delay = call.run_id(), call.body.delay
        return await self._report(call, lambda task, now: rules.snoozed(task, run_id, delay, now))

    async def cancel_run(self, call: Call[CancelRunRequest]) -> TaskStatusResponse:
        run_id, told = call.run_id(), call.body
        return await self._report(call, lambda task, now: rules.canceled(task, run_id, told, now))

    async def task_attempts(self, call: Call[None]) -> AttemptsResponse:
        task_id = call.params["taskId"]
        async with self._database.read() as connection:
            task = (await tasks.get(connection, [task_id])).get(task_id)
            if task is None:
                raise task_not_found(task_id)
            reported = await attempts.errors_of(connection, task_id)
            output = await attempts.output_of(connection, task_id)
        extras = task.extras or PLAIN
        return AttemptsResponse.trusted(
            task_id=task_id,
            attempt=task.attempt,
            max_attempts=max(extras.max_attempts, task.attempt),
            snoozes=extras.snoozes,
            available_at=task.available_at,
            errors=rules.error_history(task, reported),
            output=output,
            worked_by=rules.workers(task),
        )
