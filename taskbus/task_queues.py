"""The queue's calls about task queues, what waits in them, and the workers that take it.

Rules: ``queue-behaviour.md`` 7.4, ``seed-systems.md`` C.5, C.7.
"""

from collections.abc import AsyncIterator, Awaitable
from datetime import datetime

from schemas.task_queues import (
    EVERY_QUEUE,
    TaskQueueLimits,
    TaskQueueLoadResponse,
    TaskQueueState,
    TaskQueueStatesResponse,
)
from schemas.workers import (
    ClaimedTask,
    ListClaimedTasksResponse,
    ListPendingTasksResponse,
    ListProvisionersResponse,
    ListTaskQueuesResponse,
    ListWorkersResponse,
    ListWorkerTypesResponse,
    PendingTask,
    PendingTasksResponse,
    ProvisionerResponse,
    QuarantineWorkerRequest,
    TaskQueueCountsResponse,
    TaskQueueResponse,
    UpdateWorkerRequest,
    WorkerEntry,
    WorkerResponse,
    WorkerTypeResponse,
)
from taskbus.service import ServiceClient, pages


class TaskQueueCalls(ServiceClient):
    """``task_queue_id`` is ``<provisionerId>/<workerType>``; a worker is in a group and has an id there."""

    async def pause_task_queue(self, task_queue_id: str) -> TaskQueueState:
        """Hand out none of a queue's runs any more; what its workers have they may finish. Raises NotFound.

        A queue that is paused keeps the time of its first pause.
        """
        (state,) = await self._change_queues(task_queue_id, "pause")
        return state

    async def pause_task_queues(self) -> tuple[TaskQueueState, ...]:
        """Pause all present queues."""
        return await self._change_queues(EVERY_QUEUE, "pause")

    async def resume_task_queue(self, task_queue_id: str) -> TaskQueueState:
        """Hand out a queue's runs again. Raises NotFound."""
        (state,) = await self._change_queues(task_queue_id, "resume")
        return state

    async def resume_task_queues(self) -> tuple[TaskQueueState, ...]:
        """Resume all present queues."""
        return await self._change_queues(EVERY_QUEUE, "resume")

    async def task_queue_load(self, task_queue_id: str) -> TaskQueueLoadResponse:
        """What waits in a queue, for a worker or for a time, what is running, and what holds it back."""
        return await self._get(TaskQueueLoadResponse, "task-queues", task_queue_id, "load")

    async def get_task_queue_limits(self, task_queue_id: str) -> TaskQueueLimits:
        """How much of a queue's work may be under way; all members are None where nothing limits it."""
        return await self._get(TaskQueueLimits, "task-queues", task_queue_id, "limits")

    async def set_task_queue_limits(self, task_queue_id: str, limits: TaskQueueLimits) -> TaskQueueLimits:
        """Replace the limits of a queue; they hold for what waits already, too."""
        path = ("task-queues", task_queue_id, "limits")
        return await self._put(TaskQueueLimits, *path, body=limits.to_json())

    async def remove_task_queue_limits(self, task_queue_id: str) -> None:
        """Take the limits of a queue away; nothing happens when it has none."""
        await self._call("DELETE", "task-queues", task_queue_id, "limits")

    async def _change_queues(self, named: str, verb: str) -> tuple[TaskQueueState, ...]:
        return (await self._post(TaskQueueStatesResponse, "task-queues", named, verb)).task_queues

    async def task_queue_counts(self, task_queue_id: str) -> TaskQueueCountsResponse:
        """How many runs wait in a queue, and how many are claimed; zeros for one that nobody knows."""
        return await self._get(TaskQueueCountsResponse, "task-queues", task_queue_id, "counts")

    async def pending_tasks(self, task_queue_id: str) -> PendingTasksResponse:
        """How many runs wait in a queue; :meth:`task_queue_counts` tells more."""
        return await self._get(PendingTasksResponse, "pending", task_queue_id)

    async def list_pending_tasks(
        self, task_queue_id: str, *, page_size: int | None = None
    ) -> AsyncIterator[PendingTask]:
        """The runs that wait in a queue, the oldest first."""

        def fetch(token: str | None) -> Awaitable[ListPendingTasksResponse]:
            path = ("task-queues", task_queue_id, "pending")
            return self._get(ListPendingTasksResponse, *path, query=_page(page_size, token))

        async for page in pages(fetch):
            for task in page.tasks:
                yield task

    async def list_claimed_tasks(
        self, task_queue_id: str, *, page_size: int | None = None
    ) -> AsyncIterator[ClaimedTask]:
        """The runs of a queue that workers have, the oldest claim first."""

        def fetch(token: str | None) -> Awaitable[ListClaimedTasksResponse]:
            path = ("task-queues", task_queue_id, "claimed")
            return self._get(ListClaimedTasksResponse, *path, query=_page(page_size, token))

        async for page in pages(fetch):
            for task in page.tasks:
                yield task

    async def list_task_queues(self, *, page_size: int | None = None) -> AsyncIterator[TaskQueueResponse]:
        """The queues that workers have asked for work lately, by id."""

        def fetch(token: str | None) -> Awaitable[ListTaskQueuesResponse]:
            return self._get(ListTaskQueuesResponse, "task-queues", query=_page(page_size, token))

        async for page in pages(fetch):
            for task_queue in page.task_queues:
                yield task_queue

    async def get_task_queue(self, task_queue_id: str) -> TaskQueueResponse:
        """One queue that workers have asked lately. Raises NotFound."""
        return await self._get(TaskQueueResponse, "task-queues", task_queue_id)

    async def list_provisioners(self, *, page_size: int | None = None) -> AsyncIterator[ProvisionerResponse]:
        """The first halves of the ids of these queues."""

        def fetch(token: str | None) -> Awaitable[ListProvisionersResponse]:
            return self._get(ListProvisionersResponse, "provisioners", query=_page(page_size, token))

        async for page in pages(fetch):
            for provisioner in page.provisioners:
                yield provisioner

    async def get_provisioner(self, provisioner_id: str) -> ProvisionerResponse:
        """One of them. Raises NotFound."""
        return await self._get(ProvisionerResponse, "provisioners", provisioner_id)

    async def list_worker_types(
        self, provisioner_id: str, *, page_size: int | None = None
    ) -> AsyncIterator[WorkerTypeResponse]:
        """The queues of one provisioner that workers have asked lately."""

        def fetch(token: str | None) -> Awaitable[ListWorkerTypesResponse]:
            path = ("provisioners", provisioner_id, "worker-types")
            return self._get(ListWorkerTypesResponse, *path, query=_page(page_size, token))

        async for page in pages(fetch):
            for worker_type in page.worker_types:
                yield worker_type

    async def get_worker_type(self, task_queue_id: str) -> WorkerTypeResponse:
        """One of them. Raises NotFound."""
        return await self._get(WorkerTypeResponse, *_worker_type(task_queue_id))

    async def list_workers(
        self, task_queue_id: str, *, quarantined: bool | None = None, page_size: int | None = None
    ) -> AsyncIterator[WorkerEntry]:
        """The workers of a queue: all, or only those that are, or are not, quarantined."""
        wanted = None if quarantined is None else str(quarantined).lower()

        def fetch(token: str | None) -> Awaitable[ListWorkersResponse]:
            query = {**_page(page_size, token), "quarantined": wanted}
            return self._get(ListWorkersResponse, *_worker_type(task_queue_id), "workers", query=query)

        async for page in pages(fetch):
            for worker in page.workers:
                yield worker

    async def get_worker(self, task_queue_id: str, worker_group: str, worker_id: str) -> WorkerResponse:
        """One worker and its latest runs. Raises NotFound."""
        path = (*_worker_type(task_queue_id), "workers", worker_group, worker_id)
        return await self._get(WorkerResponse, *path)

    async def quarantine_worker(
        self, task_queue_id: str, worker_group: str, worker_id: str, until: datetime, *, info: str = ""
    ) -> WorkerResponse:
        """Give a worker no work until then; a time in the past lifts it. Raises NotFound.

        ``info`` says why, for people.
        """
        path = (*_worker_type(task_queue_id), "workers", worker_group, worker_id)
        body = QuarantineWorkerRequest(quarantine_until=until, quarantine_info=info).to_json()
        return await self._put(WorkerResponse, *path, body=body)

    async def declare_worker(
        self, task_queue_id: str, worker_group: str, worker_id: str, expires: datetime
    ) -> WorkerResponse:
        """Make a worker known, or known for longer, before it asks for work."""
        path = (*_worker_type(task_queue_id), worker_group, worker_id)
        return await self._put(WorkerResponse, *path, body=UpdateWorkerRequest(expires=expires).to_json())


def _worker_type(task_queue_id: str) -> tuple[str, str, str, str]:
    provisioner_id, _, worker_type = task_queue_id.partition("/")
    return "provisioners", provisioner_id, "worker-types", worker_type


def _page(limit: int | None, token: str | None) -> dict[str, str | int | None]:
    return {"limit": limit, "continuationToken": token}
