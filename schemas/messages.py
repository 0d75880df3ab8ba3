"""Payloads of the AMQP messages, one class per exchange.

Members: ``queue-behaviour.md`` section 10, ``auth.md`` 4.5. ``version`` is always 1; ``task`` carries the
tags only.
"""

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import INTEGRAL, Document, Text
from schemas.ids import ClientId, RoleId, SchedulerId, TaskGroupId, WorkerGroup, WorkerId
from schemas.task import Priority, RunId, Tags, TaskStatus
from schemas.times import Time


class Message(Document):
    """What every payload has."""

    version: Literal[1] = 1


class TaskTags(Document):
    """The part of a definition that messages carry."""

    schema_name = "task-pulse-definition"

    tags: Tags


class TaskMessage(Message):
    """A message about one task; ``status`` is the state after the change."""

    status: TaskStatus
    task: TaskTags | None = None


class TaskDefinedMessage(TaskMessage):
    """A task exists. ``status`` is always the one before scheduling (``unscheduled``, no runs)."""

    schema_name = "task-defined-message"


class TaskPendingMessage(TaskMessage):
    """A run waits for a worker."""

    schema_name = "task-pending-message"

    run_id: RunId


class TaskRunningMessage(TaskMessage):
    """A worker holds the run until ``taken_until``."""

    schema_name = "task-running-message"

    run_id: RunId
    worker_group: WorkerGroup
    worker_id: WorkerId
    taken_until: Time


class TaskCompletedMessage(TaskMessage):
    """The run ended successfully."""

    schema_name = "task-completed-message"

    run_id: RunId
    worker_group: WorkerGroup
    worker_id: WorkerId


class TaskFailedMessage(TaskMessage):
    """The run ended, and its work was found wanting."""

    schema_name = "task-failed-message"

    run_id: RunId
    worker_group: WorkerGroup
    worker_id: WorkerId


class TaskExceptionMessage(TaskMessage):
    """The run ended for a reason outside its work; worker ids only if a worker had held it."""

    schema_name = "task-exception-message"

    run_id: RunId | None = None
    worker_group: WorkerGroup | None = None
    worker_id: WorkerId | None = None


class TaskPriorityChangedMessage(Message):
    """One task got another priority."""

    schema_name = "task-priority-changed-message"

    status: TaskStatus
    old_priority: Priority
    new_priority: Priority


class ArtifactDescription(Document):
    storage_type: Literal["reference", "link", "error", "object"]
    name: Annotated[Text, Field(max_length=1024)]
    expires: Time
    content_type: Annotated[Text, Field(max_length=255)]


class ArtifactCreatedMessage(Message):
    """An artifact of a run can be fetched."""

    schema_name = "artifact-created-message"

    status: TaskStatus
    run_id: RunId
    worker_group: WorkerGroup
    worker_id: WorkerId
    artifact: ArtifactDescription


class TaskGroupChangedMessage(Message):
    """A task group was resolved or sealed; the exchange tells which."""

    schema_name = "task-group-changed-message"

    task_group_id: TaskGroupId
    scheduler_id: SchedulerId
    expires: Time
    sealed: Time | None = None


class TaskGroupResolvedMessage(TaskGroupChangedMessage):
    """Every task of the group was resolved at least once."""


class TaskGroupSealedMessage(TaskGroupChangedMessage):
    """No task can be added to the group any more."""


class TaskGroupPriorityChangedMessage(Message):
    """The unresolved tasks of a group got another priority."""

    schema_name = "task-group-priority-changed-message"

    task_group_id: TaskGroupId
    scheduler_id: SchedulerId
    new_priority: Priority
    tasks_affected: Annotated[int, Field(ge=0), INTEGRAL]


class ClientMessage(Message):
    """A client of the auth service changed; the exchange tells how."""

    schema_name = "client-message"

    client_id: ClientId


class ClientCreatedMessage(ClientMessage):
    """There is a new client."""


class ClientUpdatedMessage(ClientMessage):
    """A client has other properties, another access token, or was enabled or disabled."""


class ClientDeletedMessage(ClientMessage):
    """A client is no more."""


class RoleMessage(Message):
    """A role of the auth service changed; the exchange tells how."""

    schema_name = "role-message"

    role_id: RoleId


class RoleCreatedMessage(RoleMessage):
    """There is a new role."""


class RoleUpdatedMessage(RoleMessage):
    """A role has other scopes or another description."""


class RoleDeletedMessage(RoleMessage):
    """A role is no more."""
