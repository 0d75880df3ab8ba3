"""Tasks as values: the definition a user writes, the runs, and the status the queue keeps.

Shapes: ``task.json``, ``task-metadata.json``, ``task-status.json`` of the queue's schemas; meaning:
``queue-behaviour.md`` section 2. The stored JSON, the HTTP reply and the AMQP payload are these values.
"""

from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, Field, JsonValue, StringConstraints

from schemas.base import INTEGRAL, Document, Request, Text
from schemas.extensions import TaskExtensions
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
from schemas.times import Time

Priority = Literal["highest", "very-high", "high", "medium", "low", "very-low", "lowest"]
PRIORITIES: Final[tuple[Priority, ...]] = get_args(Priority)
"""All priorities, the most urgent first."""

Requires = Literal["all-completed", "all-resolved"]
RunState = Literal["pending", "running", "completed", "failed", "exception"]
TaskState = Literal["unscheduled", "pending", "running", "completed", "failed", "exception"]
ReasonCreated = Literal["scheduled", "retry", "task-retry", "rerun", "exception"]
ReasonResolved = Literal[
    "completed",
    "failed",
    "deadline-exceeded",
    "canceled",
    "claim-expired",
    "worker-shutdown",
    "malformed-payload",
    "resource-unavailable",
    "internal-error",
    "intermittent-task",
    "superseded",
]
ExceptionReason = Literal[
    "worker-shutdown", "malformed-payload", "resource-unavailable", "internal-error", "intermittent-task"
]
"""The reasons a worker may give in ``reportException``."""

MAX_RUNS: Final = 50
MAX_RETRIES: Final = 49
MAX_ROUTES: Final = 64
MAX_DEPENDENCIES: Final = 10_000


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise ValueError("must not list the same value twice")
    return values


UNIQUE: Final = AfterValidator(_unique)
UNIQUE_ITEMS: Final[dict[str, JsonValue]] = {"uniqueItems": True}
"""Stands beside :data:`UNIQUE`, for the schema."""

RunId = Annotated[int, Field(ge=0, le=1000), INTEGRAL]
Routes = Annotated[
    tuple[Annotated[str, StringConstraints(strict=True, min_length=1, max_length=249)], ...],
    Field(max_length=MAX_ROUTES, json_schema_extra=UNIQUE_ITEMS),
    UNIQUE,
]
Dependencies = Annotated[
    tuple[TaskId, ...],
    Field(max_length=MAX_DEPENDENCIES, json_schema_extra=UNIQUE_ITEMS),
    UNIQUE,
]
Retries = Annotated[int, Field(ge=0, le=MAX_RETRIES), INTEGRAL]
Tags = dict[Text, Annotated[str, StringConstraints(strict=True, max_length=4096)]]
JsonObject = dict[str, Any]


class TaskMetadata(Request):
    """What people want to know about a task."""

    schema_name = "task-metadata"

    name: Annotated[str, StringConstraints(strict=True, max_length=255)]
    description: Annotated[str, StringConstraints(strict=True, max_length=32768)]
    owner: Annotated[str, StringConstraints(strict=True, max_length=255)]
    source: Annotated[
        str, StringConstraints(strict=True, max_length=4096, pattern="^(?:https?://|ssh://|git@)")
    ]


class TaskDefinition(TaskExtensions, Document):
    """A task as its creator defined it, with all defaults filled; immutable but for ``priority``."""

    schema_name = "task"

    provisioner_id: ProvisionerId
    worker_type: WorkerType
    task_queue_id: TaskQueueId
    scheduler_id: SchedulerId = "-"
    project_id: ProjectId = "none"
    task_group_id: TaskGroupId
    dependencies: Dependencies = ()
    requires: Requires = "all-completed"
    routes: Routes = ()
    priority: Priority = "lowest"
    retries: Retries = 5
    created: Time
    deadline: Time
    expires: Time
    scopes: tuple[Scope, ...] = ()
    payload: JsonObject
    metadata: TaskMetadata
    tags: Tags = Field(default_factory=dict)
    extra: JsonObject = Field(default_factory=dict)


class Run(Document):
    """One attempt at a task. Members that are not known yet are absent."""

    run_id: RunId
    state: RunState
    reason_created: ReasonCreated
    reason_resolved: ReasonResolved | None = None
    worker_group: WorkerGroup | None = None
    worker_id: WorkerId | None = None
    taken_until: Time | None = None
    scheduled: Time
    started: Time | None = None
    resolved: Time | None = None


class TaskStatus(Document):
    """The state of a task and its runs. ``state`` is that of the last run, or ``unscheduled``."""

    schema_name = "task-status"

    task_id: TaskId
    provisioner_id: ProvisionerId
    worker_type: WorkerType
    task_queue_id: TaskQueueId
    scheduler_id: SchedulerId
    project_id: ProjectId
    task_group_id: TaskGroupId
    priority: Priority | None = None
    deadline: Time
    expires: Time
    retries_left: Annotated[int, Field(ge=0, le=999), INTEGRAL]
    state: TaskState
    runs: tuple[Run, ...]


class TaskDefinitionAndStatus(Document):
    """A task with its status, an element of task lists."""

    schema_name = "task-definition-and-status"

    status: TaskStatus
    task: TaskDefinition
