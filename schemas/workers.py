"""Bodies of the calls about workers and task queues, and what a worker-manager tells about a worker."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schemas.base import INTEGRAL, Document, Request, Text
from schemas.ids import ProvisionerId, TaskId, TaskQueueId, WorkerGroup, WorkerId, WorkerType
from schemas.task import RunId, TaskDefinition
from schemas.times import Time

Stability = Literal["experimental", "stable", "deprecated"]
Count = Annotated[int, Field(ge=0), INTEGRAL]


class _Seen(Document):
    """What is known of everything that workers ask; nobody can set ``description`` and ``stability``."""

    expires: Time
    last_date_active: Time
    description: Text = ""
    stability: Stability = "experimental"


class ProvisionerResponse(_Seen):
    """The task queues of one provisioner taken together."""

    schema_name = "provisioner-response"

    provisioner_id: ProvisionerId


class ListProvisionersResponse(Document):
    schema_name = "list-provisioners-response"

    provisioners: tuple[ProvisionerResponse, ...]
    continuation_token: Text | None = None


class TaskQueueResponse(_Seen):
    """A task queue that workers have asked for work."""

    schema_name = "taskqueue-response"

    task_queue_id: TaskQueueId


class ListTaskQueuesResponse(Document):
    schema_name = "list-taskqueues-response"

    task_queues: tuple[TaskQueueResponse, ...]
    continuation_token: Text | None = None


class WorkerTypeResponse(TaskQueueResponse):
    """A task queue by the two parts of its id."""

    schema_name = "workertype-response"

    provisioner_id: ProvisionerId
    worker_type: WorkerType


class ListWorkerTypesResponse(Document):
    schema_name = "list-workertypes-response"

    worker_types: tuple[WorkerTypeResponse, ...]
    continuation_token: Text | None = None


class TaskRun(Document):
    """One run of one task."""

    schema_name = "task-run"

    task_id: TaskId
    run_id: RunId


class WorkerEntry(Document):
    """A worker in a list; ``quarantineUntil`` is there while the worker is quarantined."""

    worker_group: WorkerGroup
    worker_id: WorkerId
    first_claim: Time
    last_date_active: Time
    latest_task: TaskRun | None = None
    quarantine_until: Time | None = None


class ListWorkersResponse(Document):
    schema_name = "list-workers-response"

    workers: tuple[WorkerEntry, ...]
    continuation_token: Text | None = None


class QuarantineDetails(Document):
    """Who asked for a quarantine, or for its end, and why."""

    client_id: Text
    updated_at: Time
    quarantine_until: Time
    quarantine_info: Text


class WorkerResponse(Document):
    """A worker; ``quarantineUntil`` of one that was never quarantined is long past.

    The server keeps ``quarantineDetails`` and, as the reference does at this level, does not tell them.
    """

    schema_name = "worker-response"

    task_queue_id: TaskQueueId
    provisioner_id: ProvisionerId
    worker_type: WorkerType
    worker_group: WorkerGroup
    worker_id: WorkerId
    quarantine_until: Time
    expires: Time
    first_claim: Time
    recent_tasks: tuple[TaskRun, ...]
    last_date_active: Time
    quarantine_details: tuple[QuarantineDetails, ...] | None = None


class QuarantineWorkerRequest(Request):
    """A date in the past lifts the quarantine."""

    schema_name = "quarantine-worker-request"

    quarantine_until: Time
    quarantine_info: Annotated[str, StringConstraints(strict=True, max_length=4000)] = ""


class UpdateWorkerRequest(Request):
    schema_name = "update-worker-request"

    expires: Time


class PendingTasksResponse(Document):
    schema_name = "pending-tasks-response"

    task_queue_id: TaskQueueId
    provisioner_id: ProvisionerId
    worker_type: WorkerType
    pending_tasks: Count


class TaskQueueCountsResponse(PendingTasksResponse):
    schema_name = "task-queue-counts-response"

    claimed_tasks: Count


class PendingTask(Document):
    """A run that waits; ``inserted`` is when it began to."""

    task_id: TaskId
    run_id: RunId
    task: TaskDefinition
    inserted: Time


class ListPendingTasksResponse(Document):
    schema_name = "list-pending-tasks-response"

    tasks: tuple[PendingTask, ...]
    continuation_token: Text | None = None


class ClaimedTask(Document):
    """A run that a worker has; ``claimed`` is when it took it."""

    task_id: TaskId
    run_id: RunId
    worker_group: WorkerGroup
    worker_id: WorkerId
    claimed: Time
    task: TaskDefinition


class ListClaimedTasksResponse(Document):
    schema_name = "list-claimed-tasks-response"

    tasks: tuple[ClaimedTask, ...]
    continuation_token: Text | None = None


class WorkerGone(Document):
    """What a worker-manager says of a worker that was stopped or removed (``queue-behaviour.md`` 6.7)."""

    worker_pool_id: TaskQueueId
    worker_group: WorkerGroup
    worker_id: WorkerId
