"""Request and response bodies of the queue's HTTP API, one class per schema name."""

from typing import Annotated

from pydantic import Field

from schemas.base import INTEGRAL, Document, Request, Text
from schemas.extensions import CancelRequested, FailedAttempt, OfJob, SkippedDuplicate, TaskExtensions, Traced
from schemas.ids import (
    ProjectId,
    ProvisionerId,
    SchedulerId,
    Scope,
    TaskGroupId,
    TaskId,
    TaskQueueId,
    WorkerGroup,
    WorkerId,
    WorkerType,
)
from schemas.task import (
    Dependencies,
    ExceptionReason,
    JsonObject,
    Priority,
    Requires,
    Retries,
    Routes,
    RunId,
    Tags,
    TaskDefinition,
    TaskDefinitionAndStatus,
    TaskMetadata,
    TaskStatus,
)
from schemas.times import Time

MAX_CLAIMS = 32


class CreateTaskRequest(TaskExtensions, Request):
    """A task as a client sends it; what is absent takes the default of ``queue-behaviour.md`` 3.1."""

    schema_name = "create-task-request"

    provisioner_id: ProvisionerId | None = None
    worker_type: WorkerType | None = None
    task_queue_id: TaskQueueId | None = None
    scheduler_id: SchedulerId = "-"
    project_id: ProjectId = "none"
    task_group_id: TaskGroupId | None = None
    dependencies: Dependencies = ()
    requires: Requires = "all-completed"
    routes: Routes = ()
    priority: Priority = "lowest"
    retries: Retries = 5
    created: Time
    deadline: Time
    expires: Time | None = None
    scopes: tuple[Scope, ...] = ()
    payload: JsonObject
    metadata: TaskMetadata
    tags: Tags = Field(default_factory=dict)
    extra: JsonObject = Field(default_factory=dict)


class TaskStatusResponse(SkippedDuplicate, Document):
    schema_name = "task-status-response"

    status: TaskStatus


class TasksRequest(Request):
    """Which tasks to look up; unknown ids are left out of the answer."""

    schema_name = "tasks-request"

    task_ids: tuple[Text, ...] = ()


class TaskWithId(Document):
    task_id: Text
    task: TaskDefinition


class TasksResponse(Document):
    schema_name = "tasks-response"

    tasks: tuple[TaskWithId, ...]
    continuation_token: Text | None = None


class StatusWithId(Document):
    task_id: Text
    status: TaskStatus


class TasksStatusesResponse(Document):
    schema_name = "tasks-statuses-response"

    statuses: tuple[StatusWithId, ...]
    continuation_token: Text | None = None


class ListDependentTasksResponse(Document):
    schema_name = "list-dependent-tasks-response"

    task_id: TaskId
    tasks: tuple[TaskDefinitionAndStatus, ...]
    continuation_token: Text | None = None


class TaskGroupResponse(Document):
    """A task group; ``sealed`` is absent until it is sealed."""

    schema_name = "task-group-response"

    task_group_id: TaskGroupId
    scheduler_id: SchedulerId
    expires: Time
    sealed: Time | None = None


class ListTaskGroupResponse(TaskGroupResponse):
    schema_name = "list-task-group-response"

    tasks: tuple[TaskDefinitionAndStatus, ...]
    continuation_token: Text | None = None


class CancelTaskGroupResponse(Document):
    schema_name = "cancel-task-group-response"

    task_group_id: TaskGroupId
    task_group_size: Annotated[int, Field(ge=0), INTEGRAL]
    cancelled_count: Annotated[int, Field(ge=0), INTEGRAL]
    task_ids: tuple[TaskId, ...]


class ChangeTaskPriorityRequest(Request):
    schema_name = "change-task-priority-request"

    new_priority: Priority


class TaskGroupPriorityChangeResponse(Document):
    schema_name = "task-group-priority-change-response"

    task_group_id: TaskGroupId
    scheduler_id: SchedulerId
    new_priority: Priority
    tasks_affected: Annotated[int, Field(ge=0), INTEGRAL]
    task_ids: tuple[TaskId, ...]


class ClaimWorkRequest(Request):
    schema_name = "claim-work-request"

    worker_group: WorkerGroup
    worker_id: WorkerId
    tasks: Annotated[int, Field(ge=1, le=MAX_CLAIMS), INTEGRAL] = 1


class TaskCredentials(Document):
    """Temporary credentials; ``certificate`` is a JSON string."""

    schema_name = "task-credentials"

    client_id: Annotated[Text, Field(min_length=1)]
    access_token: Annotated[Text, Field(min_length=1)]
    certificate: Annotated[Text, Field(min_length=1)]


class _HeldRun(Document):
    """A run held by a worker until ``taken_until``."""

    status: TaskStatus
    run_id: RunId
    worker_group: WorkerGroup
    worker_id: WorkerId
    taken_until: Time
    credentials: TaskCredentials


class TaskReclaimResponse(CancelRequested, _HeldRun):
    """A run that its worker holds longer."""

    schema_name = "task-reclaim-response"


class TaskClaimResponse(Traced, OfJob, _HeldRun):
    """A claimed run with the definition to work on; also the element of a claimWork answer."""

    schema_name = "task-claim-response"

    task: TaskDefinition


class ClaimWorkResponse(Document):
    schema_name = "claim-work-response"

    tasks: tuple[TaskClaimResponse, ...]


class TaskClaimRequest(Request):
    schema_name = "task-claim-request"

    worker_group: WorkerGroup
    worker_id: WorkerId


class TaskExceptionRequest(FailedAttempt, Request):
    schema_name = "task-exception-request"

    reason: ExceptionReason
