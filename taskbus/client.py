"""The queue's HTTP API as methods: values of ``schemas`` in, values of ``schemas`` out.

One method per endpoint, named as in the API reference but in snake_case. Every method may raise ApiError (the
server refused), ConnectionFailed (it could not be reached) and InvalidResponse (it is no task queue). Calls
about artifacts are in ``taskbus.artifacts``, those that do many things at once in ``taskbus.bulk``, and those
about task queues and workers in ``taskbus.task_queues``.
"""

from collections.abc import AsyncIterator, Awaitable, Iterable
from datetime import datetime
from typing import Any, Final

from pydantic_core import to_json

from schemas.attempts import AttemptsResponse
from schemas.queue import (
    CancelTaskGroupResponse,
    ChangeTaskPriorityRequest,
    ClaimWorkRequest,
    ClaimWorkResponse,
    CreateTaskRequest,
    ListDependentTasksResponse,
    ListTaskGroupResponse,
    TaskClaimRequest,
    TaskClaimResponse,
    TaskGroupPriorityChangeResponse,
    TaskGroupResponse,
    TaskReclaimResponse,
    TasksRequest,
    TasksResponse,
    TasksStatusesResponse,
    TaskStatusResponse,
)
from schemas.task import ExceptionReason, Priority, TaskDefinition, TaskDefinitionAndStatus, TaskStatus
from schemas.times import format_time, parse_time
from taskbus.artifacts import ArtifactCalls
from taskbus.bulk import BulkCalls
from taskbus.outcomes import Cancelled, Completed, Exceptional, Failed, Outcome, Snoozed
from taskbus.search import SearchCalls
from taskbus.service import pages
from taskbus.task_queues import TaskQueueCalls

LONG_POLL_SECONDS: Final = 35.0
"""How long claim_work waits for an answer: the server holds the request for 20 s, the rest is slack."""


class Queue(ArtifactCalls, BulkCalls, TaskQueueCalls, SearchCalls):
    """A client of one task queue service::

    async with Queue("http://127.0.0.1:8080") as queue:
        status = await queue.create_task(slugid(), command_task(["make"], queue="local/shell"))
    """

    service = "queue"

    # Tasks

    async def create_task(self, task_id: str, definition: CreateTaskRequest) -> TaskStatus:
        """Create a task. Repeating the call with the same definition is harmless.

        Raises Conflict when the id exists with another definition, or when the group is sealed; InputError
        when times or dependencies are impossible.
        """
        return (await self._put(TaskStatusResponse, "task", task_id, body=definition.to_json())).status

    async def task(self, task_id: str) -> TaskDefinition:
        """The definition of a task, with all defaults filled."""
        return await self._get(TaskDefinition, "task", task_id)

    async def status(self, task_id: str) -> TaskStatus:
        """The state of a task and its runs."""
        return (await self._get(TaskStatusResponse, "task", task_id, "status")).status

    async def attempts(self, task_id: str) -> AttemptsResponse:
        """How a task fared so far: its attempts, their errors, its output."""
        return await self._get(AttemptsResponse, "task", task_id, "attempts")

    async def tasks(self, task_ids: Iterable[str]) -> dict[str, TaskDefinition]:
        """The definitions of many tasks by id; ids the server does not know are left out."""
        body = TasksRequest(task_ids=tuple(task_ids)).to_json()

        def fetch(token: str | None) -> Awaitable[TasksResponse]:
            return self._post(TasksResponse, "tasks", body=body, query={"continuationToken": token})

        return {entry.task_id: entry.task async for page in pages(fetch) for entry in page.tasks}

    async def statuses(self, task_ids: Iterable[str]) -> dict[str, TaskStatus]:
        """The states of many tasks by id; ids the server does not know are left out."""
        body = TasksRequest(task_ids=tuple(task_ids)).to_json()

        def fetch(token: str | None) -> Awaitable[TasksStatusesResponse]:
            query = {"continuationToken": token}
            return self._post(TasksStatusesResponse, "tasks", "status", body=body, query=query)

        return {entry.task_id: entry.status async for page in pages(fetch) for entry in page.statuses}

    async def schedule_task(self, task_id: str) -> TaskStatus:
        """Make an unscheduled task pending, whatever it depends on. Does nothing to a task that has runs."""
        return (await self._post(TaskStatusResponse, "task", task_id, "schedule")).status

    async def rerun_task(self, task_id: str) -> TaskStatus:
        """Give a resolved task another run. Does nothing to a pending or running one."""
        return (await self._post(TaskStatusResponse, "task", task_id, "rerun")).status

    async def cancel_task(self, task_id: str) -> TaskStatus:
        """Resolve a task as exception/canceled. Does nothing to a resolved one."""
        return (await self._post(TaskStatusResponse, "task", task_id, "cancel")).status

    async def change_task_priority(self, task_id: str, priority: Priority) -> TaskStatus:
        """Change the priority of a task that was never resolved. Raises Conflict if it already has it."""
        body = ChangeTaskPriorityRequest(new_priority=priority).to_json()
        return (await self._post(TaskStatusResponse, "task", task_id, "priority", body=body)).status

    async def list_dependent_tasks(
        self, task_id: str, *, page_size: int | None = None
    ) -> AsyncIterator[TaskDefinitionAndStatus]:
        """The tasks that depend on this one, all pages of them."""

        def fetch(token: str | None) -> Awaitable[ListDependentTasksResponse]:
            return self.list_dependent_tasks_page(task_id, limit=page_size, continuation_token=token)

        async for page in pages(fetch):
            for entry in page.tasks:
                yield entry

    async def list_dependent_tasks_page(
        self, task_id: str, *, limit: int | None = None, continuation_token: str | None = None
    ) -> ListDependentTasksResponse:
        """One page of at most ``limit`` (1 to 1000) dependent tasks; the next begins at its token."""
        query = {"limit": limit, "continuationToken": continuation_token}
        return await self._get(ListDependentTasksResponse, "task", task_id, "dependents", query=query)

    # Task groups

    async def list_task_group(
        self, task_group_id: str, *, page_size: int | None = None
    ) -> AsyncIterator[TaskDefinitionAndStatus]:
        """The tasks of a group, all pages of them."""

        def fetch(token: str | None) -> Awaitable[ListTaskGroupResponse]:
            return self.list_task_group_page(task_group_id, limit=page_size, continuation_token=token)

        async for page in pages(fetch):
            for entry in page.tasks:
                yield entry

    async def list_task_group_page(
        self, task_group_id: str, *, limit: int | None = None, continuation_token: str | None = None
    ) -> ListTaskGroupResponse:
        """One page of at most ``limit`` (1 to 1000) tasks of a group; the next begins at its token."""
        query = {"limit": limit, "continuationToken": continuation_token}
        return await self._get(ListTaskGroupResponse, "task-group", task_group_id, "list", query=query)

    async def get_task_group(self, task_group_id: str) -> TaskGroupResponse:
        """What is known about a group besides its tasks."""
        return await self._get(TaskGroupResponse, "task-group", task_group_id)

    async def seal_task_group(self, task_group_id: str) -> TaskGroupResponse:
        """Allow no further tasks in a group."""
        return await self._post(TaskGroupResponse, "task-group", task_group_id, "seal")

    async def cancel_task_group(self, task_group_id: str) -> CancelTaskGroupResponse:
        """Cancel the unresolved tasks of a group. Raises Conflict unless the group is sealed."""
        return await self._post(CancelTaskGroupResponse, "task-group", task_group_id, "cancel")

    async def change_task_group_priority(
        self, task_group_id: str, priority: Priority
    ) -> TaskGroupPriorityChangeResponse:
        """Change the priority of all tasks of a group that were never resolved."""
        body = ChangeTaskPriorityRequest(new_priority=priority).to_json()
        parts = ("task-group", task_group_id, "priority")
        return await self._post(TaskGroupPriorityChangeResponse, *parts, body=body)

    # Worker interface

    async def claim_work(
        self, task_queue_id: str, *, worker_group: str, worker_id: str, tasks: int = 1
    ) -> tuple[TaskClaimResponse, ...]:
        """Claim up to ``tasks`` (1 to 32) pending runs. Waits about 20 s for work, then returns nothing."""
        body = ClaimWorkRequest(worker_group=worker_group, worker_id=worker_id, tasks=tasks).to_json()
        path = ("claim-work", task_queue_id)
        answer = await self._post(ClaimWorkResponse, *path, body=body, answer_seconds=LONG_POLL_SECONDS)
        return answer.tasks

    async def claim_task(
        self, task_id: str, run_id: int, *, worker_group: str, worker_id: str
    ) -> TaskClaimResponse:
        """Claim one pending run. Raises Conflict when it is not pending or somebody else has it."""
        body = TaskClaimRequest(worker_group=worker_group, worker_id=worker_id).to_json()
        return await self._post(TaskClaimResponse, *_run(task_id, run_id), "claim", body=body)

    async def reclaim_task(self, task_id: str, run_id: int) -> TaskReclaimResponse:
        """Hold a claimed run longer. Raises Conflict when the claim is lost."""
        return await self._post(TaskReclaimResponse, *_run(task_id, run_id), "reclaim")

    async def report_completed(self, task_id: str, run_id: int, *, output: Any = None) -> TaskStatus:
        """Resolve a claimed run: its work was done; ``output`` is a JSON value to keep."""
        body = _body(output=output)
        return (await self._post(TaskStatusResponse, *_run(task_id, run_id), "completed", body=body)).status

    async def report_failed(
        self,
        task_id: str,
        run_id: int,
        *,
        error: str | None = None,
        trace: str | None = None,
        retry: bool | None = None,
        retry_at: datetime | None = None,
    ) -> TaskStatus:
        """Resolve a claimed run: its work was done and found wanting.

        While the task has attempts left, it gets another run, unless ``retry`` is False; ``retry_at`` takes
        the place of what its retry policy says.
        """
        again = None if retry_at is None else format_time(parse_time(retry_at))
        body = _body(error=error, trace=trace, retry=retry, retryAt=again)
        return (await self._post(TaskStatusResponse, *_run(task_id, run_id), "failed", body=body)).status

    async def report_exception(
        self,
        task_id: str,
        run_id: int,
        reason: ExceptionReason,
        *,
        error: str | None = None,
        trace: str | None = None,
    ) -> TaskStatus:
        """Resolve a claimed run: something other than its work is at fault."""
        body = _body(reason=reason, error=error, trace=trace)
        return (await self._post(TaskStatusResponse, *_run(task_id, run_id), "exception", body=body)).status

    async def snooze_run(self, task_id: str, run_id: int, delay: float) -> TaskStatus:
        """Put a claimed run back, to begin again in ``delay`` seconds; this costs no attempt."""
        body = _body(delay=delay)
        return (await self._post(TaskStatusResponse, *_run(task_id, run_id), "snooze", body=body)).status

    async def cancel_run(
        self, task_id: str, run_id: int, *, error: str | None = None, trace: str | None = None
    ) -> TaskStatus:
        """Cancel the task of a claimed run, whatever attempts it has left; for the worker that holds it."""
        body = _body(error=error, trace=trace) or b"{}"
        return (await self._post(TaskStatusResponse, *_run(task_id, run_id), "cancel", body=body)).status

    async def report(self, task_id: str, run_id: int, outcome: Outcome) -> TaskStatus:
        """Resolve a claimed run, or put it back, by the call that this outcome asks for."""
        match outcome:
            case Completed(output):
                return await self.report_completed(task_id, run_id, output=output)
            case Failed(error, trace, retry, retry_at):
                return await self.report_failed(
                    task_id,
                    run_id,
                    error=error or None,
                    trace=trace or None,
                    retry=None if retry else False,
                    retry_at=retry_at,
                )
            case Exceptional(reason):
                return await self.report_exception(task_id, run_id, reason)
            case Snoozed(delay):
                return await self.snooze_run(task_id, run_id, delay)
            case Cancelled(error, trace):
                return await self.cancel_run(task_id, run_id, error=error or None, trace=trace or None)


def _run(task_id: str, run_id: int) -> tuple[str, str, str, str]:
    return "task", task_id, "runs", str(run_id)


def _body(**members: Any) -> bytes | None:
    """A JSON object of the members that are not None; no body at all without any."""
    given = {name: value for name, value in members.items() if value is not None}
    return to_json(given) if given else None
