"""From what a client sends to the definition that is kept: defaults, queue id, times, equality.

Rules: ``queue-behaviour.md`` 3.1 (the order of the checks is visible on the wire) and 3.2.
"""

from datetime import datetime, timedelta
from typing import Any

from queue_service.core.access import refuse_wild_scopes
from queue_service.core.errors import InputError
from queue_service.core.extras import extras_of
from queue_service.core.lanes import NO_LIMITS, check_members, lane_of
from queue_service.core.limits import Limits
from queue_service.core.task import Task
from schemas.extensions import TaskExtensions
from schemas.queue import CreateTaskRequest
from schemas.task import TaskDefinition
from schemas.times import format_time


def task_queue_of(request: CreateTaskRequest) -> tuple[str, str]:
    """The provisionerId and workerType of the task. Raises InputError when they are missing or disagree."""
    provisioner_id, worker_type, task_queue_id = (
        request.provisioner_id,
        request.worker_type,
        request.task_queue_id,
    )
    if provisioner_id is not None and worker_type is not None:
        if task_queue_id is not None and task_queue_id != f"{provisioner_id}/{worker_type}":
            raise InputError(
                f"`taskQueueId` is `{task_queue_id}`, and `provisionerId`/`workerType` are "
                f"`{provisioner_id}/{worker_type}`: they must agree."
            )
        return provisioner_id, worker_type
    if task_queue_id is None:
        raise InputError("the task must have `taskQueueId`, or both `provisionerId` and `workerType`.")
    provisioner_id, _, worker_type = task_queue_id.partition("/")
    return provisioner_id, worker_type


def check_dependency_count(request: CreateTaskRequest, limits: Limits) -> None:
    if len(request.dependencies) > limits.max_dependencies:
        raise InputError(
            f"`dependencies` lists {len(request.dependencies)} tasks; "
            f"at most {limits.max_dependencies} are allowed."
        )


def complete(task_id: str, request: CreateTaskRequest) -> TaskDefinition:
    """The definition with every default filled. Raises InputError for a wrong task queue."""
    provisioner_id, worker_type = task_queue_of(request)
    return TaskDefinition.trusted(
        provisioner_id=provisioner_id,
        worker_type=worker_type,
        task_queue_id=f"{provisioner_id}/{worker_type}",
        scheduler_id=request.scheduler_id,
        project_id=request.project_id,
        task_group_id=request.task_group_id or task_id,
        dependencies=request.dependencies,
        requires=request.requires,
        routes=request.routes,
        priority=request.priority,
        retries=request.retries,
        created=request.created,
        deadline=request.deadline,
        expires=request.expires or one_year_after(request.deadline),
        scopes=request.scopes,
        payload=request.payload,
        metadata=request.metadata,
        tags=request.tags,
        extra=request.extra,
        **{name: getattr(request, name) for name in TaskExtensions.model_fields},
    )


def check_times(definition: TaskDefinition, now: datetime, limits: Limits) -> None:
    """Raise InputError for the first wrong time, in the order of the wire; equal values are allowed."""
    created, deadline, expires = definition.created, definition.deadline, definition.expires
    if created < now - limits.drift:
        raise InputError(_time_text("created", created, "not be more than 15 minutes in the past", now))
    if created > now + limits.drift:
        raise InputError(_time_text("created", created, "not be more than 15 minutes in the future", now))
    if created > deadline:
        raise InputError(_time_text("deadline", deadline, "not be before `created`", now))
    if deadline < now:
        raise InputError(_time_text("deadline", deadline, "be in the future", now))
    if deadline > now + limits.max_deadline + limits.drift:
        days = limits.max_deadline.total_seconds() / 86400
        raise InputError(_time_text("deadline", deadline, f"be at most {days:g} days in the future", now))
    if deadline > expires:
        raise InputError(_time_text("expires", expires, "not be before `deadline`", now))
    if definition.run_at is not None and definition.run_at >= deadline:
        raise InputError(_time_text("runAt", definition.run_at, "be before `deadline`", now))


def check_scopes(definition: TaskDefinition) -> None:
    refuse_wild_scopes(definition.scopes)


def check_limits(definition: TaskDefinition) -> None:
    """Raise InputError when the key of a limit cannot be told for this task."""
    if definition.limits is not None:
        check_members(definition.limits, definition.payload, definition.tags)


def unscheduled_task(task_id: str, definition: TaskDefinition, traceparent: str | None = None) -> Task:
    """The task before anything happened to it, and the trace in which it is created."""
    return Task(
        task_id=task_id,
        task_queue_id=definition.task_queue_id,
        scheduler_id=definition.scheduler_id,
        project_id=definition.project_id,
        task_group_id=definition.task_group_id,
        deadline=definition.deadline,
        expires=definition.expires,
        requires=definition.requires,
        retries=definition.retries,
        routes=definition.routes,
        tags=definition.tags,
        priority=definition.priority,
        retries_left=definition.retries,
        extras=extras_of(definition, traceparent),
        lane=lane_of(definition.limits, NO_LIMITS, definition.payload, definition.tags),
    )


def latest_expiry(definition: TaskDefinition) -> datetime:
    """When the task is forgotten at the latest: it may be kept for some time after its end (X-1)."""
    retention = definition.retention
    if retention is None:
        return definition.expires
    kept = (retention.completed, retention.canceled, retention.failed)
    longest = max((duration for duration in kept if duration is not None), default=timedelta())
    return max(definition.expires, definition.deadline + longest)


def equal(one: TaskDefinition, other: TaskDefinition) -> bool:
    """Deep equality of normalised definitions: arrays ordered, objects not, ``true`` is not 1 (3.2)."""
    return equal_json(one.to_wire(), other.to_wire())


def one_year_after(moment: datetime) -> datetime:
    """The same day next year; one year after 29 February is 1 March, and nothing is after year 9999."""
    if moment.year >= 9999:
        return moment
    try:
        return moment.replace(year=moment.year + 1)
    except ValueError:
        return moment.replace(year=moment.year + 1, month=3, day=1)


def equal_json(one: Any, other: Any) -> bool:
    """Deep equality of JSON values: arrays are ordered, objects are not, ``true`` is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal_json, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def _time_text(field: str, value: datetime, rule: str, now: datetime) -> str:
    return f"`{field}` is {format_time(value)} and must {rule} (the server's time is {format_time(now)})."
