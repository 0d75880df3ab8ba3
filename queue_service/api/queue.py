"""The handlers of the queue's API: what is left of a call after the pipeline has checked it."""

import random
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

import structlog

from queue_service.api.creation import creation_of
from queue_service.api.endpoint import Call
from queue_service.api.paging import page_of
from queue_service.auth.temporary import Issuer, named_credentials
from queue_service.clock import Clock
from queue_service.core import attempts, transitions
from queue_service.core.errors import QueueError, RequestConflict, group_not_found, task_not_found
from queue_service.core.limits import Limits
from queue_service.core.task import Change, Task
from queue_service.core.telling import held
from queue_service.core.workers import WorkerKey
from queue_service.operations import claims as claiming
from queue_service.operations import groups as group_operations
from queue_service.operations import tasks as task_operations
from queue_service.operations.batching import Batcher
from queue_service.operations.claims import Claimed, WorkRequest
from queue_service.operations.quarantine import Quarantine
from queue_service.operations.sightings import Sightings
from queue_service.operations.tasks import Creation, Rule, TaskCall, shown
from queue_service.operations.work_desk import WorkDesk
from queue_service.store import groups, listing, tasks
from queue_service.store.database import Database, Tx
from queue_service.store.statements import Connection
from schemas.attempts import CompletionReport, FailureReport
from schemas.ids import SLUGID_PATTERN
from schemas.queue import (
    CancelTaskGroupResponse,
    ChangeTaskPriorityRequest,
    ClaimWorkRequest,
    ClaimWorkResponse,
    CreateTaskRequest,
    ListDependentTasksResponse,
    ListTaskGroupResponse,
    StatusWithId,
    TaskClaimRequest,
    TaskClaimResponse,
    TaskCredentials,
    TaskExceptionRequest,
    TaskGroupPriorityChangeResponse,
    TaskGroupResponse,
    TaskReclaimResponse,
    TasksRequest,
    TasksResponse,
    TasksStatusesResponse,
    TaskStatusResponse,
    TaskWithId,
)
from schemas.task import TaskDefinition, TaskDefinitionAndStatus

logger = structlog.get_logger(__name__)

PlainCall = Call[None]
_TASK_ID: Final = re.compile(SLUGID_PATTERN)


class QueueApi:
    """Handlers with what they need: the database, the limits, the lines of waiting calls."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        limits: Limits,
        issuer: Issuer,
        *,
        long_poll: float = 20.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits
        self._issuer = issuer
        self._long_poll = long_poll
        self._jitter = jitter
        # SQLite has one writer, and works in our own thread.
        lanes = 1 if database.is_sqlite else 2
        self._creations = Batcher[Creation, Task](self._run_creations, lanes=lanes)
        self._changes = Batcher[TaskCall, Task](self._run_changes, lanes=lanes)
        self._limited: set[str] = set()
        """Task queues in which limits hold, as claims have found."""
        self.desk = WorkDesk(
            self._run_claims, now=clock.now, poll_seconds=None if database.is_sqlite else 1.0
        )
        self.batches = {
            "creations": self._creations.sizes,
            "changes": self._changes.sizes,
            "claims": self.desk.sizes,
        }
        """How many calls share a transaction, by kind."""
        self.sightings = Sightings(database)
        self.quarantine = Quarantine(database, self.desk.dismiss)
        database.subscribe(self.desk.on_signal)
        database.subscribe(self.quarantine.on_signal)

    async def close(self) -> None:
        """Answer who waits for work with nothing, and finish the transactions under way."""
        self.desk.close()
        self.quarantine.close()
        await self._creations.close()
        await self._changes.close()
        await self.sightings.close()

    # ---- tasks ----------------------------------------------------------------------------------------

    async def create_task(self, call: Call[CreateTaskRequest]) -> TaskStatusResponse:
        task_id = call.params["taskId"]
        creation = creation_of(task_id, call.body, call.require, self._clock.now(), self._limits)
        task = await self._creations.submit(creation, weight=call.size)
        if task.task_id != task_id:
            return TaskStatusResponse.trusted(status=task.status(), unique_skipped_as_duplicate=True)
        return _status(task)

    async def task(self, call: PlainCall) -> TaskDefinition:
        task_id = call.params["taskId"]
        async with self._database.read() as connection:
            found = await tasks.get(connection, [task_id])
            defined = await tasks.definitions(connection, [task_id])
        if task_id not in found or task_id not in defined:
            raise task_not_found(task_id)
        return shown(defined[task_id], found[task_id])

    async def status(self, call: PlainCall) -> TaskStatusResponse:
        task_id = call.params["taskId"]
        async with self._database.read() as connection:
            found = await tasks.get(connection, [task_id])
        if task_id not in found:
            raise task_not_found(task_id)
        return _status(found[task_id])

    async def tasks(self, call: Call[TasksRequest]) -> TasksResponse:
        members, token = await self._listed(call)
        return TasksResponse.trusted(
            tasks=tuple(
                TaskWithId.trusted(task_id=member.status.task_id, task=member.task) for member in members
            ),
            continuation_token=token,
        )

    async def statuses(self, call: Call[TasksRequest]) -> TasksStatusesResponse:
        call.require(taskIds=call.body.task_ids)
        page = page_of(call.query)
        async with self._database.read() as connection:
            ids, token = page.cut(
                await listing.existing(connection, _possible(call.body.task_ids), page.after, page.wanted)
            )
            found = await tasks.get(connection, ids)
        return TasksStatusesResponse.trusted(
            statuses=tuple(
                StatusWithId.trusted(task_id=task_id, status=found[task_id].status())
                for task_id in ids
                if task_id in found
            ),
            continuation_token=token,
        )

    async def schedule_task(self, call: PlainCall) -> TaskStatusResponse:
        return await self._change(call, transitions.schedule)

    async def rerun_task(self, call: PlainCall) -> TaskStatusResponse:
        return await self._change(call, transitions.rerun)

    async def cancel_task(self, call: PlainCall) -> TaskStatusResponse:
        return await self._change(call, transitions.cancel)

    async def change_task_priority(self, call: Call[ChangeTaskPriorityRequest]) -> TaskStatusResponse:
        priority = call.body.new_priority
        return await self._change(call, lambda task, now: transitions.change_priority(task, priority, now))

    async def list_dependent_tasks(self, call: PlainCall) -> ListDependentTasksResponse:
        task_id = call.params["taskId"]
        page = page_of(call.query)
        async with self._database.read() as connection:
            if task_id not in await tasks.get(connection, [task_id]):
                raise task_not_found(task_id)
            ids, token = page.cut(
                await listing.dependents(connection, task_id, self._clock.now(), page.after, page.wanted)
            )
            members = await _members(connection, ids)
        return ListDependentTasksResponse.trusted(task_id=task_id, tasks=members, continuation_token=token)

    # ---- groups ---------------------------------------------------------------------------------------

    async def get_task_group(self, call: PlainCall) -> TaskGroupResponse:
        group_id = call.params["taskGroupId"]
        async with self._database.read() as connection:
            found = await groups.get(connection, [group_id])
        if group_id not in found:
            raise group_not_found(group_id)
        return found[group_id].to_response()

    async def list_task_group(self, call: PlainCall) -> ListTaskGroupResponse:
        group_id = call.params["taskGroupId"]
        page = page_of(call.query)
        async with self._database.read() as connection:
            found = await groups.get(connection, [group_id])
            if group_id not in found:
                raise group_not_found(group_id)
            ids, token = page.cut(await listing.group_members(connection, group_id, page.after, page.wanted))
            members = await _members(connection, ids)
        group = found[group_id]
        return ListTaskGroupResponse.trusted(
            task_group_id=group_id,
            scheduler_id=group.scheduler_id,
            expires=group.expires,
            sealed=group.sealed,
            tasks=members,
            continuation_token=token,
        )

    async def seal_task_group(self, call: PlainCall) -> TaskGroupResponse:
        group_id = call.params["taskGroupId"]
        group = await self._database.write(
            lambda tx: group_operations.seal(
                tx, group_id, lambda group: call.require(schedulerId=group.scheduler_id)
            )
        )
        return group.to_response()

    async def cancel_task_group(self, call: PlainCall) -> CancelTaskGroupResponse:
        group_id = call.params["taskGroupId"]
        return await self._database.write(
            lambda tx: group_operations.cancel(
                tx, group_id, lambda group: call.require(schedulerId=group.scheduler_id)
            )
        )

    async def change_task_group_priority(
        self, call: Call[ChangeTaskPriorityRequest]
    ) -> TaskGroupPriorityChangeResponse:
        group_id, priority = call.params["taskGroupId"], call.body.new_priority
        return await self._database.write(
            lambda tx: group_operations.change_priority(
                tx, group_id, priority, lambda group: call.require(schedulerId=group.scheduler_id)
            )
        )

    # ---- work -----------------------------------------------------------------------------------------

    async def claim_work(self, call: Call[ClaimWorkRequest]) -> ClaimWorkResponse:
        body = call.body
        call.require(workerGroup=body.worker_group, workerId=body.worker_id)
        request = WorkRequest(call.params["taskQueueId"], body.worker_group, body.worker_id, body.tasks)
        return await self.handed_out(request, call.disconnected, seconds=self._long_poll)

    async def claim_task(self, call: Call[TaskClaimRequest]) -> TaskClaimResponse:
        body, run_id = call.body, call.run_id()
        rule = partial(
            self._claim_by_id, run_id=run_id, worker_group=body.worker_group, worker_id=body.worker_id
        )

        def authorize(task: Task) -> None:
            provisioner_id, _, worker_type = task.task_queue_id.partition("/")
            call.require(
                provisionerId=provisioner_id,
                workerType=worker_type,
                workerGroup=body.worker_group,
                workerId=body.worker_id,
            )

        named = TaskCall(call.params["taskId"], rule, authorize)
        await self.quarantine.read()
        claimed = await self._database.write(lambda tx: claiming.claim_by_id(tx, named))
        task = claimed.task
        await self.sightings.active_queue(task.task_queue_id)
        self.sightings.claimed(WorkerKey(task.task_queue_id, body.worker_group, body.worker_id), [task])
        return self._claim_of(claimed)

    async def reclaim_task(self, call: PlainCall) -> TaskReclaimResponse:
        run_id = call.run_id()

        def rule(task: Task, now: datetime) -> Change:
            return transitions.reclaim(task, run_id, now, now + self._limits.claim_timeout)

        task = await self._changes.submit(TaskCall(call.params["taskId"], rule, _holder(call)))
        async with self._database.read() as connection:
            defined = await tasks.definitions(connection, [task.task_id])
        worker_group, worker_id, taken_until = held(task.runs[-1])
        await self.sightings.active(WorkerKey(task.task_queue_id, worker_group, worker_id))
        return TaskReclaimResponse.trusted(
            status=task.status(),
            run_id=run_id,
            worker_group=worker_group,
            worker_id=worker_id,
            taken_until=taken_until,
            credentials=self._credentials(task, defined[task.task_id]),
            cancel_requested=transitions.cancellation_waits(task) or None,
        )

    async def report_completed(self, call: Call[CompletionReport]) -> TaskStatusResponse:
        run_id, told = call.run_id(), call.body
        if told.success is False:
            return await self._failed(call, attempts.NOTHING_TOLD)
        return await self.report(call, lambda task, now: attempts.completed(task, run_id, told, now))

    async def report_failed(self, call: Call[FailureReport]) -> TaskStatusResponse:
        return await self._failed(call, call.body)

    async def report_exception(self, call: Call[TaskExceptionRequest]) -> TaskStatusResponse:
        run_id, told = call.run_id(), call.body
        return await self.report(
            call, lambda task, now: attempts.exception(task, run_id, told.reason, told, now)
        )

    async def report(self, call: Call[Any], rule: Rule) -> TaskStatusResponse:
        """Apply a rule for a caller that the pipeline has authorized."""
        asked = TaskCall(call.params["taskId"], rule, _holder(call))
        return _status(await self._changes.submit(asked, weight=call.size))

    # ---- parts ----------------------------------------------------------------------------------------

    async def _failed(self, call: Call[Any], told: FailureReport) -> TaskStatusResponse:
        run_id, jitter = call.run_id(), self._jitter()
        if told.retry_at is not None and told.retry_at < self._clock.now():
            logger.info("a retry time in the past is not heeded", retry_at=told.retry_at.isoformat())
        return await self.report(call, lambda task, now: attempts.failed(task, run_id, told, now, jitter))

    async def _change(self, call: Call[Any], rule: Rule) -> TaskStatusResponse:
        """Apply a rule; the caller is authorized when the task is known to exist."""
        task_id = call.params["taskId"]
        return _status(await self._changes.submit(TaskCall(task_id, rule, call.require_for)))

    async def handed_out(
        self, request: WorkRequest, gone: Callable[[], Awaitable[object]], *, seconds: float
    ) -> ClaimWorkResponse:
        """What a worker is given that waits so long at most, and no longer than for claimWork."""
        claimed = await self._hand_out(request, gone, min(seconds, self._long_poll))
        return ClaimWorkResponse.trusted(tasks=tuple(self._claim_of(item) for item in claimed))

    async def _hand_out(
        self, request: WorkRequest, gone: Callable[[], Awaitable[object]], seconds: float
    ) -> list[Claimed]:
        """Runs for a worker that asks: it is seen, and gets nothing while it is quarantined (7.2, 7.4)."""
        worker, ends = request.worker, time.monotonic() + seconds
        await self.sightings.active(worker)
        if not await self.quarantine.holds(worker):
            claimed = await self.desk.claim_work(request, seconds=seconds, gone=gone)
            self.sightings.claimed(worker, [item.task for item in claimed])
            if claimed or not await self.quarantine.holds(worker):
                return claimed
        await self.quarantine.sit_out(ends - time.monotonic(), gone)
        return []

    def _claim_by_id(
        self, task: Task, now: datetime, *, run_id: int, worker_group: str, worker_id: str
    ) -> Change:
        change = transitions.claim_by_id(
            task,
            run_id,
            now,
            now + self._limits.claim_timeout,
            worker_group=worker_group,
            worker_id=worker_id,
        )
        if change.claims and self.quarantine.listed(WorkerKey(task.task_queue_id, worker_group, worker_id)):
            raise RequestConflict(f"The worker `{worker_group}/{worker_id}` is quarantined and gets no runs.")
        return change

    async def _listed(
        self, call: Call[TasksRequest]
    ) -> tuple[tuple[TaskDefinitionAndStatus, ...], str | None]:
        """The page of existing tasks that a list of ids asks for."""
        call.require(taskIds=call.body.task_ids)
        page = page_of(call.query)
        async with self._database.read() as connection:
            found = await listing.existing(connection, _possible(call.body.task_ids), page.after, page.wanted)
            ids, token = page.cut(found)
            return await _members(connection, ids), token

    def _claim_of(self, claimed: Claimed) -> TaskClaimResponse:
        task = claimed.task
        worker_group, worker_id, taken_until = held(task.runs[-1])
        return TaskClaimResponse.trusted(
            status=task.status(),
            run_id=task.runs[-1].run_id,
            worker_group=worker_group,
            worker_id=worker_id,
            taken_until=taken_until,
            task=claimed.definition,
            credentials=self._credentials(task, claimed.definition),
            job=claimed.told,
            traceparent=task.traceparent,
        )

    def _credentials(self, task: Task, definition: TaskDefinition) -> TaskCredentials:
        """Temporary credentials for what the holder of the run may do (``queue-behaviour.md`` 7.3)."""
        run = task.runs[-1]
        worker_group, worker_id, taken_until = held(run)
        place = f"{task.task_id}/{run.run_id}"
        return named_credentials(
            self._issuer,
            f"task-client/{place}/on/{worker_group}/{worker_id}/until/{taken_until.timestamp():.3f}",
            (
                f"queue:reclaim-task:{place}",
                f"queue:resolve-task:{place}",
                f"queue:create-artifact:{place}",
                *definition.scopes,
            ),
            start=self._clock.now(),
            expiry=taken_until,
        )

    async def _run_creations(self, creations: Sequence[Creation]) -> list[Task | QueueError]:
        margin = self._limits.group_expiry_margin

        async def script(tx: Tx) -> list[Task | QueueError]:
            return await task_operations.create(tx, creations, group_expiry_margin=margin)

        return await self._database.write(script)

    async def _run_changes(self, calls: Sequence[TaskCall]) -> list[Task | QueueError]:
        return await self._database.write(lambda tx: task_operations.change(tx, calls))

    async def _run_claims(self, requests: Sequence[WorkRequest]) -> list[list[Claimed]]:
        timeout = self._limits.claim_timeout
        return await self._database.write(
            lambda tx: claiming.claim(tx, requests, timeout=timeout, limited=self._limited)
        )


def _holder(call: Call[Any]) -> Callable[[Task], None]:
    """The pipeline has authorized a claim by its name; this looks whose claim it is."""
    return lambda task: attempts.refuse_former_holder(task, call.permit.client_id)


def _status(task: Task) -> TaskStatusResponse:
    return TaskStatusResponse.trusted(status=task.status())


def _possible(task_ids: Sequence[str]) -> list[str]:
    """The ids that a task can have, once each. PostgreSQL refuses some of the others, such as a NUL."""
    return [task_id for task_id in dict.fromkeys(task_ids) if _TASK_ID.fullmatch(task_id)]


async def _members(connection: Connection, task_ids: Sequence[str]) -> tuple[TaskDefinitionAndStatus, ...]:
    """Definition and status of these tasks, in this order; a task that is gone meanwhile is left out."""
    found = await tasks.get(connection, task_ids)
    defined = await tasks.definitions(connection, task_ids)
    return tuple(
        TaskDefinitionAndStatus.trusted(
            status=found[task_id].status(), task=shown(defined[task_id], found[task_id])
        )
        for task_id in task_ids
        if task_id in found and task_id in defined
    )
