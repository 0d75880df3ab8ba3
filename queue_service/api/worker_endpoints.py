"""The table of the endpoints about task queues and workers: one declaration each."""

from typing import Final

from queue_service.api.endpoint import Endpoint
from queue_service.api.worker_api import WorkerApi
from schemas import workers as shapes

_CATEGORY: Final = "Worker Metadata"
_PAGED: Final = ("continuationToken", "limit")
_PROVISIONER: Final = "/provisioners/<provisionerId>"
_WORKER_TYPE: Final = f"{_PROVISIONER}/worker-types/<workerType>"
_WORKER: Final = f"{_WORKER_TYPE}/workers/<workerGroup>/<workerId>"
_WORKER_SCOPE: Final = "<provisionerId>/<workerType>/<workerGroup>/<workerId>"


def _provisioners() -> list[Endpoint]:
    return [
        Endpoint(
            name="listProvisioners",
            method="get",
            route="/provisioners",
            category=_CATEGORY,
            title="List provisioners",
            description="The provisioners whose task queues workers have asked for work lately, by id.",
            handler=WorkerApi.list_provisioners,
            scopes="queue:list-provisioners",
            query=_PAGED,
            output=shapes.ListProvisionersResponse,
            stability="deprecated",
        ),
        Endpoint(
            name="getProvisioner",
            method="get",
            route=_PROVISIONER,
            category=_CATEGORY,
            title="Get a provisioner",
            description="When workers last asked any task queue of a provisioner for work.",
            handler=WorkerApi.get_provisioner,
            scopes="queue:get-provisioner:<provisionerId>",
            output=shapes.ProvisionerResponse,
            stability="deprecated",
        ),
        Endpoint(
            name="listWorkerTypes",
            method="get",
            route=f"{_PROVISIONER}/worker-types",
            category=_CATEGORY,
            title="List the task queues of a provisioner",
            description="As listTaskQueues, for one provisioner.",
            handler=WorkerApi.list_worker_types,
            scopes="queue:list-worker-types:<provisionerId>",
            query=_PAGED,
            output=shapes.ListWorkerTypesResponse,
            stability="deprecated",
        ),
        Endpoint(
            name="getWorkerType",
            method="get",
            route=_WORKER_TYPE,
            category=_CATEGORY,
            title="Get a task queue by its two parts",
            description="As getTaskQueue.",
            handler=WorkerApi.get_worker_type,
            scopes="queue:get-worker-type:<provisionerId>/<workerType>",
            output=shapes.WorkerTypeResponse,
            stability="deprecated",
        ),
    ]


def _task_queues() -> list[Endpoint]:
    queue = "/task-queues/<taskQueueId>"
    return [
        Endpoint(
            name="listTaskQueues",
            method="get",
            route="/task-queues",
            category=_CATEGORY,
            title="List task queues",
            description="The task queues that workers have asked for work lately, by id.",
            handler=WorkerApi.list_task_queues,
            scopes="queue:list-task-queues",
            query=_PAGED,
            output=shapes.ListTaskQueuesResponse,
        ),
        Endpoint(
            name="getTaskQueue",
            method="get",
            route=queue,
            category=_CATEGORY,
            title="Get a task queue",
            description=(
                "When workers last asked a task queue for work. It is known from the first worker on, "
                "and is forgotten some days after the last; tasks alone do not make it known."
            ),
            handler=WorkerApi.get_task_queue,
            scopes="queue:get-task-queue:<taskQueueId>",
            output=shapes.TaskQueueResponse,
        ),
        Endpoint(
            name="pendingTasks",
            method="get",
            route="/pending/<taskQueueId>",
            category=_CATEGORY,
            title="Count the pending tasks",
            description="How many runs wait in a task queue. Use taskQueueCounts.",
            handler=WorkerApi.pending_tasks,
            scopes="queue:pending-count:<taskQueueId>",
            output=shapes.PendingTasksResponse,
            stability="deprecated",
            multi_segment="taskQueueId",
        ),
        Endpoint(
            name="taskQueueCounts",
            method="get",
            route=f"{queue}/counts",
            category=_CATEGORY,
            title="Count pending and claimed tasks",
            description=(
                "How many runs wait in a task queue, and how many its workers have. "
                "A task queue that nobody uses has none."
            ),
            handler=WorkerApi.task_queue_counts,
            scopes={"AllOf": ["queue:pending-count:<taskQueueId>", "queue:claimed-count:<taskQueueId>"]},
            output=shapes.TaskQueueCountsResponse,
            multi_segment="taskQueueId",
        ),
        Endpoint(
            name="listPendingTasks",
            method="get",
            route=f"{queue}/pending",
            category=_CATEGORY,
            title="List the pending tasks",
            description="The runs that wait in a task queue, those first that wait longest.",
            handler=WorkerApi.list_pending_tasks,
            scopes="queue:pending-list:<taskQueueId>",
            query=_PAGED,
            output=shapes.ListPendingTasksResponse,
            stability="experimental",
            multi_segment="taskQueueId",
        ),
        Endpoint(
            name="listClaimedTasks",
            method="get",
            route=f"{queue}/claimed",
            category=_CATEGORY,
            title="List the claimed tasks",
            description="The runs that workers of a task queue have, those first that were claimed first.",
            handler=WorkerApi.list_claimed_tasks,
            scopes="queue:claimed-list:<taskQueueId>",
            query=_PAGED,
            output=shapes.ListClaimedTasksResponse,
            stability="experimental",
            multi_segment="taskQueueId",
        ),
    ]


def _workers() -> list[Endpoint]:
    return [
        Endpoint(
            name="listWorkers",
            method="get",
            route=f"{_WORKER_TYPE}/workers",
            category=_CATEGORY,
            title="List workers",
            description=(
                "The workers that asked a task queue for work lately, and those that are quarantined. "
                "With `quarantined`, pages may be short while more follow."
            ),
            handler=WorkerApi.list_workers,
            scopes="queue:list-workers:<provisionerId>/<workerType>",
            query=(*_PAGED, "quarantined"),
            output=shapes.ListWorkersResponse,
            stability="deprecated",
        ),
        Endpoint(
            name="getWorker",
            method="get",
            route=_WORKER,
            category=_CATEGORY,
            title="Get a worker",
            description="When a worker was seen first and last, and its newest 20 claims, oldest first.",
            handler=WorkerApi.get_worker,
            scopes=f"queue:get-worker:{_WORKER_SCOPE}",
            output=shapes.WorkerResponse,
            stability="deprecated",
        ),
        Endpoint(
            name="quarantineWorker",
            method="put",
            route=_WORKER,
            category=_CATEGORY,
            title="Quarantine a worker",
            description=(
                "Gives a worker no work until a date; its claimWork calls are answered with nothing. "
                "A date in the past lifts the quarantine. What the worker already has, it keeps."
            ),
            handler=WorkerApi.quarantine_worker,
            scopes={"AllOf": [f"queue:quarantine-worker:{_WORKER_SCOPE}"]},
            input=shapes.QuarantineWorkerRequest,
            output=shapes.WorkerResponse,
            stability="experimental",
        ),
        Endpoint(
            name="declareWorker",
            method="put",
            route=f"{_WORKER_TYPE}/<workerGroup>/<workerId>",
            category=_CATEGORY,
            title="Declare a worker",
            description="Makes a worker and its task queue known, or known for longer.",
            handler=WorkerApi.declare_worker,
            scopes={
                "AllOf": [
                    {
                        "each": f"queue:declare-worker:{_WORKER_SCOPE}#<property>",
                        "for": "property",
                        "in": "properties",
                    }
                ]
            },
            deferred=True,
            input=shapes.UpdateWorkerRequest,
            output=shapes.WorkerResponse,
            stability="experimental",
        ),
    ]


WORKER_ENDPOINTS: Final[tuple[Endpoint, ...]] = (*_provisioners(), *_task_queues(), *_workers())
"""Every endpoint of category Worker Metadata; the handlers are methods of :class:`WorkerApi`."""
