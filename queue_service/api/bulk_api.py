"""The handlers of the calls that do many things at once (``seed-systems.md`` C.8)."""

import random
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, Final, assert_never

from pydantic import ValidationError

from queue_service.api.creation import creation_of
from queue_service.api.endpoint import Call
from queue_service.api.errors import violations
from queue_service.api.queue import QueueApi
from queue_service.core import attempts, transitions
from queue_service.core.errors import InputValidationError, InsufficientScopes, QueueError
from queue_service.core.limits import Limits
from queue_service.core.task import Task
from queue_service.operations import bulk as bulks
from queue_service.operations import tasks as task_operations
from queue_service.operations.batching import Batcher
from queue_service.operations.bulk import Bulk
from queue_service.operations.claims import WorkRequest
from queue_service.operations.tasks import Creation, Made, Rule, TaskCall
from queue_service.store.database import Database
from schemas.attempts import CompletionReport, FailureReport
from schemas.bulk import (
    MAX_BULK,
    ClaimBulkRequest,
    CreatedTask,
    CreateTasksRequest,
    CreateTasksResponse,
    ReportError,
    ReportOutcome,
    ReportRunsRequest,
    ReportRunsResponse,
    RunReport,
    TaskToCreate,
)
from schemas.queue import ClaimWorkResponse

MAX_VIOLATIONS: Final = 5
"""Told of one item that is out of shape."""
MAX_WAITING: Final = 256
"""Bulks of a kind that wait for their transaction."""

Reports = Sequence[TaskCall]
Outcomes = Sequence[Task | QueueError]


class BulkApi:
    """Handlers with what they need; claims go through the work desk of ``queue``, as those of claimWork."""

    def __init__(
        self,
        database: Database,
        limits: Limits,
        queue: QueueApi,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._jitter = jitter
        self._limits = limits
        self._queue = queue
        lanes = 1 if database.is_sqlite else 2
        self._creations = Batcher[Bulk, list[Made]](
            self._run_creation, max_items=1, max_waiting=MAX_WAITING, lanes=lanes
        )
        self._reports = Batcher[Reports, Outcomes](
            self._run_reports, max_weight=MAX_BULK, max_waiting=MAX_WAITING, lanes=lanes
        )

    async def close(self) -> None:
        """Finish the transactions under way."""
        await self._creations.close()
        await self._reports.close()

    async def create_tasks(self, call: Call[CreateTasksRequest]) -> CreateTasksResponse:
        creations = self._checked(call)
        fast = call.body.mode == "fast"
        made = await self._creations.submit(Bulk(creations, fast))
        if fast:
            return CreateTasksResponse.trusted(count=len(made))
        return CreateTasksResponse.trusted(
            tasks=tuple(_created(creation, one) for creation, one in zip(creations, made, strict=True))
        )

    async def claim_bulk(self, call: Call[ClaimBulkRequest]) -> ClaimWorkResponse:
        body = call.body
        call.require(workerGroup=body.worker_group, workerId=body.worker_id)
        request = WorkRequest(call.params["taskQueueId"], body.worker_group, body.worker_id, body.tasks)
        seconds = body.wait.total_seconds() if body.wait else 0.0
        return await self._queue.handed_out(request, call.disconnected, seconds=seconds)

    async def report_runs(self, call: Call[ReportRunsRequest]) -> ReportRunsResponse:
        reports = call.body.reports
        calls = [
            TaskCall(report.task_id, _rule(report, self._jitter()), _authorization(call, report))
            for report in reports
        ]
        outcomes = await self._reports.submit(calls, weight=len(calls))
        lacking = [error for error in outcomes if isinstance(error, InsufficientScopes)]
        if len(lacking) == len(outcomes):
            raise lacking[0]
        return ReportRunsResponse.trusted(
            reports=tuple(_reported(*pair) for pair in zip(reports, outcomes, strict=True))
        )

    def _checked(self, call: Call[CreateTasksRequest]) -> list[Creation]:
        """The tasks of a bulk, complete; all of them are judged before the caller's scopes are (B-2)."""
        now = self._database.clock.now()
        creations: list[Creation] = []
        refused: dict[int, QueueError] = {}
        asked: dict[Hashable, dict[str, Any]] = {}

        def note(**parameters: Any) -> None:
            asked[tuple(parameters.values())] = parameters

        items: Sequence[object] = call.body.tasks
        for place, item in enumerate(items):
            if isinstance(item, ValidationError):
                refused[place] = _out_of_shape(item)
                continue
            assert isinstance(item, TaskToCreate)
            try:
                creations.append(creation_of(item.task_id, item.task, note, now, self._limits))
            except QueueError as error:
                refused[place] = error
        if refused:
            raise bulks.refusal(refused, len(call.body.tasks))
        for parameters in asked.values():
            call.require(**parameters)
        return creations

    async def _run_creation(self, batch: Sequence[Bulk]) -> list[list[Made]]:
        (bulk,) = batch
        margin = self._limits.group_expiry_margin
        return [await self._database.write(partial(bulks.create, bulk=bulk, group_expiry_margin=margin))]

    async def _run_reports(self, batch: Sequence[Reports]) -> list[Outcomes]:
        calls = [call for reports in batch for call in reports]
        outcomes = await self._database.write(lambda tx: task_operations.change(tx, calls))
        line = iter(outcomes)
        return [[next(line) for _ in reports] for reports in batch]


def _out_of_shape(error: ValidationError) -> InputValidationError:
    found = violations(error)
    more = [f"and {len(found) - MAX_VIOLATIONS} more"] if len(found) > MAX_VIOLATIONS else []
    return InputValidationError("; ".join([*found[:MAX_VIOLATIONS], *more]))


def _created(creation: Creation, made: Made) -> CreatedTask:
    if made.task.task_id != creation.task_id:
        return CreatedTask.trusted(task_id=made.task.task_id, unique_skipped_as_duplicate=True)
    return CreatedTask.trusted(task_id=creation.task_id, created=made.created)


def _rule(report: RunReport, jitter: float) -> Rule:
    """What the single call of this outcome does."""
    run_id = report.run_id
    match report.outcome:
        case "completed":
            result = CompletionReport(output=report.output)
            return lambda task, now: attempts.completed(task, run_id, result, now)
        case "failed":
            failure = FailureReport(
                error=report.error,
                trace=report.trace,
                retry=report.retry is not False,
                retry_at=report.retry_at,
            )
            return lambda task, now: attempts.failed(task, run_id, failure, now, jitter)
        case "exception":
            reason = report.reason
            assert reason is not None
            return lambda task, now: attempts.exception(task, run_id, reason, report, now)
        case "snoozed":
            delay = report.delay
            assert delay is not None
            return lambda task, now: attempts.snoozed(task, run_id, delay, now)
        case "cancelled":
            return lambda task, now: attempts.canceled(task, run_id, report, now)
        case other:
            assert_never(other)


def _authorization(call: Call[ReportRunsRequest], report: RunReport) -> Any:
    """The claim's own credentials may report its run, and so may those of the worker that holds it."""

    def authorize(task: Task) -> None:
        run = transitions.run_of(task, report.run_id)
        call.require(
            taskId=report.task_id,
            runId=report.run_id,
            taskQueueId=task.task_queue_id,
            workerGroup=run.worker_group or "",
            workerId=run.worker_id or "",
        )
        attempts.refuse_former_holder(task, call.permit.client_id)

    return authorize


def _reported(report: RunReport, outcome: Task | QueueError) -> ReportOutcome:
    if isinstance(outcome, QueueError):
        error = ReportError.trusted(code=outcome.code, message=outcome.message)
        return ReportOutcome.trusted(task_id=report.task_id, run_id=report.run_id, error=error)
    return ReportOutcome.trusted(task_id=report.task_id, run_id=report.run_id, state=outcome.state)
