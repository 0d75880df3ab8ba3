"""The queue's calls that do many things at once: Taskbus' extension of the API.

Rules: ``seed-systems.md`` B-1 to B-5.
"""

from collections.abc import Sequence

from schemas.bulk import (
    ClaimBulkRequest,
    CreatedTask,
    CreateTasksRequest,
    CreateTasksResponse,
    ReportOutcome,
    ReportRunsRequest,
    ReportRunsResponse,
    RunReport,
    TaskToCreate,
)
from schemas.queue import ClaimWorkResponse, TaskClaimResponse
from taskbus.service import ServiceClient

SLACK_SECONDS = 15.0
"""How much longer than it was asked to wait the server may be silent."""


class BulkCalls(ServiceClient):
    """Each call takes up to 1,000 tasks or runs."""

    async def create_tasks(self, tasks: Sequence[TaskToCreate]) -> tuple[CreatedTask, ...]:
        """Create tasks in one transaction, all or none; what became of each, in their order.

        Raises InputError that names every task which is wrong.
        """
        body = CreateTasksRequest.trusted(tasks=tuple(tasks)).to_json()
        answer = await self._post(CreateTasksResponse, "tasks", "bulk", body=body)
        return answer.tasks or ()

    async def create_new_tasks(self, tasks: Sequence[TaskToCreate]) -> int:
        """Create tasks none of which exists, nor has an equal one; how many there are.

        Raises Conflict for a bulk that is repeated, even if its answer was lost.
        """
        body = CreateTasksRequest.trusted(tasks=tuple(tasks), mode="fast").to_json()
        return (await self._post(CreateTasksResponse, "tasks", "bulk", body=body)).count or 0

    async def claim_bulk(
        self, task_queue_id: str, *, worker_group: str, worker_id: str, tasks: int, wait: float = 0.0
    ) -> tuple[TaskClaimResponse, ...]:
        """Claim up to ``tasks`` pending runs; with ``wait`` (seconds, 20 at most) wait for the first one."""
        body = ClaimBulkRequest(
            worker_group=worker_group, worker_id=worker_id, tasks=tasks, wait=wait
        ).to_json()
        answer = await self._post(
            ClaimWorkResponse, "claim-bulk", task_queue_id, body=body, answer_seconds=wait + SLACK_SECONDS
        )
        return answer.tasks

    async def report_runs(self, reports: Sequence[RunReport]) -> tuple[ReportOutcome, ...]:
        """Report runs in one transaction, each judged on its own; what became of each, in their order.

        The caller needs the credentials of the worker that holds them.
        """
        body = ReportRunsRequest.trusted(reports=tuple(reports)).to_json()
        return (await self._post(ReportRunsResponse, "runs", "report", body=body)).reports
